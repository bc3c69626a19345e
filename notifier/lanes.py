"""A target's lane: what may be attempted now, in which order, and when to try again. Pure."""

import heapq
import math
from collections import deque
from datetime import datetime, timedelta
from itertools import count
from typing import Literal

import msgspec

from notifier.model import Delivery, JobKey, SendError


class Waiting(msgspec.Struct, frozen=True):
    """A pending delivery in a lane."""

    job: JobKey
    delivery_id: str
    due: float
    """Not before this, in seconds of the monotonic clock."""


class Lane:
    """The pending deliveries of one target.

    Of one job only the oldest delivery is ever attempted, and only once at a time;
    up to `concurrency` different jobs are attempted side by side, the longest due first,
    and no attempt starts sooner than `interval_seconds` after the one before.
    """

    def __init__(self, concurrency: int, interval_seconds: float = 0.0) -> None:
        self._concurrency = concurrency
        self._interval = interval_seconds
        self._spaced_until = -math.inf
        self._held_until = -math.inf
        self._queues: dict[JobKey, deque[Waiting]] = {}
        self._heads: list[tuple[float, int, JobKey]] = []
        self._order = count()
        self._under_way: set[JobKey] = set()

    def __len__(self) -> int:
        """Return how many deliveries wait or are under way."""
        return sum(map(len, self._queues.values()))

    def add(self, waiting: Waiting) -> None:
        """Queue a delivery behind the earlier ones of its job."""
        queue = self._queues.setdefault(waiting.job, deque())
        queue.append(waiting)
        if len(queue) == 1:
            self._offer(waiting)

    def take(self, now: float) -> list[Waiting]:
        """Return what is to be attempted now; each must come back by `finish` or `retry`."""
        taken = []
        while (due := self.next_due()) is not None and due <= now:
            if self._interval:
                self._spaced_until = now + self._interval
            _, _, job = heapq.heappop(self._heads)
            self._under_way.add(job)
            taken.append(self._queues[job][0])
        return taken

    def finish(self, waiting: Waiting) -> None:
        """Take a delivery out: it was delivered, or given up; the job's next one may go."""
        self._under_way.remove(waiting.job)
        queue = self._queues[waiting.job]
        queue.popleft()
        if queue:
            self._offer(queue[0])
        else:
            del self._queues[waiting.job]

    def retry(self, waiting: Waiting, due: float) -> None:
        """Have a delivery attempted again, not before `due`; the job's later ones wait behind it."""
        self._under_way.remove(waiting.job)
        self._queues[waiting.job][0] = again = Waiting(waiting.job, waiting.delivery_id, due)
        self._offer(again)

    def next_due(self) -> float | None:
        """Return when `take` may next return something without anything coming back before; None is never."""
        if not self._heads or len(self._under_way) >= self._concurrency:
            return None
        return max(self._heads[0][0], self._spaced_until, self._held_until)

    def hold(self, until: float) -> None:
        """Start nothing before this: the target asked to be left alone."""
        self._held_until = max(self._held_until, until)

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is under way and nothing is due, but for what only the interval delays."""
        return not self._under_way and (not self._heads or max(self._heads[0][0], self._held_until) > now)

    def _offer(self, waiting: Waiting) -> None:
        heapq.heappush(self._heads, (waiting.due, next(self._order), waiting.job))


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a failed delivery is tried again (contract, section 4.4)."""

    first_retry: timedelta
    max_retry: timedelta
    give_up_after: timedelta


Outcome = Literal["delivered", "retry", "dead"]


def judge(
    delivery: Delivery, error: SendError | None, *, policy: RetryPolicy, now: datetime, chance: float
) -> tuple[Outcome, Delivery]:
    """Return what an attempt that just ended makes of its delivery.

    `chance`, from 0 to 1, is the jitter: 0 is half the nominal wait, 1 is one and a half times it.
    """
    first = delivery.first_attempt_at or now
    tried = msgspec.structs.replace(
        delivery,
        attempts=delivery.attempts + 1,
        first_attempt_at=first,
        next_attempt_at=None,
        held_until=None,
        last_error=None if error is None else error.reason,
    )
    if error is None:
        return "delivered", msgspec.structs.replace(tried, state="delivered", ended_at=now)
    if error.permanent or now - first - delivery.held >= policy.give_up_after:
        return "dead", msgspec.structs.replace(tried, state="dead", ended_at=now)
    wait = backoff(tried.attempts, policy, chance)
    if error.retry_after is not None:
        wait = max(wait, error.retry_after)
        held = delivery.held + error.retry_after
        tried = msgspec.structs.replace(tried, held_until=now + error.retry_after, held=held)
    return "retry", msgspec.structs.replace(tried, next_attempt_at=now + wait)


def backoff(attempts: int, policy: RetryPolicy, chance: float) -> timedelta:
    """Return the wait after this many failed attempts: doubling from the first to the longest, jittered."""
    doublings = min(attempts - 1, 60)
    enough = policy.max_retry // policy.first_retry + 1  # to reach the longest; more could overflow
    nominal = min(policy.max_retry, policy.first_retry * min(1 << doublings, enough))
    return nominal * (0.5 + chance)
