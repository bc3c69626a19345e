"""What happened to one job between two polls: pure, everything that decides it is here."""

from datetime import datetime

import msgspec

from notifier.element import Details, read_details, redact_element
from notifier.listing import Element
from notifier.model import Event, JobRecord, Phase, Snapshot
from notifier.outbox import event_id
from notifier.payload import Progress, job_payload, progress_of
from notifier.rate import with_sample
from notifier.summary import summarize

# Types that no status may be mistaken for (contract, section 3).
_RESERVED = frozenset({"progress", "stalled", "resumed", "removed"})
_FIRST_STATUS = "staging"
_TRANSPORTING = "transporting"
_KEPT_PHASES = 10


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one poll adds to a job's record."""

    snapshot: Snapshot
    seq: int
    events: tuple[Event, ...] = ()
    details: Details = Details()
    """Of the element; read only when there are events."""


def diff(
    record: JobRecord | None,
    element: Element,
    *,
    source: str,
    source_id: str,
    announce: bool,
    now: datetime,
    forgotten_seq: int = 0,
) -> Change | None:
    """Return what is new about a job, or None when the record already says all of it.

    `announce` is false for the jobs of a baseline: they are stored and cause no event. A job without a
    record may have had one: its events are numbered from above `forgotten_seq`, or ids would come again.
    """
    old = record.snapshot if record is not None else None
    seq = record.seq if record is not None else forgotten_seq
    redacted = redact_element(element.raw)
    if old is not None and old.status == element.status:
        if old.element == redacted and old.missing_since is None:
            return None
        samples = old.samples
        if element.status == _TRANSPORTING:
            samples = with_sample(samples, read_details(redacted).chunks_left, now)
        snapshot = msgspec.structs.replace(old, element=redacted, samples=samples, missing_since=None)
        return Change(snapshot=snapshot, seq=seq)
    details = read_details(redacted)
    moved = with_sample(old.samples if old is not None else (), details.chunks_left, now)
    snapshot = Snapshot(
        status=element.status,
        first_seen=old.first_seen if old is not None else now,
        status_since=now,
        element=redacted,
        phases=_phases(old, element.status, details, now, is_new=announce),
        samples=moved if element.status == _TRANSPORTING else (),
    )
    if not announce:
        return Change(snapshot=snapshot, seq=seq)
    event = _transition(
        snapshot,
        details,
        progress_of(details, moved, transporting=element.status == _TRANSPORTING),
        source=source,
        source_id=source_id,
        job_id=element.job_id,
        previous_status=old.status if old is not None else None,
        seq=seq + 1,
        now=now,
    )
    return Change(snapshot=snapshot, seq=seq + 1, events=(event,), details=details)


def event_type(status: str) -> str:
    """Return the type of the event that announces a status."""
    return f"backfill.status_{status}" if status in _RESERVED else f"backfill.{status}"


def _phases(
    old: Snapshot | None, status: str, details: Details, now: datetime, *, is_new: bool
) -> tuple[Phase, ...]:
    """Return the phases with a new one; the first of all begins when the job is ordered."""
    if old is not None:
        return (*old.phases, Phase(status, now))[-_KEPT_PHASES:]
    ordered = details.time_created
    if status == _FIRST_STATUS and ordered is not None and ordered <= now:
        return (Phase(status, ordered),)
    return (Phase(status, now if is_new else None),)


def _transition(
    snapshot: Snapshot,
    details: Details,
    progress: Progress,
    *,
    source: str,
    source_id: str,
    job_id: str,
    previous_status: str | None,
    seq: int,
    now: datetime,
) -> Event:
    type_ = event_type(snapshot.status)
    id_ = event_id(
        source_id, job_id, type_=type_, previous_status=previous_status, status=snapshot.status, seq=seq
    )
    summary = summarize(
        job_id=job_id,
        status=snapshot.status,
        previous_status=previous_status,
        details=details,
        first_seen=snapshot.first_seen,
        now=now,
    )
    return Event(
        id=id_,
        seq=seq,
        type=type_,
        status=snapshot.status,
        previous_status=previous_status,
        observed_at=now,
        summary=summary,
        payload=job_payload(
            event_id=id_,
            type=type_,
            observed_at=now,
            source=source,
            job_id=job_id,
            status=snapshot.status,
            previous_status=previous_status,
            summary=summary,
            progress=progress,
            element=snapshot.element,
        ),
    )
