"""What waits in a target's lane, and what of it goes together."""

from datetime import datetime, timedelta

import msgspec

from notifier.model import Delivery, RecordKey

Queue = tuple[RecordKey, str]
"""Of a job, or of the events of a source that are about none; a replay has one of its own."""


class Waiting(msgspec.Struct, frozen=True):
    """A pending delivery in a lane."""

    key: RecordKey
    """Of the record that holds it."""
    delivery_id: str
    due: float
    """Not before this, in seconds of the monotonic clock."""
    fresh: bool = True
    """Never attempted: it may still be grouped with others."""
    replay: bool = False
    """It waits for no other delivery, and no other waits for it."""
    cut_off: bool = False
    """An earlier process may have ended in the middle of an attempt."""
    loud: bool = False
    """It goes also when it is quiet."""
    held: bool = False
    """It was made when it was quiet, in an earlier process, and never attempted."""

    @property
    def queue(self) -> Queue:
        """What it stands in line with."""
        return self.key, self.delivery_id if self.replay else ""


class Batch(msgspec.Struct, frozen=True):
    """Deliveries that are attempted together, always the same ones: most often a single one."""

    members: tuple[Waiting, ...]
    probing: bool = False
    """Whether this attempt finds out if the target works again."""


def waiting_for(
    key: RecordKey,
    delivery: Delivery,
    *,
    now: datetime,
    seconds: float,
    longest: timedelta,
    cut_off: bool = False,
) -> Waiting:
    """Return what stands in a lane for a stored delivery, due at its next attempt but in `longest` at most.

    `seconds` is the present of the monotonic clock. A replay that was not attempted is due before all others.
    """
    wait = timedelta(0) if delivery.next_attempt_at is None else delivery.next_attempt_at - now
    due = seconds + min(max(timedelta(0), wait), longest).total_seconds()
    return Waiting(
        key,
        delivery.id,
        0.0 if delivery.replay and not delivery.attempts else due,
        fresh=delivery.attempts == 0,
        replay=delivery.replay,
        cut_off=cut_off,
    )
