"""One target's deliveries, with a target in the test's hands and the state in a real file."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.dispatcher import Dispatcher
from notifier.model import (
    Delivery,
    DeliveryState,
    Event,
    JobRecord,
    Snapshot,
    SourceRecord,
    StoreError,
    utc_now,
)
from notifier.outbox import absorb, delivery_id, replay
from notifier.retry import RetryPolicy
from notifier.sending import Grouping, SendError
from notifier.state import State
from notifier.store.sqlite import SqliteStore

CONCURRENCY = 3
POLICY = RetryPolicy(
    first_retry=timedelta(milliseconds=1),
    max_retry=timedelta(milliseconds=4),
    give_up_after=timedelta(days=3),
)


class Hand:
    """A target whose attempts wait for the test to end them."""

    name = "ops"
    concurrency = CONCURRENCY
    timeout = timedelta(seconds=15)

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval
        self.grouping: Grouping | None = None
        self.sent: list[str] = []
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.script: list[BaseException | None] | None = None
        self._changed = asyncio.Condition()

    async def send(self, events: Sequence[Event]) -> None:
        (event,) = events
        self.sent.append(event.id)
        if self.script is not None:
            if self.script and (error := self.script.pop(0)) is not None:
                raise error
            return
        assert event.id not in self.under_way
        self.under_way[event.id] = asyncio.get_running_loop().create_future()
        async with self._changed:
            self._changed.notify_all()
        await self.under_way[event.id]

    async def attempts(self, *ids: str) -> None:
        """Wait until exactly these are under way."""
        await self.until(lambda: set(self.under_way) == set(ids))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, looked at whenever an attempt begins."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    def end(self, id_: str, error: BaseException | None = None) -> None:
        ending = self.under_way.pop(id_)
        if error is None:
            ending.set_result(None)
        else:
            ending.set_exception(error)


class Bench:
    """A dispatcher over a state, and events for it."""

    def __init__(self, state: State, hand: Hand, *, once: bool, policy: RetryPolicy) -> None:
        self.state = state
        self.hand = hand
        self.deaths = 0
        self.dispatcher = Dispatcher(
            hand, state=state, retry=policy, once=once, died=self._died, chance=lambda: 0.5
        )
        self._seq: dict[str, int] = {}

    async def observe(self, job_id: str, count: int = 1) -> list[str]:
        """Commit and queue events of a job; return their ids."""
        ids = []
        for _ in range(count):
            seq = self._seq[job_id] = self._seq.get(job_id, 0) + 1
            id_ = f"evt_{job_id}_{seq}"
            await self.state.commit(jobs={("s", job_id): partial(_with_event, id_=id_, seq=seq)})
            self.dispatcher.add(("s", job_id), delivery_id(id_, "ops"))
            ids.append(id_)
        return ids

    async def end_all(self) -> None:
        """Have all that is under way and all that waits delivered."""
        self.hand.script = []
        for id_ in list(self.hand.under_way):
            self.hand.end(id_)
        async with asyncio.timeout(10):
            while len(self.dispatcher):  # noqa: ASYNC110 - outcomes are told to nobody
                await asyncio.sleep(0.001)

    def _died(self) -> None:
        self.deaths += 1

    def delivery(self, job_id: str, **changes: Any) -> Delivery:
        """Return the stored delivery of a job, changed."""
        record = self.state.records.job(("s", job_id))
        assert record is not None
        return msgspec.structs.replace(record.deliveries[0], **changes)

    def states(self, job_id: str) -> list[tuple[DeliveryState, int]]:
        record = self.state.records.job(("s", job_id))
        assert record is not None
        return [(delivery.state, delivery.attempts) for delivery in record.deliveries]


def _with_event(old: JobRecord | None, *, id_: str, seq: int) -> JobRecord:
    now = utc_now()
    event = Event(
        id=id_,
        seq=seq,
        type="backfill.staging",
        status="staging",
        previous_status=None,
        observed_at=now,
        summary="",
        payload=msgspec.Raw(b"{}"),
    )
    snapshot = Snapshot(status="staging", first_seen=now, status_since=now, element=msgspec.Raw(b"{}"))
    return absorb(old, snapshot=snapshot, seq=seq, events=[event], targets={id_: ("ops",)})


@asynccontextmanager
async def bench(
    tmp_path: Path,
    *,
    once: bool = False,
    policy: RetryPolicy = POLICY,
    interval: timedelta = timedelta(0),
) -> AsyncIterator[Bench]:
    async with State(partial(SqliteStore, tmp_path / "state.db")) as state:
        source = SourceRecord(id="0" * 32, baseline_at=utc_now())
        await state.commit(sources={"s": lambda _: source})
        yield Bench(state, Hand(interval), once=once, policy=policy)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(bench.dispatcher.run())
    try:
        yield task
    finally:
        bench.dispatcher.stop()
        async with asyncio.timeout(10):
            await task


async def test_second_event_of_a_job_waits_for_the_first(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        first, second = await b.observe("j", 2)
        [other] = await b.observe("k")
        await b.hand.attempts(first, other)
        b.hand.end(first)
        await b.hand.attempts(second, other)
        b.hand.end(second)
        b.hand.end(other)
    assert b.hand.sent.index(first) < b.hand.sent.index(second)


async def test_the_outcome_is_durable_before_the_next_event_of_the_job_goes(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        first, second = await b.observe("j", 2)
        await b.hand.attempts(first)
        assert b.states("j") == [("pending", 0), ("pending", 0)]
        b.hand.end(first)
        await b.hand.attempts(second)
        assert b.states("j") == [("delivered", 1), ("pending", 0)]
        b.hand.end(second)


async def test_a_failed_delivery_is_tried_again_with_the_same_id_and_holds_back_its_job_alone(
    tmp_path: Path,
) -> None:
    slow = msgspec.structs.replace(
        POLICY, first_retry=timedelta(milliseconds=50), max_retry=timedelta(seconds=1)
    )
    async with bench(tmp_path, policy=slow) as b, running(b):
        first, second = await b.observe("j", 2)
        await b.hand.attempts(first)
        b.hand.end(first, SendError("answered 500", outcome_unknown=True))
        await b.hand.attempts(first)
        assert b.states("j") == [("pending", 1), ("pending", 0)]
        [other] = await b.observe("k")
        await b.hand.attempts(first, other)
        b.hand.end(first)
        await b.hand.attempts(second, other)
        assert b.states("j") == [("delivered", 2), ("pending", 0)]
        b.hand.end(second)
        b.hand.end(other)
    assert b.hand.sent == [first, first, other, second]


async def test_a_target_that_asks_to_be_left_alone_is_left_alone_with_all_that_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        [first] = await b.observe("j")
        await b.hand.attempts(first)
        asked = time.monotonic()
        b.hand.end(first, SendError("answered 429", retry_after=timedelta(milliseconds=300)))
        while b.states("j") == [("pending", 0)]:  # noqa: ASYNC110 - until its outcome is stored
            await asyncio.sleep(0.001)
        [other] = await b.observe("k")
        await b.hand.attempts(first, other)
        assert time.monotonic() - asked >= 0.3
        b.hand.end(first)
        b.hand.end(other)


async def test_attempts_keep_the_interval_that_the_target_asks_for(tmp_path: Path) -> None:
    async with bench(tmp_path, interval=timedelta(milliseconds=200)) as b, running(b):
        began = time.monotonic()
        [first] = await b.observe("j")
        [second] = await b.observe("k")
        await b.hand.attempts(first)
        await b.hand.attempts(first, second)
        assert time.monotonic() - began >= 0.2
        b.hand.end(first)
        b.hand.end(second)


async def test_a_refusal_for_good_is_passed_over(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        first, second = await b.observe("j", 2)
        await b.hand.attempts(first)
        b.hand.end(first, SendError("answered 410", refused="message"))
        await b.hand.attempts(second)
        assert b.states("j") == [("dead", 1), ("pending", 0)]
        b.hand.end(second)


async def test_a_bad_message_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with bench(tmp_path) as b, running(b):
        [first] = await b.observe("j")
        [other] = await b.observe("k")
        await b.hand.attempts(first, other)
        b.hand.end(first, ZeroDivisionError("https://hooks.example.com/secret"))
        b.hand.end(other)
        await b.hand.attempts(first)
        assert b.states("j") == [("pending", 1)]
        b.hand.end(first)
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


async def test_only_so_many_jobs_are_attempted_side_by_side(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        ids = [(await b.observe(f"j{number}"))[0] for number in range(CONCURRENCY + 3)]
        await b.hand.attempts(*ids[:CONCURRENCY])
        b.hand.end(ids[0])
        await b.hand.attempts(*ids[1 : CONCURRENCY + 1])
        for id_ in list(b.hand.under_way):
            b.hand.end(id_)
        await b.hand.attempts(*ids[CONCURRENCY + 1 :])
        for id_ in ids[CONCURRENCY + 1 :]:
            b.hand.end(id_)


async def test_a_target_that_fails_three_times_in_a_row_is_attempted_one_at_a_time_until_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench(tmp_path) as b, running(b):
        [probe] = await b.observe("a")
        for _ in range(3):
            await b.hand.attempts(probe)
            b.hand.end(probe, SendError("answered 500", outcome_unknown=True))
        await b.hand.attempts(probe)
        assert "ops: failed repeatedly; one attempt at a time until one succeeds" in caplog.text
        others = [(await b.observe(f"j{number}"))[0] for number in range(3 * CONCURRENCY)]
        for _ in range(3):
            [under_way] = b.hand.under_way
            b.hand.end(under_way, SendError("answered 500", outcome_unknown=True))
            await b.hand.until(lambda: len(b.hand.under_way) > 0)
        assert len(b.hand.sent) == 7
        assert "works again" not in caplog.text
        [under_way] = b.hand.under_way
        b.hand.end(under_way)
        await b.hand.until(lambda: len(b.hand.under_way) == CONCURRENCY)
        assert "ops: works again" in caplog.text
        await b.end_all()
        assert {
            state for job in ("a", *(f"j{n}" for n in range(len(others)))) for state, _ in b.states(job)
        } == {"delivered"}


async def test_failures_with_a_success_in_between_slow_nothing_down(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        for number in range(6):
            [id_] = await b.observe(f"j{number}")
            for error in (SendError("answered 500"), SendError("answered 500"), None):
                await b.hand.attempts(id_)
                b.hand.end(id_, error)
        ids = [(await b.observe(f"k{number}"))[0] for number in range(CONCURRENCY)]
        await b.hand.attempts(*ids)
        await b.end_all()


async def test_what_is_refused_for_good_says_nothing_of_whether_the_target_works(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        for number in range(6):
            [id_] = await b.observe(f"j{number}")
            await b.hand.attempts(id_)
            b.hand.end(id_, SendError("answered 400", refused="message"))
        ids = [(await b.observe(f"k{number}"))[0] for number in range(CONCURRENCY)]
        await b.hand.attempts(*ids)
        await b.end_all()


async def test_each_attempt_is_recorded_with_what_was_answered(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.hand.script = [
            SendError("answered 500", outcome_unknown=True, status=500, answer="oops"),
            SendError("no connection"),
            SendError("answered 410", refused="endpoint", status=410, answer="gone"),
        ]
        async with running(b):
            await b.observe("j")
            while b.states("j")[0][0] == "pending":  # noqa: ASYNC110 - until its outcome is stored
                await asyncio.sleep(0.001)
        delivery = b.delivery("j")
        assert [(each.outcome, each.status, each.error) for each in delivery.history] == [
            ("unknown", 500, "answered 500"),
            ("failed", None, "no connection"),
            ("refused", 410, "answered 410"),
        ]
        assert (delivery.state, delivery.attempts, delivery.answer) == ("dead", 3, "gone")
        assert delivery.first_attempt_at is not None
        assert b.deaths == 1


async def test_a_replay_waits_for_nobody_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        first, second = await b.observe("j", 2)
        await b.hand.attempts(first)
        b.hand.end(first, SendError("answered 400", refused="message"))
        await b.hand.attempts(second)
        ids = [b.delivery("j").id]
        await b.state.commit(jobs={("s", "j"): lambda record: record and replay(record, ids)})
        b.dispatcher.resume(("s", "j"), b.delivery("j"))
        await b.hand.attempts(first, second)
        [third] = await b.observe("j")
        b.hand.end(second)
        await b.hand.attempts(first, third)
        await b.end_all()
        assert b.states("j") == [("delivered", 1)] * 3


async def test_stopping_starts_nothing_more_and_commits_what_was_under_way(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        task = asyncio.create_task(b.dispatcher.run())
        first, _ = await b.observe("j", 2)
        await b.hand.attempts(first)
        b.dispatcher.stop()
        await b.observe("late")
        b.hand.end(first)
        await task
        assert b.states("j") == [("delivered", 1), ("pending", 0)]
        assert b.states("late") == [("pending", 0)]
    assert b.hand.sent == [first]


async def test_once_attempts_each_delivery_at_most_one_time(tmp_path: Path) -> None:
    async with bench(tmp_path, once=True) as b:
        b.hand.script = [SendError("answered 500"), None, SendError("answered 400", refused="message"), None]
        failing, _ = await b.observe("a", 2)
        [good] = await b.observe("b")
        refused, after = await b.observe("c", 2)
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.hand.sent == [failing, good, refused, after]
        assert b.states("a") == [("pending", 1), ("pending", 0)]
        assert b.states("b") == [("delivered", 1)]
        assert b.states("c") == [("dead", 1), ("delivered", 1)]
        assert b.dispatcher.failures == 2


async def test_once_leaves_alone_what_is_not_due(tmp_path: Path) -> None:
    async with bench(tmp_path, once=True) as b:
        await b.observe("elsewhere")
        b.dispatcher = Dispatcher(b.hand, state=b.state, retry=POLICY, once=True)
        delivery = b.delivery("elsewhere", next_attempt_at=utc_now() + timedelta(hours=1))
        b.dispatcher.resume(("s", "elsewhere"), delivery)
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.hand.sent == []
        assert len(b.dispatcher) == 1


async def test_once_leaves_a_target_alone_that_asked_an_earlier_process_for_it(tmp_path: Path) -> None:
    async with bench(tmp_path, once=True) as b:
        [refused] = await b.observe("j")
        b.hand.script = [SendError("answered 503", retry_after=timedelta(hours=1))]
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.hand.sent == [refused]
        [other] = await b.observe("k")
        stored = [b.delivery("j"), b.delivery("k")]
        assert stored[0].held_until is not None
        b.dispatcher = Dispatcher(b.hand, state=b.state, retry=POLICY, once=True)
        for key, delivery in zip((("s", "j"), ("s", "k")), stored, strict=True):
            b.dispatcher.resume(key, delivery)
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.hand.sent == [refused], f"{other} waits, too"


async def test_a_state_that_fails_ends_it_with_an_error(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        [first] = await b.observe("j")
        task = asyncio.create_task(b.dispatcher.run())
        await b.hand.attempts(first)
        await b.state._in_thread(lambda: b.state._store._ask("PRAGMA query_only=ON"))  # type: ignore[attr-defined]
        b.hand.end(first)
        with pytest.raises(BaseExceptionGroup) as raised:
            await task
        assert raised.group_contains(StoreError, match="readonly")


async def test_a_pause_is_no_longer_than_was_asked_for_when_the_clock_was_set_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        [first] = await b.observe("j")
        stored = b.delivery(
            "j",
            attempts=1,
            first_attempt_at=utc_now() + timedelta(days=1400),
            next_attempt_at=utc_now() + timedelta(days=1400),
            held_until=utc_now() + timedelta(days=1400),
            held=timedelta(milliseconds=50),
        )
        b.dispatcher = Dispatcher(b.hand, state=b.state, retry=POLICY, chance=lambda: 0.5)
        b.dispatcher.resume(("s", "j"), stored)
        async with running(b):
            await b.hand.attempts(first)
            b.hand.end(first)


async def test_a_pause_counts_for_no_delivery_as_trying(tmp_path: Path) -> None:
    policy = msgspec.structs.replace(POLICY, give_up_after=timedelta(milliseconds=300))
    async with bench(tmp_path, policy=policy) as b, running(b):
        [asked], [beside] = await b.observe("j"), await b.observe("k")
        await b.hand.attempts(asked, beside)
        b.hand.end(beside, SendError("closed", outcome_unknown=True))
        b.hand.end(asked, SendError("answered 429", retry_after=timedelta(milliseconds=600)))
        await b.hand.attempts(asked, beside)
        b.hand.end(asked)
        b.hand.end(beside, SendError("closed", outcome_unknown=True))
        await b.hand.attempts(beside)
        b.hand.end(beside)
        while b.states("k")[0][0] == "pending":  # noqa: ASYNC110 - nothing tells of each commit
            await asyncio.sleep(0.001)
        assert b.states("k") == [("delivered", 3)]


async def test_a_pause_begins_with_the_answer_that_asks_for_it_not_with_its_commit(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        [first] = await b.observe("j")
        other = partial(_with_event, id_="evt_k_1", seq=1)
        await b.state.commit(jobs={("s", "k"): other})
        await b.hand.attempts(first)
        release = threading.Event()
        busy = asyncio.create_task(b.state._in_thread(release.wait))
        b.hand.end(first, SendError("answered 429", retry_after=timedelta(hours=1)))
        while b.dispatcher.under_way():  # noqa: ASYNC110 - nothing tells of its end
            await asyncio.sleep(0.001)
        b.dispatcher.add(("s", "k"), delivery_id("evt_k_1", "ops"))
        for _ in range(10):
            await asyncio.sleep(0)
        release.set()
        assert await busy
        while b.states("j") != [("pending", 1)]:  # noqa: ASYNC110 - nothing tells of each commit
            await asyncio.sleep(0.001)
        assert b.hand.sent == [first]
