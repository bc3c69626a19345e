"""Which job is to be looked at although nothing of it changes, and when: pure."""

import heapq
from collections.abc import Iterator
from datetime import datetime


class Agenda:
    """At most one time for each job."""

    def __init__(self) -> None:
        self._due: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the jobs that have a time."""
        return iter(list(self._due))

    def put(self, job_id: str, due: datetime | None) -> None:
        """Have a job looked at at this time and not before, whatever was put before; None is never."""
        if due is None:
            self._due.pop(job_id, None)
        elif self._due.get(job_id) != due:
            self._due[job_id] = due
            heapq.heappush(self._heap, (due, job_id))
            if len(self._heap) > 2 * len(self._due) + 1000:
                self._heap = [(time, each) for each, time in self._due.items()]
                heapq.heapify(self._heap)

    def due(self, now: datetime) -> list[str]:
        """Return the jobs whose time has come; they have none any more."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            time, job_id = heapq.heappop(self._heap)
            if self._due.get(job_id) == time:
                del self._due[job_id]
                found.append(job_id)
        return found
