from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.announcement import Change, Origin
from notifier.model import is_active
from notifier.patience import as_stored, lapse, look_again_at, moved_at, restart
from notifier.rules import Rules
from tests.records import NOW, at, record

_ORIGIN = Origin("allium", "s1", "j")
_HOUR = timedelta(hours=1)
_RULES = Rules(remind_every=_HOUR)


def _job(status: str = "transporting", **fields: Any) -> Change:
    snapshot = record(status=status, num_chunks=1000, chunks_left=577).snapshot
    fields = {"status_since": NOW, "moved_at": NOW} | fields
    return as_stored(msgspec.structs.replace(snapshot, **fields), 4)


def _lapse(change: Change, now: datetime, rules: Rules = _RULES) -> Change | None:
    return lapse(change, origin=_ORIGIN, rules=rules, now=now)


@pytest.mark.parametrize(
    ("status", "minutes"), [("transporting", 30), ("staging", 360), ("paused", 30), ("stalled", 30)]
)
def test_an_active_job_is_stalled_once_it_has_not_moved_for_so_long(status: str, minutes: int) -> None:
    change = _job(status)
    assert look_again_at(change.snapshot, _RULES, NOW) == at(minutes)
    assert _lapse(change, at(minutes - 0.01)) is None
    stalled = _lapse(change, at(minutes))
    assert stalled is not None
    [event] = stalled.events
    assert (event.type, event.status, event.previous_status) == ("backfill.stalled", status, status)
    assert (event.seq, stalled.seq, event.observed_at) == (5, 5, at(minutes))
    assert (stalled.snapshot.stalled_at, stalled.snapshot.moved_at) == (at(minutes), NOW)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_job_that_has_ended_never_stalls(status: str) -> None:
    change = _job(status)
    assert look_again_at(change.snapshot, _RULES, NOW) is None
    assert _lapse(change, at(1e6)) is None


def test_a_stall_is_told_once_without_reminders() -> None:
    stalled = _lapse(_job(), at(30), Rules())
    assert stalled is not None
    assert look_again_at(stalled.snapshot, Rules(), at(30)) is None
    assert _lapse(stalled, at(1e6), Rules()) is None


def test_a_wait_of_zero_is_never_over_and_a_very_long_one_is_no_fault() -> None:
    for wait in (timedelta(0), timedelta.max):
        rules = Rules(stalled_after=wait, staging_stalled_after=wait, remind_every=wait)
        for change in (_job(), _job("staging"), _job("failed", told_at=NOW)):
            assert look_again_at(change.snapshot, rules, NOW) is None
            assert _lapse(change, at(1e6), rules) is None


def test_a_job_that_was_stored_without_the_time_is_counted_from_its_status() -> None:
    change = _job(moved_at=None, status_since=at(10))
    assert moved_at(change.snapshot) == at(10)
    assert look_again_at(change.snapshot, _RULES, at(11)) == at(40)


def test_a_job_that_is_not_listed_neither_stalls_nor_is_told_again() -> None:
    for change in (_job(missing_since=at(1)), _job("failed", told_at=NOW, missing_since=at(1))):
        assert look_again_at(change.snapshot, _RULES, at(1)) is None
        assert _lapse(change, at(1e6)) is None


_TROUBLE = [
    (_job(stalled_at=at(30), told_at=at(30)), "backfill.stalled", "job j still has not moved for 1h 30m at"),
    (
        _job("staging", stalled_at=at(30), told_at=at(30)),
        "backfill.stalled",
        "job j still has been staging for",
    ),
    (_job("failed", told_at=at(30)), "backfill.failed", "job j failed 1h 30m ago and is still failed"),
]


@pytest.mark.parametrize(("change", "type_", "words"), _TROUBLE, ids=["stalled", "staging", "failed"])
def test_trouble_is_told_again_every_so_often_each_time_as_another_event(
    change: Change, type_: str, words: str
) -> None:
    assert look_again_at(change.snapshot, _RULES, at(30)) == at(90)
    assert _lapse(change, at(89)) is None
    first = _lapse(change, at(90))
    assert first is not None
    assert look_again_at(first.snapshot, _RULES, at(90)) == at(150)
    assert _lapse(first, at(149)) is None
    second = _lapse(first, at(200))  # counted from when it was told, not from when it was due
    assert second is not None
    assert look_again_at(second.snapshot, _RULES, at(200)) == at(260)
    events = second.events
    assert [event.type for event in events] == [type_] * 2
    assert events[0].summary.startswith(words)
    assert all(event.previous_status == event.status for event in events)
    assert len({event.id for event in events}) == 2
    assert [event.seq for event in events] == [5, 6]


def test_a_failed_job_that_nobody_was_told_of_is_not_told_again() -> None:
    assert look_again_at(_job("failed").snapshot, _RULES, NOW) is None
    assert _lapse(_job("failed"), at(1e6)) is None


@pytest.mark.parametrize("behind", [1, 60, 100_000])
def test_when_the_clock_was_set_back_nobody_waits_for_it(behind: float) -> None:
    now = at(-behind)
    for change in (_job(), _job("failed", told_at=NOW), _job(stalled_at=NOW, told_at=NOW)):
        assert look_again_at(change.snapshot, _RULES, now) == now
        counted = _lapse(change, now)
        assert counted is not None
        assert counted.events == ()
        due = look_again_at(counted.snapshot, _RULES, now)
        assert due is not None
        assert now < due <= now + _HOUR


def test_when_the_clock_was_set_an_active_job_is_counted_from_then_on() -> None:
    restarted = restart(_job(), at(60))
    assert restarted is not None
    assert (restarted.events, restarted.snapshot.moved_at) == ((), at(60))
    assert _lapse(restarted, at(60)) is None
    assert restart(restarted, at(60)) is None


@pytest.mark.parametrize("change", [_job("failed", told_at=NOW), _job("completed"), _job(stalled_at=at(30))])
def test_when_the_clock_was_set_nothing_begins_anew_that_is_not_counted(change: Change) -> None:
    assert restart(change, at(60)) is None


_WAITS = st.one_of(st.just(timedelta(0)), st.timedeltas(timedelta(seconds=1), timedelta(hours=3)))
_MINUTES = st.one_of(st.none(), st.integers(-300, 300).map(at))
_JOBS = st.builds(
    _job,
    st.sampled_from(["staging", "transporting", "paused", "failed", "completed"]),
    moved_at=_MINUTES,
    stalled_at=_MINUTES,
    told_at=_MINUTES,
    missing_since=st.one_of(st.none(), st.just(NOW)),
)
_ANY_RULES = st.builds(Rules, stalled_after=_WAITS, staging_stalled_after=_WAITS, remind_every=_WAITS)


@given(_JOBS, _ANY_RULES, st.integers(-400, 400).map(at))
def test_there_is_something_to_say_exactly_when_it_is_to_be_looked_for(
    change: Change, rules: Rules, now: datetime
) -> None:
    due = look_again_at(change.snapshot, rules, now)
    said = _lapse(change, now, rules)
    assert (said is not None) == (due is not None and due <= now)
    if said is None:
        return
    assert len(said.events) <= 1
    next_due = look_again_at(said.snapshot, rules, now)
    if said.events:
        assert next_due is None or next_due > now
        assert is_active(change.snapshot.status) or change.snapshot.status == "failed"
    settled = _lapse(said, now, rules)
    assert settled is None or (settled.events and not said.events)


def test_the_end_of_time_is_no_fault() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    assert look_again_at(_job(moved_at=end).snapshot, _RULES, end) is None
