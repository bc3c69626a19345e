"""One source, observed: poll, compare, commit, pass on."""

import logging
import random
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import msgspec
import xxhash

from notifier import pace
from notifier.diff import Change, diff
from notifier.duration import spell_duration
from notifier.listing import Listing
from notifier.model import Event, JobRecord, PollReport, RecordKey, SourceRecord, is_active, utc_now
from notifier.outbox import absorb
from notifier.pace import Pace
from notifier.route import Subject, subject_of
from notifier.source import AlliumSource, Fingerprint, SourceError
from notifier.state import State
from notifier.summary import counted, one_line
from notifier.turn import Turn

_log = logging.getLogger(__name__)

_PASSED_ON_AT_ONCE = 1000
_TAKING_IN = timedelta(minutes=10)
"""More than it can take to compare and store a listing, beside what it takes to fetch it."""


class Watcher:
    """Observes one source. What it remembers itself need not survive; the state does.

    `changed` is told the keys of records whenever what they say of their jobs has changed, `passed_on` each
    committed event with the record's key and the targets it is for.
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
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = source.name
        self.report = PollReport()
        self._source = source
        self._state = state
        self._pace = pace
        self._announce_first = announce_first
        self._route = route
        self._passed_on = passed_on
        self._changed = changed
        self._now = now
        self._chance = chance
        self._known: Fingerprint | None = None
        self._digests: dict[str, int] = {}
        """Of each job's element as last received: one that is the same is not looked into."""
        self._missing: set[str] = set()
        """The jobs whose records say that they are not listed."""
        self._active = False
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
        return {self._polls: (f"a poll of {self.name}", longest.total_seconds())}

    async def observe(self) -> timedelta:
        """Poll once; on return what changed is durable. Return how long to wait until the next poll.

        Raises StoreError when it could not be made durable; a poll that failed is logged and counted.
        """
        self._polls += 1
        self._polling = True
        try:
            return await self._observe()
        finally:
            self._polling = False

    async def _observe(self) -> timedelta:
        try:
            reply = await self._source.fetch(self._known)
            if reply.listing is not None:
                await self._take_in(reply.listing)
        except SourceError as error:
            return self._fault(error)
        if self.report.failures:
            _log.info("%s: polls are good again", self.name)
        self._known = reply.fingerprint
        wait = pace.after_success(self._pace, active=self._active)
        now = self._now()
        self.report = PollReport(last_poll=now, last_good_poll=now, next_poll=now + wait)
        return wait

    async def _take_in(self, listing: Listing) -> None:
        now = self._now()
        stored = self._state.records.source(self.name)
        record = _of_one_organization(stored or SourceRecord(id=uuid4().hex, baseline_at=now), listing)
        announce = stored is not None or self._announce_first
        changes, digests = await self._compare(listing, record.id, announce=announce, now=now)
        missing = dict.fromkeys(await self._newly_missing(listing), now)
        back = dict.fromkeys(self._missing & listing.rejected_ids)
        await self._commit(changes, missing | back, None if record == stored else record)
        self._remember(digests, missing, back)
        self._proves_absence = listing.proves_absence
        active = sum(is_active(element.status) for element in listing.elements)
        self._active = active > 0
        if listing.rejected:
            _log.warning("%s: skipped %d without a usable job_id or status", self.name, listing.rejected)
        if self._known is None:
            what = "" if announce else "a first poll announces nothing; "
            jobs = counted(len(listing.elements), "job")
            _log.info("%s: %swatching %s, %d active", self.name, what, jobs, active)

    async def _compare(
        self, listing: Listing, source_id: str, *, announce: bool, now: datetime
    ) -> tuple[dict[str, Change], dict[str, int]]:
        changes: dict[str, Change] = {}
        digests: dict[str, int] = {}
        turn = Turn()
        for element in listing.elements:
            await turn.pass_on()
            digest = xxhash.xxh3_64_intdigest(element.raw)
            if self._digests.get(element.job_id) == digest:
                continue
            digests[element.job_id] = digest
            source = self._state.records.source(self.name)
            change = diff(
                self._state.records.job((self.name, element.job_id)),
                element,
                source=self.name,
                source_id=source_id,
                announce=announce,
                now=now,
                forgotten_seq=0 if source is None else source.forgotten_seq,
            )
            if change is not None:
                changes[element.job_id] = change
        return changes, digests

    async def _newly_missing(self, listing: Listing) -> list[str]:
        """Return the jobs that were listed, or may have been, when last looked at, and are not now."""
        listed = {element.job_id for element in listing.elements}
        self._missing &= self._state.records.job_ids(self.name) - listed
        if not listing.proves_absence:
            return []
        turn = Turn()
        found = []
        for job_id in self._state.records.job_ids(self.name) - listed - self._missing - listing.rejected_ids:
            await turn.pass_on()
            record = self._state.records.job((self.name, job_id))
            if record is not None and record.snapshot.missing_since is None:
                found.append(job_id)
            else:
                self._missing.add(job_id)
        return found

    def _remember(self, digests: Mapping[str, int], missing: Collection[str], back: Collection[str]) -> None:
        self._digests.update(digests)
        self._missing.update(missing)
        self._missing.difference_update(back)
        for job_id in missing:
            self._digests.pop(job_id, None)  # when it is listed again that is news

    async def _commit(
        self,
        changes: Mapping[str, Change],
        missing: Mapping[str, datetime | None],
        record: SourceRecord | None,
    ) -> None:
        if not changes and not missing and record is None:
            return
        turn = Turn()
        targets: dict[str, Sequence[str]] = {}
        for change in changes.values():
            await turn.pass_on()
            for event in change.events:
                targets[event.id] = self._route(subject_of(event, change.details, self.name))
        await self._state.commit(
            jobs={
                **{
                    (self.name, job_id): partial(_mark_missing, since=since)
                    for job_id, since in missing.items()
                },
                **{
                    (self.name, job_id): partial(_absorb, change=change, targets=targets)
                    for job_id, change in changes.items()
                },
            },
            sources={} if record is None else {self.name: partial(_with_organization, known=record)},
        )
        for job_id, change in changes.items():
            await turn.pass_on()
            self._changed([(self.name, job_id)])
            for event in change.events:
                _log.info("%s: %s: %s (%s)", self.name, one_line(event.type, 100), event.summary, event.id)
        # As many as possible in one go: what is passed on together can go together.
        for number, (job_id, change) in enumerate(changes.items()):
            if number % _PASSED_ON_AT_ONCE == 0:
                await turn.pass_on()
            for event in change.events:
                self._passed_on((self.name, job_id), event, targets[event.id])

    def _fault(self, error: SourceError) -> timedelta:
        failures = self.report.failures + 1
        if error.fault == "refused":
            wait = pace.after_refusal(self._pace)
        else:
            after = pace.after_throttling if error.fault == "throttled" else pace.after_failure
            wait = after(self._pace, failures=failures, retry_after=error.retry_after, chance=self._chance())
        level = logging.ERROR if error.fault == "refused" else logging.WARNING
        _log.log(level, "%s: %s; next poll in %s", self.name, error.reason, spell_duration(wait))
        now = self._now()
        self.report = PollReport(
            last_poll=now,
            last_good_poll=self.report.last_good_poll,
            next_poll=now + wait,
            failures=failures,
            last_error=error.reason,
        )
        return wait


def _of_one_organization(record: SourceRecord, listing: Listing) -> SourceRecord:
    """Return the record with the listing's organisation noted.

    Raises SourceError when it is another one than before: all of its jobs would look new.
    """
    ids = listing.organization_ids
    if record.organization_id is None:
        return msgspec.structs.replace(record, organization_id=next(iter(ids))) if len(ids) == 1 else record
    if ids and record.organization_id not in ids:
        raise SourceError(
            "refused",
            "the API key is for another organisation than the stored state of this source. "
            "Put the right key back, or give the source another name to start anew with a baseline",
        )
    return record


def _with_organization(record: SourceRecord | None, *, known: SourceRecord) -> SourceRecord:
    """Return the newest record, or the first one, with the organisation noted."""
    if record is None:
        return known
    return msgspec.structs.replace(record, organization_id=known.organization_id)


def _mark_missing(record: JobRecord | None, *, since: datetime | None) -> JobRecord | None:
    if record is None:
        return None
    snapshot = msgspec.structs.replace(record.snapshot, missing_since=since)
    return msgspec.structs.replace(record, snapshot=snapshot)


def _absorb(record: JobRecord | None, *, change: Change, targets: Mapping[str, Sequence[str]]) -> JobRecord:
    return absorb(record, snapshot=change.snapshot, seq=change.seq, events=change.events, targets=targets)
