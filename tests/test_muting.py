"""Orders to mute and to unmute, carried out over a state in a real file."""

import asyncio
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.items import count_mutes, list_mutes
from notifier.model import SourceRecord, utc_now
from notifier.muting import LONGEST, MuteOrder, Muting, RefusedMuteError
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from tests.records import record
from tests.simulated import at, now, simulated
from tests.test_notices import NOW, SECOND, Clock, opened

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
        ({"job_id": "", "reason": "x"}, "nothing is named: a job_id, a table, a name or a source", False),
        ({"table": " "}, "table is empty", False),
        ({"job_id": "j", "name": ""}, "name is empty", False),
        ({"job_id": "j", "reason": "\n"}, "reason is empty", False),
        ({"job_id": "x"}, "there is no job x", True),
        ({"job_id": "k", "source": "a"}, "there is no job k of source a", True),
        ({"source": "x"}, "there is no source x", True),
        ({"job_id": "j", "reason": "é" * 501}, "reason is longer than 500 characters", False),
        (
            {"job_id": "j", "length": timedelta(0)},
            "it must last longer than 0s, and 3,650 days at most",
            False,
        ),
        (
            {"job_id": "j", "length": -SECOND},
            "it must last longer than 0s, and 3,650 days at most",
            False,
        ),
        (
            {"job_id": "j", "length": LONGEST + SECOND},
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


@pytest.mark.parametrize("length", [timedelta(milliseconds=1), LONGEST])
async def test_a_mute_may_be_as_short_and_as_long_as_that(path: Path, length: timedelta) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        clock = Clock()
        made = await Muting(state, sources=("a", "b"), now=clock).mute(order(job_id="j", length=length))
        assert (made.created_at, made.until) == (clock(), clock() + length)


async def test_each_mute_has_an_id_of_its_own_also_when_it_is_like_another(path: Path) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        muting = Muting(state, sources=("a", "b"), now=Clock())
        ids = {(await muting.mute(order(job_id="j"))).id for _ in range(5)}
        assert len(ids) == 5
        assert all(re.fullmatch("mut_[0-9a-f]{24}", id_) for id_ in ids)
        assert len(await muting.unmute("j")) == 5


async def test_without_a_config_the_sources_are_those_that_are_stored(path: Path) -> None:
    async with State(lambda: SqliteStore(path)) as state:
        muting = Muting(state)
        with pytest.raises(
            RefusedMuteError, match="there is no source yet: nothing was polled so far"
        ) as caught:
            await muting.mute(order(table="*"))
        assert caught.value.unknown
        await with_jobs(state)
        await muting.mute(order(table="*"))
        [item] = list_mutes(state.records, now=utc_now()).items
        assert item.sources == ["a", "b"]


async def test_a_source_that_is_no_longer_configured_is_not_muted_and_what_it_holds_still_ends(
    path: Path,
) -> None:
    async with opened(path) as state:
        await with_jobs(state)
        clock, ended = Clock(), Ended()
        await Muting(state, sources=("a", "b"), now=clock).mute(order(table="*"))
        muting = Muting(state, sources=("a",), ended=ended, now=clock)
        with pytest.raises(RefusedMuteError, match="there is no job k"):
            await muting.mute(order(job_id="k"))
        with pytest.raises(RefusedMuteError, match="there is no source b"):
            await muting.mute(order(source="b"))
        clock.move(HOUR)
        await muting.end_due()
        assert ended.sources == [["a", "b"]]


async def test_a_job_of_two_sources_is_muted_and_unmuted_in_both(path: Path) -> None:
    async with opened(path) as state:
        await state.commit(jobs={("a", "j"): lambda _: record(), ("b", "j"): lambda _: record()})
        ended = Ended()
        muting = Muting(state, sources=("a", "b"), ended=ended, now=Clock())
        both = await muting.mute(order(job_id="j"))
        one = await muting.mute(order(job_id="j", source="b"))
        found = {item.id: item.sources for item in list_mutes(state.records, now=Clock()()).items}
        assert found == {both.id: ["a", "b"], one.id: ["b"]}
        assert set(await muting.unmute("j")) == {both.id, one.id}
        assert ended.sources == [["a", "b"]]
        assert list_mutes(state.records, now=Clock()()).items == []


async def test_when_those_who_are_told_of_an_end_look_the_mute_is_gone_for_good(path: Path) -> None:
    left: list[int] = []

    async def look(_: Collection[str]) -> None:
        left.append(len(list_mutes(state.records, now=Clock()()).items))
        async with asyncio.timeout(5):
            await state.commit(sources={})

    async with opened(path) as state:
        await with_jobs(state)
        muting = Muting(state, sources=("a", "b"), ended=look, now=Clock())
        await muting.mute(order(job_id="j"))
        await muting.unmute("j")
        assert left == [0]
    async with opened(path) as state:
        assert list_mutes(state.records, now=Clock()()).items == []


async def test_what_is_logged_of_a_mute_names_it_on_one_line(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with opened(path) as state:
        await with_jobs(state)
        muting = Muting(state, sources=("a", "b"), now=Clock())
        made = await muting.mute(order(name="two\nlines\x1b[31m", source="a"))
        await muting.unmute(made.id)
    what = "name two lines [31m of source a"
    assert f"muted {what} for 1h ({made.id})" in caplog.messages
    assert f"the mute of {what} ended, 0 events suppressed ({made.id})" in caplog.messages


class Ticking:
    """A wall clock that goes on with the simulated time, until somebody sets it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return NOW + self.ahead + timedelta(seconds=now())


@pytest.mark.parametrize(
    ("set_at", "by", "due"),
    [
        pytest.param(0, 0, 3600, id="as time goes on"),
        pytest.param(610, 3600, 610, id="set forward"),
        pytest.param(610, 600, 3000, id="set forward a little"),
        pytest.param(610, -1800, 5400, id="set back"),
    ],
)
def test_a_mute_ends_when_the_clock_says_so_and_that_is_noticed_within_a_minute(
    path: Path, set_at: float, by: float, due: float
) -> None:
    found: list[float] = []

    @simulated
    async def live() -> None:
        clock = Ticking()

        async def note(_: Collection[str]) -> None:
            found.append(now())

        async with opened(path) as state:
            await with_jobs(state)
            muting = Muting(state, sources=("a", "b"), ended=note, now=clock)
            running = asyncio.create_task(muting.run())
            await at(0)  # it waits, and nothing is muted yet
            await muting.mute(order(job_id="j"))
            await at(set_at)
            clock.ahead = timedelta(seconds=by)
            await at(7200)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    live()
    [ended_at] = found
    assert due <= ended_at <= due + 60


def test_mutes_end_each_at_its_own_time_in_whatever_order_they_were_made(path: Path) -> None:
    found: list[tuple[float, list[str]]] = []

    @simulated
    async def live() -> None:
        async def note(sources: Collection[str]) -> None:
            found.append((now(), sorted(sources)))

        async with opened(path) as state:
            await with_jobs(state)
            muting = Muting(state, sources=("a", "b"), ended=note, now=Ticking())
            running = asyncio.create_task(muting.run())
            for seconds, named in ((300, {"job_id": "j"}), (100, {"table": "*"}), (200, {"source": "b"})):
                await muting.mute(order(length=seconds * SECOND, **named))
            await at(50)
            await muting.mute(order(length=SECOND, job_id="k"))
            await at(400)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    live()
    assert [(round(seconds), sources) for seconds, sources in found] == [
        (51, ["b"]),
        (100, ["a", "b"]),
        (200, ["b"]),
        (300, ["a"]),
    ]
