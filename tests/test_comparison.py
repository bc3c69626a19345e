"""What a sequence of polls tells: the rules of jobs, of absence and of mutes together."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.model import TERMINAL, Event
from notifier.rules import Rules
from tests.observed import UNREADABLE, Observed, moving, unusable
from tests.records import NOW, at


def _job(job_id: str = "j", status: str = "staging", **fields: Any) -> dict[str, Any]:
    return moving(None, job_id, status, **fields)


_RULES = Rules(remind_every=timedelta(hours=1))
_EITHER = pytest.mark.parametrize("forgetful", [False, True], ids=["one comparison", "one for each poll"])


# ---------------------------------------------------------------------------- stalls


@_EITHER
async def test_a_stall_is_told_once_and_that_it_is_over(*, forgetful: bool) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(moving(90), now=NOW)
    assert await observed.told(moving(90), now=at(29)) == []
    assert await observed.told(moving(90), now=at(30)) == ["stalled"]
    assert await observed.told(moving(90), now=at(600)) == []
    assert await observed.told(moving(90, job_name="another"), now=at(601)) == []
    assert await observed.told(moving(89), now=at(602)) == ["resumed"]
    assert await observed.told(moving(89), now=at(632)) == ["stalled"]


async def test_time_in_which_nobody_looked_is_time_all_the_same() -> None:
    observed = Observed()
    await observed.poll(moving(90), now=NOW)
    observed.restart()
    assert await observed.told(moving(90), now=at(120)) == ["stalled"]


async def test_a_job_that_moves_before_its_time_is_looked_at_later() -> None:
    observed = Observed()
    for minutes in (0, 20, 40):
        assert "stalled" not in await observed.told(moving(90 - minutes), now=at(minutes))
    assert await observed.told(moving(50), now=at(69)) == []
    assert await observed.told(moving(50), now=at(70)) == ["stalled"]


async def test_no_chunks_left_and_no_end_is_a_stall_too() -> None:
    observed = Observed()
    await observed.poll(moving(0), now=NOW)
    assert await observed.told(moving(0), now=at(30)) == ["stalled"]


async def test_two_jobs_stall_each_at_its_time() -> None:
    observed = Observed()
    await observed.poll(moving(90, "a"), now=NOW)
    await observed.poll(moving(90, "a"), moving(90, "b"), now=at(10))
    assert await observed.told(moving(90, "a"), moving(90, "b"), now=at(35)) == ["stalled"]
    assert await observed.told(moving(90, "a"), moving(90, "b"), now=at(40)) == ["stalled"]
    assert [job_id for job_id, event in observed.events if event.type == "backfill.stalled"] == ["a", "b"]


@_EITHER
async def test_a_failed_job_is_told_again_until_it_is_of_another_status(*, forgetful: bool) -> None:
    observed = Observed(_RULES, forgetful=forgetful)
    assert await observed.told(_job(status="failed"), now=NOW) == ["failed"]
    told = [await observed.told(_job(status="failed"), now=at(minutes)) for minutes in (59, 60, 119, 120)]
    assert told == [[], ["failed"], [], ["failed"]]
    assert await observed.told(_job(status="staging"), now=at(300)) == ["staging"]
    assert len({event.id for _, event in observed.events}) == 4


async def test_a_clock_that_was_set_makes_no_stall_and_the_count_begins_anew() -> None:
    observed = Observed()
    await observed.poll(moving(90, "a"), moving(90, "b"), now=NOW)
    assert await observed.told(moving(90, "a"), moving(80, "b"), now=at(60), clock_was_set=True) == []
    assert await observed.told(moving(90, "a"), moving(80, "b"), now=at(89)) == []
    assert await observed.told(moving(90, "a"), moving(80, "b"), now=at(90)) == ["stalled", "stalled"]


async def test_a_clock_that_was_set_back_puts_nothing_off() -> None:
    observed = Observed()
    await observed.poll(moving(90), now=at(600))
    assert await observed.told(moving(90), now=NOW, clock_was_set=True) == []
    assert await observed.told(moving(90), now=at(30)) == ["stalled"]


# --------------------------------------------------------------------------- absence


@_EITHER
async def test_three_polls_without_a_job_remove_it_whether_or_not_they_are_the_same(
    *, forgetful: bool
) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(moving(90), _job("k"), now=NOW)
    assert await observed.told(_job("k"), now=at(1)) == []
    assert await observed.told(_job("k"), now=at(2)) == []
    assert await observed.told(_job("k"), now=at(3)) == ["removed"]
    assert await observed.told(_job("k"), now=at(4)) == []
    assert await observed.told(_job("k"), _job("l", "failed"), now=at(5)) == ["failed"]
    assert await observed.told(_job("k"), _job("l", "failed"), moving(90), now=at(6)) == ["transporting"]


@_EITHER
async def test_a_poll_with_an_unreadable_id_counts_for_no_job(*, forgetful: bool) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(moving(90), now=NOW)
    for minute in range(1, 9):
        assert await observed.told(UNREADABLE, now=at(minute)) == []
    assert observed.record().snapshot.missing_since is None
    assert [await observed.told(now=at(minute)) for minute in (9, 10, 11)] == [[], [], ["removed"]]


async def test_a_job_of_which_an_unusable_element_is_listed_is_not_missing() -> None:
    observed = Observed()
    await observed.poll(moving(90), _job("k"), now=NOW)
    for minute in range(1, 9, 3):
        assert await observed.told(_job("k"), now=at(minute)) == []
        assert await observed.told(_job("k"), now=at(minute + 1)) == []
        assert await observed.told(_job("k"), unusable("j"), now=at(minute + 2)) == []


@_EITHER
async def test_a_job_that_stalled_or_failed_is_not_told_again_while_it_is_not_listed(
    *, forgetful: bool
) -> None:
    observed = Observed(_RULES, forgetful=forgetful)
    both = moving(90, "a"), _job("b", "failed")
    await observed.poll(*both, now=NOW)
    assert await observed.told(*both, now=at(40)) == ["stalled"]
    assert await observed.told(now=at(400)) == []
    assert await observed.told(*both, now=at(401)) == ["stalled", "failed"]


# ----------------------------------------------------------------------------- mutes


@_EITHER
async def test_what_happens_while_muted_is_kept_and_counted_and_the_difference_told(
    *, forgetful: bool
) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(_job(), _job("k"), now=NOW)
    observed.mute(until=at(60), job_id="j")
    assert await observed.told(moving(90), moving(90, "k"), now=at(1)) == ["transporting"]
    assert await observed.told(moving(40), moving(40, "k"), now=at(2)) == ["progress"]
    assert observed.source.mutes[0].suppressed == 2
    assert [event.mute for event in observed.record("j").events[1:]] == ["m", "m"]
    assert await observed.told(moving(40), moving(39, "k"), now=at(20)) == []
    told = await observed.poll(moving(38), moving(38, "k"), now=at(60))
    assert [(event.type, event.previous_status) for event in told] == [("backfill.transporting", "staging")]
    assert observed.record("j").known is None


@_EITHER
async def test_a_mute_that_ends_with_the_job_as_people_know_it_tells_nothing(*, forgetful: bool) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(moving(90), now=NOW)
    observed.mute(until=at(60))
    for minute, element in enumerate((_job(status="paused"), moving(90)), 1):
        assert await observed.told(element, now=at(minute)) == []
    assert await observed.told(moving(90), now=at(2.5)) == []
    assert await observed.told(moving(80), now=at(60)) == []
    assert observed.source.mutes[0].suppressed == 2
    assert observed.record().known is None


async def test_people_end_a_mute_and_are_told_at_once_without_a_poll() -> None:
    observed = Observed()
    await observed.poll(moving(90), moving(90, "k"), now=NOW)
    observed.mute(until=at(600))
    await observed.poll(_job(status="failed"), moving(90, "k"), now=at(1))
    told = await observed.unmute(now=at(2))
    assert [(event.type, event.previous_status) for event in told] == [("backfill.failed", "transporting")]
    assert await observed.unmute(now=at(3)) == []
    assert await observed.told(_job(status="failed"), moving(90, "k"), now=at(4)) == []


async def test_a_job_that_another_mute_still_holds_is_kept_until_that_ends_too() -> None:
    observed = Observed()
    await observed.poll(moving(90), now=NOW)
    observed.mute("a", until=at(10))
    observed.mute("b", until=at(20), job_id="j")
    assert await observed.told(_job(status="failed"), now=at(1)) == []
    assert [mute.suppressed for mute in observed.source.mutes] == [1, 1]
    assert await observed.told(_job(status="failed"), now=at(10)) == []
    assert await observed.told(_job(status="failed"), now=at(20)) == ["failed"]


async def test_a_job_that_a_mute_is_about_no_more_is_told_of() -> None:
    observed = Observed()
    await observed.poll(moving(90, job_name="nightly"), now=NOW)
    observed.mute(until=at(600), name="night*")
    assert await observed.told(_job(status="paused", job_name="nightly"), now=at(1)) == []
    assert await observed.told(_job(status="paused", job_name="daily"), now=at(2)) == ["paused"]


async def test_a_job_that_people_never_heard_of_is_announced_when_its_mute_ends() -> None:
    observed = Observed()
    observed.mute(until=at(60))
    assert await observed.told(_job(), now=NOW) == []
    observed.restart()
    [event] = await observed.poll(_job(), now=at(60))
    assert (event.type, event.previous_status, event.seq) == ("backfill.staging", None, 2)


async def test_a_status_that_is_told_makes_good_for_what_was_kept() -> None:
    observed = Observed()
    await observed.poll(_job(), now=NOW)
    observed.mute(until=at(60))
    assert await observed.told(moving(90), now=at(1)) == []
    assert await observed.told(moving(90), now=at(40)) == []
    assert await observed.told(_job(status="completed"), now=at(61)) == ["completed"]


# ------------------------------------------- what is not listed, and what needs a poll


@_EITHER
@pytest.mark.parametrize("odd", [UNREADABLE, unusable("j")], ids=["an unreadable id", "an unusable element"])
async def test_a_job_that_no_poll_lists_neither_stalls_nor_is_told_again(
    odd: Any, *, forgetful: bool
) -> None:
    for listed in (moving(90), _job(status="failed")):
        observed = Observed(_RULES, forgetful=forgetful)
        await observed.poll(listed, now=NOW)
        for minutes in (40, 80, 120):
            assert await observed.told(odd, now=at(minutes)) == []
        assert len(await observed.told(listed, odd, now=at(121))) == 1


@pytest.mark.parametrize(
    "listing", [[], [UNREADABLE], [unusable("j")]], ids=["none", "unreadable", "unusable"]
)
@pytest.mark.parametrize("is_missing", [False, True], ids=["listed before", "missing before"])
async def test_a_clock_that_was_set_while_a_job_is_not_listed_makes_no_stall_when_it_is(
    listing: list[Any], *, is_missing: bool
) -> None:
    observed = Observed()
    await observed.poll(moving(90), now=NOW)
    if is_missing:
        await observed.poll(now=at(1))
    assert await observed.told(*listing, now=at(61), clock_was_set=True) == []
    assert await observed.told(moving(90), now=at(62)) == []
    assert await observed.told(moving(90), now=at(91)) == ["stalled"]


async def test_a_removed_job_of_which_nothing_can_be_read_does_not_stall() -> None:
    observed = Observed()
    await observed.poll(moving(90), now=NOW)
    assert [await observed.told(now=at(minute)) for minute in (1, 2, 3)] == [[], [], ["removed"]]
    assert await observed.told(unusable("j"), now=at(4)) == []
    assert await observed.told(unusable("j"), _job("k"), now=at(45)) == ["staging"]


@_EITHER
async def test_an_unusable_element_of_a_job_breaks_the_row_of_polls_without_it(*, forgetful: bool) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(moving(90), now=NOW)
    assert [await observed.told(now=at(minute)) for minute in (1, 2)] == [[], []]
    assert await observed.told(unusable("j"), now=at(3)) == []
    assert [await observed.told(now=at(minute)) for minute in (4, 5, 6)] == [[], [], ["removed"]]


async def test_the_end_of_a_mute_finds_no_stall_which_takes_a_poll() -> None:
    observed = Observed()
    await observed.poll(_job(), now=NOW)
    observed.mute(until=at(600))
    await observed.poll(moving(90), now=at(1))
    assert [event.type for event in await observed.unmute(now=at(60))] == ["backfill.transporting"]
    assert await observed.told(moving(90), now=at(61)) == ["stalled"]


@_EITHER
@pytest.mark.parametrize(
    "polls", [1, 3, 5], ids=["first missed as the mute ends", "removed", "removed before"]
)
async def test_what_a_mute_kept_of_a_job_that_vanishes_is_told_all_the_same(
    polls: int, *, forgetful: bool
) -> None:
    observed = Observed(forgetful=forgetful)
    await observed.poll(moving(90), moving(90, "k"), now=NOW)
    observed.mute(until=at(30))
    assert await observed.told(_job(status="failed"), moving(90, "k"), now=at(1)) == []
    for minute in range(31 - polls, 30):
        assert await observed.told(now=at(minute)) == []
    told = await observed.told(now=at(30))
    assert sorted(told) == (["failed", "removed"] if polls > 2 else ["failed"])


async def test_what_a_mute_kept_of_a_vanished_job_is_told_though_it_ended_while_the_daemon_was_off() -> None:
    observed = Observed()
    await observed.poll(moving(90), now=NOW)
    observed.mute(until=at(30))
    for minute in (1, 2, 3):
        assert await observed.told(now=at(minute)) == []
    observed.restart()
    assert await observed.told(now=at(31)) == ["removed"]


async def test_a_job_that_is_listed_again_further_on_tells_no_milestone_of_before_later() -> None:
    observed = Observed()
    await observed.poll(moving(90), now=NOW)
    assert [await observed.told(now=at(minute)) for minute in (1, 2, 3)] == [[], [], ["removed"]]
    assert await observed.told(moving(40), now=at(4)) == ["transporting"]
    assert await observed.told(moving(39), now=at(5)) == []
    assert await observed.told(moving(25), now=at(6)) == ["progress"]


# ----------------------------------------------- any sequence, and what the contract says of it


class _Job:
    """What the contract knows of a job."""

    def __init__(self, status: str, left: int | None, now: datetime, *, told: bool) -> None:
        self.reached = 0
        self.left: int | None = None
        self.becomes(status, left, now, told=told)

    def becomes(self, status: str, left: int | None, now: datetime, *, told: bool = True) -> None:
        self.status, self.left, self.moved_at, self.missed = status, left, now, 0
        self.reached = self.share(left)
        self.stalled, self.removed = False, False
        self.told_at = now if status == "failed" and told else None

    def share(self, left: int | None) -> int:
        return 0 if self.status != "transporting" or left is None else 100 - left

    def sees(self, status: str, left: int | None, now: datetime) -> Iterator[tuple[str, str]]:
        """Yield the events of a poll that lists it so, as (type, previous status)."""
        previous, share = self.status, self.share(left)
        if status != previous or self.removed:
            reached = self.reached
            self.becomes(status, left, now)
            self.reached = max(self.reached, reached if status == previous else 0)
            yield status, previous
            return
        self.missed = 0
        if left is not None and left != self.left:
            if self.stalled and status not in TERMINAL:
                yield "resumed", status
            self.left, self.moved_at, self.stalled = left, now, False
            if status != "failed":
                self.told_at = None
        if any(self.reached < milestone <= share for milestone in _RULES.milestones):
            yield "progress", status
        self.reached = max(self.reached, share)
        waits = _RULES.staging_stalled_after if status == "staging" else _RULES.stalled_after
        if status not in TERMINAL and not self.stalled and now - self.moved_at >= waits:
            self.stalled, self.told_at = True, now
            yield "stalled", status
        elif self.told_at is not None and now - self.told_at >= _RULES.remind_every:
            self.told_at = now
            yield ("stalled" if self.stalled else status), status

    def misses(self) -> Iterator[tuple[str, str]]:
        """Yield the events of a poll that does not list it."""
        self.missed += 1
        if self.missed >= 3 and self.status not in TERMINAL and not self.removed:
            self.removed = True
            yield "removed", self.status


_Listing = dict[str, tuple[str, int | None]]
_Told = tuple[str, str, str | None]
"""(job id, type, previous status)."""


class _Contract:
    """Which events are told of which polls, by the contract."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._is_first = True

    def poll(self, listing: _Listing, unread: frozenset[str], *, proves: bool, now: datetime) -> list[_Told]:
        """Return what a poll tells; of the `unread` jobs it has an element that says nothing."""
        told: list[_Told] = []
        for job_id, (status, left) in listing.items():
            if (known := self._jobs.get(job_id)) is not None:
                told += [(job_id, *event) for event in known.sees(status, left, now)]
                continue
            self._jobs[job_id] = _Job(status, left, now, told=not self._is_first)
            if not self._is_first:
                told.append((job_id, status, None))
        for job_id in unread & self._jobs.keys():
            self._jobs[job_id].missed = 0
        for job_id in sorted(self._jobs.keys() - listing.keys() - unread if proves else ()):
            told += [(job_id, *event) for event in self._jobs[job_id].misses()]
        self._is_first = False
        return told


_JOB_IDS = ("a", "b", "c")
_STATES = st.tuples(
    st.sampled_from(["staging", "transporting", "transporting", "paused", "failed", "completed"]),
    st.sampled_from([None, 100, 90, 70, 40, 10, 0]),
)
_CHANGES = st.dictionaries(st.sampled_from(_JOB_IDS), st.one_of(st.none(), _STATES))
"""How some jobs are listed from now on; None is that they are not."""
_WAITS = st.sampled_from([1, 10, 30, 61, 400])
_ODD = st.sampled_from([(), (), (), (UNREADABLE,), (unusable("a"),)])
"""What stands in a listing beside the jobs."""


def _changed(listing: _Listing, changes: dict[str, tuple[str, int | None] | None]) -> _Listing:
    return {job_id: state for job_id, state in (listing | changes).items() if state is not None}


def _elements(listing: _Listing) -> list[dict[str, Any]]:
    return [moving(left, job_id, status) for job_id, (status, left) in listing.items()]


def _by_job(told: list[_Told]) -> dict[str, list[_Told]]:
    return {job_id: [each for each in told if each[0] == job_id] for job_id in _JOB_IDS}


def _type(event: Event) -> str:
    return event.type.removeprefix("backfill.")


def _check_numbers(observed: Observed) -> None:
    ids = [event.id for _, event in observed.events]
    assert len(set(ids)) == len(ids)
    for job_id in _JOB_IDS:
        seqs = [event.seq for each, event in observed.events if each == job_id]
        assert seqs == list(range(1, len(seqs) + 1))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(_WAITS, _CHANGES, _ODD, st.booleans()), min_size=2, max_size=14), st.booleans())
def test_each_poll_tells_what_the_contract_says_and_no_restart_changes_that(
    polls: list[tuple[int, dict[str, Any], tuple[Any, ...], bool]], forgetful: bool
) -> None:
    async def observe() -> None:
        observed = Observed(_RULES, forgetful=forgetful, announce=False)
        contract, now, listing = _Contract(), NOW, _Listing()
        for wait, changes, odd, restarted in polls:
            now += timedelta(minutes=wait)
            listing = _changed(listing, changes)
            if restarted:
                observed.restart()
            before = len(observed.events)
            listed = {job_id: state for job_id, state in listing.items() if unusable(job_id) not in odd}
            await observed.poll(*_elements(listed), *odd, now=now)
            said = [(each, _type(event), event.previous_status) for each, event in observed.events[before:]]
            unread = frozenset("a" if unusable("a") in odd else ())
            told = contract.poll(listed, unread, proves=UNREADABLE not in odd, now=now)
            assert _by_job(said) == _by_job(told)
        _check_numbers(observed)

    asyncio.run(observe())


class _People:
    """What people make of what they are told."""

    def __init__(self) -> None:
        self._beliefs: dict[str, tuple[str | None, bool, bool]] = {}
        self._heard = 0

    def hear(self, observed: Observed) -> None:
        """Take in what was told since; what tells no status must say something that they did not know."""
        for job_id, event in observed.events[self._heard :]:
            if event.mute is not None or event.type == "backfill.progress":
                continue
            before = self._beliefs.get(job_id, (None, False, False))
            status, stalled, removed = before
            match _type(event):
                case "stalled" | "resumed" as what:
                    belief = status, what == "stalled", removed
                case "removed":
                    belief = status, stalled, True
                case other:
                    belief = other, False, False
            assert belief != before or belief[0] == _type(event), f"{event.type} of {job_id} is told twice"
            self._beliefs[job_id] = belief
        self._heard = len(observed.events)

    def check(self, observed: Observed, job_id: str, now: datetime) -> None:
        """Fail when they do not know how a job is that no mute is about."""
        record = observed.records.job(("allium", job_id))
        held = [mute for mute in observed.source.mutes if now < mute.until]
        if record is None or any(mute.job_id in (None, job_id) for mute in held):
            return
        snapshot = record.snapshot
        truth = snapshot.status, snapshot.stalled_at is not None, snapshot.is_removed
        assert self._beliefs[job_id] == truth
        assert record.known is None


async def _order(observed: Observed, order: Any, id_: str, now: datetime) -> None:
    """Carry out what people order: a mute of a job, or of all, for so many minutes, or that all end."""
    if order == "unmute":
        for mute in observed.source.mutes:
            await observed.unmute(mute.id, now=now)
    elif order is not None:
        job_id, minutes = order
        observed.mute(id_, until=now + timedelta(minutes=minutes), job_id=job_id)


_MUTES = st.one_of(
    st.none(),
    st.none(),
    st.tuples(st.sampled_from([None, *_JOB_IDS]), st.sampled_from([5, 60, 500])),
    st.just("unmute"),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_WAITS, _CHANGES, _ODD, st.booleans(), _MUTES), min_size=2, max_size=14), st.booleans()
)
def test_whom_no_mute_keeps_anything_from_knows_all_and_hears_of_no_trouble_twice(
    polls: list[tuple[int, dict[str, Any], tuple[Any, ...], bool, Any]], forgetful: bool
) -> None:
    async def observe() -> None:
        observed = Observed(forgetful=forgetful)
        people, now, listing = _People(), NOW, _Listing()
        for number, (wait, changes, odd, restarted, mute) in enumerate(polls):
            now += timedelta(minutes=wait)
            listing = _changed(listing, changes)
            if restarted:
                observed.restart()
            await _order(observed, mute, f"m{number}", now)
            listed = {job_id: state for job_id, state in listing.items() if unusable(job_id) not in odd}
            await observed.poll(*_elements(listed), *odd, now=now)
            people.hear(observed)
            for job_id in _JOB_IDS if odd == () else listed:  # who is not looked at is told of later
                people.check(observed, job_id, now)
        _check_numbers(observed)

    asyncio.run(observe())
