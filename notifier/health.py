"""Which sources and targets fail, since when, and what people are told of it."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import uuid4

import msgspec

from notifier.model import Event, Outage, SourceRecord
from notifier.mute import is_of_all
from notifier.outages import (
    Party,
    Terms,
    came_back,
    outages_of,
    tell_down,
    tell_up,
    told_down,
    wait_until_told,
    with_outage,
)
from notifier.sending import SendError
from notifier.source import SourceError
from notifier.state import State
from notifier.wallclock import WallClock

Telling = Callable[[SourceRecord], tuple[SourceRecord, Event]]
"""Makes an event of what a record holds."""
_LOOK_AGAIN = timedelta(seconds=30)
"""After it was found that this machine reaches nobody."""


class Tell(Protocol):
    """Commits the event to be made, of a source, and passes it on.

    It goes to whoever hears of such an event of any of these sources, but for a target that it is about.
    """

    async def __call__(self, source: str, about: str | None, telling: Telling, of: Sequence[str]) -> None:
        """Return once the event is durable."""


class _Trouble(msgspec.Struct, kw_only=True):
    source: str
    """Whose record holds it: the source itself, or the one whose delivery failed first."""
    outage: Outage
    heard: bool = False
    """Whether it failed in this process."""
    failed_at: datetime
    """When it last failed."""
    answered: bool = False
    """Whether there was an answer, the last time, if no good one."""


class Health:
    """Has what failed for `down_after` told, once, again as often as reminders are asked for, and its end.

    What it knows is stored, so that it outlives a restart; what an earlier process left is told only once it
    fails again. Before anybody is blamed who did not answer at all, and nobody else did since, it is asked
    whether this machine is offline. Then that is told of one source, to all who hear of any, and nothing of
    the others; these have `down_after` to recover once somebody answers.
    """

    def __init__(
        self,
        state: State,
        *,
        sources: Collection[str],
        terms: Callable[[Party, datetime, datetime], Terms],
        tell: Tell,
        is_offline: Callable[[], Awaitable[bool]],
        now: Callable[[], datetime],
        uptime: Callable[[], float] | None = None,
    ) -> None:
        self._state = state
        self._sources = sources
        self._terms = terms
        self._tell = tell
        self._ask = is_offline
        self._now = now
        self._uptime = uptime
        self._clock = WallClock()
        self._troubles = {
            party: _Trouble(source=source, outage=outage, failed_at=outage.since)
            for source, record in state.records.sources().items()
            for party, outage in outages_of(source, record).items()
            if source in sources
        }
        self._over: list[tuple[Party, _Trouble]] = []
        self._answered_at: datetime | None = None
        self._offline = any(trouble.outage.offline == "now" for trouble in self._troubles.values())
        self._asked: bool | None = None
        self._unstored: set[Party] = set()

    def heard_of_source(self, source: str, error: SourceError | None) -> bool:
        """Note how a poll ended; return whether `tell_due` has something to do because of it."""
        self._look_at_clock()
        party = Party(source, is_target=False)
        if error is None:
            return self._worked(party)
        return self._failed(party, source, error.reason, answered=error.answered)

    def heard(self, source: str, target: str, error: SendError | None) -> bool:
        """Note how an attempt ended; return whether `tell_due` has something to do because of it.

        A refusal is an answer: it ends what nobody was told of yet, and says nothing of more. So is that too
        much is sent, which says nothing at all.
        """
        self._look_at_clock()
        party = Party(target, is_target=True)
        trouble = self._troubles.get(party)
        is_told = trouble is not None and trouble.outage.told_at is not None
        if error is None or (error.refused is not None and not is_told):
            return self._worked(party)
        if error.is_answer:
            self._note_answer()
            return bool(self._unstored)
        answered = error.status is not None or bool(error.code)
        return self._failed(party, source, error.reason, answered=answered)

    async def keep_to(self, parties: Collection[Party]) -> None:
        """Forget that others than these fail, durably: they are no longer configured.

        What is kept with a source that is gone is kept with another one from now on.
        """
        for party in [party for party in self._troubles if party not in parties]:
            await self._store(party, self._troubles.pop(party).source, None)
        for party, trouble in list(self._troubles.items()):
            if trouble.source not in self._sources:
                await self._store(party, trouble.source, None)
                trouble.source = next(iter(self._sources))
                await self._store(party, trouble.source, trouble.outage)
        self._over = [(party, trouble) for party, trouble in self._over if party in parties]

    async def tell_due(self) -> timedelta | None:
        """Tell what is to be told now, and store the rest; return how long to wait until the next is due."""
        self._look_at_clock()
        self._asked = None
        while self._over:
            party, trouble = self._over.pop(0)
            await self._end(party, trouble)
        parties = sorted(party for party, trouble in self._troubles.items() if trouble.heard)
        waits = [await self._look(party) for party in parties]
        while self._unstored:
            party = self._unstored.pop()
            if (trouble_left := self._troubles.get(party)) is not None:
                await self._store(party, trouble_left.source, trouble_left.outage)
        return min((wait for wait in waits if wait is not None), default=None)

    def _look_at_clock(self) -> None:
        """Count the time from now on when the clock was set: how long ago something was is not known."""
        now = self._now()
        if self._uptime is None or not self._clock.was_set(now, self._uptime()):
            return
        self._answered_at = None
        for party, trouble in self._troubles.items():
            told_at = trouble.outage.told_at and now
            since = trouble.outage.since if told_at is not None else now
            trouble.outage = msgspec.structs.replace(trouble.outage, since=since, told_at=told_at)
            trouble.failed_at = now
            self._unstored.add(party)

    def _worked(self, party: Party) -> bool:
        self._note_answer()
        if (trouble := self._troubles.pop(party, None)) is not None:
            self._over.append((party, trouble))
        return trouble is not None or bool(self._unstored)

    def _failed(self, party: Party, source: str, reason: str, *, answered: bool) -> bool:
        if answered:
            self._note_answer()
        trouble, now = self._troubles.get(party), self._now()
        if trouble is None:
            trouble = _Trouble(source=source, outage=Outage(since=now, reason=""), failed_at=now)
            self._troubles[party] = trouble
        is_new = not trouble.heard
        trouble.heard, trouble.answered, trouble.failed_at = True, answered, now
        trouble.outage = msgspec.structs.replace(trouble.outage, reason=reason)
        return is_new or bool(self._unstored) or self._terms_of(party, trouble, now).rests

    def _note_answer(self) -> None:
        """Note that somebody has answered: this machine reaches others."""
        now = self._now()
        if self._offline:
            self._offline = False
            for party, trouble in self._troubles.items():
                trouble.outage = came_back(trouble.outage, now)
                trouble.failed_at = min(trouble.failed_at, now)
                self._unstored.add(party)
        self._answered_at = now

    async def _end(self, party: Party, trouble: _Trouble) -> None:
        outage, source = trouble.outage, trouble.source
        if outage.told_at is None:
            await self._store(party, source, None)
            return
        up = partial(tell_up, outage=outage, source=source, party=party, now=self._now())
        await self._tell(source, party.target, up, tuple(self._sources) if outage.told_all else (source,))

    async def _look(self, party: Party) -> timedelta | None:
        """Tell or store what a party's failing is now: it may have worked while something else was told."""
        trouble, now = self._troubles.get(party), self._now()
        if trouble is None:
            return None
        if trouble.outage.since > now:  # the clock was set back: nobody is to wait for it
            trouble.outage = msgspec.structs.replace(trouble.outage, since=now)
            trouble.failed_at = min(trouble.failed_at, now)
        wait = self._wait(party, trouble, now)
        if wait is None or wait > timedelta(0):
            await self._store(party, trouble.source, trouble.outage)
            return wait
        if trouble.outage.told_at is None and self._may_be_us(trouble):
            if await self._is_offline():
                await self._tell_offline()
                return _LOOK_AGAIN
            if self._offline:
                self._note_answer()  # this machine is back
                return self._wait(party, trouble, self._now())
        if self._troubles.get(party) is trouble:
            await self._tell_down(party, trouble)
            return self._wait(party, trouble, self._now())
        return None

    def _wait(self, party: Party, trouble: _Trouble, now: datetime) -> timedelta | None:
        """Return how long it is until something is to be told; None when nothing is."""
        terms = self._terms_of(party, trouble, now)
        wait = wait_until_told(trouble.outage, failed_at=trouble.failed_at, terms=terms, now=now)
        return wait if wait is None or party.is_target else max(wait, self._muted_for(party.name, now))

    def _terms_of(self, party: Party, trouble: _Trouble, now: datetime) -> Terms:
        return self._terms(party, trouble.outage.since, now)

    def _muted_for(self, source: str, now: datetime) -> timedelta:
        record = self._state.records.source(source)
        mutes = () if record is None else record.mutes
        return max((mute.until - now for mute in mutes if is_of_all(mute)), default=timedelta(0))

    def _may_be_us(self, trouble: _Trouble) -> bool:
        """Return whether nobody has answered since it fails."""
        since = trouble.outage.since
        return not trouble.answered and (self._answered_at is None or self._answered_at < since)

    async def _is_offline(self) -> bool:
        if self._asked is None:  # once for all that fail
            self._asked = await self._ask()
        return self._asked

    async def _tell_offline(self) -> None:
        self._offline, now = True, self._now()
        failing = {
            party: self._troubles[party]
            for name in tuple(self._sources)
            if (party := Party(name, is_target=False)) in self._troubles and self._troubles[party].heard
        }
        if any(trouble.outage.offline == "now" for trouble in failing.values()):
            return
        for party, trouble in failing.items():
            if self._muted_for(party.name, now) <= timedelta(0):
                await self._tell_down(party, trouble, offline=True)
                return

    async def _tell_down(self, party: Party, trouble: _Trouble, *, offline: bool = False) -> None:
        outage, source, now = trouble.outage, trouble.source, self._now()
        offline = offline or (outage.offline == "now" and self._offline)
        down = partial(tell_down, outage=outage, source=source, party=party, now=now, offline=offline)
        trouble.outage = told_down(outage, now, offline=offline)
        await self._tell(source, party.target, down, tuple(self._sources) if offline else (source,))

    async def _store(self, party: Party, source: str, outage: Outage | None) -> None:
        record = self._state.records.source(source)
        stored = None if record is None else outages_of(source, record).get(party)
        if _standing(stored) != _standing(outage):
            await self._state.commit(sources={source: partial(_with, party=party, outage=outage)})


def _standing(outage: Outage | None) -> Outage | None:
    """Return what is worth a commit when it changes: the reason may be another each time."""
    return None if outage is None else msgspec.structs.replace(outage, reason="")


def _with(record: SourceRecord | None, *, party: Party, outage: Outage | None) -> SourceRecord:
    return with_outage(record or SourceRecord(id=uuid4().hex), party, outage)
