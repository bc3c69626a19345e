"""One target's deliveries, with a target in the test's hands and the state in a real file."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from notifier.dispatcher import Dispatcher
from notifier.model import (
    Card,
    Delivery,
    DeliveryState,
    Event,
    JobRecord,
    Place,
    RecordKey,
    Snapshot,
    SourceRecord,
    utc_now,
)
from notifier.outbox import absorb, delivery_id, replay, with_events
from notifier.pipeline import Pipeline
from notifier.quiet import QuietSettings
from notifier.retry import RetryPolicy
from notifier.sending import Grouping, Receipt, SendError, Shipment
from notifier.spacing import Spacing
from notifier.state import State
from notifier.storage import StoreError
from notifier.store.sqlite import SqliteStore
from tests.records import NOW
from tests.simulated import at, now, simulated
from tests.targets import FakeTarget

CONCURRENCY = 3
POLICY = RetryPolicy(
    first_retry=timedelta(milliseconds=1),
    max_retry=timedelta(milliseconds=4),
    give_up_after=timedelta(days=3),
)


class Hand(FakeTarget):
    """A target whose attempts wait for the test to end them."""

    name = "ops"
    concurrency = CONCURRENCY
    longest = timedelta(seconds=30)

    def __init__(self, interval: timedelta) -> None:
        self.spacing = Spacing(interval.total_seconds())
        self.grouping: Grouping | None = None
        self.sent: list[str] = []
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.script: list[BaseException | None] | None = None
        self._changed = asyncio.Condition()

    async def send(self, shipment: Shipment) -> Receipt:
        (event,) = shipment.events
        self.sent.append(event.id)
        if self.script is not None:
            if self.script and (error := self.script.pop(0)) is not None:
                raise error
            return Receipt()
        assert event.id not in self.under_way
        self.under_way[event.id] = asyncio.get_running_loop().create_future()
        async with self._changed:
            self._changed.notify_all()
        await self.under_way[event.id]
        return Receipt()

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


def _with_event(
    old: JobRecord | None,
    *,
    id_: str,
    seq: int,
    at: datetime | None = None,
    type_: str = "backfill.staging",
) -> JobRecord:
    now = at or utc_now()
    event = Event(
        id=id_,
        seq=seq,
        type=type_,
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


# ------------------------------------------------------------- what an attempt is given, and gives back


SLOW = RetryPolicy(
    first_retry=timedelta(seconds=5), max_retry=timedelta(hours=1), give_up_after=timedelta(days=3)
)
SILENT = SendError("no answer", outcome_unknown=True)
BROKEN = SendError("answered 500")
REVOKED = SendError("token_revoked", credentials=True)
PLACE = Place(configured="#data", id="C1")
OWN: RecordKey = ("s", None)


def clock() -> datetime:
    return NOW + timedelta(seconds=now())


def card(ts: str = "1.0") -> Card:
    return Card(configured="#data", channel="C1", ts=ts, event_id="evt_j_1", seq=1, shown="…", edited_at=NOW)


class Told(FakeTarget):
    """A target that answers as it is told, one entry an attempt, and then takes everything."""

    def __init__(self, *answers: Receipt | SendError, grouping: Grouping | None = None) -> None:
        self.answers = list(answers)
        self.grouping = grouping
        self.shipments: list[Shipment] = []
        self.attempts: list[float] = []
        """When they were made."""
        self.hangs = False
        self.is_revoked = False
        self.looks: list[float] = []

    @property
    def sent(self) -> list[list[str]]:
        return [[event.id for event in shipment.events] for shipment in self.shipments]

    async def send(self, shipment: Shipment) -> Receipt:
        self.shipments.append(shipment)
        self.attempts.append(now())
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_revoked:
            raise REVOKED
        answer = self.answers.pop(0) if self.answers else Receipt()
        if isinstance(answer, SendError):
            raise answer
        return answer

    async def probe(self) -> str | None:
        self.looks.append(now())
        if self.is_revoked:
            raise REVOKED
        return "good"


class Desk:
    """A dispatcher over a state, as a process has it; `restart` begins another one with what is stored."""

    def __init__(self, state: State, target: Told, **options: Any) -> None:
        self.state = state
        self.target = target
        self.options = options
        self.settled: list[tuple[list[RecordKey], list[DeliveryState]]] = []
        """What was settled, and the states of its deliveries by then."""
        self._numbers: dict[str | None, int] = {}
        self.dispatcher = self._dispatcher()

    def _dispatcher(self) -> Dispatcher:
        options: dict[str, Any] = {"retry": SLOW, "now": clock, "chance": lambda: 0.5} | self.options
        return Dispatcher(self.target, state=self.state, settled=self._settle, **options)

    def _settle(self, keys: Sequence[RecordKey]) -> None:
        records = [self.state.records.outbox(key) for key in dict.fromkeys(keys)]
        states = [each.state for record in records if record is not None for each in record.deliveries]
        self.settled.append((list(keys), states))

    async def restart(self) -> None:
        self.dispatcher = self._dispatcher()
        await Pipeline(self.state, {"ops": self.dispatcher}, clock).resume(["s"])

    async def observe(self, *job_ids: str | None, type_: str = "backfill.staging") -> list[str]:
        """Commit an event of each job, None for the source, and queue them all at once; return their ids."""
        ids = []
        for job_id in job_ids:
            seq = self._numbers[job_id] = self._numbers.get(job_id, 0) + 1
            ids.append(f"evt_{job_id}_{seq}")
            if job_id is None:
                await self.state.commit(sources={"s": partial(_with_own_event, id_=ids[-1], seq=seq)})
            else:
                job_update = partial(_with_event, id_=ids[-1], seq=seq, at=clock(), type_=type_)
                await self.state.commit(jobs={("s", job_id): job_update})
        for job_id, id_ in zip(job_ids, ids, strict=True):
            self.dispatcher.add(("s", job_id), delivery_id(id_, "ops"))
        return ids

    def record(self, job_id: str = "j") -> JobRecord:
        record = self.state.records.job(("s", job_id))
        assert record is not None
        return record

    def source(self) -> SourceRecord:
        record = self.state.records.source("s")
        assert record is not None
        return record

    def states(self, job_id: str = "j") -> list[tuple[DeliveryState, int]]:
        return [(each.state, each.attempts) for each in self.record(job_id).deliveries]

    async def replays(self, job_id: str) -> None:
        """Have a person order that the dead letters of a job are sent again."""
        ids = [each.id for each in self.record(job_id).deliveries]
        await self.state.commit(jobs={("s", job_id): lambda old: old and replay(old, ids)})
        for each in self.record(job_id).deliveries:
            if each.state == "pending":
                self.dispatcher.resume(("s", job_id), each)


def _with_own_event(old: SourceRecord | None, *, id_: str, seq: int) -> SourceRecord:
    assert old is not None
    event = Event(
        id=id_,
        seq=seq,
        type="source.down",
        status="",
        previous_status=None,
        observed_at=NOW,
        summary="",
        payload=msgspec.Raw(b"{}"),
    )
    return with_events(old, events=[event], targets={id_: ("ops",)})


@asynccontextmanager
async def desk(tmp_path: Path, target: Told, **options: Any) -> AsyncIterator[Desk]:
    async with State(partial(SqliteStore, tmp_path / "state.db")) as state:
        source = SourceRecord(id="0" * 32, baseline_at=NOW)
        await state.commit(sources={"s": lambda _: source})
        yield Desk(state, target, **options)


@asynccontextmanager
async def at_work(desk: Desk) -> AsyncIterator[asyncio.Task[None]]:
    """Run the dispatcher; whatever is still under way in the end is cut off."""
    task = asyncio.create_task(desk.dispatcher.run())
    try:
        yield task
    finally:
        if task.done():
            await task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@simulated
async def test_an_event_of_a_job_is_sent_with_the_job_s_record(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d:
        [id_] = await d.observe("j")
        before = d.record()
        async with at_work(d):
            await at(1)
    [shipment] = target.shipments
    assert shipment == Shipment(events=before.events, record=before)
    assert target.sent == [[id_]]


@simulated
async def test_the_record_is_that_of_the_attempt_not_that_of_the_event(tmp_path: Path) -> None:
    target = Told(BROKEN)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(1)
        later = {"ops": card()}
        update = partial(msgspec.structs.replace, cards=later)
        await d.state.commit(jobs={("s", "j"): lambda old: old and update(old)})
        await d.observe("j")
        await at(100)
    assert [each.record and each.record.seq for each in target.shipments] == [1, 2, 2]
    assert [each.record and each.record.cards for each in target.shipments] == [{}, later, later]


@simulated
async def test_a_job_without_a_name_has_a_record_as_well(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("")
        await at(1)
    [shipment] = target.shipments
    assert shipment.record is not None


@simulated
async def test_what_is_about_no_job_is_sent_without_a_record(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe(None)
        await at(1)
        assert target.shipments == [Shipment(events=(_stored(d.source().events[0]),))]


def _stored(event: Event) -> Event:
    """Return an event as it is before it was delivered."""
    return msgspec.structs.replace(event, payload=msgspec.Raw(b"{}"))


@simulated
async def test_several_together_are_sent_in_their_order_without_a_record(tmp_path: Path) -> None:
    target = Told(grouping=Grouping(over=2, limit=10))
    async with desk(tmp_path, target) as d:
        ids = await d.observe("j", "k", None, "j")
        async with at_work(d):
            await at(1)
    [shipment] = target.shipments
    assert [event.id for event in shipment.events] == ids
    assert (shipment.record, shipment.in_doubt_since) == (None, None)


@simulated
async def test_where_earlier_attempts_found_the_channel_is_told_to_later_ones(tmp_path: Path) -> None:
    new = Place(configured="#new", id="C2")
    target = Told(Receipt(place=PLACE), BROKEN, Receipt(), Receipt(place=new))
    async with desk(tmp_path, target) as d, at_work(d):
        other = {"audit": Place(configured="#audit", id="C7")}
        with_other = msgspec.structs.replace(d.source(), places=other)
        await d.state.commit(sources={"s": lambda _: with_other})
        for job_id in ("j", "k", None, "l"):
            await d.observe(job_id)
            await at(now() + 20)
        assert d.source().places == other | {"ops": new}
    assert [each.place for each in target.shipments] == [None, PLACE, PLACE, PLACE, new]


@simulated
async def test_a_card_is_stored_together_with_the_outcome(tmp_path: Path) -> None:
    target = Told(Receipt(card=card("1.0")), BROKEN, Receipt(), Receipt(card=card("2.0")))
    async with desk(tmp_path, target) as d, at_work(d):
        for ts in ("1.0", "1.0", "2.0"):
            await d.observe("j")
            await at(now() + 20)
            assert d.record().cards == {"ops": card(ts)}
        assert {state for state, _ in d.states()} == {"delivered"}
    given = [each.record.cards for each in target.shipments if each.record is not None]
    assert given == [{}, *[{"ops": card("1.0")}] * 3]


@pytest.mark.parametrize("refused", [None, "message"])
@simulated
async def test_a_card_that_a_failed_attempt_has_changed_is_stored_as_well(
    tmp_path: Path, refused: Literal["message"] | None
) -> None:
    """It was edited, and then the reply was not posted."""
    failed = SendError("answered 500", refused=refused)
    failed.card = card("2.0")
    target = Told(failed)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(1)
        assert d.record().cards == {"ops": card("2.0")}
        assert d.states() == [("dead" if refused else "pending", 1)]
        assert len(d.settled) == 1
        await at(20)
    if not refused:
        assert [each.record and each.record.cards for each in target.shipments] == [{}, {"ops": card("2.0")}]


@simulated
async def test_what_was_there_already_is_delivered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    target = Told(SILENT, Receipt(was_there=True, card=card(), place=PLACE))
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(20)
        assert d.states() == [("delivered", 2)]
        assert [each.outcome for each in d.record().deliveries[0].history] == ["unknown", "delivered"]
        assert (d.record().cards, d.source().places) == ({"ops": card()}, {"ops": PLACE})
        assert d.settled[-1] == ([("s", "j")], ["delivered"])
    assert target.attempts == [0.0, 5.0]
    assert "ops: backfill.staging (evt_j_1) was there: an earlier attempt had arrived" in caplog.text


@simulated
async def test_a_message_that_is_to_wait_holds_no_other(tmp_path: Path) -> None:
    target = Told(SendError("cannot look", not_before=timedelta(seconds=60), outcome_unknown=True))
    async with desk(tmp_path, target) as d, at_work(d):
        [first] = await d.observe("j")
        await at(1)
        [other] = await d.observe("k")
        await at(100)
        assert target.sent == [[first], [other], [first]]
        assert target.attempts == [0.0, 1.0, 60.0]


# ------------------------------------------------------------------------------ what may have arrived


@pytest.mark.parametrize(
    ("answers", "since"),
    [
        ([], [None]),
        ([BROKEN, BROKEN], [None, None, None]),
        ([SILENT, BROKEN], [None, 0.0, 0.0]),
        ([BROKEN, SILENT], [None, None, 5.0]),
    ],
)
@simulated
async def test_an_attempt_is_told_since_when_another_one_may_have_arrived(
    tmp_path: Path, answers: list[SendError], since: list[float | None]
) -> None:
    target = Told(*answers)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(100)
    assert [_seconds(each.in_doubt_since) for each in target.shipments] == since


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else (time - NOW).total_seconds()


@simulated
async def test_what_fails_unforeseen_or_gets_no_answer_in_time_may_have_arrived(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d, at_work(d):
        target.hangs = True
        await d.observe("j")
        await at(30 + 30 + 1)
        target.hangs = False
        await at(100)
        assert d.states() == [("delivered", 2)]
    assert [_seconds(each.in_doubt_since) for each in target.shipments] == [None, 0.0]


_LATER = "an attempt that fails after the restart is taken for the first: what is older is not looked for"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([], id="first"),
        pytest.param([BROKEN], id="failed"),
        pytest.param([SILENT], id="unknown"),
    ],
)
@simulated
async def test_what_a_process_was_cut_off_from_may_have_arrived(
    tmp_path: Path, answer: list[SendError]
) -> None:
    target = Told(*answer, grouping=Grouping(over=10, limit=10))
    async with desk(tmp_path, target) as d:
        await at(3)
        [id_] = await d.observe("j")
        async with at_work(d):
            if answer:
                await at(4)
            target.hangs = True
            await at(10)
        target.hangs = False
        target.shipments.clear()
        target.answers = [BROKEN]
        await at(20)
        await d.restart()
        async with at_work(d):
            await at(100)
        assert d.states() == [("delivered", len(answer) + 2)]
    assert target.sent == [[id_], [id_]]
    since = [_seconds(each.in_doubt_since) for each in target.shipments]
    assert since == [3.0, 3.0], "whatever comes after"


@simulated
async def test_what_was_not_under_way_when_a_process_ended_is_in_no_doubt(tmp_path: Path) -> None:
    target = Told(grouping=Grouping(over=10, limit=10))
    async with desk(tmp_path, target) as d:
        under_way, waiting = await d.observe("j", "k")
        async with at_work(d):
            target.hangs = True
            await at(1)
        target.hangs = False
        await d.restart()
        async with at_work(d):
            await at(2)
    assert target.sent == [[under_way], [under_way], [waiting]]
    assert [_seconds(each.in_doubt_since) for each in target.shipments] == [None, 0.0, None]


@simulated
async def test_several_together_are_in_doubt_since_the_first_of_them_is(tmp_path: Path) -> None:
    target = Told(grouping=Grouping(over=1, limit=10))
    async with desk(tmp_path, target) as d:
        ids = []
        for job_id in ("j", "k", "l"):
            ids += await d.observe(job_id)
            await at(now() + 10)
        async with at_work(d):
            target.hangs = True
            await at(now() + 1)
        target.hangs = False
        await d.restart()
        async with at_work(d):
            await at(now() + 1)
    assert target.sent == [ids, ids]
    assert [_seconds(each.in_doubt_since) for each in target.shipments] == [None, 0.0]


@simulated
async def test_without_a_grouping_only_what_is_recorded_leaves_doubt(tmp_path: Path) -> None:
    """Such a target cannot look for what arrived; nothing is stored before its attempts."""
    target = Told()
    async with desk(tmp_path, target) as d:
        await d.observe("j")
        async with at_work(d):
            target.hangs = True
            await at(1)
        target.hangs = False
        await d.restart()
        async with at_work(d):
            await at(2)
    assert [each.in_doubt_since for each in target.shipments] == [None, None]


# -------------------------------------------------------------------------------- what is told of it


@simulated
async def test_each_outcome_is_told_when_it_is_stored(tmp_path: Path) -> None:
    refused = SendError("answered 400", refused="message")
    target = Told(Receipt(), BROKEN, Receipt(), refused, Receipt())
    async with desk(tmp_path, target) as d, at_work(d):
        for job_id in ("j", "k", "l", None):
            await d.observe(job_id)
            await at(now() + 20)
        assert d.settled == [
            ([("s", "j")], ["delivered"]),
            ([("s", "k")], ["pending"]),
            ([("s", "k")], ["delivered"]),
            ([("s", "l")], ["dead"]),
            ([OWN], ["delivered"]),
        ]


@simulated
async def test_refused_credentials_are_told_before_they_are_waited_for(tmp_path: Path) -> None:
    target = Told(REVOKED)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(1)
        assert d.settled == [([("s", "j")], ["pending"])]


@simulated
async def test_of_several_together_each_is_told(tmp_path: Path) -> None:
    target = Told(grouping=Grouping(over=1, limit=10))
    async with desk(tmp_path, target) as d:
        await d.observe("j", None, "k")
        async with at_work(d):
            await at(1)
        assert d.settled == [([("s", "j"), OWN, ("s", "k")], ["delivered"] * 3)]


@simulated
async def test_it_is_told_before_the_next_event_of_the_job_goes(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d:
        await d.observe("j", "j")
        async with at_work(d):
            await at(1)
        assert [states for _, states in d.settled] == [["delivered", "pending"], ["delivered", "delivered"]]


# ------------------------------------------------------------------------------ refused credentials


@simulated
async def test_while_credentials_are_refused_nothing_else_is_attempted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    target = Told()
    async with desk(tmp_path, target) as d, at_work(d):
        target.is_revoked = True
        [first] = await d.observe("j")
        for number in range(3):
            await d.observe(f"k{number}")
        await at(3600)
        assert {tuple(ids) for ids in target.sent} == {(first,)}
        attempts = len(target.attempts)
        assert d.states() == [("pending", attempts)]
        target.is_revoked = False
        await at(3660)
        assert d.states() == [("delivered", attempts + 1)]
        assert [d.states(f"k{number}") for number in range(3)] == [[("delivered", 1)]] * 3
    assert "failed repeatedly" not in caplog.text
    assert "or as soon as it works again; nothing else is sent until then" in caplog.text


@simulated
async def test_it_looks_at_growing_distances_and_goes_on_as_soon_as_they_work(tmp_path: Path) -> None:
    target = Told(*[BROKEN] * 8)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(5 * (2**8 - 1) - 1)
        target.is_revoked = True
        began = 5.0 * (2**8 - 1)
        await at(began + 140)
        assert target.attempts[-1] == began, "the next attempt is due in 1280 seconds"
        assert [each - began for each in target.looks] == [5.0, 15.0, 35.0, 75.0, 135.0]
        target.is_revoked = False
        await at(began + 200)
        assert target.attempts[-1] - began == 195.0
        assert d.states() == [("delivered", 10)]


@simulated
async def test_what_good_credentials_do_not_help_holds_no_other_for_longer_than_it_waits(
    tmp_path: Path,
) -> None:
    """They are trusted once; refused again, it is something else, and may be so for this message alone."""
    target = Told(REVOKED, REVOKED, REVOKED)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await d.observe("k")
        await at(100)
        assert target.attempts == [0.0, 5.0, 15.0, 20.0, 20.0]
        assert (d.states("j"), d.states("k")) == ([("delivered", 3)], [("delivered", 2)])


@simulated
async def test_what_is_refused_for_too_long_is_given_up_without_another_look(tmp_path: Path) -> None:
    policy = msgspec.structs.replace(SLOW, give_up_after=timedelta(seconds=10))
    target = Told()
    async with desk(tmp_path, target, retry=policy) as d, at_work(d):
        target.is_revoked = True
        await d.observe("j")
        await at(100)
        assert d.states() == [("dead", 3)]
        looks = len(target.looks)
        await at(1000)
        assert len(target.looks) == looks


@simulated
async def test_stopping_does_not_wait_for_credentials(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d, at_work(d) as task:
        target.is_revoked = True
        await d.observe("j")
        await at(500)
        assert not task.done()
        d.dispatcher.stop()
        await task
        assert now() == 500.0
        assert {state for state, _ in d.states()} == {"pending"}


@simulated
async def test_a_replay_has_it_look_at_once(tmp_path: Path) -> None:
    target = Told(SendError("answered 400", refused="message"))
    async with desk(tmp_path, target) as d, at_work(d):
        [dead] = await d.observe("k")
        await at(1)
        target.is_revoked = True
        [refused] = await d.observe("j")
        await at(500)
        target.looks.clear()
        await at(501)
        attempts = len(target.sent)
        target.is_revoked = False
        await d.replays("k")
        await at(502)
        assert target.looks == [501.0]
        assert sorted(target.sent[attempts:]) == [[refused], [dead]]
        assert (d.states("k"), d.states("j")[0][0]) == ([("delivered", 1)], "delivered")


@simulated
async def test_a_replay_while_they_are_still_refused_is_not_attempted(tmp_path: Path) -> None:
    target = Told(SendError("answered 400", refused="message"))
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("k")
        await at(1)
        target.is_revoked = True
        await d.observe("j")
        await at(500)
        attempts, looks = len(target.sent), len(target.looks)
        await d.replays("k")
        await at(501)
        assert (len(target.sent), len(target.looks)) == (attempts, looks + 1)
        assert d.states("k") == [("pending", 0)]


@simulated
async def test_once_does_not_wait_for_credentials(tmp_path: Path) -> None:
    target = Told(Receipt(), REVOKED)
    async with desk(tmp_path, target, once=True) as d:
        await d.observe("i", "j", "k")
        await d.observe("j")
        await d.dispatcher.run()
        assert (now(), target.looks, d.dispatcher.failures) == (0.0, [], 1)
        assert target.sent == [["evt_i_1"], ["evt_j_1"]], "the others would be refused as well"
        assert d.states("i") == [("delivered", 1)]
        assert d.states("j") == [("pending", 1), ("pending", 0)]
        assert d.states("k") == [("pending", 0)]


@simulated
async def test_what_once_was_refused_for_its_credentials_the_next_once_tries_first(tmp_path: Path) -> None:
    target = Told(REVOKED)
    async with desk(tmp_path, target, once=True) as d:
        [first, second] = await d.observe("j", "k")
        await d.dispatcher.run()
        await d.restart()
        await d.dispatcher.run()
        assert (now(), target.sent) == (0.0, [[first], [first], [second]])
        assert (d.states("j"), d.states("k")) == ([("delivered", 2)], [("delivered", 1)])


@simulated
async def test_what_was_refused_for_its_credentials_is_tried_at_once_after_a_restart(tmp_path: Path) -> None:
    """Whoever starts the daemon again has mended them."""
    target = Told(*[BROKEN] * 8)
    async with desk(tmp_path, target) as d:
        async with at_work(d):
            await d.observe("j")
            await at(5 * (2**8 - 1) - 1)
            target.is_revoked = True
            await at(5 * (2**8 - 1) + 100)
            assert d.states() == [("pending", 9)], "within the process it waits"
            assert d.record().deliveries[0].next_attempt_at is None
        target.is_revoked = False
        await d.restart()
        async with at_work(d):
            restarted = now()
            await at(restarted + 1)
            assert target.attempts[-1] == restarted
            assert d.states() == [("delivered", 10)]


@simulated
async def test_what_failed_otherwise_waits_on_after_a_restart(tmp_path: Path) -> None:
    target = Told(*[BROKEN] * 3)
    async with desk(tmp_path, target) as d:
        async with at_work(d):
            await d.observe("j")
            await at(16)
        await d.restart()
        async with at_work(d):
            await at(100)
            assert target.attempts == [0.0, 5.0, 15.0, 35.0]


@simulated
async def test_refused_credentials_count_as_failures_but_not_as_a_target_that_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = Told(*[REVOKED] * 5)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("j")
        await at(1000)
        assert d.dispatcher.failures == 5
        assert d.states() == [("delivered", 6)]
    assert "failed repeatedly" not in caplog.text


# ------------------------------------------------------------------------------------- quiet hours


BEGINS, ENDS = 1800.0, 5400.0
QUIET = QuietSettings.model_validate({"from": "11:00", "to": "12:00", "except": ["backfill.failed"]})
MANY = Grouping(over=10, limit=40)


@simulated
async def test_in_quiet_hours_deliveries_are_held_and_go_together_at_their_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    target = Told(grouping=MANY)
    async with desk(tmp_path, target, quiet=QUIET) as d, at_work(d):
        [before] = await d.observe("j")
        await at(BEGINS)
        held = await d.observe("j", "k", None)
        await at(ENDS - 1)
        assert target.sent == [[before]]
        assert d.states("k") == [("pending", 0)]
        await at(ENDS + 1)
        assert target.attempts == [0.0, ENDS]
        after = await d.observe("j", "k")
        await at(ENDS + 2)
    assert target.sent == [[before], held, *([each] for each in after)]
    told = [record.getMessage() for record in caplog.records if "quiet" in record.getMessage()]
    assert told == [
        "ops: quiet until Sat 12:00 UTC, 3 deliveries are held",
        "ops: no longer quiet, 3 deliveries were held",
    ]


@simulated
async def test_quiet_hours_that_hold_nothing_are_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with desk(tmp_path, Told(), quiet=QUIET) as d, at_work(d):
        await at(BEGINS + 10)
        await d.observe("j", type_="backfill.failed")
        await at(ENDS + 100_000)
    assert "quiet" not in caplog.text


@simulated
async def test_an_excepted_event_goes_at_once_with_the_earlier_ones_of_its_job(tmp_path: Path) -> None:
    target = Told(grouping=MANY)
    async with desk(tmp_path, target, quiet=QUIET) as d, at_work(d):
        await at(BEGINS + 10)
        [first, held] = await d.observe("j", "k")
        await at(BEGINS + 500)
        [loud] = await d.observe("j", type_="backfill.failed")
        await at(BEGINS + 501)
        assert target.sent == [[first], [loud]]
        assert target.attempts == [BEGINS + 500] * 2
        await at(ENDS + 1)
    assert target.sent == [[first], [loud], [held]]


@simulated
async def test_a_replay_goes_at_once_at_whatever_hour(tmp_path: Path) -> None:
    target = Told(SendError("answered 400", refused="message"))
    async with desk(tmp_path, target, quiet=QUIET) as d, at_work(d):
        await d.observe("j")
        await at(BEGINS + 10)
        await d.observe("k")
        await d.replays("j")
        await at(BEGINS + 11)
        assert (d.states("j"), d.states("k")) == ([("delivered", 1)], [("pending", 0)])


@simulated
async def test_what_failed_before_the_quiet_hours_is_tried_again_after_them(tmp_path: Path) -> None:
    target = Told(*[BROKEN] * 20)
    async with desk(tmp_path, target, quiet=QUIET) as d, at_work(d):
        await at(BEGINS - 7)
        await d.observe("j")
        await at(ENDS + 1)
        assert target.attempts == [BEGINS - 7, BEGINS - 2, ENDS]


@simulated
async def test_quiet_hours_count_for_no_delivery_as_trying_but_for_excepted_ones(tmp_path: Path) -> None:
    policy = msgspec.structs.replace(SLOW, give_up_after=timedelta(seconds=60))
    target = Told(*[BROKEN] * 100)
    async with desk(tmp_path, target, quiet=QUIET, retry=policy) as d, at_work(d):
        await at(BEGINS - 12)
        await d.observe("j")
        await d.observe("k", type_="backfill.failed")
        await at(ENDS - 1)
        assert (d.states("j")[0][0], d.states("k")[0][0]) == ("pending", "dead")
        await at(ENDS + 1)
        assert d.states("j")[0][0] == "pending"
        await at(ENDS + 200)
        assert d.states("j")[0][0] == "dead"
        ended = d.record().deliveries[0].ended_at
        assert ended is not None
        assert _seconds(ended) == pytest.approx(ENDS + 48, abs=40)


@simulated
async def test_a_pause_in_quiet_hours_counts_once(tmp_path: Path) -> None:
    policy = msgspec.structs.replace(SLOW, give_up_after=timedelta(seconds=60))
    asks = SendError("answered 429", retry_after=timedelta(seconds=ENDS - BEGINS))
    target = Told(asks, *[BROKEN] * 100)
    async with desk(tmp_path, target, quiet=QUIET, retry=policy) as d, at_work(d):
        await at(BEGINS - 1)
        await d.observe("j")
        await at(ENDS + 1000)
        assert d.states("j")[0][0] == "dead"
        assert target.attempts[-1] < ENDS + 150


@simulated
async def test_after_a_restart_what_was_made_in_quiet_hours_goes_together(tmp_path: Path) -> None:
    target = Told(grouping=MANY)
    async with desk(tmp_path, target, quiet=QUIET) as d:
        async with at_work(d):
            await at(BEGINS + 10)
            held = await d.observe("j", "k")
            [loud] = await d.observe("j", type_="backfill.failed")
            await at(BEGINS + 11)
            later = await d.observe("k", "l")
            await at(BEGINS + 12)
        assert target.sent == [[held[0]], [loud]]
        await at(ENDS + 100)
        await d.restart()
        async with at_work(d):
            await at(ENDS + 101)
    assert target.sent[2:] == [[held[1], *later]]


@simulated
async def test_after_a_restart_in_quiet_hours_they_hold_on_and_excepted_ones_go(tmp_path: Path) -> None:
    target = Told(grouping=MANY)
    async with desk(tmp_path, target, quiet=QUIET) as d:
        await at(BEGINS + 10)
        held = await d.observe("j", "k")
        [loud] = await d.observe("l", type_="backfill.failed")
        await d.restart()
        async with at_work(d):
            await at(BEGINS + 11)
            assert target.sent == [[loud]]
            await at(ENDS + 1)
    assert target.sent == [[loud], held]


@simulated
async def test_once_leaves_what_is_held_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    target = Told()
    async with desk(tmp_path, target, quiet=QUIET, once=True) as d:
        await at(BEGINS)
        await d.observe("j")
        [loud] = await d.observe("k", type_="backfill.failed")
        await d.dispatcher.run()
        await d.dispatcher.run()
        assert (now(), target.sent, d.states("j")) == (BEGINS, [[loud]], [("pending", 0)])
    assert caplog.text.count("quiet until Sat 12:00 UTC, 1 delivery is held") == 1


@simulated
async def test_a_clock_that_is_set_is_noticed_within_a_minute(tmp_path: Path) -> None:
    ahead = timedelta(0)
    target = Told()
    async with desk(tmp_path, target, quiet=QUIET, now=lambda: clock() + ahead) as d, at_work(d):
        await at(BEGINS + 10)
        await d.observe("j")
        await at(BEGINS + 100)
        ahead = timedelta(hours=2)
        await at(BEGINS + 161)
        assert d.states() == [("delivered", 1)]


@simulated
async def test_a_target_without_quiet_hours_has_none(tmp_path: Path) -> None:
    target = Told()
    async with desk(tmp_path, target) as d, at_work(d):
        await at(BEGINS + 10)
        await d.observe("j")
        await at(BEGINS + 11)
        assert d.states() == [("delivered", 1)]
