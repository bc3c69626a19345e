"""One source observed over real HTTP, with its state in a real file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier.model import Event, JobRecord, Mute, RecordKey, SourceRecord
from notifier.mute import without_mutes
from notifier.outbox import present
from notifier.pace import Pace
from notifier.route import Subject
from notifier.rules import RuleBook, Rules
from notifier.settings import Settings
from notifier.source import AlliumSource
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.watcher import Watcher
from tests.servers import ScriptedServer, job

NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
PACE = Pace(poll_every=timedelta(seconds=15), poll_idle_every=timedelta(minutes=1))
ACTIVE, IDLE = PACE.poll_every, PACE.poll_idle_every


class Written(SqliteStore):
    """A store that remembers which documents each of its commits wrote."""

    def __init__(self, path: Path, commits: list[set[str]]) -> None:
        self._commits = commits
        super().__init__(path)

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        super().commit(documents)
        self._commits.append(set(documents))


class Watched:
    """A watcher, what it passed on and what its state wrote."""

    def __init__(
        self, watcher: Watcher, state: State, *, passed: list[Event], commits: list[set[str]]
    ) -> None:
        self.observe = watcher.observe
        self.watcher = watcher
        self.state = state
        self._passed = passed
        self._commits = commits

    def record(self, job_id: str) -> JobRecord:
        record = self.state.records.job(("allium", job_id))
        assert record is not None
        return record

    async def put_mutes(self, *mutes: Mute) -> None:
        def put(record: SourceRecord | None) -> SourceRecord:
            return msgspec.structs.replace(present(record), mutes=mutes)

        await self.state.commit(sources={"allium": put})

    def suppressed(self) -> list[int]:
        """Return how many events each mute has kept."""
        return [mute.suppressed for mute in present(self.state.records.source("allium")).mutes]

    def missing_since(self, job_id: str) -> datetime | None:
        return self.record(job_id).snapshot.missing_since

    def written(self) -> list[set[str]]:
        """Return the keys of the documents of each commit since the last look."""
        commits = self._commits[:]
        self._commits.clear()
        return commits

    def types(self) -> list[str]:
        """Return the types of what was passed on since the last look."""
        types = [event.type for event in self._passed]
        self._passed.clear()
        return types

    def announced(self) -> list[tuple[str | None, str]]:
        """Return (previous status, status) of what was passed on since the last look."""
        transitions = [(event.previous_status, event.status) for event in self._passed]
        self._passed.clear()
        return transitions


@asynccontextmanager
async def watching(
    api: ScriptedServer,
    path: Path,
    *,
    announce_first: bool = False,
    now: Callable[[], datetime] = lambda: NOW,
    uptime: Callable[[], float] | None = None,
    route: Callable[[Subject], Sequence[str]] = lambda _: ("ops",),
    rules: RuleBook | None = None,
) -> AsyncIterator[Watched]:
    settings = Settings.model_validate({"sources": [{"api_key": "k", "base_url": api.url}]})
    passed: list[Event] = []
    commits: list[set[str]] = []

    def pass_on(_key: RecordKey, event: Event, targets: Sequence[str]) -> None:
        assert tuple(targets) == (() if event.mute is not None or event.again else ("ops",))
        passed.append(event)

    def passed_seconds() -> float:
        return (now() - NOW).total_seconds()

    async with State(partial(Written, path, commits)) as state, aiohttp.ClientSession() as session:
        watcher = Watcher(
            AlliumSource(settings.sources[0], session=session, tls=True),
            state=state,
            pace=PACE,
            announce_first=announce_first,
            route=route,
            passed_on=pass_on,
            rules=rules,
            now=now,
            uptime=uptime or passed_seconds,
            chance=lambda: 0.5,
        )
        commits.clear()
        yield Watched(watcher, state, passed=passed, commits=commits)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_the_first_poll_is_a_baseline_and_its_active_jobs_are_followed(
    api: ScriptedServer, path: Path
) -> None:
    async with watching(api, path) as watched:
        api.answer = [job("done", "completed"), job("active", "staging")]
        assert await watched.observe() == ACTIVE
        assert watched.announced() == []
        api.answer = [job("done", "completed"), job("active", "completed")]
        assert await watched.observe() == IDLE
        assert watched.announced() == [("staging", "completed")]


async def test_it_knows_how_many_jobs_were_listed_last_and_how_many_of_them_are_active(
    api: ScriptedServer, path: Path
) -> None:
    api.script = [
        web.Response(status=503),
        [job("a", "completed"), job("b", "staging"), job("c", "transporting")],
        [job("a", "completed"), job("b", "staging"), job("c", "transporting")],
        web.Response(status=503),
        [job("c", "failed")],
    ]
    async with watching(api, path) as watched:
        seen = []
        for _ in range(5):
            await watched.observe()
            seen.append(watched.watcher.listed)
    assert seen == [None, (3, 2), (3, 2), (3, 2), (1, 0)]


async def test_an_empty_baseline_is_one_too(api: ScriptedServer, path: Path) -> None:
    async with watching(api, path) as watched:
        await watched.observe()
    async with watching(api, path) as watched:
        api.answer = [job("first", "staging")]
        await watched.observe()
        assert watched.announced() == [(None, "staging")]


async def test_a_first_poll_can_be_announced(api: ScriptedServer, path: Path) -> None:
    api.answer = [job("a", "completed"), job("b", "staging")]
    async with watching(api, path, announce_first=True) as watched:
        await watched.observe()
        assert watched.announced() == [(None, "completed"), (None, "staging")]


async def test_a_daemon_that_was_off_announces_what_changed_meanwhile(
    api: ScriptedServer, path: Path
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
    api.answer = [job("j", "completed"), job("new", "failed")]
    async with watching(api, path) as watched:
        await watched.observe()
        assert watched.announced() == [("staging", "completed"), (None, "failed")]


async def test_events_are_durable_before_they_are_passed_on(api: ScriptedServer, path: Path) -> None:
    async with watching(api, path) as watched:
        await watched.observe()
        api.answer = [job("j", "staging")]
        await watched.observe()
        record = watched.state.records.job(("allium", "j"))
        assert record is not None
        [delivery] = record.deliveries
        [event] = record.events
        assert (delivery.target, delivery.state, delivery.event_id) == ("ops", "pending", event.id)
        assert event.payload is not msgspec.UNSET
        payload = msgspec.json.decode(event.payload)
        assert payload["timestamp"] == "2026-01-31T10:30:00.000Z"
        assert payload["data"]["job"] == job("j", "staging")


@pytest.mark.parametrize("etag", [None, '"v1"'])
async def test_an_unchanged_reply_is_a_good_poll(api: ScriptedServer, path: Path, etag: str | None) -> None:
    headers = {} if etag is None else {"ETag": etag}

    def answer(request: web.Request) -> web.Response:
        if etag is not None and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.json_response([job("j", "staging")], headers=headers)

    api.answer = answer
    async with watching(api, path) as watched:
        for _ in range(3):
            assert await watched.observe() == ACTIVE
        assert watched.announced() == []
        assert watched.watcher.report.failures == 0


BAD: list[tuple[str, Any]] = [
    ("half an array", b'[{"job_id": "j", "status": "fai'),
    ("HTML", b"<html>maintenance</html>"),
    ("an object", {"backfills": []}),
    ("nothing", b""),
    ("an error", web.Response(status=500)),
    ("a redirect", web.Response(status=302, headers={"Location": "/"})),
    ("no content", web.Response(status=204)),
    ("a refusal", web.Response(status=401)),
]


@pytest.mark.parametrize("bad", [bad for _, bad in BAD], ids=[name for name, _ in BAD])
async def test_a_poll_that_is_no_observation_changes_nothing(
    api: ScriptedServer, path: Path, bad: Any
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        api.answer = bad
        for failures in (1, 2, 3):
            await watched.observe()
            assert watched.watcher.report.failures == failures
        assert watched.announced() == []
        api.answer = [job("j", "failed")]
        await watched.observe()
        assert watched.announced() == [("staging", "failed")]
        assert watched.watcher.report.failures == 0


async def test_a_failed_first_poll_is_no_baseline(api: ScriptedServer, path: Path) -> None:
    api.answer = web.Response(status=503)
    async with watching(api, path) as watched:
        await watched.observe()
        assert watched.state.records.source("allium") is None
        api.answer = [job("j", "completed")]
        await watched.observe()
        assert watched.announced() == []


async def test_a_refused_key_is_polled_slowly_and_said_plainly(
    api: ScriptedServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.answer = web.Response(status=403)
    async with watching(api, path) as watched:
        for _ in range(9):
            assert await watched.observe() == IDLE
    assert "the API key of source allium was refused (403)" in caplog.text


async def test_a_throttled_source_waits_as_long_as_told(api: ScriptedServer, path: Path) -> None:
    api.answer = web.Response(status=429, headers={"Retry-After": "1234"})
    async with watching(api, path) as watched:
        assert timedelta(seconds=1234) <= await watched.observe() <= timedelta(seconds=1236)


async def test_an_odd_element_hides_no_other(
    api: ScriptedServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(api, path) as watched:
        await watched.observe()
        api.answer = [{"job_id": 7, "status": "failed"}, "text", job("j", "failed"), {"job_id": "k"}]
        await watched.observe()
        assert watched.announced() == [(None, "failed")]
    assert "skipped 3 without a usable job_id or status" in caplog.text


async def test_a_report_says_how_long_the_poll_took_what_it_skipped_and_how_it_failed(
    api: ScriptedServer, path: Path
) -> None:
    async with watching(api, path) as watched:
        for answer, fault in (
            ([job("j"), {"job_id": 7}], None),
            ([job("j"), {"job_id": 7}], None),  # an unchanged reply skips as much
            (web.Response(status=503), "failed"),
            (web.Response(status=401), "refused"),
            (web.Response(status=429), "throttled"),
        ):
            api.answer = answer
            await watched.observe()
            report = watched.watcher.report
            assert (report.fault, report.rejected) == (fault, 1)
            assert report.took_seconds is not None
            assert 0 < report.took_seconds < 20
        api.answer = [job("j")]
        await watched.observe()
        assert watched.watcher.report.rejected == 0
        watched.watcher.give_up()
        assert watched.watcher.report.took_seconds is None


async def test_of_a_job_that_is_listed_twice_the_last_element_counts(api: ScriptedServer, path: Path) -> None:
    async with watching(api, path) as watched:
        await watched.observe()
        api.answer = [job("j", "staging"), job("j", "failed")]
        await watched.observe()
        await watched.observe()
        assert watched.announced() == [(None, "failed")]


async def test_a_job_that_leaves_the_listing_and_comes_back_is_compared_with_what_was_seen(
    api: ScriptedServer, path: Path
) -> None:
    async with watching(api, path) as watched:
        for listing, announced in (
            ([job("j", "staging")], []),
            ([], []),
            ([job("j", "staging")], []),
            ([], []),
            ([job("j", "completed")], [("staging", "completed")]),
            ([job("j", "staging")], [("completed", "staging")]),
        ):
            api.answer = listing
            await watched.observe()
            assert watched.announced() == announced


async def test_progress_is_stored_and_announced_when_it_passes_a_milestone(
    api: ScriptedServer, path: Path
) -> None:
    async with watching(api, path) as watched:
        for left, types in ((900, []), (800, []), (500, ["backfill.progress"]), (300, []), (300, [])):
            api.answer = [job("j", "transporting", chunks_left=left)]
            await watched.observe()
            assert msgspec.json.decode(watched.record("j").snapshot.element)["chunks_left"] == left
            assert watched.types() == types


async def test_the_key_of_another_organisation_touches_nothing(
    api: ScriptedServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        api.answer = [job("x", "failed", organization_id="other")]
        assert await watched.observe() == IDLE
        assert watched.announced() == []
        assert watched.state.records.job(("allium", "x")) is None
        api.answer = [job("j", "completed")]
        await watched.observe()
        assert watched.announced() == [("staging", "completed")]
    assert "the API key is for another organisation" in caplog.text


async def test_credentials_of_destinations_are_not_stored(api: ScriptedServer, path: Path) -> None:
    async with watching(api, path) as watched:
        await watched.observe()
        destination = {"type": "webhook", "url": "https://user:hunter2@lake.example.com/in?token=hunter3"}
        for _ in range(2):
            api.answer = [job("j", "staging", destinations=[destination])]
            await watched.observe()
        assert watched.announced() == [(None, "staging")]
    stored = b"".join(file.read_bytes() for file in path.parent.glob("state.db*"))
    assert b"lake.example.com" in stored
    assert b"hunter" not in stored


# ------------------------------------------------------------------- jobs that are listed no more


class Time:
    """A clock in the test's hands."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def passes(self, minutes: float = 1) -> datetime:
        self.now += timedelta(minutes=minutes)
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


UNREADABLE = {"job_id": 7, "status": "staging"}


async def test_a_job_that_leaves_the_listing_is_noted_in_one_commit_with_the_time(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    api.answer = [job("a", "staging"), job("b", "staging"), job("c", "completed")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        api.answer = [job("a", "staging")]
        watched.written()
        left = time.passes()
        await watched.observe()
        assert watched.written() == [{"job/allium/b", "job/allium/c"}]
        for chunks_left in (9, 8, 8, 7):
            time.passes()
            api.answer = [job("a", "staging", chunks_left=chunks_left)]
            await watched.observe()
        counted = {"job/allium/a", "job/allium/b"}
        assert watched.written() == [counted, counted, {"job/allium/a"}]
        assert [watched.missing_since(job_id) for job_id in "abc"] == [None, left, left]
        assert watched.types() == ["backfill.removed"]


@pytest.mark.parametrize(("status", "polls"), [("staging", 1), ("failed", 0)])
async def test_what_is_noted_of_a_missing_job_leaves_the_rest_of_its_record_alone(
    api: ScriptedServer, path: Path, time: Time, status: str, polls: int
) -> None:
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        api.answer = [job("j", status)]
        await watched.observe()
        before = watched.record("j")
        assert (before.seq, len(before.events), len(before.deliveries)) == (1, 1, 1)
        api.answer = []
        left = time.passes()
        await watched.observe()
        snapshot = msgspec.structs.replace(before.snapshot, missing_since=left, missing_polls=polls)
        assert watched.record("j") == msgspec.structs.replace(before, snapshot=snapshot)
        api.answer = [job("j", status)]
        time.passes()
        await watched.observe()
        assert watched.record("j") == before
        assert watched.announced() == [(None, status)]


async def test_after_a_restart_a_missing_job_that_has_ended_is_not_noted_again(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    api.answer = [job("j", "completed")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        api.answer = []
        left = time.passes()
        await watched.observe()
    time.passes()
    async with watching(api, path, now=time) as watched:
        for _ in range(2):
            await watched.observe()
        assert watched.written() == []
        assert watched.missing_since("j") == left


async def test_a_job_that_left_while_the_daemon_was_off_is_missing_since_the_first_poll(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
    api.answer = []
    seen = time.passes()
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        assert watched.missing_since("j") == seen


LISTINGS_BETWEEN: dict[str, list[list[Any]]] = {
    "nothing between": [],
    "other listings between": [[job("k", "staging")], [job("k", "transporting")]],
    "an unreadable element between": [[job("k", "staging"), UNREADABLE], [UNREADABLE]],
    "an empty listing between": [[]],
}
LISTED_BESIDE: dict[str, list[Any]] = {
    "beside another": [job("k", "paused")],
    "as another leaves": [],
    "beside an unreadable element": [job("k", "paused"), UNREADABLE],
}


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("beside", LISTED_BESIDE.values(), ids=LISTED_BESIDE)
@pytest.mark.parametrize("between", LISTINGS_BETWEEN.values(), ids=LISTINGS_BETWEEN)
async def test_a_job_that_is_listed_again_as_before_is_missing_no_more_and_can_leave_again(
    api: ScriptedServer,
    path: Path,
    time: Time,
    between: list[list[Any]],
    beside: list[Any],
    *,
    restarted: bool,
) -> None:
    async with watching(api, path, now=time) as watched:
        for listing in ([job("j", "staging"), job("k", "staging")], [job("k", "staging")], *between):
            api.answer = listing
            time.passes()
            await watched.observe()
        assert watched.missing_since("j") == NOW + timedelta(minutes=2)
        missed = 1 + sum(UNREADABLE not in listing for listing in between)
        told = ["backfill.removed", "backfill.staging"] if missed >= 3 else []
        if not restarted:
            await _leaves_again(api, watched, time, beside)
            assert [event.type for event in watched.record("j").events] == told
    if restarted:
        async with watching(api, path, now=time) as watched:
            await _leaves_again(api, watched, time, beside)
            assert [event.type for event in watched.record("j").events] == told


async def _leaves_again(api: ScriptedServer, watched: Watched, time: Time, beside: list[Any]) -> None:
    api.answer = [job("j", "staging"), *beside]
    time.passes()
    await watched.observe()
    assert watched.missing_since("j") is None
    watched.written()
    await watched.observe()
    assert "job/allium/j" not in set().union(*watched.written())
    others = [each for each in beside if each is not UNREADABLE]
    for _ in range(2):
        api.answer = others
        left = time.passes()
        await watched.observe()
        assert watched.missing_since("j") == left
        api.answer = [job("j", "staging"), *others]
        time.passes()
        await watched.observe()
        assert watched.missing_since("j") is None


@pytest.mark.parametrize("bad", [UNREADABLE, {"job_id": "j"}, "text"])
async def test_a_listing_with_an_element_that_cannot_be_used_proves_no_absence(
    api: ScriptedServer, path: Path, time: Time, bad: Any
) -> None:
    api.answer = [job("j", "staging"), job("k", "staging")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        api.answer = [job("k", "staging"), bad]
        time.passes()
        await watched.observe()
        assert watched.missing_since("j") is None
        api.answer = [job("k", "staging")]
        left = time.passes()
        await watched.observe()
        assert watched.missing_since("j") == left


@pytest.mark.parametrize("bad", [bad for _, bad in BAD], ids=[name for name, _ in BAD])
async def test_a_poll_that_is_no_observation_proves_no_absence(
    api: ScriptedServer, path: Path, bad: Any
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        watched.written()
        api.answer = bad
        await watched.observe()
        assert watched.missing_since("j") is None
        assert watched.written() == []


async def test_jobs_of_another_source_are_never_missing_from_this_one(
    api: ScriptedServer, path: Path
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        stranger = watched.record("j")
        await watched.state.commit(jobs={("other", "x"): lambda _: stranger})
        api.answer = []
        await watched.observe()
        assert watched.state.records.job(("other", "x")) == stranger


async def test_a_job_that_was_forgotten_meanwhile_is_not_stored_again_as_missing(
    api: ScriptedServer, path: Path
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        forgetting = asyncio.create_task(watched.state.commit(jobs={("allium", "j"): lambda _: None}))
        api.answer = []
        await asyncio.gather(watched.observe(), forgetting)
        assert watched.state.records.job(("allium", "j")) is None
        await watched.observe()
        assert watched.state.records.job(("allium", "j")) is None


async def test_what_is_listed_is_known_after_a_good_poll_of_a_whole_listing_only(
    api: ScriptedServer, path: Path
) -> None:
    async with watching(api, path) as watched:
        assert not watched.watcher.is_current
        for answer, is_known in (
            (web.Response(status=503), False),
            ([job("j", "staging")], True),
            ([job("j", "staging")], True),
            (web.Response(status=503), False),
            ([job("j", "staging")], True),
            ([job("j", "staging"), UNREADABLE], False),
            ([job("j", "staging"), UNREADABLE], False),
            (b"[", False),
            ([job("j", "staging"), UNREADABLE], False),
            ([job("j", "staging")], True),
            ([], True),
        ):
            api.answer = answer
            await watched.observe()
            assert watched.watcher.is_current == is_known


async def test_a_poll_is_under_way_until_it_has_ended_and_each_is_another_one(
    api: ScriptedServer, path: Path
) -> None:
    release = asyncio.Event()
    numbers: list[object] = []

    async def later(_: web.Request) -> web.Response:
        await release.wait()
        return web.json_response([job("a")])

    api.script = [later]

    def noted(_: web.Request) -> web.Response:
        numbers.extend(watched.watcher.under_way())
        return web.json_response([])

    async with watching(api, path) as watched:
        assert watched.watcher.under_way() == {}
        poll = asyncio.create_task(watched.watcher.observe())
        await api.arrived(1)
        [(first, (what, seconds))] = watched.watcher.under_way().items()
        assert (what, seconds) == ("a poll of allium", 630)
        release.set()
        await poll
        assert watched.watcher.under_way() == {}
        api.script = [noted]
        await watched.watcher.observe()
        assert first not in numbers
        assert len(numbers) == 1
        api.answer = web.Response(status=500)
        await watched.watcher.observe()
        assert watched.watcher.under_way() == {}


# --------------------------------------------------- time that passes, and what is not listed


def _once_more(listing: Any, etag: str | None) -> Callable[[web.Request], web.Response]:
    """Answer with a listing; one that has an ETag with 304 when it is known."""

    def answer(request: web.Request) -> web.Response:
        if etag is not None and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.json_response(listing, headers={} if etag is None else {"ETag": etag})

    return answer


_REPLIES = pytest.mark.parametrize("etag", [None, '"v1"'], ids=["identical", "304"])


@_REPLIES
async def test_an_unchanged_reply_finds_a_stall_once_its_time_has_come(
    api: ScriptedServer, path: Path, time: Time, etag: str | None
) -> None:
    api.answer = _once_more([job("j", "transporting"), job("k", "completed")], etag)
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        watched.written()
        for minutes, types in ((29, []), (1, ["backfill.stalled"]), (60, [])):
            time.passes(minutes)
            assert await watched.observe() == ACTIVE
            assert watched.types() == types
        assert watched.written() == [{"job/allium/j"}]
        assert [delivery.state for delivery in watched.record("j").deliveries] == ["pending"]
        api.answer = [job("j", "transporting", chunks_left=422)]
        await watched.observe()
        assert watched.types() == ["backfill.resumed"]


@_REPLIES
async def test_unchanged_replies_count_the_polls_without_a_job(
    api: ScriptedServer, path: Path, time: Time, etag: str | None
) -> None:
    api.answer = [job("j", "staging"), job("k", "staging")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        api.answer = _once_more([job("k", "staging")], etag)
        for types in ([], [], ["backfill.removed"], [], []):
            await watched.observe()
            assert watched.types() == types
        api.answer = [job("j", "staging"), job("k", "staging")]
        await watched.observe()
        assert watched.announced() == [("staging", "staging")]


async def test_unchanged_replies_with_an_unreadable_element_count_nothing(
    api: ScriptedServer, path: Path
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        api.answer = [job("k", "staging")]
        await watched.observe()
        watched.types()
        api.answer = [job("k", "staging"), UNREADABLE]
        for _ in range(4):
            await watched.observe()
        assert watched.types() == []
        assert watched.record("j").snapshot.missing_polls == 1


async def test_polls_that_are_no_observation_neither_count_nor_end_the_row(
    api: ScriptedServer, path: Path
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path) as watched:
        await watched.observe()
        for answer, types in (
            ([], []),
            (b"[", []),
            ([], []),
            (web.Response(status=503), []),
            (web.Response(status=503), []),
            ([], ["backfill.removed"]),
        ):
            api.answer = answer
            await watched.observe()
            assert watched.types() == types


@_REPLIES
@pytest.mark.parametrize("uptime_passes", [False, True], ids=["the clock was set", "an hour passed"])
async def test_an_hour_that_did_not_pass_makes_no_stall(
    api: ScriptedServer, path: Path, time: Time, *, uptime_passes: bool, etag: str | None
) -> None:
    up = 1000.0
    api.answer = _once_more([job("j", "transporting")], etag)
    async with watching(api, path, now=time, uptime=lambda: up) as watched:
        await watched.observe()
        time.passes(60)
        up += 3600 if uptime_passes else 15
        await watched.observe()
        assert watched.types() == (["backfill.stalled"] if uptime_passes else [])
        time.passes(30)
        up += 1800
        await watched.observe()
        assert watched.types() == ([] if uptime_passes else ["backfill.stalled"])


async def test_a_clock_that_was_set_back_puts_no_stall_off(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    up = 0.0
    api.answer = [job("j", "transporting")]
    async with watching(api, path, now=time, uptime=lambda: up) as watched:
        await watched.observe()
        time.passes(-600)
        await watched.observe()
        time.passes(30)
        up += 1800
        await watched.observe()
        assert watched.types() == ["backfill.stalled"]


# -------------------------------------------------------------------------------- mutes


def _mute(id_: str = "m", minutes: float = 60, **fields: Any) -> Mute:
    return Mute(id=id_, created_at=NOW, until=NOW + timedelta(minutes=minutes), **fields)


async def test_events_of_muted_jobs_make_no_delivery_and_are_counted(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    api.answer = [job("j", "staging"), job("k", "staging")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        await watched.put_mutes(_mute("a", job_id="j"), _mute("b", table="base.*", name="*of j"))
        api.answer = [job("j", "transporting"), job("k", "transporting")]
        await watched.observe()
        api.answer = [job("j", "failed"), job("k", "failed")]
        await watched.observe()
        assert watched.suppressed() == [2, 2]
        assert [event.mute for event in watched.record("j").events] == ["a", "a"]
        assert watched.record("j").deliveries == ()
        assert len(watched.record("k").deliveries) == 2
        watched.types()
        time.passes(60)
        await watched.observe()
        assert watched.announced() == [("staging", "failed")]
        assert [event.mute for event in watched.record("j").events] == ["a", "a", None]
        assert len(watched.record("j").deliveries) == 1


async def test_events_that_go_nowhere_are_not_counted_as_suppressed(api: ScriptedServer, path: Path) -> None:
    def route(subject: Subject) -> Sequence[str]:
        return ("ops",) if subject.type == "backfill.failed" else ()

    async with watching(api, path, route=route) as watched:
        await watched.observe()
        await watched.put_mutes(_mute())
        for status in ("staging", "transporting", "failed"):
            api.answer = [job("j", status)]
            await watched.observe()
        assert watched.suppressed() == [1]
        assert len(watched.record("j").events) == 3


async def test_what_an_ended_mute_kept_is_told_at_once_durably_and_once(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    api.answer = [job("j", "staging"), job("k", "staging")]
    async with watching(api, path, now=time) as watched:
        await watched.watcher.end_mutes()  # before the first poll
        await watched.observe()
        await watched.put_mutes(_mute(), _mute("n", job_id="k"))
        api.answer = [job("j", "completed"), job("k", "failed")]
        await watched.observe()
        await watched.watcher.end_mutes()
        watched.types()
        watched.written()
        await watched.state.commit(sources={"allium": lambda record: without_mutes(present(record), {"m"})})
        polls = len(api.requests)
        await watched.watcher.end_mutes()
        assert len(api.requests) == polls
        assert watched.announced() == [("staging", "completed")]
        assert watched.written() == [{"source/allium"}, {"job/allium/j"}]
        [delivery] = watched.record("j").deliveries
        assert delivery.event_id == watched.record("j").events[-1].id
        await watched.watcher.end_mutes()
        await watched.observe()
        assert watched.written() == []
        time.passes(60)
        await watched.watcher.end_mutes()
        assert watched.announced() == [("staging", "failed")]


async def test_what_a_mute_kept_is_told_after_a_restart_though_it_ended_before(
    api: ScriptedServer, path: Path, time: Time
) -> None:
    api.answer = [job("j", "staging")]
    async with watching(api, path, now=time) as watched:
        await watched.observe()
        await watched.put_mutes(_mute())
        api.answer = [job("j", "completed")]
        await watched.observe()
    time.passes(60)
    async with watching(api, path, now=time) as watched:
        await watched.watcher.end_mutes()
        assert watched.types() == []
        for announced in ([("staging", "completed")], []):
            await watched.observe()
            assert watched.announced() == announced


@pytest.mark.parametrize("bad", [web.Response(status=503), [job("j", organization_id="other")]])
async def test_a_clock_that_was_set_before_a_poll_that_is_no_observation_makes_no_stall(
    api: ScriptedServer, path: Path, time: Time, bad: Any
) -> None:
    api.answer = [job("j", "transporting")]
    async with watching(api, path, now=time, uptime=lambda: 0.0) as watched:
        await watched.observe()
        time.passes(60)
        api.answer = bad
        await watched.observe()
        api.answer = [job("j", "transporting")]
        await watched.observe()
        assert watched.types() == []


async def test_nobody_is_reminded_who_has_not_got_the_last_one_yet(api: ScriptedServer, path: Path) -> None:
    now = Time()
    rules = RuleBook(Rules(remind_every=timedelta(hours=1)))
    async with watching(api, path, now=now, rules=rules) as watched:
        api.answer = [job("j", "transporting")]
        await watched.observe()
        api.answer = [job("j", "failed")]
        await watched.observe()
        now.passes(61)
        await watched.observe()
        types = [(event.type, event.again) for event in watched.record("j").events]
        assert types == [("backfill.failed", False), ("backfill.failed", True)]
        assert len(watched.record("j").deliveries) == 1
