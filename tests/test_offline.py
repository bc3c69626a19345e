"""Who is blamed when somebody does not answer: a source, a target, or this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr

from notifier.model import Mute, SourceRecord
from notifier.route import RouteSettings
from notifier.sending import SendError
from notifier.source import AlliumSource, SourceError, SourceSettings
from notifier.state import State
from tests.servers import ScriptedServer
from tests.test_health_of_sources import MINUTE, REFUSED, SILENT, UNREACHED, Heard
from tests.test_notices import Clock, opened
from tests.wire import closed_port, wired

BROKEN = SourceError("failed", "the API answered 503: sorry")
OFFLINE = "nothing can be reached, no source and no target: this machine seems to be offline"
SOURCES = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@asynccontextmanager
async def failing(
    path: Path, *sources: str, target: bool = False, **options: Any
) -> AsyncIterator[tuple[Heard, Clock]]:
    """Yield what hears of sources, and maybe of the target ops, that have not answered for five minutes."""
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), **options)
        for source in sources:
            heard.poll(source, SILENT)
        if target:
            heard.notices.heard("a", "ops", UNREACHED)
        assert await heard.told() == []
        clock.move(5 * MINUTE)
        yield heard, clock


def heads(told: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in told]


async def mute(state: State, *sources: str, until: timedelta) -> None:
    now = Clock()()
    for source in sources:
        held = Mute(id=f"mut_{source}", created_at=now, until=now + until, source=source)
        await state.commit(
            sources={
                source: lambda record, held=held: msgspec.structs.replace(  # type: ignore[misc]
                    record or SourceRecord(id=held.id), mutes=(held,)
                )
            }
        )


# ------------------------------------------------------------------------- a source, in its own words


async def _fetched(url: str) -> SourceError:
    settings = SourceSettings(
        name="a", api_key=SecretStr("key"), base_url=url, timeout=timedelta(milliseconds=300)
    )
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SourceError) as caught:
            await AlliumSource(settings, session=session, tls=True).fetch(None)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"{}", "the API key of source a was refused (401); is api_key right?"),
        (403, b"{}", "the API key of source a was refused (403); is api_key right?"),
        (429, b"", "the API answered 429"),
        (503, b'{"message": "down for\\nrepairs"}', "the API answered 503: down for repairs"),
        (200, b"<html>", "the reply is an HTML page, not JSON"),
    ],
)
async def test_an_answer_that_is_no_listing_is_blamed_on_the_source_in_words(
    path: Path, api: ScriptedServer, status: int, body: bytes, words: str
) -> None:
    api.answer = web.Response(status=status, body=body)
    error = await _fetched(api.url)
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), offline=True)
        heard.poll("a", error)
        await heard.told()
        clock.move(5 * MINUTE)
        [line] = await heard.told()
    assert line.startswith(f"source a has had no good poll for 5m: {words}")
    assert heard.asked == 0, "who answers is reached"


@pytest.mark.parametrize("fault", ["silent", "closed", "unknown host", "cut off", "no HTTP"])
async def test_before_a_source_without_any_answer_is_blamed_it_is_asked_whether_this_machine_is_offline(
    path: Path, fault: str
) -> None:
    if fault == "closed":
        with closed_port() as port:
            error = await _fetched(f"http://127.0.0.1:{port}")
    elif fault == "unknown host":
        error = await _fetched("http://allium.invalid")
    else:
        answers = {"silent": None, "cut off": b"", "no HTTP": b"220 mail ready\r\n\r\n"}
        async with wired(answers[fault]) as url:
            error = await _fetched(url)
    async with opened(path) as state:
        heard = Heard(state, clock := Clock())
        heard.poll("a", error)
        await heard.told()
        clock.move(5 * MINUTE)
        assert await heard.told() == [f"source a has had no good poll for 5m: {error.reason}"]
    assert heard.asked == 1


# --------------------------------------------------------------------------------- or this machine


async def test_when_somebody_answers_others_that_do_not_are_blamed_each(path: Path) -> None:
    async with failing(path, "a", "b", target=True, offline=True) as (heard, _):
        heard.poll("c", None)
        assert heads(await heard.told()) == [
            "source a has had no good poll for 5m",
            "source b has had no good poll for 5m",
            "target ops has failed for 5m",
        ]
        assert heard.asked == 0


@pytest.mark.parametrize(
    "error",
    [
        None,
        SendError("answered 500", status=500),
        SendError("answered 400", refused="message", status=400),
        SendError("answered 429", status=429),
        SendError("Slack answered invalid_auth", code="invalid_auth"),
    ],
    ids=["taken", "answered 500", "refused", "slow down", "in words"],
)
async def test_the_answer_of_a_target_shows_as_well_that_this_machine_reaches_others(
    path: Path, error: SendError | None
) -> None:
    async with failing(path, "a", offline=True) as (heard, _):
        heard.notices.heard("a", "ops", error)
        assert heads(await heard.told()) == ["source a has had no good poll for 5m"]
        assert heard.asked == 0


async def test_an_answer_of_before_the_failure_says_nothing_of_now(path: Path) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), offline=True)
        heard.poll("b", None)
        clock.move(MINUTE)
        heard.poll("a", SILENT)
        await heard.told()
        clock.move(5 * MINUTE)
        [line] = await heard.told()
    assert OFFLINE in line
    assert heard.asked == 1


async def test_when_this_machine_is_not_offline_all_that_do_not_answer_are_blamed_after_one_question(
    path: Path,
) -> None:
    async with failing(path, *SOURCES, target=True) as (heard, _):
        assert heads(await heard.told()) == [
            "source a has had no good poll for 5m",
            "source b has had no good poll for 5m",
            "source c has had no good poll for 5m",
            "target ops has failed for 5m",
        ]
        assert heard.asked == 1


async def test_one_of_many_that_answers_badly_is_blamed_at_once_and_the_others_are_then_too(
    path: Path,
) -> None:
    async with failing(path, "a", "b", offline=True) as (heard, _):
        heard.poll("b", BROKEN)
        assert await heard.told() == [
            "source a has had no good poll for 5m: no answer in time",
            "source b has had no good poll for 5m: the API answered 503: sorry",
        ]
        assert heard.asked == 0


async def test_while_nobody_is_reached_only_targets_are_asked_about_and_none_is_blamed(path: Path) -> None:
    async with failing(path, target=True, offline=True) as (heard, clock):
        for _ in range(20):
            assert await heard.notices.tell_due() == timedelta(seconds=30)
            heard.notices.heard("a", "ops", UNREACHED)
            clock.move(timedelta(seconds=30))
        heard.offline = False
        assert await heard.notices.tell_due() == 5 * MINUTE, "it has as long as any to recover"
        clock.move(5 * MINUTE)
        assert await heard.told() == ["target ops has failed for 5m: no connection to ops:443"]


async def test_when_this_machine_is_back_those_that_still_do_not_answer_have_had_time_to(path: Path) -> None:
    async with failing(path, *SOURCES, target=True, offline=True) as (heard, clock):
        assert heads(await heard.told()) == ["source a has had no good poll for 5m"]
        clock.move(60 * MINUTE)
        heard.offline = False
        assert await heard.told() == []
        for source in SOURCES:
            heard.poll(source, SILENT)
        clock.move(4 * MINUTE)
        assert await heard.told() == []
        clock.move(MINUTE)
        assert heads(await heard.told()) == [
            "source a still has had no good poll for 1h 10m",
            "source b has had no good poll for 5m",
            "source c has had no good poll for 5m",
            "target ops has failed for 5m",
        ]


async def test_reminders_say_that_this_machine_is_offline_for_as_long_as_it_is(path: Path) -> None:
    routes = (RouteSettings(sources=["b"], to=["data"]),)
    options: dict[str, Any] = {"remind": 60 * MINUTE, "routes": routes, "offline": True}
    async with failing(path, "a", "b", **options) as (heard, clock):
        for still, hours in (("", "5m"), ("still ", "1h 5m"), ("still ", "2h 5m")):
            for source in ("a", "b"):
                heard.poll(source, SILENT)
            [(line, targets)] = await heard.told_to()
            assert line == f"source a {still}has had no good poll for {hours}: {OFFLINE} (no answer in time)"
            # nobody is reminded who has not got the last one
            assert targets == (("data",) if not still else ())
            clock.move(60 * MINUTE)


async def test_all_who_heard_that_this_machine_was_offline_hear_of_the_end(path: Path) -> None:
    routes = (
        RouteSettings(sources=["a"], to=["ops"]),
        RouteSettings(sources=["b"], to=["data"]),
        RouteSettings(sources=["c"], events=["backfill.*"], to=["team"]),
    )
    async with failing(path, "a", routes=routes, offline=True) as (heard, clock):
        assert [targets for _, targets in await heard.told_to()] == [("ops", "data")]
        heard.poll("b", BROKEN)
        clock.move(6 * MINUTE)
        heard.poll("a", SILENT)
        # It was the source after all: that goes to its own.
        told = await heard.told_to()
        assert [targets for line, targets in told if line.startswith("source b")] == [("data",)]
        heard.poll("a", None)
        [(line, targets)] = await heard.told_to()
        assert (line, targets) == ("source a answers again after 11m", ("ops", "data"))


async def test_a_muted_source_is_not_the_one_that_stands_for_all(path: Path) -> None:
    async with opened(path) as state:
        await mute(state, "a", until=timedelta(hours=1))
        heard = Heard(state, clock := Clock(), offline=True)
        for source in ("a", "b"):
            heard.poll(source, SILENT)
        await heard.told()
        clock.move(5 * MINUTE)
        assert heads(await heard.told()) == ["source b has had no good poll for 5m"]
        clock.move(timedelta(hours=2))
        heard.poll("a", SILENT)
        assert await heard.told() == []


async def test_when_all_are_muted_nothing_is_told_before_a_mute_ends(path: Path) -> None:
    async with opened(path) as state:
        await mute(state, *SOURCES, until=timedelta(hours=1))
        heard = Heard(state, clock := Clock(), offline=True)
        for source in SOURCES:
            heard.poll(source, SILENT)
        heard.notices.heard("a", "ops", UNREACHED)
        for _ in range(11):
            clock.move(5 * MINUTE)
            assert await heard.told() == []
        clock.move(5 * MINUTE)
        assert heads(await heard.told()) == ["source a has had no good poll for 1h"]


# ----------------------------------------------------------------------- over processes, one at a time


async def test_runs_one_after_the_other_tell_once_that_this_machine_is_offline_and_once_of_the_end(
    path: Path,
) -> None:
    clock, told = Clock(), list[str]()
    for run in range(12):
        async with opened(path) as state:
            heard = Heard(state, clock, offline=run < 8)
            for source in SOURCES:
                heard.poll(source, SILENT if run < 8 else None)
            told += await heard.told()
        clock.move(2 * MINUTE)
    assert told == [
        f"source a has had no good poll for 6m: {OFFLINE} (no answer in time)",
        "source a answers again after 16m",
    ]


async def test_runs_one_after_the_other_give_those_that_stay_silent_time_from_the_first_answer_on(
    path: Path,
) -> None:
    clock, told = Clock(), list[tuple[int, str]]()
    for run in range(12):
        async with opened(path) as state:
            heard = Heard(state, clock, offline=True)
            heard.poll("b", SILENT)
            heard.poll("a", SILENT if run < 4 else None)
            told += [(2 * run, line) for line in heads(await heard.told())]
        clock.move(2 * MINUTE)
    assert told == [
        (6, "source a has had no good poll for 6m"),
        (8, "source a answers again after 8m"),
        (14, "source b has had no good poll for 6m"),
    ]


async def test_a_source_that_was_told_down_before_this_machine_went_offline_is_not_told_again(
    path: Path,
) -> None:
    async with opened(path) as state:
        heard = Heard(state, clock := Clock(), offline=True)
        heard.poll("b", REFUSED)
        await heard.told()
        clock.move(5 * MINUTE)
        assert heads(await heard.told()) == ["source b has had no good poll for 5m"]
        clock.move(MINUTE)
        for source in SOURCES:
            heard.poll(source, SILENT)
        await heard.told()
        clock.move(5 * MINUTE)
        assert await heard.told() == [f"source a has had no good poll for 5m: {OFFLINE} (no answer in time)"]
        clock.move(60 * MINUTE)
        for source in SOURCES:
            heard.poll(source, None)
        assert heads(await heard.told()) == [
            "source a answers again after 1h 5m",
            "source b answers again after 1h 11m",
        ]


async def test_who_answered_and_still_does_so_badly_is_reached_also_after_the_clock_was_set(
    path: Path,
) -> None:
    async with opened(path) as state:
        up = [0.0]
        heard = Heard(state, clock := Clock(), offline=True, uptime=lambda: up[0])
        heard.poll("a", BROKEN)
        await heard.told()
        clock.move(timedelta(hours=2))
        assert await heard.told() == [], "how long it fails is not known"
        clock.move(5 * MINUTE)
        up[0] += 300
        assert await heard.told() == ["source a has had no good poll for 5m: the API answered 503: sorry"]
        assert heard.asked == 0
