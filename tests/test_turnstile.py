"""Sources that share an API key share its one request a second."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from notifier.assembly import make_sources, open_session
from notifier.pace import Pace
from notifier.settings import Settings
from notifier.source import AlliumSource, SourceError
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.turnstile import Turnstile
from notifier.watcher import Watcher
from tests.commands import beside
from tests.daemon import Daemon
from tests.servers import ScriptedServer, job
from tests.simulated import at, now, simulated


def settings(api: str, *sources: dict[str, str]) -> Settings:
    """Return what polls this API with one key, unless a source says otherwise."""
    return Settings.model_validate(
        {
            "sources": [
                {"name": f"source-{number}", "api_key": "k", "base_url": api, **source}
                for number, source in enumerate(sources)
            ]
        }
    )


# --------------------------------------------------------------------------------------- the turns


class Turns:
    """Who has had a turn, and when."""

    def __init__(self, apart_seconds: float = 1.0) -> None:
        self.turnstile = Turnstile(apart_seconds)
        self.taken: list[tuple[str, float]] = []

    async def take(self, name: str) -> None:
        await self.turnstile.turn()
        self.taken.append((name, now()))


@simulated
async def test_turns_are_apart_and_in_the_order_of_those_who_wait() -> None:
    turns = Turns()
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(turns.take(name))
        await at(0.5)
        for name in "ad":
            tasks.create_task(turns.take(name))
    assert turns.taken == [("a", 0), ("b", 1), ("c", 2), ("a", 3), ("d", 4)]


@simulated
async def test_after_a_rest_the_first_goes_at_once_and_earns_no_more() -> None:
    turns = Turns(0.25)
    await turns.take("a")
    await at(100)
    for name in "bcd":
        await turns.take(name)
    assert turns.taken == [("a", 0), ("b", 100), ("c", 100.25), ("d", 100.5)]


@simulated
async def test_whoever_gives_up_takes_no_turn() -> None:
    turns = Turns()
    async with asyncio.TaskGroup() as tasks:
        for name in "ab":
            tasks.create_task(turns.take(name))
        first, waiting = tasks.create_task(turns.take("x")), tasks.create_task(turns.take("y"))
        tasks.create_task(turns.take("c"))
        await at(0.5)
        waiting.cancel()  # it waits behind others
        await at(1.5)
        first.cancel()  # it is the next
    assert turns.taken == [("a", 0), ("b", 1), ("c", 2)]


@simulated
async def test_a_pause_holds_all_also_whoever_waits_for_the_next_turn() -> None:
    turns = Turns()
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(turns.take(name))
        await at(0.5)
        turns.turnstile.hold(60)
        turns.turnstile.hold(5)  # a shorter one does not end it
    assert turns.taken == [("a", 0), ("b", 60.5), ("c", 61.5)]


# ------------------------------------------------------------------------------------- who shares


async def times(sources: list[AlliumSource], rounds: int) -> list[float]:
    """Return when so many rounds of turns are taken, all of a round asked for at once."""
    taken: list[float] = []

    async def take(source: AlliumSource) -> None:
        await source.turn()
        taken.append(now())

    for _ in range(rounds):
        await asyncio.gather(*map(take, sources))
    return taken


@pytest.mark.parametrize(
    ("sources", "taken"),
    [
        pytest.param([{}], [0, 0, 0], id="alone"),
        pytest.param([{}, {}], [0, 1, 2, 3, 4, 5], id="one key"),
        pytest.param([{}, {"base_url": "http://allium.invalid/"}], [0, 1, 2, 3, 4, 5], id="a slash more"),
        pytest.param([{}, {"api_key": "another"}], [0] * 6, id="another key"),
        pytest.param([{}, {"base_url": "http://other.invalid"}], [0] * 6, id="another API"),
        pytest.param([{}, {"api_key": "another"}, {}], [0, 0, 1, 1, 2, 3, 3, 4, 5], id="two of three"),
        pytest.param([{"poll_every": "2s"}, {}], [0, 1, 2, 3, 4, 5], id="never further apart than a second"),
        pytest.param([{"poll_every": "500ms"}, {}], [0, 0.5, 1, 1.5, 2, 2.5], id="as often as chosen"),
        pytest.param(
            [{"poll_every": "500ms"}, {"poll_idle_every": "250ms"}],
            [0, 0.25, 0.5, 0.75, 1, 1.25],
            id="the shortest of what was chosen",
        ),
    ],
)
def test_sources_of_one_key_ask_in_turn(sources: list[dict[str, str]], taken: list[float]) -> None:
    @simulated
    async def ask() -> None:
        async with open_session() as session:
            made = make_sources(settings("http://allium.invalid", *sources), session)
            assert await times(made, 3) == taken

    ask()


# ----------------------------------------------------------------------------------- real requests


@contextlib.asynccontextmanager
async def watching(path: Path, config: Settings) -> AsyncIterator[list[Watcher]]:
    async with State(partial(SqliteStore, path)) as state, open_session() as session:
        yield [
            Watcher(
                source,
                state=state,
                pace=Pace(poll_every=each.poll_every, poll_idle_every=each.poll_idle_every),
                announce_first=False,
                route=lambda _: (),
                passed_on=lambda *_: None,
            )
            for source, each in zip(make_sources(config, session), config.sources, strict=True)
        ]


def apart(arrivals: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(sorted(arrivals))]


async def test_requests_of_a_daemon_s_sources_arrive_a_second_apart(
    tmp_path: Path, api: ScriptedServer
) -> None:
    arrivals: dict[str, list[float]] = {}

    def answer(request: web.Request) -> web.Response:
        arrivals.setdefault(request.headers["X-API-Key"], []).append(time.monotonic())
        return web.json_response([job("j", "staging")])

    api.answer = answer
    shared = "\n".join(
        f'[[sources]]\nname = "{name}"\napi_key = "shared"\nbase_url = "{api.url}"\npoll_every = "1s"\n'
        for name in "abc"
    )
    config = tmp_path / "notifier.toml"
    config.write_text(
        shared
        + f'[[sources]]\napi_key = "alone"\nbase_url = "{api.url}"\npoll_every = "100ms"\n'
        + f'[store]\nurl = "sqlite:///{tmp_path}/state.db"\n'
    )
    async with Daemon(config) as daemon:
        async with asyncio.timeout(20):
            while len(arrivals.get("shared", ())) < 5:
                await api.arrived(len(api.requests) + 1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert min(apart(arrivals["shared"])) >= 0.95
    assert len(arrivals["alone"]) > len(arrivals["shared"])
    for name in "abc":
        assert any(f"{name}: a first poll" in line for line in daemon.lines), "each has its turn"


async def test_check_asks_in_turn_too(api: ScriptedServer, tmp_path: Path) -> None:
    arrivals: list[float] = []

    def answer(_: web.Request) -> web.Response:
        arrivals.append(time.monotonic())
        return web.json_response([])

    api.answer = answer
    for name in "ab":
        with (tmp_path / "notifier.toml").open("a") as file:
            file.write(f'[[sources]]\nname = "{name}"\napi_key = "k"\nbase_url = "{api.url}"\n')
    assert (await beside("check", "--connect")).code == 0
    assert min(apart(arrivals)) >= 0.95


async def test_a_wait_for_a_turn_is_no_part_of_the_poll_and_can_be_cancelled(
    path: Path, api: ScriptedServer
) -> None:
    api.script = [web.Response(status=429, headers={"Retry-After": "1"})]
    config = settings(api.url, {}, {"timeout": "1ms"})
    async with watching(path, config) as (throttled, other):
        await throttled.observe()
        waiting = asyncio.create_task(other.observe())
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done(), "it does not count against the time-out"
        assert other.under_way() == {}
        assert other.report.last_poll is None
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        (web.Response(status=429, headers={"Retry-After": "1234"}), True),
        (web.Response(status=429), False),
        (web.Response(status=429, headers={"Retry-After": "soon"}), False),
        (web.Response(status=503, headers={"Retry-After": "1234"}), False),
        (web.Response(status=401, headers={"Retry-After": "1234"}), False),
    ],
)
async def test_throttling_that_says_for_how_long_holds_all_of_the_key(
    session: aiohttp.ClientSession, api: ScriptedServer, answer: web.Response, *, held: bool
) -> None:
    api.answer = answer
    throttled, other, stranger = make_sources(
        settings(api.url, {"poll_every": "1ms"}, {}, {"api_key": "another"}), session
    )
    await throttled.turn()
    with pytest.raises(SourceError):
        await throttled.fetch(None)
    await stranger.turn()
    if not held:
        await other.turn()
        return
    with pytest.raises(SourceError, match="asked another source of the same key to wait") as caught:
        await other.turn()
    assert caught.value.fault == "throttled"
    assert caught.value.retry_after is not None
    assert timedelta(seconds=1200) < caught.value.retry_after <= timedelta(seconds=1234)


async def test_a_source_that_is_held_for_long_has_no_good_poll_and_says_so(
    path: Path, api: ScriptedServer
) -> None:
    api.answer = web.Response(status=429, headers={"Retry-After": "3600"})
    async with watching(path, settings(api.url, {}, {})) as (throttled, other):
        await throttled.observe()
        assert await other.observe() > timedelta(minutes=59)
        assert other.report.failures == 1
        assert not other.is_current
    assert len(api.requests) == 1


async def test_a_source_alone_with_its_key_is_held_by_its_own_pace_only(
    path: Path, api: ScriptedServer
) -> None:
    api.answer = web.Response(status=429, headers={"Retry-After": "3600"})
    async with watching(path, settings(api.url, {})) as (alone,):
        for _ in range(3):
            assert await alone.observe() >= timedelta(hours=1)
    assert len(api.requests) == 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session
