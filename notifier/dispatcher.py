"""One target's deliveries, attempted: each outcome is committed after the send, never before."""

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count

from msgspec.structs import replace

from notifier.attempt import attempt
from notifier.line import Assignment, Line
from notifier.model import Delivery, Event, OpenBatch, RecordKey, utc_now
from notifier.outbox import lose
from notifier.quiet import QuietSettings
from notifier.recovery import Recovery
from notifier.report import describe, report, tags_of
from notifier.retry import Outcome, RetryPolicy, judge
from notifier.sending import Receipt, SendError, Target
from notifier.settlement import Settlement, open_batch, without_batches
from notifier.shipping import find, ship
from notifier.state import State
from notifier.waiting import Batch

_log = logging.getLogger(__name__)

_SPARE = timedelta(seconds=30)


class Dispatcher:
    """Works off the lane of one target.

    With `once` each delivery is attempted at most one time (and one more alone, when it was refused
    together with others), and `run` returns when nothing is due.
    In `quiet` hours nothing is attempted but replays, excepted events, and the earlier ones of their jobs.
    `died` is called after each commit that made dead letters, `settled` after each attempt with the keys of
    the records whose deliveries these were, `attempted` after each one with what became of each delivery and
    its event, `heard` with source, target and what failed.
    """

    def __init__(
        self,
        target: Target,
        *,
        state: State,
        retry: RetryPolicy,
        quiet: QuietSettings | None = None,
        place: Hashable = None,
        once: bool = False,
        died: Callable[[], None] = lambda: None,
        settled: Callable[[Sequence[RecordKey]], None] = lambda _: None,
        attempted: Callable[[Sequence[tuple[Event, Delivery]]], None] = lambda _: None,
        heard: Callable[[str, str, SendError | None], None] = lambda *_: None,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = target.name
        self.failures = 0
        """Attempts that failed since the start."""
        self._state = state
        self._once = once
        self._died = died
        self._settled = settled
        self._attempted = attempted
        self._heard = heard
        self._now = now
        self._chance = chance
        self._numbers = count()
        self._under_way: dict[int, str] = {}
        self._busy: Counter[str] = Counter()
        """How many attempts of each source's deliveries are under way."""
        self._gone: set[str] = set()
        """The sources that are no longer configured."""
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopping = False
        self._next: Assignment | None = None
        assignment = Assignment(target=target, retry=retry, quiet=quiet, place=place)
        self._line = Line(assignment, records=state.records, once=once, now=now)
        self._recovery = Recovery(target, first=retry.first_retry)

    def __len__(self) -> int:
        """Return how many deliveries are still to be made."""
        return len(self._line.lane)

    @property
    def quiet(self) -> QuietSettings | None:
        """The target's quiet hours."""
        return self._line.assignment.quiet

    def add(self, key: RecordKey, delivery_id: str) -> None:
        """Queue a new delivery, stored as pending, behind the earlier ones of its job."""
        self._line.add(key, delivery_id)
        self._wake.set()

    def resume(self, key: RecordKey, delivery: Delivery) -> None:
        """Queue a stored delivery: what an earlier process left, or a replay, which goes before all others.

        A pause that the target asked the earlier process for still holds.
        """
        self._line.resume(key, delivery)
        if delivery.replay and not delivery.attempts:
            self._line.lane.hurry()
            self._recovery.urge()
        self._wake.set()

    def change(
        self,
        target: Target,
        *,
        retry: RetryPolicy,
        quiet: QuietSettings | None,
        place: Hashable = None,
    ) -> None:
        """Have all further attempts made by this target: as soon as those under way have ended.

        What waits for a retry is tried at once then; a pause that the target asked for holds on when the new
        one is at the same place.
        """
        self._next = Assignment(target=target, retry=retry, quiet=quiet, place=place)
        self._recovery.stop()
        self._wake.set()

    async def forget(self, source: str) -> None:
        """Drop what waits of a source that is gone; return when no attempt of it is under way any more."""
        self._gone.add(source)
        self._line.lane.drop(source)
        if self._busy[source]:
            self._recovery.stop()  # one of them may wait for credentials to be mended
            if self._next is None:
                self._recovery = self._new_recovery()
        while self._busy[source]:
            self._ended.clear()
            await self._ended.wait()

    def know(self, source: str) -> None:
        """Deliver for a source that may have been gone."""
        self._gone.discard(source)

    def resume_batch(self, members: Sequence[tuple[RecordKey, Delivery]]) -> None:
        """Queue a batch that an earlier process left, before the later deliveries of its jobs."""
        self._line.restore(members)
        self._wake.set()

    @property
    def _target(self) -> Target:
        return self._line.assignment.target

    def _new_recovery(self) -> Recovery:
        assignment = self._line.assignment
        return Recovery(assignment.target, first=assignment.retry.first_retry)

    def _limit(self) -> timedelta:
        """Return how long an attempt may take: a target ends it by itself, this is for one that does not."""
        return self._target.longest + _SPARE

    @property
    def takes_batches(self) -> bool:
        """Whether the target can be sent several events in one attempt."""
        return self._target.grouping is not None

    def under_way(self) -> Mapping[Hashable, tuple[str, float]]:
        """Return each attempt under way, with what it is and how many seconds it may take."""
        longest = (self._limit() + _SPARE).total_seconds()
        return {(self.name, number): (what, longest) for number, what in self._under_way.items()}

    def stop(self) -> None:
        """Start no further attempt; `run` returns when those under way have ended."""
        self._stopping = True
        self._wake.set()
        self._recovery.stop()

    async def run(self) -> None:
        """Attempt what is due, until stopped. Raises StoreError, in a group, when the state fails."""
        async with asyncio.TaskGroup() as attempts:
            while not self._stopping:
                if self._next is not None and not self._line.lane.under_way:
                    await self._exchange(self._next)
                self._line.keep_quiet()
                for batch in self._line.lane.take(time.monotonic()) if self._next is None else ():
                    self._busy[_source_of(batch)] += 1
                    attempts.create_task(self._attempt(batch), name=f"attempt for {self.name}")
                if self._once and self._line.lane.is_idle(time.monotonic()):
                    return
                await self._something_to_do()

    async def _exchange(self, new: Assignment) -> None:
        if self._target.grouping is not None and new.target.grouping is None:
            # What was fixed to go together will go alone; it must not go together after a restart.
            stored = self._state.records.sources().items()
            holders = [
                name for name, record in stored if any(each.target == self.name for each in record.batches)
            ]
            await self._state.commit(
                sources=dict.fromkeys(holders, partial(without_batches, target=self.name))
            )
        self._line.exchange(new)
        self._recovery = self._new_recovery()
        if self._next is new:
            self._next = None
        _log.info("%s: follows the changed config", self.name)

    async def _something_to_do(self) -> None:
        try:
            # While attempts are awaited before an exchange nothing is due.
            async with asyncio.timeout(None if self._next is not None else self._line.wait_seconds()):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _attempt(self, batch: Batch) -> None:
        found = [find(self._state.records, waiting) for waiting in batch.members]
        what, number = describe([event for _, event, _ in found]), next(self._numbers)
        fixed = await self._fix(batch)
        shipment = ship(self._state.records, batch, found)
        self._under_way[number] = f"an attempt of {what} for {self.name}"
        started = time.monotonic()
        try:
            receipt = await attempt(self._target, shipment, limit_seconds=self._limit().total_seconds())
        finally:
            del self._under_way[number]
        ended = time.monotonic()
        error = receipt if isinstance(receipt, SendError) else None
        if self._target.spacing is not None:
            self._target.spacing.ended(ended)
        if error is not None and error.retry_after is not None:
            self._line.pause(error.retry_after)  # from now on: the commit takes a while
        took = timedelta(seconds=ended - started)
        now = self._now()
        verdict = partial(
            judge,
            error=error,
            policy=self._line.assignment.retry,
            now=now,
            took=took,
            chance=self._chance(),
            paused=self._line.paused(found[0][2].first_attempt_at or now, now),
            quiet=self._line.quiet(batch, found[0][2].first_attempt_at or now, now),
            alone=len(found) == 1,
        )
        judged = [(key, event, *verdict(each)) for key, event, each in found]
        if self._is_lost(batch):
            judged = [
                each if each[3].state != "pending" else (*each[:2], "dead", lose(each[3], now=now))
                for each in judged
            ]
        outcome, tried = judged[0][2:]  # what is sent together was always attempted together
        wait = (tried.next_attempt_at or now) - now  # not by a later time: clocks are set back
        if error is not None and error.credentials:
            # Whoever starts the daemon again has mended them, most likely.
            judged = [(*each[:3], replace(each[3], next_attempt_at=None)) for each in judged]
        settlement = Settlement(
            deliveries=tuple((key, event, each) for key, event, _, each in judged),
            ended=None if outcome == "retry" else fixed,
            receipt=Receipt(card=receipt.card) if isinstance(receipt, SendError) else receipt,
        )
        await self._state.commit(jobs=settlement.job_updates(), sources=settlement.source_updates())
        level, line = report(
            what,
            outcome,
            tried,
            receipt,
            alone=len(found) == 1,
            took=took,
            wait=None if self._once else wait,
        )
        _log.log(level, "%s: %s", self.name, line, extra=tags_of(judged, receipt, took=took, wait=wait))
        self._attempted([(event, each) for _, event, each in settlement.deliveries])
        self._heard(_source_of(batch), self.name, error)
        self._settled([key for key, _, _ in found])
        due = time.monotonic() + wait.total_seconds()
        if error is not None and error.credentials and self._once:
            self.stop()
        elif error is not None and error.credentials and outcome == "retry" and not self._is_lost(batch):
            # A target of one attempt at a time is sent nothing else meanwhile: it would be refused as well.
            was_that = await self._recovery.wait(wait)
            due = 0.0 if was_that else time.monotonic()  # the first to go: the others need not find out, too
        self._go_on(batch, outcome, error, due)

    async def _fix(self, batch: Batch) -> OpenBatch | None:
        """Return what is stored of an attempt before it is made, where deliveries can be grouped.

        What goes together, or alone, must do so again after a crash: it may have arrived.
        """
        if self._target.grouping is None:
            return None
        source = _source_of(batch)
        fixed = OpenBatch(
            target=self.name, members=tuple((each.key[1], each.delivery_id) for each in batch.members)
        )
        record = self._state.records.source(source)
        if record is None or fixed not in record.batches:
            await self._state.commit(sources={source: partial(open_batch, batch=fixed)})
        return fixed

    def _is_lost(self, batch: Batch) -> bool:
        """Return whether nobody is to be told what a batch says: its source is no longer configured."""
        return _source_of(batch) in self._gone

    def _go_on(self, batch: Batch, outcome: Outcome, error: SendError | None, due: float) -> None:
        now = time.monotonic()
        if error is None:
            self._recovery.worked()
            if self._line.lane.succeeded():
                _log.info("%s: works again", self.name)
        else:
            self.failures += 1
            # A refusal is an answer: it says nothing of whether the target works.
            counts = error.refused is None and not error.credentials
            if counts and self._line.lane.failed(batch, now) and not self._once:
                _log.warning("%s: failed repeatedly; one attempt at a time until one succeeds", self.name)
        if outcome == "retry" and not self._is_lost(batch):
            self._line.lane.retry(batch, math.inf if self._once else due)
        elif outcome == "split" and not self._is_lost(batch):
            self._line.lane.split(batch, now)
        else:
            self._line.lane.finish(batch)
        if outcome == "dead":
            self._died()
        self._busy[_source_of(batch)] -= 1
        self._ended.set()
        self._wake.set()


def _source_of(batch: Batch) -> str:
    return batch.members[0].key[0]
