"""The daemon as a process that a service manager started: what it tells, and when."""

import signal
from pathlib import Path

from aiohttp import web

from tests.commands import notifier
from tests.daemon import Daemon, write_config
from tests.manager import managed
from tests.servers import ScriptedServer, job


async def test_a_service_says_that_it_is_ready_what_it_does_that_it_lives_and_that_it_stops(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    api.answer = [job("a", "completed"), job("b", "staging")]
    receiver.answer = web.Response(status=422)
    config = write_config(tmp_path, api, receiver)
    async with managed(tmp_path) as manager:
        environment = manager.environment | {"WATCHDOG_USEC": "400000"}
        async with Daemon(config, environment) as daemon:
            await manager.told("READY")
            await manager.told_that("watching 2 jobs, 1 active; 0 deliveries pending, 0 dead")
            api.answer = [job("a", "completed"), job("b", "transporting")]
            await manager.told_that("watching 2 jobs, 1 active; 0 deliveries pending, 1 dead")
            await manager.told("WATCHDOG", len(manager.values("WATCHDOG")) + 2)
            assert not manager.values("STOPPING")
            assert await daemon.ends(signal.SIGTERM) == 0
            await manager.told("STOPPING")
    assert manager.values("STATUS")[0] == "reading the state"
    assert manager.values("STATUS")[-1].startswith("stopping")


async def test_a_service_is_ready_though_nothing_answers_and_says_what_fails(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    api.answer = web.Response(status=503)
    async with managed(tmp_path) as manager:
        environment = manager.environment | {"WATCHDOG_USEC": "400000"}
        async with Daemon(write_config(tmp_path, api, receiver), environment) as daemon:
            await manager.told("READY")
            await manager.told_that("no good poll yet; 0 deliveries pending, 0 dead; source allium fails")
            await manager.told("WATCHDOG", 2)
            assert await daemon.ends(signal.SIGTERM) == 0


async def test_a_service_says_when_it_reads_its_config_again(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver)
    async with managed(tmp_path) as manager, Daemon(config, manager.environment) as daemon:
        await manager.told("READY")
        for count, text in enumerate(["# the same", "nonsense"], start=1):
            with config.open("a") as file:
                file.write(f"{text}\n")
            daemon.process.send_signal(signal.SIGHUP)
            await manager.told("RELOADING", count)
            assert int(await manager.told("MONOTONIC_USEC", count)) > 0
            await manager.told("READY", count + 1)
        await daemon.logged("not reloaded, the one before stays in force")
        assert await daemon.ends(signal.SIGTERM) == 0
    told = [name for message in manager.messages for name in message if name in ("RELOADING", "READY")]
    assert told == ["READY", "RELOADING", "READY", "RELOADING", "READY"]


async def test_a_state_that_cannot_be_used_is_never_ready(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    (tmp_path / "state.db").touch()
    async with managed(tmp_path) as manager:
        config = write_config(tmp_path, api, receiver)
        async with Daemon(config, manager.environment) as daemon:
            assert await daemon.ends() == 1
            assert "is damaged: it is empty" in daemon.lines[-1]
        await manager.told("STATUS")
        assert not manager.values("READY")


async def test_once_tells_a_manager_nothing(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver)
    async with managed(tmp_path) as manager:
        done = await notifier("once", "--config", str(config), **manager.environment)
    assert (done.code, manager.messages) == (0, [])
