"""Events as people and programs are shown them, newest first, with what became of each. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import partial

import msgspec

from notifier.catalogue import Catalogue, newest, sortable
from notifier.model import Delivery, DeliveryState, Event, JobRecord, RecordKey, SourceRecord
from notifier.page import DEFAULT_LIMIT, Page, PageKey, make_grouped_page


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
    catalogue: Catalogue,
    *,
    source: str | None = None,
    job_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[EventItem]:
    """Return events, of a source or job if one is named. Raises BadCursorError."""

    def read(key: RecordKey) -> Iterator[tuple[PageKey, RecordKey, tuple[Event, JobRecord | SourceRecord]]]:
        record = catalogue.records.outbox(key)
        for event in () if record is None else record.events:
            if record is not None:
                yield (
                    (sortable(event.observed_at), f"{key[0]}/{key[1] or ''}/{event.seq:012}"),
                    key,
                    (event, record),
                )

    groups = ((bound, partial(read, key)) for bound, key in _outboxes(catalogue, source, job_id))
    return make_grouped_page(groups, limit, cursor, lambda key, pair: _item(key, *pair))


def _outboxes(
    catalogue: Catalogue, source: str | None, job_id: str | None
) -> Iterator[tuple[str, RecordKey]]:
    """Yield the keys of the records that are meant, each with what none of their events is newer than."""
    for name, record in list(catalogue.records.sources().items()):
        if source in (None, name) and job_id is None:
            yield newest(record), (name, None)
    for entry in catalogue.entries():
        if source in (None, entry.source) and job_id in (None, entry.job_id):
            yield entry.newest, entry.job


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
