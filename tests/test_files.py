"""The files beside the code say what the code does."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic.fields import FieldInfo

from notifier import environment
from notifier.config import Config, load_config
from notifier.fields import Section
from notifier.heartbeat import HeartbeatSettings
from notifier.later import NOT_YET, NotYet
from notifier.quiet import QuietSettings
from notifier.route import RouteSettings
from notifier.rules import JobRules
from notifier.schema import json_schema
from notifier.settings import DeliverySettings, LogSettings, Settings, StoreSettings, WebSettings
from notifier.silence import unheard
from notifier.source import SourceSettings
from notifier.targets.slack.settings import SlackSettings
from notifier.targets.webhook import WebhookSettings

ROOT = Path(__file__).parent.parent
NEEDED = {"ALLIUM_API_KEY": "key", "SLACK_BOT_TOKEN": "xoxb-token"}
OF_ALTERNATIVES = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T1/B1/x",
    "OPS_WEBHOOK_URL": "https://ops.example.com/hooks/backfills",
    "OPS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "OPS_TOKEN": "token",
}
TABLES: tuple[type[Section], ...] = (
    *(SourceSettings, JobRules, SlackSettings, WebhookSettings, QuietSettings, RouteSettings),
    *(DeliverySettings, StoreSettings, WebSettings, HeartbeatSettings, LogSettings),
)
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


# ------------------------------------------------------------------------------------ the example


def example(*, defaults: bool = False, alternatives: bool = False) -> str:
    """Return the example config, with what it comments out in force as asked for."""
    text = (ROOT / "config" / "notifier.toml").read_text()
    blocks = text.split("\n\n")
    for number, block in enumerate(blocks):
        is_alternative = re.search(r"^# \[", block, flags=re.MULTILINE)
        if is_alternative and alternatives:
            blocks[number] = re.sub(r"^# ", "", block, flags=re.MULTILINE)
        if not is_alternative and defaults:
            blocks[number] = re.sub(r"^# (?=[a-z_]+ = )", "", block, flags=re.MULTILINE)
    return "\n\n".join(blocks)


def read(text: str, **more: str) -> Config:
    """Return what a config makes, after a look whether its schema accepts it."""
    VALIDATOR.validate(tomllib.loads(text))
    Path("example.toml").write_text(text)
    return load_config(Path("example.toml"), NEEDED | more)


def test_the_example_posts_to_a_slack_channel_with_two_variables_set() -> None:
    config = read(example())
    assert config.warnings == []
    assert {name: target.shown for name, target in config.settings.targets.items()} == {
        "data-team": "Slack, #data-backfills by a bot token, a card a job"
    }


def test_what_the_example_comments_out_in_a_table_are_the_defaults() -> None:
    assert example(defaults=True).count("\n# ") < example().count("\n# ") - 15
    assert read(example(defaults=True)).settings == read(example()).settings


def test_the_alternatives_of_the_example_are_accepted() -> None:
    config = read(example(defaults=True, alternatives=True), **OF_ALTERNATIVES)
    assert config.warnings == []
    assert list(config.settings.targets) == ["data-team", "data-hook", "ops"]
    assert len(config.settings.routes) == 2
    lines = list(unheard(config.settings))
    assert "no route leads to data-hook: it would hear of nothing" in lines
    assert not any("matches no" in line or "never" in line for line in lines)


def test_the_example_shows_every_key_that_does_something() -> None:
    data = tomllib.loads(example(defaults=True, alternatives=True))
    team, hook, ops = (data["targets"][name] for name in ("data-team", "data-hook", "ops"))
    shown = {
        SourceSettings: data["sources"][0],
        JobRules: data["sources"][0]["jobs"][0],
        SlackSettings: team | hook,
        WebhookSettings: ops,
        QuietSettings: hook["quiet"] | ops["quiet"],
        RouteSettings: data["routes"][0] | data["routes"][1],
        DeliverySettings: data["delivery"],
        StoreSettings: data["store"],
        WebSettings: data.get("web", {}),
        HeartbeatSettings: data["heartbeat"],
        LogSettings: data["log"],
    }
    for table in TABLES:
        keys = {key for key in fields(table) if not is_later(table, key) and not key.endswith("_file")}
        assert keys <= shown[table].keys(), table
        assert not {key for key in shown[table] if is_later(table, key)}


def fields(table: type[Section]) -> dict[str, FieldInfo]:
    """Return the keys of a table, as the file has them."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def is_later(table: type[Section], key: str) -> bool:
    return any(isinstance(each, NotYet) for each in fields(table)[key].metadata)


def test_the_example_leads_editors_to_its_schema_and_fits_a_screen() -> None:
    lines = example().splitlines()
    assert lines[0] == "#:schema ./notifier.schema.json"
    assert max(map(len, lines)) <= 120


# ------------------------------------------------------------------------------------- the schema


def test_the_schema_file_is_what_the_command_prints() -> None:
    printed = json.dumps(SCHEMA, indent=2, ensure_ascii=False) + "\n"
    assert (ROOT / "config" / "notifier.schema.json").read_text() == printed


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def properties(node: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each property in a schema, with its name."""
    if isinstance(node, list):
        for item in node:
            yield from properties(item, name)
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            yield f"{name}.{key}", value
        for key, value in node.items():
            yield from properties(value, key if key.endswith("Settings") else name)


def test_every_key_is_described() -> None:
    found = dict(properties(SCHEMA))
    assert len(found) == sum(len(table.model_fields) for table in TABLES) + len(Settings.model_fields)
    for name, value in found.items():
        told = value.get("description") or referenced(value)["description"]
        assert re.fullmatch(r"[\"A-Z].*[^. ]\.", told), (name, told)
        assert "\n" not in told
    assert all(table["description"] for table in SCHEMA["$defs"].values())


def referenced(value: dict[str, Any]) -> dict[str, Any]:
    name = value["$ref"].removeprefix("#/$defs/")
    table: dict[str, Any] = SCHEMA["$defs"][name]
    return table


def test_what_is_not_available_yet_says_so_first() -> None:
    assert NOT_YET not in json.dumps(SCHEMA)
    for table in TABLES:
        for key, value in SCHEMA["$defs"][table.__name__]["properties"].items():
            assert value["description"].startswith("Not available yet: ") == is_later(table, key), key


def test_the_schema_knows_no_null() -> None:
    assert "null" not in json.dumps(SCHEMA)


def test_defaults_are_written_as_the_file_writes_them_and_are_the_defaults() -> None:
    least: dict[str, dict[str, Any]] = {
        "SourceSettings": {"api_key": "k"},
        "SlackSettings": {"type": "slack", "token": "xoxb-1", "channel": "#x"},
        "WebhookSettings": {"type": "webhook", "url": "https://h/"},
        "RouteSettings": {"to": ["team"]},
    }
    full = {
        name: {key: value["default"] for key, value in table["properties"].items() if "default" in value}
        | least.get(name, {})
        for name, table in SCHEMA["$defs"].items()
    }
    read_back = [
        Settings.model_validate(
            {
                "sources": [tables["SourceSettings"]],
                "targets": {"team": tables["SlackSettings"], "ops": tables["WebhookSettings"]},
                "routes": [tables["RouteSettings"]],
                "delivery": tables.get("DeliverySettings", {}),
                "store": tables.get("StoreSettings", {}),
                "web": tables.get("WebSettings", {}),
                "heartbeat": tables.get("HeartbeatSettings", {}),
                "log": tables.get("LogSettings", {}),
            }
        )
        for tables in (full, least)
    ]
    assert read_back[0] == read_back[1]
    for table in TABLES:
        for key, field in fields(table).items():
            made = field.get_default(call_default_factory=True)
            in_file = "default" in SCHEMA["$defs"][table.__name__]["properties"][key]
            assert in_file == (not field.is_required() and made not in (None, ())), (table, key)


def strings(node: Any, beside: tuple[Any, ...] = ()) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
    """Yield each schema of a string, with the others that would do in its place."""
    if isinstance(node, dict):
        if node.get("type") == "string":
            yield node, beside
        for key, value in node.items():
            for each in value if isinstance(value, list) else [value]:
                yield from strings(each, tuple(value) if key == "anyOf" else ())


def test_a_variable_is_accepted_wherever_a_string_is() -> None:
    found = list(strings(SCHEMA))
    assert len(found) > 50
    for node, beside in found:
        assert jsonschema.Draft202012Validator({"anyOf": [node, *beside]}).is_valid("${X}"), node


SLACK = {"type": "slack", "token": "${SLACK_BOT_TOKEN}", "channel": "#data"}
HOOK = {"type": "slack", "webhook_url": "${SLACK_WEBHOOK_URL}"}
OPS = {"type": "webhook", "url": "https://ops.example.com/hooks"}
QUIET = {"from": "22:00", "to": "07:00", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"log": {"level": "${LEVEL}"}}, True),
        ({"log": {"level": "loud"}}, False),
        ({"log": {"level": "info"}, "logs": {}}, False),
        ({"store": {"url": "${STORE}"}}, True),
        ({"store": {"url": "/var/lib/state.db"}}, False),
        ({"delivery": {"give_up_after": "1d12h", "digest_over": 10}}, True),
        ({"delivery": {"give_up_after": 3}}, False),
        ({"delivery": {"digest_over": "10"}}, False),
        ({"web": {"listen": ""}}, True),
        ({"heartbeat": {"url": "${PING_URL}", "every": "5m", "signals": True}}, True),
        ({"heartbeat": {"url_file": "/run/url", "timeout": "5s"}}, True),
        ({"heartbeat": {"url": ""}}, True),
        ({"heartbeat": {"url": "hc-ping.com/x"}}, False),
        ({"heartbeat": {"url": "https://h/", "signals": "yes"}}, False),
        ({"heartbeat": {"url": "https://h/", "evry": "1m"}}, False),
        # sources
        ({"sources": [{"api_key_file": "/run/key", "poll_every": "90s"}]}, True),
        ({"sources": [{"api_key": "k", "job_link": "https://app.example.com/{job_id}"}]}, True),
        ({"sources": [{"api_key": "k", "job_link": "app.example.com/{job_id}"}]}, False),
        ({"sources": [{"api_key": "k", "poll_every": ""}]}, False),
        ({"sources": [{"api_key": "k", "poll_evry": "90s"}]}, False),
        ({"sources": [{"api_key": "k", "max_body": "64 KiB"}]}, True),
        ({"sources": [{"api_key": "k", "max_body": 65536}]}, False),
        ({"sources": [{"api_key": "k", "proxy": "socks5://h"}]}, False),
        ({"sources": [{"api_key": "k", "name": "my source"}]}, False),
        ({"sources": [{"api_key": ""}]}, False),
        ({"sources": [{"name": "x"}]}, False),
        ({"sources": [{"api_key": "k", "api_key_file": "/run/key"}]}, False),
        ({"sources": []}, False),
        ({"sources": {"api_key": "k"}}, False),
        # webhooks
        ({"targets": {"t": {"type": "webhook", "url": "${URL}", "secret": ["${A}", "whsec_x"]}}}, True),
        ({"targets": {"t": OPS | {"secret": "whsec_x", "headers": {"X": "${Y}"}}}}, True),
        ({"targets": {"t": {"type": "webhook", "url_file": "/run/url"}}}, True),
        ({"targets": {"t": OPS | {"format": "cloudevents"}}}, True),
        ({"targets": {"t": OPS | {"format": "xml"}}}, False),
        ({"targets": {"t": OPS | {"secret": "x"}}}, False),
        ({"targets": {"t": OPS | {"headers": {"X": 1}}}}, False),
        ({"targets": {"t": OPS | {"channel": "#x"}}}, False),
        ({"targets": {"t": {"type": "webhook", "url": "ops.example.com"}}}, False),
        ({"targets": {"t": {"type": "webhook"}}}, False),
        ({"targets": {"my ops": OPS}}, False),
        ({"targets": [OPS]}, False),
        ({"targets": {"t": {"type": "email", "url": "https://h/"}}}, False),
        ({"targets": {"t": {"url": "https://h/"}}}, False),
        # Slack
        ({"targets": {"t": SLACK}}, True),
        ({"targets": {"t": SLACK | {"type": "${KIND}", "channel": "${CHANNEL}"}}}, True),
        ({"targets": {"t": SLACK | {"channel": "C0123456789", "style": "card", "timeout": "5s"}}}, True),
        ({"targets": {"t": {"type": "slack", "token_file": "/run/token", "channel": "#x"}}}, True),
        ({"targets": {"t": HOOK, "u": {"type": "slack", "webhook_url_file": "/run/hook"}}}, True),
        ({"targets": {"t": SLACK | {"mentions": {"backfill.failed": "<!here>", "source.*": "${X}"}}}}, True),
        ({"targets": {"t": SLACK | {"mentions": {"backfill.paused": "<!here>", "target.up": "x"}}}}, True),
        ({"targets": {"t": SLACK | {"mentions": {"failed": "<!here>"}}}}, False),
        ({"targets": {"t": SLACK | {"mentions": {"backfill.failed": ["<!here>"]}}}}, False),
        ({"targets": {"t": SLACK | {"mentions": {"backfill": {"failed": "<!here>"}}}}}, False),
        ({"targets": {"t": SLACK | {"mentions": "<!here>"}}}, False),
        ({"targets": {"t": SLACK | {"channel": "data"}}}, False),
        ({"targets": {"t": SLACK | {"style": "cards"}}}, False),
        ({"targets": {"t": SLACK | {"chanel": "#x"}}}, False),
        ({"targets": {"t": SLACK | {"webhook_url": "https://h/"}}}, False),
        ({"targets": {"t": HOOK | {"webhook_url": "hooks.slack.com/services/x"}}}, False),
        ({"targets": {"t": {"type": "slack", "token": "xoxb-1"}}}, False),
        ({"targets": {"t": {"type": "slack", "channel": "#x"}}}, False),
        ({"targets": {"t": {"type": "slack"}}}, False),
        # quiet hours
        ({"targets": {"t": OPS | {"quiet": QUIET}, "u": SLACK | {"quiet": QUIET | {"to": "24:00"}}}}, True),
        (
            {"targets": {"t": OPS | {"quiet": QUIET | {"days": ["mon", "Tue", "${D}"], "except": ["*"]}}}},
            True,
        ),
        ({"targets": {"t": OPS | {"quiet": {"from": "22:00"}}}}, False),
        ({"targets": {"t": OPS | {"quiet": QUIET | {"from": "24:00"}}}}, False),
        ({"targets": {"t": OPS | {"quiet": QUIET | {"to": "7:00"}}}}, False),
        ({"targets": {"t": OPS | {"quiet": QUIET | {"days": ["monday"]}}}}, False),
        ({"targets": {"t": OPS | {"quiet": QUIET | {"days": []}}}}, False),
        ({"targets": {"t": OPS | {"quiet": QUIET | {"until": "07:00"}}}}, False),
        ({"targets": {"t": OPS | {"quiet": "22:00-07:00"}}}, False),
        # routes
        ({"routes": []}, True),
        ({"targets": {"t": OPS}, "routes": [{"to": ["t"]}]}, True),
        (
            {"routes": [{"to": ["${T}"], "events": ["backfill.*", "source.down", "${E}"], "tables": ["x"]}]},
            True,
        ),
        ({"routes": [{"to": ["t"], "sources": ["*"], "names": ["a?"], "destinations": ["kafka"]}]}, True),
        ({"routes": [{"to": []}]}, False),
        ({"routes": [{"to": "t"}]}, False),
        ({"routes": [{"events": ["backfill.failed"]}]}, False),
        ({"routes": [{"to": ["t"], "events": []}]}, False),
        ({"routes": [{"to": ["t"], "events": [""]}]}, False),
        ({"routes": [{"to": ["t"], "events": "backfill.failed"}]}, False),
        ({"routes": [{"to": ["t"], "tables": [1]}]}, False),
        ({"routes": [{"to": ["t"], "event": ["backfill.failed"]}]}, False),
        ({"routes": {"to": ["t"]}}, False),
    ],
)
def test_the_schema_tells_good_from_bad(change: dict[str, Any], *, accepted: bool) -> None:
    config = {"sources": [{"api_key": "${ALLIUM_API_KEY}"}]} | change
    assert VALIDATOR.is_valid(config) == accepted


# ---------------------------------------------------------------------------------- the reference


def test_the_reference_is_what_its_writer_makes_of_the_schema() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "reference.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_reference_has_every_key_and_every_variable() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert len(re.findall(r"^\| `[a-z_]+` \| ", text, flags=re.MULTILINE)) == sum(
        len(table.model_fields) for table in TABLES
    )
    variables = {name for name, _ in environment._SOURCE_VARIABLES}
    variables |= {name for name, _, _ in environment._OVERRIDES}
    variables |= {name for _, names in environment._TARGETS.values() for name in names}
    assert not {name for name in variables if f"`{name}`" not in text}
    assert "NOTIFIER_CONFIG" in text


def test_requirements_name_no_address() -> None:
    for file in (ROOT / "requirements").iterdir():
        assert "://" not in file.read_text()
        assert "--hash=sha256:" in file.read_text()
