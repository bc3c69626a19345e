"""The daemon as a process: its start, its end, and fifty ends it did not choose."""

import asyncio
import json
import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

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


async def test_a_hang_up_does_not_end_it(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with Daemon(write_config(tmp_path, api, receiver)) as daemon:
        await daemon.logged("watching")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("restart to use a changed one")
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0


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
        await daemon.logged("gave up deliveries of 1 job")
        api.answer = [job("j", "completed")]
        await daemon.logged("renamed: delivered backfill.completed")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [event["data"]["status"] for event in receiver.events[before:]] == ["completed"]


# ---------------------------------------------------------------------------------- kill -9


class World:
    """Jobs of which some change with every poll; it keeps what it served."""

    def __init__(self, jobs: int, seed: int) -> None:
        self._lots = random.Random(seed)
        self.statuses = {f"job-{number}": "staging" for number in range(jobs)}
        self.served: dict[str, list[str | None]] = {}
        self.frozen = False

    def listing(self, _: web.Request) -> list[dict[str, Any]]:
        first = not self.served
        if not first and not self.frozen:
            for job_id in self._lots.sample(sorted(self.statuses), 15):
                self.statuses[job_id] = self._lots.choice(
                    ["staging", "transporting", "completed", "failed", "cancelled", "paused"]
                )
            self.statuses[f"job-{len(self.statuses)}"] = "staging"
        for job_id, status in self.statuses.items():
            history = self.served.setdefault(job_id, [] if first else [None])
            if not history or history[-1] != status:
                history.append(status)
        return [job(job_id, status) for job_id, status in self.statuses.items()]


def fault_of(chain: list[dict[str, Any]], served: list[str | None]) -> str | None:
    """Return what is wrong with the events of one job, in the order they first arrived."""
    last = served[0]
    remaining = iter(served[1:])
    for event in chain:
        if event["data"]["previous_status"] != last:
            return f"announced from {event['data']['previous_status']}, but it was {last}"
        last = event["data"]["status"]
        if last not in remaining:
            return f"announced {last}, which was not served then"
    return None if last == served[-1] else f"ended as {last}, but is {served[-1]}"


@pytest.mark.timeout(280)
async def test_fifty_kills_at_random_instants_under_load_break_no_chain(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    lots = random.Random(50)
    world = World(jobs=60, seed=51)
    api.answer = world.listing

    def unreliable(_: web.Request) -> web.Response:
        return web.Response(status=lots.choices([204, 500, 429], [90, 6, 4])[0])

    receiver.answer = unreliable
    config = write_config(tmp_path, api, receiver, poll_every="20ms")
    for round_ in range(50):
        async with Daemon(config) as daemon:
            if round_ % 5 == 4:  # while it starts
                await asyncio.sleep(lots.uniform(0, 0.6))
            else:
                await api.arrived(len(api.requests) + lots.randint(1, 4))
                await asyncio.sleep(lots.uniform(0, 0.15))
            daemon.process.kill()
            await daemon.process.wait()

    world.frozen = True
    receiver.answer = OK
    async with Daemon(config) as daemon:
        await api.arrived(len(api.requests) + 2)
        async with asyncio.timeout(60):
            while _faults(world, receiver):
                await receiver.arrived(len(receiver.requests) + 1)
        assert await daemon.ends(signal.SIGTERM) == 0

    events = len({request.headers["webhook-id"] for request, _ in receiver.requests})
    assert events > 500, "too little happened to prove anything"
    assert not _faults(world, receiver)


def _faults(world: World, receiver: ScriptedServer) -> list[str]:
    bodies: dict[str, bytes] = {}
    chains: dict[str, list[dict[str, Any]]] = {}
    for request, body in list(receiver.requests):
        id_ = request.headers["webhook-id"]
        if id_ not in bodies:
            event = json.loads(body)
            chains.setdefault(event["data"]["job_id"], []).append(event)
        assert bodies.setdefault(id_, body) == body, "a repeat says something else"
    return [
        f"{job_id}: {fault}"
        for job_id, served in world.served.items()
        if (fault := fault_of(chains.get(job_id, []), served)) is not None
    ]
