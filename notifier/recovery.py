"""Refused credentials, tried again until they work: no message is spent on that."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from notifier.sending import SendError, Target

_LONGEST_LOOK_SECONDS = 60.0


class Recovery:
    """Looks whether a target's credentials work again: at distances that double from `first` to a minute.

    It looks every minute at least.
    """

    def __init__(self, target: Target, *, first: timedelta) -> None:
        self._target = target
        self._first_seconds = min(first.total_seconds(), _LONGEST_LOOK_SECONDS)
        self._urged = asyncio.Event()
        self._stopped = asyncio.Event()
        self._took_good_for_good = False

    def urge(self) -> None:
        """Have it look at once: somebody expects that they work."""
        self._urged.set()

    def stop(self) -> None:
        """Have `wait` return."""
        self._stopped.set()
        self._urged.set()

    def worked(self) -> None:
        """Note that the target took something: its credentials are good."""
        self._took_good_for_good = False

    async def wait(self, longest: timedelta) -> bool:
        """Return when credentials that were refused work again, or after this time; whether it was these.

        Those that a look finds good may have been mended before it. When they are refused all the same it
        is something else, which only time can mend.
        """
        deadline = time.monotonic() + longest.total_seconds()
        distance, refused = self._first_seconds, False
        self._urged.clear()
        while not self._stopped.is_set() and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(distance, left)):
                    await self._urged.wait()
            if self._stopped.is_set():
                break
            self._urged.clear()  # before the look: what it answers may be older than another urge
            works = await self._unless_stopped(self._look())
            if works and (refused or not self._took_good_for_good):
                self._took_good_for_good = not refused
                return True
            refused = refused or works is False
            distance = min(2 * distance, _LONGEST_LOOK_SECONDS)
        return refused

    async def _look(self) -> bool | None:
        """Return whether the credentials work; None when nobody can tell."""
        try:
            await self._target.probe()
        except SendError as error:
            return False if error.credentials else None
        except Exception:  # noqa: BLE001 - as an attempt, a look must not stop the service
            return None
        return True

    async def _unless_stopped(self, look: Coroutine[Any, Any, bool | None]) -> bool | None:
        looking, stopping = asyncio.create_task(look), asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (looking, stopping):
                task.cancel()
            await asyncio.gather(looking, stopping, return_exceptions=True)
        return None if looking.cancelled() else looking.result()
