"""What jobs are ordered, filtered and counted by: kept, so that no record is decoded for it. Pure."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from sys import intern

import msgspec

from notifier.element import read_details
from notifier.glob import matches
from notifier.model import Delivery, DeliveryState, JobKey, JobRecord, SourceRecord, is_active
from notifier.page import PageKey
from notifier.records import Records, decode_job


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The deliveries of one record for one target."""

    target: str
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    oldest_pending: datetime | None = None
    error: str | None = None
    """Of the delivery that tells most of how its target does now."""
    error_weight: tuple[bool, datetime] | None = None
    """How much it tells: most, if the delivery still waits and failed last."""

    def count(self, state: DeliveryState) -> int:
        """Return how many are in a state."""
        return {"pending": self.pending, "delivered": self.delivered, "dead": self.dead}[state]


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job without all that only its own record tells."""

    source: str
    job_id: str
    status: str
    created: str
    """When it was ordered, else first seen, as text that is ordered as times are."""
    removed: bool
    stalled: bool
    table: str | None
    text: str
    """What is searched: id, name and table, case folded."""
    tallies: tuple[Tally, ...]
    """By target, in the order of their first deliveries."""
    newest: str
    """None of its events and deliveries is newer than this."""
    print: int
    """The hash of the document that all this is from."""

    @property
    def job(self) -> JobKey:
        """Which job it is."""
        return self.source, self.job_id

    @property
    def key(self) -> PageKey:
        """What lists of jobs are ordered by."""
        return self.created, f"{self.source}/{self.job_id}"

    @property
    def is_active(self) -> bool:
        """Whether it is listed and may still change."""
        return is_active(self.status) and not self.removed


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are wanted: all that is named must match."""

    status: str | None = None
    """A status; or `active`, `stalled` or `removed`, which jobs of several statuses are."""
    source: str | None = None
    table: str | None = None
    """A glob."""
    text: str | None = None
    """What must stand in the id, the name or the table, case ignored."""
    watched: Collection[str] | None = None
    """The sources that are configured, if known: jobs of others are neither active nor stalled."""

    def select(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield what is wanted of these."""
        text = self.text.casefold() if self.text else None
        for entry in entries:
            if (
                (self.source is None or entry.source == self.source)
                and (self.status is None or self._is_status_of(entry))
                and (text is None or text in entry.text)
                and (self.table is None or (entry.table is not None and matches(self.table, entry.table)))
            ):
                yield entry

    def is_active(self, entry: Entry) -> bool:
        """Return whether a job is listed, and may still change before somebody's eyes."""
        return entry.is_active and (self.watched is None or entry.source in self.watched)

    def _is_status_of(self, entry: Entry) -> bool:
        match self.status:
            case "active":
                return self.is_active(entry)
            case "stalled":
                return self.is_active(entry) and entry.stalled
            case "removed":
                return entry.removed
            case status:
                return entry.status == status


ALL_JOBS = Wanted()


class Catalogue:
    """The entries of all jobs, made anew for the documents that changed since it was last looked at.

    Any thread may look, while another one changes the records.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._entries: dict[JobKey, Entry] = {}
        self._version = -1
        self._looking = threading.Lock()

    def entries(self) -> Collection[Entry]:
        """Return the entries of all jobs as they are now; a job may be gone when its record is asked for."""
        with self._looking:
            version = self.records.version  # before its documents: what changes meanwhile is seen next time
            if version != self._version:
                self._entries = dict(self._read())
                self._version = version
            return self._entries.values()

    def _read(self) -> Iterator[tuple[JobKey, Entry]]:
        for key, document in self.records.documents():
            entry = self._entries.get(key)
            # To compare with the document itself would keep it in memory for as long as nobody looks. Its
            # hash is computed once in its life: Python keeps it with the bytes.
            if entry is None or entry.print != hash(document):
                entry = _entry(key, document)
            yield key, entry


def tally(record: JobRecord | SourceRecord) -> tuple[Tally, ...]:
    """Return the deliveries of a record, counted by target."""
    by_target: defaultdict[str, list[Delivery]] = defaultdict(list)
    for delivery in record.deliveries:
        by_target[delivery.target].append(delivery)
    return tuple(_tally(intern(target), deliveries) for target, deliveries in by_target.items())


def newest(record: JobRecord | SourceRecord) -> str:
    """Return what none of the events and deliveries of a record is newer than."""
    times = [*(each.observed_at for each in record.events), *(each.created_at for each in record.deliveries)]
    return sortable(max(times)) if times else ""


def sortable(time: datetime) -> str:
    """Return a time, which is UTC, as text that is ordered as times are."""
    return time.isoformat(timespec="microseconds")  # strftime would not pad the year 999


def _tally(target: str, deliveries: list[Delivery]) -> Tally:
    states = [delivery.state for delivery in deliveries]
    waiting = [delivery.created_at for delivery in deliveries if delivery.state == "pending"]
    failed = [delivery for delivery in deliveries if delivery.last_error is not None]
    telling = max(failed, key=_weight, default=None)
    return Tally(
        target=target,
        pending=len(waiting),
        delivered=states.count("delivered"),
        dead=states.count("dead"),
        oldest_pending=min(waiting, default=None),
        error=None if telling is None else telling.last_error,
        error_weight=None if telling is None else _weight(telling),
    )


def _weight(delivery: Delivery) -> tuple[bool, datetime]:
    last = delivery.history[-1].at if delivery.history else delivery.ended_at or delivery.created_at
    return delivery.state == "pending", last


def _entry(key: JobKey, document: bytes) -> Entry:
    record = decode_job(document)
    snapshot, details = record.snapshot, read_details(record.snapshot.element)
    created = details.time_created or snapshot.first_seen
    named = (key[1], details.job_name or "", details.table or "")
    return Entry(
        source=key[0],
        job_id=key[1],
        status=intern(snapshot.status),
        created=sortable(created),
        removed=snapshot.is_removed,
        stalled=snapshot.stalled_at is not None,
        table=None if details.table is None else intern(details.table),
        text="\n".join(named).casefold(),
        tallies=tally(record),
        newest=newest(record),
        print=hash(document),
    )
