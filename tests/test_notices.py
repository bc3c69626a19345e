"""Dead letters told to the other targets, with the state in a real file and the time in the test's hands."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from notifier.deaths import TELL_EVERY
from notifier.dispatcher import Dispatcher
from notifier.model import Delivery, Event, JobRecord, RecordKey, Snapshot, SourceRecord, utc_now
from notifier.notices import Notices
from notifier.outbox import absorb, delivery_id, with_events
from notifier.pace import Pace
from notifier.pipeline import Pipeline
from notifier.retry import RetryPolicy
from notifier.route import RouteSettings, route
from notifier.sending import Grouping, Receipt, SendError, Shipment
from notifier.settings import Settings
from notifier.settlement import Settlement
from notifier.source import AlliumSource
from notifier.state import State
from notifier.storage import StoreError
from notifier.store.sqlite import SqliteStore
from notifier.watcher import Watcher
from tests.servers import ScriptedServer, job
from tests.targets import FakeTarget

NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TARGETS = ("ops", "data", "team")
POLICY = RetryPolicy(
    first_retry=timedelta(milliseconds=1),
    max_retry=timedelta(milliseconds=4),
    give_up_after=timedelta(days=3),
)


class Clock:
    """Stands still until told otherwise."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now: datetime | None = now
        """None for the real time."""

    def __call__(self) -> datetime:
        return self.now or utc_now()

    def move(self, by: timedelta) -> None:
        self.now = self() + by


class Told:
    """Notices over a state, and what they passed on."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        routes: Sequence[RouteSettings] = (),
        sources: Sequence[str] = ("a", "b"),
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = state
        self.then = then
        self.clock = clock
        self.passed: list[tuple[RecordKey, Event, Sequence[str]]] = []
        self.changed = asyncio.Event()
        self.notices = Notices(
            state=state,
            sources=sources,
            route=partial(route, routes=routes, targets=TARGETS),
            passed_on=self._passed_on,
            now=clock,
        )

    def _passed_on(self, key: RecordKey, event: Event, targets: Sequence[str]) -> None:
        stored = self.record(str(key[0])).deliveries
        assert [d.target for d in stored if d.event_id == event.id] == list(targets), "committed before"
        self.passed.append((key, event, targets))
        self.changed.set()
        self.then()

    async def tell_due(self) -> timedelta | None:
        return await self.notices.tell_due()

    def told(self) -> list[str]:
        """Return the summaries of what was passed on since the last look."""
        summaries = [event.summary for _, event, _ in self.passed]
        self.passed.clear()
        return summaries

    def record(self, source: str = "a") -> SourceRecord:
        record = self.state.records.source(source)
        assert record is not None
        return record

    async def died(
        self, name: str, *, source: str = "a", target: str = "ops", type_: str = "backfill.failed"
    ) -> None:
        """Have a delivery given up, as a dispatcher does that gets no further than its commit."""
        await died(self.state, name, source=source, target=target, type_=type_, now=self.clock())


async def died(state: State, name: str, *, source: str, target: str, type_: str, now: datetime) -> None:
    event = an_event(name, type_, now)
    key: RecordKey = (source, name if type_.startswith("backfill.") else None)
    targets = {event.id: (target,)}
    if key[1] is None:
        await state.commit(
            sources={source: lambda record: with_events(present(record), events=[event], targets=targets)}
        )
    else:
        await state.commit(
            jobs={(source, name): partial(with_event, event=event, targets=targets)},
        )
    dead = Delivery(
        id=delivery_id(event.id, target),
        event_id=event.id,
        target=target,
        state="dead",
        created_at=now,
        ended_at=now,
        last_error="answered 400: no",
    )
    settlement = Settlement(deliveries=((key, event, dead),))
    await state.commit(jobs=settlement.job_updates(), sources=settlement.source_updates())


def an_event(name: str, type_: str, now: datetime) -> Event:
    return Event(
        id=f"evt_{name}",
        seq=1,
        type=type_,
        status="failed",
        previous_status=None,
        observed_at=now,
        summary=f"{name} failed",
        payload=msgspec.Raw(b"{}"),
    )


def with_event(old: JobRecord | None, *, event: Event, targets: Mapping[str, Sequence[str]]) -> JobRecord:
    snapshot = Snapshot(
        status=event.status,
        first_seen=event.observed_at,
        status_since=event.observed_at,
        element=msgspec.Raw(b"{}"),
    )
    return absorb(old, snapshot=snapshot, seq=event.seq, events=[event], targets=targets)


def present(record: SourceRecord | None) -> SourceRecord:
    assert record is not None
    return record


@asynccontextmanager
async def opened(path: Path, open_store: type[SqliteStore] = SqliteStore) -> AsyncIterator[State]:
    """Yield the state, in which the sources a and b were polled before."""
    async with State(partial(open_store, path)) as state:
        for name in ("a", "b"):
            if state.records.source(name) is None:
                record = SourceRecord(id=name * 32, baseline_at=NOW)
                await state.commit(sources={name: partial(lambda _, record: record, record=record)})
        yield state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def one(name: str) -> str:
    return f"a delivery to ops was given up: answered 400: no ({name} failed)"


def several(count: int, name: str) -> str:
    return f"{count} deliveries to ops were given up; the last one: answered 400: no ({name} failed)"


# ------------------------------------------------------------------------------------ what is told


async def test_others_are_told_at_once_and_the_event_is_stored_with_its_deliveries(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        assert await told.tell_due() is None
        await told.died("j")
        assert await told.tell_due() is None, "nothing is left to tell"
        [(key, event, targets)] = told.passed
        assert (key, targets) == (("a", None), ("data", "team"))
        assert (event.type, event.summary) == ("delivery.dead", one("j"))
    async with opened(path) as state:
        record = present(state.records.source("a"))
        assert record.events == (event,)
        assert [(d.id, d.event_id, d.target, d.state) for d in record.deliveries] == [
            (delivery_id(event.id, target), event.id, target, "pending") for target in ("data", "team")
        ]
        assert record.seq == 1


async def test_what_receivers_get_is_what_the_contract_says(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("j")
        await told.tell_due()
        [(_, event, _)] = told.passed
        assert not isinstance(event.payload, msgspec.UnsetType)
        assert json.loads(bytes(event.payload)) == {
            "type": "delivery.dead",
            "timestamp": "2026-01-31T10:30:00.000Z",
            "data": {
                "event_id": event.id,
                "source": "a",
                "job_id": None,
                "status": None,
                "previous_status": None,
                "summary": one("j"),
                "progress": None,
                "job": None,
                "target": "ops",
                "delivery_id": delivery_id("evt_j", "ops"),
                "reason": "answered 400: no",
                "test": False,
            },
        }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("routed", [False, True])
async def test_it_is_never_told_to_the_target_itself(path: Path, target: str, *, routed: bool) -> None:
    routes = [RouteSettings(events=["delivery.*"], to=list(TARGETS))] if routed else []
    async with opened(path) as state:
        told = Told(state, Clock(), routes)
        await told.died("j", target=target)
        await told.tell_due()
        [(_, _, targets)] = told.passed
        assert targets == tuple(each for each in TARGETS if each != target)


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param([RouteSettings(events=["backfill.*"], to=["data"])], id="no route for it"),
        pytest.param([RouteSettings(events=["delivery.dead"], to=["ops"])], id="to the target itself alone"),
        pytest.param([RouteSettings(tables=["*"], to=["data"])], id="routes of jobs"),
        pytest.param([RouteSettings(sources=["b"], to=["data"])], id="of another source"),
    ],
)
async def test_an_event_that_goes_to_nobody_is_stored(path: Path, routes: list[RouteSettings]) -> None:
    async with opened(path) as state:
        told = Told(state, Clock(), routes)
        await told.died("j")
        await told.tell_due()
        assert [targets for _, _, targets in told.passed] == [()]
    async with opened(path) as state:
        record = present(state.records.source("a"))
        assert [(event.type, event.summary) for event in record.events] == [("delivery.dead", one("j"))]
        assert record.deliveries == ()
        assert record.deaths["ops"].count == 0


@pytest.mark.parametrize("type_", ["delivery.dead", "target.down", "target.up"])
async def test_a_dead_letter_about_a_dead_letter_or_a_target_is_told_to_nobody(
    path: Path, type_: str
) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("x", type_=type_)
        assert await told.tell_due() is None
        assert told.told() == []
        [delivery] = told.record().deliveries
        assert delivery.state == "dead"


async def test_a_dead_letter_of_an_event_about_the_source_is_told(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("x", type_="source.down")
        await told.tell_due()
        assert told.told() == [one("x")]


async def test_what_is_logged_names_the_event(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("j")
        await told.tell_due()
        [(_, event, _)] = told.passed
        assert f"a: delivery.dead: {one('j')} ({event.id})" in caplog.messages


# -------------------------------------------------------------------------------- once a minute


async def test_the_later_ones_of_a_minute_are_counted_into_the_next(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("j1")
        await told.tell_due()
        assert told.told() == [one("j1")]
        for second in range(1, 4):
            clock.now = NOW + second * SECOND
            await told.died(f"j{second + 1}")
            assert await told.tell_due() == TELL_EVERY - second * SECOND
            assert told.told() == []
        clock.now = NOW + TELL_EVERY - timedelta(milliseconds=1)
        assert await told.tell_due() == timedelta(milliseconds=1)
        clock.now = NOW + TELL_EVERY
        assert await told.tell_due() is None
        assert told.told() == [several(3, "j4")]
        clock.now = NOW + 10 * TELL_EVERY
        assert await told.tell_due() is None, "each is counted once"
        assert told.told() == []


async def test_each_target_has_a_minute_of_its_own(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("j1")
        await told.tell_due()
        clock.move(20 * SECOND)
        await told.died("j2", target="data")
        await told.died("j3")
        assert await told.tell_due() == 40 * SECOND
        assert [(event.summary, targets) for _, event, targets in told.passed][1:] == [
            (one("j2").replace("ops", "data"), ("ops", "team"))
        ]


async def test_two_sources_share_the_minute_of_a_target(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("j1", source="a")
        await told.died("j2", source="b")
        assert await told.tell_due() == TELL_EVERY
        assert [(key, event.summary) for key, event, _ in told.passed] == [(("a", None), one("j1"))]
        clock.move(TELL_EVERY - SECOND)
        assert await told.tell_due() == SECOND
        clock.move(SECOND)
        assert await told.tell_due() is None
        assert [(key, event.summary) for key, event, _ in told.passed][1:] == [(("b", None), one("j2"))]


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
async def test_what_dies_of_another_source_within_the_minute_waits_for_its_end(
    path: Path, first: str, second: str
) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("j1", source=first)
        await told.tell_due()
        clock.move(10 * SECOND)
        await told.died("j2", source=second)
        assert await told.tell_due() == 50 * SECOND
        clock.move(50 * SECOND)
        await told.tell_due()
        assert [key for key, _, _ in told.passed] == [(first, None), (second, None)]


async def test_no_source_has_to_wait_for_ever_because_of_another_one(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("quiet", source="b")
        for minute in range(4):
            await told.died(f"j{minute}", source="a")
            await told.tell_due()
            clock.move(TELL_EVERY)
        assert any("quiet" in event.summary for _, event, _ in told.passed)
        assert len(told.passed) == 4, "one a minute"


@pytest.mark.parametrize("seconds", [0, 30, 59.999])
async def test_the_minute_outlasts_a_restart(path: Path, seconds: float) -> None:
    clock = Clock()
    async with opened(path) as state:
        told = Told(state, clock)
        await told.died("j1")
        await told.tell_due()
    clock.move(timedelta(seconds=seconds))
    async with opened(path) as state:
        told = Told(state, clock)
        await told.died("j2", source="b")
        assert await told.tell_due() == TELL_EVERY - timedelta(seconds=seconds)
        assert told.told() == []
    clock.now = NOW + TELL_EVERY
    async with opened(path) as state:
        told = Told(state, clock)
        await told.tell_due()
        assert told.told() == [one("j2")]


async def test_a_crash_before_others_were_told_is_made_up_for_after_the_next_start(path: Path) -> None:
    async with opened(path) as state:
        await Told(state, Clock()).died("j")  # and nothing further: the process is gone
    async with opened(path) as state:
        told = Told(state, Clock(NOW + timedelta(days=1)))
        await told.tell_due()
        assert told.told() == [one("j")]


async def test_a_crash_after_others_were_told_repeats_nothing(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("j")
        await told.tell_due()
    async with opened(path) as state:
        told = Told(state, Clock(NOW + timedelta(days=1)))
        assert await told.tell_due() is None
        assert told.told() == []
        assert len(told.record().events) == 1


@pytest.mark.parametrize("back", [SECOND, timedelta(hours=1), timedelta(days=4000)])
async def test_a_clock_that_was_set_back_silences_nothing_and_the_minute_begins_anew(
    path: Path, back: timedelta
) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("j1")
        await told.tell_due()
        clock.move(-back)
        await told.died("j2")
        await told.tell_due()
        assert told.told() == [one("j1"), one("j2")]
        clock.move(SECOND / 2)
        await told.died("j3")
        assert await told.tell_due() == TELL_EVERY - SECOND / 2
        assert told.told() == []


async def test_after_a_clock_was_set_back_two_sources_make_no_more_noise_than_one(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock()
        told = Told(state, clock)
        await told.died("j1", source="b")
        await told.tell_due()
        clock.move(-timedelta(hours=1))
        for number in range(10):
            await told.died(f"later-{number}", source="a")
            await told.tell_due()
            clock.move(SECOND)
        assert told.told() == [one("j1"), one("later-0")]
        clock.move(TELL_EVERY)
        await told.tell_due()
        assert told.told() == [several(9, "later-9")]


async def test_a_source_that_is_no_longer_configured_is_left_alone(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock(), sources=["a"])
        await told.died("j", source="b")
        assert await told.tell_due() is None
        assert told.told() == []
        assert told.record("b").deaths["ops"].count == 1


# ------------------------------------------------------------------------------------ by itself


@asynccontextmanager
async def running(told: Told) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(told.notices.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def passed_on(told: Told, count: int) -> None:
    async with asyncio.timeout(10):
        while len(told.passed) < count:
            told.changed.clear()
            await told.changed.wait()


async def test_it_tells_by_itself_what_it_finds_at_its_start_and_whenever_it_is_to_look(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("before")
        async with running(told):
            await passed_on(told, 1)
            await told.died("j", target="data")
            told.notices.look()
            await passed_on(told, 2)
        assert [targets for _, _, targets in told.passed] == [("data", "team"), ("ops", "team")]


async def test_it_tells_by_itself_what_was_counted_once_the_minute_is_over(path: Path) -> None:
    async with opened(path) as state:
        clock = Clock(utc_now() - TELL_EVERY + timedelta(milliseconds=300))
        told = Told(state, clock)
        await told.died("j1")
        await told.tell_due()
        clock.now = None
        await told.died("j2")
        async with running(told):
            await passed_on(told, 2)
        [first, second] = [event.observed_at for _, event, _ in told.passed]
        assert TELL_EVERY <= second - first < TELL_EVERY + 10 * SECOND


async def test_what_comes_while_it_tells_is_not_overlooked(path: Path) -> None:
    deaths: list[asyncio.Task[None]] = []

    async def one_more() -> None:
        await told.died("j2", target="team")
        told.notices.look()

    def then() -> None:
        if len(told.passed) == 1:  # it does not wait yet
            deaths.append(asyncio.create_task(one_more()))

    async with opened(path) as state:
        told = Told(state, Clock(), then=then)
        await told.died("j1")
        async with running(told):
            await passed_on(told, 2)
        await asyncio.gather(*deaths)
        assert told.passed[1][2] == ("ops", "data")


async def test_a_state_that_fails_ends_it_with_an_error(path: Path) -> None:
    async with opened(path) as state:
        told = Told(state, Clock())
        await told.died("j")
        await state._in_thread(lambda: state._store._ask("PRAGMA query_only=ON"))  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="readonly"):
            await told.notices.run()
        assert told.passed == []


# ---------------------------------------------------------------------------- with the other parts


class Refusing(FakeTarget):
    """A target that refuses everything for good."""

    concurrency = 3
    longest = timedelta(seconds=30)
    grouping: Grouping | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.types: list[str] = []

    async def send(self, shipment: Shipment) -> Receipt:
        self.types.extend(event.type for event in shipment.events)
        raise SendError("answered 400: no", refused="message", status=400)


async def test_targets_that_all_refuse_everything_make_no_loop(path: Path) -> None:
    async with opened(path) as state:
        clock, dispatchers = Clock(), dict[str, Dispatcher]()
        pipeline = Pipeline(state, dispatchers)
        notices = Notices(
            state=state,
            sources=["a"],
            route=partial(route, routes=(), targets=TARGETS),
            passed_on=pipeline.pass_on,
            now=clock,
        )
        targets = [Refusing(name) for name in TARGETS]
        looks: list[None] = []
        for target in targets:
            dispatchers[target.name] = Dispatcher(
                target, state=state, retry=POLICY, once=True, died=lambda: looks.append(None), now=clock
            )
        event = an_event("j", "backfill.failed", NOW)
        await state.commit(
            jobs={("a", "j"): partial(with_event, event=event, targets={event.id: TARGETS})},
        )
        pipeline.pass_on(("a", "j"), event, TARGETS)
        for _ in range(5):
            async with asyncio.timeout(10):
                await asyncio.gather(*(dispatcher.run() for dispatcher in dispatchers.values()))
                await notices.tell_due()
            clock.move(2 * TELL_EVERY)
        for target in targets:
            assert target.types == ["backfill.failed", "delivery.dead", "delivery.dead"]
        record = present(state.records.source("a"))
        assert len(record.events) == 3
        assert {delivery.state for delivery in record.deliveries} == {"dead"}
        assert len(looks) == 9


class Gated(SqliteStore):
    """A store whose commits wait while its gate is closed."""

    def __init__(self, path: Path) -> None:
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        super().__init__(path)

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        self.waiting.set()
        assert self.open.wait(20)
        super().commit(documents)


async def test_a_poll_that_learns_the_organisation_meanwhile_forgets_no_dead_letter(
    path: Path, api: ScriptedServer
) -> None:
    """The commit of a poll must not put back what it read of the source's record before."""
    settings = Settings.model_validate({"sources": [{"name": "a", "api_key": "k", "base_url": api.url}]})
    async with opened(path, Gated) as state, aiohttp.ClientSession() as session:
        store: Any = state._store
        told = Told(state, Clock())
        watcher = Watcher(
            AlliumSource(settings.sources[0], session=session, tls=True),
            state=state,
            pace=Pace(poll_every=SECOND, poll_idle_every=SECOND),
            announce_first=False,
            route=lambda _: (),
            passed_on=lambda *_: None,
            now=told.clock,
        )
        await watcher.observe()
        event = an_event("j", "backfill.failed", NOW)
        await state.commit(jobs={("a", "j"): partial(with_event, event=event, targets={event.id: ("ops",)})})
        dead = Delivery(
            id=delivery_id(event.id, "ops"), event_id=event.id, target="ops", state="dead", created_at=NOW
        )
        settlement = Settlement(deliveries=((("a", "j"), event, dead),))
        store.waiting.clear()
        store.open.clear()
        settling = asyncio.create_task(
            state.commit(jobs=settlement.job_updates(), sources=settlement.source_updates())
        )
        await asyncio.to_thread(store.waiting.wait, 20)
        api.answer = [job("k", "staging")]
        polling = asyncio.create_task(watcher.observe())
        async with asyncio.timeout(10):
            while not state._requests:  # noqa: ASYNC110 - until the poll has asked for its commit
                await asyncio.sleep(0.001)
        store.open.set()
        await settling
        await polling
        assert told.record().organization_id == "org123"
        await told.tell_due()
        assert len(told.passed) == 1
