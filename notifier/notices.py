"""Events about the daemon's own work: found in the records, committed, passed on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from notifier.deaths import next_telling, tell_deaths
from notifier.health import Health, Telling
from notifier.model import Event, RecordKey, SourceRecord, utc_now
from notifier.outages import Party, Terms
from notifier.outbox import waiting_targets, with_events
from notifier.route import Subject
from notifier.sending import SendError
from notifier.source import SourceError
from notifier.state import State
from notifier.tags import tags

_log = logging.getLogger(__name__)


async def _nobody_can_tell() -> bool:
    return False


class Notices:
    """Tells of dead letters, and of sources and targets that fail for long.

    Of the former at most once a minute for each target they were for.

    `passed_on` is told each committed event with the record's key and the targets it is for; `resting`
    returns the targets that are not to be reminded of anything just now.
    """

    def __init__(
        self,
        *,
        state: State,
        sources: Collection[str],
        route: Callable[[Subject], Sequence[str]],
        passed_on: Callable[[RecordKey, Event, Sequence[str]], None],
        terms: Callable[[Party, datetime, datetime], Terms] = lambda *_: Terms(),
        is_offline: Callable[[], Awaitable[bool]] = _nobody_can_tell,
        now: Callable[[], datetime] = utc_now,
        uptime: Callable[[], float] | None = None,
        resting: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._state = state
        self._sources = sources
        self._route = route
        self._passed_on = passed_on
        self._resting = resting
        self._now = now
        self._health = Health(
            state,
            sources=sources,
            terms=terms,
            tell=self._tell,
            is_offline=is_offline,
            now=now,
            uptime=uptime,
        )
        self._wake = asyncio.Event()

    async def keep_to(self, parties: Collection[Party]) -> None:
        """Forget that others than these fail, durably: they are no longer configured."""
        await self._health.keep_to(parties)

    def look(self) -> None:
        """Have `run` look at once whether there is something to tell."""
        self._wake.set()

    def heard(self, source: str, target: str, error: SendError | None) -> None:
        """Note how an attempt for a target ended, of a delivery of this source."""
        if self._health.heard(source, target, error):
            self.look()

    def heard_of_source(self, source: str, error: SourceError | None) -> None:
        """Note how a poll of a source ended."""
        if self._health.heard_of_source(source, error):
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
                telling = partial(tell_deaths, source=source, target=target, now=now)
                await self._tell(source, target, telling, (source,))
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

    async def _tell(self, source: str, about: str | None, telling: Telling, of: Sequence[str]) -> None:
        """Commit an event with its deliveries, none for a target that it is about, and pass it on.

        It goes to whoever hears of such an event of any of these sources.
        """
        made: list[tuple[Event, Sequence[str]]] = []

        def told(record: SourceRecord | None) -> SourceRecord:
            changed, event = telling(record or SourceRecord(id=uuid4().hex))
            subjects = (Subject(type=event.type, source=each, about=about) for each in of)
            waiting = {*waiting_targets(record), *self._resting()} if event.again else ()
            found = dict.fromkeys(name for each in subjects for name in self._route(each))
            targets = tuple(name for name in found if name not in waiting)
            made.append((event, targets))
            return with_events(changed, events=[event], targets={event.id: targets})

        await self._state.commit(sources={source: told})
        for event, targets in made:
            what = tags(source=source, event_id=event.id, type=event.type, targets=list(targets))
            _log.info("%s: %s: %s (%s)", source, event.type, event.summary, event.id, extra=what)
            self._passed_on((source, None), event, targets)
