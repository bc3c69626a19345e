"""How often something may be done, counted by the monotonic clock in seconds: pure."""

import math


class Allowance:
    """So many a minute, with some at once after a rest; whoever shares it holds the same object."""

    def __init__(self, *, per_minute: float, burst: int) -> None:
        self._period = 60.0 / per_minute
        self._burst = burst
        self._next_at_rate = -math.inf
        """When the next would be due if all so far had been spread evenly."""
        self._held_until = -math.inf

    def next_at(self, *, spare: int = 0) -> float:
        """Return when the next is allowed, if so many are still to be left for others then."""
        at_once = self._burst - 1 - spare
        return max(self._held_until, self._next_at_rate - at_once * self._period)

    def take(self, now: float) -> None:
        """Count one."""
        self._next_at_rate = max(self._next_at_rate, now) + self._period

    def hold(self, until: float) -> None:
        """Allow nothing before this: the other side asked for it."""
        self._held_until = max(self._held_until, until)


class Spacing:
    """Nothing starts sooner than the interval after the one before has started and has ended.

    `shared` bounds how many start, together with all others that share it.
    """

    def __init__(self, interval_seconds: float = 0.0, *, shared: Allowance | None = None) -> None:
        self._interval = interval_seconds
        self._shared = shared
        self._next_at = -math.inf

    def next_at(self) -> float:
        """Return when the next may start."""
        return self._next_at if self._shared is None else max(self._next_at, self._shared.next_at())

    def started(self, now: float) -> None:
        """Note that one starts."""
        self.ended(now)
        if self._shared is not None:
            self._shared.take(now)

    def ended(self, now: float) -> None:
        """Note that one has ended just now."""
        if self._interval:
            self._next_at = max(self._next_at, now + self._interval)
