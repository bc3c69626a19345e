"""The process: builds the parts from a config, runs them, stops them in order."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from notifier.assembly import down_after, make_heartbeat, open_session
from notifier.clock import Clock
from notifier.config import Config
from notifier.crew import Crew
from notifier.difference import Difference
from notifier.dispatcher import Dispatcher
from notifier.fleet import Fleet
from notifier.heartbeat import Heartbeat
from notifier.log import set_up_log
from notifier.memory import return_large_blocks
from notifier.model import utc_now
from notifier.overview import overview
from notifier.parts import Parts, open_parts
from notifier.reload import Reload
from notifier.service import attended
from notifier.settings import Settings
from notifier.storage import StateInUseError, StoreError
from notifier.supervisor import Supervisor
from notifier.unix import socket_path
from notifier.vitals import Vitals, ended
from notifier.watchdog import StuckError, Watchdog
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard
from notifier.web.server import served_on
from notifier.web.socket import served_beside

_log = logging.getLogger(__name__)

STOP_WITHIN_SECONDS = 10.0


class StoppedError(Exception):
    """A signal ended it before all was done."""


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
    with _single_error(), _signals() as signals:
        async with (
            attended(Supervisor(os.environ), vitals) as service,
            _heartbeat(settings) as heartbeat,
            open_parts(settings, once=False, polled=heartbeat.polled) as parts,
            asyncio.TaskGroup() as tasks,
        ):
            crew, clock = Crew(tasks), Clock()
            fleet = Fleet(parts, clock, crew)
            reload = Reload(
                load,
                fleet,
                followed=partial(_follow, parts, heartbeat),
                ended=parts.meter.reloaded,
                told=service.reloading,
            )
            signals.hung_up = reload.ask
            async with _answering(parts, settings, reload, vitals):
                crew.start("clock", clock.run())
                crew.start("notices", parts.notices.run())
                crew.start("mutes", parts.muting.run())
                crew.start("upkeep", parts.upkeep.run())
                crew.start("heartbeat", heartbeat.run())
                crew.start("reload", reload.run())
                fleet.start()
                watching = tasks.create_task(_watch(watchdog, parts, heartbeat), name="watchdog")
                vitals.watch("scheduler", clock.fault)
                vitals.watch("store", parts.state.fault)
                vitals.watch("lanes", lambda: ended(fleet.lanes))
                service.ready(partial(_overview, parts))
                await signals.stop.wait()
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
                if not await _all_end(lanes, signals.hurry):
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


@contextlib.asynccontextmanager
async def _heartbeat(settings: Settings) -> AsyncIterator[Heartbeat]:
    """Yield the heartbeat, which is told of an error that ends the context, for ten seconds at most."""
    async with open_session() as session:
        heartbeat = make_heartbeat(settings, session)
        try:
            yield heartbeat
        except Exception as error:
            # A stop that was asked for is no error, and whoever has the state has a heartbeat of its own.
            # What is stuck was told before.
            untold = StoppedError | StateInUseError | StuckError
            if not any(isinstance(leaf, untold) for leaf in _leaves(error)):
                await heartbeat.tell("fail", longest_seconds=STOP_WITHIN_SECONDS)
            raise


async def _watch(watchdog: Watchdog, parts: Parts, heartbeat: Heartbeat) -> None:
    try:
        await watchdog.run(partial(_under_way, parts))
    except StuckError:
        # At once: what is stuck may keep all else from ending, too.
        await heartbeat.tell("fail", longest_seconds=STOP_WITHIN_SECONDS)
        raise


async def _all_end(lanes: list[asyncio.Task[None]], hurry: asyncio.Event) -> bool:
    """Wait for the lanes to end, ten seconds at most or until told to hurry; return whether they did."""
    hurried: asyncio.Future[Any] = asyncio.create_task(hurry.wait())
    ended: asyncio.Future[Any] = asyncio.gather(*lanes, return_exceptions=True)
    await asyncio.wait({hurried, ended}, timeout=STOP_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    all_ended = ended.done()
    for waiting in (hurried, ended):
        waiting.cancel()  # and with `ended` the lanes
    await asyncio.gather(hurried, ended, *lanes, return_exceptions=True)
    return all_ended


def run_once(settings: Settings, *, limit: timedelta) -> bool:
    """Poll each source once and send all that is due; return whether every poll and attempt was good.

    Raises StoreError when the state cannot be used, StuckError when something does not end, TimeoutError when
    it takes longer than the limit, and StoppedError after a SIGTERM or SIGINT. Polls may take half of the
    limit: what others found must be sent. Attempts under way at its end get ten seconds to end, or the next
    run would repeat them.
    """
    with Watchdog() as watchdog:
        return asyncio.run(_run_once(settings, watchdog, limit))


async def _run_once(settings: Settings, watchdog: Watchdog, limit: timedelta) -> bool:
    started = asyncio.get_running_loop().time()
    deadline = started + limit.total_seconds()
    with _single_error(), _signals() as signals:
        async with (
            _heartbeat(settings) as heartbeat,
            open_parts(settings, once=True) as parts,
            asyncio.TaskGroup() as tasks,
        ):
            watching = tasks.create_task(_watch(watchdog, parts, heartbeat), name="watchdog")
            watchers, dispatchers = list(parts.watchers.values()), list(parts.dispatchers.values())
            polls = [tasks.create_task(watcher.observe()) for watcher in watchers]
            stopping = tasks.create_task(_stop_once(signals.stop, polls, dispatchers))
            beginning = tasks.create_task(heartbeat.tell("start", longest_seconds=STOP_WITHIN_SECONDS))
            _, late = await asyncio.wait(polls, timeout=(deadline - started) / 2)
            for watcher, poll in zip(watchers, polls, strict=True):
                if poll in late:
                    poll.cancel()
                    if not signals.stop.is_set():
                        watcher.give_up()
            await parts.muting.end_due()
            await _work_off(parts, deadline)
            await parts.notices.tell_due()
            await _work_off(parts, deadline)
            await _refresh(parts, deadline)
            await parts.notices.tell_due()
            await _work_off(parts, deadline)
            await parts.upkeep.prune()
            watching.cancel()
            stopping.cancel()
            if signals.stop.is_set():
                raise StoppedError
            if late:
                raise TimeoutError
            await beginning  # heard after the end, it would stand for a run that never ended
            failures = [watcher.report.failures for watcher in watchers]
            await heartbeat.tell("fail" if any(failures) else "good", longest_seconds=STOP_WITHIN_SECONDS)
            failures += [dispatcher.failures for dispatcher in dispatchers]
            failures += [refresher.failures for refresher in parts.refreshers.values()]
            return not any(failures)


async def _stop_once(
    stop: asyncio.Event, polls: list[asyncio.Task[timedelta]], dispatchers: list[Dispatcher]
) -> None:
    await stop.wait()
    for poll in polls:
        poll.cancel()
    for dispatcher in dispatchers:
        dispatcher.stop()


async def _refresh(parts: Parts, deadline: float) -> None:
    """Edit the cards that may be edited now; a later run does what is left."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await asyncio.gather(*(refresher.work_off() for refresher in parts.refreshers.values()))


def _overview(parts: Parts) -> str:
    return overview(
        parts.state.records,
        listed={name: watcher.listed for name, watcher in parts.watchers.items()},
        waiting={name: len(dispatcher) for name, dispatcher in parts.dispatchers.items()},
        now=utc_now(),
    )


def _under_way(parts: Parts) -> Mapping[Hashable, tuple[str, float]]:
    """Return all that is under way: a commit, polls and attempts."""
    works = [
        parts.state.under_way,
        *(watcher.under_way for watcher in parts.watchers.values()),
        *(dispatcher.under_way for dispatcher in parts.dispatchers.values()),
    ]
    return {token: each for under_way in works for token, each in under_way().items()}


async def _work_off(parts: Parts, deadline: float) -> None:
    """Attempt all that is due. Raises TimeoutError at the deadline; attempts under way may then still end."""
    async with asyncio.TaskGroup() as tasks:
        dispatchers = list(parts.dispatchers.values())
        lanes = [tasks.create_task(dispatcher.run()) for dispatcher in dispatchers]
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.gather(*map(asyncio.shield, lanes))
        except TimeoutError:
            for dispatcher in dispatchers:
                dispatcher.stop()
            await _all_end(lanes, asyncio.Event())
            raise


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


@contextlib.contextmanager
def _signals() -> Iterator["_Signals"]:
    """Yield what signals do while the context lasts."""
    loop = asyncio.get_running_loop()
    signals = _Signals()

    def arrived() -> None:
        (signals.hurry if signals.stop.is_set() else signals.stop).set()

    def hung_up() -> None:
        signals.hung_up()

    # By itself SIGHUP would end the process, and silence is what people rely on.
    handlers = {signal.SIGTERM: arrived, signal.SIGINT: arrived, signal.SIGHUP: hung_up}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield signals
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


class _Signals:
    """What signals set: the first SIGTERM or SIGINT, the second one; and what a SIGHUP calls."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.hung_up: Callable[[], None] = lambda: None


@contextlib.contextmanager
def _single_error() -> Iterator[None]:
    """Raise the one error that matters out of the groups that tasks raise theirs in."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        # What stood still says more than what failed because of it.
        for kind in (StuckError, StoreError, BaseException):
            for leaf in leaves:
                if isinstance(leaf, kind):
                    raise leaf from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
