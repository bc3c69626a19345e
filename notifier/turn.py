"""A long computation's turn on the event loop."""

import asyncio
import time

_LASTS_SECONDS = 0.005


class Turn:
    """Lets others run, whenever asked to and the computation has had the loop for five milliseconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def pass_on(self) -> None:
        """Return at once, or after everything else that was ready has run."""
        if time.perf_counter() - self._began > _LASTS_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
