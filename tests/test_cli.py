"""The command line, and the commands that poll or say what a config means."""

import asyncio
import fcntl
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook as Verifier

from notifier import __version__
from notifier.fields import decode_signing_secret
from notifier.store.sqlite import SqliteStore
from tests.commands import KEY, WHSEC, ended, invoke, notifier, start
from tests.servers import ScriptedServer, job, served

COMMANDS = [
    *(
        "run",
        "once",
        "reload",
        "check",
        "test",
        "preview",
        "explain",
        "health",
        "status",
        "jobs",
        "deliveries",
        "demo",
    ),
    *("retry", "mute", "unmute", "mutes", "backup", "keygen", "schema"),
]
GOOD = f"""
[[sources]]
api_key = "{KEY}"
[targets.ops]
type = "webhook"
url = "https://ops.example.com/path-that-is-secret"
"""


def environment_of(api: ScriptedServer, receiver: ScriptedServer) -> dict[str, str]:
    """Return variables that configure one source and one target."""
    return {
        "ALLIUM_API_KEY": KEY,
        "ALLIUM_BASE_URL": api.url,
        "WEBHOOK_URL": f"{receiver.url}/path-that-is-secret",
        "WEBHOOK_SECRET": WHSEC,
        "NOTIFIER_STATE": "sqlite:///state.db",
    }


def write_config(api: ScriptedServer, receiver: ScriptedServer, more: str = "") -> None:
    """Write a config that announces the first poll, too."""
    Path("notifier.toml").write_text(
        f"""
        [[sources]]
        api_key = "{KEY}"
        base_url = "{api.url}"
        first_poll = "announce"
        [targets.ops]
        type = "webhook"
        url = "{receiver.url}/path-that-is-secret"
        headers = {{ Authorization = "Bearer token-that-is-secret" }}
        [delivery]
        first_retry = "1ms"
        {more}
        """
    )


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


# ----------------------------------------------------------------------------- the command line


def test_the_version_is_printed() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"notifier {__version__}\n", "")


async def test_the_version_is_printed_without_loading_anything_large() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "notifier", "--version"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, imported = await process.communicate()
    assert out.decode() == f"notifier {__version__}\n"
    assert b"typer" in imported
    for large in (b"aiohttp", b"pydantic", b"asyncio", b"rich"):
        assert b" " + large + b"\n" not in imported


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_command_has_help(command: str | None, flag: str) -> None:
    result = invoke(*([] if command is None else [command]), flag)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert "--help" in result.stdout
    assert result.stderr == ""


def test_help_lists_the_commands() -> None:
    lines = invoke("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines if line[2:3].strip()] == COMMANDS
    assert all(line.endswith(".") and not line.endswith("...") for line in lines), "each says all of it"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["run", "--nonsense"],
        ["check", "extra"],
        ["check", "--config"],
        ["once", "--timeout"],
        ["once", "--timeout", "5"],
        ["once", "--timeout", "soon"],
        ["demo", "--seconds", "1"],
        ["demo", "--seconds", "x"],
        ["test"],
        ["preview"],
        ["preview", "ops", "extra"],
        ["explain"],
        ["keygen", "extra"],
        [],
    ],
)
def test_wrong_usage_is_told_and_exits_with_2(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert re.search("Usage: |Error: ", result.output)


# -------------------------------------------------------------------------------- check


def test_check_prints_what_the_config_means(tmp_path: Path) -> None:
    (tmp_path / "notifier.toml").write_text(
        f"""
        [[sources]]
        name = "prod"
        api_key = "{KEY}"
        base_url = "https://user:1-that-is-secret@api.example.com/gateway"
        [[sources]]
        name = "test"
        api_key = "{KEY}"
        poll_every = "1m30s"
        poll_idle_every = "5m"
        first_poll = "announce"
        [targets.ops]
        type = "webhook"
        url = "https://user:2-that-is-secret@ops.example.com:8443/3-that-is-secret?4-that-is-secret"
        [targets.data]
        type = "webhook"
        url = "https://data.example.com/5-that-is-secret"
        secret = "{WHSEC}"
        quiet = {{ from = "22:00", to = "07:00", timezone = "Europe/Berlin", except = ["backfill.failed"] }}
        [targets.audit]
        type = "webhook"
        url = "https://audit.example.com"
        secret = ["{WHSEC}", "{WHSEC}"]
        [targets.team]
        type = "slack"
        token = "xoxb-6-that-is-secret"
        channel = "#data-backfills"
        [targets.grid]
        type = "slack"
        token = "xoxb-7-that-is-secret"
        channel = "C0123456789"
        api_url = "https://slack.example.com/8-that-is-secret/"
        [targets.hook]
        type = "slack"
        webhook_url = "https://hooks.slack.com/services/9-that-is-secret"
        [store]
        url = "sqlite:///state.db"
        """
    )
    result = invoke("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"""\
config   notifier.toml
state    {tmp_path}/state.db (new)

sources  2
  prod: https://api.example.com, every 15s, every 1m while no job is active; the first poll is a baseline and announces nothing
    down after 5m; stalled after 30m, stalled while staging after 6h, progress at 25, 50, 75 %
  test: https://api.allium.so, every 1m30s, every 5m while no job is active; the first poll announces all jobs
    down after 5m; stalled after 30m, stalled while staging after 6h, progress at 25, 50, 75 %
targets  6
  ops: webhook at https://ops.example.com:8443, not signed
  data: webhook at https://data.example.com, signed
    quiet from 22:00 to 07:00 Europe/Berlin, except for backfill.failed
  audit: webhook at https://audit.example.com, signed with 2 secrets
  team: Slack, #data-backfills by a bot token, a card a job
  grid: Slack, C0123456789 by a bot token at https://slack.example.com, a card a job
  hook: Slack, by an incoming webhook of https://hooks.slack.com
routes   none: every event but backfill.progress goes to every target
web      http://127.0.0.1:8080/ for whoever is on this machine

The config is fine.
"""
    )
    (tmp_path / "state.db").touch()
    assert f"state    {tmp_path}/state.db\n" in invoke("check").stdout


def test_check_prints_the_routes_and_what_nobody_would_hear_of() -> None:
    Path("notifier.toml").write_text(
        GOOD
        + """
        [targets.spare]
        type = "webhook"
        url = "https://spare.example.com"
        [[routes]]
        events = ["backfill.*", "source.*"]
        to = ["ops"]
        [[routes]]
        sources = ["alium"]
        tables = ["base.*", "eth.*"]
        names = ["*usdc*"]
        destinations = ["kafka"]
        to = ["ops"]
        """
    )
    result = invoke("check")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "notifier: warning: no route leads anywhere for target.down, target.up, delivery.dead of source allium: nobody hears of it",
        "notifier: warning: no route leads to spare: it would hear of nothing",
        'notifier: warning: routes[1].sources: "alium" matches no source; did you mean "allium"?',
    ]
    assert result.stdout.partition("routes ")[2] == (
        """\
  2
  routes[0]: backfill.*, source.* → ops
  routes[1]: every event but backfill.progress; sources alium; tables base.* or eth.*; names *usdc*; destinations kafka → ops
web      http://127.0.0.1:8080/ for whoever is on this machine

The config is valid, with 3 warnings.
"""
    )


async def test_check_says_how_many_deliveries_a_start_would_give_up(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    write_config(api, receiver, '[store]\nurl = "sqlite:///state.db"')
    api.answer = [job("j1"), job("j2")]
    receiver.answer = web.Response(status=503)
    assert (await notifier("once")).code == 1
    text = Path("notifier.toml").read_text()  # noqa: ASYNC240 - a file of the test
    for old, new, why in (
        ("[targets.ops]", "[targets.other]", "target ops: the target is no longer configured"),
        ("[[sources]]", '[[sources]]\nname = "other"', "source allium: the source is no longer configured"),
    ):
        Path("notifier.toml").write_text(text.replace(old, new))  # noqa: ASYNC240
        done = await notifier("check")
        assert done.code == 0
        assert f"a start would give up 2 pending deliveries ({why})" in done.err
    Path("notifier.toml").write_text(text)  # noqa: ASYNC240
    assert (await notifier("check")).err == ""


@pytest.mark.parametrize("command", ["check", "status", "keygen"])
def test_what_cannot_be_written_is_an_error(command: str, tmp_path: Path) -> None:
    Path("notifier.toml").write_text(GOOD)
    SqliteStore(tmp_path / "notifier-state.db").close()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "notifier", command],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "notifier: cannot write: no space left on device\n")


@pytest.mark.parametrize("command", ["check", "status"])
async def test_an_output_that_is_no_utf_8_gets_what_it_can_show(command: str, tmp_path: Path) -> None:
    Path("notifier.toml").write_text(GOOD + '[[routes]]\nto = ["ops"]\n')  # noqa: ASYNC240
    SqliteStore(tmp_path / "notifier-state.db").close()
    done = await notifier(command, PYTHONIOENCODING="ascii")
    assert done.code == 0


def test_check_reads_the_environment_when_there_is_no_file() -> None:
    result = invoke("check", ALLIUM_API_KEY=KEY, WEBHOOK_URL="https://ops.example.com/that-is-secret")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("config   the environment\n")
    assert "  webhook: webhook at https://ops.example.com, not signed\n" in result.stdout


def test_check_tells_all_problems_and_exits_with_2() -> None:
    Path("notifier.toml").write_text(
        '[[sources]]\napi_ky = "that-is-secret"\npoll_every = 15\n[targets.ops]\ntype = "slack"\n'
        '[targets.pager]\ntype = "pager"\n[[routes]]\nto = ["opps"]\n'
    )
    result = invoke("check")
    assert (result.exit_code, result.stdout) == (2, "")
    first, *lines = result.stderr.splitlines()
    assert first == "notifier: 6 problems in notifier.toml:"
    assert sorted(line.partition(":")[0] for line in lines) == [
        *("  routes[0].to[0]", "  sources[0].api_key", "  sources[0].api_ky", "  sources[0].poll_every"),
        *("  targets.ops.token", "  targets.pager.type"),
    ]
    assert '  sources[0].api_ky: unknown key; did you mean "api_key"?' in lines
    assert "  sources[0].api_key: is missing; set api_key or api_key_file" in lines


def test_check_tells_one_problem_as_one() -> None:
    result = invoke("check")
    assert result.exit_code == 2
    assert result.stderr == (
        "notifier: 1 problem in the environment:\n"
        "  ALLIUM_API_KEY: is not set; set it, or ALLIUM_API_KEY_FILE\n"
        "  (there is no config file, notifier.toml or /etc/notifier/notifier.toml, and none was named by "
        "--config)\n"
    )


def test_check_warns_of_what_is_odd(tmp_path: Path) -> None:
    Path("notifier.toml").write_text(
        f'[[sources]]\napi_key = "{KEY}"\npoll_every = "500ms"\n[store]\nurl = "sqlite:///missing/state.db"\n'
    )
    result = invoke("check")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "notifier: warning: there is no target: nobody would hear of any event",
        "notifier: warning: allium: polls more often than once a second; the API asks for at most one a second",
        f"notifier: warning: the directory of the state, {tmp_path}/missing, does not exist yet",
    ]
    assert result.stdout.endswith("The config is valid, with 3 warnings.\n")


def test_check_tells_why_the_state_cannot_be_looked_at() -> None:
    name = "x" * 300
    result = invoke("check", ALLIUM_API_KEY=KEY, NOTIFIER_STATE=f"sqlite:////{name}")
    assert result.exit_code == 0
    assert f"state    /{name} (cannot be looked at: file name too long)\n" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "other.toml", "check"],
        ["check", "--config", "other.toml"],
        ["--config", "missing.toml", "check", "--config", "other.toml"],
    ],
)
def test_the_config_can_stand_before_and_after_the_command(arguments: list[str]) -> None:
    Path("other.toml").write_text(GOOD)
    result = invoke(*arguments, NOTIFIER_CONFIG="missing.toml")
    assert result.exit_code == 0
    assert result.stdout.startswith("config   other.toml\n")


@pytest.mark.parametrize(
    "command",
    [
        *("run", "once", "check", "check --connect", "test ops", "preview ops", "explain source.up"),
        *("status", "jobs", "deliveries"),
    ],
)
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--config", "missing.toml"], {}), ([], {"NOTIFIER_CONFIG": "missing.toml"})],
)
def test_a_config_that_is_missing_exits_with_2(
    command: str, arguments: list[str], environment: dict[str, str]
) -> None:
    Path("notifier.toml").write_text(GOOD)
    result = invoke(*command.split(), *arguments, **environment)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "notifier: 1 problem in missing.toml:\n  file: cannot be read: no such file or directory\n"
    )


# --------------------------------------------------------------------------- keygen and schema


def test_keygen_prints_another_usable_secret_each_time() -> None:
    printed = [invoke("keygen") for _ in range(3)]
    assert [result.exit_code for result in printed] == [0, 0, 0]
    secrets = {result.stdout.removesuffix("\n") for result in printed}
    assert len(secrets) == 3
    for secret in secrets:
        assert len(decode_signing_secret(secret)) == 32
        environment = {"ALLIUM_API_KEY": KEY, "WEBHOOK_URL": "https://h/", "WEBHOOK_SECRET": secret}
        assert invoke("check", **environment).exit_code == 0


def test_schema_prints_a_schema_that_tells_good_from_bad() -> None:
    result = invoke("schema")
    assert (result.exit_code, result.stderr) == (0, "")
    schema = json.loads(result.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    source: dict[str, Any] = {"api_key": "${ALLIUM_API_KEY}", "poll_every": "1m30s"}
    validator.validate({"sources": [source]})
    for bad in ({}, {"sources": [source | {"poll_every": 15}]}, {"sources": [source], "typo": 1}):
        assert not validator.is_valid(bad)


# ------------------------------------------------------------------------------------ once


async def test_once_announces_what_changed_since_the_last_time(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    environment = environment_of(api, receiver)
    api.answer = [job("j1", "transporting")]
    first = await notifier("once", **environment)
    assert (first.code, first.out) == (0, "")
    assert receiver.requests == []

    api.answer = [job("j1", "completed"), job("j2")]
    assert (await notifier("once", **environment)).code == 0
    assert sorted((event["type"], event["data"]["job_id"]) for event in receiver.events) == [
        ("backfill.completed", "j1"),
        ("backfill.staging", "j2"),
    ]
    for request, body in receiver.requests:
        Verifier(WHSEC).verify(body, dict(request.headers))

    assert (await notifier("once", **environment)).code == 0
    assert len(receiver.requests) == 2
    assert [request.headers["X-API-Key"] for request, _ in api.requests] == [KEY] * 3


async def test_once_fails_when_the_key_is_refused(api: ScriptedServer, receiver: ScriptedServer) -> None:
    api.answer = web.json_response({"message": f"bad key {KEY}"}, status=401)
    done = await notifier("once", **environment_of(api, receiver))
    assert done.code == 1
    assert "the API key of source allium was refused (401)" in done.err


async def test_once_fails_when_one_of_two_sources_does_and_sends_what_the_other_says(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with served(ScriptedServer()) as broken:
        broken.answer = web.Response(status=503)
        write_config(api, receiver, f'[[sources]]\nname = "b"\napi_key = "k"\nbase_url = "{broken.url}"')
        api.answer = [job("j1")]
        done = await notifier("once")
    assert done.code == 1
    assert "b: the API answered 503" in done.err
    assert [event["type"] for event in receiver.events] == ["backfill.staging"]


async def test_once_fails_when_the_receiver_does_and_the_next_one_sends_it_again(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    write_config(api, receiver)
    api.answer = [job("j1")]
    receiver.script = [
        lambda request: web.Response(status=500, text=f"{request.url} {request.headers['Authorization']}")
    ]
    done = await notifier("once")
    assert done.code == 1
    assert "failed: answered 500: REDACTED REDACTED; tried again by a later run" in done.err
    assert len(receiver.requests) == 1

    assert (await notifier("once")).code == 0
    assert len(receiver.requests) == 2
    assert len({request.headers["webhook-id"] for request, _ in receiver.requests}) == 1
    assert receiver.requests[0][1] == receiver.requests[1][1]


async def test_once_fails_when_it_takes_too_long(api: ScriptedServer, receiver: ScriptedServer) -> None:
    api.answer = lambda _: asyncio.Event().wait()
    done = await notifier("once", "--timeout", "1s", **environment_of(api, receiver))
    assert (done.code, done.out) == (1, "")
    assert "WARNING allium: no answer in time" in done.err
    assert done.err.endswith("notifier: not finished after 1s; what was not sent is sent by the next run\n")


async def test_once_lets_an_attempt_under_way_end_so_that_the_next_one_does_not_repeat_it(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    api.answer = [job("j1")]
    late = asyncio.Event()

    async def take(_: web.Request) -> web.Response:
        asyncio.get_running_loop().call_later(2, late.set)  # a second after the limit
        await late.wait()
        return web.Response(status=204)

    receiver.answer = take
    write_config(api, receiver)
    done = await notifier("once", "--timeout", "1s")
    assert done.code == 1
    assert "delivered backfill.staging" in done.err
    assert done.err.endswith("not finished after 1s; what was not sent is sent by the next run\n")
    assert (await notifier("once")).code == 0
    assert len(receiver.requests) == 1


@pytest.fixture
def held_state() -> Iterator[None]:
    """Hold the state as a running daemon does."""
    with Path("state.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("held_state")
async def test_once_fails_while_another_process_holds_the_state(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    done = await notifier("once", **environment_of(api, receiver))
    assert done.code == 1
    assert done.err.startswith(f"notifier: the state {Path.cwd()}/state.db is in use by another notifier")
    assert api.requests == []


@pytest.fixture
def damaged_state() -> None:
    """Leave what a full disk leaves of a state."""
    Path("state.db").touch()


@pytest.mark.usefixtures("damaged_state")
@pytest.mark.parametrize("command", ["run", "once"])
async def test_a_damaged_state_is_refused_before_anything_is_polled(
    api: ScriptedServer, receiver: ScriptedServer, command: str
) -> None:
    done = await notifier(command, **environment_of(api, receiver))
    assert done.code == 1
    assert done.err.startswith(f"notifier: the state {Path.cwd()}/state.db is damaged: it is empty.")
    assert api.requests == []


@pytest.mark.parametrize("command", ["run", "once"])
async def test_a_state_without_its_directory_is_an_error(
    api: ScriptedServer, receiver: ScriptedServer, command: str
) -> None:
    environment = environment_of(api, receiver) | {"NOTIFIER_STATE": "sqlite:///missing/state.db"}
    done = await notifier(command, **environment)
    assert done.code == 1
    warning, error = done.err.splitlines()
    assert warning.endswith(
        f"WARNING config: the directory of the state, {Path.cwd()}/missing, does not exist yet"
    )
    assert error.startswith(f"notifier: the state {Path.cwd()}/missing/state.db cannot be opened")
    assert api.requests == []


@pytest.mark.parametrize("command", ["run", "once"])
async def test_nothing_starts_on_a_bad_config(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path, command: str
) -> None:
    write_config(api, receiver, "typo = 1")
    done = await notifier(command)
    assert (done.code, done.out) == (2, "")
    assert done.err == "notifier: 1 problem in notifier.toml:\n  delivery.typo: unknown key\n"
    assert api.requests == []
    assert names_in(tmp_path) == ["notifier.toml"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_once_during_a_poll(
    api: ScriptedServer, receiver: ScriptedServer, number: signal.Signals
) -> None:
    api.answer = lambda _: asyncio.Event().wait()
    process = await start("once", **environment_of(api, receiver))
    await api.arrived(1)
    process.send_signal(number)
    done = await ended(process)
    assert (done.code, done.err) == (1, "notifier: stopped; what was not sent is sent by the next run\n")


async def test_a_signal_lets_an_attempt_of_once_end_so_that_the_next_one_does_not_repeat_it(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    api.answer = [job(f"j{number}") for number in range(30)]
    release = asyncio.Event()

    async def take(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(status=204)

    receiver.answer = take
    write_config(api, receiver)
    process = await start("once")
    await receiver.arrived(10)
    process.send_signal(signal.SIGTERM)
    asyncio.get_running_loop().call_later(0.5, release.set)
    assert (await ended(process)).code == 1
    assert len(receiver.requests) == 10, "none was begun after the signal"
    assert (await notifier("once")).code == 0
    assert len({request.headers["webhook-id"] for request, _ in receiver.requests}) == 30
    assert len(receiver.requests) == 30


async def test_once_sends_what_one_source_found_while_another_one_hangs(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    def answer(request: web.Request) -> Any:
        return asyncio.Event().wait() if request.headers["X-API-Key"] == "stuck" else [job("j1")]

    api.answer = answer
    stuck = f'[[sources]]\nname = "b"\napi_key = "stuck"\nbase_url = "{api.url}"\n'
    write_config(api, receiver, stuck)
    done = await notifier("once", "--timeout", "2s")
    assert done.code == 1
    assert "not finished after 2s" in done.err
    assert [event["data"]["job_id"] for event in receiver.events] == ["j1"]


LOG_AND_TARGET = """
[log]
level = "debug"
format = "json"
[targets.other]
type = "webhook"
url = "{url}"
secret = "whsec_c2lnbmluZyBrZXkgdGhhdCBpcyBzZWNyZXQ="
"""


async def test_a_warning_about_the_config_is_a_line_of_the_log(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    second = f'[[sources]]\nname = "b"\napi_key = "{KEY}"\nbase_url = "{api.url}"\n'
    write_config(api, receiver, f'[log]\nformat = "json"\n{second}')
    done = await notifier("once")
    warnings = [line for line in map(json.loads, done.err.splitlines()) if line["level"] == "warning"]
    said = "config: allium and b have the same API key: their jobs are the same, each is announced 2 times"
    assert [line["message"].startswith(said) for line in warnings] == [True]


async def test_the_log_is_json_when_asked_for_and_holds_no_secret(
    api: ScriptedServer, receiver: ScriptedServer
) -> None:
    write_config(api, receiver, LOG_AND_TARGET.format(url=f"{receiver.url}/other-path-that-is-secret"))
    api.answer = [job("j1")]
    receiver.answer = lambda request: web.Response(
        status=401, text=f"{request.path} {request.headers.get('Authorization', WHSEC)}"
    )
    done = await notifier("once")
    assert done.code == 1
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert {"info", "warning"} <= {line["level"] for line in lines}
    assert sum("answered 401: REDACTED " in line["message"] for line in lines) == 2
