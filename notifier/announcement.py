"""An event of a job, with the payload that tells it: pure."""

from datetime import datetime

import msgspec

from notifier.element import Details
from notifier.model import Event, Sample, Snapshot
from notifier.outbox import event_id
from notifier.payload import job_payload, progress_of

_TRANSPORTING = "transporting"
# Types that no status may be mistaken for (contract, section 3).
_RESERVED = frozenset({"progress", "stalled", "resumed", "removed"})


class Origin(msgspec.Struct, frozen=True):
    """Whose events they are."""

    source: str
    source_id: str
    job_id: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an observation adds to a job's record."""

    snapshot: Snapshot
    seq: int
    events: tuple[Event, ...] = ()
    details: Details = Details()
    """Of the element; read whenever there are events."""


def announced(
    change: Change,
    type_: str,
    *,
    summary: str,
    origin: Origin,
    now: datetime,
    previous_status: str | None,
    samples: tuple[Sample, ...] | None = None,
    again: bool = False,
) -> Change:
    """Return the change with an event more, of the job as the change leaves it.

    `samples` are those that the event's rate comes from when the job has none any more.
    """
    snapshot, seq = change.snapshot, change.seq + 1
    id_ = event_id(
        origin.source_id,
        origin.job_id,
        type_=type_,
        previous_status=previous_status,
        status=snapshot.status,
        seq=seq,
    )
    payload = job_payload(
        event_id=id_,
        type=type_,
        observed_at=now,
        source=origin.source,
        job_id=origin.job_id,
        status=snapshot.status,
        previous_status=previous_status,
        summary=summary,
        progress=progress_of(
            change.details,
            snapshot.samples if samples is None else samples,
            transporting=snapshot.status == _TRANSPORTING,
        ),
        element=snapshot.element,
    )
    event = Event(
        id=id_,
        seq=seq,
        type=type_,
        status=snapshot.status,
        previous_status=previous_status,
        observed_at=now,
        summary=summary,
        payload=payload,
        again=again,
    )
    return msgspec.structs.replace(change, seq=seq, events=(*change.events, event))


def event_type(status: str) -> str:
    """Return the type of the event that announces a status."""
    return f"backfill.status_{status}" if status in _RESERVED else f"backfill.{status}"
