"""One source, observed: poll, compare, commit, pass on."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec

from notifier import pace
from notifier.comparison import Comparison
from notifier.duration import spell_duration
from notifier.findings import Findings
from notifier.intake import note, organization_of, take_in
from notifier.listing import Listing
from notifier.model import Event, PollReport, RecordKey, SourceRecord, is_active, utc_now
from notifier.outbox import waiting_targets
from notifier.pace import Pace
from notifier.route import Subject, subject_of
from notifier.rules import RuleBook, Rules
from notifier.source import AlliumSource, Fingerprint, SourceError
from notifier.state import State
from notifier.summary import counted, one_line
from notifier.tags import tags
from notifier.turn import Turn
from notifier.wallclock import WallClock, uptime

_log = logging.getLogger(__name__)

_PASSED_ON_AT_ONCE = 1000
_TAKING_IN = timedelta(minutes=10)
"""More than it can take to compare and store a listing, beside what it takes to fetch it."""


class Watcher:
    """Observes one source. What it remembers itself need not survive; the state does.

    `changed` is told the keys of records whenever what they say of their jobs has changed, `passed_on` each
    committed event with the record's key and the targets it is for, `polled` the report after each poll and
    how it ended. `resting` returns the targets that are not to be reminded of anything just now, `report` is
    how the polls of this source went before.
    """

    def __init__(
        self,
        source: AlliumSource,
        *,
        state: State,
        pace: Pace,
        announce_first: bool,
        route: Callable[[Subject], Sequence[str]],
        passed_on: Callable[[RecordKey, Event, Sequence[str]], None],
        changed: Callable[[Collection[RecordKey]], None] = lambda _: None,
        rules: RuleBook | None = None,
        polled: Callable[[str, PollReport, SourceError | None], None] = lambda *_: None,
        resting: Callable[[], Collection[str]] = tuple,
        report: PollReport | None = None,
        now: Callable[[], datetime] = utc_now,
        uptime: Callable[[], float] = uptime,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = source.name
        self.report = report or PollReport()
        self.listed: tuple[int, int] | None = None
        """How many jobs the last listing had, and how many of them were active; None before the first."""
        self._source = source
        self._state = state
        self._pace = pace
        self._announce_first = announce_first
        self._route = route
        self._passed_on = passed_on
        self._changed = changed
        self._polled = polled
        self._resting = resting
        self._now = now
        self._uptime = uptime
        self._chance = chance
        self._known: Fingerprint | None = None
        self._comparison = Comparison(source.name, state.records, rules=rules or RuleBook(Rules()))
        self._clock = WallClock()
        self._turns = asyncio.Lock()
        self._over = False
        self._proves_absence = False
        self._polls = 0
        self._polling = False

    @property
    def is_current(self) -> bool:
        """Whether the last poll was good and told of every job: what is not listed is not."""
        return self._proves_absence and not self.report.failures

    def under_way(self) -> Mapping[Hashable, tuple[str, float]]:
        """Return the poll under way, with what it is and how many seconds it may take."""
        if not self._polling:
            return {}
        longest = self._source.timeout + _TAKING_IN
        return {("poll", self.name, self._polls): (f"a poll of {self.name}", longest.total_seconds())}

    async def observe(self) -> timedelta:
        """Poll once; on return what changed is durable. Return how long to wait until the next poll.

        Raises StoreError when it could not be made durable; a poll that failed is logged and counted.
        """
        try:
            await self._source.turn()  # no part of the poll, which may take only so long
        except SourceError as error:
            return self._failed(error)
        self._polls += 1
        self._polling = True
        started = time.monotonic()
        try:
            wait, fault = await self._observe()
        finally:
            self._polling = False
        self.report = msgspec.structs.replace(self.report, took_seconds=time.monotonic() - started)
        self._polled(self.name, self.report, fault)
        return wait

    async def end(self) -> None:
        """Take in nothing more; on return all that was made durable has been passed on."""
        async with self._turns:
            self._over = True

    async def settled(self) -> None:
        """Return once all that is durable by now has been passed on."""
        async with self._turns:
            pass

    def give_up(self) -> None:
        """Note that the poll under way was cut off: no answer came in the time there was."""
        self._failed(SourceError("failed", "no answer in time", answered=False))

    def _failed(self, error: SourceError) -> timedelta:
        wait = self._fault(error)
        self._polled(self.name, self.report, error)
        return wait

    async def _observe(self) -> tuple[timedelta, SourceError | None]:
        try:
            reply = await self._source.fetch(self._known)
            await self._take_in(reply.listing)
        except SourceError as error:
            return self._fault(error), error
        if self.report.failures:
            _log.info("%s: polls are good again", self.name, extra=tags(source=self.name))
        self._known = reply.fingerprint
        wait = pace.after_success(self._pace, active=self.listed is not None and self.listed[1] > 0)
        now = self._now()
        rejected = self.report.rejected if reply.listing is None else reply.listing.rejected
        self.report = PollReport(last_poll=now, last_good_poll=now, next_poll=now + wait, rejected=rejected)
        return wait, None

    async def _take_in(self, listing: Listing | None) -> None:
        """Have what a good poll found become durable; None for the listing is one that says the same."""
        async with self._turns:
            if self._over:
                return
            now = self._now()
            stored = self._state.records.source(self.name)
            record = stored or SourceRecord(id=uuid4().hex)
            organization = None if listing is None else organization_of(record, listing)
            clock_was_set = self._clock.was_set(now, self._uptime())
            if listing is None:
                findings = await self._comparison.pass_time(
                    source_id=record.id,
                    now=now,
                    proves_absence=self._proves_absence,
                    clock_was_set=clock_was_set,
                )
                await self._commit(findings)
                return
            is_first = record.baseline_at is None
            findings = await self._comparison.take_in(
                listing,
                source_id=record.id,
                announce=not is_first or self._announce_first,
                now=now,
                clock_was_set=clock_was_set,
            )
            noted = msgspec.structs.replace(
                record, baseline_at=record.baseline_at or now, organization_id=organization
            )
            await self._commit(findings, None if noted == stored else noted)
            self._proves_absence = listing.proves_absence
            active = sum(is_active(element.status) for element in listing.elements)
            self.listed = len(listing.elements), active
        if listing.rejected:
            skipped = self.name, listing.rejected
            _log.warning(
                "%s: skipped %d without a usable job_id or status", *skipped, extra=tags(source=self.name)
            )
        if self._known is None:
            what = "a first poll announces nothing; " if is_first and not self._announce_first else ""
            jobs = counted(len(listing.elements), "job")
            _log.info(
                "%s: %swatching %s, %d active", self.name, what, jobs, active, extra=tags(source=self.name)
            )

    async def end_mutes(self) -> None:
        """Tell what mutes that have ended kept from people, as the jobs were when last seen.

        Raises StoreError when it could not be made durable.
        """
        async with self._turns:
            record = self._state.records.source(self.name)
            if record is not None and not self._over:
                await self._commit(await self._comparison.end_mutes(source_id=record.id, now=self._now()))

    async def _commit(self, findings: Findings, noted: SourceRecord | None = None) -> None:
        turn = Turn()
        targets: dict[str, Sequence[str]] = {}
        suppressed: Counter[str] = Counter()
        for job_id, news in findings.news.items():
            await turn.pass_on()
            for event in news.change.events:
                found = self._route(subject_of(event, news.change.details, self.name))
                if event.again:
                    unready = {
                        *waiting_targets(self._state.records.job((self.name, job_id))),
                        *self._resting(),
                    }
                    found = [name for name in found if name not in unready]
                targets[event.id] = () if news.mutes else found
                if found:
                    suppressed.update(mute.id for mute in news.mutes)
        if findings.news or noted is not None:
            await _to_its_end(
                self._state.commit(
                    jobs={
                        (self.name, job_id): partial(take_in, news=news, targets=targets)
                        for job_id, news in findings.news.items()
                    },
                    sources={self.name: partial(note, noted=noted, suppressed=suppressed)}
                    if noted is not None or suppressed
                    else {},
                )
            )
        self._comparison.remember(findings)
        await self._tell(findings, targets)

    async def _tell(self, findings: Findings, targets: Mapping[str, Sequence[str]]) -> None:
        turn = Turn()
        types = Counter(event.type for news in findings.news.values() for event in news.change.events)
        if types:
            events = counted(types.total(), "event")
            each = ", ".join(f"{count:,} {one_line(type_, 100)}" for type_, count in types.most_common(20))
            what = tags(source=self.name, events=types.total())
            _log.info("%s: %s: %s", self.name, events, each, extra=what)
        for job_id, news in findings.news.items():
            await turn.pass_on()
            self._changed([(self.name, job_id)])
            for event in news.change.events:
                muted = "" if event.mute is None else f", muted by {event.mute}"
                words = one_line(event.type, 100), event.summary, event.id, muted
                what = tags(
                    source=self.name,
                    job_id=job_id,
                    event_id=event.id,
                    type=event.type,
                    mute=event.mute,
                    targets=list(targets[event.id]),
                )
                _log.info("%s: %s: %s (%s%s)", self.name, *words, extra=what)
        # As many as possible in one go: what is passed on together can go together.
        for number, (job_id, news) in enumerate(findings.news.items()):
            if number % _PASSED_ON_AT_ONCE == 0:
                await turn.pass_on()
            for event in news.change.events:
                self._passed_on((self.name, job_id), event, targets[event.id])

    def _fault(self, error: SourceError) -> timedelta:
        failures = self.report.failures + 1
        if error.fault == "refused":
            wait = pace.after_refusal(self._pace)
        else:
            after = pace.after_throttling if error.fault == "throttled" else pace.after_failure
            wait = after(self._pace, failures=failures, retry_after=error.retry_after, chance=self._chance())
        level = logging.ERROR if error.fault == "refused" else logging.WARNING
        what = tags(source=self.name, outcome=error.fault, failures=failures, wait_s=wait.total_seconds())
        _log.log(level, "%s: %s; next poll in %s", self.name, error.reason, spell_duration(wait), extra=what)
        now = self._now()
        self.report = PollReport(
            last_poll=now,
            last_good_poll=self.report.last_good_poll,
            next_poll=now + wait,
            failures=failures,
            last_error=error.reason,
            fault=error.fault,
            rejected=self.report.rejected,
        )
        return wait


async def _to_its_end(commit: Coroutine[Any, Any, None]) -> None:
    """Wait for a commit also when cancelled: it is made all the same, and nobody may compare before it is."""
    committing = asyncio.ensure_future(commit)
    try:
        await asyncio.shield(committing)
    except asyncio.CancelledError:
        await asyncio.wait([committing])
        raise
