"""Months in seconds: a real source, state, lanes and upkeep, by a clock that the test moves.

The file and the memory must come to a plateau, and at the end it must still announce what it should.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier.dispatcher import Dispatcher
from notifier.model import STATUS_TYPES
from notifier.notices import Notices
from notifier.pace import Pace
from notifier.payload import read_payload
from notifier.pipeline import Pipeline
from notifier.retry import RetryPolicy
from notifier.route import RouteSettings, route
from notifier.sending import Receipt, SendError, Shipment
from notifier.settings import Settings
from notifier.source import AlliumSource
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.upkeep import Upkeep
from notifier.watcher import Watcher
from tests.records import NOW
from tests.servers import ScriptedServer, job
from tests.targets import FakeTarget

KEEP = timedelta(days=7)
TOLD = RouteSettings(events=[*STATUS_TYPES, "delivery.dead"], to=["ops", "team"])
"""Polls are too far apart to say which jobs stand still or vanish."""
POLLS_A_DAY = 4
RESTART_AFTER_DAYS = 10
STARTED_EACH_POLL = 2
LIFE = ["staging"] * 2 + ["transporting"] * 4 + ["…"] * 8
"""The status of each job at one poll after another, before it is listed no more; … is how it ended."""
AWAY = range(9, 12)
"""When some are not listed for a while, and come back as they were."""


class World:
    """Backfills that start, end and drop out of the listing; it keeps what it served."""

    def __init__(self) -> None:
        self._lots = random.Random(365)
        self._polls = 0
        self._ages: dict[str, int] = {}
        self.extra: dict[str, str] = {"ended-for-ever": "completed", "active-for-ever": "transporting"}
        self.served: dict[str, list[str | None]] = {}
        """Of each job its statuses, without repetitions; None before one that was not in the baseline."""

    def passes(self) -> None:
        """Have the time between two polls pass."""
        self._polls += 1
        self._ages = {job_id: age + 1 for job_id, age in self._ages.items() if age + 1 < len(LIFE)}
        for number in range(STARTED_EACH_POLL):
            self._ages[f"job-{self._polls}-{number}"] = 0
        self.extra["restless"] = ("failed", "staging")[self._polls % 2]
        if self._polls % (4 * POLLS_A_DAY) == 0:  # four days away, four days there
            self.extra.pop("now-and-then", None) or self.extra.update({"now-and-then": "completed"})

    def answer(self, _: web.Request) -> Any:
        if self._polls % 13 == 5:
            return web.Response(status=503)
        if self._polls % 19 == 5:
            return b'[{"job_id": "cut of'
        statuses = dict(self._statuses())
        first = not self.served
        for job_id, status in statuses.items():
            history = self.served.setdefault(job_id, [] if first else [None])
            if not history or history[-1] != status:
                history.append(status)
        elements: list[Any] = [
            job(job_id, status, chunks_left=1000 - self._polls % 1000) for job_id, status in statuses.items()
        ]
        return elements + ([{"job_id": None}] if self._polls % 17 == 5 else [])

    def _statuses(self) -> Iterator[tuple[str, str]]:
        for job_id, age in self._ages.items():
            fate = random.Random(job_id)
            end = fate.choice(["completed", "completed", "failed", "cancelled"])
            if fate.random() > 0.2 or age not in AWAY:
                yield job_id, LIFE[age] if LIFE[age] != "…" else end
        yield from self.extra.items()

    @property
    def expected(self) -> dict[str, list[tuple[str | None, str]]]:
        """What must have been announced of each job, as (previous status, status)."""
        found = {}
        for job_id, history in self.served.items():
            if len(history) > 1:
                found[job_id] = [(old, new) for old, new in pairwise(history) if new is not None]
        return found


class Receiver(FakeTarget):
    """A target that fails now and then, and refuses some messages for good; it keeps what it was told."""

    concurrency = 16
    longest = timedelta(seconds=60)
    grouping = None

    def __init__(self, name: str, *, refuses: float) -> None:
        self.name = name
        self._refuses = refuses
        self._lots = random.Random(name)
        self.told: defaultdict[str | None, list[tuple[str | None, str]]] = defaultdict(list)
        """What it took or refused about each job; about none: what became a dead letter."""
        self.ids: set[str] = set()

    async def send(self, shipment: Shipment) -> Receipt:
        (event,) = shipment.events
        assert isinstance(event.payload, msgspec.Raw)
        if self._lots.random() < 0.05:
            raise SendError("answered 500")
        assert event.id not in self.ids, "told twice"
        self.ids.add(event.id)
        self.told[read_payload(event.payload).data.job_id].append((event.previous_status, event.status))
        if self._lots.random() < self._refuses:
            raise SendError("answered 400", refused="message")
        return Receipt()


class Measure(NamedTuple):
    """What must not grow."""

    file: int
    file_and_log: int
    jobs: int
    events: int
    deliveries: int
    bytes_in_memory: int
    remembered_by_watcher: int


class Process:
    """The parts of a daemon, run by the test's clock."""

    def __init__(self, path: Path, state: State, watcher: Watcher, lanes: list[Dispatcher]) -> None:
        self._path = path
        self._state = state
        self._lanes = lanes
        self.watcher = watcher

    async def drained(self) -> None:
        """Wait until all that is pending has been sent."""
        async with asyncio.timeout(60):
            while any(map(len, self._lanes)):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)

    def measure(self, now: datetime) -> Measure:
        records = [record for _, record in self._state.records.outboxes()]
        assert all(event.observed_at > now - KEEP for record in records for event in record.events)
        file, log = (
            path.stat().st_size for path in (self._path, self._path.with_name(f"{self._path.name}-wal"))
        )
        return Measure(
            file=file,
            file_and_log=file + log,
            jobs=len(self._state.records.job_ids("allium")),
            events=sum(len(record.events) for record in records),
            deliveries=sum(len(record.deliveries) for record in records),
            bytes_in_memory=sum(len(msgspec.json.encode(record)) for record in records),
            remembered_by_watcher=len(self.watcher._comparison._digests)
            + len(self.watcher._comparison._missing),
        )


class Soak:
    """All of it."""

    def __init__(self, api: ScriptedServer, path: Path) -> None:
        self._api = api
        self._path = path
        self._now = NOW
        self.world = World()
        api.answer = self.world.answer
        self.ops = Receiver("ops", refuses=0.1)
        self.team = Receiver("team", refuses=0.0)

    async def passes(self, days: int) -> list[Measure]:
        """Have so many days pass; return what was measured at the end of each."""
        measured: list[Measure] = []
        while len(measured) < days:
            async with self.process() as (process, poll, prune):
                for _ in range(min(RESTART_AFTER_DAYS, days - len(measured))):
                    for _ in range(POLLS_A_DAY):
                        await poll()
                        self.world.passes()
                        self._now += timedelta(days=1) / POLLS_A_DAY
                    await prune()
                    measured.append(process.measure(self._now))
        return measured

    @asynccontextmanager
    async def process(
        self,
    ) -> AsyncIterator[tuple[Process, Callable[[], Any], Callable[[], Any]]]:
        """Run a process; yield it, what polls and sends, and what prunes."""
        settings = Settings.model_validate({"sources": [{"api_key": "k", "base_url": self._api.url}]})
        now = self._clock
        routed = partial(route, routes=[TOLD], targets=("ops", "team"))
        policy = RetryPolicy(
            first_retry=timedelta(milliseconds=1),
            max_retry=timedelta(milliseconds=1),
            give_up_after=timedelta(days=3),
        )
        async with State(partial(SqliteStore, self._path)) as state, aiohttp.ClientSession() as session:
            lanes = {
                target.name: Dispatcher(target, state=state, retry=policy, now=now)
                for target in (self.ops, self.team)
            }
            pipeline = Pipeline(state, lanes, now=now)
            await pipeline.resume(["allium"])
            notices = Notices(
                state=state, sources=["allium"], route=routed, passed_on=pipeline.pass_on, now=now
            )
            watcher = Watcher(
                AlliumSource(settings.sources[0], session=session, tls=True, now=now),
                state=state,
                pace=Pace(poll_every=timedelta(seconds=15), poll_idle_every=timedelta(minutes=1)),
                announce_first=False,
                route=routed,
                passed_on=pipeline.pass_on,
                now=now,
            )
            upkeep = Upkeep(
                state=state,
                keep=KEEP,
                listing=lambda: ["allium"] if watcher.is_current else [],
                now=now,
            )
            process = Process(self._path, state, watcher, list(lanes.values()))

            async def poll() -> None:
                await watcher.observe()
                await process.drained()
                await notices.tell_due()
                await process.drained()

            running = [asyncio.create_task(lane.run()) for lane in lanes.values()]
            try:
                yield process, poll, upkeep.prune
            finally:
                for lane in lanes.values():
                    lane.stop()
                await asyncio.gather(*running)

    def _clock(self) -> datetime:
        return self._now


def _is_level(values: Sequence[int]) -> bool:
    third = len(values) // 3
    return max(values[2 * third :]) <= 1.2 * max(values[third : 2 * third])


@pytest.mark.parametrize(
    "days",
    [
        pytest.param(60, id="weeks"),
        pytest.param(2000, id="years", marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
async def test_file_and_memory_come_to_a_plateau_and_every_change_is_told_once(
    days: int, api: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    soak = Soak(api, tmp_path / "state.db")
    measured = await soak.passes(days)
    for name in Measure._fields:
        values = [getattr(each, name) for each in measured]
        assert _is_level(values), f"{name} grows: {values}"
    assert max(each.jobs for each in measured) < len(soak.world.served) / 2, "too few were forgotten"

    before = {job_id: len(told) for job_id, told in soak.team.told.items()}
    async with soak.process() as (process, poll, prune):
        soak.world.extra |= {"new": "staging", "ended-for-ever": "staging"}
        del soak.world.extra["active-for-ever"]
        while not process.watcher.is_current:
            await poll()
            soak.world.passes()
        for _ in range(2):
            await poll()
            await prune()
    news = {job_id: told[before.get(job_id, 0) :] for job_id, told in soak.team.told.items()}
    assert news["new"] == [(None, "staging")]
    assert news["ended-for-ever"] == [("completed", "staging")]
    assert "active-for-ever" not in news

    deaths = soak.team.told.pop(None)
    assert len(deaths) > days / 2, "too little went wrong"
    assert soak.team.told == soak.world.expected
    assert soak.ops.told == soak.world.expected
