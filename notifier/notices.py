"""Events about the daemon's own work: found in the records, committed, passed on."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from notifier.deaths import next_telling, tell_deaths
from notifier.health import Health, Telling
from notifier.model import Event, RecordKey, SourceRecord, utc_now
from notifier.outbox import present, with_events
from notifier.route import Subject
from notifier.sending import SendError
from notifier.state import State

_log = logging.getLogger(__name__)

_DOWN_AFTER = timedelta(minutes=5)


class Notices:
    """Tells the other targets of dead letters, and of targets that fail for long.

    Of the former at most once a minute for each target they were for.

    `passed_on` is told each committed event with the record's key and the targets it is for.
    """

    def __init__(
        self,
        *,
        state: State,
        sources: Collection[str],
        route: Callable[[Subject], Sequence[str]],
        passed_on: Callable[[RecordKey, Event, Sequence[str]], None],
        down_after: timedelta = _DOWN_AFTER,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._state = state
        self._sources = sources
        self._route = route
        self._passed_on = passed_on
        self._now = now
        self._health = Health(state, sources=sources, down_after=down_after, tell=self._tell, now=now)
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Have `run` look at once whether there is something to tell."""
        self._wake.set()

    def heard(self, source: str, target: str, error: SendError | None) -> None:
        """Note how an attempt for a target ended, of a delivery of this source."""
        if self._health.heard(source, target, error):
            self.look()

    async def run(self) -> None:
        """Tell what is to be told, when it is, until cancelled. Raises StoreError when the state fails."""
        while True:
            self._wake.clear()
            wait = await self.tell_due()
            try:
                async with asyncio.timeout(None if wait is None else wait.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def tell_due(self) -> timedelta | None:
        """Tell what is to be told now; return how long to wait for the next, None when nothing is left."""
        health = await self._health.tell_due()
        waits = [] if health is None else [health]
        for source, target in self._counted():
            now = self._now()
            record = self._state.records.source(source)
            at = None if record is None else next_telling(record, target, self._told_at(target, now), now)
            if at is not None and at <= now:
                await self._tell(source, target, partial(tell_deaths, source=source, target=target, now=now))
            elif at is not None:
                waits.append(at - now)
        return min(waits, default=None)

    def _counted(self) -> list[tuple[str, str]]:
        """Return the sources and targets with something to tell, first the one told longest ago."""
        found = [
            (deaths.told_at, source, target)
            for source, record in self._state.records.sources().items()
            for target, deaths in record.deaths.items()
            if deaths.count and source in self._sources
        ]
        found.sort(key=lambda each: (each[0] is not None, each[0]))
        return [(source, target) for _, source, target in found]

    def _told_at(self, target: str, now: datetime) -> datetime | None:
        """Return when others were last told of a target's dead letters; the future does not count."""
        records = self._state.records.sources().values()
        times = [each.told_at for record in records if (each := record.deaths.get(target)) is not None]
        return max((time for time in times if time is not None and time <= now), default=None)

    async def _tell(self, source: str, target: str, telling: Telling) -> None:
        """Commit an event about a target with its deliveries, none for that target, and pass it on."""
        made: list[tuple[Event, Sequence[str]]] = []

        def told(record: SourceRecord | None) -> SourceRecord:
            changed, event = telling(present(record))
            targets = self._route(Subject(type=event.type, source=source, about=target))
            made.append((event, targets))
            return with_events(changed, events=[event], targets={event.id: targets})

        await self._state.commit(sources={source: told})
        for event, targets in made:
            _log.info("%s: %s: %s (%s)", source, event.type, event.summary, event.id)
            self._passed_on((source, None), event, targets)
