"""One poll of each source and all that is due because of it: for cron."""

import asyncio
import contextlib
from datetime import timedelta

from notifier.dispatcher import Dispatcher
from notifier.parts import Parts, open_parts
from notifier.process import (
    STOP_WITHIN_SECONDS,
    StoppedError,
    all_end,
    heartbeat_of,
    signals,
    single_error,
    watch,
)
from notifier.settings import Settings
from notifier.watchdog import Watchdog


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
    with single_error(), signals() as asked:
        async with (
            heartbeat_of(settings) as heartbeat,
            open_parts(settings, once=True) as parts,
            asyncio.TaskGroup() as tasks,
        ):
            watching = tasks.create_task(watch(watchdog, parts, heartbeat), name="watchdog")
            watchers, dispatchers = list(parts.watchers.values()), list(parts.dispatchers.values())
            polls = [tasks.create_task(watcher.observe()) for watcher in watchers]
            stopping = tasks.create_task(_stop_once(asked.stop, polls, dispatchers))
            beginning = tasks.create_task(heartbeat.tell("start", longest_seconds=STOP_WITHIN_SECONDS))
            _, late = await asyncio.wait(polls, timeout=(deadline - started) / 2)
            for watcher, poll in zip(watchers, polls, strict=True):
                if poll in late:
                    poll.cancel()
                    if not asked.stop.is_set():
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
            if asked.stop.is_set():
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
            await all_end(lanes, asyncio.Event())
            raise
