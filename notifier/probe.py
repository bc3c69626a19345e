"""Whether a target works, judged by its last attempts: one that fails is probed, not hammered. Pure."""

import math

_FAILURES_IN_A_ROW = 3
_LONGEST_SECONDS = 60.0


class Probe:
    """After three failures in a row a target is probed: one attempt at a time, at growing distances.

    The distance doubles from the first retry's wait to a minute; it is never longer than the longest
    retry's, and never shorter than the first one's. One success ends it.
    """

    def __init__(self, *, first_seconds: float = 0.0, longest_seconds: float = 0.0) -> None:
        self._first = min(first_seconds, longest_seconds)
        self._longest = min(max(first_seconds, _LONGEST_SECONDS), longest_seconds)
        self._failures = 0
        self._doublings = 0
        self.active = False
        self.next_at = -math.inf
        """When the next attempt may start, as the caller counts time."""

    def hurry(self) -> None:
        """Let the next attempt start at once."""
        self.next_at = -math.inf

    def succeeded(self) -> bool:
        """Note that an attempt succeeded; return whether that ended the probing."""
        ended, self.active = self.active, False
        self._failures = self._doublings = 0
        self.next_at = -math.inf
        return ended

    def failed(self, now: float, *, probing: bool) -> bool:
        """Note that an attempt failed; return whether the probing begins now.

        `probing` says that the attempt was started while probing: those that were already under way when
        it began say nothing new.
        """
        if not self.active:
            self._failures += 1
            self.active = self._failures >= _FAILURES_IN_A_ROW
            if self.active:
                self.next_at = now + self._first
            return self.active
        if probing:
            self._doublings += 1
            # Bounded before it is raised: a float has an end.
            self.next_at = now + min(self._longest, self._first * 2.0 ** min(self._doublings, 60))
        return False
