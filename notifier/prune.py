"""What of a record has to be kept no longer: pure."""

from collections import Counter
from datetime import datetime

import msgspec

from notifier.model import Delivery, JobRecord, Outbox, SourceRecord

_MOST_EVENTS = 500
"""Of one record: it is written as a whole with each change."""


def prune_job(record: JobRecord, before: datetime, *, listing_known: bool) -> JobRecord | None:
    """Return the record without what ended before a time; None when the job itself is to be forgotten.

    That is when it was missing from all good polls since then, and nothing of it is left to send or replay;
    never while it is not known what is listed: forgotten and listed again, it would be announced as new.
    """
    left = _without_old(record, before)
    missing_since = left.snapshot.missing_since
    is_gone = listing_known and missing_since is not None and missing_since <= before
    return None if is_gone and not left.deliveries else left


def prune_source(record: SourceRecord, before: datetime) -> SourceRecord:
    """Return the record without the events and deliveries that ended before a time."""
    return _without_old(record, before)


def pruned(old: JobRecord | SourceRecord, new: JobRecord | SourceRecord | None) -> Counter[str]:
    """Return how much a record has lost; the keys are the words for one and for many of it."""
    gone = {} if new is None else {delivery.id for delivery in new.deliveries}
    states = Counter(delivery.state for delivery in old.deliveries if delivery.id not in gone)
    found = {
        "job|jobs": int(new is None),
        "event|events": len(old.events) - (0 if new is None else len(new.events)),
        "delivered delivery|delivered deliveries": states["delivered"],
        "dead letter|dead letters": states["dead"],
    }
    return Counter({words: number for words, number in found.items() if number})


def _without_old(record: Outbox, before: datetime) -> Outbox:
    deliveries = tuple(each for each in record.deliveries if not _ended(each, before))
    needed = {each.event_id for each in deliveries}
    events = tuple(each for each in record.events if each.id in needed or each.observed_at > before)
    if len(events) > _MOST_EVENTS:
        open_ = {each.event_id for each in deliveries if each.state != "delivered"}
        kept = {each.id for each in events[-_MOST_EVENTS:]} | open_
        events = tuple(each for each in events if each.id in kept)
        deliveries = tuple(each for each in deliveries if each.event_id in kept)
    if len(events) == len(record.events) and len(deliveries) == len(record.deliveries):
        return record
    return msgspec.structs.replace(record, events=events, deliveries=deliveries)


def _ended(delivery: Delivery, before: datetime) -> bool:
    return delivery.state != "pending" and (delivery.ended_at or delivery.created_at) <= before
