"""The stored deliveries of a record: how it takes in a change, an outcome, a lost target, a replay. Pure."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from notifier.model import Delivery, Event, JobRecord, Known, Outbox, Snapshot, SourceRecord

LOST_TARGET = "the target is no longer configured"
LOST_SOURCE = "the source is no longer configured"


def absorb(
    record: JobRecord | None,
    *,
    snapshot: Snapshot,
    seq: int,
    events: Sequence[Event],
    targets: Mapping[str, Sequence[str]],
    known: Known | None = None,
) -> JobRecord:
    """Return the record with a new snapshot, new events, and a pending delivery for each of their targets.

    `targets` has the names of the targets by the event's id; `known` is what people know when it is not all.
    """
    if record is None:
        observed = JobRecord(snapshot=snapshot, seq=seq, known=known)
    else:
        observed = msgspec.structs.replace(record, snapshot=snapshot, seq=seq, known=known)
    return with_events(observed, events=events, targets=targets)


def with_events(record: Outbox, *, events: Sequence[Event], targets: Mapping[str, Sequence[str]]) -> Outbox:
    """Return the record with new events, and a pending delivery for each of their targets."""
    made = [_delivery(event, target) for event in events for target in targets[event.id]]
    changed = msgspec.structs.replace(
        record, events=(*record.events, *events), deliveries=(*record.deliveries, *made)
    )
    return _without_idle_payloads(changed)


def settle(record: Outbox, deliveries: Iterable[Delivery]) -> Outbox:
    """Return the record with deliveries replaced by what became of them.

    What was given up meanwhile stays so, unless it arrived all the same.
    """
    settled = {delivery.id: delivery for delivery in deliveries}

    def became(delivery: Delivery) -> Delivery:
        new = settled.get(delivery.id, delivery)
        return delivery if (delivery.state, new.state) == ("dead", "pending") else new

    return _with_deliveries(record, became)


def lose(delivery: Delivery, *, now: datetime) -> Delivery:
    """Return a pending delivery given up because its source is no longer configured."""
    return msgspec.structs.replace(
        delivery, state="dead", ended_at=now, next_attempt_at=None, last_error=LOST_SOURCE
    )


def abandon(record: Outbox, *, targets: Collection[str], reason: str, now: datetime) -> Outbox:
    """Return the record with each pending delivery for a target that is not among these made dead."""

    def judged(delivery: Delivery) -> Delivery:
        if delivery.state != "pending" or delivery.target in targets:
            return delivery
        return msgspec.structs.replace(
            delivery, state="dead", ended_at=now, next_attempt_at=None, last_error=reason
        )

    return _with_deliveries(record, judged)


def replay(record: Outbox, ids: Collection[str]) -> Outbox:
    """Return the record with those of its dead letters that are among these made pending again."""

    def revived(delivery: Delivery) -> Delivery:
        if delivery.state != "dead" or delivery.id not in ids:
            return delivery
        return msgspec.structs.replace(
            delivery,
            state="pending",
            attempts=0,
            first_attempt_at=None,
            next_attempt_at=None,
            held_until=None,
            held=timedelta(0),
            ended_at=None,
            replay=True,
        )

    return _with_deliveries(record, revived)


def pending(record: JobRecord | SourceRecord) -> tuple[Delivery, ...]:
    """Return the deliveries that still have to be made, in the order of their events."""
    return tuple(d for d in record.deliveries if d.state == "pending")


def waiting_targets(record: JobRecord | SourceRecord | None) -> set[str]:
    """Return the targets that have not heard yet of all that was told: they need no reminder."""
    return set() if record is None else {delivery.target for delivery in pending(record)}


def present(record: Outbox | None) -> Outbox:
    """Return a record that must be there. Raises LookupError when it is not."""
    if record is None:
        raise LookupError("no record where one must be")
    return record


def delivery_id(event_id: str, target: str) -> str:
    """Return `dlv_` and 24 hex digits: the same for the same event and target."""
    return "dlv_" + hashlib.sha256(f"{event_id} {target}".encode()).hexdigest()[:24]


def event_id(
    source_id: str, job_id: str | None, *, type_: str, previous_status: str | None, status: str, seq: int
) -> str:
    """Return `evt_` and 32 hex digits: the same for the same change, however often it is observed."""
    parts = json.dumps([source_id, job_id, type_, previous_status, status, seq])
    return "evt_" + hashlib.sha256(parts.encode()).hexdigest()[:32]


def batch_id(event_ids: Sequence[str]) -> str:
    """Return what a receiver knows events by that are sent together: the same for the same ones.

    Of a single one that is its own id, else `bat_` and 32 hex digits.
    """
    if len(event_ids) == 1:
        return event_ids[0]
    return "bat_" + hashlib.sha256(" ".join(event_ids).encode()).hexdigest()[:32]


def _delivery(event: Event, target: str) -> Delivery:
    return Delivery(
        id=delivery_id(event.id, target), event_id=event.id, target=target, created_at=event.observed_at
    )


def _with_deliveries(record: Outbox, change: Callable[[Delivery], Delivery]) -> Outbox:
    deliveries = tuple(map(change, record.deliveries))
    return _without_idle_payloads(msgspec.structs.replace(record, deliveries=deliveries))


def _without_idle_payloads(record: Outbox) -> Outbox:
    """Drop the payloads that no delivery can need again; a dead letter can be replayed and needs its."""
    needed = {d.event_id for d in record.deliveries if d.state != "delivered"}
    if all(e.payload is msgspec.UNSET or e.id in needed for e in record.events):
        return record
    events = tuple(
        e if e.id in needed else msgspec.structs.replace(e, payload=msgspec.UNSET) for e in record.events
    )
    return msgspec.structs.replace(record, events=events)
