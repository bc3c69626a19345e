"""What is known, as people and programs are shown it: lists with newest first, and an overview. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec

from notifier.element import read_details
from notifier.model import (
    Attempt,
    Delivery,
    DeliveryState,
    JobKey,
    JobRecord,
    Outage,
    PollReport,
    RecordKey,
    SourceRecord,
    is_active,
)
from notifier.outbox import pending
from notifier.page import DEFAULT_LIMIT, Page, PageKey, make_page
from notifier.payload import Progress, progress_of
from notifier.records import Records


class JobItem(msgspec.Struct, frozen=True, kw_only=True):
    """A job as last seen."""

    source: str
    job_id: str
    status: str
    job_name: str | None
    table: str | None
    progress: Progress
    error_message: str | None
    time_created: datetime | None
    time_completed: datetime | None
    first_seen: datetime
    status_since: datetime
    """When this status was first seen."""
    events: int
    """How many events of it are kept."""
    pending: int
    """How many deliveries are still to be made."""
    dead: int
    job: msgspec.Raw
    """The element as the API returned it."""


class DeliveryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with the event it is of."""

    id: str
    event_id: str
    type: str
    source: str
    job_id: str | None
    """None for an event that is about no job."""
    target: str
    state: DeliveryState
    attempts: int
    last_error: str | None
    created_at: datetime
    first_attempt: datetime | None
    next_attempt: datetime | None
    """When it is tried again; null for at once, and when it has ended."""
    waits_for: str | None
    """The earlier delivery of the same job to the same target, which goes first."""
    ended_at: datetime | None
    summary: str
    status: int | None = None
    """Of the HTTP answer to the last attempt, if it failed; null when there was none."""
    answer: str | None = None
    """How that answer began, 500 bytes at most; null once delivered."""
    history: tuple[Attempt, ...] = ()
    """The last twenty attempts, the oldest first, those before a replay included."""


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A source with its jobs by status and, while a daemon runs, its polls."""

    name: str
    jobs: dict[str, int]
    active: int
    baseline_at: datetime | None
    polls: PollReport | None


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """A target with its deliveries by state."""

    name: str
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    oldest_pending: datetime | None = None
    last_error: str | None = None
    """Of the delivery that failed last and still waits, or why it fails otherwise, or else of the last one
    that is dead."""
    failing_since: datetime | None = None
    """Since when it fails; null while it works."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier is doing; `pid` and `started_at` are null when none runs."""

    running: bool
    version: str
    pid: int | None = None
    started_at: datetime | None = None
    state: str
    """The absolute path of the state."""
    sources: list[SourceView]
    targets: list[TargetView]


def list_jobs(records: Records, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[JobItem]:
    """Return jobs, the ones ordered last first. Raises BadCursorError."""
    found = ((_job_key(key, record), key, record) for key, record in records.jobs())
    return make_page(found, limit, cursor, _job_item)


def list_deliveries(
    records: Records,
    *,
    state: DeliveryState | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[DeliveryItem]:
    """Return deliveries, those of the newest events first. Raises BadCursorError."""
    found = (
        ((_sortable(delivery.created_at), f"{_place(key)}/{place:09}"), key, (record, delivery))
        for key, record in records.outboxes()
        for place, delivery in enumerate(record.deliveries)
        if state is None or delivery.state == state
    )
    return make_page(found, limit, cursor, lambda key, pair: _delivery_item(key, *pair))


def list_sources(
    records: Records, polls: Mapping[str, PollReport] = MappingProxyType({})
) -> list[SourceView]:
    """Return the sources that are stored or polled, by name."""
    statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (source, _), record in records.jobs():
        statuses[source][record.snapshot.status] += 1
    stored = records.sources()
    return [
        SourceView(
            name=name,
            jobs=dict(statuses[name].most_common()),
            active=sum(count for status, count in statuses[name].items() if is_active(status)),
            baseline_at=stored[name].baseline_at if name in stored else None,
            polls=polls.get(name),
        )
        for name in sorted(stored.keys() | polls.keys())
    ]


def list_targets(records: Records, names: Collection[str] = ()) -> list[TargetView]:
    """Return these targets and all that have deliveries, by name."""
    counts: defaultdict[str, Counter[DeliveryState]] = defaultdict(Counter)
    oldest: dict[str, Delivery] = {}
    telling: dict[str, Delivery] = {}
    for _, record in records.outboxes():
        for each in record.deliveries:
            counts[each.target][each.state] += 1
            if each.state == "pending":
                oldest[each.target] = min(oldest.get(each.target, each), each, key=_created_at)
            if each.last_error is not None:
                telling[each.target] = max(telling.get(each.target, each), each, key=_weight)
    outages = {
        name: outage for record in records.sources().values() for name, outage in record.outages.items()
    }
    return [
        _target_view(name, counts[name], oldest.get(name), telling.get(name), outages.get(name))
        for name in sorted({*names, *counts})
    ]


def _target_view(
    name: str,
    counts: Counter[DeliveryState],
    oldest: Delivery | None,
    telling: Delivery | None,
    outage: Outage | None,
) -> TargetView:
    error = None if telling is None else telling.last_error
    if outage is not None and (telling is None or telling.state != "pending"):
        error = outage.reason
    return TargetView(
        name=name,
        pending=counts["pending"],
        delivered=counts["delivered"],
        dead=counts["dead"],
        oldest_pending=None if oldest is None else oldest.created_at,
        last_error=error,
        failing_since=None if outage is None else outage.since,
    )


def _created_at(delivery: Delivery) -> datetime:
    return delivery.created_at


def _weight(delivery: Delivery) -> tuple[bool, datetime]:
    """Return how much a delivery's error says of its target now: most, if it still waits and failed last."""
    last = delivery.history[-1].at if delivery.history else delivery.ended_at or delivery.created_at
    return delivery.state == "pending", last


def _job_item(key: JobKey, record: JobRecord) -> JobItem:
    details = read_details(record.snapshot.element)
    states = Counter(delivery.state for delivery in record.deliveries)
    return JobItem(
        source=key[0],
        job_id=key[1],
        status=record.snapshot.status,
        job_name=details.job_name,
        table=details.table,
        progress=progress_of(
            details, record.snapshot.samples, transporting=record.snapshot.status == "transporting"
        ),
        error_message=details.error_message,
        time_created=details.time_created,
        time_completed=details.time_completed,
        first_seen=record.snapshot.first_seen,
        status_since=record.snapshot.status_since,
        events=len(record.events),
        pending=states["pending"],
        dead=states["dead"],
        job=record.snapshot.element,
    )


def _delivery_item(key: RecordKey, record: JobRecord | SourceRecord, delivery: Delivery) -> DeliveryItem:
    event = next(event for event in record.events if event.id == delivery.event_id)
    in_order = (each for each in pending(record) if each.target == delivery.target and not each.replay)
    first = delivery if delivery.replay else next(in_order, delivery)
    return DeliveryItem(
        id=delivery.id,
        event_id=event.id,
        type=event.type,
        source=key[0],
        job_id=key[1],
        target=delivery.target,
        state=delivery.state,
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        created_at=delivery.created_at,
        first_attempt=delivery.first_attempt_at,
        next_attempt=delivery.next_attempt_at,
        waits_for=first.id if delivery.state == "pending" and first.id != delivery.id else None,
        ended_at=delivery.ended_at,
        summary=event.summary,
        status=delivery.history[-1].status if delivery.history else None,
        answer=delivery.answer,
        history=delivery.history,
    )


def _job_key(key: JobKey, record: JobRecord) -> PageKey:
    created = read_details(record.snapshot.element).time_created or record.snapshot.first_seen
    return _sortable(created), "/".join(key)


def _place(key: RecordKey) -> str:
    return key[0] if key[1] is None else f"{key[0]}/job/{key[1]}"


def _sortable(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")  # strftime would not pad the year 999
