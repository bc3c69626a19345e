"""`status`, `jobs` and `deliveries`: beside a daemon, after one, and without any."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from notifier import __version__
from notifier.model import JobKey, JobRecord, PollReport, utc_now
from notifier.page import Page
from notifier.quiet import QuietSettings, quiet_until
from notifier.records import Records
from notifier.web.api import make_application
from notifier.web.daemon import Daemon as Asked
from notifier.web.socket import served_beside
from tests.commands import beside, invoke, notifier, on_terminal
from tests.daemon import Daemon, write_config
from tests.records import at, delivery, no_muting, nothing_to_retry, of, record, write_state
from tests.servers import ScriptedServer, job

LOOKS = [["status"], ["jobs"], ["deliveries"], ["deliveries", "--state", "dead"]]
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

STATUS_KEYS = {"mutes", "running", "version", "pid", "started_at", "state", "sources", "targets"}
SOURCE_KEYS = {"name", "configured", "jobs", "active", "stalled", "failing_since", "baseline_at", "polls"}
POLL_KEYS = {
    *(
        "last_poll",
        "last_good_poll",
        "next_poll",
        "failures",
        "last_error",
        "fault",
        "took_seconds",
        "rejected",
    )
}
TARGET_KEYS = {
    *("name", "configured", "pending", "delivered", "dead", "oldest_pending", "last_error"),
    *("failing_since", "quiet_until"),
}
JOB_KEYS = {
    *("phases", "stalled_since", "removed", "muted_until"),
    *("source", "job_id", "status", "job_name", "table", "progress", "error_message", "time_created"),
    *("time_completed", "first_seen", "status_since", "events", "pending", "dead", "job"),
}
PROGRESS_KEYS = {"chunks_total", "chunks_done", "percent", "chunks_per_minute", "eta"}
DELIVERY_KEYS = {
    *("id", "event_id", "type", "source", "job_id", "target", "state", "attempts", "last_error"),
    *("created_at", "first_attempt", "next_attempt", "waits_for", "ended_at", "summary"),
    *("status", "answer", "history"),
    "quiet_until",
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the state is, for the commands of a test."""
    path = tmp_path / "state.db"
    monkeypatch.setenv("NOTIFIER_STATE", f"sqlite:///{path}")
    return path


def some_jobs() -> dict[JobKey, JobRecord]:
    """Return jobs of two sources, with deliveries of each state."""
    element: dict[str, Any] = {
        "table": "base.raw.logs",
        "job_name": "Logs Jan 2026",
        "num_chunks": 1000,
        "chunks_left": 423,
        "error_message": None,
    }
    return {
        ("allium", "j1"): record(
            delivery("1", created=1),
            delivery("2", state="pending", created=2, attempts=3, last_error="answered 503: sorry"),
            status="transporting",
            seen=1,
            **element,
        ),
        ("allium", "j2"): record(
            delivery("3", state="dead", created=3, target="data", ended_at=at(9), last_error="answered 410"),
            status="failed",
            seen=2,
            job_name="Blocks",
        ),
        ("test", "j3"): record(status="paused", seen=3),
    }


def contents(directory: Path) -> dict[str, bytes | None]:
    """Return every file there is; of SQLite's shared memory, which readers lock in, only that it is there."""
    return {
        path.name: path.read_bytes() if path.is_file() and not path.name.endswith("-shm") else None
        for path in directory.iterdir()
    }


def rows(table: str) -> list[str]:
    """Return the lines of the first table that is printed, without its head."""
    body = table.partition("─\n")[2]
    return [line.rstrip() for line in body.partition("\n\n")[0].splitlines()]


# -------------------------------------------------------------------------------- beside a daemon


async def test_beside_a_daemon_they_tell_what_it_is_doing_and_need_no_secret(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, api, receiver)
    config.write_text(config.read_text().replace("key-for-tests", "${ALLIUM_API_KEY}"))
    monkeypatch.setenv("ALLIUM_API_KEY", "key-that-is-secret")  # for the daemon alone
    receiver.answer = web.Response(status=503, text="sorry")
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        api.answer = [job("j1", "transporting"), job("j2", "completed")]
        await receiver.arrived(6)

        done = await notifier("status", "--config", str(config))
        assert (done.code, done.err) == (0, "")
        first, second, *_ = done.out.splitlines()
        pattern = rf"● running  notifier {__version__}, process {daemon.process.pid}, for (under )?\d+s"
        assert re.fullmatch(pattern, first.rstrip())
        assert second.rstrip() == f"  state {tmp_path}/state.db"
        assert re.search(
            r"allium +2 +1 +1 transporting, 1 completed +(under )?\d+s ago, good +now\b", done.out
        )
        assert re.search(r"ops +2 +(under )?\d+s ago +0 +0 +answered 503: sorry", done.out)

        done = await notifier("--config", str(config), "status", "--json")
        status = json.loads(done.out)
        assert (done.code, done.err, status.keys()) == (0, "", STATUS_KEYS)
        assert (status["running"], status["pid"]) == (True, daemon.process.pid)
        [source], [target] = status["sources"], status["targets"]
        assert (source.keys(), source["polls"].keys(), target.keys()) == (SOURCE_KEYS, POLL_KEYS, TARGET_KEYS)
        assert (source["jobs"], source["polls"]["failures"]) == ({"transporting": 1, "completed": 1}, 0)
        assert (target["pending"], target["last_error"]) == (2, "answered 503: sorry")

        receiver.answer = web.Response(status=204)
        await daemon.logged("ops: delivered backfill.completed")
        await daemon.logged("ops: delivered backfill.transporting")
        done = await notifier("deliveries", "--json", "--config", str(config))
        assert [(each["state"], each["last_error"]) for each in json.loads(done.out)] == [
            ("delivered", None)
        ] * 2
        done = await notifier("jobs", "--config", str(config))
        assert (done.code, done.err) == (0, "")
        assert len(rows(done.out)) == 3
        assert await daemon.ends(signal.SIGTERM) == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_after_a_daemon_they_tell_what_was_stored_last_and_change_nothing(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, end: signal.Signals
) -> None:
    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        api.answer = [job("j1", "completed")]
        await daemon.logged("ops: delivered backfill.completed")
        await daemon.ends(end)
    before = contents(tmp_path)
    assert ("state.db.sock" in before, "state.db-wal" in before) == (
        (True, True) if end == 9 else (False,) * 2
    )
    for arguments in (["status"], ["jobs"], ["deliveries"]):
        done = await notifier(*arguments, "--json", "--config", str(config))
        assert (done.code, done.err) == (0, "")
        told = json.loads(done.out)
        if arguments == ["status"]:
            assert (told["running"], told["pid"], told["started_at"]) == (False, None, None)
            assert (told["sources"][0]["jobs"], told["sources"][0]["polls"]) == ({"completed": 1}, None)
            assert told["targets"][0]["delivered"] == 1
        else:
            assert [each["job_id"] for each in told] == ["j1"]
        assert contents(tmp_path) == before
    done = await notifier("status", "--config", str(config))
    assert done.out.startswith("○ not running  this is what was stored last")
    async with Daemon(config) as daemon:
        await daemon.logged("watching 1 job")
        assert await daemon.ends(signal.SIGTERM) == 0


async def test_beside_a_daemon_ten_thousand_jobs_come_whole_and_polls_go_on(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    names = [f"job-{number:05}" for number in range(10_000)]
    api.answer = json.dumps([job(name, "completed", time_created=None) for name in names]).encode()
    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching 10,000 jobs")
        polls = len(api.requests)
        done = await notifier("jobs", "--json", "--config", str(config))
        assert len(api.requests) > polls
        assert [each["job_id"] for each in json.loads(done.out)] == names[::-1]
        assert await daemon.ends(signal.SIGTERM) == 0


def ago(**duration: float) -> datetime:
    return utc_now() - timedelta(**duration)


@pytest.mark.parametrize(
    ("polls", "told"),
    [
        (PollReport, "none yet"),
        (
            lambda: PollReport(
                last_poll=ago(minutes=3.5), last_good_poll=ago(minutes=3.5), next_poll=ago(minutes=-8.5)
            ),
            r"3m \d+s ago, good +in 8m( \d+s)?",
        ),
        (
            lambda: PollReport(
                last_poll=ago(minutes=3.5),
                last_good_poll=ago(hours=2.5),
                next_poll=ago(seconds=1),
                failures=4,
                last_error="the API answered 503: \x1b[31m[red]\nno",
            ),
            r"3m \d+s ago: the API answered 503: \[31m\[red\] no \(last good one: 2h 30m ago\) +now",
        ),
        (
            lambda: PollReport(
                last_poll=ago(minutes=3.5), next_poll=ago(minutes=3.5), failures=1, last_error="refused"
            ),
            r"3m \d+s ago: refused \(last good one: never\) +now",
        ),
    ],
)
async def test_how_the_polls_of_a_source_are_going_is_told(
    tmp_path: Path, polls: Callable[[], PollReport], told: str
) -> None:
    state = tmp_path / "state.db"
    daemon = Asked(
        records=Records(),
        targets=["idle"],
        retry=nothing_to_retry,
        muting=no_muting(),
        polls=lambda: {"allium": polls()},
        state_path=state,
        started_at=ago(days=2, hours=3.5),
    )
    async with served_beside(state, make_application(daemon)):
        done = await beside("status", NOTIFIER_STATE=f"sqlite:///{state}")
    assert done.code == 0
    assert f"process {os.getpid()}, for 2d 3h" in done.out
    assert re.search(rf"^allium +0 +0 +{told}", done.out, re.MULTILINE)
    assert re.search(r"^idle +0 +0 +0 *$", done.out, re.MULTILINE)


async def test_of_a_target_in_quiet_hours_it_is_told_for_how_long_and_what_is_held(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    night = QuietSettings.model_validate(
        {"from": f"{now - timedelta(hours=2):%H:%M}", "to": f"{now + timedelta(hours=3):%H:%M}"}
    )
    until = quiet_until(night, now)
    state = tmp_path / "state.db"
    daemon = Asked(
        records=of({"a": record(delivery("1", state="pending"), delivery("2", state="pending"))}),
        targets=["data", "ops"],
        muting=no_muting(),
        retry=nothing_to_retry,
        polls=dict,
        state_path=state,
        started_at=now,
        quiet=lambda: {"ops": night},
    )
    async with served_beside(state, make_application(daemon)):
        status = await beside("status", NOTIFIER_STATE=f"sqlite:///{state}")
        table = await beside("deliveries", NOTIFIER_STATE=f"sqlite:///{state}")
        targets = json.loads((await beside("status", "--json", NOTIFIER_STATE=f"sqlite:///{state}")).out)
        items = json.loads((await beside("deliveries", "--json", NOTIFIER_STATE=f"sqlite:///{state}")).out)
    assert re.search(r"^ops quiet for \dh( \d+m)? +2", status.out, re.MULTILINE)
    assert re.search(r"^data +0", status.out, re.MULTILINE)
    assert re.search(r" ago +0 +held for \dh( \d+m)? +dlv_1", table.out)
    assert re.search(r" ago +0 +after an earlier one +dlv_2", table.out)
    times = [each["quiet_until"] for each in (*targets["targets"], *items)]
    assert [time and datetime.fromisoformat(time) for time in times] == [None, until, until, until]


def test_when_a_delivery_is_tried_next_is_told(state: Path) -> None:
    each = {
        "now": delivery("1", state="pending", attempts=1, next_attempt_at=ago(minutes=1)),
        "in 4m": delivery("2", state="pending", attempts=1, next_attempt_at=ago(minutes=-4.5)),
        "never": delivery("3", state="dead", attempts=1, next_attempt_at=ago(minutes=-4.5)),
    }
    records = {("allium", f"j{number}"): record(each) for number, each in enumerate(each.values())}
    behind = delivery("5", state="pending"), delivery("6", state="pending")
    write_state(state, records | {("allium", "k"): record(*behind)})
    table = invoke("deliveries").stdout
    assert re.search(r" ago +0 +now +dlv_5", table)
    assert re.search(r" ago +0 +after an earlier one +dlv_6", table)
    assert re.search(r" ago +1 +now +dlv_1", table)
    assert re.search(r" ago +1 +in 4m \d+s +dlv_2", table)
    assert re.search(r" ago +1 +given up \w+( \w+)? ago +dlv_3", table)


# ------------------------------------------------------------------- a daemon that answers otherwise


@pytest.fixture
def unread(state: Path) -> Path:
    """Leave a state that would be read if no daemon held it."""
    write_state(state, some_jobs())
    return state


def answering(answer: Callable[[web.Request], Any]) -> web.Application:
    async def handle(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = answer(request)
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    return app


@pytest.mark.parametrize("arguments", LOOKS)
@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(status=500, text="that-is-secret"),
        lambda _: web.json_response({"error": "404: Not Found"}, status=404),
        lambda _: web.json_response({"running": "yes"}),
        lambda _: web.json_response({"items": [{"id": 1}], "next_cursor": None}),
        lambda _: web.Response(body=b""),
        lambda _: web.Response(body=b"\xff"),
    ],
)
async def test_a_daemon_that_speaks_otherwise_is_told(
    unread: Path, arguments: list[str], answer: Callable[[web.Request], Any]
) -> None:
    async with served_beside(unread, answering(answer)):
        done = await beside(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"notifier: the daemon that holds {unread} answers in another form than this version knows. "
        "Is it of another version?\n"
    )


@pytest.mark.parametrize("arguments", LOOKS)
async def test_a_daemon_that_breaks_off_is_told(unread: Path, arguments: list[str]) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_unix_server(handle, f"{unread}.sock"):
        done = await beside(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"notifier: the daemon that holds {unread} does not answer: ")


async def test_a_daemon_that_ends_between_two_pages_is_told(unread: Path) -> None:
    def answer(request: web.Request) -> web.Response:
        if "cursor" in request.query:
            raise web.HTTPServiceUnavailable(text="")
        return web.Response(body=msgspec.json.encode(Page([], "next")), content_type="application/json")

    async with served_beside(unread, answering(answer)):
        done = await beside("jobs", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"notifier: the daemon that holds {unread} ")


# ------------------------------------------------------------------------------- without a daemon


def test_they_tell_what_is_stored(state: Path) -> None:
    write_state(state, some_jobs())
    status = invoke("status")
    assert (status.exit_code, status.stderr) == (0, "")
    lines = [line.rstrip() for line in status.stdout.splitlines()]
    assert lines[:3] == [
        "○ not running  this is what was stored last",
        f"  state {state}",
        "",
    ]
    assert re.fullmatch(r"allium +2 +1 +1 transporting, 1 failed", lines[5])
    assert re.fullmatch(r"test +1 +1 +1 paused", lines[6])
    assert re.fullmatch(r"data +0 +1 +0 +answered 410", lines[10])
    assert re.fullmatch(r"ops +1 +\w+( \w+)? ago +0 +1 +answered 503: sorry", lines[11])

    jobs = invoke("jobs")
    assert jobs.exit_code == 0
    third, second, first, count = rows(jobs.stdout)
    assert re.fullmatch(
        r"transporting +━+╸? +57.7 % of 1,000 +Logs Jan 2026 +base.raw.logs +.* allium +j1", first
    )
    assert re.fullmatch(r"failed +Blocks +.* allium +j2", second)
    assert re.fullmatch(r"paused +.* test +j3", third)
    assert count == "3 jobs"

    deliveries = invoke("deliveries")
    assert deliveries.exit_code == 0
    third, second, first, count = rows(deliveries.stdout)
    assert re.fullmatch(
        r"dead +data +summary of evt_3 +.* ago +0 +given up \w+( \w+)? ago +answered 410 +dlv_3", third
    )
    assert re.fullmatch(r"pending +ops +summary of evt_2 +.* ago +3 +now +answered 503: sorry +dlv_2", second)
    assert re.fullmatch(r"delivered +ops +summary of evt_1 +.* ago +0 +dlv_1", first)
    assert count == "3 deliveries"


def test_the_source_of_a_job_is_not_repeated_when_there_is_only_one(state: Path) -> None:
    write_state(state, {("allium", "j1"): record()})
    assert "allium" not in invoke("jobs").stdout
    assert "1 job\n" in invoke("jobs").stdout


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["jobs"], ["j3", "j2", "j1"]),
        (["jobs", "--limit", "2"], ["j3", "j2"]),
        (["jobs", "--status", "failed"], ["j2"]),
        (["jobs", "--status", "transporting", "--limit", "1"], ["j1"]),
        (["jobs", "--status", "unheard of"], []),
        (["deliveries"], ["dlv_3", "dlv_2", "dlv_1"]),
        (["deliveries", "--limit", "1"], ["dlv_3"]),
        (["deliveries", "--state", "pending"], ["dlv_2"]),
        (["deliveries", "--state", "delivered"], ["dlv_1"]),
        (["deliveries", "--state", "dead", "--limit", "9"], ["dlv_3"]),
    ],
)
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1", "COLUMNS": "40"}])
def test_json_is_the_list_alone(
    state: Path, arguments: list[str], ids: list[str], environment: dict[str, str]
) -> None:
    write_state(state, some_jobs())
    result = invoke(*arguments, "--json", **environment)
    assert (result.exit_code, result.stderr) == (0, "")
    items = json.loads(result.stdout)
    assert [item.get("id") or item["job_id"] for item in items] == ids
    assert all(item.keys() == (JOB_KEYS if arguments[0] == "jobs" else DELIVERY_KEYS) for item in items)
    assert all(item["progress"].keys() == PROGRESS_KEYS for item in items if arguments[0] == "jobs")


def test_json_of_a_job_has_its_element_as_the_api_returned_it(state: Path) -> None:
    element = job("j1", odd={"nested": [1, None, "\u202e\x1b[31m"]}, big=10**30)
    write_state(state, {("allium", "j1"): record(element=json.dumps(element).encode())})
    [item] = json.loads(invoke("jobs", "--json").stdout)
    assert item["job"] == element
    assert "\x1b" not in invoke("jobs", "--json").stdout


def test_json_of_nothing_is_an_empty_list(state: Path) -> None:
    write_state(state, {})
    assert invoke("jobs", "--json").stdout == invoke("deliveries", "--json").stdout == "[]\n"
    assert invoke("jobs").stdout == "no jobs\n"
    assert invoke("deliveries").stdout == "no deliveries\n"
    assert "nothing was sent to any target yet" in invoke("status").stdout


def test_ten_thousand_stored_jobs_come_whole(state: Path) -> None:
    write_state(state, {("allium", f"{number:05}"): record(seen=number) for number in range(10_000)})
    items = json.loads(invoke("jobs", "--json").stdout)
    assert [item["job_id"] for item in items] == [f"{number:05}" for number in reversed(range(10_000))]


@pytest.mark.parametrize("arguments", LOOKS)
def test_that_there_is_no_state_is_told(state: Path, arguments: list[str]) -> None:
    for flags in ([], ["--json"]):
        result = invoke(*arguments, *flags)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"notifier: there is no state at {state}: nothing was polled yet, "
            "or the config names another place\n"
        )
    assert contents(state.parent) == {}


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("missing/state.db", "there is no state at {}"),
        ("file/state.db", "the state {} cannot be read: not a directory"),
        ("", "the state {} cannot be read: "),
        ("s" * 120, "there is no state at {}"),
    ],
)
def test_a_state_that_cannot_be_there_is_told(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    result = invoke("status", NOTIFIER_STATE=f"sqlite:///{tmp_path / place}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"notifier: {reason.format(tmp_path / place)}")


def _spoil(value: bytes | str, key: str = "job/allium/j1") -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        write_state(path, some_jobs())
        connection = sqlite3.connect(path)
        connection.execute("UPDATE records SET value = ? WHERE key = ?", (value, key))
        connection.commit()
        connection.close()

    return spoil


def _cut_off(path: Path) -> None:
    write_state(path, {("allium", str(number)): record() for number in range(500)})
    path.write_bytes(path.read_bytes()[:-9000])


def _of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (a)")
    connection.close()


@pytest.mark.parametrize("arguments", LOOKS)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.touch, "is damaged: it is empty"),
        (lambda path: path.write_bytes(b"no database at all" * 100), "is damaged: file is not a database"),
        (_cut_off, "is damaged: database disk image is malformed"),
        (_of_another_program, "is damaged: it holds no state of this program"),
        (_spoil(b"{}"), "state.db is damaged: its record job/allium/j1 cannot be read"),
        (_spoil(b'{"snapshot": "\xff'), "state.db is damaged: its record job/allium/j1 cannot be read"),
        (_spoil("", "source/allium"), "state.db is damaged: its record source/allium cannot be read"),
        (
            _spoil('{"format": "backfill-notifier state", "version": 2}', "meta"),
            "is of version 2, newer than version 1",
        ),
        (_spoil("{}", "meta"), "is damaged: it holds no state of this program"),
    ],
)
def test_a_damaged_state_is_told_and_left_alone(
    state: Path, arguments: list[str], damage: Callable[[Path], Any], reason: str
) -> None:
    damage(state)
    before = contents(state.parent)
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("notifier: the state ")
    assert reason in result.stderr
    assert contents(state.parent) == before


# ------------------------------------------------------------------------------ config and usage


@pytest.mark.parametrize("arguments", LOOKS)
def test_only_where_the_state_is_matters_of_the_config(tmp_path: Path, arguments: list[str]) -> None:
    write_state(tmp_path / "here.db", some_jobs())
    Path("notifier.toml").write_text(
        '[[sources]]\napi_key = "${UNSET}"\ntypo = 1\n[targets.x]\ntype = "y"\n[store]\nurl = "sqlite:///${FILE}"\n'
    )
    result = invoke(*arguments, FILE="here.db")
    assert (result.exit_code, result.stderr) == (0, "")
    assert invoke(*arguments, "--config", "notifier.toml", FILE="here.db").exit_code == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "file: cannot be read: no such file or directory"),
        ("[store", "file: is not valid TOML: "),
        ('[store]\nurl = "sqlite:///${UNSET}"', "store.url: the environment variable UNSET is not set"),
        ('[store]\nurl = "state.db"', "store.url: must be sqlite:///relative/path or "),
        ("store = 3", "store: must be a table, written [store] in single brackets"),
        ("[store]\nurk = 1", 'store.urk: unknown key; did you mean "url"?'),
    ],
)
def test_a_config_that_does_not_say_where_the_state_is_exits_with_2(text: str | None, problem: str) -> None:
    if text is not None:
        Path("other.toml").write_text(text)
    for arguments in LOOKS:
        result = invoke(*arguments, "--config", "other.toml")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"notifier: 1 problem in other.toml:\n  {problem}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "extra"],
        ["jobs", "--limit", "0"],
        ["jobs", "--limit", "x"],
        ["jobs", "--status"],
        ["deliveries", "--state", "died"],
        ["deliveries", "--state", ""],
        ["deliveries", "--state", "DEAD"],
        ["deliveries", "--limit", "-1"],
    ],
)
def test_wrong_usage_exits_with_2(state: Path, arguments: list[str]) -> None:
    write_state(state, some_jobs())
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


# --------------------------------------------------------------------------- for eyes and for pipes


LONG = "a name of many words " * 2
HOSTILE = [
    "[red]red[/red] [/] [link=http://evil.example]x[/link] :boom:",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]0;title\x07 \x9b2J \x07\x08\x7f",
    "two\nlines\r\nand\ttabs\x0b\x0c\x85\u2028\u2029more",
    "\u202eevil\u2066\u2069\u200f\u200b\ufeff",
    "👩\u200d💻 🇩🇪 Z\u0337 数据 مرحبا",
    "\x00",
    " ",
    "]" * 300,
]


def hostile_jobs() -> dict[JobKey, JobRecord]:
    jobs = {
        ("allium", f"{number}{text}"): record(
            delivery(f"{number}", state="dead", last_error=text, target="ops"),
            status=text,
            job_name=text,
            table=text,
            num_chunks=10**400,
            chunks_left=1,
            seen=number,
        )
        for number, text in enumerate(HOSTILE)
    }
    return {
        key: msgspec.structs.replace(
            each, events=tuple(msgspec.structs.replace(e, summary=key[1]) for e in each.events)
        )
        for key, each in jobs.items()
    }


JOINERS = "\u200c\u200d"  # scripts and emoji need them


def is_harmless(text: str) -> bool:
    odd = ("Cc", "Cf", "Zl", "Zp")
    return all(c == "\n" or c in JOINERS or unicodedata.category(c) not in odd for c in text)


@pytest.mark.parametrize("arguments", LOOKS)
def test_hostile_names_are_harmless(state: Path, arguments: list[str]) -> None:
    write_state(state, hostile_jobs())
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert is_harmless(result.stdout)
    if arguments[0] in ("jobs", "deliveries"):
        assert len(rows(result.stdout)) == len(HOSTILE) + 1, "each on a line of its own"
        assert "[red]red[/red] [/] [link=http://evil.example]x[/link] :boom:" in result.stdout


@pytest.mark.parametrize("command", ["status", "jobs", "deliveries"])
async def test_hostile_names_are_harmless_on_a_terminal(state: Path, command: str) -> None:
    write_state(state, hostile_jobs())
    done = await on_terminal(command, NOTIFIER_STATE=f"sqlite:///{state}")
    assert done.code == 0
    codes = set(_ESCAPE.findall(done.out))
    assert codes <= {
        f"\x1b[{code}m" for code in ("0", "1", "2", "1;31", "1;33", "31", "32", "33", "35", "90")
    }
    assert is_harmless(_ESCAPE.sub("", done.out))


def wide_jobs() -> dict[JobKey, JobRecord]:
    return {
        ("allium", f"4ddb554b-6306-4e83-b4bc-7c94ae66431{number}"): record(
            delivery(f"{number:024}", state="dead", last_error=LONG * 2, target="data-team", created=number),
            status="transporting",
            job_name=f"{LONG}{number}",
            table="base.assets.erc20_token_transfers",
            num_chunks=1000,
            chunks_left=1000 - 300 * number,
            seen=number,
        )
        for number in range(3)
    }


@pytest.mark.parametrize("arguments", LOOKS)
@pytest.mark.parametrize("environment", [{}, {"COLUMNS": "40"}, {"NO_COLOR": "1"}])
async def test_a_pipe_is_given_whole_lines_without_escapes(
    state: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    write_state(state, wide_jobs())
    result = invoke(*arguments, **environment)
    assert "\x1b" not in result.stdout
    if arguments[0] == "jobs":
        assert len(rows(result.stdout)) == 4
        assert all(f"{LONG}{number}" in result.stdout for number in range(3))
    if arguments[0] == "deliveries":
        assert len(rows(result.stdout)) == 4
        assert result.stdout.count((LONG * 2).strip()) == 3


def test_a_pipe_that_is_to_have_colours_is_not_folded(state: Path) -> None:
    write_state(state, wide_jobs())
    coloured = invoke("jobs", FORCE_COLOR="1", COLUMNS="40").stdout
    assert "\x1b[34mtransporting" in coloured
    assert _ESCAPE.sub("", coloured).count("\n") == invoke("jobs").stdout.count("\n")


@pytest.mark.parametrize("columns", [80, 100, 240])
async def test_a_terminal_shows_all_of_a_job_however_narrow_it_is(state: Path, columns: int) -> None:
    write_state(state, wide_jobs())
    done = await on_terminal("jobs", columns=columns, NOTIFIER_STATE=f"sqlite:///{state}")
    text = _ESCAPE.sub("", done.out)
    assert all(len(line) <= columns for line in text.splitlines())
    words = " ".join(text.split())
    for job_id, number in ((key[1], int(key[1][-1])) for key in wide_jobs()):
        assert job_id in words
        assert f"{30 * number} % of 1,000" in words
    assert words.count("base.assets.erc20_token_transfers") == 3
    assert len(rows(text)) == (4 if columns == 240 else 3 * 3 + 1)


@pytest.mark.parametrize("columns", [80, 300])
async def test_a_terminal_shows_all_of_a_delivery_however_narrow_it_is(state: Path, columns: int) -> None:
    write_state(state, wide_jobs())
    done = await on_terminal("deliveries", columns=columns, NOTIFIER_STATE=f"sqlite:///{state}")
    text = _ESCAPE.sub("", done.out)
    assert all(len(line) <= columns for line in text.splitlines())
    words = " ".join(text.split())
    for number in range(3):
        assert f"dlv_{number:024}" in words
    assert words.count((LONG * 2).strip()) == 3


@pytest.mark.parametrize("columns", [60, 240])
async def test_a_terminal_shows_the_whole_status_however_narrow_it_is(state: Path, columns: int) -> None:
    failed = delivery("1", state="dead", target="data-team", attempts=1, last_error=f"answered 404: {LONG}")
    write_state(state, {("allium", "j1"): record(failed, status="transporting")})
    done = await on_terminal("status", columns=columns, NOTIFIER_STATE=f"sqlite:///{state}")
    text = _ESCAPE.sub("", done.out)
    assert all(len(line) <= columns for line in text.splitlines())
    words = " ".join(text.split())
    assert "1 transporting" in words
    assert f"answered 404: {LONG}".strip() in words
    assert ("last error" in words) == (columns == 240)


@pytest.mark.parametrize("command", ["status", "jobs"])
async def test_colours_are_for_terminals_that_want_them(state: Path, command: str) -> None:
    write_state(state, some_jobs())
    url = f"sqlite:///{state}"
    coloured, plain, dumb = await asyncio.gather(
        on_terminal(command, NOTIFIER_STATE=url),
        on_terminal(command, NOTIFIER_STATE=url, NO_COLOR="1"),
        on_terminal(command, NOTIFIER_STATE=url, TERM="dumb"),
    )
    assert re.search(r"\x1b\[(1;)?3[1-6]m", coloured.out)
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", plain.out)
    assert "\x1b" not in dumb.out


async def test_json_on_a_terminal_is_json(state: Path) -> None:
    write_state(state, hostile_jobs())
    done = await on_terminal("jobs", "--json", NOTIFIER_STATE=f"sqlite:///{state}")
    assert is_harmless(done.out)
    assert [item["job_name"] for item in json.loads(done.out)] == [
        text if text.strip() else None for text in reversed(HOSTILE)
    ]


def bars(table: str) -> list[int]:
    return [len(re.findall("[━╸]", row)) for row in rows(table)[:-1]]


def test_each_job_that_says_how_far_it_is_has_a_bar(state: Path) -> None:
    shares = {0: 1000, 25: 750, 50: 500, 100: 0}
    jobs = {
        ("allium", str(done)): record(num_chunks=1000, chunks_left=left, seen=done)
        for done, left in shares.items()
    }
    jobs["allium", "unknown"] = record(seen=101)
    jobs["allium", "no chunks"] = record(num_chunks=0, chunks_left=0, seen=102)
    write_state(state, jobs)
    table = invoke("jobs").stdout
    assert bars(table) == [0, 0, 16, 8, 4, 0]
    assert [share for share in (0, 25, 50, 100) if f"{share} % of 1,000" in table] == [0, 25, 50, 100]


async def test_a_reader_that_has_seen_enough_is_no_error(state: Path) -> None:
    write_state(state, {("allium", f"{number:05}"): record(seen=number) for number in range(2000)})
    for command in ("jobs", "jobs --json"):
        process = await asyncio.create_subprocess_shell(
            f"{sys.executable} -m notifier {command} | head -n 1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert out.count(b"\n") == 1
        assert err == b""
