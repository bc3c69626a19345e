"""One request after the other, for all that share an API key."""

import asyncio
import math
import time

from notifier.spacing import Allowance


class Turnstile:
    """Lets requests start so far apart, in the order in which they were asked for, by the monotonic clock."""

    def __init__(self, apart_seconds: float) -> None:
        self._allowance = Allowance(per_minute=60.0 / apart_seconds, burst=1)
        self._first = asyncio.Lock()
        """Of whoever is next: a lock is given to those who wait for it in their order."""

    async def turn(self, longest_seconds: float = math.inf) -> float:
        """Return 0 when the next request may start, which it then has to; whoever gives up takes no turn.

        When the other side has asked for a longer pause than that, return at once how many seconds are left
        of it; that is no turn either.
        """
        async with self._first:
            # Looked at again after each wait: meanwhile the other side may have asked for a pause.
            while (wait := self._allowance.next_at() - time.monotonic()) > 0:
                if wait > longest_seconds:
                    return wait
                await asyncio.sleep(wait)
            self._allowance.take(time.monotonic())
            return 0.0

    def hold(self, seconds: float) -> None:
        """Let nothing start for this long from now: the other side asked for it."""
        self._allowance.hold(time.monotonic() + seconds)
