"""What it means that time passes and a job stays as it is: it stalls, it is told again. Pure."""

from datetime import UTC, datetime, timedelta

import msgspec

from notifier.announcement import Change, Origin, announced
from notifier.element import read_details
from notifier.model import Snapshot, is_active
from notifier.rules import Rules
from notifier.summary import say_failed_still, say_resumed, say_stall

_FAILED = "failed"
_NEVER = datetime.max.replace(tzinfo=UTC)
_STALLED_TYPE = "backfill.stalled"
_FAILED_TYPE = "backfill.failed"


def lapse(change: Change, *, origin: Origin, rules: Rules, now: datetime) -> Change | None:
    """Return what a good poll adds that found a job as the change leaves it; None when that is nothing.

    A stall is found by two good polls that far apart without a difference: by the one that first saw the
    job as it is, and this one. No time in which nobody looked makes one by itself.
    """
    snapshot = change.snapshot
    if snapshot.missing_since is not None:
        return None
    if _is_of_the_future(snapshot, now):
        return _counted_from(change, min(now, moved_at(snapshot)), now)
    if _stalls_at(snapshot, rules) <= now:
        stalled = msgspec.structs.replace(snapshot, stalled_at=now, told_at=now)
        return tell_stall(msgspec.structs.replace(change, snapshot=stalled), origin=origin, now=now)
    if _reminds_at(snapshot, rules) <= now:
        told = msgspec.structs.replace(change, snapshot=msgspec.structs.replace(snapshot, told_at=now))
        if snapshot.stalled_at is not None:
            return tell_stall(told, origin=origin, now=now, again=True)
        return _tell_failed(told, origin=origin, now=now)
    return None


def look_again_at(snapshot: Snapshot, rules: Rules, now: datetime) -> datetime | None:
    """Return when `lapse` has something to say if the job stays as it is; None is never."""
    if snapshot.missing_since is not None:
        return None
    if _is_of_the_future(snapshot, now):
        return now
    due = min(_stalls_at(snapshot, rules), _reminds_at(snapshot, rules))
    return None if due == _NEVER else due


def restart(change: Change, now: datetime) -> Change | None:
    """Return the change with the time counted from now on; None when nothing is counted.

    That is for a clock that was set: how long ago something was seen is no longer known.
    """
    snapshot = change.snapshot
    if not is_active(snapshot.status) or snapshot.stalled_at is not None or moved_at(snapshot) == now:
        return None
    return _counted_from(change, now, now)


def tell_stall(change: Change, *, origin: Origin, now: datetime, again: bool = False) -> Change:
    """Return the change with the event that says that its job is stalled."""
    snapshot, details = change.snapshot, change.details
    since = snapshot.status_since if snapshot.status == "staging" else moved_at(snapshot)
    lasted = max(timedelta(0), now - since)
    return announced(
        change,
        _STALLED_TYPE,
        summary=say_stall(details, origin.job_id, status=snapshot.status, lasted=lasted, again=again),
        origin=origin,
        now=now,
        previous_status=snapshot.status,
        samples=(),  # what it once was is no pace
        again=again,
    )


def tell_resumed(change: Change, *, origin: Origin, now: datetime, lasted: timedelta | None = None) -> Change:
    """Return the change with the event that says that its job moves again, after it stood for so long."""
    return announced(
        change,
        "backfill.resumed",
        summary=say_resumed(change.details, origin.job_id, lasted=lasted),
        origin=origin,
        now=now,
        previous_status=change.snapshot.status,
    )


def moved_at(snapshot: Snapshot) -> datetime:
    """Return when status and chunks left were first seen as they are."""
    return snapshot.moved_at or snapshot.status_since


def as_stored(snapshot: Snapshot, seq: int) -> Change:
    """Return what a job's record says, as a change that adds nothing to it yet."""
    return Change(snapshot=snapshot, seq=seq, details=read_details(snapshot.element))


def _is_of_the_future(snapshot: Snapshot, now: datetime) -> bool:
    """Return whether the clock was set back since: nobody is to wait for it."""
    return moved_at(snapshot) > now or (snapshot.told_at is not None and snapshot.told_at > now)


def _counted_from(change: Change, moved: datetime, now: datetime) -> Change:
    told = None if change.snapshot.told_at is None else min(now, change.snapshot.told_at)
    snapshot = msgspec.structs.replace(change.snapshot, moved_at=moved, told_at=told)
    return msgspec.structs.replace(change, snapshot=snapshot)


def _stalls_at(snapshot: Snapshot, rules: Rules) -> datetime:
    if not is_active(snapshot.status) or snapshot.stalled_at is not None:
        return _NEVER
    return _after(moved_at(snapshot), rules.patience(snapshot.status))


def _reminds_at(snapshot: Snapshot, rules: Rules) -> datetime:
    is_trouble = snapshot.stalled_at is not None or snapshot.status == _FAILED
    if not is_trouble or snapshot.told_at is None:
        return _NEVER
    return _after(snapshot.told_at, rules.remind_every)


def _after(time: datetime, wait: timedelta) -> datetime:
    """Return when a wait is over; a wait of zero never is."""
    try:
        return time + wait if wait > timedelta(0) else _NEVER
    except OverflowError:
        return _NEVER


def _tell_failed(change: Change, *, origin: Origin, now: datetime) -> Change:
    snapshot = change.snapshot
    lasted = max(timedelta(0), now - snapshot.status_since)
    return announced(
        change,
        _FAILED_TYPE,
        summary=say_failed_still(change.details, origin.job_id, lasted=lasted),
        origin=origin,
        now=now,
        previous_status=snapshot.status,
        again=True,
    )
