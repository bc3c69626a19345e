"""Dead letters made pending again, with the state in a real file and a target in the test's hands."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.dispatcher import Dispatcher
from notifier.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Event,
    JobRecord,
    RecordKey,
    Snapshot,
    SourceRecord,
    utc_now,
)
from notifier.outbox import absorb, delivery_id, settle, with_events
from notifier.pipeline import Pipeline
from notifier.replays import Order, RefusedOrderError, Replays
from notifier.retry import RetryPolicy
from notifier.sending import Grouping, Receipt, SendError, Shipment
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.upkeep import Upkeep
from tests.records import NOW
from tests.targets import FakeTarget

REFUSED = SendError("answered 400: no", refused="message", status=400, answer="no")
POLICY = RetryPolicy(
    first_retry=timedelta(milliseconds=1),
    max_retry=timedelta(milliseconds=4),
    give_up_after=timedelta(days=3),
)


class Gated(SqliteStore):
    """A store whose commits wait while its gate is closed."""

    def __init__(self, path: Path) -> None:
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        super().__init__(path)

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        self.waiting.set()
        assert self.open.wait(20)
        super().commit(documents)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[State]:
    """Yield the state, in which the source s was polled before."""
    async with State(partial(Gated, path)) as state:
        if state.records.source("s") is None:
            await state.commit(sources={"s": lambda _: SourceRecord(id="0" * 32, baseline_at=NOW)})
        yield state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def an_event(name: str) -> Event:
    return Event(
        id=f"evt_{name}",
        seq=1,
        type="backfill.failed",
        status="failed",
        previous_status=None,
        observed_at=utc_now(),
        summary=f"{name} failed",
        payload=msgspec.Raw(f'"payload of {name}"'.encode()),
    )


def _with_event(old: JobRecord | None, *, event: Event, targets: Sequence[str]) -> JobRecord:
    snapshot = Snapshot(status="failed", first_seen=NOW, status_since=NOW, element=msgspec.Raw(b"{}"))
    return absorb(old, snapshot=snapshot, seq=1, events=[event], targets={event.id: targets})


async def observe(state: State, job_id: str | None, *names: str, targets: Sequence[str] = ("ops",)) -> None:
    """Commit events of a job, or of the source itself, with pending deliveries."""
    for event in map(an_event, names):
        if job_id is None:
            await state.commit(
                sources={
                    "s": partial(
                        lambda record, event: with_events(
                            record, events=[event], targets={event.id: targets}
                        ),
                        event=event,
                    )
                }
            )
        else:
            await state.commit(
                jobs={("s", job_id): partial(_with_event, event=event, targets=targets)},
            )


async def settled(
    state: State, key: RecordKey, *names: str, as_: DeliveryState = "dead", **changes: Any
) -> None:
    """Commit what became of deliveries to ops: dead letters after one attempt, unless told otherwise."""
    fields = {
        "state": as_,
        "attempts": 1,
        "history": (Attempt(at=NOW, outcome="refused", duration_ms=3, status=400, error="answered 400: no"),),
        "first_attempt_at": NOW,
        "ended_at": NOW,
        "last_error": "answered 400: no",
        "answer": "no",
    } | changes
    for name in names:
        new = msgspec.structs.replace(delivery(state, key, name), **fields)
        if key[1] is None:
            await state.commit(sources={key[0]: partial(_settled, delivery=new)})
        else:
            await state.commit(jobs={(key[0], key[1]): partial(_settled, delivery=new)})


def _settled(record: Any, *, delivery: Delivery) -> Any:
    return settle(record, [delivery])


def delivery(state: State, key: RecordKey, name: str, target: str = "ops") -> Delivery:
    record = state.records.outbox(key)
    assert record is not None
    id_ = delivery_id(f"evt_{name}", target)
    return next(each for each in record.deliveries if each.id == id_)


def ids(*names: str, target: str = "ops") -> list[str]:
    return [delivery_id(f"evt_{name}", target) for name in names]


async def some_dead(state: State) -> None:
    """Leave two dead letters of a job and one of the source to ops, one to gone, and others that are not."""
    await observe(state, "j", "1", "2", "3")
    await observe(state, "k", "4", targets=("gone",))
    await observe(state, None, "5", "6")
    await settled(state, ("s", "j"), "1", "2")
    await settled(state, ("s", "j"), "3", as_="delivered")
    gone = msgspec.structs.replace(delivery(state, ("s", "k"), "4", "gone"), state="dead", ended_at=NOW)
    await state.commit(jobs={("s", "k"): partial(_settled, delivery=gone)})
    await settled(state, ("s", None), "5")


# ------------------------------------------------------------------------------------- which ones


async def test_letters_for_lost_targets_alone_are_no_letters_to_replay(path: Path) -> None:
    async with opened(path) as state:
        await some_dead(state)
        with pytest.raises(
            RefusedOrderError, match="1 dead letter is of sources or for targets that are no longer conf"
        ):
            await Replays(state, targets=("ops",)).carry_out(Order(target="gone"))


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order(id=ids("1")[0]), ["1"]),
        (Order(id=ids("2")[0]), ["2"]),
        (Order(id=ids("5")[0]), ["5"]),
        (Order(), ["5", "1", "2"]),
        (Order(target="ops"), ["5", "1", "2"]),
        (Order(target="nobody"), []),
    ],
)
async def test_what_the_order_means_is_pending_again_durably_and_queued_once(
    path: Path, order: Order, names: list[str]
) -> None:
    resumed: list[tuple[RecordKey, Delivery]] = []

    def resume(key: RecordKey, delivery: Delivery) -> None:
        resumed.append((key, delivery))

    async with opened(path) as state:
        await some_dead(state)
        replays = Replays(state, resume=resume, targets=("ops",))
        assert await replays.carry_out(order) == ids(*names)
        assert [each.id for _, each in resumed] == ids(*names)
        assert [key for key, _ in resumed] == [("s", None if name == "5" else "j") for name in names]
        assert all((each.state, each.replay) == ("pending", True) for _, each in resumed)
    async with opened(path) as state:
        for name, key in {"1": "j", "2": "j", "3": "j", "5": None, "6": None}.items():
            each = delivery(state, ("s", key), name)
            before = {"3": "delivered", "6": "pending"}.get(name, "dead")
            assert each.state == ("pending" if name in names else before)
            assert each.replay == (name in names)
        assert delivery(state, ("s", "k"), "4", "gone").state == "dead"


async def test_all_in_a_state_without_any_dead_letter_are_none(path: Path) -> None:
    async with opened(path) as state:
        await observe(state, "j", "1")
        assert await Replays(state).carry_out(Order()) == []
        assert not delivery(state, ("s", "j"), "1").replay


async def test_without_knowing_the_targets_none_is_refused(path: Path) -> None:
    async with opened(path) as state:
        await some_dead(state)
        assert await Replays(state).carry_out(Order()) == [*ids("5", "1", "2"), *ids("4", target="gone")]


@pytest.mark.parametrize("state_", ["pending", "delivered"])
async def test_what_is_no_dead_letter_is_refused_and_left_as_it_is(path: Path, state_: str) -> None:
    async with opened(path) as state:
        await observe(state, "j", "1")
        if state_ == "delivered":
            await settled(state, ("s", "j"), "1", as_="delivered")
        before = delivery(state, ("s", "j"), "1")
        with pytest.raises(RefusedOrderError, match=f"{ids('1')[0]} is {state_}; only a dead letter") as told:
            await Replays(state).carry_out(Order(id=ids("1")[0]))
        assert not told.value.unknown
        assert delivery(state, ("s", "j"), "1") == before


@pytest.mark.parametrize("id_", ["", "dlv_x", "evt_1", "dlv_" + "0" * 24])
async def test_an_unknown_id_is_refused(path: Path, id_: str) -> None:
    async with opened(path) as state:
        await some_dead(state)
        with pytest.raises(RefusedOrderError, match=f"there is no delivery {id_}") as told:
            await Replays(state).carry_out(Order(id=id_))
        assert told.value.unknown


async def test_one_for_a_target_that_is_not_configured_is_refused(path: Path) -> None:
    async with opened(path) as state:
        await some_dead(state)
        [id_] = ids("4", target="gone")
        with pytest.raises(RefusedOrderError, match="for the target gone, which is no longer") as told:
            await Replays(state, targets=("ops",)).carry_out(Order(id=id_))
        assert not told.value.unknown
        assert delivery(state, ("s", "k"), "4", "gone").state == "dead"


# ------------------------------------------------------------------------------------ what it is then


async def test_attempts_count_anew_and_what_was_is_kept(path: Path) -> None:
    async with opened(path) as state:
        await observe(state, "j", "1")
        held: dict[str, Any] = {"held_until": NOW, "held": timedelta(minutes=5), "next_attempt_at": NOW}
        await settled(state, ("s", "j"), "1", **held)
        dead = delivery(state, ("s", "j"), "1")
        await Replays(state).carry_out(Order(id=dead.id))
        assert delivery(state, ("s", "j"), "1") == Delivery(
            id=dead.id,
            event_id="evt_1",
            target="ops",
            state="pending",
            created_at=dead.created_at,
            history=dead.history,
            last_error="answered 400: no",
            answer="no",
            replay=True,
        )


async def test_the_payload_is_still_there(path: Path) -> None:
    async with opened(path) as state:
        await observe(state, "j", "1", "2")
        await settled(state, ("s", "j"), "1")
        await settled(state, ("s", "j"), "2", as_="delivered")
        await Replays(state).carry_out(Order())
    async with opened(path) as state:
        record = state.records.job(("s", "j"))
        assert record is not None
        assert [event.payload for event in record.events] == [
            msgspec.Raw(b'"payload of 1"'),
            msgspec.UNSET,
        ]


# -------------------------------------------------------------------------------------- side by side


@pytest.mark.parametrize("same", [False, True])
async def test_concurrent_orders_for_one_dead_letter_queue_it_once(path: Path, *, same: bool) -> None:
    queued: list[str] = []
    async with opened(path) as state:
        await observe(state, "j", "1", "2")
        await settled(state, ("s", "j"), "1", "2")
        replays = Replays(state, resume=lambda _, each: queued.append(each.id), targets=("ops",))
        [id_] = ids("1")
        orders = [Order(id=id_)] * 4 if same else [Order(), Order(id=id_), Order(target="ops"), Order()]
        answers = await asyncio.gather(*map(replays.carry_out, orders), return_exceptions=True)
    assert sorted(queued) == sorted(ids("1") if same else ids("1", "2"))
    assert answers[0] == queued
    for answer, order in zip(answers[1:], orders[1:], strict=True):
        if order.id is None:
            assert answer == []
        else:
            assert isinstance(answer, RefusedOrderError)
            assert str(answer) == f"{id_} is pending; only a dead letter is made pending again"


@pytest.mark.parametrize("listed", [True, False])
async def test_what_is_pruned_while_it_is_ordered_stops_nothing(path: Path, *, listed: bool) -> None:
    queued: list[str] = []
    async with opened(path) as state:
        store: Any = state._store
        await observe(state, "old", "1")
        await settled(state, ("s", "old"), "1")
        if not listed:
            await state.commit(jobs={("s", "old"): _missing})
        await observe(state, "new", "2")
        await settled(state, ("s", "new"), "2", ended_at=utc_now())
        upkeep = Upkeep(state=state, keep=timedelta(days=1), listing=lambda: ["s"])
        store.waiting.clear()
        store.open.clear()
        pruning = asyncio.create_task(upkeep.prune())
        await asyncio.to_thread(store.waiting.wait, 20)
        replays = Replays(state, resume=lambda _, each: queued.append(each.id), targets=("ops",))
        ordering = asyncio.create_task(replays.carry_out(Order()))
        async with asyncio.timeout(10):
            while not state._requests:  # noqa: ASYNC110 - until the order has asked for its commit
                await asyncio.sleep(0.001)
        store.open.set()
        await pruning
        assert await ordering == ids("2")
        assert queued == ids("2")
        left = state.records.job(("s", "old"))
        assert left is None or (listed and not left.deliveries)


def _missing(record: JobRecord | None) -> JobRecord:
    assert record is not None
    snapshot = msgspec.structs.replace(record.snapshot, missing_since=NOW)
    return msgspec.structs.replace(record, snapshot=snapshot)


# -------------------------------------------------------------------------------------------- order


class Hand(FakeTarget):
    """A target whose attempts wait for the test to end them."""

    name = "ops"
    concurrency = 3
    longest = timedelta(seconds=30)
    grouping: Grouping | None = None

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.payloads: list[bytes] = []
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self._changed = asyncio.Condition()

    async def send(self, shipment: Shipment) -> Receipt:
        (event,) = shipment.events
        assert not isinstance(event.payload, msgspec.UnsetType)
        self.sent.append(event.id)
        self.payloads.append(bytes(event.payload))
        self.under_way[event.id] = asyncio.get_running_loop().create_future()
        async with self._changed:
            self._changed.notify_all()
        await self.under_way[event.id]
        return Receipt()

    async def attempts(self, *names: str) -> None:
        """Wait until exactly these are under way."""
        wanted = {f"evt_{name}" for name in names}
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: set(self.under_way) == wanted)

    def end(self, name: str, error: SendError | None = None) -> None:
        ending = self.under_way.pop(f"evt_{name}")
        if error is None:
            ending.set_result(None)
        else:
            ending.set_exception(error)


class Process:
    """What sends and what carries orders out."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.hand = Hand()
        self.dispatcher = Dispatcher(self.hand, state=state, retry=POLICY, chance=lambda: 0.5)
        self.pipeline = Pipeline(state, {"ops": self.dispatcher})
        self.replays = Replays(state, resume=self.pipeline.resume_one, targets=("ops",))

    async def observe(self, job_id: str, *names: str) -> None:
        await observe(self.state, job_id, *names)
        for name in names:
            self.pipeline.pass_on(("s", job_id), an_event(name), ["ops"])

    async def becomes(self, job_id: str, name: str, state: str) -> Delivery:
        """Wait until what became of a delivery is stored."""
        async with asyncio.timeout(10):
            while (found := delivery(self.state, ("s", job_id), name)).state != state:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return found


@asynccontextmanager
async def process(path: Path) -> AsyncIterator[Process]:
    async with opened(path) as state:
        made = Process(state)
        await made.pipeline.resume(["s"])
        task = asyncio.create_task(made.dispatcher.run())
        try:
            yield made
        finally:
            task.cancel()  # attempts under way are of unknown outcome then, as after a kill
            await asyncio.gather(task, return_exceptions=True)


async def test_a_replay_goes_at_once_and_neither_waits_for_its_job_nor_holds_it_up(path: Path) -> None:
    async with process(path) as p:
        await p.observe("j", "1", "2", "3", "4")
        await p.hand.attempts("1")
        p.hand.end("1", REFUSED)
        await p.hand.attempts("2")
        assert await p.replays.carry_out(Order()) == ids("1")
        await p.hand.attempts("2", "1")
        p.hand.end("2")
        await p.hand.attempts("1", "3")
        p.hand.end("1", SendError("answered 500", outcome_unknown=True))
        await p.hand.attempts("1", "3")
        p.hand.end("3")
        await p.hand.attempts("1", "4")
        p.hand.end("1")
        p.hand.end("4")
        await p.becomes("j", "4", "delivered")
        replayed = await p.becomes("j", "1", "delivered")
    assert p.hand.sent == [f"evt_{name}" for name in ("1", "2", "1", "3", "1", "4")]
    assert set(p.hand.payloads) == {f'"payload of {n}"'.encode() for n in (1, 2, 3, 4)}
    assert replayed.attempts == 2
    assert [(each.outcome, each.status) for each in replayed.history] == [
        ("refused", 400),
        ("unknown", None),
        ("delivered", None),
    ]
    assert (replayed.last_error, replayed.answer) == (None, None)


async def test_two_replays_of_one_job_go_side_by_side(path: Path) -> None:
    async with process(path) as p:
        await p.observe("j", "1", "2")
        for name in ("1", "2"):
            await p.hand.attempts(name)
            p.hand.end(name, REFUSED)
        await p.becomes("j", "2", "dead")
        await p.replays.carry_out(Order())
        await p.hand.attempts("1", "2")


async def test_a_replay_that_is_refused_again_is_a_dead_letter_again_and_can_be_replayed_again(
    path: Path,
) -> None:
    async with process(path) as p:
        await p.observe("j", "1")
        for round_ in range(1, 4):
            await p.hand.attempts("1")
            p.hand.end("1", REFUSED)
            dead = await p.becomes("j", "1", "dead")
            assert (dead.attempts, len(dead.history)) == (1, round_)
            assert await p.replays.carry_out(Order(id=dead.id)) == ids("1")
        await p.hand.attempts("1")
        p.hand.end("1")
        await p.becomes("j", "1", "delivered")
    assert p.hand.sent == ["evt_1"] * 4


async def test_of_many_attempts_over_several_replays_the_last_twenty_are_kept(path: Path) -> None:
    async with process(path) as p:
        await p.observe("j", "1")
        for attempt in range(25):
            await p.hand.attempts("1")
            error = SendError(f"answered 5{attempt:02}", status=500)
            p.hand.end("1", REFUSED if attempt % 10 == 9 else error)
            if attempt % 10 == 9:
                await p.becomes("j", "1", "dead")
                await p.replays.carry_out(Order())
        await p.hand.attempts("1")
        last = delivery(p.state, ("s", "j"), "1")
    assert last.attempts == 5
    errors = [each.error for each in last.history]
    assert len(errors) == 20
    assert errors[0] == "answered 505"
    assert errors.count("answered 400: no") == 2
    assert errors[-1] == "answered 524"


async def test_after_a_restart_a_replay_still_waits_for_nobody(path: Path) -> None:
    async with process(path) as p:
        await p.observe("j", "1", "2", "3")
        await p.hand.attempts("1")
        p.hand.end("1", REFUSED)
        await p.hand.attempts("2")
        await p.replays.carry_out(Order())
        await p.hand.attempts("2", "1")
    async with process(path) as p:
        await p.hand.attempts("2", "1")
        p.hand.end("2")
        await p.hand.attempts("1", "3")
        p.hand.end("1")
        await p.becomes("j", "1", "delivered")
        await p.hand.attempts("3")
    assert sorted(p.hand.sent) == ["evt_1", "evt_2", "evt_3"]


async def test_an_order_from_before_a_start_is_carried_out_by_it(path: Path) -> None:
    """That of the command when no daemon runs."""
    async with opened(path) as state:
        await observe(state, "j", "1", "2")
        await settled(state, ("s", "j"), "1")
        await Replays(state).carry_out(Order())
    async with process(path) as p:
        await p.hand.attempts("1", "2")
        assert set(p.hand.payloads) == {b'"payload of 1"', b'"payload of 2"'}
