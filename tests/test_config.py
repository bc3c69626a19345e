from datetime import timedelta
from pathlib import Path

import pytest

from notifier.config import load_config, load_store
from notifier.problem import ConfigError
from notifier.settings import Settings, StoreSettings
from notifier.targets.slack.settings import SlackSettings
from notifier.targets.webhook import WebhookSettings
from tests.configs import HOOK, KEY, SLACK, SLACK_HOOK, SOURCE, TARGET, TOKEN, WHSEC, load, problems
from tests.wire import tls_files

SINGLE = "must be a table, written"
QUIET = "targets.ops.quiet"
NIGHT = 'from = "22:00", to = "07:00"'
EXPOSED = (
    "is reached from other machines, so it needs a token: set token (or token_file, or the variable "
    'NOTIFIER_WEB_TOKEN), or listen on "127.0.0.1:8080"'
)
SPACES = "has spaces around it, line breaks or characters that cannot stand in an HTTP header"
IN_THE_OPEN = "is plain http to another machine: the API key could be read on the way;"
NOT_YET = "not available yet; leave it at its default"
NO_URL = "must be a URL that starts with http:// or https:// and names a host"
NO_STORE = "must be sqlite:///relative/path or sqlite:////absolute/path"
KEEP = 'must be a duration in quotes, like "15s", "2m", "1h30m" or "3d"'
URLS = 'unknown key; did you mean "url"?'
NO_DURATION = 'not a duration; write it like "15s", "2m", "1h30m" or "3d"'

DEFAULTS = """
routes = []

[[sources]]
name = "allium"
api_key = "${ALLIUM_API_KEY}"
base_url = "https://api.allium.so"
job_link = ""
poll_every = "15s"
poll_idle_every = "1m"
timeout = "30s"
max_body = "256MiB"
proxy = ""
ca_file = ""
first_poll = "baseline"
stalled_after = "30m"
staging_stalled_after = "6h"
milestones = [25, 50, 75]
down_after = "5m"

[targets.ops]
type = "webhook"
url = "https://ops.example.com/hooks/backfills"
headers = {}
format = "standard"
body = ""
batch_max = 100
timeout = "15s"
proxy = ""
ca_file = ""

[targets.team]
type = "slack"
token = "${SLACK_BOT_TOKEN}"
channel = "#data-backfills"
mentions = {}
api_url = "https://slack.com/api/"
timeout = "15s"
proxy = ""
ca_file = ""

[delivery]
give_up_after = "3d"
first_retry = "5s"
max_retry = "1h"
down_after = "5m"
digest_over = 10

[store]
url = "sqlite:///notifier-state.db"
keep = "30d"

[web]
listen = "127.0.0.1:8080"
token = ""

[log]
level = "info"
format = "text"
"""


CONTRACT = """
[[sources]]
name = "allium"
api_key = "${ALLIUM_API_KEY}"
base_url = "https://api.allium.so"
job_link = ""
poll_every = "15s"
poll_idle_every = "1m"
timeout = "30s"
max_body = "256MiB"
proxy = ""
first_poll = "baseline"
stalled_after = "30m"
staging_stalled_after = "6h"
milestones = [25, 50, 75]
down_after = "5m"

[targets.data-team]
type = "slack"
token = "${SLACK_BOT_TOKEN}"
channel = "#data-backfills"
style = "card"
mentions = { "backfill.failed" = "<!subteam^S0123>" }
api_url = "https://slack.com/api/"

[targets.slack-hook]
type = "slack"
webhook_url = "${SLACK_WEBHOOK_URL}"

[targets.ops]
type = "webhook"
url = "https://ops.example.com/hooks/backfills"
secret = "${OPS_WEBHOOK_SECRET}"
headers = { Authorization = "Bearer ${OPS_TOKEN}" }
format = "standard"
timeout = "15s"

[[routes]]
events = ["backfill.failed", "backfill.stalled", "source.*"]
sources = ["allium"]
tables = ["base.*"]
to = ["data-team", "ops"]

[delivery]
give_up_after = "3d"
first_retry = "5s"
max_retry = "1h"
down_after = "5m"
digest_over = 10

[store]
url = "sqlite:///${STATE}/state.db"
keep = "30d"

[web]
listen = "127.0.0.1:8080"

[log]
level = "info"
format = "text"
"""


def webhook(settings: Settings, name: str) -> WebhookSettings:
    target = settings.targets[name]
    assert isinstance(target, WebhookSettings)
    return target


# --------------------------------------------------------------------------------- what is fine


def test_every_key_works_at_its_default(tmp_path: Path) -> None:
    spelled = load(DEFAULTS, ALLIUM_API_KEY=KEY, SLACK_BOT_TOKEN=TOKEN)
    least = load(
        '[[sources]]\napi_key = "${ALLIUM_API_KEY}"\n'
        '[targets.ops]\ntype = "webhook"\nurl = "https://ops.example.com/hooks/backfills"\n'
        f'[targets.team]\ntype = "slack"\ntoken = "{TOKEN}"\nchannel = "#data-backfills"\n',
        ALLIUM_API_KEY=KEY,
    )
    assert spelled == least
    assert spelled.warnings == []
    assert spelled.origin == "notifier.toml"
    assert spelled.settings.store.path == tmp_path / "notifier-state.db"


def test_the_example_of_the_contract_is_accepted(tmp_path: Path) -> None:
    config = load(
        CONTRACT,
        ALLIUM_API_KEY=KEY,
        SLACK_BOT_TOKEN=TOKEN,
        SLACK_WEBHOOK_URL=HOOK,
        OPS_WEBHOOK_SECRET=WHSEC,
        OPS_TOKEN="ops-that-is-secret",
        STATE=str(tmp_path),
    )
    assert config.warnings == []
    settings = config.settings
    team, hook = settings.targets["data-team"], settings.targets["slack-hook"]
    assert isinstance(team, SlackSettings)
    assert isinstance(hook, SlackSettings)
    assert team.token is not None
    assert hook.webhook_url is not None
    assert (team.token.get_secret_value(), team.channel) == (TOKEN, "#data-backfills")
    assert team.mentions == {"backfill.failed": "<!subteam^S0123>"}
    assert (hook.webhook_url.get_secret_value(), hook.token) == (HOOK, None)
    assert webhook(settings, "ops").headers["Authorization"].get_secret_value() == "Bearer ops-that-is-secret"
    [route] = settings.routes
    assert route.events == ["backfill.failed", "backfill.stalled", "source.*"]
    assert (route.sources, route.tables, route.to) == (["allium"], ["base.*"], ["data-team", "ops"])
    assert (route.names, route.destinations) == (None, None)
    assert "that-is-secret" not in repr(config)


def test_what_turns_a_part_off_that_is_not_there_yet_is_accepted() -> None:
    parts = 'stalled_after = "0s"\nstaging_stalled_after = "0s"\nmilestones = []\n[web]\nlisten = ""\n'
    assert load("routes = []\n" + SOURCE + parts).settings.web.listen == ""


def test_every_key_can_be_set(tmp_path: Path) -> None:
    _, ca_file = tls_files(tmp_path)
    settings = load(
        f"""
        [[sources]]
        name = "prod"
        api_key = "{KEY}"
        base_url = "http://localhost:8080/gateway"
        job_link = "https://app.example.com/jobs/{{job_id}}"
        poll_every = "2s"
        poll_idle_every = "1m30s"
        timeout = "500ms"
        max_body = "1KiB"
        proxy = "http://user:password@proxy.example.com:3128"
        ca_file = "{ca_file}"
        first_poll = "announce"

        [[sources]]
        name = "staging"
        api_key = "{KEY}"

        [targets.ops]
        type = "webhook"
        url = "https://ops.example.com/hooks"
        secret = ["{WHSEC}", "{WHSEC}"]
        headers = {{ Authorization = "Bearer t", X-Team = "data" }}
        timeout = "1s"
        proxy = "http://proxy.example.com"
        ca_file = "{ca_file}"

        [delivery]
        give_up_after = "1h"
        first_retry = "1s"
        max_retry = "1m"

        [store]
        url = "sqlite:////var/lib/notifier/state.db"

        [log]
        level = "debug"
        format = "json"
        """
    ).settings
    prod, staging = settings.sources
    assert (prod.name, staging.name) == ("prod", "staging")
    assert (prod.poll_every, prod.poll_idle_every) == (timedelta(seconds=2), timedelta(seconds=90))
    assert (prod.timeout, prod.max_body) == (timedelta(milliseconds=500), 1024)
    assert (prod.first_poll, prod.base_url) == ("announce", "http://localhost:8080/gateway")
    assert prod.job_link == "https://app.example.com/jobs/{job_id}"
    ops = webhook(settings, "ops")
    assert [secret.get_secret_value() for secret in ops.secret] == [WHSEC, WHSEC]
    assert ops.headers["Authorization"].get_secret_value() == "Bearer t"
    assert settings.delivery.give_up_after == timedelta(hours=1)
    assert settings.store.path == Path("/var/lib/notifier/state.db")
    assert (settings.log.level, settings.log.format) == ("debug", "json")


def test_no_secret_is_in_what_the_settings_look_like() -> None:
    config = load(
        f"""
        [[sources]]
        api_key = "{KEY}"
        base_url = "http://user:1-that-is-secret@localhost"
        proxy = "http://user:2-that-is-secret@proxy.example.com:3128"
        [targets.ops]
        type = "webhook"
        url = "https://user:3-that-is-secret@ops.example.com/4-that-is-secret"
        secret = "{WHSEC}"
        headers = {{ X-Key = "Bearer 5-that-is-secret" }}
        proxy = "http://user:6-that-is-secret@proxy.example.com:3128"
        [targets.team]
        type = "slack"
        token = "{TOKEN}"
        channel = "#x"
        api_url = "https://slack.example.com/"
        proxy = "http://user:8-that-is-secret@proxy.example.com:3128"
        [targets.hook]
        type = "slack"
        webhook_url = "{HOOK}"
        """
    )
    assert "that-is-secret" not in "".join(target.shown for target in config.settings.targets.values())
    assert "that-is-secret" not in f"{config!r} {config.settings}"
    assert WHSEC not in f"{config!r} {config.settings}"


# ------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        # keys that are not known
        ("surces = []\n" + SOURCE, "surces", 'unknown key; did you mean "sources"?'),
        ("quux = 1\n" + SOURCE, "quux", "unknown key"),
        (SOURCE + 'pol_every = "1s"', "sources[0].pol_every", 'unknown key; did you mean "poll_every"?'),
        (SOURCE + 'apikey = "x"', "sources[0].apikey", 'unknown key; did you mean "api_key"?'),
        (SOURCE + "zzz = 1", "sources[0].zzz", "unknown key"),
        (TARGET + "heders = {}", "targets.ops.heders", 'unknown key; did you mean "headers"?'),
        (SOURCE + '[store]\npath = "x"', "store.path", "unknown key"),
        (SOURCE + '[store]\nurls = "x"', "store.urls", 'unknown key; did you mean "url"?'),
        (
            SOURCE + '[delivery]\nfirst_rety = "1s"',
            "delivery.first_rety",
            'unknown key; did you mean "first_retry"?',
        ),
        (SOURCE + "[logs]", "logs", 'unknown key; did you mean "log"?'),
        # types
        ("sources = 1", "sources", "must be written [[sources]], in two brackets"),
        (f'[sources]\napi_key = "{KEY}"', "sources", "must be written [[sources]], in two brackets"),
        ("sources = [1]", "sources[0]", "must be a table"),
        ("sources = []", "sources", "there is no [[sources]]; add one with an api_key"),
        ("", "sources", "there is no [[sources]]; add one with an api_key"),
        ("[[sources]]", "sources[0].api_key", "is missing; set api_key or api_key_file"),
        ("[[sources]]\napi_key = 1234", "sources[0].api_key", "must be a string"),
        ('[[sources]]\napi_key = ""', "sources[0].api_key", "is empty"),
        ("[[sources]]\napi_key_file = 1", "sources[0].api_key_file", "must be a string in quotes"),
        (SOURCE + "name = 1", "sources[0].name", "must be a string in quotes"),
        (SOURCE + "base_url = true", "sources[0].base_url", "must be a string in quotes"),
        (SOURCE + 'milestones = "25"', "sources[0].milestones", "must be a list in brackets"),
        (SOURCE + "milestones = [25.5]", "sources[0].milestones[0]", "must be a whole number"),
        ("targets = []\n" + SOURCE, "targets", f"{SINGLE} [targets.NAME] in single brackets"),
        (SOURCE + "[targets]\nops = 1", "targets.ops", f"{SINGLE} [targets.ops] in single brackets"),
        (SOURCE + "[[targets.ops]]\n", "targets.ops", f"{SINGLE} [targets.ops] in single brackets"),
        (SOURCE + '[[targets]]\ntype = "slack"', "targets", f"{SINGLE} [targets.NAME] in single brackets"),
        (SOURCE + "[target.ops]\n", "target", 'unknown key; did you mean "targets"?'),
        (TARGET + "headers = 1", "targets.ops.headers", "must be a table"),
        (TARGET + "headers = { X = 1 }", "targets.ops.headers.X", "must be a string"),
        (TARGET + 'batch_max = "100"', "targets.ops.batch_max", "must be a whole number"),
        (TARGET + "quiet = true", QUIET, 'must be a table, such as { from = "22:00", to = "07:00" }'),
        (TARGET + 'quiet = { from = "22:00" }', f"{QUIET}.to", 'is missing; write it like "22:00"'),
        (
            TARGET + f'quiet = {{ {NIGHT}, excpt = ["*"] }}',
            f"{QUIET}.excpt",
            'unknown key; did you mean "except"?',
        ),
        (TARGET + f"quiet = {{ {NIGHT}, day = 1 }}", f"{QUIET}.day", 'unknown key; did you mean "days"?'),
        (
            TARGET + 'quiet = { from = 22:00:00, to = "07:00" }',
            f"{QUIET}.from",
            'must be a time of day in quotes, like "22:00"',
        ),
        (
            TARGET + 'quiet = { from = "22:00", to = "22:00" }',
            QUIET,
            'begins and ends at the same time; for whole days write from "00:00" to "24:00"',
        ),
        (TARGET + f"quiet = {{ {NIGHT}, days = [] }}", f"{QUIET}.days", "must name at least one"),
        (
            SLACK + f'quiet = {{ {NIGHT}, timezone = "Berlin" }}',
            "targets.team.quiet.timezone",
            'is no time zone; did you mean "Europe/Berlin"?',
        ),
        ("delivery = 1\n" + SOURCE, "delivery", f"{SINGLE} [delivery] in single brackets"),
        (SOURCE + "[[store]]", "store", f"{SINGLE} [store] in single brackets"),
        ("routes = {}\n" + SOURCE, "routes", "must be written [[routes]], in two brackets"),
        ("routes = [1]\n" + SOURCE, "routes[0]", "must be a table"),
        # durations, sizes, URLs, names, choices
        (
            SOURCE + "poll_every = 15",
            "sources[0].poll_every",
            'must be a duration in quotes, like "15s", "2m", "1h30m" or "3d"',
        ),
        (SOURCE + 'poll_every = "15"', "sources[0].poll_every", NO_DURATION),
        (SOURCE + 'poll_every = "0s"', "sources[0].poll_every", "must be longer than 0s"),
        (SOURCE + 'poll_idle_every = "-1s"', "sources[0].poll_idle_every", NO_DURATION),
        (SOURCE + 'timeout = "9999d"', "sources[0].timeout", "longer than ten years"),
        (SOURCE + '[delivery]\nmax_retry = "0s"', "delivery.max_retry", "must be longer than 0s"),
        (
            SOURCE + 'max_body = "1 TB"',
            "sources[0].max_body",
            'must be a size in quotes, like "256MiB" or "64KiB"',
        ),
        (
            SOURCE + "max_body = -5",
            "sources[0].max_body",
            'must be a size in quotes, like "256MiB" or "64KiB"',
        ),
        (SOURCE + 'max_body = "0B"', "sources[0].max_body", "must be at least 1B"),
        (SOURCE + 'base_url = "api.allium.so"', "sources[0].base_url", NO_URL),
        (SOURCE + 'base_url = ""', "sources[0].base_url", NO_URL),
        (
            SOURCE + 'base_url = "https://h/?a"',
            "sources[0].base_url",
            "must end before ? and #: the API's path is added to it",
        ),
        (SOURCE + 'proxy = "socks5://h"', "sources[0].proxy", NO_URL),
        (TARGET.replace("https:", "ftp:"), "targets.ops.url", NO_URL),
        (
            SOURCE + 'name = "my source"',
            "sources[0].name",
            "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit",
        ),
        (
            TARGET.replace("[targets.ops]", '[targets."my ops"]'),
            'targets."my ops"',
            "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit",
        ),
        (
            SOURCE + 'first_poll = "none"',
            "sources[0].first_poll",
            'must be one of "baseline" or "announce"',
        ),
        (
            SOURCE + '[log]\nlevel = "loud"',
            "log.level",
            'must be one of "debug", "info", "warning" or "error"',
        ),
        (SOURCE + "[log]\nformat = 1", "log.format", 'must be one of "text" or "json"'),
        (
            SOURCE + '[store]\nurl = "state.db"',
            "store.url",
            f"{NO_STORE}; for that file write sqlite:///state.db",
        ),
        (
            SOURCE + '[store]\nurl = "sqlite:///"',
            "store.url",
            NO_STORE,
        ),
        (
            SOURCE + '[store]\nurl = "mysql://user:1-that-is-secret@db/x"',
            "store.url",
            NO_STORE,
        ),
        # targets
        (
            SOURCE + '[targets.ops]\ntype = "webhook"',
            "targets.ops.url",
            "is missing; set url or url_file",
        ),
        (
            TARGET + 'secret = "that-is-secret"',
            "targets.ops.secret",
            "must start with whsec_ (make one with: notifier keygen)",
        ),
        (TARGET + "secret = []", "targets.ops.secret", "must be a whsec_ secret or a list of them"),
        (
            TARGET + 'headers = { Content-Type = "text/plain" }',
            "targets.ops.headers",
            "Content-Type is set by the notifier itself",
        ),
        (
            TARGET.replace("https://", "https://user:1-that-is-secret@")
            + 'headers = { Authorization = "Bearer 2-that-is-secret" }',
            "targets.ops",
            "has Authorization in headers and a user name in url; keep one of them",
        ),
        # what is not there yet
        (
            SOURCE + "milestones = [0]",
            "sources[0].milestones[0]",
            "must be a whole percentage from 1 to 100",
        ),
        (
            SOURCE + '[[sources.jobs]]\ndown_after = "1h"',
            "sources[0].jobs[0].down_after",
            "unknown key; it belongs to the source",
        ),
        (
            SOURCE + "[[sources.jobs]]\ntables = []",
            "sources[0].jobs[0].tables",
            "must name at least one",
        ),
        (
            SOURCE + '[[sources.jobs]]\nstaled_after = "1h"',
            "sources[0].jobs[0].staled_after",
            'unknown key; did you mean "stalled_after"?',
        ),
        (TARGET + 'format = "cloudevents"', "targets.ops.format", NOT_YET),
        (TARGET + 'format = "template"', "targets.ops.format", NOT_YET),
        (
            TARGET + 'format = "cloudevent"',
            "targets.ops.format",
            'must be one of "standard", "cloudevents", "cloudevents-batch" or "template"',
        ),
        (TARGET + 'body = "{}"', "targets.ops.body", NOT_YET),
        (TARGET + "batch_max = 10", "targets.ops.batch_max", NOT_YET),
        (
            SOURCE + "[delivery]\ndigest_over = 0",
            "delivery.digest_over",
            "must be at least 1",
        ),
        (
            SOURCE + '[store]\nurl = "postgresql://user:1-that-is-secret@db/x"',
            "store.url",
            "PostgreSQL is not available yet; use sqlite:///…",
        ),
        (SOURCE + '[web]\nlisten = "0.0.0.0:80"', "web.listen", EXPOSED),
        (SOURCE + '[web]\ntoken = " 1-that-is-secret"', "web.token", SPACES),
        (
            SOURCE + '[web]\nlisten = "0.0.0.0:80"\ntoken = "change-me"',
            "web.token",
            "is the one of the example, which everybody knows; make one with: openssl rand -base64 32",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, where: str, message: str) -> None:
    assert problems(text) == [(where, message)]


def test_all_problems_are_told_at_once() -> None:
    text = """
        typo = 1
        [[sources]]
        api_key = "${NOT_SET}"
        poll_every = 15
        [[sources]]
        api_key_file = "missing"
        timeout = "x"
        ca_file = "missing"
        [targets.team]
        type = "slack"
        nonsense = 1
        channel = "data"
        mentions = { failed = "<!here>", "backfill.failed" = "data" }
        [targets.other]
        type = "teams"
        [targets.ops]
        type = "webhook"
        url = "ops"
        [[routes]]
        to = ["opps"]
        event = []
        [store]
        url = "x"
        """
    assert sorted(problems(text)) == [
        ("routes[0].event", 'unknown key; did you mean "events"?'),
        ("routes[0].to[0]", 'there is no target "opps"; did you mean "ops"?'),
        ("sources[0].api_key", "the environment variable NOT_SET is not set"),
        ("sources[0].poll_every", 'must be a duration in quotes, like "15s", "2m", "1h30m" or "3d"'),
        ("sources[1].api_key_file", "the file it names cannot be read: no such file or directory"),
        (
            "sources[1].ca_file",
            "missing cannot be used as certificates: no such file or directory",
        ),
        ("sources[1].name", '"allium" is also the name of sources[0]; names are unique'),
        ("sources[1].timeout", NO_DURATION),
        (
            "store.url",
            f"{NO_STORE}; for that file write sqlite:///x",
        ),
        ("targets.ops.url", NO_URL),
        ("targets.other.type", '"teams" is no kind of target; use "slack" or "webhook"'),
        ("targets.team.channel", 'must start with # when it is a name: write "#data"'),
        (
            'targets.team.mentions."backfill.failed"',
            "mentions nobody in Slack; write <@U…> for a person, <!subteam^S…> for a group, or <!here>",
        ),
        ("targets.team.mentions.failed", 'is no type of event; did you mean "backfill.failed"?'),
        ("targets.team.nonsense", "unknown key"),
        (
            "targets.team.token",
            "is missing; set token (or token_file) and channel, or webhook_url (or webhook_url_file)",
        ),
        ("typo", "unknown key"),
    ]


NO_PLACEHOLDER = "has braces other than {job_id}, the one placeholder there is"


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("app.example.com/{job_id}", NO_URL),
        ("{job_id}", NO_URL),
        ("ftp://app.example.com/{job_id}", NO_URL),
        ("https://app.example.com/ {job_id}", NO_URL),
        ("https://app.example.com/{id}", NO_PLACEHOLDER),
        ("https://app.example.com/{}", NO_PLACEHOLDER),
        ("https://app.example.com/{job_id", NO_PLACEHOLDER),
        ("https://app.example.com/{{job_id}}", NO_PLACEHOLDER),
        ("https://app.example.com/{job_id}/{status}", NO_PLACEHOLDER),
        ("https://app.example.com/${job_id}", "the environment variable job_id is not set"),
    ],
)
def test_a_link_that_leads_nowhere_is_a_problem(link: str, message: str) -> None:
    assert problems(SOURCE + f'job_link = "{link}"') == [("sources[0].job_link", message)]


# ------------------------------------------------------------------------------------ variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${KEY}", "k"),
        ("a${KEY}b${KEY}", "akbk"),
        ("$$", "$"),
        ("$${KEY}", "${KEY}"),
        ("$$$KEY", "$$KEY"),
        ("$KEY", "$KEY"),
        ("a$", "a$"),
        ("${OTHER}", "${KEY}"),
        ("{KEY}", "{KEY}"),
    ],
)
def test_variables_are_put_in_once(text: str, value: str) -> None:
    settings = load(f'[[sources]]\napi_key = "{text}"', KEY="k", OTHER="${KEY}").settings
    assert settings.sources[0].api_key.get_secret_value() == value


def test_variables_stand_in_any_string() -> None:
    settings = load(
        """
        [[sources]]
        name = "${NAME}"
        api_key = "k"
        poll_every = "${SECONDS}s"
        [targets.ops]
        type = "${TYPE}"
        url = "https://${HOST}/"
        secret = ["${WHSEC}"]
        headers = { X-Name = "${NAME}" }
        [log]
        level = "${LEVEL}"
        """,
        NAME="prod",
        SECONDS="20",
        TYPE="webhook",
        HOST="ops.example.com",
        WHSEC=WHSEC,
        LEVEL="error",
    ).settings
    assert settings.sources[0].name == "prod"
    assert settings.sources[0].poll_every == timedelta(seconds=20)
    ops = webhook(settings, "ops")
    assert ops.shown == "webhook at https://ops.example.com, signed"
    assert ops.secret[0].get_secret_value() == WHSEC
    assert ops.headers["X-Name"].get_secret_value() == "prod"
    assert settings.log.level == "error"


BAD_VARIABLE = "has ${ without a variable's name and }; write $${ for a plain ${"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ('[[sources]]\napi_key = "${NO}"', "sources[0].api_key", "the environment variable NO is not set"),
        (
            '[[sources]]\napi_key = "${EMPTY}"',
            "sources[0].api_key",
            "the environment variable EMPTY is not set",
        ),
        ('[[sources]]\napi_key = "${"', "sources[0].api_key", BAD_VARIABLE),
        ('[[sources]]\napi_key = "${}"', "sources[0].api_key", BAD_VARIABLE),
        ('[[sources]]\napi_key = "${A B}"', "sources[0].api_key", BAD_VARIABLE),
        ('[[sources]]\napi_key = "${1}"', "sources[0].api_key", BAD_VARIABLE),
        ('[[sources]]\napi_key = "${NO"', "sources[0].api_key", BAD_VARIABLE),
        (
            '[[sources]]\napi_key_file = "${NO}"',
            "sources[0].api_key_file",
            "the environment variable NO is not set",
        ),
        (SOURCE + 'poll_every = "${NO}"', "sources[0].poll_every", "the environment variable NO is not set"),
        (SOURCE + '[log]\nlevel = "${NO}"', "log.level", "the environment variable NO is not set"),
        (
            TARGET + f'secret = ["{WHSEC}", "${{NO}}"]',
            "targets.ops.secret[1]",
            "the environment variable NO is not set",
        ),
        (
            TARGET + 'headers = { X = "Bearer ${NO}" }',
            "targets.ops.headers.X",
            "the environment variable NO is not set",
        ),
        (
            TARGET.replace('"webhook"', '"${NO}"'),
            "targets.ops.type",
            "the environment variable NO is not set",
        ),
    ],
)
def test_a_variable_that_cannot_be_put_in_is_the_one_problem(text: str, where: str, message: str) -> None:
    assert problems(text, EMPTY="") == [(where, message)]


# ---------------------------------------------------------------------------------- secret files


def test_secrets_are_read_from_files() -> None:
    Path("key").write_text(f"\n {KEY} \n")
    Path("url").write_text("https://ops.example.com/from-a-file\n")
    Path("secret").write_text(WHSEC)
    settings = load(
        '[[sources]]\napi_key_file = "${DIRECTORY}/key"\n'
        '[targets.ops]\ntype = "webhook"\nurl_file = "url"\nsecret_file = "secret"',
        DIRECTORY=".",
    ).settings
    assert settings.sources[0].api_key.get_secret_value() == KEY
    assert webhook(settings, "ops").url.get_secret_value() == "https://ops.example.com/from-a-file"
    assert [secret.get_secret_value() for secret in webhook(settings, "ops").secret] == [WHSEC]


def test_a_dollar_sign_in_a_file_is_one() -> None:
    Path("key").write_text("${NOT_SET}$$")
    settings = load('[[sources]]\napi_key_file = "key"').settings
    assert settings.sources[0].api_key.get_secret_value() == "${NOT_SET}$$"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (
            SOURCE + 'api_key_file = "key"',
            "sources[0].api_key_file",
            "is set beside api_key; keep one of them",
        ),
        (
            TARGET + 'url_file = "url"',
            "targets.ops.url_file",
            "is set beside url; keep one of them",
        ),
        (
            TARGET + f'secret = "{WHSEC}"\nsecret_file = "key"',
            "targets.ops.secret_file",
            "is set beside secret; keep one of them",
        ),
        (
            '[[sources]]\napi_key_file = "missing/key"',
            "sources[0].api_key_file",
            "the file it names cannot be read: no such file or directory",
        ),
        (
            '[[sources]]\napi_key_file = "."',
            "sources[0].api_key_file",
            "the file it names cannot be read: is a directory",
        ),
        ('[[sources]]\napi_key_file = "empty"', "sources[0].api_key_file", "empty is empty"),
        ('[[sources]]\napi_key_file = "binary"', "sources[0].api_key_file", "binary is not UTF-8 text"),
        (
            '[[sources]]\napi_key_file = "lines"',
            "sources[0].api_key",
            "has spaces around it, line breaks or characters that cannot stand in an HTTP header",
        ),
        (TARGET + 'secret_file = "empty"', "targets.ops.secret_file", "empty is empty"),
        (SOURCE + '[heartbeat]\nurl_file = "empty"', "heartbeat.url_file", "empty is empty"),
        (
            SOURCE + '[heartbeat]\nurl_file = "key"',
            "heartbeat.url",
            "must be a URL that starts with http:// or https:// and names a host",
        ),
        (
            SOURCE + '[heartbeat]\nurl = "https://h/that-is-secret"\nurl_file = "url"',
            "heartbeat.url_file",
            "is set beside url; keep one of them",
        ),
        (
            TARGET + 'secret_file = "key"',
            "targets.ops.secret",
            "must start with whsec_ (make one with: notifier keygen)",
        ),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_the_one_problem(text: str, where: str, message: str) -> None:
    Path("key").write_text(KEY)
    Path("url").write_text("https://ops.example.com/")
    Path("empty").write_text(" \n")
    Path("binary").write_bytes(b"\xff\xfe")
    Path("lines").write_text(f"{KEY}\n{KEY}")
    assert problems(text) == [(where, message)]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[[sources]]\napi_key_file = "a\\u0000b"', "sources[0].api_key_file"),
        (SOURCE + 'ca_file = "a\\u0000b"', "sources[0].ca_file"),
        (SOURCE + '[store]\nurl = "sqlite:///a\\u0000b"', "store.url"),
    ],
)
def test_a_path_that_can_be_none_is_a_problem(text: str, where: str) -> None:
    assert problems(text) == [(where, "has a NUL character in it")]


@pytest.mark.parametrize(
    ("section", "where"),
    [
        (SOURCE, "sources[0].ca_file"),
        (TARGET, "targets.ops.ca_file"),
        (SOURCE + "[heartbeat]\n", "heartbeat.ca_file"),
    ],
)
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing", "missing cannot be used as certificates: no such file or directory"),
        (".", ". cannot be used as certificates: is a directory"),
    ],
)
def test_certificates_that_cannot_be_used_are_a_problem(
    section: str, where: str, file: str, message: str
) -> None:
    assert problems(section + f'ca_file = "{file}"') == [(where, message)]


def test_a_file_that_holds_no_certificate_is_a_problem() -> None:
    Path("words").write_text("no certificate")
    [(where, message)] = problems(SOURCE + 'ca_file = "words"')
    assert where == "sources[0].ca_file"
    assert message.startswith("words cannot be used as certificates: ")


# --------------------------------------------------------------------------------- which file


def test_the_given_file_counts_before_the_named_one_before_the_usual_one(tmp_path: Path) -> None:
    for name in ("given", "named", "notifier"):
        (tmp_path / f"{name}.toml").write_text(SOURCE + f'name = "{name}"')
    named = {"NOTIFIER_CONFIG": str(tmp_path / "named.toml")}
    given = tmp_path / "given.toml"
    assert load_config(given, named).settings.sources[0].name == "given"
    assert load_config(given, named).origin == str(given)
    assert load_config(None, named).settings.sources[0].name == "named"
    assert load_config(None, {}).settings.sources[0].name == "notifier"
    assert load_config(None, {"NOTIFIER_CONFIG": ""}).settings.sources[0].name == "notifier"


@pytest.mark.parametrize("way", ["given", "named"])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing.toml", "cannot be read: no such file or directory"),
        ("directory", "cannot be read: is a directory"),
        ("binary", "is not UTF-8 text"),
        (
            "syntax",
            "is not valid TOML: Expected '=' after a key in a key/value pair (at line 2, column 6)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_although_another_one_is_there(
    way: str, file: str, message: str
) -> None:
    Path("notifier.toml").write_text(SOURCE)
    Path("directory").mkdir()
    Path("binary").write_bytes(b"# \xff\n")
    Path("syntax").write_text("# first\nthat is no TOML\n")
    with pytest.raises(ConfigError) as caught:
        load_config(
            Path(file) if way == "given" else None, {} if way == "given" else {"NOTIFIER_CONFIG": file}
        )
    assert caught.value.origin == file
    assert caught.value.problems == [("file", message)]


def test_a_usual_file_that_cannot_be_read_is_not_passed_over() -> None:
    Path("notifier.toml").mkdir()
    assert problems_of_origin({"ALLIUM_API_KEY": KEY}) == (
        "notifier.toml",
        [("file", "cannot be read: is a directory")],
    )


def problems_of_origin(environment: dict[str, str]) -> tuple[str, list[tuple[str, str]]]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environment)
    return caught.value.origin, [(where, message) for where, message in caught.value.problems]


def test_a_usual_file_that_cannot_be_looked_at_is_not_passed_over() -> None:
    Path("notifier.toml").symlink_to("notifier.toml")
    assert problems_of_origin({"ALLIUM_API_KEY": KEY}) == (
        "notifier.toml",
        [("file", "cannot be read: too many levels of symbolic links")],
    )


def test_a_token_from_a_file_lets_the_page_be_reached_from_other_machines() -> None:
    Path("key").write_text(f"{KEY}\n")
    web = load(SOURCE + '[web]\nlisten = "0.0.0.0:8080"\ntoken_file = "key"').settings.web
    assert web.token is not None
    assert web.token.get_secret_value() == KEY


def test_a_file_with_line_ends_of_windows_is_read() -> None:
    Path("notifier.toml").write_bytes(SOURCE.replace("\n", "\r\n").encode())
    assert load_config(None, {}).settings.sources[0].name == "allium"


# ------------------------------------------------------------------------- the environment alone


def test_the_environment_alone_makes_a_source_and_a_target() -> None:
    config = load_config(
        None,
        {
            "ALLIUM_API_KEY": KEY,
            "ALLIUM_BASE_URL": "http://localhost:8080",
            "WEBHOOK_URL": "https://ops.example.com/hooks/${HOME}",
            "WEBHOOK_SECRET": WHSEC,
            "NOTIFIER_STATE": "sqlite:///elsewhere.db",
            "NOTIFIER_LISTEN": "",
        },
    )
    assert (config.origin, config.warnings) == ("the environment", [])
    [source] = config.settings.sources
    assert (source.name, source.base_url) == ("allium", "http://localhost:8080")
    assert source.api_key.get_secret_value() == KEY
    assert list(config.settings.targets) == ["webhook"]
    target = webhook(config.settings, "webhook")
    assert target.url.get_secret_value() == "https://ops.example.com/hooks/${HOME}"
    assert [secret.get_secret_value() for secret in target.secret] == [WHSEC]
    assert config.settings.store.path == Path.cwd() / "elsewhere.db"
    assert "that-is-secret" not in repr(config)


def test_the_environment_can_name_files_of_secrets() -> None:
    Path("key").write_text(KEY)
    Path("url").write_text("https://ops.example.com/")
    Path("secret").write_text(WHSEC)
    settings = load_config(
        None, {"ALLIUM_API_KEY_FILE": "key", "WEBHOOK_URL_FILE": "url", "WEBHOOK_SECRET_FILE": "secret"}
    ).settings
    assert settings.sources[0].api_key.get_secret_value() == KEY
    assert webhook(settings, "webhook").url.get_secret_value() == "https://ops.example.com/"
    assert webhook(settings, "webhook").secret[0].get_secret_value() == WHSEC


def test_a_key_alone_is_enough_and_warns_that_nobody_would_hear() -> None:
    config = load_config(None, {"ALLIUM_API_KEY": KEY})
    assert config.settings.targets == {}
    assert config.warnings == ["there is no target: nobody would hear of any event"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [("ALLIUM_API_KEY", "is not set; set it, or ALLIUM_API_KEY_FILE")]),
        ({"ALLIUM_API_KEY": ""}, [("ALLIUM_API_KEY", "is not set; set it, or ALLIUM_API_KEY_FILE")]),
        (
            {"ALLIUM_API_KEY": " that-is-secret"},
            [
                (
                    "ALLIUM_API_KEY",
                    "has spaces around it, line breaks or characters that cannot stand in an HTTP header",
                )
            ],
        ),
        (
            {"ALLIUM_API_KEY": KEY, "ALLIUM_API_KEY_FILE": "key"},
            [("ALLIUM_API_KEY_FILE", "is set beside ALLIUM_API_KEY; keep one of them")],
        ),
        (
            {"ALLIUM_API_KEY_FILE": "missing"},
            [("ALLIUM_API_KEY_FILE", "the file it names cannot be read: no such file or directory")],
        ),
        ({"ALLIUM_API_KEY": KEY, "ALLIUM_BASE_URL": "allium"}, [("ALLIUM_BASE_URL", NO_URL)]),
        ({"ALLIUM_API_KEY": KEY, "WEBHOOK_URL": "that-is-secret"}, [("WEBHOOK_URL", NO_URL)]),
        (
            {"ALLIUM_API_KEY": KEY, "WEBHOOK_SECRET": WHSEC},
            [("WEBHOOK_URL", "is not set; set it, or WEBHOOK_URL_FILE")],
        ),
        (
            {"ALLIUM_API_KEY": KEY, "WEBHOOK_URL": "https://h/", "WEBHOOK_SECRET": "that-is-secret"},
            [("WEBHOOK_SECRET", "must start with whsec_ (make one with: notifier keygen)")],
        ),
        (
            {"ALLIUM_API_KEY": KEY, "WEBHOOK_URL": "https://h/", "WEBHOOK_SECRET_FILE": "missing"},
            [("WEBHOOK_SECRET_FILE", "the file it names cannot be read: no such file or directory")],
        ),
        (
            {"ALLIUM_API_KEY": KEY, "NOTIFIER_STATE": "state.db"},
            [
                (
                    "NOTIFIER_STATE",
                    f"{NO_STORE}; for that file write sqlite:///state.db",
                )
            ],
        ),
        ({"ALLIUM_API_KEY": KEY, "NOTIFIER_LISTEN": "0.0.0.0:80"}, [("NOTIFIER_LISTEN", EXPOSED)]),
        (
            {"ALLIUM_API_KEY": KEY, "NOTIFIER_WEB_TOKEN": "that-is-secret "},
            [("NOTIFIER_WEB_TOKEN", SPACES)],
        ),
        (
            {"ALLIUM_API_KEY": KEY, "ALLIUM_BASE_URL": "http://api.example.com"},
            [
                (
                    "ALLIUM_BASE_URL",
                    f"{IN_THE_OPEN} use https:// or, in a config file, insecure_http = true",
                )
            ],
        ),
        (
            {"WEBHOOK_SECRET": "that-is-secret", "SLACK_CHANNEL": "#x", "NOTIFIER_STATE": "postgres://db/x"},
            [
                (
                    "SLACK_BOT_TOKEN",
                    "is not set; set it, or SLACK_BOT_TOKEN_FILE, or unset SLACK_CHANNEL",
                ),
                ("ALLIUM_API_KEY", "is not set; set it, or ALLIUM_API_KEY_FILE"),
                ("WEBHOOK_URL", "is not set; set it, or WEBHOOK_URL_FILE"),
                ("WEBHOOK_SECRET", "must start with whsec_ (make one with: notifier keygen)"),
                ("NOTIFIER_STATE", "PostgreSQL is not available yet; use sqlite:///…"),
            ],
        ),
    ],
)
def test_what_is_wrong_with_the_environment_names_the_variables(
    environment: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert sorted(problems(None, **environment)) == sorted(expected)


def test_empty_variables_are_unset() -> None:
    names = [
        *("ALLIUM_BASE_URL", "ALLIUM_API_KEY_FILE", "WEBHOOK_URL", "WEBHOOK_URL_FILE", "WEBHOOK_SECRET"),
        *("WEBHOOK_SECRET_FILE", "SLACK_BOT_TOKEN", "SLACK_CHANNEL", "SLACK_WEBHOOK_URL", "NOTIFIER_STATE"),
        *("NOTIFIER_CONFIG", "NOTIFIER_WEB_TOKEN", "NOTIFIER_LISTEN"),
    ]
    config = load_config(None, {"ALLIUM_API_KEY": KEY} | dict.fromkeys(names, ""))
    plain = load_config(None, {"ALLIUM_API_KEY": KEY}).settings
    assert config.settings.web.listen == ""
    assert config.settings.model_copy(update={"web": plain.web}) == plain


# --------------------------------------------------------------------------------- overrides


def test_the_state_of_the_environment_counts_before_the_files() -> None:
    text = SOURCE + '[store]\nurl = "sqlite:///file.db"'
    assert load(text).settings.store.path == Path.cwd() / "file.db"
    assert load(text, NOTIFIER_STATE="").settings.store.path == Path.cwd() / "file.db"
    assert load(text, NOTIFIER_STATE="sqlite:////run/x.db").settings.store.path == Path("/run/x.db")
    assert load(SOURCE, NOTIFIER_STATE="sqlite:///x.db").settings.store.path == Path.cwd() / "x.db"
    assert load(SOURCE, NOTIFIER_LISTEN="").settings.web.listen == ""


def test_an_override_that_is_wrong_is_told_by_its_name() -> None:
    assert problems(SOURCE, NOTIFIER_STATE="postgresql://user:that-is-secret@db/x") == [
        ("NOTIFIER_STATE", "PostgreSQL is not available yet; use sqlite:///…")
    ]
    assert problems("store = 1\n" + SOURCE, NOTIFIER_STATE="sqlite:///x") == [
        ("store", f"{SINGLE} [store] in single brackets")
    ]


def test_variables_of_the_environment_alone_do_not_count_beside_a_file() -> None:
    config = load(
        SOURCE,
        ALLIUM_API_KEY="other",
        ALLIUM_BASE_URL="nonsense",
        WEBHOOK_URL="nonsense",
        SLACK_BOT_TOKEN="nonsense",
    )
    assert config.settings.sources[0].api_key.get_secret_value() == KEY
    assert config.settings.targets == {}


# -------------------------------------------------------------------------------- only the store


def test_where_the_state_is_can_be_read_without_any_secret(tmp_path: Path) -> None:
    Path("notifier.toml").write_text(
        """
        sources = 1
        [targets.team]
        type = "${NOT_SET}"
        token_file = "missing"
        [[routes]]
        to = ["nowhere"]
        [store]
        url = "sqlite:///${DIRECTORY}/state.db"
        """
    )
    assert load_store(None, {"DIRECTORY": "kept"}).path == tmp_path / "kept" / "state.db"
    assert load_store(None, {"NOTIFIER_STATE": "sqlite:////run/x.db", "DIRECTORY": "kept"}).path == Path(
        "/run/x.db"
    )


@pytest.mark.parametrize("text", ["", SOURCE, "[store]\n", "store = {}\n", "[web]\nlisten = 1\n"])
def test_the_state_is_where_it_is_by_default_when_nothing_is_said(tmp_path: Path, text: str) -> None:
    assert load_store(None, {}).path == tmp_path / "notifier-state.db"
    Path("notifier.toml").write_text(text)
    environment = {"NOTIFIER_STATE": "", "NOTIFIER_LISTEN": "", "NOTIFIER_WEB_TOKEN": "x"}
    assert load_store(None, environment).path == tmp_path / "notifier-state.db"
    assert load_store(Path("notifier.toml"), {}) == StoreSettings()


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ('[store]\nurl = "${NO}"', {}, [("store.url", "the environment variable NO is not set")]),
        ('[store]\nurl = "x"', {}, [("store.url", f"{NO_STORE}; for that file write sqlite:///x")]),
        ("[store]\nurl = 1", {}, [("store.url", "must be a string in quotes")]),
        ('[store]\nurls = "x"\nkeep = 1', {}, [("store.keep", KEEP), ("store.urls", URLS)]),
        ("store = 1", {}, [("store", f"{SINGLE} [store] in single brackets")]),
        ("[[store]]", {}, [("store", f"{SINGLE} [store] in single brackets")]),
        ("store = 1", {"NOTIFIER_STATE": "x"}, [("store", f"{SINGLE} [store] in single brackets")]),
        (
            "sources = 1",
            {"NOTIFIER_STATE": "postgresql://user:that-is-secret@db/x"},
            [("NOTIFIER_STATE", "PostgreSQL is not available yet; use sqlite:///…")],
        ),
        ("[store", {}, [("file", "is not valid TOML: Expected ']' at the end of a table declaration")]),
    ],
)
def test_of_a_config_that_is_only_asked_for_the_store_no_other_problem_is_told(
    text: str, environment: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    Path("notifier.toml").write_text(f"{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_store(None, environment)
    assert caught.value.origin == "notifier.toml"
    assert "that-is-secret" not in f"{caught.value} {caught.value.problems}"
    found = [(where, message.partition(" (at line")[0]) for where, message in caught.value.problems]
    assert sorted(found) == expected


def test_a_store_of_the_environment_alone_that_is_wrong_is_told_by_its_name() -> None:
    with pytest.raises(ConfigError) as caught:
        load_store(None, {"NOTIFIER_STATE": "state.db"})
    assert caught.value.origin == "the environment"
    assert caught.value.problems == [
        ("NOTIFIER_STATE", f"{NO_STORE}; for that file write sqlite:///state.db")
    ]
    with pytest.raises(ConfigError):
        load_store(Path("missing.toml"), {})


# ---------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (TARGET, []),
        (SOURCE, ["there is no target: nobody would hear of any event"]),
        (
            TARGET.replace("[targets", 'poll_every = "999ms"\n[targets'),
            ["allium: polls more often than once a second; the API asks for at most one a second"],
        ),
        (
            TARGET.replace("[targets", 'name = "prod"\npoll_idle_every = "1ms"\n[targets'),
            ["prod: polls more often than once a second; the API asks for at most one a second"],
        ),
        (
            TARGET + '[store]\nurl = "sqlite:////no/such/place/state.db"',
            ["the directory of the state, /no/such/place, does not exist yet"],
        ),
        (
            TARGET + '[store]\nurl = "sqlite:///notifier.toml/state.db"',
            ["the directory of the state, {here}/notifier.toml, is no directory"],
        ),
        (
            TARGET + f'[store]\nurl = "sqlite:////{"x" * 300}/state.db"',
            [f"the directory of the state, /{'x' * 300}, cannot be looked at: file name too long"],
        ),
        (
            TARGET + SOURCE + 'name = "again"\nbase_url = "https://api.allium.so/"',
            [
                (
                    "allium and again have the same API key: their jobs are the same, each is announced 2 "
                    "times, and the API's one request a second is shared"
                )
            ],
        ),
        (TARGET + SOURCE + 'name = "other"\nbase_url = "https://api.example.com"', []),
        (TARGET + '[[sources]]\nname = "other"\napi_key = "another"', []),
        (SLACK, []),
        (SLACK_HOOK + 'style = "message"', []),
        (SLACK + 'style = "card"\nbroadcast = ["backfill.failed", "*.removed"]', []),
        (
            SLACK + 'broadcast = ["source.*"]',
            ['team: broadcast of "source.*" does nothing: only events of jobs are replies'],
        ),
        (
            SLACK + 'broadcast = ["backfill.faild"]',
            [
                'team: broadcast of "backfill.faild", which is no known type of event; did you mean "backfill.failed"?'
            ],
        ),
        (TARGET + f'quiet = {{ {NIGHT}, except = ["backfill.*", "TARGET.down"] }}', []),
        (
            TARGET + f'quiet = {{ {NIGHT}, except = ["backfill.faild"] }}',
            [
                'ops: quiet except "backfill.faild", which is no known type of event; did you mean "backfill.failed"?'
            ],
        ),
        (SLACK + 'mentions = { "backfill.*" = "<!here>", "source.down" = "<!here>" }', []),
        (
            SLACK + 'mentions = { "backfill.faild" = "<!here>" }',
            [
                'team: mentions for "backfill.faild", which is no known type of event; did you mean "backfill.failed"?',
            ],
        ),
        (
            TARGET + '[[routes]]\nto = ["ops"]\nevents = ["nonsense"]',
            [],
        ),  # `check` tells: tests/test_silence.py
        (
            TARGET + '[web]\nlisten = "0.0.0.0:1"\ntoken = "15-that-is-secr"',
            [
                "the token of the page ([web] token) has less than 16 characters, which can be guessed; make one with: openssl rand -base64 32"
            ],
        ),
        (TARGET + '[web]\nlisten = "0.0.0.0:1"\ntoken = "16-that-is-secre"', []),
    ],
)
def test_what_is_odd_without_being_wrong_is_a_warning(text: str, warnings: list[str]) -> None:
    assert load(text).warnings == [warning.replace("{here}", str(Path.cwd())) for warning in warnings]


@pytest.mark.parametrize(
    "secret", ["sk-live-0123456789", "whsec_MfKQ9r8/GKYqrTwjUPD8ILPZIo2LaLaSw", "https://a.b/c?d"]
)
def test_a_secret_written_where_its_file_belongs_is_not_shown(secret: str) -> None:
    config = f'[[sources]]\napi_key_file = "{secret}"\n'
    [(where, message)] = problems(config)
    assert where == "sources[0].api_key_file"
    assert secret not in message


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    config = f'[[sources]]\napi_key_file = "{tmp_path}/key"\n'
    assert problems(config) == [
        ("sources[0].api_key_file", f"{tmp_path}/key cannot be read: no such file or directory")
    ]


def test_a_variable_that_is_no_text_is_told_wherever_it_is_used() -> None:
    odd = "#d\udce9"
    assert problems(None, ALLIUM_API_KEY=KEY, SLACK_BOT_TOKEN=TOKEN, SLACK_CHANNEL=odd) == [
        ("SLACK_CHANNEL", "is not UTF-8 text")
    ]
    assert problems(SOURCE, NOTIFIER_STATE=f"sqlite:///{odd}") == [("NOTIFIER_STATE", "is not UTF-8 text")]
    assert problems(SOURCE + 'ca_file = "${ODD}"', ODD=odd) == [
        ("sources[0].ca_file", "the environment variable ODD is not UTF-8 text")
    ]


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [
        (
            "api_key = '\"k-that-is-secret\"'",
            "api_key",
            "has quotes around it that belong to no secret; write it without",
        ),
        ('api_key = "Bearer k-that-is-secret"', "api_key", "begins with Bearer; write what follows alone"),
        ('api_key = "./key"', "api_key", "is the path of a file; that belongs in the key that ends in _file"),
        (
            'api_key = "k"\nbase_url = "https://api.allium.so/api/v1/beam/backfills"',
            "base_url",
            "must end before /api/v1/…, which is added to it",
        ),
    ],
)
def test_what_was_copied_with_too_much_is_told(source: str, where: str, message: str) -> None:
    Path("key").write_text("k")
    assert problems(f"[[sources]]\n{source}\n") == [(f"sources[0].{where}", message)]
