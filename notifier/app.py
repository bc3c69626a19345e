"""The process: builds the parts from a config, runs them, stops them in order."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

from notifier.assembly import make_heartbeat, open_session
from notifier.clock import Clock
from notifier.dispatcher import Dispatcher
from notifier.heartbeat import Heartbeat
from notifier.memory import return_large_blocks
from notifier.model import utc_now
from notifier.parts import Parts, open_parts
from notifier.settings import Settings
from notifier.storage import StateInUseError, StoreError
from notifier.unix import socket_path
from notifier.watchdog import StuckError, UnderWay, Watchdog
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard
from notifier.web.server import served_on
from notifier.web.socket import served_beside

_log = logging.getLogger(__name__)

STOP_WITHIN_SECONDS = 10.0


class StoppedError(Exception):
    """A signal ended it before all was done."""


def run(settings: Settings) -> None:
    """Poll and deliver until SIGTERM or SIGINT; attempts under way then get ten seconds to end.

    A second signal cuts them off at once. Raises StoreError when the state cannot be used, and StuckError
    when something does not end; a process that cannot even do that is ended.
    """
    with Watchdog() as watchdog:
        asyncio.run(_run(settings, watchdog))


async def _run(settings: Settings, watchdog: Watchdog) -> None:
    return_large_blocks()
    with _single_error(), _signals() as (stop, hurry):
        async with (
            _heartbeat(settings) as heartbeat,
            open_parts(settings, once=False, polled=heartbeat.polled) as parts,
            _answering(parts, settings),
            asyncio.TaskGroup() as tasks,
        ):
            clock = Clock()
            for watcher in parts.watchers:
                clock.repeat(watcher.name, watcher.observe)
            ticking = tasks.create_task(clock.run(), name="clock")
            watching = tasks.create_task(_watch(watchdog, parts, heartbeat), name="watchdog")
            telling = tasks.create_task(parts.notices.run(), name="notices")
            muting = tasks.create_task(parts.muting.run(), name="mutes")
            pruning = tasks.create_task(parts.upkeep.run(), name="upkeep")
            cards = [tasks.create_task(each.run(), name=f"cards {each.name}") for each in parts.refreshers]
            beating = tasks.create_task(heartbeat.run(), name="heartbeat")
            asking = tasks.create_task(parts.tell_caveats(), name="caveats")
            lanes = [tasks.create_task(lane.run(), name=f"lane {lane.name}") for lane in parts.dispatchers]
            await stop.wait()
            _log.info("stopping: no further polls, attempts under way may end")
            for task in (ticking, telling, muting, pruning, beating, asking, *cards):
                task.cancel()
            for dispatcher in parts.dispatchers:
                dispatcher.stop()
            if not await _all_end(lanes, hurry):
                _log.warning("stopping: attempts were cut off; they are made again after the next start")
            watching.cancel()
    _log.info("stopped")


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
        await watchdog.run(_watched(parts))
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
    with _single_error(), _signals() as (stop, _):
        async with (
            _heartbeat(settings) as heartbeat,
            open_parts(settings, once=True) as parts,
            asyncio.TaskGroup() as tasks,
        ):
            watching = tasks.create_task(_watch(watchdog, parts, heartbeat), name="watchdog")
            polls = [tasks.create_task(watcher.observe()) for watcher in parts.watchers]
            stopping = tasks.create_task(_stop_once(stop, polls, parts.dispatchers))
            beginning = tasks.create_task(heartbeat.tell("start", longest_seconds=STOP_WITHIN_SECONDS))
            _, late = await asyncio.wait(polls, timeout=(deadline - started) / 2)
            for watcher, poll in zip(parts.watchers, polls, strict=True):
                if poll in late:
                    poll.cancel()
                    if not stop.is_set():
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
            if stop.is_set():
                raise StoppedError
            if late:
                raise TimeoutError
            await beginning  # heard after the end, it would stand for a run that never ended
            failures = [watcher.report.failures for watcher in parts.watchers]
            await heartbeat.tell("fail" if any(failures) else "good", longest_seconds=STOP_WITHIN_SECONDS)
            failures += [dispatcher.failures for dispatcher in parts.dispatchers]
            failures += [refresher.failures for refresher in parts.refreshers]
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
            await asyncio.gather(*(refresher.work_off() for refresher in parts.refreshers))


def _watched(parts: Parts) -> list[UnderWay]:
    return [
        parts.state.under_way,
        *(watcher.under_way for watcher in parts.watchers),
        *(dispatcher.under_way for dispatcher in parts.dispatchers),
    ]


async def _work_off(parts: Parts, deadline: float) -> None:
    """Attempt all that is due. Raises TimeoutError at the deadline; attempts under way may then still end."""
    async with asyncio.TaskGroup() as tasks:
        lanes = [tasks.create_task(dispatcher.run()) for dispatcher in parts.dispatchers]
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.gather(*map(asyncio.shield, lanes))
        except TimeoutError:
            for dispatcher in parts.dispatchers:
                dispatcher.stop()
            await _all_end(lanes, asyncio.Event())
            raise


@contextlib.asynccontextmanager
async def _answering(parts: Parts, settings: Settings) -> AsyncIterator[None]:
    """Answer commands and browsers while the context lasts; polls and deliveries do not depend on it."""
    state_path = settings.store.path
    daemon = Daemon(
        records=parts.state.records,
        retry=parts.replays.carry_out,
        muting=parts.muting,
        targets=[dispatcher.name for dispatcher in parts.dispatchers],
        quiet={each.name: each.quiet for each in parts.dispatchers if each.quiet is not None},
        polls=lambda: {watcher.name: watcher.report for watcher in parts.watchers},
        state_path=state_path,
        started_at=utc_now(),
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
def _signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Yield what the first SIGTERM or SIGINT sets, and what the second one sets."""
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def arrived() -> None:
        (hurry if stop.is_set() else stop).set()

    def hung_up() -> None:  # by itself it would end the process, and silence is what people rely on
        _log.warning("SIGHUP: the config cannot be reloaded yet; restart to use a changed one")

    handlers = {signal.SIGTERM: arrived, signal.SIGINT: arrived, signal.SIGHUP: hung_up}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield stop, hurry
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


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
