"""One target's deliveries, attempted: each outcome is committed after the send, never before."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from notifier.duration import spell_duration
from notifier.lanes import Lane, RetryPolicy, Waiting, judge
from notifier.model import Delivery, Event, JobKey, JobRecord, SendError, Target, utc_now
from notifier.outbox import settle
from notifier.state import State
from notifier.summary import one_line

_log = logging.getLogger(__name__)


class Dispatcher:
    """Works off the lane of one target.

    With `once` each delivery is attempted at most one time, and `run` returns when nothing is due.
    """

    def __init__(
        self,
        target: Target,
        *,
        state: State,
        retry: RetryPolicy,
        once: bool = False,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = target.name
        self.failures = 0
        """Attempts that failed since the start."""
        self._target = target
        self._state = state
        self._retry = retry
        self._once = once
        self._now = now
        self._chance = chance
        self._lane = Lane(target.concurrency, target.interval.total_seconds())
        self._wake = asyncio.Event()
        self._stopping = False

    def __len__(self) -> int:
        """Return how many deliveries are still to be made."""
        return len(self._lane)

    def add(self, key: JobKey, delivery_id: str) -> None:
        """Queue a new delivery, stored as pending, behind the earlier ones of its job."""
        self._lane.add(Waiting(key, delivery_id, time.monotonic()))
        self._wake.set()

    def resume(self, key: JobKey, delivery: Delivery) -> None:
        """Queue a delivery that an earlier process left; what the target asked that one for still holds."""
        self._lane.add(Waiting(key, delivery.id, self._clock_time(delivery.next_attempt_at)))
        self._lane.hold(self._clock_time(delivery.held_until))
        self._wake.set()

    def _clock_time(self, at: datetime | None) -> float:
        """Return a time in seconds of the monotonic clock; the present for None and for what is over."""
        wait = timedelta(0) if at is None else max(timedelta(0), at - self._now())
        return time.monotonic() + wait.total_seconds()

    def stop(self) -> None:
        """Start no further attempt; `run` returns when those under way have ended."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Attempt what is due, until stopped. Raises StoreError, in a group, when the state fails."""
        async with asyncio.TaskGroup() as attempts:
            while not self._stopping:
                for waiting in self._lane.take(time.monotonic()):
                    attempts.create_task(self._attempt(waiting), name=f"attempt {waiting.delivery_id}")
                if self._once and self._lane.is_idle(time.monotonic()):
                    return
                await self._something_to_do()

    async def _something_to_do(self) -> None:
        due = self._lane.next_due()
        wait = None if due is None or math.isinf(due) else max(0.0, due - time.monotonic())
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _attempt(self, waiting: Waiting) -> None:
        event, delivery = self._find(waiting)
        what = f"{one_line(event.type, 100)} ({event.id})"
        started = time.monotonic()
        error = await self._send(event)
        ended, now = time.monotonic(), self._now()
        outcome, tried = judge(delivery, error, policy=self._retry, now=now, chance=self._chance())
        await self._state.commit(jobs={waiting.job: partial(_settle, delivery=tried)})
        if outcome == "delivered":
            _log.info("%s: delivered %s in %.0f ms", self.name, what, (ended - started) * 1000)
            self._lane.finish(waiting)
        elif outcome == "dead":
            self.failures += 1
            _log.error("%s: gave up %s: %s", self.name, what, tried.last_error)
            self._lane.finish(waiting)
        else:
            self.failures += 1
            wait = (tried.next_attempt_at or now) - now
            _log.warning(
                "%s: attempt %d of %s failed: %s; next in %s",
                *(self.name, tried.attempts, what, tried.last_error, spell_duration(wait)),
            )
            self._lane.retry(waiting, math.inf if self._once else ended + wait.total_seconds())
        if error is not None and error.retry_after is not None:
            self._lane.hold(ended + error.retry_after.total_seconds())
        self._wake.set()

    async def _send(self, event: Event) -> SendError | None:
        try:
            await self._target.send(event)
        except SendError as error:
            return error
        except Exception as error:  # noqa: BLE001 - one bad message must not stop the service
            return SendError(f"{type(error).__name__} {_place(error)}", outcome_unknown=True)
        return None

    def _find(self, waiting: Waiting) -> tuple[Event, Delivery]:
        record = self._state.records.job(waiting.job)
        if record is None:
            raise LookupError(f"no record of the job of delivery {waiting.delivery_id}")
        delivery = next(d for d in record.deliveries if d.id == waiting.delivery_id)
        return next(e for e in record.events if e.id == delivery.event_id), delivery


def _settle(record: JobRecord | None, *, delivery: Delivery) -> JobRecord:
    if record is None:
        raise LookupError(f"no record of the job of delivery {delivery.id}")
    return settle(record, delivery)


def _place(error: BaseException) -> str:
    """Return where an unexpected error was raised; never its text, which may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
