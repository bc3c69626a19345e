"""What the manager of a service is told and when, over a real socket."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from notifier.service import Service, attended
from notifier.supervisor import Supervisor
from notifier.vitals import Vitals
from tests.manager import Manager, managed


class Attended:
    """A service that looks a hundred times a second, and its manager."""

    def __init__(self, manager: Manager, service: Service, vitals: Vitals) -> None:
        self.manager = manager
        self.service = service
        self.vitals = vitals


@asynccontextmanager
async def serving(directory: Path, *, watchdog_usec: int = 0) -> AsyncIterator[Attended]:
    async with managed(directory) as manager:
        vitals = Vitals()
        supervisor = Supervisor(manager.environment | {"WATCHDOG_USEC": str(watchdog_usec)})
        service = Service(supervisor, vitals, look_every_seconds=0.01)
        running = asyncio.create_task(service.run())
        try:
            yield Attended(manager, service, vitals)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def saying(*lines: str) -> Callable[[], str]:
    """Return what says these one after another, and the last one from then on."""
    left = list(lines)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


async def test_a_start_may_take_long_as_long_as_it_is_heard_of(tmp_path: Path) -> None:
    async with serving(tmp_path) as attended:
        assert await attended.manager.told("EXTEND_TIMEOUT_USEC", 3) == "60000000"
        assert attended.manager.values("STATUS") == ["reading the state"]
        assert not attended.manager.values("READY")
        attended.service.ready(lambda: "watching 12 jobs, 3 active")
        await attended.manager.told("READY")
        assert attended.manager.messages[-1] == {"READY": "1", "STATUS": "watching 12 jobs, 3 active"}


async def test_a_status_is_told_when_it_has_changed_and_only_then(tmp_path: Path) -> None:
    async with serving(tmp_path, watchdog_usec=10_000) as attended:
        attended.service.ready(saying("one job", "one job", "two jobs", "two jobs", "three jobs"))
        await attended.manager.told_that("three jobs")
        await attended.manager.told("WATCHDOG", 10)
        statuses = attended.manager.values("STATUS")
    assert [each for each in statuses if each != "reading the state"] == ["one job", "two jobs", "three jobs"]


async def test_the_watchdog_is_fed_in_time_while_the_vitals_are_good(tmp_path: Path) -> None:
    async with serving(tmp_path, watchdog_usec=400_000) as attended:
        attended.service.ready(lambda: "all is well")
        began = time.monotonic()
        await attended.manager.told("WATCHDOG", 5)
        assert 5 * 0.2 <= time.monotonic() - began < 5 * 0.4


async def test_what_is_dead_is_told_instead_and_the_watchdog_goes_hungry(tmp_path: Path) -> None:
    async with serving(tmp_path, watchdog_usec=50_000) as attended:
        dead = ["it ended"]
        attended.vitals.watch("scheduler", lambda: dead[0] if dead else None)
        attended.service.ready(lambda: "all is well")
        await attended.manager.told("READY")
        attended.vitals.watch("clock of the test", saying(*map(str, range(10))))
        await attended.manager.told_that("not working: scheduler: it ended; clock of the test: 9")
        assert not attended.manager.values("WATCHDOG")
        dead.clear()
        attended.vitals.watch("clock of the test", lambda: None)
        await attended.manager.told("WATCHDOG")
        assert attended.manager.values("STATUS")[-1] == "all is well"


async def test_a_reload_begins_with_a_time_and_ends_however_it_ended(tmp_path: Path) -> None:
    async with serving(tmp_path) as attended:
        attended.service.ready(lambda: "all is well")
        before = time.monotonic_ns() // 1000

        async def reload() -> None:
            with attended.service.reloading():
                told_at = int(await attended.manager.told("MONOTONIC_USEC"))
                assert before <= told_at <= time.monotonic_ns() // 1000
                assert attended.manager.messages[-1]["RELOADING"] == "1"
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await reload()
        await attended.manager.told("READY", 2)
        assert "RELOADING" not in attended.manager.messages[-1]


async def test_a_stop_is_told_and_the_watchdog_is_fed_until_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path, watchdog_usec=50_000) as attended:
        attended.vitals.watch("scheduler", lambda: None)
        attended.service.ready(lambda: "all is well")
        await attended.manager.told("READY")
        attended.vitals.watch("scheduler", lambda: "it ended")
        attended.vitals.rest()
        attended.service.stopping()
        await attended.manager.told("STOPPING")
        assert attended.manager.messages[-1]["STATUS"] == "stopping: attempts under way may end"
        await attended.manager.told("WATCHDOG", len(attended.manager.values("WATCHDOG")) + 2)


async def test_a_reload_that_a_stop_cuts_off_is_no_return_to_work(tmp_path: Path) -> None:
    async with serving(tmp_path) as attended:
        attended.service.ready(lambda: "all is well")
        with attended.service.reloading():
            attended.service.stopping()
        await attended.manager.told("STOPPING")
    assert len(attended.manager.values("READY")) == 1


async def test_what_a_busy_manager_did_not_take_is_told_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as busy:
        busy.bind(f"{tmp_path}/notify")
        supervisor = Supervisor({"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        while supervisor.tell({"STATUS": "x"}):
            pass
        service = Service(supervisor, Vitals(), look_every_seconds=0.01)
        service.ready(lambda: "all is well")
        running = asyncio.create_task(service.run())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while (message := await loop.sock_recv(busy, 4096)) == b"STATUS=x":
                pass
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert message == b"READY=1\nSTATUS=all is well"


async def test_without_a_manager_there_is_nothing_to_do() -> None:
    async with attended(Supervisor({}), Vitals()) as service:
        async with asyncio.timeout(10):
            await service.run()
        service.ready(lambda: "all is well")
        with service.reloading():
            pass
        service.stopping()
