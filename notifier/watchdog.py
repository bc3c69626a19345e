"""Ends a process that no longer answers: a hang would be silence, and people act on silence."""

import asyncio
import os
import select
import threading
from collections.abc import Callable, Hashable, Mapping
from types import TracebackType
from typing import Self

_TICKS = 60
"""So many fit into the time for which the loop may be silent."""

UnderWay = Callable[[], Mapping[Hashable, tuple[str, float]]]
"""Returns what is under way: what it is, and how many seconds it may take."""


class StuckError(Exception):
    """Something has been under way for longer than it can take: the process must end."""


class Watchdog:
    """Watches what is under way, and from a thread the event loop itself.

    While its context lasts, a loop that is not heard of for `loop_seconds` ends the process with exit code 1.
    Time in which the whole process stood still, as on a machine that slept, counts as one tick.
    Until `run` watches it may take `start_seconds`: a large state on a slow disk is read as a whole.
    """

    def __init__(
        self, *, loop_seconds: float = 60.0, looks_every_seconds: float = 5.0, start_seconds: float = 600.0
    ) -> None:
        self._tick_seconds = loop_seconds / _TICKS
        self._looks_every = looks_every_seconds
        self._ticks = _TICKS - round(start_seconds / self._tick_seconds)
        self._stuck = "it no longer answers"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch the loop."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._over.set()
        self._thread.join()

    async def run(self, under_way: UnderWay) -> None:
        """Watch until cancelled. Raises StuckError when something takes longer than it can."""
        seen: dict[Hashable, int] = {}
        while True:
            self._ticks = 0
            now = under_way()
            seen = {token: seen.get(token, -1) + 1 for token in now}
            for token, (what, longest_seconds) in now.items():
                if seen[token] * self._looks_every > longest_seconds:
                    self._stuck = f"{what} has not ended for {longest_seconds:.0f} s"
                    raise StuckError(
                        f"{self._stuck}. Nothing is lost: what was not done is done after the next start"
                    )
            await asyncio.sleep(self._looks_every)

    def _tick(self) -> None:
        while not self._over.wait(self._tick_seconds):
            self._ticks += 1
            if self._ticks > _TICKS:
                self._end()

    def _end(self) -> None:
        # Not by logging: whoever hangs may hold its lock. A pipe that nobody reads may be why it hangs.
        try:
            if select.select([], [2], [], 0)[1]:
                os.write(2, f"notifier: {self._stuck}; the process is ended, nothing is lost\n".encode())
        finally:
            os._exit(1)
