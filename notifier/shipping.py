"""What an attempt is to bring, made from what is stored: pure."""

from collections.abc import Sequence

from notifier.model import Delivery, Event, RecordKey
from notifier.outbox import present
from notifier.records import Records
from notifier.retry import in_doubt_since, in_doubt_until
from notifier.sending import Shipment
from notifier.waiting import Batch, Waiting

Found = tuple[RecordKey, Event, Delivery]
"""A delivery with its event, and the key of the record that holds them."""


def find(records: Records, waiting: Waiting) -> Found:
    """Return the delivery that waits in a lane."""
    record = present(records.outbox(waiting.key))
    delivery = next(d for d in record.deliveries if d.id == waiting.delivery_id)
    return waiting.key, next(e for e in record.events if e.id == delivery.event_id), delivery


def ship(records: Records, batch: Batch, found: Sequence[Found]) -> Shipment:
    """Return what a target is given; a job's record as it is now, its card may just have changed."""
    source, job_id = batch.members[0].key
    own = records.source(source)
    pairs = [
        (delivery, waiting.cut_off) for waiting, (_, _, delivery) in zip(batch.members, found, strict=True)
    ]
    doubts = [in_doubt_since(delivery, cut_off=cut_off) for delivery, cut_off in pairs]
    ends = [in_doubt_until(delivery, cut_off=cut_off) for delivery, cut_off in pairs]
    known = [end for end in ends if end is not None]
    return Shipment(
        events=tuple(event for _, event, _ in found),
        record=records.job((source, job_id)) if job_id is not None and len(found) == 1 else None,
        place=None if own is None else own.places.get(found[0][2].target),
        in_doubt_since=min((since for since in doubts if since is not None), default=None),
        in_doubt_until=max(known) if len(known) == len(ends) else None,
    )
