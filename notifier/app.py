"""The process: builds the parts from a config, runs them, stops them in order."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from functools import partial

from notifier.assembly import down_after
from notifier.clock import Clock
from notifier.config import Config
from notifier.crew import Crew
from notifier.difference import Difference
from notifier.fleet import Fleet
from notifier.heartbeat import Heartbeat
from notifier.log import set_up_log
from notifier.memory import return_large_blocks
from notifier.model import utc_now
from notifier.overview import overview
from notifier.parts import Parts, open_parts
from notifier.process import all_end, heartbeat_of, signals, single_error, watch
from notifier.reload import Reload
from notifier.service import attended
from notifier.settings import Settings
from notifier.supervisor import Supervisor
from notifier.unix import socket_path
from notifier.vitals import Vitals, ended
from notifier.watchdog import Watchdog
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard
from notifier.web.server import served_on
from notifier.web.socket import served_beside

_log = logging.getLogger(__name__)


def run(loaded: Config, load: Callable[[], Config]) -> None:
    """Poll and deliver until SIGTERM or SIGINT; attempts under way then get ten seconds to end.

    A second signal cuts them off at once. SIGHUP has `load` read the config again. Raises StoreError when
    the state cannot be used, and StuckError when something does not end; a process that cannot even do that
    is ended.
    """
    with Watchdog() as watchdog:
        asyncio.run(_run(loaded, load, watchdog))


async def _run(loaded: Config, load: Callable[[], Config], watchdog: Watchdog) -> None:
    return_large_blocks()
    settings, vitals = loaded.settings, Vitals()
    with single_error(), signals() as asked:
        async with (
            attended(Supervisor(os.environ), vitals) as service,
            heartbeat_of(settings) as heartbeat,
            open_parts(settings, once=False, polled=heartbeat.polled) as parts,
            asyncio.TaskGroup() as tasks,
        ):
            crew, clock = Crew(tasks), Clock()
            fleet = Fleet(parts, clock, crew)
            reload = Reload(
                load,
                fleet,
                asked=asked.hung_up,
                followed=partial(_follow, parts, heartbeat),
                ended=parts.meter.reloaded,
                told=service.reloading,
            )
            async with _answering(parts, settings, reload, vitals):
                crew.start("clock", clock.run())
                crew.start("notices", parts.notices.run())
                crew.start("mutes", parts.muting.run())
                crew.start("upkeep", parts.upkeep.run())
                crew.start("heartbeat", heartbeat.run())
                crew.start("reload", reload.run())
                fleet.start()
                watching = tasks.create_task(watch(watchdog, parts, heartbeat), name="watchdog")
                vitals.watch("scheduler", clock.fault)
                vitals.watch("store", parts.state.fault)
                vitals.watch("lanes", lambda: ended(fleet.lanes))
                service.ready(partial(_overview, parts))
                await asked.stop.wait()
                vitals.rest()
                service.stopping()
                _log.info("stopping: no further polls, attempts under way may end")
                await crew.end("reload")  # before the lanes: it may be exchanging them
                lanes = fleet.lanes
                for name in crew.running:
                    if crew.running[name] not in lanes:
                        await crew.end(name)
                for dispatcher in parts.dispatchers.values():
                    dispatcher.stop()
                if not await all_end(lanes, asked.hurry):
                    _log.warning("stopping: attempts were cut off; they are made again after the next start")
                watching.cancel()
    _log.info("stopped")


def _follow(parts: Parts, heartbeat: Heartbeat, loaded: Config, found: Difference) -> None:
    """Have what is of the whole process follow a changed config, too."""
    parts.meter.configure(parts.watchers, parts.dispatchers)
    settings = loaded.settings
    if "heartbeat" in found.tables or found.sources.new or found.sources.gone:
        heartbeat.follow(settings.heartbeat, down_after=down_after(settings))
    if "log" in found.tables:
        set_up_log(level=settings.log.level, format=settings.log.format)
    for warning in loaded.warnings:
        _log.warning("config: %s", warning)


def _overview(parts: Parts) -> str:
    return overview(
        parts.state.records,
        listed={name: watcher.listed for name, watcher in parts.watchers.items()},
        waiting={name: len(dispatcher) for name, dispatcher in parts.dispatchers.items()},
        now=utc_now(),
    )


@contextlib.asynccontextmanager
async def _answering(parts: Parts, settings: Settings, reload: Reload, vitals: Vitals) -> AsyncIterator[None]:
    """Answer commands and browsers while the context lasts; polls and deliveries do not depend on it."""
    state_path = settings.store.path
    daemon = Daemon(
        records=parts.state.records,
        retry=parts.replays.carry_out,
        muting=parts.muting,
        meter=parts.meter,
        reload=reload.carry_out,
        targets=parts.dispatchers.keys(),
        quiet=lambda: parts.quiet,
        polls=lambda: parts.reports,
        state_path=state_path,
        started_at=utc_now(),
        vitals=vitals.faults,
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(served_beside(state_path, make_application(daemon)))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            _log.warning("commands cannot reach this daemon: %s: %s", socket_path(state_path), reason)
        if settings.web.address is not None:
            token = settings.web.token
            guard = Guard(None if token is None else token.get_secret_value())
            application = make_application(daemon, guard)
            await stack.enter_async_context(served_on(settings.web.address, application))
        yield
