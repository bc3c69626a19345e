"""When a target was left alone because it asked for it: pure."""

from datetime import datetime, timedelta

_REMEMBERED = 1000


class Pauses:
    """The times in which nothing was attempted, in their order; only the last thousand are remembered."""

    def __init__(self) -> None:
        self._pauses: list[tuple[datetime, datetime]] = []

    def add(self, start: datetime, end: datetime) -> None:
        """Note a pause that begins now; one that is not over yet is only prolonged."""
        if self._pauses and start <= self._pauses[-1][1]:
            begun, last = self._pauses.pop()
            start, end = min(begun, start), max(last, end)
        self._pauses = [*self._pauses[1 - _REMEMBERED :], (start, end)]

    def shares(self, since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
        """Return what of a time was pause."""
        shares = ((max(since, start), min(until, end)) for start, end in self._pauses)
        return [(start, end) for start, end in shares if start < end]

    def within(self, since: datetime, until: datetime) -> timedelta:
        """Return how much of a time was pause."""
        return sum((end - start for start, end in self.shares(since, until)), timedelta(0))
