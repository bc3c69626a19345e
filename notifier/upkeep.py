"""What is old is forgotten: jobs not listed any more, deliveries that are done, the events they were of."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from notifier.duration import format_duration
from notifier.model import JobKey, JobRecord, SourceRecord, utc_now
from notifier.outbox import present
from notifier.prune import prune_job, prune_source, pruned
from notifier.state import State
from notifier.summary import counted
from notifier.turn import Turn

if TYPE_CHECKING:
    from notifier.records import JobUpdate, SourceUpdate

_log = logging.getLogger(__name__)

_FIRST_AFTER = timedelta(minutes=10)
"""Enough for a first good poll, and for a clock to be set right after a boot."""
_EVERY = timedelta(hours=1)
_CLOCK_MAY_STRAY = timedelta(minutes=1)
_JOBS_PER_COMMIT = 500


class Upkeep:
    """Keeps the state from growing without bound; what it removed is logged.

    `listing` returns the sources of which it is known what is listed: jobs of others are not forgotten.
    """

    def __init__(
        self,
        *,
        state: State,
        keep: timedelta,
        listing: Callable[[], Collection[str]],
        first_after: timedelta = _FIRST_AFTER,
        every: timedelta = _EVERY,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._state = state
        self._keep = keep
        self._listing = listing
        self._first_after = first_after
        self._every = every
        self._now = now

    async def run(self) -> None:
        """Prune ten minutes from now and then once an hour, until cancelled.

        Not after a clock that has jumped meanwhile: what it says is old may not be. Raises StoreError when
        the state fails.
        """
        wait = self._first_after
        while True:
            before, started = self._now(), time.monotonic()
            await asyncio.sleep(wait.total_seconds())
            passed = timedelta(seconds=time.monotonic() - started)
            if abs(self._now() - before - passed) <= _CLOCK_MAY_STRAY:
                await self.prune()
            wait = self._every

    async def prune(self) -> Counter[str]:
        """Remove what is older than it has to be kept, durably; return how much of what it was."""
        before, listing = self._now() - self._keep, self._listing()
        found: Counter[str] = Counter()
        forgotten_seqs: dict[str, int] = {}
        jobs: dict[JobKey, JobUpdate] = {}
        sources: dict[str, SourceUpdate] = {}
        turn = Turn()
        for key, record in self._state.records.jobs():
            await turn.pass_on()
            left = prune_job(record, before, listing_known=key[0] in listing)
            if left is record:
                continue
            if left is None:
                forgotten = max(record.seq, forgotten_seqs.get(key[0], 0))
                forgotten_seqs[key[0]] = forgotten
                sources[key[0]] = partial(_note_forgotten, seq=forgotten)
            jobs[key] = partial(_prune_job, before=before, listing_known=key[0] in listing, found=found)
            if len(jobs) == _JOBS_PER_COMMIT:
                await self._state.commit(jobs=jobs, sources=sources)
                jobs, sources = {}, {}
        if jobs:
            await self._state.commit(jobs=jobs, sources=sources)
        sources = {
            name: partial(_prune_source, before=before, found=found)
            for name, record in self._state.records.sources().items()
            if prune_source(record, before) is not record
        }
        if sources:
            await self._state.commit(sources=sources)
        if found:
            what = ", ".join(counted(number, *words.split("|")) for words, number in sorted(found.items()))
            level = logging.WARNING if found["dead letter|dead letters"] else logging.INFO
            _log.log(level, "pruned what is older than %s: %s", format_duration(self._keep), what)
        return found


def _prune_job(
    record: JobRecord | None, *, before: datetime, listing_known: bool, found: Counter[str]
) -> JobRecord | None:
    if record is None:
        return None
    new = prune_job(record, before, listing_known=listing_known)
    found.update(pruned(record, new))
    return new


def _note_forgotten(record: SourceRecord | None, *, seq: int) -> SourceRecord:
    known = present(record)
    return msgspec.structs.replace(known, forgotten_seq=max(seq, known.forgotten_seq))


def _prune_source(record: SourceRecord | None, *, before: datetime, found: Counter[str]) -> SourceRecord:
    known = present(record)
    new = prune_source(known, before)
    found.update(pruned(known, new))
    return new
