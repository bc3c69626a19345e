"""What a listing says of one job that was not known: pure, what counts as a change is decided here."""

from datetime import datetime, timedelta

import msgspec

from notifier.announcement import Change, Origin, announced, event_type
from notifier.element import Details, read_details, redact_element
from notifier.listing import Element
from notifier.model import JobRecord, Phase, Sample, Snapshot, is_active
from notifier.patience import moved_at, tell_resumed
from notifier.rate import with_sample
from notifier.rules import Rules
from notifier.summary import say_listed_again, say_progress, summarize, whole_percent_done

_FIRST_STATUS = "staging"
_TRANSPORTING = "transporting"
_FAILED = "failed"
_KEPT_PHASES = 10


def diff(
    record: JobRecord | None,
    element: Element,
    *,
    origin: Origin,
    announce: bool,
    rules: Rules,
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
        if old.element == redacted and old.missing_since is None and not old.is_removed:
            return None
        details = read_details(redacted)
        snapshot = msgspec.structs.replace(old, element=redacted, missing_since=None, missing_polls=0)
        change = Change(snapshot=snapshot, seq=seq, details=details)
        if old.is_removed:
            return _listed_again(change, origin=origin, now=now)
        return _moved(change, old, origin=origin, rules=rules, now=now)
    details = read_details(redacted)
    samples = with_sample(_samples(old, details), details.chunks_left, now)
    transporting = element.status == _TRANSPORTING
    snapshot = Snapshot(
        status=element.status,
        first_seen=old.first_seen if old is not None else now,
        status_since=now,
        element=redacted,
        phases=_phases(old, element.status, details, now, is_new=announce),
        samples=samples if transporting else (),
        chunks_left=details.chunks_left,
        moved_at=now,
        reached=whole_percent_done(details) or 0 if transporting else 0,
        told_at=now if announce and element.status == _FAILED else None,
    )
    change = Change(snapshot=snapshot, seq=seq, details=details)
    if not announce:
        return change
    previous_status = old.status if old is not None else None
    return transition(change, previous_status, origin=origin, now=now, samples=samples)


def transition(
    change: Change,
    previous_status: str | None,
    *,
    origin: Origin,
    now: datetime,
    samples: tuple[Sample, ...] | None = None,
) -> Change:
    """Return the change with the event that announces the job's status."""
    snapshot = change.snapshot
    summary = summarize(
        job_id=origin.job_id,
        status=snapshot.status,
        previous_status=previous_status,
        details=change.details,
        first_seen=snapshot.first_seen,
        now=snapshot.status_since,  # it may be told later than it was seen
    )
    return announced(
        change,
        event_type(snapshot.status),
        summary=summary,
        origin=origin,
        now=now,
        previous_status=previous_status,
        samples=samples,
    )


def _listed_again(change: Change, *, origin: Origin, now: datetime) -> Change:
    """Return the change of a job that had vanished: nobody knows whether it moved meanwhile."""
    details, status = change.details, change.snapshot.status
    snapshot = msgspec.structs.replace(
        change.snapshot,
        reached=max(change.snapshot.reached, (status == _TRANSPORTING and whole_percent_done(details)) or 0),
        chunks_left=details.chunks_left,
        moved_at=now,
        samples=with_sample((), details.chunks_left, now) if status == _TRANSPORTING else (),
        stalled_at=None,
        told_at=None,
    )
    return announced(
        msgspec.structs.replace(change, snapshot=snapshot),
        event_type(status),
        summary=say_listed_again(details, origin.job_id, status=status),
        origin=origin,
        now=now,
        previous_status=status,
    )


def _moved(change: Change, old: Snapshot, *, origin: Origin, rules: Rules, now: datetime) -> Change:
    """Return the change with what its chunks say: that it moves again, that it has passed a milestone."""
    details, snapshot = change.details, change.snapshot
    left, transporting = details.chunks_left, snapshot.status == _TRANSPORTING
    if transporting:
        samples = with_sample(_samples(old, details), left, now)
        snapshot = msgspec.structs.replace(snapshot, samples=samples)
    moved = left is not None and left != old.chunks_left
    if moved:
        told_at = None if old.stalled_at is not None else old.told_at
        snapshot = msgspec.structs.replace(
            snapshot, chunks_left=left, moved_at=now, stalled_at=None, told_at=told_at
        )
    reached = whole_percent_done(details) if transporting else None
    before = snapshot.reached
    if reached is not None:
        snapshot = msgspec.structs.replace(snapshot, reached=max(before, reached))
    change = msgspec.structs.replace(change, snapshot=snapshot)
    status = snapshot.status
    if moved and old.stalled_at is not None and is_active(status):
        lasted = max(timedelta(0), now - moved_at(old))
        change = tell_resumed(change, origin=origin, now=now, lasted=lasted)
    if reached is not None and any(before < milestone <= reached for milestone in rules.milestones):
        change = announced(
            change,
            "backfill.progress",
            summary=say_progress(details, origin.job_id),
            origin=origin,
            now=now,
            previous_status=status,
        )
    return change


def _samples(old: Snapshot | None, details: Details) -> tuple[Sample, ...]:
    """Return the samples that still count: those of another number of chunks say nothing of the rate."""
    if old is None or not old.samples:
        return ()
    total = read_details(old.element).num_chunks
    return old.samples if total is None or total == details.num_chunks else ()


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
