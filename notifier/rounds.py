"""When all sources have been good once more, and when one is down, in monotonic seconds: pure."""

import math
from collections.abc import Mapping
from typing import Literal

Verdict = Literal["good", "fail"]
"""`good`: a round is whole. `fail`: a source is down."""


class Rounds:
    """A round is whole once each source has had a good poll since the last one, and `every` has passed.

    A source is down when its polls have failed for its time in `down_after`; that is told once an outage.
    """

    def __init__(self, down_after_seconds: Mapping[str, float], *, every_seconds: float) -> None:
        self._down_after = dict(down_after_seconds)
        self._every = every_seconds
        self._good: set[str] = set()
        self._failing: dict[str, float] = {}
        """Since when, of sources that are not known to be down."""
        self._down: set[str] = set()
        self._not_before = -math.inf

    def polled(self, source: str, *, good: bool, now: float) -> None:
        """Note how a poll ended."""
        if source not in self._down_after:
            return  # it was just taken out
        if good:
            self._good.add(source)
            self._failing.pop(source, None)
            self._down.discard(source)
        elif source not in self._down:
            self._failing.setdefault(source, now)

    def next_at(self) -> float:
        """Return when there is something to tell, if nothing changes until then."""
        whole = self._not_before if self._good == self._down_after.keys() else math.inf
        return min((whole, *map(self._down_at, self._failing)))

    def take(self, now: float) -> Verdict | None:
        """Return what is to be told now; whoever asks has to tell it."""
        if down := {source for source in self._failing if self._down_at(source) <= now}:
            for source in down:
                del self._failing[source]
            self._down |= down
            self._good -= down  # to be told as good right after would take it back
            return "fail"
        if self.next_at() > now:
            return None
        self._good.clear()
        self._not_before = now + self._every
        return "good"

    def _down_at(self, source: str) -> float:
        return self._failing[source] + self._down_after[source]
