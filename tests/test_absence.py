from datetime import datetime

import msgspec
import pytest

from notifier.absence import found, is_counted, missed
from notifier.announcement import Change, Origin
from notifier.model import MISSED_POLLS, Snapshot
from notifier.patience import as_stored
from tests.records import NOW, at, record

_ORIGIN = Origin("allium", "s1", "j")


def _job(status: str = "transporting") -> Change:
    return as_stored(record(status=status, num_chunks=1000, chunks_left=577).snapshot, 4)


def _missed(change: Change, *times: datetime) -> Change:
    for now in times:
        change = missed(change, origin=_ORIGIN, now=now)
    return change


def _count(snapshot: Snapshot) -> tuple[datetime | None, int, bool]:
    return snapshot.missing_since, snapshot.missing_polls, snapshot.is_removed


@pytest.mark.parametrize("status", ["staging", "transporting", "paused", ""])
def test_an_active_job_is_removed_by_the_third_poll_in_a_row_that_does_not_list_it(status: str) -> None:
    change = _job(status)
    for polls in (1, 2, 3):
        assert is_counted(change.snapshot)
        change = _missed(change, at(polls))
        assert _count(change.snapshot) == (at(1), polls, polls == MISSED_POLLS)
        assert len(change.events) == (polls == MISSED_POLLS)
    assert not is_counted(change.snapshot)
    [event] = change.events
    assert (event.type, event.status, event.previous_status) == ("backfill.removed", status, status)
    assert (event.seq, change.seq, event.observed_at) == (5, 5, at(3))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_job_that_has_ended_is_noted_as_missing_and_nothing_more(status: str) -> None:
    change = _missed(_job(status), at(1))
    assert _count(change.snapshot) == (at(1), 0, False)
    assert not is_counted(change.snapshot)
    assert _missed(change, at(2), at(3)).events == ()


def test_a_removed_job_is_told_of_once() -> None:
    removed = msgspec.structs.replace(_missed(_job(), at(1), at(2), at(3)), events=())
    again = _missed(removed, at(4), at(5))
    assert again == removed


def test_a_job_that_was_noted_as_missing_before_polls_were_counted_is_counted_from_then_on() -> None:
    old = _job()
    old = msgspec.structs.replace(old, snapshot=msgspec.structs.replace(old.snapshot, missing_since=NOW))
    assert is_counted(old.snapshot)
    assert _missed(old, at(1), at(2)).events == ()
    change = _missed(old, at(1), at(2), at(3))
    assert _count(change.snapshot) == (NOW, 3, True)
    assert len(change.events) == 1


def test_what_is_told_of_a_removed_job_says_how_far_it_was() -> None:
    [event] = _missed(_job(), at(1), at(2), at(3)).events
    assert event.summary == "job j is no longer listed; it was transporting at 42.3 %"


@pytest.mark.parametrize("polls", [1, 2])
def test_the_count_begins_anew_when_the_job_may_be_listed(polls: int) -> None:
    listed = _job()
    assert found(_missed(listed, *map(at, range(polls)))) == listed
    assert _missed(found(_missed(listed, *map(at, range(polls)))), at(8), at(9)).events == ()


def test_a_removed_job_that_may_be_listed_is_still_told_when_it_is_and_not_removed_twice() -> None:
    change = found(_missed(_job(), at(1), at(2), at(3)))
    assert _count(change.snapshot) == (None, 3, True)
    again = msgspec.structs.replace(change, events=())
    assert _missed(again, at(4), at(5), at(6)).events == ()
