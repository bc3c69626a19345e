"""What waits for one target, and when it may go: its lane, its quiet hours, its pauses."""

import logging
import math
import time
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from notifier.hours import QuietHours
from notifier.lanes import Lane
from notifier.model import Delivery, RecordKey
from notifier.pauses import Pauses
from notifier.probe import Probe
from notifier.quiet import QuietSettings
from notifier.records import Records
from notifier.retry import RetryPolicy
from notifier.sending import Target
from notifier.shipping import find
from notifier.waiting import Batch, Waiting, waiting_for

_log = logging.getLogger(__name__)


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """How deliveries are made: by which target, how often they are tried, and when it is left in peace."""

    target: Target
    retry: RetryPolicy
    quiet: QuietSettings | None
    place: Hashable = None
    """Where the target is: a pause that it asked for is of that place."""

    def lane(self, *, once: bool) -> Lane:
        """Return an empty lane of the target; with `once` a target that fails is not probed."""
        probe = Probe(
            first_seconds=self.retry.first_retry.total_seconds(),
            longest_seconds=self.retry.max_retry.total_seconds(),
        )
        return Lane(
            self.target.concurrency,
            spacing=self.target.spacing,
            grouping=self.target.grouping,
            probe=Probe() if once else probe,
        )


class Line:
    """Has the lane of a target, and makes of what is stored what waits in it."""

    def __init__(
        self, assignment: Assignment, *, records: Records, once: bool, now: Callable[[], datetime]
    ) -> None:
        self._records = records
        self._once = once
        self._now = now
        self._pauses = Pauses()
        self._take_up(assignment)

    def _take_up(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.lane = assignment.lane(once=self._once)
        self._hours = QuietHours(assignment.quiet)

    def add(self, key: RecordKey, delivery_id: str) -> None:
        """Queue a new delivery, stored as pending, behind the earlier ones of its job."""
        waiting = Waiting(key, delivery_id, time.monotonic())
        self.lane.add(replace(waiting, loud=self._is_loud(waiting)))

    def resume(self, key: RecordKey, delivery: Delivery) -> None:
        """Queue a stored delivery; a pause that the target asked an earlier process for still holds."""
        waiting = self._waiting(key, delivery)
        held = not waiting.loud and self._hours.held(delivery)
        self.lane.add(replace(waiting, held=held))
        self._hold_on(delivery)

    def restore(self, members: Sequence[tuple[RecordKey, Delivery]]) -> None:
        """Queue a batch that an earlier process left, before the later deliveries of its jobs."""
        self.lane.restore(tuple(self._waiting(key, delivery, cut_off=True) for key, delivery in members))
        for _, delivery in members:
            self._hold_on(delivery)

    def exchange(self, new: Assignment) -> None:
        """Have what waits go by another assignment, while nothing is under way.

        What waits for a retry may go at once. A pause that the target asked for holds on at the same place.
        """
        held_until, batches, now = self.lane.held_until, self.lane.drain(), time.monotonic()
        same_place = new.place == self.assignment.place
        self._take_up(new)
        if same_place:
            self.lane.hold(held_until)
        for batch in batches:
            members = tuple(
                replace(member, due=min(member.due, now), loud=self._is_loud(member))
                for member in batch.members
            )
            if len(members) > 1 and new.target.grouping is not None:
                self.lane.restore(members)
            else:
                for member in members:
                    self.lane.add(member)

    def pause(self, length: timedelta) -> None:
        """Start nothing for this long: the target asked to be left alone."""
        if length > timedelta(0):
            now = self._now()
            self.lane.hold(time.monotonic() + length.total_seconds())
            self._pauses.add(now, now + length)

    def keep_quiet(self) -> None:
        """Let only what is loud go while it is quiet, and everything again afterwards; the log tells it."""
        until = self._hours.until(self._now())
        if until is not None:
            self.lane.set_quiet(True)
        if (news := self._hours.news(until, lambda: self.lane.asleep)) is not None:
            _log.info("%s: %s", self.assignment.target.name, news)
        if until is None:
            self.lane.set_quiet(False)

    def wait_seconds(self) -> float | None:
        """Return after how long something may be due, if nothing changes before; None is never."""
        due = self.lane.next_due()
        wait = None if due is None or math.isinf(due) else max(0.0, due - time.monotonic())
        if (look_after := self._hours.look_after(self._now())) is not None:
            wait = min(look_after.total_seconds(), math.inf if wait is None else wait)
        return wait

    def paused(self, since: datetime, now: datetime) -> timedelta:
        """Return for how long of a time the target had asked to be left alone."""
        return self._pauses.within(since, now)

    def quiet(self, batch: Batch, since: datetime, now: datetime) -> timedelta:
        """Return how long of a time a batch was held because it was quiet, beside the target's own pauses."""
        if all(member.loud for member in batch.members):
            return timedelta(0)
        return self._hours.within(since, now, pauses=self._pauses.shares(since, now))

    def _hold_on(self, delivery: Delivery) -> None:
        if delivery.held_until is not None:
            # Never for longer than it was asked for: the clock may have been set back since.
            self.pause(min(delivery.held_until - self._now(), delivery.held))

    def _waiting(self, key: RecordKey, delivery: Delivery, *, cut_off: bool = False) -> Waiting:
        # No wait is longer: more is a clock that was set back, or asked for, and that holds the whole lane.
        longest = 1.5 * self.assignment.retry.max_retry
        waiting = waiting_for(
            key, delivery, now=self._now(), seconds=time.monotonic(), longest=longest, cut_off=cut_off
        )
        return replace(waiting, loud=self._is_loud(waiting))

    def _is_loud(self, waiting: Waiting) -> bool:
        if waiting.replay:
            return True  # a person who has it sent again waits for it, at whatever hour
        if not self._hours.excepts_any:
            return False
        event = find(self._records, waiting)[1]
        return self._hours.excepts(event.type) and not event.again  # who sleeps knows it already
