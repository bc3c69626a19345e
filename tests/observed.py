"""Polls of one source, compared one after the other, with what is found stored as the daemon stores it."""

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import msgspec

from notifier.comparison import Comparison
from notifier.findings import Findings
from notifier.listing import read_listing
from notifier.model import Event, JobRecord, Mute, SourceRecord
from notifier.mute import with_suppressed, without_mutes
from notifier.outbox import absorb
from notifier.records import Records
from notifier.rules import RuleBook, Rules
from tests.records import NOW
from tests.servers import job

UNREADABLE = {"job_id": 7, "status": "staging"}
"""An element that may be any job's."""


def unusable(job_id: str) -> dict[str, Any]:
    """Return an element that is a job's, and does not say more."""
    return {"job_id": job_id, "status": None}


class Observed:
    """What is stored and told of one source's jobs; `forgetful` compares each poll as after a restart."""

    def __init__(self, rules: Rules | None = None, *, forgetful: bool = False, announce: bool = True) -> None:
        self.records = Records()
        self.records.put({"allium": SourceRecord(id="s1")}, {})
        self.events: list[tuple[str, Event]] = []
        """All that was ever observed, in its order."""
        self._rules = RuleBook(rules or Rules())
        self._forgetful = forgetful
        self._announce = announce
        self._body = b""
        self.restart()

    @property
    def source(self) -> SourceRecord:
        record = self.records.source("allium")
        assert record is not None
        return record

    def record(self, job_id: str = "j") -> JobRecord:
        record = self.records.job(("allium", job_id))
        assert record is not None
        return record

    def restart(self) -> None:
        self._comparison = Comparison("allium", self.records, rules=self._rules)
        self._body = b""

    def mute(self, id_: str = "m", *, until: datetime, **fields: Any) -> None:
        mute = Mute(id=id_, created_at=NOW, until=until, **fields)
        self._put(msgspec.structs.replace(self.source, mutes=(*self.source.mutes, mute)))

    async def unmute(self, id_: str = "m", *, now: datetime) -> list[Event]:
        """End a mute, as people do; return what is told."""
        self._put(without_mutes(self.source, {id_}))
        return self._take(await self._comparison.end_mutes(source_id="s1", now=now))

    async def poll(self, *elements: Any, now: datetime, clock_was_set: bool = False) -> list[Event]:
        """Return what a poll with this listing tells; what a mute keeps is counted and not among it."""
        if self._forgetful:
            self.restart()
        body = json.dumps(elements).encode()
        listing = read_listing(body)
        if body == self._body:
            findings = await self._comparison.pass_time(
                source_id="s1", now=now, proves_absence=listing.proves_absence, clock_was_set=clock_was_set
            )
        else:
            is_first = self.source.baseline_at is None
            findings = await self._comparison.take_in(
                listing,
                source_id="s1",
                announce=self._announce or not is_first,
                now=now,
                clock_was_set=clock_was_set,
            )
            self._put(msgspec.structs.replace(self.source, baseline_at=self.source.baseline_at or now))
        self._body = body
        return self._take(findings)

    async def told(self, *elements: Any, now: datetime, clock_was_set: bool = False) -> list[str]:
        """Return the types of what a poll tells, without `backfill.`."""
        events = await self.poll(*elements, now=now, clock_was_set=clock_was_set)
        return [event.type.removeprefix("backfill.") for event in events]

    def _take(self, findings: Findings) -> list[Event]:
        told: list[Event] = []
        suppressed: Counter[str] = Counter()
        for job_id, news in findings.news.items():
            change = news.change
            before = self.records.job(("allium", job_id))
            after = absorb(
                before,
                snapshot=change.snapshot,
                seq=change.seq,
                events=change.events,
                targets={event.id: () if news.mutes else ("ops",) for event in change.events},
                known=news.known,
            )
            assert after != before, "what is no news was stored"
            self.records.put({}, {("allium", job_id): msgspec.json.encode(after)})
            self.events += [(job_id, event) for event in change.events]
            if not news.mutes:
                told += change.events
            assert all((event.mute is None) == (not news.mutes) for event in change.events)
            suppressed.update({mute.id: len(change.events) for mute in news.mutes})
        self._put(with_suppressed(self.source, suppressed))
        self._comparison.remember(findings)
        return told

    def _put(self, source: SourceRecord) -> None:
        self.records.put({"allium": source}, {})


def moving(
    left: int | None, job_id: str = "j", status: str = "transporting", **fields: Any
) -> dict[str, Any]:
    """Return the element of a job of a hundred chunks."""
    return job(job_id, status, **{"num_chunks": 100, "chunks_left": left} | fields)


def after(**length: float) -> datetime:
    return NOW + timedelta(**length)
