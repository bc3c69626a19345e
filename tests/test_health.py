"""Targets that fail for long, told to the others, with the state in a real file and the time in the test's hands."""

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from notifier.health import Health
from notifier.notices import Notices
from notifier.outages import Party, Terms
from notifier.route import RouteSettings, route
from notifier.sending import SendError
from notifier.state import State
from tests.test_notices import SECOND, TARGETS, Clock, Told, opened

MINUTE = 60 * SECOND
REFUSED = SendError("answered 500: down for repairs", status=500)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def summaries(told: Told) -> list[str]:
    return [event.summary for _, event, _ in told.passed]


async def test_a_target_that_failed_for_five_minutes_is_told_to_the_others_once_and_when_it_works_again(
    path: Path,
) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        told.notices.heard("a", "ops", SendError("no answer in time"))
        assert await told.tell_due() == 5 * MINUTE
        clock.move(4 * MINUTE)
        told.notices.heard("a", "ops", REFUSED)
        assert await told.tell_due() == MINUTE
        clock.move(MINUTE)
        assert await told.tell_due() is None
        clock.move(30 * MINUTE)
        told.notices.heard("a", "ops", REFUSED)
        assert await told.tell_due() is None, "however long it lasts"
        told.notices.heard("a", "ops", None)
        assert await told.tell_due() is None
        assert [(event.type, event.summary, targets) for _, event, targets in told.passed] == [
            (
                "target.down",
                "target ops has failed for 5m: answered 500: down for repairs",
                ("data", "team"),
            ),
            ("target.up", "target ops works again after 35m", ("data", "team")),
        ]
        assert told.record().outages == {}


async def test_what_receivers_get_is_what_the_contract_says(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        told.notices.heard("a", "ops", REFUSED)
        clock.move(5 * MINUTE)
        await told.tell_due()
        [(_, event, _)] = told.passed
        payload: dict[str, Any] = json.loads(bytes(event.payload))  # type: ignore[arg-type]
    data = payload["data"]
    assert payload["type"] == "target.down"
    assert (data["target"], data["reason"], data["source"]) == ("ops", "answered 500: down for repairs", "a")
    null = ("job_id", "status", "previous_status", "progress", "job", "delivery_id")
    assert [data[key] for key in null] == [None] * len(null)


async def test_a_short_failure_is_told_to_nobody(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        for _ in range(3):
            told.notices.heard("a", "ops", REFUSED)
            await told.tell_due()
            clock.move(299 * SECOND)
            told.notices.heard("a", "ops", None)
            assert await told.tell_due() is None
        assert told.passed == []
        assert told.record().outages == {}


@pytest.mark.parametrize(
    "error",
    [
        SendError("answered 400", refused="message", status=400),
        SendError("answered 410", refused="endpoint", status=410),
        SendError("Slack asks to slow down (429)", status=429, retry_after=timedelta(hours=1)),
        SendError("answered 429", status=429),
        SendError("Slack asks to slow down (429)", status=200, throttled=True),
    ],
    ids=["a refusal", "gone for good", "slow down", "slow down at will", "slow down in words"],
)
async def test_an_answer_that_is_no_failure_of_the_target_begins_nothing(
    path: Path, error: SendError
) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        told.notices.heard("a", "ops", error)
        clock.move(10 * MINUTE)
        assert await told.tell_due() is None
        assert told.passed == []


async def test_it_is_told_once_over_a_restart_and_counted_from_the_first_failure(path: Path) -> None:
    clock = Clock()
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("a", "ops", REFUSED)
        await told.tell_due()
    clock.move(4 * MINUTE)
    async with opened(path) as state:
        told = Told(state, clock)
        assert await told.tell_due() is None, "it has not failed since"
        told.notices.heard("a", "ops", REFUSED)
        assert await told.tell_due() == MINUTE
        clock.move(MINUTE)
        await told.tell_due()
        assert summaries(told) == ["target ops has failed for 5m: answered 500: down for repairs"]
    clock.move(MINUTE)
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("b", "ops", REFUSED)
        assert await told.tell_due() is None
        assert told.passed == [], "the process before told it"
        told.notices.heard("b", "ops", None)
        await told.tell_due()
        assert summaries(told) == ["target ops works again after 6m"]
        assert [key for key, _, _ in told.passed] == [("a", None)], "with the source that failed first"


async def test_what_an_earlier_process_left_of_a_target_that_is_not_heard_of_again_tells_nothing(
    path: Path,
) -> None:
    clock = Clock()
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("a", "ops", REFUSED)
        await told.tell_due()
        left = told.record().outages
    async with opened(path) as state:
        told = Told(state, clock)
        for _ in range(3):
            clock.move(60 * MINUTE)
            told.notices.heard("a", "data", SendError("no connection"))
            await told.tell_due()
            told.notices.heard("a", "data", None)
            await told.tell_due()
        assert told.passed == []
        assert told.record().outages == left, "kept: it may fail again"


async def test_what_an_earlier_process_left_counts_once_the_target_fails_again(path: Path) -> None:
    clock = Clock()
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("a", "ops", SendError("no connection"))
        await told.tell_due()
    clock.move(60 * MINUTE)
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("a", "ops", REFUSED)
        assert await told.tell_due() is None
        assert summaries(told) == ["target ops has failed for 1h: answered 500: down for repairs"]


async def test_what_an_earlier_process_left_is_over_when_the_target_works(path: Path) -> None:
    clock = Clock()
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("a", "ops", REFUSED)
        await told.tell_due()
    clock.move(60 * MINUTE)
    async with opened(path) as state:
        told = Told(state, clock)
        told.notices.heard("a", "ops", None)
        assert await told.tell_due() is None
        assert (told.passed, told.record().outages) == ([], {})
        told.notices.heard("a", "ops", REFUSED)
        assert await told.tell_due() == 5 * MINUTE, "that is another failure"


async def test_a_target_that_works_again_while_others_are_told_is_not_told_as_down(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()

        def ops_works() -> None:
            told.notices.heard("a", "ops", None)

        told = Told(state, clock, then=ops_works)
        for target in ("ops", "data"):
            told.notices.heard("a", target, REFUSED)
        await told.tell_due()
        clock.move(5 * MINUTE)
        assert await told.tell_due() is None
        assert await told.tell_due() is None
        assert summaries(told) == ["target data has failed for 5m: answered 500: down for repairs"]
        assert told.record().outages.keys() == {"data"}


async def test_a_target_that_fails_anew_while_others_are_told_is_not_told_for_the_time_before(
    path: Path,
) -> None:
    async with opened(path) as state:
        clock = Clock()

        def ops_works_and_fails() -> None:
            told.notices.heard("a", "ops", None)
            told.notices.heard("a", "ops", REFUSED)

        told = Told(state, clock, then=ops_works_and_fails)
        for target in ("ops", "data"):
            told.notices.heard("a", target, REFUSED)
        await told.tell_due()
        clock.move(5 * MINUTE)
        assert await told.tell_due() == 5 * MINUTE
        assert await told.tell_due() == 5 * MINUTE
        assert summaries(told) == ["target data has failed for 5m: answered 500: down for repairs"]
        assert told.record().outages["ops"].since == clock()


async def test_a_target_that_fails_for_two_sources_is_told_once(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        for source in ("b", "a", "b"):
            told.notices.heard(source, "ops", REFUSED)
        clock.move(5 * MINUTE)
        await told.tell_due()
        assert [key for key, _, _ in told.passed] == [("b", None)]


async def test_a_clock_that_was_set_back_makes_nobody_wait_for_it(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        told.notices.heard("a", "ops", REFUSED)
        clock.move(-60 * MINUTE)
        assert await told.tell_due() == 5 * MINUTE
        clock.move(5 * MINUTE)
        await told.tell_due()
        assert summaries(told) == ["target ops has failed for 5m: answered 500: down for repairs"]


async def test_a_source_that_is_gone_from_the_config_tells_nothing_more(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        told.notices.heard("b", "ops", REFUSED)
        await told.tell_due()
    clock.move(10 * MINUTE)
    async with opened(path) as state:
        assert await Told(state, clock, sources=("a",)).tell_due() is None


async def test_down_after_is_the_config_s(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        notices = Notices(
            state=state,
            sources=("a",),
            route=partial(route, routes=list[RouteSettings](), targets=TARGETS),
            passed_on=lambda *_: None,
            terms=lambda *_: Terms(down_after=2 * SECOND),
            now=clock,
        )
        notices.heard("a", "ops", REFUSED)
        assert await notices.tell_due() == 2 * SECOND


async def test_whether_there_is_something_to_do_is_told_at_once(path: Path) -> None:
    async with opened(path) as state:
        health = make_health(state)
        assert not health.heard("a", "ops", None)
        assert health.heard("a", "ops", REFUSED)
        assert not health.heard("a", "ops", REFUSED)
        assert health.heard("a", "ops", None)


def make_health(state: State) -> Health:
    async def tell(*_: object, **__: object) -> None:
        raise AssertionError

    async def is_offline() -> bool:
        raise AssertionError

    return Health(
        state, sources=("a",), terms=lambda *_: Terms(), tell=tell, is_offline=is_offline, now=Clock()
    )


async def test_a_target_that_is_down_for_repairs_and_says_for_how_long_is_down(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        closed = SendError("answered 503", status=503, retry_after=MINUTE, outcome_unknown=True)
        for _ in range(6):
            told.notices.heard("a", "ops", closed)
            await told.tell_due()
            clock.move(MINUTE)
        assert summaries(told) == ["target ops has failed for 5m: answered 503"]


async def test_a_refusal_of_a_message_shows_that_the_target_answers_again(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        told.notices.heard("a", "ops", SendError("no connection"))
        await told.tell_due()
        clock.move(5 * SECOND)
        told.notices.heard("a", "ops", SendError("answered 400", refused="message", status=400))
        clock.move(10 * MINUTE)
        assert await told.tell_due() is None
        assert told.passed == []
        assert told.record().outages == {}


async def test_what_is_no_longer_configured_is_forgotten_and_what_is_goes_on_under_another_source(
    path: Path,
) -> None:
    async with opened(path) as state:
        clock, sources = Clock(), ["a", "b"]
        told = Told(state, clock, sources=sources)
        told.notices.heard("a", "ops", REFUSED)
        told.notices.heard("a", "data", REFUSED)
        await told.tell_due()
        assert told.record("a").outages.keys() == {"ops", "data"}
        sources.remove("a")  # and the target data with it
        await told.notices.keep_to({Party("b", is_target=False), Party("ops", is_target=True)})
        assert (told.record("a").outages, set(told.record("b").outages)) == ({}, {"ops"})
        clock.move(5 * MINUTE)
        told.notices.heard("b", "ops", REFUSED)
        await told.tell_due()
        assert [(key, event.type) for key, event, _ in told.passed] == [(("b", None), "target.down")]
    async with opened(path) as state:
        told = Told(state, clock, sources=["b"])
        told.notices.heard("b", "ops", None)
        await told.tell_due()
        assert [event.type for _, event, _ in told.passed] == ["target.up"]
