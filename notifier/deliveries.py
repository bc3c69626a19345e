"""Deliveries as people and programs are shown them: lists, newest first. Pure."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import msgspec

from notifier.catalogue import Catalogue, newest, sortable
from notifier.hours import NEVER_QUIET, QuietNow
from notifier.model import Attempt, Delivery, DeliveryState, JobRecord, RecordKey, SourceRecord
from notifier.outbox import pending
from notifier.page import DEFAULT_LIMIT, Page, PageKey, make_grouped_page

_Found = tuple[JobRecord | SourceRecord, Delivery]


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
    quiet_until: datetime | None = None
    """Until when quiet hours hold it; null when they do not, or no daemon runs."""


def list_deliveries(
    catalogue: Catalogue,
    *,
    state: DeliveryState | None = None,
    target: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    quiet: QuietNow = NEVER_QUIET,
) -> Page[DeliveryItem]:
    """Return deliveries, those of the newest events first. Raises BadCursorError."""

    def read(
        key: RecordKey,
    ) -> Iterator[tuple[PageKey, RecordKey, tuple[JobRecord | SourceRecord, Delivery]]]:
        record = catalogue.records.outbox(key)
        for place, each in enumerate(() if record is None else record.deliveries):
            if record is not None and state in (None, each.state) and target in (None, each.target):
                yield (sortable(each.created_at), f"{_place(key)}/{place:09}"), key, (record, each)

    groups = ((bound, partial(read, key)) for bound, key in _outboxes(catalogue, state, target))
    return make_grouped_page(groups, limit, cursor, lambda key, pair: _delivery_item(key, *pair, quiet=quiet))


def show_deliveries(key: RecordKey, record: JobRecord | SourceRecord, quiet: QuietNow) -> list[DeliveryItem]:
    """Return the deliveries of a record, in the order of their events."""
    return [_delivery_item(key, record, delivery, quiet=quiet) for delivery in record.deliveries]


def _outboxes(
    catalogue: Catalogue, state: DeliveryState | None, target: str | None
) -> Iterator[tuple[str, RecordKey]]:
    """Yield the keys of records that may have such deliveries, each with what none of them is newer than."""
    for source, record in list(catalogue.records.sources().items()):
        yield newest(record), (source, None)
    for entry in catalogue.entries():
        found = (each for each in entry.tallies if target in (None, each.target))
        if any(state is None or each.count(state) for each in found):
            yield entry.newest, entry.job


def _delivery_item(
    key: RecordKey, record: JobRecord | SourceRecord, delivery: Delivery, *, quiet: QuietNow
) -> DeliveryItem:
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
        quiet_until=quiet.holds(delivery, "" if event.again else event.type),
    )


def _place(key: RecordKey) -> str:
    return key[0] if key[1] is None else f"{key[0]}/job/{key[1]}"
