"""Which card is looked at next, and when: pure."""

import heapq
import math
from itertools import count

from notifier.model import JobKey
from notifier.spacing import Allowance


class Edits:
    """The cards that may no longer be true; each is asked for once, however often its job changes.

    Those of events go first, in the order they are asked for; the others when they are due, the one that is
    due longest first, and only while the allowance leaves enough for events. Times are seconds of the
    monotonic clock.
    """

    def __init__(self, allowance: Allowance, *, spare: int) -> None:
        self._allowance = allowance
        self._spare = spare
        self._order = count()
        self._events: dict[JobKey, None] = {}
        self._due: dict[JobKey, float] = {}
        self._heap: list[tuple[float, int, JobKey]] = []
        self._rest_until = -math.inf

    def __len__(self) -> int:
        """Return how many cards are asked for."""
        return len(self._events) + len(self._due)

    def ask_for_event(self, job: JobKey) -> None:
        """Have a card looked at as soon as may be: something happened to its job."""
        self._due.pop(job, None)
        self._events[job] = None

    def ask(self, job: JobKey, due: float) -> None:
        """Have a card looked at when it is due, or before if that was asked for."""
        if job not in self._events and due < self._due.get(job, math.inf):
            self._due[job] = due
            heapq.heappush(self._heap, (due, next(self._order), job))

    def put_off(self, job: JobKey, due: float) -> None:
        """Have a card looked at when it is due and not before, whatever was asked for."""
        self._events.pop(job, None)
        self._due.pop(job, None)
        self.ask(job, due)

    def next_due(self) -> float | None:
        """Return when `take` may next return something; None is never."""
        if self._events:
            return max(self._rest_until, self._allowance.next_at())
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap:
            return None
        return max(self._heap[0][0], self._rest_until, self._allowance.next_at(spare=self._spare))

    def take(self, now: float) -> JobKey | None:
        """Return the job whose card is to be looked at now; it is no longer asked for."""
        due = self.next_due()
        if due is None or due > now:
            return None
        if self._events:
            job = next(iter(self._events))
            del self._events[job]
        else:
            job = heapq.heappop(self._heap)[2]
            del self._due[job]
        return job

    def rest(self, until: float) -> None:
        """Look at nothing before this: edits fail."""
        self._rest_until = max(self._rest_until, until)

    def rest_no_more(self) -> None:
        """Look again at once: edits may work again."""
        self._rest_until = -math.inf
