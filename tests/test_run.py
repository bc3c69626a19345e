"""The daemon as a process: its start and its end."""

import asyncio
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from aiohttp import web

from tests.daemon import Daemon, write_config
from tests.servers import ScriptedServer, job

OK = web.Response(status=204)


async def test_a_transition_is_announced_and_the_daemon_says_what_it_does(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    api.answer = [job("a", "completed"), job("b", "staging")]
    async with Daemon(write_config(tmp_path, api, receiver)) as daemon:
        await daemon.logged("allium: a first poll announces nothing; watching 2 jobs, 1 active")
        api.answer = [job("a", "completed"), job("b", "transporting")]
        await receiver.arrived(1)
        await daemon.logged("ops: delivered backfill.transporting")
        assert await daemon.ends(signal.SIGTERM) == 0
        assert daemon.lines[-1].endswith("stopped")
    [event] = receiver.events
    assert event["type"] == "backfill.transporting"
    assert event["data"]["previous_status"] == "staging"
    assert "key-for-tests" not in "".join(daemon.lines)
    assert "/hooks/ops" not in "".join(daemon.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_attempts_under_way_end_and_nothing_is_sent_twice(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, number: signal.Signals
) -> None:
    gate = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await gate.wait()
        return web.Response(status=204)

    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.answer = wait
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        daemon.process.send_signal(number)
        await daemon.logged("stopping")
        gate.set()
        assert await daemon.ends() == 0
    polls = len(api.requests)
    async with Daemon(config) as daemon:
        await api.arrived(polls + 3)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(receiver.requests) == 1


async def test_a_signal_during_a_poll_ends_it_quietly(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    api.answer = hang
    async with Daemon(write_config(tmp_path, api, receiver)) as daemon:
        await api.arrived(1)
        assert await daemon.ends(signal.SIGTERM, within=5) == 0
        told = [line for line in daemon.lines if "WARNING" not in line]
        assert [line.split(maxsplit=2)[2] for line in told] == [
            "stopping: no further polls, attempts under way may end",
            "stopped",
        ]


async def test_a_stop_waits_no_longer_than_ten_seconds_and_the_attempt_is_made_again(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.script = [hang, hang]
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        started = time.monotonic()
        assert await daemon.ends(signal.SIGTERM) == 0
        assert 9 < time.monotonic() - started < 14
        await daemon.logged("attempts were cut off")
    async with Daemon(config) as daemon:
        await receiver.arrived(2)
        daemon.process.send_signal(signal.SIGTERM)
        await daemon.logged("stopping")
        assert await daemon.ends(signal.SIGTERM, within=5) == 0, "a second signal does not wait"
    async with Daemon(config) as daemon:
        await daemon.logged("1 delivery from before still to be made")
        await receiver.arrived(3)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len({request.headers["webhook-id"] for request, _ in receiver.requests}) == 1
    assert len({body for _, body in receiver.requests}) == 1


async def test_a_second_daemon_on_one_state_is_refused(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver, poll_every="1m")
    async with Daemon(config) as first:
        await first.logged("watching")
        async with Daemon(config) as second:
            assert await second.ends() == 1
            assert f"is in use by another notifier (process {first.process.pid})" in second.lines[-1]
        assert await first.ends(signal.SIGTERM) == 0
    assert len(api.requests) == 1


async def test_a_damaged_state_is_refused_before_anything_is_polled_or_sent(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    (tmp_path / "state.db").touch()
    async with Daemon(write_config(tmp_path, api, receiver)) as daemon:
        assert await daemon.ends() == 1
    [message] = [line for line in daemon.lines if "WARNING" not in line]
    assert f"the state {tmp_path}/state.db is damaged: it is empty" in message
    assert not api.requests


async def test_a_state_that_fails_ends_the_daemon_with_an_error_for_the_service_manager(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        api.answer = [job("j", "staging")]
        assert await daemon.ends() == 1
        assert "database is locked" in daemon.lines[-1]
        assert not any("Traceback" in line for line in daemon.lines)
        other.close()
    assert not receiver.requests
    async with Daemon(config) as daemon:
        await receiver.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert receiver.events[0]["data"]["previous_status"] is None


async def test_what_is_owed_to_a_target_that_is_gone_is_given_up(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    receiver.answer = web.Response(status=503)
    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0
    config.write_text(config.read_text().replace("[targets.ops]", "[targets.renamed]"))
    receiver.answer = OK
    before = len(receiver.requests)
    async with Daemon(config) as daemon:
        await daemon.logged("gave up 1 delivery: the source or target is no longer configured")
        api.answer = [job("j", "completed")]
        await daemon.logged("renamed: delivered backfill.completed")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [event["data"]["status"] for event in receiver.events[before:]] == ["completed"]
