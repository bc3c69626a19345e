"""When things happen: APScheduler, kept honest by the monotonic clock."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

_LOOK_EVERY_SECONDS = 2.0
_LATE_SECONDS = 1.0
_DEAD_SECONDS = 30.0

Action = Callable[[], Awaitable[timedelta]]
"""Does something and returns how long to wait until it is to be done again."""


class Clock:
    """Repeats actions, each at its own pace, never two runs of one at once."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # A run is never skipped for being late: no poll may be lost to a busy or sleeping machine. After a
        # sleep one may be due twice; the second finds that it is not, which is no reason for a warning.
        defaults = {"misfire_grace_time": None, "max_instances": 2}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._actions: dict[str, Action] = {}
        self._due: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._looked_at = self._monotonic()
        self._ended = False

    def repeat(self, name: str, action: Action, *, after: timedelta = timedelta(0)) -> None:
        """Have an action run, as soon as `run` is called or after a wait, and again after each it returns."""
        self._actions[name] = action
        self._schedule(name, after)

    async def forget(self, name: str) -> None:
        """Repeat an action no more; a run of it that is under way is cancelled, and has ended on return."""
        self._actions.pop(name, None)
        if self._due.pop(name, None) is not None:
            with contextlib.suppress(
                JobLookupError
            ):  # it may be about to run; it will find that it is not due
                self._scheduler.remove_job(name)
        if (task := self._running.get(name)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> None:
        """Run the actions until cancelled. Raises what an action raised: nothing dies silently."""
        self._scheduler.start()
        try:
            while self._failure is None:
                self._look_for_late_runs()
                try:
                    async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                        await self._failed.wait()
                except TimeoutError:
                    pass
            raise self._failure
        finally:
            self._ended = True
            self._scheduler.pause()
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._scheduler.shutdown(wait=False)

    def fault(self) -> str | None:
        """Return why it no longer does what is due; None while it does."""
        if self._ended:
            return "it ended"
        now = self._monotonic()
        if (silent := now - self._looked_at) > _DEAD_SECONDS:
            return f"it has not looked for {silent:.0f} s what is due"
        name, due = min(self._due.items(), key=lambda each: each[1], default=("", now))
        return f"{name} has been due for {now - due:.0f} s" if now - due > _DEAD_SECONDS else None

    def _schedule(self, name: str, wait: timedelta) -> None:
        self._due[name] = self._monotonic() + wait.total_seconds()
        self._start_after(name, wait)

    def _start_after(self, name: str, wait: timedelta) -> None:
        self._scheduler.add_job(
            self._run, "date", run_date=datetime.now(UTC) + wait, args=[name], id=name, replace_existing=True
        )

    def _look_for_late_runs(self) -> None:
        # The scheduler goes by the wall clock: set back an hour, it would stay silent for an hour.
        self._looked_at = self._monotonic()
        for name, due in self._due.items():
            if self._looked_at > due + _LATE_SECONDS:
                self._start_after(name, timedelta(0))

    async def _run(self, name: str) -> None:
        if self._due.pop(name, None) is None:
            return  # it was late, was run for that, and is now run again
        task = asyncio.current_task()
        if task is not None:
            self._running[name] = task
        try:
            wait = await self._actions[name]()
            if name not in self._actions:
                return  # it was forgotten meanwhile
        except asyncio.CancelledError:
            pass  # only the end of `run` cancels; the scheduler would log it as an error of the action
        except Exception as error:  # noqa: BLE001 - the scheduler would swallow it; `run` raises it
            self._failure = self._failure or error
            self._failed.set()
        else:
            self._schedule(name, wait)
        finally:
            self._running.pop(name, None)
