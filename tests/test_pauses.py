from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.pauses import Pauses

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return _NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("pauses", "since", "until", "seconds"),
    [
        ([], 0, 100, 0),
        ([(10, 40)], 0, 100, 30),
        ([(10, 40)], 20, 100, 20),
        ([(10, 40)], 0, 15, 5),
        ([(10, 40)], 40, 100, 0),
        ([(10, 40)], 0, 10, 0),
        ([(10, 40), (50, 60)], 0, 100, 40),
        ([(10, 40), (20, 60)], 0, 100, 50),
        ([(10, 40), (20, 30)], 0, 100, 30),
        ([(10, 40), (40, 60)], 0, 100, 50),
        ([(10, 40)], 100, 0, 0),
    ],
)
def test_what_of_a_time_was_pause_is_told(
    pauses: list[tuple[int, int]], since: int, until: int, seconds: int
) -> None:
    known = Pauses()
    for start, end in pauses:
        known.add(_at(start), _at(end))
    assert known.within(_at(since), _at(until)) == timedelta(seconds=seconds)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_pauses_are_counted_once_and_are_never_more_than_the_time(steps: list[tuple[int, int]]) -> None:
    known, now, paused = Pauses(), 0, set[int]()
    for wait, length in steps:
        now += wait
        known.add(_at(now), _at(now + length))
        paused.update(range(now, now + length))
    assert known.within(_at(0), _at(now)) == timedelta(seconds=len([each for each in paused if each < now]))


def test_only_the_last_thousand_are_remembered() -> None:
    known = Pauses()
    for number in range(3000):
        known.add(_at(2 * number), _at(2 * number + 1))
    assert known.within(_at(0), _at(6000)) == timedelta(seconds=1000)


def test_the_shares_of_a_time_that_were_pause_are_told_one_by_one() -> None:
    pauses = Pauses()
    pauses.add(_at(1), _at(3))
    pauses.add(_at(5), _at(9))
    assert pauses.shares(_at(2), _at(6)) == [(_at(2), _at(3)), (_at(5), _at(6))]
    assert pauses.shares(_at(3), _at(5)) == []
