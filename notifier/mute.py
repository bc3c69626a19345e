"""Which jobs are muted, and what is told of them afterwards: pure (contract, section 7, `mute`)."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from notifier.absence import tell_removed
from notifier.announcement import Change, Origin, event_type
from notifier.diff import transition
from notifier.element import Details
from notifier.glob import matches
from notifier.model import JobRecord, Known, Mute, Snapshot, SourceRecord
from notifier.patience import tell_resumed, tell_stall


def muting(mutes: Collection[Mute], job_id: str, details: Details, now: datetime) -> tuple[Mute, ...]:
    """Return the mutes that keep what happens to a job now from everybody."""
    return tuple(mute for mute in mutes if now < mute.until and is_of(mute, job_id, details))


def is_of(mute: Mute, job_id: str, details: Details) -> bool:
    """Return whether a mute that its source holds is about this job."""
    return (
        mute.job_id in (None, job_id)
        and (mute.table is None or (details.table is not None and matches(mute.table, details.table)))
        and (mute.name is None or (details.job_name is not None and matches(mute.name, details.job_name)))
    )


def is_of_all(mute: Mute) -> bool:
    """Return whether a mute is about a whole source, and so about what happens to the source itself."""
    return mute.job_id is None and mute.table is None and mute.name is None


def spell_mute(*, job_id: str | None, table: str | None, name: str | None, source: str | None) -> str:
    """Return which jobs a mute is about, such as `job f47a…` or `table base.* of source allium`."""
    named = {"job": job_id, "table": table, "name": name}
    jobs = " and ".join(f"{what} {value}" for what, value in named.items() if value is not None)
    if source is None:
        return jobs
    return f"{jobs} of source {source}" if jobs else f"source {source}"


def known_of(record: JobRecord | None) -> Known:
    """Return what people know of a job before something more of it is kept from them."""
    if record is None:
        return Known(status=None)
    return record.known or _truth(record.snapshot)


def is_transition_told(change: Change) -> bool:
    """Return whether a change tells the job's status: that makes good for all that was kept before."""
    return any(event.type == event_type(change.snapshot.status) for event in change.events)


def catch_up(change: Change, known: Known, *, origin: Origin, now: datetime) -> Change:
    """Return the change with the events that say how a job differs from what people know of it."""
    snapshot, truth = change.snapshot, _truth(change.snapshot)
    is_same = truth.status == known.status
    if snapshot.told_at is not None and truth != known:  # or a reminder would follow at once
        change = msgspec.structs.replace(change, snapshot=msgspec.structs.replace(snapshot, told_at=now))
    if not is_same or (known.removed and not truth.removed):
        change = transition(change, known.status, origin=origin, now=now)
        known = Known(status=truth.status)  # whoever is told a status takes the job for listed, and moving
    if truth.stalled and not known.stalled:
        change = tell_stall(change, origin=origin, now=now)
    elif known.stalled and not truth.stalled:
        change = tell_resumed(change, origin=origin, now=now)
    if truth.removed and not known.removed:
        change = tell_removed(change, origin=origin, now=now)
    return change


def with_suppressed(record: SourceRecord, counts: Mapping[str, int]) -> SourceRecord:
    """Return the record with so many events more counted for each of its mutes, by the mute's id."""
    mutes = tuple(
        msgspec.structs.replace(mute, suppressed=mute.suppressed + counts.get(mute.id, 0))
        for mute in record.mutes
    )
    return msgspec.structs.replace(record, mutes=mutes)


def without_mutes(record: SourceRecord, ids: Collection[str]) -> SourceRecord:
    """Return the record without these mutes."""
    left = tuple(mute for mute in record.mutes if mute.id not in ids)
    return msgspec.structs.replace(record, mutes=left)


def _truth(snapshot: Snapshot) -> Known:
    return Known(status=snapshot.status, stalled=snapshot.stalled_at is not None, removed=snapshot.is_removed)
