"""What it means that a job is not listed: pure (contract, section 3, `backfill.removed`)."""

from datetime import datetime

import msgspec

from notifier.announcement import Change, Origin, announced
from notifier.model import MISSED_POLLS, Snapshot, is_active
from notifier.summary import say_removed


def is_counted(snapshot: Snapshot) -> bool:
    """Return whether another good poll without the job would say something new of it."""
    return snapshot.missing_since is None or (is_active(snapshot.status) and not snapshot.is_removed)


def missed(change: Change, *, origin: Origin, now: datetime) -> Change:
    """Return the change of a job that a good poll did not list: it is told once an active one is removed."""
    snapshot = change.snapshot
    active = is_active(snapshot.status)
    polls = min(snapshot.missing_polls + 1, MISSED_POLLS) if active else 0
    change = msgspec.structs.replace(
        change,
        snapshot=msgspec.structs.replace(
            snapshot, missing_since=snapshot.missing_since or now, missing_polls=polls
        ),
    )
    if snapshot.is_removed or not change.snapshot.is_removed:
        return change
    return tell_removed(change, origin=origin, now=now)


def found(change: Change) -> Change:
    """Return the change of a job that may be listed all the same: the count begins anew."""
    snapshot = msgspec.structs.replace(
        change.snapshot,
        missing_since=None,
        missing_polls=MISSED_POLLS if change.snapshot.is_removed else 0,
    )
    return msgspec.structs.replace(change, snapshot=snapshot)


def tell_removed(change: Change, *, origin: Origin, now: datetime) -> Change:
    """Return the change with the event that says that its job is no longer listed."""
    status = change.snapshot.status
    return announced(
        change,
        "backfill.removed",
        summary=say_removed(change.details, origin.job_id, status=status),
        origin=origin,
        now=now,
        previous_status=status,
    )
