"""The state over a real store, and over one that fails on command."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import pytest

from notifier.model import DeliveryState, JobRecord, Snapshot, SourceRecord
from notifier.records import JobUpdate, Records, SourceUpdate
from notifier.state import State
from notifier.storage import StoreError
from notifier.store.reading import read_state
from notifier.store.sqlite import SqliteStore
from tests.records import delivery

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def record(seq: int = 0) -> JobRecord:
    snapshot = Snapshot(
        status="staging", first_seen=NOW, status_since=NOW, element=msgspec.Raw(b'{"job_id":"j"}')
    )
    return JobRecord(snapshot=snapshot, seq=seq)


def counted(old: JobRecord | None) -> JobRecord:
    return record(0 if old is None else old.seq + 1)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


class Gate:
    """A store that keeps documents, waits in each commit until let through, and fails when told to."""

    name = "the gate"

    def __init__(self) -> None:
        self.commits: list[dict[str, bytes | None]] = []
        self.through = threading.Semaphore(1)  # for the commit that opening makes
        self.fails = False
        self.closed = False

    def load(self) -> Iterator[tuple[str, bytes]]:
        yield from ()

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        assert self.through.acquire(timeout=20)
        if self.fails:
            raise StoreError("the disk is full")
        self.commits.append(dict(documents))

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "job_id", ["j1", "", "a/b", "job é 日本", "%2F", "\x00", "💥 'quoted\" \\", "x" * 500]
)
async def test_records_are_there_again_whatever_the_job_is_called(tmp_path: Path, job_id: str) -> None:
    store = partial(SqliteStore, tmp_path / "state.db")
    source = SourceRecord(id="abc", baseline_at=NOW, organization_id="org123")
    async with State(store) as state:
        await state.commit(jobs={("s1", job_id): counted}, sources={"s1": lambda _: source})
        await state.commit(jobs={("s1", job_id): counted})
        assert state.records.job(("s1", job_id)) == record(1)
    async with State(store) as state:
        assert state.records.job(("s1", job_id)) == record(1)
        assert state.records.source("s1") == source
        assert state.records.source("s2") is None
        assert state.records.job(("s2", job_id)) is None
        assert list(state.records.jobs()) == [(("s1", job_id), record(1))]


async def test_memory_says_only_what_is_durable() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        asked = asyncio.create_task(state.commit(jobs={("s", "j"): counted}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert state.records.job(("s", "j")) is None
        gate.through.release()
        await asked
        assert state.records.job(("s", "j")) == record(0)


async def test_requests_that_come_during_a_commit_share_the_next_one() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        first = asyncio.create_task(state.commit(jobs={("s", "first"): counted}))
        await asyncio.sleep(0)
        later = [asyncio.create_task(state.commit(jobs={("s", "same"): counted})) for _ in range(10)]
        await asyncio.sleep(0)
        gate.through.release(2)
        await asyncio.gather(first, *later)
        assert state.records.job(("s", "same")) == record(9)
    assert [sorted(commit) for commit in gate.commits] == [["start"], ["job/s/first"], ["job/s/same"]]


def gone(_: JobRecord | None) -> None:
    return None


async def test_a_record_can_be_removed(tmp_path: Path) -> None:
    store = partial(SqliteStore, tmp_path / "state.db")
    async with State(store) as state:
        await state.commit(jobs={("s", "j"): counted, ("s", "k"): counted})
        await state.commit(jobs={("s", "j"): gone, ("s", "never there"): gone})
        assert state.records.job(("s", "j")) is None
    async with State(store) as state:
        assert [key for key, _ in state.records.jobs()] == [("s", "k")]


async def test_a_record_that_is_removed_is_there_until_that_is_durable() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        gate.through.release()
        await state.commit(jobs={("s", "j"): counted})
        removing = asyncio.create_task(state.commit(jobs={("s", "j"): gone}))
        await until(lambda: bool(state.under_way()))
        assert state.records.job(("s", "j")) == record(0)
        gate.through.release()
        await removing
        assert state.records.job(("s", "j")) is None
    assert gate.commits[-1] == {"job/s/j": None}


@pytest.mark.parametrize(
    ("updates", "left"),
    [
        ([gone], None),
        ([gone, counted], record(0)),
        ([counted, gone], None),
        ([counted, counted], record(2)),
        ([gone, gone, counted, counted], record(1)),
    ],
)
async def test_removals_and_changes_that_share_a_commit_happen_in_the_order_they_were_asked_for(
    updates: list[JobUpdate], left: JobRecord | None
) -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        gate.through.release()
        await state.commit(jobs={("s", "j"): counted})
        blocked = asyncio.create_task(state.commit(jobs={("s", "other"): counted}))
        await until(lambda: bool(state.under_way()))
        tasks = []
        for update in updates:
            tasks.append(asyncio.create_task(state.commit(jobs={("s", "j"): update})))
            await asyncio.sleep(0)
        gate.through.release(2)
        await asyncio.gather(blocked, *tasks)
        assert state.records.job(("s", "j")) == left
    assert gate.commits[-1] == {"job/s/j": None if left is None else msgspec.json.encode(left)}


async def test_a_commit_that_does_not_end_can_be_told_from_many_that_do() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        assert state.under_way() == {}
        seen = []
        for _ in range(2):
            asked = asyncio.create_task(state.commit(jobs={("s", "j"): counted}))
            await until(lambda: bool(state.under_way()))
            seen.append(state.under_way())
            await asyncio.sleep(0)
            assert state.under_way() == seen[-1]
            gate.through.release()
            await asked
            assert state.under_way() == {}
        assert seen[0].keys() != seen[1].keys()
        for under_way in seen:
            [(what, seconds)] = under_way.values()
            assert (what, seconds) == ("a commit to the state", 300.0)


async def test_a_state_is_dead_while_a_commit_takes_longer_than_it_can_and_once_one_failed() -> None:
    gate, seconds = Gate(), [1000.0]
    async with State(lambda: gate, monotonic=lambda: seconds[-1]) as state:
        asked = asyncio.create_task(state.commit(jobs={("s", "j"): counted}))
        await until(lambda: bool(state.under_way()))
        assert state.fault() is None
        seconds.append(1301.0)
        assert state.fault() == "a commit has not ended for 301 s"
        gate.through.release()
        await asked
        assert state.fault() is None
        gate.fails = True
        gate.through.release()
        with pytest.raises(StoreError):
            await state.commit(jobs={("s", "j"): counted})
        assert state.fault() == "the disk is full"


async def test_what_asks_for_nothing_is_no_commit() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        await state.commit()
        await state.commit(jobs={}, sources={})
    assert [sorted(commit) for commit in gate.commits] == [["start"]]


async def test_a_store_that_fails_fails_everyone_and_is_not_asked_again() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        gate.fails = True
        asked = [asyncio.create_task(state.commit(jobs={("s", str(n)): counted})) for n in range(3)]
        gate.through.release(9)
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(outcome, StoreError)
        gate.fails = False
        with pytest.raises(StoreError, match="the disk is full"):
            await state.commit(jobs={("s", "j"): counted})
        assert state.records.job(("s", "0")) is None
    assert gate.closed
    assert [sorted(commit) for commit in gate.commits] == [["start"]]


async def test_a_disk_that_cannot_be_written_is_noticed_before_anything_is_done() -> None:
    gate = Gate()
    gate.fails = True
    with pytest.raises(StoreError, match="the disk is full"):
        async with State(lambda: gate):
            pytest.fail("entered")
    assert gate.closed


async def test_an_asker_that_is_cancelled_takes_nothing_back() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        asked = asyncio.create_task(state.commit(jobs={("s", "j"): counted}))
        await asyncio.sleep(0)
        asked.cancel()
        gate.through.release(5)
        await state.commit(jobs={("s", "other"): counted})
        assert asked.cancelled()
        assert state.records.job(("s", "j")) == record(0)


async def test_leaving_waits_for_what_was_asked() -> None:
    gate = Gate()
    async with State(lambda: gate) as state:
        asked = asyncio.create_task(state.commit(jobs={("s", "j"): counted}))
        await asyncio.sleep(0)
        threading.Timer(0.05, gate.through.release, [5]).start()
    await asked
    assert "job/s/j" in gate.commits[-1]


async def test_a_store_that_fails_at_the_end_is_closed_all_the_same() -> None:
    gate = Gate()
    with pytest.raises(StoreError, match="the disk is full"):  # noqa: PT012 - the leaving raises
        async with State(lambda: gate) as state:
            asked = asyncio.create_task(state.commit(jobs={("s", "j"): counted}))
            await asyncio.sleep(0)
            gate.fails = True
            gate.through.release(5)
    assert gate.closed
    with pytest.raises(StoreError):
        await asked


async def test_bytes_that_are_no_text_are_a_damaged_state(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with State(partial(SqliteStore, path)) as state:
        await state.commit(jobs={("s", "j"): counted})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE records SET value = CAST(x'7bff7d' AS TEXT) WHERE key = 'job/s/j'")
    connection.close()
    async with asyncio.timeout(10):
        with pytest.raises(
            StoreError, match=f"the state {tmp_path}/state.db is damaged: its record job/s/j cannot be read"
        ):
            async with State(partial(SqliteStore, path)):
                pytest.fail("entered")


async def test_a_record_that_cannot_be_read_is_a_damaged_state(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    store.commit({"job/s/j": b'{"snapshot":{"status":7}}'})
    store.close()
    with pytest.raises(
        StoreError, match=f"the state {tmp_path}/state.db is damaged: its record job/s/j cannot be read"
    ):
        async with State(partial(SqliteStore, path)):
            pytest.fail("entered")
    SqliteStore(path).close()  # and it was released


async def test_a_record_without_a_document_is_a_damaged_state(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "state.db").close()
    connection = sqlite3.connect(tmp_path / "state.db")
    with connection:
        connection.execute("INSERT INTO records VALUES ('job/s/j', NULL)")
    connection.close()
    with pytest.raises(StoreError, match="is damaged: its record job/s/j cannot be read"):
        async with State(partial(SqliteStore, tmp_path / "state.db")):
            pytest.fail("entered")
    with pytest.raises(StoreError, match="is damaged: its record job/s/j cannot be read"):
        Records().load(read_state(tmp_path / "state.db"), "state.db")


async def test_dead_letters_are_counted_through_every_change_and_a_restart(tmp_path: Path) -> None:
    store = partial(SqliteStore, tmp_path / "state.db")

    def holding(*states: DeliveryState) -> JobUpdate:
        deliveries = tuple(delivery(str(number), state=state) for number, state in enumerate(states))
        return lambda _: msgspec.structs.replace(record(), deliveries=deliveries)

    def own(*states: DeliveryState) -> SourceUpdate:
        deliveries = tuple(delivery(str(number), state=state) for number, state in enumerate(states))
        return lambda _: SourceRecord(id="abc", deliveries=deliveries)

    async with State(store) as state:
        assert state.records.dead == 0
        await state.commit(jobs={("s", "a"): holding("dead", "dead", "pending"), ("s", "b"): holding("dead")})
        assert state.records.dead == 3
        await state.commit(jobs={("s", "a"): holding("pending", "dead", "delivered")})
        assert state.records.dead == 2
        together = [
            state.commit(jobs={("s", "b"): holding("dead", "dead")}, sources={"s": own("dead")}),
            state.commit(jobs={("s", "b"): holding("dead")}, sources={"s": own("dead", "dead", "delivered")}),
        ]
        await asyncio.gather(*together)
        assert state.records.dead == 4
    async with State(store) as state:
        assert state.records.dead == 4
        await state.commit(jobs={("s", "a"): lambda _: None})
        assert state.records.dead == 3
