from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.wallclock import WallClock, uptime
from tests.records import NOW


def _was_set(*readings: tuple[float, float]) -> list[bool]:
    """Return what is said to each reading of both clocks, in seconds."""
    clock = WallClock()
    return [clock.was_set(NOW + timedelta(seconds=wall), up) for wall, up in readings]


@pytest.mark.parametrize(
    ("wall", "up", "was_set"),
    [
        (0, 0, False),
        (86_400, 86_400, False),
        (75, 15, False),
        (-45, 15, False),
        (75.1, 15, True),
        (-45.1, 15, True),
        (3615, 15, True),
        (-3585, 15, True),
        (15, 3615, True),
    ],
)
def test_a_clock_was_set_that_strays_from_the_uptime_by_more_than_a_minute(
    wall: float, up: float, was_set: bool
) -> None:
    assert _was_set((0, 1000), (wall, 1000 + up)) == [False, was_set]


def test_it_is_said_once_and_again_when_it_is_set_back() -> None:
    assert _was_set((0, 0), (3615, 15), (3630, 30), (45, 45), (60, 60)) == [False, True, False, True, False]


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-59, 59)), max_size=8))
def test_a_clock_that_is_kept_right_in_small_steps_was_never_set(steps: list[tuple[float, float]]) -> None:
    wall = up = 0.0
    readings = [(wall, up)]
    for passed, strays in steps:
        wall, up = wall + passed + strays, up + passed
        readings.append((wall, up))
    assert not any(_was_set(*readings))


def test_the_uptime_only_rises() -> None:
    first = uptime()
    assert 0 <= first <= uptime()
