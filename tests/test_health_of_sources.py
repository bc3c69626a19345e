"""Sources that are down, reminders, and a machine that is itself offline; the state in a real file."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest

from notifier.model import Mute, SourceRecord
from notifier.notices import Notices
from notifier.outages import Party, Terms
from notifier.route import RouteSettings, route
from notifier.sending import SendError
from notifier.source import SourceError
from notifier.state import State
from tests.test_notices import SECOND, TARGETS, Clock, opened

MINUTE = 60 * SECOND
REFUSED = SourceError("refused", "the API key of source a was refused (401); is api_key right?")
SILENT = SourceError("failed", "no answer in time", answered=False)
OFFLINE = "nothing can be reached, no source and no target: this machine seems to be offline"
UNREACHED = SendError("no connection to ops:443")


class Heard:
    """Notices over a state, and what was told."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        *,
        offline: bool = False,
        remind: timedelta = timedelta(0),
        routes: tuple[RouteSettings, ...] = (),
        resting: Callable[[], bool] = lambda: False,
        rested: Callable[[], timedelta] = lambda: timedelta(0),
        uptime: Callable[[], float] | None = None,
    ) -> None:
        self.state, self.clock, self.offline, self.asked = state, clock, offline, 0
        self.ids: list[str] = []
        self._told: list[tuple[str, tuple[str, ...]]] = []

        async def is_offline() -> bool:
            self.asked += 1
            return self.offline

        self.notices = Notices(
            state=state,
            sources=("a", "b", "c"),
            route=partial(route, routes=routes, targets=TARGETS),
            passed_on=lambda _, event, targets: self._note(event.id, event.summary, tuple(targets)),
            terms=lambda party, *_: Terms(
                remind_every=remind, rests=party.is_target and resting(), rested=rested()
            ),
            is_offline=is_offline,
            now=clock,
            uptime=uptime,
        )

    def _note(self, id_: str, summary: str, targets: tuple[str, ...]) -> None:
        self.ids.append(id_)
        self._told.append((summary, targets))

    async def told(self) -> list[str]:
        """Return the summaries of what is told now."""
        return [summary for summary, _ in await self.told_to()]

    async def told_to(self) -> list[tuple[str, tuple[str, ...]]]:
        await self.notices.tell_due()
        told, self._told = self._told, []
        return told

    def poll(self, source: str, error: SourceError | None) -> None:
        self.notices.heard_of_source(source, error)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_a_source_is_told_down_once_with_the_reason_and_up_with_the_time(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock())
        heard.poll("a", REFUSED)
        assert await heard.notices.tell_due() == 5 * MINUTE
        clock.move(299 * SECOND)
        heard.poll("a", REFUSED)
        assert await heard.told() == []
        clock.move(SECOND)
        assert await heard.told() == [f"source a has had no good poll for 5m: {REFUSED.reason}"]
        clock.move(60 * MINUTE)
        heard.poll("a", REFUSED)
        assert await heard.told() == [], "however long it lasts"
        heard.poll("a", None)
        assert await heard.told() == ["source a answers again after 1h 5m"]
        heard.poll("a", None)
        assert await heard.told() == []


async def test_a_short_failure_of_a_source_is_told_to_nobody(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock())
        for _ in range(3):
            heard.poll("a", REFUSED)
            await heard.told()
            clock.move(299 * SECOND)
            heard.poll("a", None)
            assert await heard.told() == []


async def test_reminders_have_ids_of_their_own_and_say_that_it_is_still_so(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), remind=timedelta(hours=1))
        heard.poll("a", REFUSED)
        heard.notices.heard("a", "ops", SendError("answered 500", status=500))
        told = []
        for _ in range(14):
            clock.move(10 * MINUTE)
            told += await heard.told()
        assert sorted(line.partition(":")[0] for line in told) == sorted(
            f"{party} {still}{what} {length}"
            for party, what in (("source a", "has had no good poll for"), ("target ops", "has failed for"))
            for still, length in (("", "10m"), ("still ", "1h 10m"), ("still ", "2h 10m"))
        )
        assert len(set(heard.ids)) == len(heard.ids) == 6


async def test_what_an_earlier_process_left_is_told_once_the_source_fails_again(path: Path) -> None:
    clock = Clock()
    async with opened(path) as state:
        heard = Heard(state, clock)
        heard.poll("a", REFUSED)
        assert await heard.told() == []
    clock.move(10 * MINUTE)
    async with opened(path) as state:
        heard = Heard(state, clock)
        assert await heard.told() == []
        heard.poll("a", REFUSED)
        assert await heard.told() == [f"source a has had no good poll for 10m: {REFUSED.reason}"]
    async with opened(path) as state:
        heard = Heard(state, clock)
        heard.poll("a", REFUSED)
        assert await heard.told() == [], "it was told"
        heard.poll("a", None)
        assert await heard.told() == ["source a answers again after 10m"]


async def test_a_source_without_a_record_gets_one_that_is_no_baseline(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock())
        heard.poll("c", REFUSED)
        await heard.told()
        clock.move(5 * MINUTE)
        assert len(await heard.told()) == 1
        record = state.records.source("c")
        assert record is not None
        assert record.baseline_at is None


async def test_a_muted_source_is_told_after_the_mute_if_it_is_still_down(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock())
        mute = Mute(id="mut_1", created_at=clock(), until=clock() + timedelta(hours=1), source="a")
        await state.commit(sources={"a": lambda record: _muted(record, mute)})
        heard.poll("a", REFUSED)
        await heard.told()
        clock.move(59 * MINUTE)
        assert await heard.told() == []
        clock.move(MINUTE)
        assert await heard.told() == [f"source a has had no good poll for 1h: {REFUSED.reason}"]


def _muted(record: SourceRecord | None, mute: Mute) -> SourceRecord:
    return msgspec.structs.replace(record or SourceRecord(id="x"), mutes=(mute,))


async def test_a_clock_that_is_set_back_lets_nobody_wait(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock())
        heard.poll("a", REFUSED)
        clock.move(timedelta(days=-1))
        assert await heard.notices.tell_due() == 5 * MINUTE
        clock.move(5 * MINUTE)
        assert len(await heard.told()) == 1


async def test_when_nothing_is_reached_one_source_is_told_to_all_and_the_others_have_time_to_recover(
    path: Path,
) -> None:
    async with opened(path) as state:
        routes = (
            RouteSettings(sources=["a"], to=["ops"]),
            RouteSettings(sources=["b", "c"], to=["data"]),
        )
        heard = Heard(state, clock := Clock(), offline=True, routes=routes)
        for source in ("b", "a", "c"):
            heard.poll(source, SILENT)
        heard.notices.heard("a", "ops", UNREACHED)
        await heard.told()
        clock.move(5 * MINUTE)
        [(summary, targets)] = await heard.told_to()
        assert summary.startswith("source a has had no good poll for 5m: nothing can be reached")
        assert set(targets) == {"ops", "data"}
        clock.move(60 * MINUTE)
        for source in ("a", "b", "c"):
            heard.poll(source, SILENT)
        assert await heard.told_to() == []
        heard.poll("a", None)
        [(summary, targets)] = await heard.told_to()
        assert (summary, set(targets)) == ("source a answers again after 1h 5m", {"ops", "data"})
        clock.move(4 * MINUTE)
        heard.poll("b", SILENT)
        heard.poll("c", None)
        assert await heard.told() == []
        clock.move(MINUTE)
        asked = heard.asked
        heard.offline = False
        told = await heard.told()
        assert [line.partition(":")[0] for line in told] == [
            "source b has had no good poll for 5m",
            "target ops has failed for 5m",
        ]
        assert heard.asked == asked, "somebody has answered since"


async def test_an_answer_is_blamed_without_asking_whether_this_machine_is_offline(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), offline=True)
        heard.poll("a", REFUSED)
        await heard.told()
        clock.move(5 * MINUTE)
        assert len(await heard.told()) == 1
        assert heard.asked == 0


async def test_after_a_restart_a_machine_that_is_still_offline_tells_nothing_more(path: Path) -> None:
    clock = Clock()
    async with opened(path) as state:
        heard = Heard(state, clock, offline=True)
        for source in ("a", "b"):
            heard.poll(source, SILENT)
        await heard.told()
        clock.move(5 * MINUTE)
        assert len(await heard.told()) == 1
    clock.move(5 * MINUTE)
    async with opened(path) as state:
        heard = Heard(state, clock, offline=True)
        for source in ("a", "b"):
            heard.poll(source, SILENT)
        assert await heard.told() == []


async def test_one_run_after_the_other_tells_it_once(path: Path) -> None:
    clock, told = Clock(), []
    for _ in range(6):
        async with opened(path) as state:
            heard = Heard(state, clock)
            heard.poll("a", REFUSED)
            told += await heard.told()
        clock.move(2 * MINUTE)
    assert told == [f"source a has had no good poll for 6m: {REFUSED.reason}"]


async def test_a_target_that_is_left_alone_is_down_only_once_it_fails_again(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), resting=lambda: True)
        answered = SendError("answered 500", status=500)
        heard.notices.heard("a", "ops", answered)
        await heard.told()
        clock.move(timedelta(hours=8))
        assert await heard.told() == []
        heard.notices.heard("a", "ops", answered)
        assert await heard.told() == ["target ops has failed for 8h: answered 500"]


def test_parties_are_called_what_they_are() -> None:
    assert [str(Party("x", is_target=flag)) for flag in (True, False)] == ["target x", "source x"]


async def test_what_was_told_as_offline_is_told_anew_when_it_is_the_source_after_all(path: Path) -> None:
    clock = Clock()
    told = []
    for run in range(12):
        async with opened(path) as state:
            heard = Heard(state, clock, offline=run < 4)
            for source in ("a", "b"):
                heard.poll(source, SILENT)
            if run >= 4:
                heard.notices.heard("a", "ops", None)
            told += await heard.told()
        clock.move(2 * MINUTE)
    assert [line.partition(" (")[0] for line in told] == [
        f"source a has had no good poll for 6m: {OFFLINE}",
        "source a still has had no good poll for 14m: no answer in time",
        "source b has had no good poll for 6m: no answer in time",
    ]


async def test_a_clock_that_is_set_forward_blames_nobody(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), uptime=lambda: 0.0)
        heard.poll("a", REFUSED)
        assert await heard.told() == []
        clock.move(timedelta(hours=2))
        heard.poll("b", REFUSED)
        assert await heard.told() == []


async def test_it_is_asked_once_whether_this_machine_is_offline_however_much_fails(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), offline=True)
        for source in ("a", "b", "c"):
            heard.poll(source, SILENT)
        await heard.told()
        clock.move(5 * MINUTE)
        assert len(await heard.told()) == 1
        assert heard.asked == 1


async def test_a_target_is_not_told_down_by_a_night_in_which_nobody_tried_it(path: Path) -> None:
    async with opened(path) as state:
        night = timedelta(hours=9)
        heard = Heard(
            state, clock := Clock(), rested=lambda: night if clock() > start + night else SECOND * 0
        )
        start = clock()
        heard.notices.heard("a", "ops", SendError("answered 500", status=500))
        await heard.told()
        clock.move(night + MINUTE)
        assert await heard.told() == []
        clock.move(4 * MINUTE)
        assert len(await heard.told()) == 1


async def test_after_a_clock_was_set_back_it_is_still_asked_whether_this_machine_is_offline(
    path: Path,
) -> None:
    async with opened(path) as state:
        up = [0.0]
        heard = Heard(state, clock := Clock(), offline=True, uptime=lambda: up[0])
        heard.poll("a", None)
        assert await heard.told() == []
        clock.move(timedelta(days=-1))
        up[0] += 15
        for source in ("a", "b", "c"):
            heard.poll(source, SILENT)
        assert await heard.told() == []
        clock.move(5 * MINUTE)
        up[0] += 300
        assert len(await heard.told()) == 1
        assert heard.asked == 1


async def test_a_source_that_has_not_failed_in_this_process_is_not_named_for_a_machine_that_is_offline(
    path: Path,
) -> None:
    clock = Clock()
    async with opened(path) as state:
        heard = Heard(state, clock)
        heard.poll("a", REFUSED)
        heard.poll("b", SILENT)
        assert await heard.told() == []
    clock.move(timedelta(days=3))
    async with opened(path) as state:
        heard = Heard(state, clock, offline=True)
        heard.poll("b", SILENT)
        [summary] = await heard.told()
        assert summary.startswith("source b has had no good poll for 3d: nothing can be reached")
