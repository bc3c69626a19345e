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

import msgspec
from msgspec.structs import replace

from notifier.attempt import attempt
from notifier.hours import QuietHours
from notifier.lanes import Lane
from notifier.model import Delivery, Event, OpenBatch, RecordKey, utc_now
from notifier.pauses import Pauses
from notifier.probe import Probe
from notifier.quiet import QuietSettings
from notifier.recovery import Recovery
from notifier.report import describe, report, tags_of
from notifier.retry import Outcome, RetryPolicy, judge
from notifier.sending import Receipt, SendError, Target
from notifier.settlement import Settlement, open_batch, without_batches
from notifier.shipping import find, ship
from notifier.state import State
from notifier.waiting import Batch, Waiting, waiting_for

_log = logging.getLogger(__name__)

_SPARE = timedelta(seconds=30)


class _Next(msgspec.Struct, frozen=True, kw_only=True):
    """What the attempts are made by from some time on."""

    target: Target
    retry: RetryPolicy
    quiet: QuietSettings | None
    same_place: bool = False
    """Whether it is where the last one was."""


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
        self._pauses = Pauses()
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopping = False
        self._next: _Next | None = None
        self._take_up(_Next(target=target, retry=retry, quiet=quiet))

    def _take_up(self, new: _Next) -> None:
        self._target, self._retry, self.quiet = new.target, new.retry, new.quiet
        self._hours = QuietHours(new.quiet)
        self._recovery = Recovery(new.target, first=new.retry.first_retry)
        # A target ends its attempts by itself: this is for one that does not.
        self._limit_seconds = (new.target.longest + _SPARE).total_seconds()
        self._lane = Lane(
            new.target.concurrency,
            spacing=new.target.spacing,
            grouping=new.target.grouping,
            probe=Probe()
            if self._once
            else Probe(
                first_seconds=new.retry.first_retry.total_seconds(),
                longest_seconds=new.retry.max_retry.total_seconds(),
            ),
        )

    def __len__(self) -> int:
        """Return how many deliveries are still to be made."""
        return len(self._lane)

    def add(self, key: RecordKey, delivery_id: str) -> None:
        """Queue a new delivery, stored as pending, behind the earlier ones of its job."""
        waiting = Waiting(key, delivery_id, time.monotonic())
        self._lane.add(replace(waiting, loud=self._is_loud(waiting)))
        self._wake.set()

    def resume(self, key: RecordKey, delivery: Delivery) -> None:
        """Queue a stored delivery: what an earlier process left, or a replay, which goes before all others.

        A pause that the target asked the earlier process for still holds.
        """
        waiting = self._waiting(key, delivery)
        held = not waiting.loud and self._hours.held(delivery)
        self._lane.add(replace(waiting, held=held))
        self._hold_on(delivery)
        if delivery.replay and not delivery.attempts:
            self._lane.hurry()
            self._recovery.urge()
        self._wake.set()

    def change(
        self,
        target: Target,
        *,
        retry: RetryPolicy,
        quiet: QuietSettings | None,
        same_place: bool = False,
    ) -> None:
        """Have all further attempts made by this target: as soon as those under way have ended.

        What waits for a retry is tried at once then; a pause that the target asked for holds on when the new
        one is at the same place.
        """
        self._next = _Next(target=target, retry=retry, quiet=quiet, same_place=same_place)
        self._recovery.stop()
        self._wake.set()

    async def forget(self, source: str) -> None:
        """Drop what waits of a source that is gone; return when no attempt of it is under way any more."""
        self._gone.add(source)
        self._lane.drop(source)
        if self._busy[source]:
            self._recovery.stop()  # one of them may wait for credentials to be mended
            self._recovery = Recovery(self._target, first=self._retry.first_retry)
        while self._busy[source]:
            self._ended.clear()
            await self._ended.wait()

    def know(self, source: str) -> None:
        """Deliver for a source that may have been gone."""
        self._gone.discard(source)

    def resume_batch(self, members: Sequence[tuple[RecordKey, Delivery]]) -> None:
        """Queue a batch that an earlier process left, before the later deliveries of its jobs."""
        self._lane.restore(tuple(self._waiting(key, delivery, cut_off=True) for key, delivery in members))
        for _, delivery in members:
            self._hold_on(delivery)
        self._wake.set()

    def _hold_on(self, delivery: Delivery) -> None:
        if delivery.held_until is not None:
            # Never for longer than it was asked for: the clock may have been set back since.
            left = min(delivery.held_until - self._now(), delivery.held)
            self._pause(left)

    def _pause(self, length: timedelta) -> None:
        if length > timedelta(0):
            now = self._now()
            self._lane.hold(time.monotonic() + length.total_seconds())
            self._pauses.add(now, now + length)

    @property
    def takes_batches(self) -> bool:
        """Whether the target can be sent several events in one attempt."""
        return self._target.grouping is not None

    def under_way(self) -> Mapping[Hashable, tuple[str, float]]:
        """Return each attempt under way, with what it is and how many seconds it may take."""
        longest = self._limit_seconds + _SPARE.total_seconds()
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
                if self._next is not None and not self._lane.under_way:
                    await self._exchange(self._next)
                self._keep_quiet()
                for batch in self._lane.take(time.monotonic()) if self._next is None else ():
                    self._busy[_source_of(batch)] += 1
                    attempts.create_task(self._attempt(batch), name=f"attempt for {self.name}")
                if self._once and self._lane.is_idle(time.monotonic()):
                    return
                await self._something_to_do()

    async def _exchange(self, new: _Next) -> None:
        if self._target.grouping is not None and new.target.grouping is None:
            # What was fixed to go together will go alone; it must not go together after a restart.
            stored = self._state.records.sources().items()
            holders = [
                name for name, record in stored if any(each.target == self.name for each in record.batches)
            ]
            await self._state.commit(
                sources=dict.fromkeys(holders, partial(without_batches, target=self.name))
            )
        old, now = self._lane, time.monotonic()
        batches = old.drain()
        self._take_up(new)
        if new.same_place:
            self._lane.hold(old.held_until)
        for batch in batches:
            members = tuple(self._anew(member, now) for member in batch.members)
            if len(members) > 1 and self._target.grouping is not None:
                self._lane.restore(members)
            else:
                for member in members:
                    self._lane.add(member)
        if self._next is new:
            self._next = None
        _log.info("%s: follows the changed config", self.name)

    def _anew(self, waiting: Waiting, now: float) -> Waiting:
        return replace(waiting, due=min(waiting.due, now), loud=self._is_loud(waiting))

    def _keep_quiet(self) -> None:
        until = self._hours.until(self._now())
        if until is not None:
            self._lane.set_quiet(True)
        if (news := self._hours.news(until, lambda: self._lane.asleep)) is not None:
            _log.info("%s: %s", self.name, news)
        if until is None:
            self._lane.set_quiet(False)

    async def _something_to_do(self) -> None:
        due = None if self._next is not None else self._lane.next_due()
        wait = None if due is None or math.isinf(due) else max(0.0, due - time.monotonic())
        if (look_after := self._hours.look_after(self._now())) is not None:
            wait = min(look_after.total_seconds(), math.inf if wait is None else wait)
        try:
            async with asyncio.timeout(wait):
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
            receipt = await attempt(self._target, shipment, limit_seconds=self._limit_seconds)
        finally:
            del self._under_way[number]
        ended = time.monotonic()
        error = receipt if isinstance(receipt, SendError) else None
        if self._target.spacing is not None:
            self._target.spacing.ended(ended)
        if error is not None and error.retry_after is not None:
            self._pause(error.retry_after)  # from now on: the commit takes a while
        took = timedelta(seconds=ended - started)
        now = self._now()
        verdict = partial(
            judge,
            error=error,
            policy=self._retry,
            now=now,
            took=took,
            chance=self._chance(),
            paused=self._pauses.within(found[0][2].first_attempt_at or now, now),
            quiet=self._quiet_since(batch, found[0][2].first_attempt_at or now, now),
            alone=len(found) == 1,
        )
        judged = [(key, event, *verdict(each)) for key, event, each in found]
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
        elif error is not None and error.credentials and outcome == "retry":
            # A target of one attempt at a time is sent nothing else meanwhile: it would be refused as well.
            was_that = await self._recovery.wait(wait)
            due = 0.0 if was_that else time.monotonic()  # the first to go: the others need not find out, too
        self._go_on(batch, outcome, error, due)

    def _quiet_since(self, batch: Batch, since: datetime, now: datetime) -> timedelta:
        """Return how long the members were held because it was quiet, beside the target's own pauses."""
        if all(member.loud for member in batch.members):
            return timedelta(0)
        return self._hours.within(since, now, pauses=self._pauses.shares(since, now))

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

    def _go_on(self, batch: Batch, outcome: Outcome, error: SendError | None, due: float) -> None:
        now = time.monotonic()
        if error is None:
            self._recovery.worked()
            if self._lane.succeeded():
                _log.info("%s: works again", self.name)
        else:
            self.failures += 1
            # A refusal is an answer: it says nothing of whether the target works.
            counts = error.refused is None and not error.credentials
            if counts and self._lane.failed(batch, now) and not self._once:
                _log.warning("%s: failed repeatedly; one attempt at a time until one succeeds", self.name)
        if outcome == "retry" and _source_of(batch) not in self._gone:
            self._lane.retry(batch, math.inf if self._once else due)
        elif outcome == "split" and _source_of(batch) not in self._gone:
            self._lane.split(batch, now)
        else:
            self._lane.finish(batch)
        if outcome == "dead":
            self._died()
        self._busy[_source_of(batch)] -= 1
        self._ended.set()
        self._wake.set()

    def _waiting(self, key: RecordKey, delivery: Delivery, *, cut_off: bool = False) -> Waiting:
        # No wait is longer: more is a clock that was set back, or asked for, and that holds the whole lane.
        longest = 1.5 * self._retry.max_retry
        waiting = waiting_for(
            key, delivery, now=self._now(), seconds=time.monotonic(), longest=longest, cut_off=cut_off
        )
        return replace(waiting, loud=self._is_loud(waiting))

    def _is_loud(self, waiting: Waiting) -> bool:
        if waiting.replay:
            return True  # a person who has it sent again waits for it, at whatever hour
        if not self._hours.excepts_any:
            return False
        event = find(self._state.records, waiting)[1]
        return self._hours.excepts(event.type) and not event.again  # who sleeps knows it already


def _source_of(batch: Batch) -> str:
    return batch.members[0].key[0]
