"""A heartbeat as its service hears it: real requests, real daemons."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from notifier import __version__
from notifier.assembly import open_session
from notifier.heartbeat import Heartbeat, HeartbeatSettings, with_suffix
from notifier.process import watch
from notifier.source import SourceError
from notifier.watchdog import StuckError, Watchdog
from tests.commands import invoke, notifier
from tests.daemon import Daemon, write_config
from tests.servers import ScriptedServer, job, served
from tests.wire import closed_port, reply, tls_files, wired

PATH = "/ping-that-is-secret"
OK = web.Response(status=200, text="OK")


@pytest.fixture
async def service() -> AsyncIterator[ScriptedServer]:
    """What is told that all is well."""
    server = ScriptedServer()
    server.answer = OK
    async with served(server):
        yield server


def told(service: ScriptedServer) -> list[str]:
    """Return what the service heard, without the secret part."""
    return [request.rel_url.path.removeprefix(PATH) or "good" for request, _ in service.requests]


async def hang(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


# --------------------------------------------------------------------------------- the requests


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hc-ping.com/uuid", "https://hc-ping.com/uuid/fail"),
        ("https://hc-ping.com/uuid/", "https://hc-ping.com/uuid/fail"),
        ("https://hc-ping.com/key/slug?create=1", "https://hc-ping.com/key/slug/fail?create=1"),
        ("https://user:p%2Fw@h:8443/a%2Fb?x=%2F#y", "https://user:p%2Fw@h:8443/a%2Fb/fail?x=%2F#y"),
        ("http://h", "http://h/fail"),
        ("http://h?x=1", "http://h/fail?x=1"),
    ],
)
def test_a_signal_is_a_step_before_the_query(url: str, expected: str) -> None:
    assert with_suffix(url, "fail") == expected


@asynccontextmanager
async def beating(
    url: str, *, down_after: timedelta = timedelta(minutes=5), run: bool = True, **more: Any
) -> AsyncIterator[Heartbeat]:
    """Yield a heartbeat of the sources a and b."""
    settings = HeartbeatSettings.model_validate({"url": url, "every": "1ms"} | more)
    async with open_session() as session:
        heartbeat = Heartbeat(
            settings,
            down_after={"a": down_after, "b": down_after},
            session=session,
        )
        running = asyncio.create_task(heartbeat.run()) if run else None
        yield heartbeat
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def polled(heartbeat: Heartbeat, **failures: int) -> None:
    for source, count in failures.items():
        heartbeat.polled(source, SourceError("failed", "x") if count else None)


async def test_each_round_of_good_polls_is_told(service: ScriptedServer) -> None:
    async with beating(f"{service.url}{PATH}?x=%2F") as heartbeat:
        for count in (1, 2, 3):
            polled(heartbeat, a=0, b=0)
            await service.arrived(count)
    assert {(request.method, request.raw_path) for request, _ in service.requests} == {
        ("GET", f"{PATH}?x=%2F")
    }
    [agent] = {request.headers["User-Agent"] for request, _ in service.requests}
    assert agent == f"backfill-notifier/{__version__}"


async def test_a_source_that_fails_or_is_not_polled_means_silence(service: ScriptedServer) -> None:
    async with beating(service.url + PATH) as heartbeat:
        for failures in ({"a": 0}, {"b": 3}, {"a": 0, "b": 4}):
            polled(heartbeat, **failures)
            await asyncio.sleep(0.02)
        assert told(service) == []
        polled(heartbeat, b=0)
        await service.arrived(1)


async def test_it_is_told_no_more_often_than_wanted(service: ScriptedServer) -> None:
    async with beating(service.url + PATH, every="1h") as heartbeat:
        for _ in range(3):
            polled(heartbeat, a=0, b=0)
            await service.arrived(1)
        await asyncio.sleep(0.05)
    assert told(service) == ["good"]


async def test_with_signals_starts_and_outages_are_told_each_once(service: ScriptedServer) -> None:
    async with beating(service.url + PATH, signals=True, down_after=timedelta(0)) as heartbeat:
        await service.arrived(1)
        for failures in (1, 2, 3):
            polled(heartbeat, a=0, b=failures)
            await service.arrived(2)
        polled(heartbeat, b=0, a=0)
        await service.arrived(3)
        polled(heartbeat, b=1)
        await service.arrived(4)
    assert told(service) == ["/start", "/fail", "good", "/fail"]


async def test_without_signals_the_url_alone_is_requested(service: ScriptedServer) -> None:
    async with beating(service.url + PATH, down_after=timedelta(0)) as heartbeat:
        polled(heartbeat, a=1, b=1)
        await heartbeat.tell("fail")
        polled(heartbeat, a=0, b=0)
        await service.arrived(1)
    assert told(service) == ["good"]


async def test_without_a_url_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    async with beating("", signals=True) as heartbeat:
        polled(heartbeat, a=0, b=0)
        await heartbeat.tell("good")
        await heartbeat.tell("fail")
    assert not caplog.records


# ------------------------------------------------------------------------------------ what fails


async def test_failing_is_logged_when_it_begins_and_when_it_is_over(
    service: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "notifier")
    bad = web.Response(status=500, text=PATH)
    service.script = [OK, bad, bad, bad, OK, OK, bad]
    async with beating(service.url + PATH, run=False) as heartbeat:
        for _ in range(7):
            await heartbeat.tell("good")
    failed = f"heartbeat: {service.url}: answered 500; the next good polls try again"
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", failed),
        ("INFO", f"heartbeat: {service.url} works again"),
        ("WARNING", failed),
    ]


async def test_a_heartbeat_that_failed_is_tried_again_with_the_next_round(service: ScriptedServer) -> None:
    service.script = [web.Response(status=503), hang]
    async with beating(service.url + PATH, timeout="50ms") as heartbeat:
        for count in (1, 2, 3):
            polled(heartbeat, a=0, b=0)
            await service.arrived(count)


async def _warning(caplog: pytest.LogCaptureFixture, url: str, **settings: Any) -> str:
    caplog.clear()
    async with beating(url + PATH, run=False, **settings) as heartbeat:
        await heartbeat.tell("good")
    [record] = caplog.records
    assert PATH[1:] not in record.getMessage()
    assert "password" not in record.getMessage()
    assert record.exc_info is None
    return record.getMessage().partition(": ")[2].partition("; ")[0]


async def test_what_is_wrong_is_told_in_words_without_the_path(
    service: ScriptedServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    service.answer = web.Response(status=302, headers={"Location": "/elsewhere"})
    where = service.url.removeprefix("http://")
    assert await _warning(caplog, f"http://user:password@{where}") == (
        f"{service.url}: answered 302, a redirect, which is not followed"
    )
    assert len(service.requests) == 1
    service.answer = hang
    assert await _warning(caplog, service.url, timeout="50ms") == f"{service.url}: no answer in time"
    with closed_port() as port:
        url = f"http://127.0.0.1:{port}"
        assert await _warning(caplog, url) == f"{url}: no connection to 127.0.0.1:{port}: connection refused"
    assert "could not be resolved" in await _warning(caplog, "https://ping.invalid")
    assert "the proxy could not be reached" in await _warning(caplog, "http://ping.invalid", proxy=url)
    async with wired(b"220 mail\r\n") as url:
        assert await _warning(caplog, url) == f"{url}: the answer was not HTTP"
    server, ca_file = tls_files(tmp_path)
    async with wired(reply(b"OK", "Content-Length: 2"), tls=server) as url:
        assert await _warning(caplog, url) == f"{url}: its TLS certificate could not be verified"
        async with beating(url + PATH, run=False, ca_file=str(ca_file)) as heartbeat:
            caplog.clear()
            await heartbeat.tell("good")
            assert not caplog.records


async def test_a_body_is_not_waited_for(service: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    service.answer = endless
    async with beating(service.url + PATH, run=False) as heartbeat, asyncio.timeout(5):
        await heartbeat.tell("good")
    assert not caplog.records


async def test_what_is_stuck_is_told_before_the_end(service: ScriptedServer) -> None:
    stuck = SimpleNamespace(under_way=lambda: {1: ("the work", 0.0)})
    parts: Any = SimpleNamespace(state=stuck, watchers={}, dispatchers={})
    async with beating(service.url + PATH, run=False, signals=True) as heartbeat:
        with pytest.raises(StuckError):
            await watch(Watchdog(looks_every_seconds=0.01), parts, heartbeat)
    assert told(service) == ["/fail"]


# ------------------------------------------------------------------------------ daemons and `once`


def config(
    directory: Path,
    api: ScriptedServer,
    receiver: ScriptedServer,
    service: ScriptedServer,
    *,
    path: str = PATH,
    more: str = "signals = true",
) -> Path:
    file = write_config(directory, api, receiver)
    heartbeat = f'[heartbeat]\nurl = "{service.url}{path}"\nevery = "100ms"\n{more}\n'
    file.write_text(file.read_text() + heartbeat)
    return file


async def test_a_daemon_tells_its_start_and_its_good_polls_and_not_its_end(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    async with Daemon(config(tmp_path, api, receiver, service)) as daemon:
        await service.arrived(3)
        api.answer = web.Response(status=500)
        await daemon.logged("the API answered 500")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert told(service)[:3] == ["/start", "good", "good"]
    assert "/fail" not in told(service)
    assert "that-is-secret" not in "".join(daemon.lines)


async def test_a_service_that_hangs_holds_up_nothing(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    service.answer = hang
    async with Daemon(config(tmp_path, api, receiver, service, more='timeout = "10m"')) as daemon:
        await service.arrived(1)
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        await daemon.logged("delivered")
        assert await daemon.ends(signal.SIGTERM, within=5) == 0


async def test_an_end_by_an_error_is_told(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    (tmp_path / "state.db").touch()
    async with Daemon(config(tmp_path, api, receiver, service)) as daemon:
        assert await daemon.ends() == 1
    assert "is damaged" in daemon.lines[-1]
    assert told(service) == ["/fail"]


async def test_a_second_daemon_on_one_state_does_not_speak_for_the_first(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    async with Daemon(config(tmp_path, api, receiver, service)) as first:
        await service.arrived(2)
        second_config = config(tmp_path, api, receiver, service, path="/second")
        async with Daemon(second_config) as second:
            assert await second.ends() == 1
        assert await first.ends(signal.SIGTERM) == 0
    assert "/fail" not in told(service)
    assert not [each for each in told(service) if each.startswith("/second")]


async def test_once_tells_how_its_polls_ended(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    file = config(tmp_path, api, receiver, service)
    assert (await notifier("once", "--config", str(file))).code == 0
    assert told(service) == ["/start", "good"]
    receiver.answer = web.Response(status=500)
    api.answer = [job("j", "staging")]
    assert (await notifier("once", "--config", str(file))).code == 1
    assert told(service)[2:] == ["/start", "good"], "it is about polls"
    api.answer = web.Response(status=500)
    assert (await notifier("once", "--config", str(file))).code == 1
    assert told(service)[4:] == ["/start", "/fail"]


async def test_once_that_runs_out_of_time_is_told(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    api.answer = hang
    file = config(tmp_path, api, receiver, service)
    assert (await notifier("once", "--timeout", "1s", "--config", str(file))).code == 1
    assert told(service) == ["/start", "/fail"]


async def test_once_without_signals_tells_good_polls_alone(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    file = config(tmp_path, api, receiver, service, more="")
    assert (await notifier("once", "--config", str(file))).code == 0
    api.answer = web.Response(status=500)
    assert (await notifier("once", "--config", str(file))).code == 1
    assert told(service) == ["good"]


async def test_once_tells_its_polls_also_when_its_start_was_not_heard(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, service: ScriptedServer
) -> None:
    service.script = [hang]
    file = config(tmp_path, api, receiver, service, more='signals = true\ntimeout = "500ms"')
    assert (await notifier("once", "--config", str(file))).code == 0
    assert told(service) == ["/start", "good"]


# -------------------------------------------------------------------------------------- `check`

SOURCE = '[[sources]]\napi_key = "k"\n[targets.ops]\ntype = "webhook"\nurl = "https://ops.example.com/"\n'


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            f'url = "https://user:pw-that-is-secret@hc-ping.com{PATH}"',
            "https://hc-ping.com, every 1m at most",
        ),
        ('url = "${PING}"\nevery = "5m"', "https://ping.example.com:8443, every 5m at most"),
        ('url_file = "url"\nsignals = true', "https://h, every 1m at most, starts and failures told"),
    ],
)
def test_check_says_that_there_is_one_and_nothing_secret(keys: str, line: str) -> None:
    Path("url").write_text(f"https://h{PATH}\n")
    Path("notifier.toml").write_text(f"{SOURCE}[heartbeat]\n{keys}\n")
    result = invoke("check", PING=f"https://ping.example.com:8443{PATH}")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"\nheartbeat  {line}\n" in result.stdout


def test_check_says_nothing_of_none_and_warns_of_one_that_tells_nobody() -> None:
    Path("notifier.toml").write_text(f'{SOURCE}[heartbeat]\nurl = ""\n')
    result = invoke("check")
    assert (result.stderr, "heartbeat" in result.stdout) == ("", False)
    Path("notifier.toml").write_text(f"{SOURCE}[heartbeat]\nsignals = true\n")
    result = invoke("check")
    assert result.stderr == (
        "notifier: warning: the heartbeat has no url ([heartbeat] url): it tells nobody\n"
    )
