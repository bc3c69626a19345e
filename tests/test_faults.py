"""What breaks below the daemon: the disk, the system calls, the clock. Nothing is lost, nothing hangs."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.daemon import Daemon, write_config
from tests.servers import ScriptedServer, job
from tests.world import World, event_ids, faults

OK = web.Response(status=204)

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: no failing system calls"
)
LIBFAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
needs_faketime = pytest.mark.skipif(
    LIBFAKETIME is None, reason="faketime is not installed: no clock that jumps"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no permission to mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def filled(disk: Path, *, but_bytes: int = 0) -> Iterator[None]:
    """Fill the disk up for as long as the context lasts."""
    with tempfile.NamedTemporaryFile(dir=disk, buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            ballast.truncate(max(0, ballast.tell() - but_bytes))
        yield


async def recovers(config: Path, world: World, receiver: ScriptedServer, api: ScriptedServer) -> None:
    """Run the daemon without faults until all that happened has been announced; then nothing is wrong."""
    world.frozen = True
    receiver.answer = OK
    async with Daemon(config) as daemon:
        await api.arrived(len(api.requests) + 2)
        async with asyncio.timeout(60):
            while faults(world, receiver):
                await receiver.arrived(len(receiver.requests) + 1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert not faults(world, receiver)
    world.frozen = False


@pytest.mark.parametrize("seed", [7, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(30))])
async def test_a_full_disk_loses_no_event(
    disk: Path, tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, seed: int
) -> None:
    lots = random.Random(seed)
    world = World(jobs=40, seed=seed + 1)
    api.answer = world.listing
    config = write_config(tmp_path, api, receiver, poll_every="20ms", state=disk / "state.db")
    for _ in range(6):
        receiver.answer = OK
        async with Daemon(config) as daemon:
            await daemon.logged("watching")
            await api.arrived(len(api.requests) + lots.randint(1, 5))
            with filled(disk, but_bytes=lots.choice([0, 4096, 16384, 65536])):
                assert await daemon.ends() == 1
                assert "disk" in daemon.lines[-1]
                assert str(disk / "state.db") in daemon.lines[-1]
                assert not any("Traceback" in line for line in daemon.lines)
                polls, sent = len(api.requests), len(receiver.requests)
                with filled(disk):  # what its end left free
                    async with Daemon(config) as again:
                        assert await again.ends() == 1
                assert (len(api.requests), len(receiver.requests)) == (polls, sent), "it went on regardless"
        await recovers(config, world, receiver, api)
    assert len(event_ids(receiver)) > 100


@asynccontextmanager
async def traced(daemon: Daemon, *arguments: str) -> AsyncIterator[None]:
    """Have strace inject faults into a running daemon from now on."""
    tracer = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-q", "-o", os.devnull, "-p", str(daemon.process.pid), *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield
    finally:
        if tracer.returncode is None:
            tracer.terminate()
        await tracer.communicate()


@needs_strace
@pytest.mark.parametrize(
    "injected",
    [
        "fsync,fdatasync:error=EIO:when={n}+",
        "pwrite64:error=EIO:when={n}+",
        "pwrite64:error=ENOSPC:when={n}",
        "fsync,fdatasync:error=EIO:when={n}",
    ],
)
async def test_a_disk_that_fails_ends_the_daemon_and_loses_no_event(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, injected: str
) -> None:
    world = World(jobs=40, seed=9)
    api.answer = world.listing
    config = write_config(tmp_path, api, receiver, poll_every="20ms")
    for n in (1, 2, 5):
        receiver.answer = OK
        async with Daemon(config) as daemon:
            await daemon.logged("watching")
            async with traced(daemon, "-e", f"inject={injected.format(n=n)}"):
                assert await daemon.ends() == 1
            assert str(tmp_path / "state.db") in daemon.lines[-1]
            assert not any("Traceback" in line for line in daemon.lines)
        await recovers(config, world, receiver, api)
    assert len(event_ids(receiver)) > 20


@needs_strace
async def test_a_death_between_write_and_fsync_loses_no_event(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    world = World(jobs=40, seed=10)
    api.answer = world.listing
    config = write_config(tmp_path, api, receiver, poll_every="20ms")
    for n in range(1, 9):
        async with Daemon(config) as daemon:
            await daemon.logged("watching")
            async with traced(daemon, "-e", f"inject=fdatasync:signal=KILL:when={n}"):
                assert await daemon.ends() == -signal.SIGKILL
    await recovers(config, world, receiver, api)
    assert len(event_ids(receiver)) > 20


@needs_faketime
async def test_a_clock_that_jumps_an_hour_delays_nothing_and_loses_no_event(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0s")
    environment = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    api.answer = [job("a"), job("b")]
    config = write_config(tmp_path, api, receiver)
    chain = ["transporting", "failed", "staging", "completed", "cancelled", "paused"]
    statuses = iter(chain)
    async with Daemon(config, environment) as daemon:
        await daemon.logged("watching 2 jobs")
        for jump in ("+3600s", "+0s", "-3600s"):
            # One delivery waits for its retry and another is under way while the clock jumps.
            receiver.script = [web.Response(status=503), OK, web.Response(status=503)]
            arrived = len(receiver.requests)
            api.answer = [job("a", next(statuses)), job("b")]
            await receiver.arrived(arrived + 1)
            clock.write_text(jump)
            await receiver.arrived(arrived + 2)
            api.answer = [job("a", next(statuses)), job("b")]
            await receiver.arrived(arrived + 4)
        assert await daemon.ends(signal.SIGTERM) == 0
    attempts = [event["data"]["status"] for event in receiver.events]
    assert attempts == [status for status in chain for _ in ("refused", "taken")]
    assert len(event_ids(receiver)) == len(chain)
