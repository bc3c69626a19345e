"""Events as people and programs are shown them, newest first, with what became of each. Pure."""

from collections import defaultdict
from datetime import datetime

import msgspec

from notifier.model import Delivery, DeliveryState, Event, JobRecord, RecordKey, SourceRecord
from notifier.page import DEFAULT_LIMIT, Page, make_page
from notifier.records import Records


class EventDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event for one target."""

    id: str
    target: str
    state: DeliveryState
    attempts: int
    last_error: str | None


class EventItem(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its deliveries: none when no route matched, or a mute kept it back."""

    id: str
    type: str
    source: str
    job_id: str | None
    """None for an event that is about no job."""
    status: str
    previous_status: str | None
    observed_at: datetime
    summary: str
    again: bool
    """Whether it says once more what was told before."""
    mute: str | None
    """The id of the mute that kept it from everybody."""
    deliveries: list[EventDelivery]


def list_events(
    records: Records,
    *,
    source: str | None = None,
    job_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[EventItem]:
    """Return events, of a source or job if one is named. Raises BadCursorError."""
    if source is not None and job_id is not None:
        one = records.job((source, job_id))
        known: list[tuple[RecordKey, JobRecord | SourceRecord]] = (
            [] if one is None else [((source, job_id), one)]
        )
    else:
        known = [
            (key, record)
            for key, record in records.outboxes()
            if source in (None, key[0]) and job_id in (None, key[1])
        ]
    found = (
        ((_sortable(event.observed_at), f"{key[0]}/{key[1] or ''}/{event.seq:012}"), key, (event, record))
        for key, record in known
        for event in record.events
    )
    return make_page(found, limit, cursor, lambda key, pair: _item(key, *pair))


def show_events(key: RecordKey, record: JobRecord | SourceRecord) -> list[EventItem]:
    """Return all events of a record, newest first."""
    return [_item(key, event, record) for event in reversed(record.events)]


def _item(key: RecordKey, event: Event, record: JobRecord | SourceRecord) -> EventItem:
    by_event: defaultdict[str, list[Delivery]] = defaultdict(list)
    for delivery in record.deliveries:
        by_event[delivery.event_id].append(delivery)
    return EventItem(
        id=event.id,
        type=event.type,
        source=key[0],
        job_id=key[1],
        status=event.status,
        previous_status=event.previous_status,
        observed_at=event.observed_at,
        summary=event.summary,
        again=event.again,
        mute=event.mute,
        deliveries=[
            EventDelivery(
                id=each.id,
                target=each.target,
                state=each.state,
                attempts=each.attempts,
                last_error=each.last_error,
            )
            for each in by_event[event.id]
        ],
    )


def _sortable(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")  # strftime would not pad the year 999
