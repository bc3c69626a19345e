"""The process as a service: its manager hears that it is ready, what it does, that it lives, and its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from notifier.supervisor import Supervisor
from notifier.vitals import Vitals

_LOOK_EVERY_SECONDS = 5.0
_STARTS_WITHIN_SECONDS = 60
"""From each look on: to read a large state takes long. A start that hangs is for the watchdog to end."""


class Service:
    """Tells the manager what is new and, while the vitals are good, that this process lives.

    What it did not take is told again with the next look.
    """

    def __init__(
        self, supervisor: Supervisor, vitals: Vitals, *, look_every_seconds: float = _LOOK_EVERY_SECONDS
    ) -> None:
        self._supervisor = supervisor
        self._vitals = vitals
        fed_within = supervisor.feed_within_seconds
        self._feed_every = None if fed_within is None else fed_within / 2
        # So often that one look may be late, or find dead what the next one finds alive.
        self._look_every = min(look_every_seconds, (self._feed_every or look_every_seconds) / 2)
        self._fed_at = time.monotonic()
        self._overview: Callable[[], str] | None = None
        self._is_stopping = False
        self._stage: Mapping[str, str] = {}
        """What it has come to, if the manager does not know it yet."""
        self._status = ""

    def ready(self, overview: Callable[[], str]) -> None:
        """Tell that the start is over; from now on `overview` returns what this process does."""
        self._overview = overview
        self._come_to({"READY": "1"})

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that the config is read again, for as long as the context lasts."""
        self._come_to({"RELOADING": "1", "MONOTONIC_USEC": str(time.monotonic_ns() // 1000)})
        try:
            yield
        finally:
            if not self._is_stopping:
                self._come_to({"READY": "1"})

    def stopping(self) -> None:
        """Tell that the process is about to end."""
        self._is_stopping = True
        self._overview = lambda: "stopping: attempts under way may end"
        self._come_to({"STOPPING": "1"})

    async def run(self) -> None:
        """Tell what is to be told, until cancelled; return at once when nobody listens."""
        while self._supervisor.listens:
            self._look()
            await asyncio.sleep(self._look_every)

    def _come_to(self, stage: Mapping[str, str]) -> None:
        self._stage = stage
        self._look()

    def _look(self) -> None:
        message, faults = dict(self._stage), self._vitals.faults()
        if self._overview is None:
            status = "reading the state"
            message["EXTEND_TIMEOUT_USEC"] = str(_STARTS_WITHIN_SECONDS * 1_000_000)
        else:
            status = f"not working: {'; '.join(faults)}" if faults else self._overview()
        if status != self._status:
            message["STATUS"] = status
        now = time.monotonic()
        feeds = self._feed_every is not None and now - self._fed_at >= self._feed_every and not faults
        if feeds:
            message["WATCHDOG"] = "1"
        if message and self._supervisor.tell(message):
            self._stage, self._status = {}, status
            self._fed_at = now if feeds else self._fed_at


@asynccontextmanager
async def attended(supervisor: Supervisor, vitals: Vitals) -> AsyncIterator[Service]:
    """Yield the service, which tells its manager for as long as the context lasts."""
    service = Service(supervisor, vitals)
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(service.run(), name="service")
        try:
            yield service
        finally:
            telling.cancel()
