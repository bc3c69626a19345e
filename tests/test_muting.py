"""Orders to mute and to unmute, carried out over a state in a real file."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.model import SourceRecord
from notifier.muting import LONGEST, MuteOrder, Muting, RefusedMuteError
from notifier.state import State
from notifier.views import count_mutes, list_mutes
from tests.records import record
from tests.simulated import at, simulated
from tests.test_notices import SECOND, Clock, opened

HOUR = 3600 * SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def order(**named: Any) -> MuteOrder:
    return MuteOrder(**{"length": HOUR} | named)


async def with_jobs(state: State) -> None:
    await state.commit(
        jobs={("a", "j"): lambda _: record(), ("b", "k"): lambda _: record()},
        sources={name: lambda _, name=name: SourceRecord(id=name) for name in ("a", "b")},  # type: ignore[misc]
    )


class Ended:
    def __init__(self) -> None:
        self.sources: list[list[str]] = []

    async def __call__(self, sources: Collection[str]) -> None:
        self.sources.append(sorted(sources))


@pytest.mark.parametrize(
    ("named", "holders"),
    [
        ({"job_id": "j"}, ["a"]),
        ({"job_id": "k", "source": "b"}, ["b"]),
        ({"table": "base.*"}, ["a", "b", "c"]),
        ({"name": "*usdc*", "source": "c"}, ["c"]),
        ({"source": "a"}, ["a"]),
        ({"job_id": "j", "table": "x"}, ["a"]),
    ],
)
async def test_a_mute_is_held_by_each_source_it_is_about_and_outlives_a_restart(
    path: Path, named: dict[str, str], holders: list[str]
) -> None:
    clock = Clock()
    async with opened(path) as state:
        await with_jobs(state)
        made = await Muting(state, sources=("a", "b", "c"), now=clock).mute(order(reason="why", **named))
        assert made.until == clock() + HOUR
    async with opened(path) as state:
        [item] = list_mutes(state.records, now=clock()).items
        assert (item.id, item.sources, item.reason) == (made.id, holders, "why")
        assert {key: getattr(item, key) for key in named} == named
        assert count_mutes(state.records, clock()) == 1
        assert count_mutes(state.records, clock() + HOUR) == 0


@pytest.mark.parametrize(
    ("named", "reason", "unknown"),
    [
        ({}, "nothing is named: a job_id, a table, a name or a source", False),
        ({"table": " "}, "table is empty", False),
        ({"job_id": "x"}, "there is no job x", True),
        ({"job_id": "k", "source": "a"}, "there is no job k of source a", True),
        ({"source": "x"}, "there is no source x", True),
        (
            {"job_id": "j", "length": timedelta(0)},
            "it must last longer than 0s, and 3,650 days at most",
            False,
        ),
        (
            {"job_id": "j", "length": 2 * LONGEST},
            "it must last longer than 0s, and 3,650 days at most",
            False,
        ),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_in_words(
    path: Path, named: dict[str, Any], reason: str, unknown: bool
) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        with pytest.raises(RefusedMuteError) as caught:
            await Muting(state, sources=("a", "b")).mute(order(**named))
        assert (str(caught.value), caught.value.unknown) == (reason, unknown)
        assert list_mutes(state.records, now=Clock()()).items == []


@pytest.mark.parametrize("by", ["job", "mute"])
async def test_unmuting_ends_the_mutes_of_a_job_or_one_by_its_id(path: Path, by: str) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        ended = Ended()
        muting = Muting(state, sources=("a", "b"), ended=ended, now=Clock())
        first = await muting.mute(order(job_id="j"))
        second = await muting.mute(order(job_id="j", length=2 * HOUR))
        other = await muting.mute(order(table="*"))
        assert set(await muting.unmute("j" if by == "job" else first.id)) == (
            {first.id, second.id} if by == "job" else {first.id}
        )
        left = {item.id for item in list_mutes(state.records, now=Clock()()).items}
        assert left == ({other.id} if by == "job" else {second.id, other.id})
        assert ended.sources == [["a"]]


async def test_what_is_not_muted_cannot_be_unmuted(path: Path) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        clock = Clock()
        muting = Muting(state, sources=("a", "b"), now=clock)
        await muting.mute(order(table="*"))
        with pytest.raises(
            RefusedMuteError, match="there is no mute j, and no job j that is muted by its id"
        ):
            await muting.unmute("j")
        over = await muting.mute(order(job_id="j"))
        clock.move(HOUR)
        with pytest.raises(RefusedMuteError):
            await muting.unmute(over.id)


async def test_mutes_whose_time_has_come_end_with_all_that_hold_them(path: Path) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        clock, ended = Clock(), Ended()
        muting = Muting(state, sources=("a", "b"), ended=ended, now=clock)
        await muting.mute(order(table="*"))
        later = await muting.mute(order(job_id="k", length=2 * HOUR))
        clock.move(HOUR - SECOND)
        await muting.end_due()
        assert ended.sources == []
        clock.move(SECOND)
        await muting.end_due()
        assert ended.sources == [["a", "b"]]
        assert [item.id for item in list_mutes(state.records, now=clock()).items] == [later.id]


def test_a_daemon_ends_them_by_itself_also_when_the_clock_is_set_meanwhile(path: Path) -> None:
    clock = Clock()
    sources: list[list[str]] = []

    @simulated
    async def live() -> None:
        async with opened(path) as state:
            await with_jobs(state)
            ended = Ended()
            muting = Muting(state, sources=("a", "b"), ended=ended, now=clock)
            running = asyncio.create_task(muting.run())
            await muting.mute(order(job_id="j", length=2 * HOUR))
            await at(100)
            assert ended.sources == []
            clock.move(2 * HOUR)  # the clock is set: nobody waits two hours for it
            await at(200)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            sources.extend(ended.sources)

    live()
    assert sources == [["a"]]
