"""The stored deliveries of a job: how a record takes in a change, an outcome, a lost target. Pure."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from notifier.model import Delivery, Event, JobRecord, Snapshot

LOST_TARGET = "the target is no longer configured"
LOST_SOURCE = "the source is no longer configured"


def absorb(
    record: JobRecord | None,
    *,
    snapshot: Snapshot,
    seq: int,
    events: Sequence[Event],
    targets: Mapping[str, Sequence[str]],
) -> JobRecord:
    """Return the record with a new snapshot, new events, and a pending delivery for each of their targets.

    `targets` has the names of the targets by the event's id.
    """
    new = tuple(
        Delivery(
            id=delivery_id(event.id, target), event_id=event.id, target=target, created_at=event.observed_at
        )
        for event in events
        for target in targets[event.id]
    )
    return _without_idle_payloads(
        JobRecord(
            snapshot=snapshot,
            seq=seq,
            events=(*(record.events if record is not None else ()), *events),
            deliveries=(*(record.deliveries if record is not None else ()), *new),
        )
    )


def settle(record: JobRecord, delivery: Delivery) -> JobRecord:
    """Return the record with a delivery replaced by what became of it."""
    deliveries = tuple(delivery if old.id == delivery.id else old for old in record.deliveries)
    return _without_idle_payloads(msgspec.structs.replace(record, deliveries=deliveries))


def abandon(record: JobRecord, *, targets: Collection[str], reason: str, now: datetime) -> JobRecord:
    """Return the record with each pending delivery for a target that is not among these made dead."""
    deliveries = tuple(
        msgspec.structs.replace(d, state="dead", ended_at=now, next_attempt_at=None, last_error=reason)
        if d.state == "pending" and d.target not in targets
        else d
        for d in record.deliveries
    )
    return msgspec.structs.replace(record, deliveries=deliveries)


def pending(record: JobRecord) -> tuple[Delivery, ...]:
    """Return the deliveries that still have to be made, in the order of their events."""
    return tuple(d for d in record.deliveries if d.state == "pending")


def delivery_id(event_id: str, target: str) -> str:
    """Return `dlv_` and 24 hex digits: the same for the same event and target."""
    return "dlv_" + hashlib.sha256(f"{event_id} {target}".encode()).hexdigest()[:24]


def _without_idle_payloads(record: JobRecord) -> JobRecord:
    """Drop the payloads that no delivery can need again; a dead letter can be replayed and needs its."""
    needed = {d.event_id for d in record.deliveries if d.state != "delivered"}
    if all(e.payload is msgspec.UNSET or e.id in needed for e in record.events):
        return record
    events = tuple(
        e if e.id in needed else msgspec.structs.replace(e, payload=msgspec.UNSET) for e in record.events
    )
    return msgspec.structs.replace(record, events=events)
