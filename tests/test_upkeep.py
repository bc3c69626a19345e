"""What is forgotten, and what never is: over real files, a real source, and lives drawn by lot."""

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.listing import read_listing
from notifier.model import (
    MISSED_POLLS,
    Delivery,
    DeliveryState,
    Event,
    JobKey,
    JobRecord,
    RecordKey,
    SourceRecord,
    is_active,
)
from notifier.pace import Pace
from notifier.records import job_key
from notifier.replays import Order, RefusedOrderError, Replays
from notifier.source import AlliumSource, Fingerprint, Reply, SourceError
from notifier.state import State
from notifier.storage import StoreError
from notifier.upkeep import Upkeep
from notifier.watcher import Watcher
from tests.commands import notifier
from tests.daemon import write_config
from tests.records import NOW, delivery, record, write_state
from tests.servers import ScriptedServer, job
from tests.test_watcher import UNREADABLE, Time, Watched, Written, watching

KEEP = timedelta(days=30)
OLD, NEW = 31.0, 29.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def made(name: str, state: DeliveryState, days: float, **fields: Any) -> Delivery:
    """Return a delivery that was made, and has ended unless it is pending, so many days ago."""
    ended = None if state == "pending" else ago(days)
    return delivery(name, state=state, created=-days * 24 * 60, ended_at=ended, **fields)


def seen(*deliveries: Delivery, missing: float | None = None) -> JobRecord:
    """Return the record of a job that is missing for so many days."""
    old = record(*deliveries)
    since = None if missing is None else ago(missing)
    return msgspec.structs.replace(old, snapshot=msgspec.structs.replace(old.snapshot, missing_since=since))


class Kept:
    """A state with jobs, its upkeep, and what that writes."""

    def __init__(self, state: State, listing: Collection[str], commits: list[set[str]]) -> None:
        self.state = state
        self.commits = commits
        self.upkeep = Upkeep(state=state, keep=KEEP, listing=lambda: listing, now=lambda: NOW)

    def jobs(self) -> set[str]:
        return {job_id for (_, job_id), _ in self.state.records.jobs()}

    def deliveries(self) -> list[str]:
        return [each.id for _, record in self.state.records.outboxes() for each in record.deliveries]

    def events(self) -> list[str]:
        return [each.id for _, record in self.state.records.outboxes() for each in record.events]


@asynccontextmanager
async def keeping(
    path: Path, jobs: Mapping[JobKey, JobRecord] | None = None, *, listing: Collection[str] = ("allium",)
) -> AsyncIterator[Kept]:
    if jobs is not None:
        write_state(path, jobs)
    commits: list[set[str]] = []
    async with State(partial(Written, path, commits)) as state:
        commits.clear()
        yield Kept(state, listing, commits)


@contextlib.contextmanager
def from_outside(path: Path, statement: str) -> Iterator[sqlite3.Connection]:
    """Do something to a state file as another program would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
        yield connection


class Held:
    """Commits that all wait for one, and go together in the next."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._asking: list[asyncio.Task[object]] = []

    async def asks(self, work: Coroutine[Any, Any, object]) -> None:
        """Begin something and wait until it has asked for a commit."""
        self._asking.append(asyncio.create_task(work))
        await _until(lambda: len(self._state._requests) == len(self._asking))

    async def all_end(self) -> None:
        async with asyncio.timeout(20):
            await asyncio.gather(*self._asking)


@asynccontextmanager
async def commits_held(path: Path, state: State) -> AsyncIterator[Held]:
    """Have another program hold the file for as long as the context lasts; then all that was asked ends."""
    held = Held(state)
    with from_outside(path, "BEGIN IMMEDIATE") as other:
        first = asyncio.create_task(state.commit(jobs={("nowhere", "x"): lambda _: seen()}))
        await _until(lambda: bool(state.under_way()))
        yield held
        other.execute("ROLLBACK")
        await first
        await held.all_end()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


# --------------------------------------------------------------------------------- what is forgotten


async def test_jobs_that_were_missing_for_long_are_forgotten_and_no_others(path: Path) -> None:
    jobs = {
        ("allium", "gone"): seen(missing=OLD),
        ("allium", "gone with its past"): seen(made("a", "delivered", OLD), made("b", "dead", OLD), missing=OLD),
        ("allium", "missing"): seen(missing=NEW),
        ("allium", "listed"): seen(),
        ("allium", "owed"): seen(made("c", "pending", 99), missing=99),
        ("allium", "dead"): seen(made("d", "dead", NEW), missing=99),
        ("allium", "told lately"): seen(made("e", "delivered", NEW), missing=99),
        ("down", "gone"): seen(missing=OLD),
    }  # fmt: skip
    async with keeping(path, jobs) as kept:
        found = await kept.upkeep.prune()
        assert found["job|jobs"] == 2
    async with keeping(path) as kept:
        left = {key for key, _ in kept.state.records.jobs()}
        assert left == {key for key in jobs if not key[1].startswith("gone") or key[0] == "down"}


async def test_what_is_done_for_long_goes_and_what_is_owed_stays(path: Path) -> None:
    jobs = {
        ("allium", "a"): seen(made("a1", "delivered", OLD), made("a2", "dead", OLD), made("a3", "pending", 99)),
        ("allium", "b"): seen(made("b1", "delivered", NEW), made("b2", "dead", NEW), made("b3", "dead", OLD)),
    }  # fmt: skip
    async with keeping(path, jobs) as kept:
        source = SourceRecord(
            id="s",
            baseline_at=ago(99),
            seq=3,
            events=seen(made("s1", "dead", OLD), made("s2", "pending", OLD)).events,
            deliveries=(made("s1", "dead", OLD), made("s2", "pending", OLD)),
        )
        await kept.state.commit(sources={"allium": lambda _: source})
        await kept.upkeep.prune()
    async with keeping(path) as kept:
        assert kept.deliveries() == ["dlv_s2", "dlv_a3", "dlv_b1", "dlv_b2"]
        assert kept.events() == ["evt_s2", "evt_a3", "evt_b1", "evt_b2"]
        assert kept.state.records.source("allium") == msgspec.structs.replace(
            source, events=source.events[1:], deliveries=source.deliveries[1:]
        )


async def test_of_a_source_that_was_not_listed_only_what_is_done_goes(path: Path) -> None:
    jobs = {
        ("down", "a"): seen(made("a1", "delivered", OLD), made("a2", "dead", OLD), missing=OLD),
        ("removed", "b"): seen(made("b1", "delivered", OLD), made("b2", "pending", OLD), missing=OLD),
    }
    async with keeping(path, jobs) as kept:
        found = await kept.upkeep.prune()
        assert found["job|jobs"] == 0
        assert kept.jobs() == {"a", "b"}
        assert kept.deliveries() == ["dlv_b2"]


async def test_what_was_pruned_is_logged_in_one_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "notifier.upkeep")
    jobs = {
        ("allium", "a"): seen(made("a1", "delivered", OLD), made("a2", "dead", OLD), missing=OLD),
        ("allium", "b"): seen(made("b1", "delivered", OLD), made("b2", "delivered", NEW)),
    }
    async with keeping(path, jobs) as kept:
        await kept.upkeep.prune()
        await kept.upkeep.prune()
    assert caplog.messages == [
        "pruned what is older than 30d: 1 dead letter, 2 delivered deliveries, 3 events, 1 job"
    ]


async def test_when_nothing_is_old_nothing_is_written_or_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier.upkeep")
    jobs = {("allium", "a"): seen(made("a1", "pending", OLD)), ("allium", "b"): seen(missing=NEW)}
    async with keeping(path, jobs) as kept:
        assert not await kept.upkeep.prune()
        assert kept.commits == []
    assert not caplog.messages


# ------------------------------------------------------------------------------------ large states


async def test_many_jobs_are_forgotten_in_several_commits(path: Path) -> None:
    jobs = {("allium", f"j{number}"): seen(missing=OLD) for number in range(1_234)}
    async with keeping(path, jobs | {("allium", "listed"): seen()}) as kept:
        found = await kept.upkeep.prune()
        assert found == {"job|jobs": 1_234}
        assert [len(commit) for commit in kept.commits] == [501, 501, 235], "each with its source"
        assert set().union(*kept.commits) == {"source/allium", *(job_key(key) for key in jobs)}
        assert kept.jobs() == {"listed"}


async def test_an_upkeep_that_was_cut_off_has_forgotten_whole_jobs_and_the_next_one_goes_on(
    path: Path,
) -> None:
    jobs = {
        ("allium", f"j{number}"): seen(made(f"{number}", "dead", OLD), missing=OLD) for number in range(900)
    }
    async with keeping(path, jobs) as kept:
        trigger = (
            "BEFORE DELETE ON records WHEN OLD.key = 'job/allium/j700' BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        with from_outside(path, f"CREATE TRIGGER no {trigger}"), pytest.raises(StoreError, match="no"):
            await kept.upkeep.prune()
        assert len(kept.jobs()) == 400
        assert len(kept.deliveries()) == 400
    with from_outside(path, "DROP TRIGGER no"):
        pass
    async with keeping(path) as kept:
        assert len(kept.jobs()) == 400
        assert (await kept.upkeep.prune())["job|jobs"] == 400
        assert kept.jobs() == set()


async def test_others_have_the_loop_while_a_large_state_is_pruned(path: Path) -> None:
    jobs = {("allium", f"j{number}"): seen(made("a", "dead", OLD), missing=OLD) for number in range(5_000)}
    gaps: list[float] = []

    async def spin() -> None:
        while True:
            before = time.thread_time()  # not the wall's: the machine may have other work
            await asyncio.sleep(0)
            gaps.append(time.thread_time() - before)

    async with keeping(path, jobs) as kept:
        spinning = asyncio.create_task(spin())
        await kept.upkeep.prune()
        spinning.cancel()
        await asyncio.gather(spinning, return_exceptions=True)
    assert max(gaps) < sum(gaps) / 4


# --------------------------------------------------------------------------------- again and again


async def test_it_looks_again_and_again_until_cancelled(path: Path) -> None:
    async with keeping(path, {("allium", "first"): seen(missing=OLD)}) as kept:
        upkeep = Upkeep(
            state=kept.state,
            keep=KEEP,
            listing=lambda: ["allium"],
            first_after=timedelta(0),
            every=timedelta(milliseconds=1),
            now=lambda: NOW,
        )
        running = asyncio.create_task(upkeep.run())
        await _until(lambda: not kept.jobs())
        await kept.state.commit(jobs={("allium", "second"): lambda _: seen(missing=OLD)})
        await _until(lambda: not kept.jobs())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_state_that_fails_ends_it_with_an_error(path: Path) -> None:
    async with keeping(path, {("allium", "j"): seen(missing=OLD)}) as kept:
        upkeep = Upkeep(
            state=kept.state,
            keep=KEEP,
            listing=lambda: ["allium"],
            first_after=timedelta(0),
            now=lambda: NOW,
        )
        trigger = "BEFORE DELETE ON records BEGIN SELECT RAISE(FAIL, 'no'); END"
        with from_outside(path, f"CREATE TRIGGER no {trigger}"), pytest.raises(StoreError, match="no"):
            async with asyncio.timeout(10):
                await upkeep.run()


# ------------------------------------------------------------------------------ with a real source


def upkeep_of(watched: Watched, now: Time) -> Upkeep:
    """Return it as the process makes it."""
    return Upkeep(
        state=watched.state,
        keep=KEEP,
        listing=lambda: [watched.watcher.name] if watched.watcher.is_current else [],
        now=now,
    )


async def test_a_job_that_is_listed_again_in_time_stays_and_is_not_announced_again(
    api: ScriptedServer, path: Path
) -> None:
    now = Time()
    async with watching(api, path, announce_first=True, now=now) as watched:
        upkeep = upkeep_of(watched, now)
        for _ in range(3):
            for listing in ([job("j", "completed")], []):
                api.answer = listing
                for _ in range(2):
                    await watched.observe()
                    await upkeep.prune()
                    now.now += KEEP / 2 - timedelta(minutes=1)
        assert watched.announced() == [(None, "completed")]
        now.now += KEEP
        await watched.observe()
        assert (await upkeep.prune())["job|jobs"] == 0, "a delivery of it is pending"


@pytest.mark.parametrize(
    "bad",
    [web.Response(status=503), b"[", [UNREADABLE], [job("k", "cancelled"), {"job_id": "j"}]],
    ids=["an error", "half an array", "an unreadable element", "one without a status"],
)
async def test_a_poll_that_proves_no_absence_loses_no_job(api: ScriptedServer, path: Path, bad: Any) -> None:
    now = Time()
    api.answer = [job("j", "completed"), job("k", "cancelled")]
    async with watching(api, path, now=now) as watched:
        upkeep = upkeep_of(watched, now)
        await watched.observe()
        api.answer = [job("k", "cancelled")]
        await watched.observe()
        now.now += 2 * KEEP
        api.answer = bad
        await watched.observe()
        assert not await upkeep.prune()
        api.answer = [job("j", "completed"), job("k", "cancelled")]
        await watched.observe()
        assert watched.announced() == []
        api.answer = [job("k", "cancelled")]
        await watched.observe()
        now.now += 2 * KEEP
        await watched.observe()
        assert await upkeep.prune() == {"job|jobs": 1}


async def test_before_the_first_poll_no_job_is_forgotten(api: ScriptedServer, path: Path) -> None:
    now = Time()
    api.answer = [job("j", "completed")]
    async with watching(api, path, now=now) as watched:
        await watched.observe()
        api.answer = []
        await watched.observe()
    now.now += 2 * KEEP
    api.answer = [job("j", "completed")]
    async with watching(api, path, now=now) as watched:
        upkeep = upkeep_of(watched, now)
        assert not await upkeep.prune()
        await watched.observe()
        assert not await upkeep.prune()
        assert watched.announced() == []


@pytest.mark.parametrize("first", ["the poll", "the upkeep"])
async def test_a_job_that_is_listed_again_while_it_is_being_forgotten_is_not_announced_again(
    api: ScriptedServer, path: Path, first: str
) -> None:
    now = Time()
    api.answer = [job("j", "completed")]
    async with watching(api, path, now=now) as watched:
        upkeep = upkeep_of(watched, now)
        await watched.observe()
        before = watched.record("j")
        api.answer = []
        await watched.observe()
        now.now += 2 * KEEP
        await watched.observe()
        api.answer = [job("j", "completed")]
        steps: list[Callable[[], Coroutine[Any, Any, object]]] = [watched.observe, upkeep.prune]
        async with commits_held(path, watched.state) as held:
            for step in steps if first == "the poll" else reversed(steps):
                await held.asks(step())
        assert watched.record("j") == before
        await watched.observe()
        assert watched.announced() == []


@pytest.mark.parametrize("first", ["the order", "the upkeep"])
async def test_a_dead_letter_that_is_ordered_again_while_it_is_being_forgotten_breaks_nothing(
    path: Path, first: str
) -> None:
    resumed: list[str] = []
    async with keeping(path, {("allium", "j"): seen(made("a", "dead", OLD), missing=OLD)}) as kept:
        replays = Replays(kept.state, resume=lambda _, each: resumed.append(each.id), targets=["ops"])

        async def order() -> None:
            with contextlib.suppress(RefusedOrderError):  # there may be nothing left to carry it out on
                await replays.carry_out(Order(id="dlv_a"))

        works = [order(), kept.upkeep.prune()]
        async with commits_held(path, kept.state) as held:
            for work in works if first == "the order" else reversed(works):
                await held.asks(work)
        left = ["dlv_a"] if first == "the order" else []
        assert (kept.deliveries(), resumed) == (left, left)
        await kept.state.commit(jobs={("allium", "k"): lambda _: seen()})


async def test_one_run_forgets_too(tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer) -> None:
    jobs = {
        ("allium", "gone"): seen(missing=OLD),
        ("allium", "listed"): seen(made("a", "dead", OLD), made("b", "dead", -1e4)),
    }
    config = write_config(tmp_path, api, receiver)
    write_state(tmp_path / "state.db", jobs)
    api.answer = [job("listed", "staging")]
    done = await notifier("once", "--config", str(config))
    assert done.code == 0
    assert "pruned what is older than 30d: 1 dead letter, 1 event, 1 job" in done.err
    async with keeping(tmp_path / "state.db") as kept:
        assert kept.jobs() == {"listed"}
        assert "dlv_a" not in kept.deliveries()
        assert "dlv_b" in kept.deliveries()


# ------------------------------------------------------------------------------------ lives by lot


class Memory:
    """A store without a file, for many short lives."""

    name = "memory"

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}

    def load(self) -> list[tuple[str, bytes]]:
        return list(self.documents.items())

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        for key, document in documents.items():
            if document is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = document

    def close(self) -> None:
        pass


NO_TRANSITIONS = ("backfill.progress", "backfill.stalled", "backfill.resumed", "backfill.removed")


class Scripted(AlliumSource):
    """A source that is given its replies; None is one that failed."""

    def __init__(self) -> None:
        self.name = "allium"
        self.body: bytes | None = b"[]"

    async def turn(self) -> None:
        pass

    async def fetch(self, known: Fingerprint | None) -> Reply:
        if self.body is None:
            raise SourceError("failed", "as scripted")
        fingerprint = Fingerprint(None, xxhash.xxh3_128_digest(self.body))
        return Reply(fingerprint, None if fingerprint == known else read_listing(self.body))


class Remembered(msgspec.Struct):
    """What the model knows of a job."""

    status: str
    missing_since: datetime | None = None
    missing_polls: int = 0
    announced: int = 0
    delivered_at: list[datetime | None] = []

    def may_be_forgotten(self, before: datetime) -> bool:
        since = self.missing_since
        done = all(at is not None and at <= before for at in self.delivered_at)
        return since is not None and since <= before and done


class Round(msgspec.Struct):
    """What happens between one poll and the next."""

    changes: list[tuple[str, str | None]]
    """The status of jobs from now on; None for those that leave the listing."""
    poll: str
    hours: int
    then: str


class Life:
    """A watcher and an upkeep over one store, and beside them the model of what they must do."""

    def __init__(self) -> None:
        self._now = NOW
        self._store = Memory()
        self._source = Scripted()
        self._listed: dict[str, str] = {}
        self._model: dict[str, Remembered] = {}
        self._ids: set[str] = set()
        self._baseline = True
        self._passed: list[tuple[str | None, str | None, str]] = []

    async def live(self, rounds: Sequence[Round]) -> None:
        left = list(rounds)
        while left:
            async with State(lambda: self._store) as state:
                watcher = Watcher(
                    self._source,
                    state=state,
                    pace=Pace(poll_every=timedelta(seconds=15), poll_idle_every=timedelta(minutes=1)),
                    announce_first=False,
                    route=lambda subject: () if subject.type in NO_TRANSITIONS else ("ops",),
                    passed_on=self._pass_on,
                    now=lambda: self._now,
                    chance=lambda: 0.5,
                )
                upkeep = Upkeep(
                    state=state,
                    keep=KEEP,
                    listing=lambda watcher=watcher: ["allium"] if watcher.is_current else [],  # type: ignore[misc]
                    now=lambda: self._now,
                )
                while left:
                    if await self._spend(left.pop(0), state, watcher, upkeep):
                        break

    async def _spend(self, each: Round, state: State, watcher: Watcher, upkeep: Upkeep) -> bool:
        """Return whether the round ends with a restart."""
        for job_id, status in each.changes:
            self._listed.pop(job_id, None)
            if status is not None:
                self._listed[job_id] = status
        elements: list[Any] = [job(job_id, status) for job_id, status in self._listed.items()]
        if each.poll == "unreadable":
            elements.append(UNREADABLE)
        self._source.body = None if each.poll == "bad" else msgspec.json.encode(elements)
        await watcher.observe()
        expected = [] if each.poll == "bad" else self._polled(whole=each.poll == "good")
        assert sorted(self._passed, key=str) == sorted(expected, key=str)
        self._passed.clear()
        self._compare(state)
        self._now += timedelta(hours=each.hours)
        if each.then == "deliver":
            await self._deliver(state)
        if each.then == "prune":
            await upkeep.prune()
            if each.poll == "good":
                before = self._now - KEEP
                self._model = {
                    job_id: known
                    for job_id, known in self._model.items()
                    if not known.may_be_forgotten(before)
                }
        self._compare(state)
        return each.then == "restart"

    def _polled(self, *, whole: bool) -> list[tuple[str | None, str | None, str]]:
        expected: list[tuple[str | None, str | None, str]] = []
        for job_id, status in self._listed.items():
            known = self._model.get(job_id)
            if known is None and self._baseline:
                self._model[job_id] = Remembered(status)
                continue
            if known is None or known.status != status or known.missing_polls == MISSED_POLLS:
                expected.append((job_id, None if known is None else known.status, status))
                known = known or Remembered(status)
                known.announced += 1
                known.delivered_at.append(None)
            known.status = status
            known.missing_since = None
            known.missing_polls = 0
            self._model[job_id] = known
        for job_id, known in self._model.items():
            if whole and job_id not in self._listed:
                known.missing_since = known.missing_since or self._now
                if is_active(known.status):
                    known.missing_polls = min(known.missing_polls + 1, MISSED_POLLS)
        self._baseline = False
        return expected

    def _compare(self, state: State) -> None:
        found = {job_id: record for (_, job_id), record in state.records.jobs()}
        assert found.keys() == self._model.keys()
        for job_id, known in self._model.items():
            snapshot = found[job_id].snapshot
            assert (snapshot.status, snapshot.missing_since) == (known.status, known.missing_since)
            assert found[job_id].seq >= known.announced
            pending = [each for each in found[job_id].deliveries if each.state == "pending"]
            assert len(pending) == known.delivered_at.count(None)

    async def _deliver(self, state: State) -> None:
        """Have all that is pending delivered."""
        ended = partial(_ended, now=self._now)
        await state.commit(jobs={key: ended for key, _ in state.records.jobs()})
        for known in self._model.values():
            known.delivered_at = [at or self._now for at in known.delivered_at]

    def _pass_on(self, key: RecordKey, event: Event, targets: Sequence[str]) -> None:
        if not targets:
            return
        assert targets == ("ops",)
        assert event.id not in self._ids, "an id came again"
        self._ids.add(event.id)
        self._passed.append((key[1], event.previous_status, event.status))


def _ended(record: JobRecord | None, *, now: datetime) -> JobRecord | None:
    assert record is not None
    deliveries = [
        each if each.state != "pending" else msgspec.structs.replace(each, state="delivered", ended_at=now)
        for each in record.deliveries
    ]
    return msgspec.structs.replace(record, deliveries=tuple(deliveries))


def _by_lot(seed: int, count: int) -> list[Round]:
    lots = random.Random(seed)
    return [
        Round(
            changes=[
                (lots.choice("abc"), lots.choice([None, None, "staging", "completed"]))
                for _ in range(lots.randint(0, 2))
            ],
            poll=lots.choice(["good", "good", "good", "unreadable", "bad"]),
            hours=24 * lots.choice([0, 14, 29, 30, 31]),
            then=lots.choice(["prune", "prune", "deliver", "deliver", "restart", "nothing"]),
        )
        for _ in range(count)
    ]


@given(st.integers(0, 2**32), st.integers(1, 150))
@settings(max_examples=50, deadline=None)
def test_whatever_comes_and_goes_no_listed_job_is_forgotten_and_no_status_is_announced_twice(
    seed: int, count: int
) -> None:
    asyncio.run(Life().live(_by_lot(seed, count)))
