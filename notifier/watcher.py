"""One source, observed: poll, compare, commit, pass on."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import msgspec
import xxhash

from notifier import pace
from notifier.diff import Change, diff
from notifier.duration import spell_duration
from notifier.listing import Listing
from notifier.model import Event, JobKey, JobRecord, PollReport, SourceRecord, is_active, utc_now
from notifier.outbox import absorb
from notifier.pace import Pace
from notifier.route import Subject, subject_of
from notifier.source import AlliumSource, Fingerprint, SourceError
from notifier.state import State
from notifier.summary import one_line
from notifier.turn import Turn

_log = logging.getLogger(__name__)


class Watcher:
    """Observes one source. What it remembers itself need not survive; the state does.

    `passed_on` is told each committed event with the record's key and the targets it is for.
    """

    def __init__(
        self,
        source: AlliumSource,
        *,
        state: State,
        pace: Pace,
        announce_first: bool,
        route: Callable[[Subject], Sequence[str]],
        passed_on: Callable[[JobKey, Event, Sequence[str]], None],
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
        self._now = now
        self._chance = chance
        self._known: Fingerprint | None = None
        self._digests: dict[str, int] = {}
        """Of each job's element as last received: one that is the same is not looked into."""
        self._active = False

    async def observe(self) -> timedelta:
        """Poll once; on return what changed is durable. Return how long to wait until the next poll.

        Raises StoreError when it could not be made durable; a poll that failed is logged and counted.
        """
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
        await self._commit(changes, None if record == stored else record)
        self._remember(digests, listing)
        active = sum(is_active(element.status) for element in listing.elements)
        self._active = active > 0
        if listing.rejected:
            _log.warning("%s: skipped %d without a usable job_id or status", self.name, listing.rejected)
        if self._known is None:
            what = "" if announce else "a first poll announces nothing; "
            _log.info("%s: %swatching %d jobs, %d active", self.name, what, len(listing.elements), active)

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
            change = diff(
                self._state.records.job((self.name, element.job_id)),
                element,
                source=self.name,
                source_id=source_id,
                announce=announce,
                now=now,
            )
            if change is not None:
                changes[element.job_id] = change
        return changes, digests

    def _remember(self, digests: Mapping[str, int], listing: Listing) -> None:
        self._digests.update(digests)
        if len(self._digests) > len(listing.elements):
            listed = {element.job_id for element in listing.elements}
            self._digests = {job_id: digest for job_id, digest in self._digests.items() if job_id in listed}

    async def _commit(self, changes: Mapping[str, Change], record: SourceRecord | None) -> None:
        if not changes and record is None:
            return
        turn = Turn()
        targets: dict[str, Sequence[str]] = {}
        for change in changes.values():
            await turn.pass_on()
            for event in change.events:
                targets[event.id] = self._route(subject_of(event, change.details, self.name))
        await self._state.commit(
            jobs={
                (self.name, job_id): partial(_absorb, change=change, targets=targets)
                for job_id, change in changes.items()
            },
            sources={} if record is None else {self.name: lambda _: record},
        )
        for job_id, change in changes.items():
            await turn.pass_on()
            for event in change.events:
                _log.info("%s: %s: %s (%s)", self.name, one_line(event.type, 100), event.summary, event.id)
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


def _absorb(record: JobRecord | None, *, change: Change, targets: Mapping[str, Sequence[str]]) -> JobRecord:
    return absorb(record, snapshot=change.snapshot, seq=change.seq, events=change.events, targets=targets)
