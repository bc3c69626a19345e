"""Refused credentials, tried again until they work: no message is spent on that."""

import asyncio
import contextlib
import time
from datetime import timedelta

from notifier.sending import SendError, Target

_LONGEST_LOOK_SECONDS = 60.0


class Recovery:
    """Looks whether a target's credentials work again: at distances that double from `first` to a minute."""

    def __init__(self, target: Target, *, first: timedelta) -> None:
        self._target = target
        self._first_seconds = first.total_seconds()
        self._urged = asyncio.Event()
        self._stopping = False

    def urge(self) -> None:
        """Have it look at once: somebody expects that they work."""
        self._urged.set()

    def stop(self) -> None:
        """Have `wait` return."""
        self._stopping = True
        self._urged.set()

    async def wait(self, longest: timedelta) -> None:
        """Return when credentials that were refused work again, or after this time.

        When they were good all along it is something else that was refused, which only time can mend.
        """
        deadline = time.monotonic() + longest.total_seconds()
        distance, refused = self._first_seconds, False
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._urged.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(distance, left)):
                    await self._urged.wait()
            if self._stopping:
                return
            try:
                await self._target.probe()
            except SendError as error:
                refused = refused or error.credentials
            else:
                if refused:
                    return
            distance = min(2 * distance, _LONGEST_LOOK_SECONDS)
