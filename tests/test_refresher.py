"""Cards kept true: a real state, a channel in the test's hands, and a time that the test lets pass."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from notifier.fingerprint import snapshot_print
from notifier.model import Card, DeliveryState, JobRecord, Sample
from notifier.rate import is_outdated, outdated_at
from notifier.records import JobUpdate
from notifier.refresher import Refresher
from notifier.sending import CardLostError, SendError
from notifier.spacing import Allowance
from notifier.state import State
from notifier.storage import StoreError
from tests.records import NOW, delivery, record
from tests.simulated import at, now, simulated
from tests.test_watcher import Written

REFRESH = 30.0
FOR_THE_LANE = 5.0
LOST = CardLostError("message_not_found")
SILENT = SendError("no connection", outcome_unknown=True)
REFUSED = SendError("msg_too_long", refused="message")
RESTS = [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]

Edited = tuple[float, str, str]
"""When which job's card was edited, and what it shows."""


def clock() -> datetime:
    return NOW + timedelta(seconds=now())


def shown(record: JobRecord) -> str:
    """Return what a card shows: the job's status, the chunks that are left, whether there is a rate."""
    element = json.loads(bytes(record.snapshot.element))
    rate = "moving" if record.snapshot.samples and not is_outdated(record.snapshot.samples, clock()) else ""
    return " ".join(filter(None, (record.snapshot.status, str(element.get("chunks_left", "")), rate)))


class Channel:
    """Cards that are edited as a script says, one entry an edit; what it has none for succeeds."""

    def __init__(
        self, *, refresh: float = REFRESH, period: float = 0.001, burst: int = 1000, spare: int = 0
    ) -> None:
        self.refresh = timedelta(seconds=refresh)
        self.allowance = Allowance(per_minute=60.0 / period, burst=burst)
        self.spare = spare
        self.script: list[Exception | None] = []
        self.takes = 0.0
        """How long an edit takes."""
        self.looked: list[tuple[float, str]] = []
        self.tried: list[float] = []
        self.edited: list[Edited] = []

    async def edit(self, card: Card, record: JobRecord, *, source: str, job_id: str) -> Card:
        assert source == "s"
        self.looked.append((now(), job_id))
        what = shown(record)
        if what != card.shown:
            self.tried.append(now())
            self.allowance.take(now())
            error = self.script.pop(0) if self.script else None
            await asyncio.sleep(self.takes)
            if isinstance(error, SendError) and error.retry_after is not None:
                self.allowance.hold(now() + error.retry_after.total_seconds())
            if error is not None:
                raise error
            self.edited.append((now(), job_id, what))
        elif card.seq == record.seq:
            return card
        job = snapshot_print(record.snapshot)
        return msgspec.structs.replace(card, shown=what, job=job, seq=record.seq, edited_at=clock())


class Job(NamedTuple):
    """A job as a test begins with it."""

    status: str = "transporting"
    left: int = 100
    seq: int = 1
    card: Mapping[str, Any] | None = {}
    """What the card has that is not as it should be; None when there is no card."""
    samples: tuple[Sample, ...] = ()
    state: DeliveryState = "delivered"
    """Of the delivery of its only event."""

    def record(self) -> JobRecord:
        made = _with(
            record(delivery("1", state=self.state, target="ops")),
            status=self.status,
            left=self.left,
            samples=self.samples,
        )
        made = msgspec.structs.replace(made, seq=self.seq)
        return made if self.card is None else with_card(made, **self.card)


ONE = {"j": Job()}
TWO = {"j": Job(), "k": Job()}


def with_card(record: JobRecord, *, target: str = "ops", ago: float = 0.0, **changes: Any) -> JobRecord:
    """Return a record with a card that shows the job as it is and was edited so many seconds ago."""
    card = Card(
        configured="#data",
        channel="C1",
        ts="1.0",
        event_id="evt_1",
        seq=record.seq,
        shown=shown(record),
        job=snapshot_print(record.snapshot),
        edited_at=clock() - timedelta(seconds=ago),
    )
    card = msgspec.structs.replace(card, **changes)
    return msgspec.structs.replace(record, cards=record.cards | {target: card})


def _with(
    old: JobRecord | None,
    *,
    status: str | None = None,
    left: int | None = None,
    samples: tuple[Sample, ...] | None = None,
    event: str | None = None,
) -> JobRecord:
    """Return a record with a change; `event` is the state of the delivery of the event that it makes."""
    assert old is not None
    listed = json.loads(bytes(old.snapshot.element))
    if left is not None:
        listed["chunks_left"] = left
    snapshot = msgspec.structs.replace(
        old.snapshot,
        status=status or old.snapshot.status,
        element=msgspec.Raw(json.dumps(listed).encode()),
        samples=old.snapshot.samples if samples is None else samples,
    )
    changed = msgspec.structs.replace(old, snapshot=snapshot)
    if event is None:
        return changed
    seq = old.seq + 1
    made = () if event == "unrouted" else (delivery(str(seq), state=event, target="ops"),)  # type: ignore[arg-type]
    return msgspec.structs.replace(changed, seq=seq, deliveries=(*old.deliveries, *made))


class Bench:
    """A refresher over a state, and jobs that change."""

    def __init__(self, state: State, channel: Channel, commits: list[set[str]]) -> None:
        self.state = state
        self.channel = channel
        self.commits = commits
        self.heard: list[tuple[float, str, str, str | None]] = []
        """When it was told of an edit, of which source and target, and why it failed, if it did."""
        self.refresher = Refresher("ops", channel, state=state, heard=self._heard, now=clock)

    def _heard(self, source: str, target: str, error: SendError | None) -> None:
        self.heard.append((now(), source, target, None if error is None else error.reason))

    async def commit(self, job_id: str, update: JobUpdate) -> None:
        await self.state.commit(jobs={("s", job_id): update})

    async def change(self, job_id: str = "j", **change: Any) -> None:
        """Have a job change as a poll would find it."""
        await self.commit(job_id, partial(_with, **change))
        self.refresher.look([("s", job_id)])

    async def delivered(self, job_id: str = "j", *, card: bool = True) -> None:
        """Have the lane deliver what waits of a job; with the card, which it brings up to date, or without."""

        def update(old: JobRecord | None) -> JobRecord:
            assert old is not None
            done = tuple(msgspec.structs.replace(each, state="delivered") for each in old.deliveries)
            new = msgspec.structs.replace(old, deliveries=done)
            return with_card(new) if card else new

        await self.commit(job_id, update)
        self.refresher.sent([("s", job_id)])

    def record(self, job_id: str = "j") -> JobRecord:
        record = self.state.records.job(("s", job_id))
        assert record is not None
        return record

    def card(self, job_id: str = "j") -> Card | None:
        return self.record(job_id).cards.get("ops")

    @property
    def edited(self) -> list[Edited]:
        return self.channel.edited


@asynccontextmanager
async def bench(
    tmp_path: Path, jobs: Mapping[str, Job] = ONE, channel: Channel | None = None
) -> AsyncIterator[Bench]:
    """Begin with jobs whose cards the refresher has not looked at."""
    commits: list[set[str]] = []
    async with State(partial(Written, tmp_path / "state.db", commits)) as state:
        given = {("s", job_id): job.record() for job_id, job in jobs.items()}
        await state.commit(jobs={key: partial(_put, record=each) for key, each in given.items()})
        commits.clear()
        yield Bench(state, channel or Channel(), commits)


def _put(_: JobRecord | None, *, record: JobRecord) -> JobRecord:
    return record


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[asyncio.Task[None]]:
    """Have all stored cards looked at, and what is to be edited edited."""
    await bench.refresher.resume(["s"])
    task = asyncio.create_task(bench.refresher.run())
    try:
        yield task
    finally:
        task.cancel()
        [error] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(error, asyncio.CancelledError)


# ------------------------------------------------------------------------------- what is looked at


@pytest.mark.parametrize(
    ("job", "is_looked_at"),
    [
        (Job("staging"), True),
        (Job("transporting"), True),
        (Job("paused"), True),
        (Job("completed"), False),
        (Job("failed"), False),
        (Job("cancelled"), False),
        (Job("completed", seq=2, card={"seq": 1}), True),
        (Job("completed", seq=2, card={"seq": 0, "shown": ""}), True),
        (Job("completed", card={"job": ""}), True),
        (Job("transporting", card=None), False),
        (Job("completed", card=None), False),
    ],
)
@simulated
async def test_after_a_start_cards_are_looked_at_that_may_not_be_true(
    tmp_path: Path, job: Job, is_looked_at: bool
) -> None:
    async with bench(tmp_path, {"j": job}) as b, running(b):
        await at(10 * REFRESH)
        assert bool(b.channel.looked) == is_looked_at
        assert len(b.channel.looked) <= 1, "what is true is looked at once"


@simulated
async def test_a_card_that_is_true_is_neither_edited_nor_stored_again(tmp_path: Path) -> None:
    async with bench(tmp_path, {"j": Job(card={"ago": 100})}) as b, running(b):
        before = b.record()
        for _ in range(3):
            b.refresher.look([("s", "j")])
            b.refresher.sent([("s", "j")])
            await at(now() + 2 * REFRESH)
        assert len(b.channel.looked) >= 3
        assert (b.edited, b.commits) == ([], [])
        assert b.record() == before


@simulated
async def test_an_event_that_changes_nothing_one_could_see_is_stored_as_shown_without_an_edit(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, {"j": Job("completed", seq=2, card={"seq": 1})}) as b, running(b):
        await at(1)
        card = b.card()
        assert card is not None
        assert (card.seq, b.edited, b.commits) == (2, [], [{"job/s/j"}])
        await b.refresher.resume(["s"])
        await at(2 * REFRESH)
        assert len(b.channel.looked) == 1


@simulated
async def test_what_changed_while_nothing_ran_is_edited_at_the_start(tmp_path: Path) -> None:
    jobs = {
        "event": Job("completed", seq=2, card={"seq": 1, "shown": "transporting 100"}),
        "progress": Job(left=40, card={"shown": "transporting 100", "ago": 100}),
        "recent": Job(left=40, card={"shown": "transporting 100", "ago": 10}),
    }
    async with bench(tmp_path, jobs) as b, running(b):
        await at(REFRESH)
        assert b.edited == [
            (0.0, "event", "completed 100"),
            (0.0, "progress", "transporting 40"),
            (REFRESH - 10, "recent", "transporting 40"),
        ]


@simulated
async def test_what_an_ended_job_is_listed_with_since_is_shown_after_a_start(tmp_path: Path) -> None:
    """Its error may be listed late, and makes no event."""
    async with bench(tmp_path, {"j": Job("failed", card={"ago": 100})}) as b:
        await b.commit("j", partial(_with, left=50))
        async with running(b):
            await at(1)
            assert b.edited == [(0.0, "j", "failed 50")]
        again = Bench(b.state, Channel(), b.commits)
        async with running(again):
            await at(10 * REFRESH)
            assert again.channel.looked == [], "shown by now"


@simulated
async def test_jobs_without_a_card_and_sources_are_not_looked_at(tmp_path: Path) -> None:
    jobs = {"none": Job(card=None), "other": Job(card={"target": "audit", "shown": ""})}
    async with bench(tmp_path, jobs) as b, running(b):
        for job_id in (*jobs, "unknown"):
            b.refresher.look([("s", job_id), ("s", None)])
            b.refresher.sent([("s", job_id), ("s", None)])
        await b.change("none", status="failed", event="unrouted")
        await at(10 * REFRESH)
        assert (b.channel.looked, len(b.commits)) == ([], 1)


@simulated
async def test_a_card_that_was_just_posted_is_kept_true_from_then_on(tmp_path: Path) -> None:
    async with bench(tmp_path, {"j": Job(card=None, state="pending")}) as b, running(b):
        await b.change(left=99)
        await at(10)
        assert b.channel.looked == []
        await b.delivered()
        await b.change(left=50)
        await at(100)
        assert b.edited == [(10 + REFRESH, "j", "transporting 50")]


@pytest.mark.parametrize("seq", [0, 1])
@simulated
async def test_a_card_whose_content_nobody_knows_is_edited_at_once(tmp_path: Path, seq: int) -> None:
    """It was found in the channel: an attempt had arrived that nobody knew of."""
    async with bench(tmp_path, {"j": Job(card=None, state="pending")}) as b, running(b):
        await b.commit("j", lambda old: with_card(_delivered(old), seq=seq, shown=""))
        b.refresher.sent([("s", "j")])
        await at(1)
        assert b.edited == [(0.0, "j", "transporting 100")]


def _delivered(old: JobRecord | None) -> JobRecord:
    assert old is not None
    done = tuple(msgspec.structs.replace(each, state="delivered") for each in old.deliveries)
    return msgspec.structs.replace(old, deliveries=done)


@simulated
async def test_a_job_that_is_forgotten_is_none_any_more(tmp_path: Path) -> None:
    async with bench(tmp_path, {"j": Job(left=40, card={"shown": "transporting 100"})}) as b, running(b):
        await at(1)
        await b.commit("j", lambda _: None)
        b.refresher.look([("s", "j")])
        await at(10 * REFRESH)
        assert b.channel.looked == []


# ------------------------------------------------------------------------------- the newest state


@simulated
async def test_only_the_newest_state_is_ever_shown(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        for left in range(99, 49, -1):
            await b.change(left=left)
            await at(now() + 0.1)
        await at(2 * REFRESH)
        assert b.edited == [(REFRESH, "j", "transporting 50")]


@simulated
async def test_however_often_a_job_changes_while_its_card_is_edited_that_is_one_further_edit(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.takes = 2.0
        await b.change(status="failed", event="unrouted")
        await at(1)
        for left in range(10):
            await b.change(status="staging", left=left, event="unrouted")
        await at(100)
        assert b.edited == [(2.0, "j", "failed 100"), (4.0, "j", "staging 9")]
        assert len(b.channel.looked) == 2
        card = b.card()
        assert card is not None
        assert (card.seq, card.shown) == (12, "staging 9")


@simulated
async def test_what_a_job_became_while_its_card_was_edited_is_kept(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.takes = 2.0
        await b.change(status="failed", event="unrouted")
        await at(1)
        await b.commit("j", partial(_with, left=7, event="pending"))
        await at(3)
        assert (b.record().seq, shown(b.record())) == (3, "failed 7")
        assert [each.state for each in b.record().deliveries] == ["delivered", "pending"]
        card = b.card()
        assert card is not None
        assert (card.seq, card.shown, card.edited_at) == (2, "failed 100", NOW + timedelta(seconds=2))


@simulated
async def test_a_job_that_changes_back_before_its_card_is_edited_costs_no_edit(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.change(left=50)
        await b.change(left=100)
        await at(2 * REFRESH)
        assert (b.edited, b.commits) == ([], [{"job/s/j"}, {"job/s/j"}])


@simulated
async def test_cards_of_other_targets_are_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.commit("j", lambda old: old and with_card(old, target="audit", ts="7.0", shown="?"))
        other = b.record().cards["audit"]
        await b.change(status="failed", event="unrouted")
        await at(1)
        assert b.edited == [(0.0, "j", "failed 100")]
        b.channel.script = [LOST]
        await b.change(status="staging", event="unrouted")
        await at(2)
        assert b.record().cards == {"audit": other}


# ---------------------------------------------------------------------------------------- when


@pytest.mark.parametrize(("ago", "edited_at"), [(0, REFRESH), (10, REFRESH - 10), (REFRESH, 0), (1e6, 0)])
@simulated
async def test_progress_is_shown_when_the_last_edit_is_long_enough_ago(
    tmp_path: Path, ago: float, edited_at: float
) -> None:
    async with bench(tmp_path, {"j": Job("completed", card={"ago": ago})}) as b, running(b):
        await b.change(left=50)
        await at(10 * REFRESH)
        assert b.edited == [(edited_at, "j", "completed 50")]


@simulated
async def test_a_card_is_edited_once_in_each_interval_while_its_job_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        for left in range(99, 4, -1):
            await at(now() + 0.75)
            await b.change(left=left)
            await at(now() + 0.75)
        assert [when for when, _, _ in b.edited] == [REFRESH, 2 * REFRESH, 3 * REFRESH, 4 * REFRESH]


@simulated
async def test_a_clock_that_was_set_back_delays_no_refresh_for_longer_than_the_interval(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, {"j": Job("completed", card={"ago": -1e6})}) as b, running(b):
        await b.change(left=50)
        await at(10 * REFRESH)
        [(when, _, what)] = b.edited
        assert (when <= REFRESH, what) == (True, "completed 50")


@pytest.mark.parametrize("event", ["unrouted", "delivered", "dead"])
@simulated
async def test_an_event_that_nobody_is_about_to_send_is_shown_at_once(tmp_path: Path, event: str) -> None:
    async with bench(tmp_path) as b, running(b):
        await at(1.5)
        await b.change(status="failed", event=event)
        await at(2)
        assert b.edited == [(1.5, "j", "failed 100")]


@simulated
async def test_an_event_brings_forward_what_was_to_be_refreshed_later(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.change(left=50)
        await at(1.5)
        await b.change(status="failed", event="unrouted")
        await at(10 * REFRESH)
        assert b.edited == [(1.5, "j", "failed 50")]


@simulated
async def test_an_event_that_is_about_to_be_sent_waits_for_the_lane(tmp_path: Path) -> None:
    """It brings the card up to date itself: two edits would be one too many."""
    async with bench(tmp_path) as b, running(b):
        await b.change(status="failed", event="pending")
        await at(FOR_THE_LANE - 1)
        await b.delivered()
        await at(10 * REFRESH)
        assert b.edited == []


@simulated
async def test_an_event_that_the_lane_cannot_send_is_shown_all_the_same(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.change(status="failed", event="pending")
        await at(10 * REFRESH)
        assert b.edited == [(FOR_THE_LANE, "j", "failed 100")]


@simulated
async def test_looking_again_while_the_lane_is_waited_for_waits_no_longer(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.change(status="failed", event="pending")
        for _ in range(9):
            await at(now() + 1)
            b.refresher.look([("s", "j")])
        assert b.edited == [(FOR_THE_LANE, "j", "failed 100")]


@simulated
async def test_an_event_that_was_sent_without_its_card_is_shown_at_once(tmp_path: Path) -> None:
    """The lane edits nothing when the allowance has nothing left."""
    async with bench(tmp_path) as b, running(b):
        await b.change(status="failed", event="pending")
        await at(2)
        await b.delivered(card=False)
        await at(3)
        assert b.edited == [(2.0, "j", "failed 100")]


@simulated
async def test_a_delivery_for_another_target_is_not_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.commit("j", lambda old: old and _for_another(old))
        await b.change(status="failed", event="unrouted")
        await at(1)
        assert b.edited == [(0.0, "j", "failed 100")]


def _for_another(old: JobRecord) -> JobRecord:
    other = delivery("other", state="pending", target="audit")
    return msgspec.structs.replace(old, deliveries=(*old.deliveries, other))


_DOUBLE = "what was asked for by the edit before the last is done though the last one was just made"


@simulated
async def test_progress_that_is_seen_while_a_card_is_refreshed_waits_for_the_next_refresh(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.takes = 2.0
        await b.change(left=50)
        await at(REFRESH + 1)
        await b.change(left=40)
        await at(10 * REFRESH)
        assert b.edited == [
            (REFRESH + 2, "j", "transporting 50"),
            (2 * REFRESH + 4, "j", "transporting 40"),
        ]


@simulated
async def test_what_is_edited_for_an_event_is_refreshed_an_interval_later(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.change(left=90)
        await at(REFRESH - 2)
        await b.change(left=80, event="pending")
        await b.delivered()
        await b.change(left=70)
        await at(10 * REFRESH)
        assert b.edited == [(2 * REFRESH - 2, "j", "transporting 70")]


# --------------------------------------------------------------------------------------- how many


@simulated
async def test_all_edits_keep_to_the_allowance_those_of_events_first(tmp_path: Path) -> None:
    channel = Channel(period=2.0, burst=3, spare=1)
    jobs = {name: Job(card={"ago": 100}) for name in ("p1", "p2", "p3", "p4", "e1", "e2")}
    async with bench(tmp_path, jobs, channel) as b, running(b):
        await at(0.5)
        for job_id in jobs:
            change = {"left": 50} if job_id[0] == "p" else {"status": "failed", "event": "unrouted"}
            await b.commit(job_id, partial(_with, **change))
        b.refresher.look([("s", job_id) for job_id in jobs])
        await at(100)
        assert [(when, job_id) for when, job_id, _ in b.edited] == [
            (0.5, "e1"),
            (0.5, "e2"),
            (2.5, "p1"),
            (4.5, "p2"),
            (6.5, "p3"),
            (8.5, "p4"),
        ]


@simulated
async def test_two_targets_of_one_token_share_what_they_may_edit(tmp_path: Path) -> None:
    channel = Channel(period=2.0, burst=1)
    async with bench(tmp_path, TWO, channel) as b, running(b):
        other = Channel(period=2.0, burst=1)
        other.allowance = channel.allowance
        second = Bench(b.state, other, b.commits)
        async with running(second):
            await b.commit("j", partial(_with, status="failed", event="unrouted"))
            await b.commit("k", partial(_with, status="failed", event="unrouted"))
            b.refresher.look([("s", "j")])
            second.refresher.look([("s", "k")])
            await at(10)
    assert sorted(when for when, _, _ in (*b.edited, *second.edited)) == [0.0, 2.0]


@simulated
async def test_one_that_works_off_edits_what_may_be_edited_now_and_no_more(tmp_path: Path) -> None:
    channel = Channel(period=60.0, burst=2)
    jobs = {
        "a": Job("failed", seq=2, card={"seq": 1, "shown": "staging"}),
        "b": Job(left=40, card={"shown": "transporting 100", "ago": 100}),
        "c": Job(left=40, card={"shown": "transporting 100", "ago": 100}),
        "d": Job(left=40, card={"shown": "transporting 100"}),
    }
    async with bench(tmp_path, jobs, channel) as b:
        await b.refresher.resume(["s"])
        await b.refresher.work_off()
        assert (now(), [job_id for _, job_id, _ in b.edited]) == (0.0, ["a", "b"])


# ------------------------------------------------------------------------------- cards that are gone


@simulated
async def test_a_card_that_is_lost_is_forgotten_and_nothing_is_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier.refresher")
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [LOST]
        await b.change(status="failed", event="unrouted")
        await at(1)
        assert b.record().cards == {}
        assert (b.record().seq, shown(b.record())) == (2, "failed 100")
        await b.change(status="staging", event="unrouted")
        await b.refresher.resume(["s"])
        await at(10 * REFRESH)
        assert len(b.channel.tried) == 1
    what = "the card of job j can no longer be edited: message_not_found; its next event makes a new one"
    assert f"ops: {what}" in caplog.text


@simulated
async def test_the_next_card_of_a_job_whose_card_was_lost_is_kept_true(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [LOST]
        await b.change(status="failed", event="unrouted")
        await at(1)
        await b.change(status="staging", event="pending")
        await b.delivered()
        await b.change(left=50)
        await at(10 * REFRESH)
        assert b.edited == [(1 + REFRESH, "j", "staging 50")]


@pytest.mark.parametrize("error", [None, LOST])
@pytest.mark.parametrize("new", [{"ts": "2.0"}, {"channel": "C2"}])
@simulated
async def test_a_card_that_was_replaced_while_the_old_one_was_edited_is_left_alone(
    tmp_path: Path, new: Mapping[str, Any], error: Exception | None
) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [error]
        b.channel.takes = 2.0
        await b.change(status="failed", event="unrouted")
        await at(1)
        await b.commit("j", lambda old: old and with_card(old, **new))
        replaced = b.card()
        await at(3)
        assert b.card() == replaced


@pytest.mark.parametrize("error", [None, LOST])
@simulated
async def test_a_card_that_is_forgotten_while_it_is_edited_stays_forgotten(
    tmp_path: Path, error: Exception | None
) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [error, error]
        b.channel.takes = 2.0
        await b.change("j", status="failed", event="unrouted")
        await b.change("k", status="failed", event="unrouted")
        await at(1)
        await b.commit("j", lambda old: old and msgspec.structs.replace(old, cards={}))
        await at(3)
        await b.commit("k", lambda _: None)
        await at(5)
        assert b.record().cards == {}
        assert b.state.records.job(("s", "k")) is None


# --------------------------------------------------------------------------------- edits that fail


@simulated
async def test_edits_that_fail_are_tried_again_at_distances_that_double_to_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier.refresher")
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [SILENT] * len(RESTS)
        await b.change(status="failed", event="unrouted")
        await at(sum(RESTS) - 1)
        await b.change("k", status="failed", event="unrouted")
        await at(sum(RESTS) + 1)
        waits = [after - before for before, after in zip(b.channel.tried, b.channel.tried[1:], strict=False)]
        assert waits[: len(RESTS)] == RESTS
        assert sorted(b.edited) == [(sum(RESTS), "j", "failed 100"), (sum(RESTS), "k", "failed 100")]
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "ops: cards cannot be edited: no connection; tried again"),
        ("INFO", "ops: cards are edited again"),
    ]


@simulated
async def test_while_edits_fail_no_card_is_edited(tmp_path: Path) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [SILENT]
        await b.change(status="failed", event="unrouted")
        await at(1)
        await b.change("k", status="failed", event="unrouted")
        await at(10)
        assert sorted(b.edited) == [(5.0, "j", "failed 100"), (5.0, "k", "failed 100")]


@simulated
async def test_a_success_begins_with_the_shortest_rest_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT, SILENT, None, SILENT]
        await b.change(status="failed", event="unrouted")
        await at(20)
        await b.change(status="staging", event="unrouted")
        await at(100)
        assert b.channel.tried == [0.0, 5.0, 15.0, 20.0, 25.0]
    assert caplog.text.count("cards cannot be edited: no connection; tried again") == 2


@simulated
async def test_when_the_target_takes_something_the_rest_is_over_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT] * 5
        await b.change(status="failed", event="unrouted")
        await at(40)
        b.refresher.works()
        await at(41)
        assert b.edited == []
        b.refresher.works()
        await at(100)
        assert b.channel.tried == [0.0, 5.0, 15.0, 35.0, 40.0, 41.0]
        assert b.edited == [(41.0, "j", "failed 100")]


@simulated
async def test_after_the_target_took_something_rests_begin_with_the_shortest_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT] * 6
        await b.change(status="failed", event="unrouted")
        await at(40)
        b.refresher.works()
        await at(100)
        assert b.channel.tried == [0.0, 5.0, 15.0, 35.0, 40.0, 45.0, 55.0]


@simulated
async def test_a_target_that_takes_something_has_no_card_edited_before_it_is_due(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        await b.change(left=50)
        await at(1)
        b.refresher.works()
        await at(10 * REFRESH)
        assert b.edited == [(REFRESH, "j", "transporting 50")]


@simulated
async def test_each_failed_edit_is_told_and_the_first_that_works_after_them(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [None, SILENT, SILENT]
        for status in ("failed", "staging", "transporting"):
            await b.change(status=status, event="unrouted")
            await at(now() + 100)
        assert [what for _, _, what in b.edited] == ["failed 100", "staging 100", "transporting 100"]
        assert b.heard == [
            (100.0, "s", "ops", "no connection"),
            (105.0, "s", "ops", "no connection"),
            (115.0, "s", "ops", None),
        ]


@simulated
async def test_when_the_target_has_taken_something_the_edit_follows_and_ends_the_failures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT]
        await b.change(status="failed", event="unrouted")
        await at(1)
        b.refresher.works()
        await at(2)
        assert b.edited == [(1.0, "j", "failed 100")]
        assert b.heard == [(0.0, "s", "ops", "no connection"), (1.0, "s", "ops", None)]
    assert "ops: cards are edited again" in caplog.text


@simulated
async def test_edits_that_fail_where_posts_work_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT] * 4
        await b.change(status="failed", event="unrouted")
        for second in (1, 2, 3):
            await at(second)
            b.refresher.works()
        await at(10)
    assert caplog.text.count("cards cannot be edited") == 1


@simulated
async def test_a_card_that_was_true_already_ends_no_failures(tmp_path: Path) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [SILENT, SILENT]
        await b.change("j", status="failed", event="unrouted")
        await at(1)
        b.refresher.look([("s", "k")])
        await at(10)
        assert b.channel.tried == [0.0, 5.0]
        await at(100)
        assert b.channel.tried == [0.0, 5.0, 15.0]
        assert [error for *_, error in b.heard] == ["no connection", "no connection", None]


@simulated
async def test_all_edits_that_failed_are_counted(tmp_path: Path) -> None:
    pause = SendError("answered 429", retry_after=timedelta(seconds=1), status=429)
    async with bench(tmp_path, TWO) as b, running(b):
        assert b.refresher.failures == 0
        b.channel.script = [SILENT, None, pause, None, REFUSED]
        for status in ("failed", "staging", "transporting"):
            await b.change(status=status, event="unrouted")
            await at(now() + 100)
        assert b.refresher.failures == 3
        await b.change("k", status="failed", event="unrouted")
        await at(now() + 100)
        assert (b.edited[-1][1:], b.refresher.failures) == (("k", "failed 100"), 3)


@simulated
async def test_an_edit_that_ends_never_is_told_as_one_that_failed(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.takes = 10_000.0
        await b.change(status="failed", event="unrouted")
        await at(400)
        assert b.heard == [(300.0, "s", "ops", "no answer in time")]
        assert b.refresher.failures == 1


@simulated
async def test_what_failed_is_shown_as_the_job_is_by_then(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT]
        await b.change(status="failed", event="unrouted")
        await at(1)
        await b.change(status="staging", event="unrouted")
        await at(10 * REFRESH)
        assert b.edited == [(5.0, "j", "staging 100")]


@simulated
async def test_a_refresh_that_fails_is_tried_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SILENT]
        await b.change(left=50)
        await at(10 * REFRESH)
        assert b.edited == [(REFRESH + 5, "j", "transporting 50")]


@simulated
async def test_what_slack_asks_for_goes_by_the_allowance(tmp_path: Path) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [SendError("answered 429", retry_after=timedelta(seconds=90), status=429)]
        await b.change(status="failed", event="unrouted")
        await at(1)
        await b.change("k", status="failed", event="unrouted")
        await at(200)
        assert sorted(b.edited) == [(90.0, "j", "failed 100"), (90.0, "k", "failed 100")]


@simulated
async def test_after_a_short_pause_that_slack_asked_for_nothing_rests_longer(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, running(b):
        b.channel.script = [SendError("answered 429", retry_after=timedelta(seconds=1), status=429)]
        await b.change(status="failed", event="unrouted")
        await at(3)
        assert b.edited == [(1.0, "j", "failed 100")]


@simulated
async def test_a_failure_after_a_pause_is_told_and_rests_no_longer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path) as b, running(b):
        pause = SendError("answered 429", retry_after=timedelta(seconds=1), status=429)
        b.channel.script = [pause, pause, SILENT]
        await b.change(status="failed", event="unrouted")
        await at(100)
        assert b.channel.tried == [0.0, 1.0, 2.0, 7.0]
    assert caplog.text.count("cards cannot be edited: answered 429; tried again") == 1


INACTIVE = SendError("Slack refused it: is_inactive", code="is_inactive", status=200)


@pytest.mark.parametrize("refused", [REFUSED, SendError("no_permission", refused="endpoint"), INACTIVE])
@simulated
async def test_a_card_that_is_refused_is_tried_again_after_ten_minutes_and_then_an_hour_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, refused: SendError
) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [refused] * 5
        await b.change(status="failed", event="unrouted")
        await at(100_000)
        assert b.channel.tried == [0.0, 600.0, 1800.0, 4200.0, 7800.0, 11400.0]
        assert b.edited == [(11400.0, "j", "failed 100")]
        assert b.heard == [], "it says nothing of the target"
    assert caplog.text.count("the card of job j was not edited") == 1


@pytest.mark.parametrize("refused", [REFUSED, SendError("no_permission", refused="endpoint"), INACTIVE])
@simulated
async def test_a_card_that_is_refused_is_tried_again_with_the_job_s_next_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, refused: SendError
) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [refused]
        await b.change(status="failed", event="unrouted")
        await b.change("k", status="failed", event="unrouted")
        await at(10 * REFRESH)
        assert b.channel.tried == [0.0, 0.0], "no other card waits for it"
        assert b.edited == [(0.0, "k", "failed 100")]
        await b.change(status="staging", event="unrouted")
        await at(20 * REFRESH)
        assert b.edited[1:] == [(10 * REFRESH, "j", "staging 100")]
    assert f"ops: the card of job j was not edited: {refused.reason}" in caplog.text


@simulated
async def test_a_card_that_fails_unforeseen_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path, TWO) as b, running(b):
        b.channel.script = [ZeroDivisionError("https://slack.example.com/secret")]
        await b.change(status="failed", event="unrouted")
        await b.change("k", status="failed", event="unrouted")
        await at(100)
        assert (0.0, "k", "failed 100") in b.edited
    assert "ops: the card of job j was not edited: ZeroDivisionError in edit, line " in caplog.text
    assert "secret" not in caplog.text


@simulated
async def test_a_state_that_fails_ends_it_with_an_error(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.refresher.resume(["s"])
        task = asyncio.create_task(b.refresher.run())
        await b.change(status="failed", event="unrouted")
        await b.state._in_thread(lambda: b.state._store._ask("PRAGMA query_only=ON"))  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="readonly"):
            await task


# -------------------------------------------------------------------------- rates that become outdated


def moving(*minutes: float) -> tuple[Sample, ...]:
    """Return what was seen of a job that moved at these times."""
    return tuple(Sample(NOW + timedelta(minutes=each), 200 - 10 * n) for n, each in enumerate(minutes))


def seconds_until(samples: tuple[Sample, ...]) -> float:
    outdated = outdated_at(samples)
    assert outdated is not None
    return (outdated - NOW).total_seconds()


@simulated
async def test_a_rate_that_becomes_outdated_is_looked_at_once(tmp_path: Path) -> None:
    samples = moving(-2, -1, 0)
    async with bench(tmp_path, {"j": Job(samples=samples, card={"shown": "?", "ago": 100})}) as b, running(b):
        await at(86_400)
        assert b.edited == [
            (0.0, "j", "transporting 100 moving"),
            (seconds_until(samples), "j", "transporting 100"),
        ]
        assert len(b.channel.looked) == 2


@simulated
async def test_a_rate_is_looked_at_when_that_of_the_last_samples_becomes_outdated(tmp_path: Path) -> None:
    async with bench(tmp_path, {"j": Job(samples=moving(-1, 0), card={"ago": 100})}) as b, running(b):
        for minute in range(1, 5):
            await at(60 * minute)
            await b.change(left=100 - minute, samples=moving(*range(-1, minute + 1)))
        samples = moving(*range(-1, 5))
        await at(86_400)
        assert b.edited[-1] == (seconds_until(samples), "j", "transporting 96")
        assert [what for _, _, what in b.edited].count("transporting 96 moving") == 1


@simulated
async def test_a_rate_that_is_outdated_already_is_not_looked_at_again(tmp_path: Path) -> None:
    async with bench(tmp_path, {"j": Job(samples=moving(-60, -59), card={"ago": 100})}) as b, running(b):
        await at(86_400)
        assert len(b.channel.looked) == 1


@simulated
async def test_a_rate_that_becomes_outdated_just_after_an_edit_waits_for_the_next_refresh(
    tmp_path: Path,
) -> None:
    samples = moving(-11, -10 + 10 / 60)
    async with bench(tmp_path, {"j": Job(samples=samples, card={"shown": "?", "ago": 100})}) as b, running(b):
        await at(86_400)
        assert 0 < seconds_until(samples) < REFRESH
        assert [when for when, _, _ in b.edited] == [0.0, REFRESH]


# ------------------------------------------------------------------------------------------ others


@simulated
async def test_many_cards_that_are_true_keep_nobody_waiting(tmp_path: Path) -> None:
    jobs = {f"j{number}": Job(card={"ago": 100}) for number in range(2000)}
    async with bench(tmp_path, jobs) as b:
        await b.refresher.resume(["s"])
        turns = 0

        async def wait_for_a_turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        waiting = asyncio.create_task(wait_for_a_turn())
        await asyncio.sleep(0)
        before = turns
        await b.refresher.work_off()
        during = turns - before
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(b.channel.looked) == len(jobs)
        assert during > 0


@simulated
async def test_cancelled_in_the_middle_of_an_edit_it_ends_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        async with running(b):
            b.channel.takes = 100.0
            await b.change(status="failed", event="unrouted")
            await at(1)
            assert b.channel.tried == [0.0]
        assert (now(), b.edited) == (1.0, [])
        again = Bench(b.state, Channel(), b.commits)
        async with running(again):
            await at(2)
            assert again.edited == [(1.0, "j", "failed 100")], "the next start finds it"
