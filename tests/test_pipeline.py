"""What a process finds in the outbox at its start, with targets in the test's hands and real state files."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
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
    OpenBatch,
    RecordKey,
    Snapshot,
    SourceRecord,
    utc_now,
)
from notifier.outbox import LOST_SOURCE, LOST_TARGET, absorb, batch_id, delivery_id, settle, with_events
from notifier.pipeline import Pipeline
from notifier.retry import RetryPolicy
from notifier.sending import Grouping, Receipt, SendError, Shipment
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from tests.records import NOW
from tests.targets import FakeTarget

GROUPING = Grouping(over=2, limit=5)
FAILED = SendError("answered 503", status=503)
REFUSED = SendError("answered 400: no", refused="message", status=400)
POLICY = RetryPolicy(
    first_retry=timedelta(milliseconds=1),
    max_retry=timedelta(milliseconds=4),
    give_up_after=timedelta(days=3),
)


class Hand(FakeTarget):
    """A target whose attempts wait for the test to end them, each known by its events."""

    concurrency = 3
    longest = timedelta(seconds=30)

    def __init__(self, name: str = "ops", grouping: Grouping | None = None) -> None:
        self.name = name
        self.grouping = grouping
        self.sent: list[str] = []
        self.ids: list[str] = []
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self._changed = asyncio.Condition()

    async def send(self, shipment: Shipment) -> Receipt:
        known_by = " ".join(event.id.removeprefix("evt_") for event in shipment.events)
        self.sent.append(known_by)
        self.ids.append(batch_id([event.id for event in shipment.events]))
        self.under_way[known_by] = asyncio.get_running_loop().create_future()
        async with self._changed:
            self._changed.notify_all()
        await self.under_way[known_by]
        return Receipt()

    async def attempts(self, *known_by: str) -> None:
        """Wait until exactly these are under way."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: set(self.under_way) == set(known_by))

    def end(self, known_by: str, error: SendError | None = None) -> None:
        ending = self.under_way.pop(known_by)
        if error is None:
            ending.set_result(None)
        else:
            ending.set_exception(error)


class Process:
    """A pipeline over a state."""

    def __init__(self, state: State, hands: Collection[Hand], once: bool) -> None:
        self.state = state
        self.dispatchers = {
            hand.name: Dispatcher(hand, state=state, retry=POLICY, once=once, chance=lambda: 0.5)
            for hand in hands
        }
        self.became: Counter[tuple[str, DeliveryState]] = Counter()
        """How many deliveries for a target came into a state without an attempt."""
        self.pipeline = Pipeline(state, self.dispatchers, became=self._note)

    async def observe(
        self, job_id: str | None, *names: str, source: str = "s", observed_at: datetime | None = None
    ) -> None:
        """Commit and queue events of a job, or of the source itself, for all targets."""
        for name in names:
            event = an_event(name, observed_at)
            targets = tuple(self.dispatchers)
            if job_id is None:
                with_event = partial(with_events, events=[event], targets={event.id: targets})
                await self.state.commit(sources={source: with_event})
            else:
                with_event_of_job = partial(_with_event, event=event, targets=targets)
                await self.state.commit(jobs={(source, job_id): with_event_of_job})
            self.pipeline.pass_on((source, job_id), event, targets)

    def _note(self, target: str, state: DeliveryState, number: int) -> None:
        self.became[target, state] += number

    async def change(self, key: RecordKey, name: str, target: str = "ops", **changes: Any) -> None:
        """Commit another state of a delivery, as an attempt would."""
        new = msgspec.structs.replace(delivery(self.state, key, name, target), **changes)
        if key[1] is None:
            await self.state.commit(sources={key[0]: partial(_settled, delivery=new)})
        else:
            await self.state.commit(jobs={(key[0], key[1]): partial(_settled, delivery=new)})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is stored."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing tells of each commit
                await asyncio.sleep(0.001)

    def batches(self, source: str = "s") -> list[str]:
        """Return the open batches of several, of a source, each by the jobs of its members."""
        return [jobs for jobs in self.fixed(source) if " " in jobs]

    def fixed(self, source: str = "s") -> list[str]:
        """Return all open batches of a source, also those of one, each by the jobs of its members."""
        record = self.state.records.source(source)
        assert record is not None
        return [" ".join(job_id or "-" for job_id, _ in batch.members) for batch in record.batches]

    def states(self) -> dict[str, str]:
        """Return the state of each delivery to each target, by its event, with why it was given up."""
        return {
            f"{each.event_id.removeprefix('evt_')} to {each.target}": each.state
            + (f": {each.last_error}" if each.state == "dead" else "")
            for _, record in self.state.records.outboxes()
            for each in record.deliveries
        }


def an_event(name: str, observed_at: datetime | None = None) -> Event:
    return Event(
        id=f"evt_{name}",
        seq=1,
        type="backfill.failed",
        status="failed",
        previous_status=None,
        observed_at=observed_at or utc_now(),
        summary=f"{name} failed",
        payload=msgspec.Raw(b"{}"),
    )


def delivery(state: State, key: RecordKey, name: str, target: str = "ops") -> Delivery:
    record = state.records.outbox(key)
    assert record is not None
    id_ = delivery_id(f"evt_{name}", target)
    return next(each for each in record.deliveries if each.id == id_)


def _with_event(old: JobRecord | None, *, event: Event, targets: Sequence[str]) -> JobRecord:
    snapshot = Snapshot(status="failed", first_seen=NOW, status_since=NOW, element=msgspec.Raw(b"{}"))
    return absorb(old, snapshot=snapshot, seq=1, events=[event], targets={event.id: targets})


def _settled(record: Any, *, delivery: Delivery) -> Any:
    return settle(record, [delivery])


@asynccontextmanager
async def stored(
    path: Path, *hands: Hand, sources: Collection[str] = ("s",), once: bool = False
) -> AsyncIterator[Process]:
    """Yield a process that has not begun yet, on a state in which the sources s and t were polled."""
    async with State(partial(SqliteStore, path)) as state:
        for name in ("s", "t"):
            if state.records.source(name) is None:
                record = SourceRecord(id=name * 32, baseline_at=NOW)
                await state.commit(sources={name: partial(lambda _, record: record, record=record)})
        process = Process(state, hands, once)
        await process.pipeline.resume(sources)
        yield process


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[None]:
    """Deliver for as long as the context lasts; what is under way at its end is cut off, as by a kill."""
    tasks = [asyncio.create_task(each.run()) for each in process.dispatchers.values()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


# ---------------------------------------------------------------------------------- what is owed


async def test_what_was_observed_and_not_sent_is_sent_after_the_next_start(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with stored(path, Hand()) as p:
        await p.observe("j", "1", "2")
        await p.observe(None, "3", "4")
    async with stored(path, hand := Hand()) as p, running(p):
        assert "4 deliveries from before still to be made" in caplog.messages
        await hand.attempts("1", "3")
        hand.end("1")
        await hand.attempts("2", "3")
        hand.end("3")
        await hand.attempts("2", "4")


async def test_a_start_with_nothing_to_do_says_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with stored(path, Hand()) as p:
        await p.observe("j", "1")
        await p.change(("s", "j"), "1", state="delivered", ended_at=NOW)
    async with stored(path, Hand()):
        pass
    assert caplog.messages == []


@pytest.mark.parametrize("back", [False, True])
async def test_the_oldest_go_first_and_a_clock_that_was_set_back_turns_no_job_around(
    path: Path, *, back: bool
) -> None:
    step = timedelta(seconds=-1 if back else 1)
    async with stored(path, Hand()) as p:
        await p.observe("j", "1", observed_at=NOW)
        await p.observe("k", "3", observed_at=NOW + abs(step) / 2)
        await p.observe("j", "2", observed_at=NOW + step)
    hand = Hand()
    hand.concurrency = 1
    async with stored(path, hand) as p, running(p):
        for name in ("1", "3", "2") if not back else ("1", "2", "3"):
            await hand.attempts(name)
            hand.end(name)
        await p.until(lambda: set(p.states().values()) == {"delivered"})


async def test_a_replay_is_no_reason_for_its_job_to_wait(path: Path) -> None:
    async with stored(path, Hand()) as p:
        await p.observe("j", "1", "2", "3")
        await p.change(("s", "j"), "1", replay=True)
        await p.change(("s", "j"), "2", replay=True)
    async with stored(path, hand := Hand()) as p, running(p):
        await hand.attempts("1", "2", "3")


# ------------------------------------------------------------------------------------- what is lost


async def test_what_is_owed_to_a_lost_target_is_given_up_and_nobody_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stored(path, Hand(), Hand("gone")) as p:
        await p.observe("j", "1")
        await p.observe(None, "2")
    async with stored(path, hand := Hand()) as p, running(p):
        await hand.attempts("1", "2")
        hand.end("1")
        hand.end("2")
        await p.until(lambda: list(p.states().values()).count("delivered") == 2)
        assert p.states() == {
            "1 to ops": "delivered",
            "1 to gone": f"dead: {LOST_TARGET}",
            "2 to ops": "delivered",
            "2 to gone": f"dead: {LOST_TARGET}",
        }
        record = p.state.records.source("s")
        assert record is not None
        assert record.deaths == {}
        assert p.became == {("gone", "dead"): 2}
    assert "gave up 2 deliveries: the source or target is no longer configured" in caplog.text


async def test_what_is_owed_for_a_lost_source_is_given_up_and_nobody_is_told(path: Path) -> None:
    async with stored(path, Hand(), sources=("s", "t")) as p:
        await p.observe("j", "1", source="t")
        await p.observe(None, "2", source="t")
        await p.observe("j", "3")
    async with stored(path, hand := Hand()) as p, running(p):
        await hand.attempts("3")
        assert p.states() == {
            "1 to ops": f"dead: {LOST_SOURCE}",
            "2 to ops": f"dead: {LOST_SOURCE}",
            "3 to ops": "pending",
        }
        record = p.state.records.source("t")
        assert record is not None
        assert record.deaths == {}
        assert p.became == {("ops", "dead"): 2}


async def test_what_was_lost_once_is_not_given_up_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with stored(path, Hand("gone")) as p:
        await p.observe("j", "1")
    async with stored(path, Hand()) as p:
        before = delivery(p.state, ("s", "j"), "1", "gone")
    caplog.clear()
    async with stored(path, Hand()) as p:
        assert delivery(p.state, ("s", "j"), "1", "gone") == before
        assert p.became == {}
    assert caplog.messages == []


# ------------------------------------------------------------------------------------------ batches


async def left_under_way(path: Path) -> list[str]:
    """Leave what a kill leaves in the middle of an attempt of a batch, and the ids it was sent with.

    The batch is j1 k1 j2 and one about the source; j3 and l1 came in while it was under way.
    """
    async with stored(path, hand := Hand(grouping=GROUPING)) as p:
        await p.observe("j", "1")
        await p.observe("k", "2")
        await p.observe("j", "3")
        await p.observe(None, "4")
        async with running(p):
            await hand.attempts("1 2 3 4")
            await p.observe("j", "5")
            await p.observe("l", "6")
            await hand.attempts("1 2 3 4", "6")
            hand.end("6")
            await p.until(lambda: p.states()["6 to ops"] == "delivered")
        assert p.batches() == ["j k j -"]
    return hand.ids


async def test_a_batch_is_stored_before_it_is_sent_and_ends_with_its_outcome(path: Path) -> None:
    async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
        await p.observe("j", "1")
        await hand.attempts("1")
        await p.observe("k", "2")
        await hand.attempts("1", "2")
        await p.observe("l", "3")
        await hand.attempts("1", "2", "3")
        for job_id, name in (("m", "4"), ("n", "5"), ("o", "6")):
            await p.observe(job_id, name)
        assert p.batches() == []
        hand.end("1")
        await hand.attempts("2", "3", "4 5 6")
        assert p.batches() == ["m n o"]
        assert p.states()["4 to ops"] == "pending"
        hand.end("4 5 6", FAILED)
        await p.until(lambda: hand.sent.count("4 5 6") == 2)
        assert p.batches() == ["m n o"]
        await hand.attempts("2", "3", "4 5 6")
        hand.end("4 5 6")
        await p.until(lambda: p.batches() == [])
        assert [p.states()[f"{name} to ops"] for name in "456"] == ["delivered"] * 3


async def test_after_a_kill_a_batch_is_sent_again_with_the_same_members_order_and_id(path: Path) -> None:
    [first, _] = await left_under_way(path)
    async with stored(path, hand := Hand(grouping=GROUPING)) as p:
        await p.observe("m", "7")
        async with running(p):
            await hand.attempts("1 2 3 4", "7")
            assert hand.ids[hand.sent.index("1 2 3 4")] == first
            hand.end("7")
            await hand.attempts("1 2 3 4")
            hand.end("1 2 3 4")
            await hand.attempts("5")
            assert p.batches() == []
            hand.end("5")
            await p.until(lambda: set(p.states().values()) == {"delivered"})
            await p.until(lambda: len(p.dispatchers["ops"]) == 0)


async def test_a_kill_after_a_kill_changes_no_batch_either(path: Path) -> None:
    [first, _] = await left_under_way(path)
    for _ in range(3):
        async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
            await hand.attempts("1 2 3 4")
            assert hand.ids == [first]
            assert p.batches() == ["j k j -"]


async def test_after_a_kill_what_was_sent_alone_goes_alone_again(path: Path) -> None:
    """It may have arrived: together with others it would be known by another id."""
    async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
        await p.observe("j", "1")
        await hand.attempts("1")
        await p.observe("k", "2")
        await hand.attempts("1", "2")
        assert p.fixed() == ["j", "k"]
        for job_id, name in (("j", "3"), ("k", "4")):
            await p.observe(job_id, name)
    async with stored(path, hand := Hand(grouping=GROUPING)) as p:
        for job_id, name in (("l", "5"), ("m", "6"), ("n", "7")):
            await p.observe(job_id, name)
        async with running(p):
            await hand.attempts("1", "2", "5 6 7")
            assert sorted(p.fixed()) == ["j", "k", "l m n"]
            hand.end("1")
            await hand.attempts("2", "3", "5 6 7")
            assert sorted(p.fixed()) == ["j", "k", "l m n"]
            assert p.states()["1 to ops"] == "delivered"


async def test_without_a_grouping_nothing_is_stored_before_an_attempt(path: Path) -> None:
    async with stored(path, hand := Hand()) as p, running(p):
        for job_id, name in (("j", "1"), ("k", "2"), ("l", "3")):
            await p.observe(job_id, name)
        await hand.attempts("1", "2", "3")
        assert p.fixed() == []


async def test_a_replay_to_a_target_that_groups_goes_with_the_others_and_again_after_a_kill(
    path: Path,
) -> None:
    async with stored(path, Hand(grouping=GROUPING)) as p:
        for job_id, name in (("j", "1"), ("j", "2"), ("k", "3"), ("l", "4")):
            await p.observe(job_id, name)
        await p.change(("s", "j"), "1", replay=True)
    for _ in range(2):
        async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
            await hand.attempts("1 2 3 4")
            assert p.fixed() == ["j j k l"]
    async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
        await hand.attempts("1 2 3 4")
        hand.end("1 2 3 4")
        await p.until(lambda: p.fixed() == [])
        assert set(p.states().values()) == {"delivered"}


async def test_a_batch_that_is_to_be_retried_waits_for_its_time_after_a_start_too(path: Path) -> None:
    async with stored(path, hand := Hand(grouping=GROUPING)) as p:
        for job_id, name in (("j", "1"), ("k", "2"), ("l", "3")):
            await p.observe(job_id, name)
        async with running(p):
            await hand.attempts("1 2 3")
            hand.end("1 2 3", SendError("answered 429", retry_after=timedelta(hours=1)))
            await p.until(lambda: delivery(p.state, ("s", "l"), "3").attempts == 1)
    async with stored(path, hand := Hand(grouping=GROUPING), once=True) as p:
        await p.observe("m", "4")
        async with asyncio.timeout(10):
            await p.dispatchers["ops"].run()
        assert hand.sent == []
        assert p.batches() == ["j k l"]
        assert len(p.dispatchers["ops"]) == 4


async def test_a_batch_that_is_refused_after_a_start_goes_one_by_one(path: Path) -> None:
    await left_under_way(path)
    async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
        await hand.attempts("1 2 3 4")
        hand.end("1 2 3 4", REFUSED)
        await hand.attempts("1", "2", "4")
        assert p.batches() == []
        hand.end("1", REFUSED)
        await hand.attempts("2", "3", "4")
        hand.end("3")
        await hand.attempts("2", "4", "5")
        assert p.states()["1 to ops"] == "dead: answered 400: no"


async def test_a_kill_while_a_refused_batch_goes_one_by_one_puts_nothing_together_again(path: Path) -> None:
    await left_under_way(path)
    async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
        await hand.attempts("1 2 3 4")
        hand.end("1 2 3 4", REFUSED)
        await hand.attempts("1", "2", "4")
    async with stored(path, hand := Hand(grouping=GROUPING)) as p, running(p):
        await hand.attempts("1", "2", "4")
        hand.end("1")
        await hand.attempts("2", "3", "4")
        hand.end("3")
        await hand.attempts("2", "4", "5")


async def test_a_batch_of_a_target_that_takes_none_any_more_goes_one_by_one(path: Path) -> None:
    await left_under_way(path)
    async with stored(path, hand := Hand()) as p:
        assert p.batches() == []
        async with running(p):
            await hand.attempts("1", "2", "4")
            hand.end("1")
            await hand.attempts("2", "3", "4")
            hand.end("3")
            await hand.attempts("2", "4", "5")
            for name in "245":
                hand.end(name)
            await p.until(lambda: set(p.states().values()) == {"delivered"})
    assert sorted(hand.sent) == list("12345")
    assert hand.sent.index("1") < hand.sent.index("3"), "of one job"


async def test_a_batch_of_a_lost_target_is_given_up(path: Path) -> None:
    await left_under_way(path)
    async with stored(path, Hand("new", grouping=GROUPING)) as p:
        assert p.batches() == []
        assert set(p.states().values()) == {"delivered", f"dead: {LOST_TARGET}"}
        assert len(p.dispatchers["new"]) == 0
    async with stored(path, hand := Hand(grouping=GROUPING)) as p:
        assert len(p.dispatchers["ops"]) == 0, "a target that is there again is owed nothing"
        assert hand.sent == []


async def test_a_batch_of_a_lost_source_is_given_up(path: Path) -> None:
    await left_under_way(path)
    async with stored(path, Hand(grouping=GROUPING), sources=("t",)) as p:
        assert p.batches() == []
        assert set(p.states().values()) == {"delivered", f"dead: {LOST_SOURCE}"}
        assert len(p.dispatchers["ops"]) == 0


async def test_batches_of_two_targets_and_two_sources_are_kept_apart(path: Path) -> None:
    """What becomes of one is no matter of the others."""
    async with stored(
        path, Hand(grouping=GROUPING), Hand("data", grouping=GROUPING), sources=("s", "t")
    ) as p:
        for source in ("s", "t"):
            members = []
            for number in range(3):
                name = f"{source}{number}"
                await p.observe(f"j{number}", name, source=source)
                members.append((f"j{number}", name))
            for target in p.dispatchers:
                batch = OpenBatch(
                    target=target,
                    members=tuple((job_id, delivery_id(f"evt_{name}", target)) for job_id, name in members),
                )
                await p.state.commit(sources={source: partial(_with_batch, batch=batch)})
    async with stored(path, hand := Hand(grouping=GROUPING), sources=("s", "t")) as p, running(p):
        await hand.attempts("s0 s1 s2", "t0 t1 t2")
        assert p.batches("s") == p.batches("t") == ["j0 j1 j2"]
        hand.end("s0 s1 s2")
        await p.until(lambda: p.batches("s") == [])
        assert p.batches("t") == ["j0 j1 j2"]
        assert {state for what, state in p.states().items() if "data" in what} == {f"dead: {LOST_TARGET}"}


def _with_batch(record: SourceRecord | None, *, batch: OpenBatch) -> SourceRecord:
    assert record is not None
    return msgspec.structs.replace(record, batches=(*record.batches, batch))
