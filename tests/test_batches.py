"""What is attempted together: a target in the test's hands, the state in a real file."""

import asyncio
import itertools
import logging
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.dispatcher import Dispatcher
from notifier.model import Delivery, Event, JobRecord, OpenBatch, RecordKey, Snapshot, SourceRecord, utc_now
from notifier.outbox import LOST_TARGET, absorb, batch_id, delivery_id, with_events
from notifier.pipeline import Pipeline
from notifier.records import decode_job, source_key
from notifier.retry import RetryPolicy
from notifier.sending import Grouping, Receipt, SendError, Shipment
from notifier.state import State
from notifier.storage import StoreError
from notifier.store.reading import read_state
from notifier.store.sqlite import SqliteStore
from tests.targets import FakeTarget

OVER = 2
POLICY = RetryPolicy(
    first_retry=timedelta(milliseconds=1),
    max_retry=timedelta(milliseconds=4),
    give_up_after=timedelta(days=3),
)
NO_ANSWER = SendError("no answer in time", outcome_unknown=True)
REFUSED = SendError("answered 400", refused="message", status=400, answer="no")
GONE = SendError("is_archived", refused="endpoint", status=200, answer="gone")

Ids = tuple[str, ...]

_numbers = itertools.count(1)  # no event of a test has the id of another one


class Hand(FakeTarget):
    """A target that takes several events at once, and whose attempts wait for the test to end them.

    `script` ends them by itself, one entry an attempt; what begins an attempt is told to `began`.
    """

    name = "ops"
    longest = timedelta(seconds=30)

    def __init__(self, *, concurrency: int, grouping: Grouping | None, name: str = "ops") -> None:
        self.name = name
        self.concurrency = concurrency
        self.grouping = grouping
        self.sent: list[Ids] = []
        self.under_way: dict[Ids, asyncio.Future[None]] = {}
        self.script: list[BaseException | None] | None = None
        self.began: Callable[[Ids], None] = lambda _: None
        self._changed = asyncio.Condition()

    async def send(self, shipment: Shipment) -> Receipt:
        ids = tuple(event.id for event in shipment.events)
        self.sent.append(ids)
        self.began(ids)
        if self.script is not None:
            if self.script and (error := self.script.pop(0)) is not None:
                raise error
            return Receipt()
        self.under_way[ids] = asyncio.get_running_loop().create_future()
        async with self._changed:
            self._changed.notify_all()
        await self.under_way[ids]
        return Receipt()

    async def attempts(self, *batches: Ids) -> None:
        """Wait until exactly these are under way."""
        await self.until(lambda: set(self.under_way) == set(batches))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, looked at whenever an attempt begins."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    def end(self, ids: Ids, error: BaseException | None = None) -> None:
        ending = self.under_way.pop(ids)
        if error is None:
            ending.set_result(None)
        else:
            ending.set_exception(error)


class Bench:
    """A dispatcher over a state, and events for it."""

    def __init__(self, path: Path, state: State, hand: Hand, **options: Any) -> None:
        self.path = path
        self.state = state
        self.hand = hand
        self.deaths = 0
        self.dispatcher = Dispatcher(
            hand, state=state, chance=lambda: 0.5, died=self._died, **({"retry": POLICY} | options)
        )
        self.pipeline = Pipeline(state, {hand.name: self.dispatcher})

    async def observe(self, *names: str) -> Ids:
        """Commit an event of each of these jobs, queue all of them at once, and return their ids.

        `t/a` is the job `a` of the source `t`, instead of `s`; `t/` is what is about a source.
        """
        found: list[tuple[RecordKey, str]] = []
        for name in names:
            source, _, job_id = name.rpartition("/")
            key = source or "s", job_id or None
            found.append((key, f"evt_{job_id}_{next(_numbers)}"))
            await self._commit(*found[-1])
        for key, id_ in found:
            self.dispatcher.add(key, delivery_id(id_, self.hand.name))
        return tuple(id_ for _, id_ in found)

    async def _commit(self, key: RecordKey, id_: str) -> None:
        source, job_id = key
        if job_id is None:
            update = partial(_with_own_event, id_=id_, target=self.hand.name)
            await self.state.commit(sources={source: update})
        else:
            job_update = partial(_with_event, id_=id_, target=self.hand.name)
            await self.state.commit(jobs={(source, job_id): job_update})

    def delivery(self, id_: str) -> Delivery:
        """Return the delivery of an event, as it is stored in the file."""
        return deliveries(self.path)[id_]

    def states(self, *ids: str) -> list[tuple[str, int]]:
        stored = deliveries(self.path)
        return [(stored[id_].state, stored[id_].attempts) for id_ in ids]

    def batches(self, source: str = "s") -> tuple[OpenBatch, ...]:
        """Return the batches of several, of a source, as they are stored in the file."""
        return tuple(each for each in stored_source(self.path, source).batches if len(each.members) > 1)

    def _died(self) -> None:
        self.deaths += 1

    async def break_the_disk(self) -> None:
        await self.state._in_thread(lambda: self.state._store._ask("PRAGMA query_only=ON"))  # type: ignore[attr-defined]


def stored_source(path: Path, source: str = "s") -> SourceRecord:
    return msgspec.json.decode(dict(read_state(path))[source_key(source)], type=SourceRecord)


def deliveries(path: Path) -> dict[str, Delivery]:
    """Return all deliveries in a file, by the id of their event."""
    records: list[JobRecord | SourceRecord] = []
    for key, document in read_state(path):
        if key.startswith("job/"):
            records.append(decode_job(document))
        elif key.startswith("source/"):
            records.append(msgspec.json.decode(document, type=SourceRecord))
    return {delivery.event_id: delivery for record in records for delivery in record.deliveries}


def batch(*members: tuple[str | None, str], target: str = "ops") -> OpenBatch:
    """Return what is stored of a batch, given the job and the event id of each member."""
    return OpenBatch(
        target=target, members=tuple((job_id, delivery_id(id_, target)) for job_id, id_ in members)
    )


def _event(id_: str, seq: int) -> Event:
    return Event(
        id=id_,
        seq=seq,
        type="backfill.staging",
        status="staging",
        previous_status=None,
        observed_at=utc_now(),
        summary="something happened",
        payload=msgspec.Raw(b"{}"),
    )


def _with_event(old: JobRecord | None, *, id_: str, target: str) -> JobRecord:
    now = utc_now()
    snapshot = Snapshot(status="staging", first_seen=now, status_since=now, element=msgspec.Raw(b"{}"))
    seq = 1 if old is None else old.seq + 1
    return absorb(old, snapshot=snapshot, seq=seq, events=[_event(id_, seq)], targets={id_: (target,)})


def _with_own_event(old: SourceRecord | None, *, id_: str, target: str) -> SourceRecord:
    assert old is not None
    counted = msgspec.structs.replace(old, seq=old.seq + 1)
    return with_events(counted, events=[_event(id_, counted.seq)], targets={id_: (target,)})


@asynccontextmanager
async def bench(
    directory: Path,
    *,
    concurrency: int = 1,
    over: int | None = OVER,
    limit: int = 1000,
    name: str = "ops",
    **options: Any,
) -> AsyncIterator[Bench]:
    """Work on the state in a directory; what an earlier process left there is resumed."""
    grouping = None if over is None else Grouping(over=over, limit=limit)
    path = directory / "state.db"
    resumed = path.exists()
    async with State(partial(SqliteStore, path)) as state:
        bench = Bench(path, state, Hand(concurrency=concurrency, grouping=grouping, name=name), **options)
        if resumed:
            await bench.pipeline.resume(["s", "t"])
        else:
            new = SourceRecord(id="0" * 32, baseline_at=utc_now())
            await state.commit(sources={source: lambda _: new for source in ("s", "t")})
        yield bench


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.dispatcher.run())
    try:
        yield
    finally:
        bench.dispatcher.stop()
        async with asyncio.timeout(10):
            await task


async def all_sent(bench: Bench) -> None:
    """Wait until the script has ended everything that was to be made."""
    async with asyncio.timeout(10):
        while len(bench.dispatcher):  # noqa: ASYNC110 - outcomes are told to nobody
            await asyncio.sleep(0.001)


async def attempted(bench: Bench, id_: str) -> None:
    """Wait until the outcome of an attempt is stored."""
    async with asyncio.timeout(10):
        while not bench.delivery(id_).attempts:  # noqa: ASYNC110 - outcomes are told to nobody
            await asyncio.sleep(0.001)


async def due(bench: Bench, id_: str) -> None:
    """Wait until a delivery may be attempted again."""
    at = bench.delivery(id_).next_attempt_at
    assert at is not None
    while utc_now() <= at:  # noqa: ASYNC110 - the clock tells nobody
        await asyncio.sleep(0.001)


def as_a_crash_leaves_it(directory: Path) -> Path:
    """Return a copy of a directory with a state that is in use: what a kill at this instant would leave."""
    copy = directory.with_name(f"{directory.name}-after-a-crash")
    shutil.copytree(directory, copy)
    return copy


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a directory for a state."""
    path = tmp_path / "home"
    path.mkdir()
    return path


# ---------------------------------------------------------------------------------- one attempt


async def test_more_than_so_many_that_wait_are_one_attempt(home: Path) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "b", "c")
        async with running(b):
            await b.hand.attempts(ids)
            b.hand.end(ids)
        assert b.states(*ids) == [("delivered", 1)] * 3
        assert b.batches() == ()
    assert b.hand.sent == [ids]


async def test_no_more_than_so_many_are_sent_one_by_one_and_no_batch_is_stored(home: Path) -> None:
    async with bench(home) as b:
        a, c = await b.observe("a", "b")
        b.hand.script = []
        b.hand.began = lambda _: _check(b.batches() == ())
        async with running(b):
            await all_sent(b)
    assert b.hand.sent == [(a,), (c,)]


async def test_several_events_of_one_job_are_one_attempt_in_their_order(home: Path) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "b", "a", "a")
        b.hand.script = []
        async with running(b):
            await all_sent(b)
        assert b.states(*ids) == [("delivered", 1)] * 4
    assert b.hand.sent == [ids]


async def test_what_is_about_the_source_goes_with_what_is_about_its_jobs(home: Path) -> None:
    async with bench(home) as b:
        own, a, c, also_own = ids = await b.observe("s/", "a", "b", "s/")
        b.hand.began = lambda _: _check(
            b.batches() == (batch((None, own), ("a", a), ("b", c), (None, also_own)),)
        )
        b.hand.script = [NO_ANSWER, None]
        async with running(b):
            await all_sent(b)
        assert b.states(*ids) == [("delivered", 2)] * 4
        assert b.batches() == ()
    assert b.hand.sent == [ids, ids]


async def test_two_sources_are_never_mixed(home: Path) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "t/a", "b", "t/b", "t/", "c", "t/c", "s/")
        b.hand.script = []
        async with running(b):
            await all_sent(b)
        assert b.states(*ids) == [("delivered", 1)] * 8
        assert (b.batches("s"), b.batches("t")) == ((), ())
    assert b.hand.sent == [(ids[0], ids[2], ids[5], ids[7]), (ids[1], ids[3], ids[4], ids[6])]


async def test_no_more_go_together_than_the_target_takes(home: Path) -> None:
    async with bench(home, limit=4) as b:
        ids = await b.observe(*"abcdefghi")
        b.hand.script = []
        async with running(b):
            await all_sent(b)
    assert b.hand.sent == [ids[:4], ids[4:8], ids[8:]]


async def test_while_a_batch_is_under_way_its_jobs_later_events_wait_and_other_jobs_do_not(
    home: Path,
) -> None:
    async with bench(home, concurrency=3) as b, running(b):
        ids = await b.observe("a", "b", "c")
        await b.hand.attempts(ids)
        later, other = await b.observe("b", "d")
        await b.hand.attempts(ids, (other,))
        b.hand.end(ids)
        await b.hand.attempts((later,), (other,))
        assert b.states(*ids, later) == [("delivered", 1)] * 3 + [("pending", 0)]
        b.hand.end((later,))
        b.hand.end((other,))
    assert b.hand.sent == [ids, (other,), (later,)]


async def test_what_is_under_way_is_told_with_how_many_there_are(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "c")
        await b.hand.attempts(ids)
        what = f"3 events together ({batch_id(ids)})"
        [(told, seconds)] = b.dispatcher.under_way().values()
        assert told == f"an attempt of {what} for ops"
        assert seconds > b.hand.longest.total_seconds()
        b.hand.end(ids, NO_ANSWER)
        await b.hand.attempts(ids)
        b.hand.end(ids)
    assert f"ops: attempt 1 of {what} failed: no answer in time; next in " in caplog.text
    assert re.search(re.escape(f"ops: delivered {what} in ") + r"\d+ ms", caplog.text)
    assert b.dispatcher.under_way() == {}


# ----------------------------------------------------------------------------- always the same one


async def test_a_batch_is_stored_before_its_attempt_starts_and_gone_with_its_outcome(home: Path) -> None:
    found: list[tuple[tuple[OpenBatch, ...], list[tuple[str, int]]]] = []
    async with bench(home) as b:
        a, c, d = ids = await b.observe("a", "b", "c")
        b.hand.began = lambda _: found.append((b.batches(), b.states(*ids)))
        b.hand.script = []
        async with running(b):
            await all_sent(b)
        assert found == [((batch(("a", a), ("b", c), ("c", d)),), [("pending", 0)] * 3)]
        assert (b.batches(), b.states(*ids)) == ((), [("delivered", 1)] * 3)


async def test_a_batch_is_tried_again_as_it_was_whatever_came_in_meanwhile(home: Path) -> None:
    async with bench(home, concurrency=2) as b, running(b):
        a, c, d = ids = await b.observe("a", "b", "c")
        await b.hand.attempts(ids)
        *later, other = await b.observe("a", "c", "a", "e")
        await b.hand.attempts(ids, (other,))
        for attempts in range(1, 3):
            b.hand.end(ids, NO_ANSWER)
            await b.hand.attempts(ids, (other,))
            assert b.states(*ids, *later) == [("pending", attempts)] * 3 + [("pending", 0)] * 3
            assert b.batches() == (batch(("a", a), ("b", c), ("c", d)),)
        b.hand.end(ids)
        await b.hand.attempts(tuple(later), (other,))
        b.hand.end(tuple(later))
        b.hand.end((other,))
    assert b.hand.sent == [ids, (other,), ids, ids, tuple(later)]


async def test_each_member_records_each_attempt(home: Path) -> None:
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "c")
        await b.hand.attempts(ids)
        b.hand.end(ids, SendError("answered 503", outcome_unknown=True, status=503, answer="later"))
        await b.hand.attempts(ids)
        for id_ in ids:
            tried = b.delivery(id_)
            assert (tried.state, tried.attempts, tried.last_error) == ("pending", 1, "answered 503")
            assert tried.answer == "later"
            assert tried.next_attempt_at is not None
        b.hand.end(ids)
    first, *others = (deliveries(b.path)[id_] for id_ in ids)
    assert [attempt.outcome for attempt in first.history] == ["unknown", "delivered"]
    assert [(attempt.status, attempt.error) for attempt in first.history] == [
        (503, "answered 503"),
        (None, None),
    ]
    assert (first.state, first.last_error, first.answer) == ("delivered", None, None)
    for other in others:
        assert (other.history, other.first_attempt_at) == (first.history, first.first_attempt_at)
        assert (other.state, other.ended_at) == (first.state, first.ended_at)


@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_after_a_crash_a_batch_is_sent_again_with_the_same_members_and_id(
    home: Path, failures: int
) -> None:
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "a", "c")
        await b.hand.attempts(ids)
        for _ in range(failures):
            b.hand.end(ids, NO_ANSWER)
            await b.hand.attempts(ids)
        later = await b.observe("a", "d", "e", "f")
        left = as_a_crash_leaves_it(home)
        b.hand.end(ids)
        await b.hand.attempts(later)
        b.hand.end(later)
    async with bench(left) as c, running(c):
        await c.hand.attempts(ids)
        new = await c.observe("a", "g")
        c.hand.end(ids)
        await c.hand.attempts(later + new)
        c.hand.end(later + new)
    assert c.hand.sent == [ids, later + new]
    assert {state.state for state in deliveries(c.path).values()} == {"delivered"}
    assert deliveries(c.path)[ids[0]].attempts == failures + 1
    assert stored_source(c.path).batches == ()


@pytest.mark.parametrize("failures", [0, 2])
async def test_what_went_alone_before_a_crash_goes_alone_after_it(home: Path, failures: int) -> None:
    async with bench(home) as b, running(b):
        first = await b.observe("a")
        for _ in range(failures):
            await b.hand.attempts(first)
            b.hand.end(first, NO_ANSWER)
        await b.hand.attempts(first)
        later = await b.observe("b", "c", "d", "e")
        left = as_a_crash_leaves_it(home)
        b.hand.end(first)
        await b.hand.attempts(later)
        b.hand.end(later)
    async with bench(left) as c, running(c):
        # It may have arrived: together with others it would be known by another id.
        await c.hand.attempts(first)
        c.hand.end(first)
        await c.hand.attempts(later)
        c.hand.end(later)
    assert stored_source(c.path).batches == ()


async def test_a_batch_of_each_source_outlives_a_crash(home: Path) -> None:
    async with bench(home, concurrency=2) as b, running(b):
        ours = await b.observe("a", "b", "s/")
        theirs = await b.observe("t/a", "t/", "t/c")
        await b.hand.attempts(ours, theirs)
        left = as_a_crash_leaves_it(home)
        b.hand.end(ours)
        b.hand.end(theirs)
    async with bench(left, concurrency=2) as c, running(c):
        await c.hand.attempts(ours, theirs)
        c.hand.end(ours)
        c.hand.end(theirs)
    assert c.hand.sent in ([ours, theirs], [theirs, ours])


async def test_a_batch_for_a_target_that_is_gone_is_given_up(home: Path) -> None:
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "s/")
        await b.hand.attempts(ids)
        left = as_a_crash_leaves_it(home)
        b.hand.end(ids)
    async with bench(left, name="elsewhere") as c:
        assert c.batches() == ()
        assert [(c.delivery(id_).state, c.delivery(id_).last_error) for id_ in ids] == [
            ("dead", LOST_TARGET)
        ] * 3
    async with bench(left) as d:  # and it does not come back with the target
        assert len(d.dispatcher) == 0


async def test_a_batch_for_a_target_that_takes_one_at_a_time_now_is_taken_apart(home: Path) -> None:
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "a")
        await b.hand.attempts(ids)
        left = as_a_crash_leaves_it(home)
        b.hand.end(ids)
    async with bench(left, over=None) as c:
        assert c.batches() == ()
        c.hand.script = []
        async with running(c):
            await all_sent(c)
    assert sorted(c.hand.sent) == sorted((id_,) for id_ in ids)
    assert c.hand.sent.index((ids[0],)) < c.hand.sent.index((ids[2],))


async def test_what_a_target_asked_for_holds_its_batch_back_after_a_crash(home: Path) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "b", "c")
        b.hand.script = [SendError("answered 429", retry_after=timedelta(hours=1))]
        async with running(b):
            await attempted(b, ids[0])
        left = as_a_crash_leaves_it(home)
    async with bench(left, once=True) as c:
        await c.observe("d")
        async with asyncio.timeout(10):
            await c.dispatcher.run()
        assert c.states(*ids) == [("pending", 1)] * 3
        assert len(c.dispatcher) == 4
    assert c.hand.sent == []


# ------------------------------------------------------------------------------------- refusals


async def test_a_batch_refused_as_a_message_is_sent_one_by_one_in_order(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[tuple[tuple[OpenBatch, ...], list[tuple[str, int]]]] = []
    async with bench(home) as b:
        ids = await b.observe("a", "b", "a", "c")
        b.hand.script = [REFUSED]
        b.hand.began = lambda _: found.append((b.batches(), b.states(*ids)))
        async with running(b):
            await all_sent(b)
        assert b.hand.sent == [ids, *((id_,) for id_ in ids)]
        # The batch is no more before the first of them goes: a crash does not put it together again.
        assert found[1] == ((), [("pending", 1)] * 4)
        assert b.states(*ids) == [("delivered", 2)] * 4
        outcomes = [attempt.outcome for attempt in b.delivery(ids[0]).history]
    assert outcomes == ["refused", "delivered"]
    assert b.deaths == 0
    assert f"4 events together ({batch_id(ids)}): answered 400; sending one by one" in caplog.text


async def test_of_a_batch_refused_as_a_message_only_what_is_refused_alone_is_given_up(home: Path) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "b", "c", "b")
        b.hand.script = [REFUSED, None, REFUSED]
        async with running(b):
            await all_sent(b)
        assert b.hand.sent == [ids, *((id_,) for id_ in ids)]
        assert [b.delivery(id_).state for id_ in ids] == ["delivered", "dead", "delivered", "delivered"]
        assert stored_source(b.path).deaths["ops"].count == 1
    assert b.deaths == 1


async def test_what_was_taken_apart_is_not_put_together_after_a_crash(home: Path) -> None:
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "c")
        await b.hand.attempts(ids)
        b.hand.end(ids, REFUSED)
        await b.hand.attempts(ids[:1])
        left = as_a_crash_leaves_it(home)
        for id_ in ids:
            await b.hand.attempts((id_,))
            b.hand.end((id_,))
    async with bench(left) as c:
        new = await c.observe("a", "d", "e")
        c.hand.script = []
        async with running(c):
            await all_sent(c)
    assert sorted(c.hand.sent[:3]) == sorted((id_,) for id_ in ids)
    assert c.hand.sent[3:] == [new]


async def test_a_batch_refused_by_an_endpoint_that_is_gone_is_given_up_with_one_attempt(home: Path) -> None:
    async with bench(home) as b, running(b):
        ids = await b.observe("a", "b", "s/", "c")
        await b.hand.attempts(ids)
        [later] = await b.observe("b")
        b.hand.end(ids, GONE)
        await b.hand.attempts((later,))
        assert b.states(*ids) == [("dead", 1)] * 4
        assert b.batches() == ()
        for id_ in ids:
            dead = b.delivery(id_)
            assert (dead.last_error, dead.answer) == ("is_archived", "gone")
            assert [(each.outcome, each.status) for each in dead.history] == [("refused", 200)]
        assert stored_source(b.path).deaths["ops"].count == 4
        b.hand.end((later,))
    assert b.hand.sent == [ids, (later,)]
    assert b.deaths == 1


async def test_a_batch_that_fails_for_too_long_is_given_up_whole(home: Path) -> None:
    policy = msgspec.structs.replace(POLICY, give_up_after=timedelta(0))
    async with bench(home, retry=policy) as b:
        ids = await b.observe("a", "b", "c")
        b.hand.script = [NO_ANSWER]
        async with running(b):
            await all_sent(b)
        assert b.states(*ids) == [("dead", 1)] * 3
        assert b.batches() == ()
    assert (b.hand.sent, b.deaths) == ([ids], 1)


async def test_a_batch_that_trips_the_target_is_sent_one_by_one(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "b", "c")
        b.hand.script = [ZeroDivisionError("https://hooks.example.com/secret"), None]
        async with running(b):
            await all_sent(b)
        assert b.states(*ids) == [("delivered", 2)] * 3
    assert b.hand.sent == [ids, *((id_,) for id_ in ids)]
    assert "secret" not in caplog.text


# ---------------------------------------------------------------------------- the state that fails


async def test_an_outcome_that_cannot_be_stored_ends_it_and_the_batch_is_sent_again_after_a_restart(
    home: Path,
) -> None:
    async with bench(home, concurrency=3) as b:
        ids = await b.observe("a", "b", "c")
        task = asyncio.create_task(b.dispatcher.run())
        await b.hand.attempts(ids)
        stored = b.batches()
        await b.break_the_disk()
        b.hand.end(ids)
        with pytest.raises(BaseExceptionGroup) as raised:
            await task
        assert raised.group_contains(StoreError, match="readonly")
        assert (b.batches(), b.states(*ids)) == (stored, [("pending", 0)] * 3)
    assert b.hand.sent == [ids]
    async with bench(home) as c:
        c.hand.script = []
        async with running(c):
            await all_sent(c)
        assert (c.batches(), c.states(*ids)) == ((), [("delivered", 1)] * 3)
    assert c.hand.sent == [ids]


async def test_a_batch_that_cannot_be_stored_is_not_sent(home: Path) -> None:
    async with bench(home) as b:
        ids = await b.observe("a", "b", "c")
        await b.break_the_disk()
        with pytest.raises(BaseExceptionGroup) as raised:
            await b.dispatcher.run()
        assert raised.group_contains(StoreError, match="readonly")
        assert (b.batches(), b.states(*ids)) == ((), [("pending", 0)] * 3)
    assert b.hand.sent == []


# ------------------------------------------------------------------------------------ `once`, probing


async def test_once_sends_what_waits_together(home: Path) -> None:
    async with bench(home, once=True) as b:
        ids = await b.observe("a", "b", "a", "c")
        b.hand.script = []
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.states(*ids) == [("delivered", 1)] * 4
    assert (b.hand.sent, b.dispatcher.failures) == ([ids], 0)


async def test_once_tries_a_batch_one_time_and_the_next_run_the_same_one(home: Path) -> None:
    async with bench(home, once=True) as b:
        ids = await b.observe("a", "b", "c")
        b.hand.script = [NO_ANSWER]
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.states(*ids) == [("pending", 1)] * 3
        assert b.dispatcher.failures == 1
    assert b.hand.sent == [ids]
    async with bench(home, once=True) as c:
        c.hand.script = []
        await due(c, ids[0])
        later = await c.observe("a", "d", "e")
        async with asyncio.timeout(10):
            await c.dispatcher.run()
        assert c.states(*ids, *later) == [("delivered", 2)] * 3 + [("delivered", 1)] * 3
    assert c.hand.sent == [ids, later]


async def test_once_takes_a_refused_batch_apart_at_once(home: Path) -> None:
    async with bench(home, once=True) as b:
        ids = await b.observe("a", "b", "c")
        b.hand.script = [REFUSED]
        async with asyncio.timeout(10):
            await b.dispatcher.run()
        assert b.states(*ids) == [("delivered", 2)] * 3
    assert b.hand.sent == [ids, *((id_,) for id_ in ids)]


async def test_what_waits_while_a_target_is_probed_goes_together_when_it_works_again(home: Path) -> None:
    async with bench(home, concurrency=3) as b, running(b):
        first = await b.observe("a")
        for _ in range(3):
            await b.hand.attempts(first)
            b.hand.end(first, NO_ANSWER)
        await b.hand.attempts(first)
        waiting = await b.observe(*"abcdefgh")
        b.hand.end(first)
        await b.hand.attempts(waiting)
        b.hand.end(waiting)
    assert b.hand.sent == [first] * 4 + [waiting]


def _check(so: bool) -> None:
    assert so
