import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.probe import Probe


def _failing(*, first_seconds: float = 5.0, longest_seconds: float = 3600.0) -> Probe:
    """Return a probe that begins at the time 0."""
    probe = Probe(first_seconds=first_seconds, longest_seconds=longest_seconds)
    assert [probe.failed(0.0, probing=False) for _ in range(3)] == [False, False, True]
    return probe


def test_a_target_that_was_never_attempted_is_not_probed() -> None:
    probe = Probe(first_seconds=5.0, longest_seconds=3600.0)
    assert not probe.active
    assert probe.next_at == -math.inf


@pytest.mark.parametrize(
    ("attempts", "told"),
    [
        ("f", [False]),
        ("ff", [False, False]),
        ("fff", [False, False, True]),
        ("ffff", [False, False, True, False]),
        ("sfff", [False, False, False, True]),
        ("ffsff", [False, False, False, False, False]),
        ("ffsfff", [False, False, False, False, False, True]),
        ("fsffsff", [False] * 7),
        ("fffs", [False, False, True, True]),
        ("fffss", [False, False, True, True, False]),
        ("fffsff", [False, False, True, True, False, False]),
        ("fffsfff", [False, False, True, True, False, False, True]),
        ("ffffffsfff", [False, False, True, False, False, False, True, False, False, True]),
    ],
)
def test_three_failures_in_a_row_begin_the_probing_and_one_success_ends_it(
    attempts: str, told: list[bool]
) -> None:
    probe = Probe(first_seconds=5.0, longest_seconds=3600.0)
    answers = [
        probe.succeeded() if attempt == "s" else probe.failed(0.0, probing=probe.active)
        for attempt in attempts
    ]
    assert answers == told


@pytest.mark.parametrize(
    ("first_seconds", "longest_seconds", "distances"),
    [
        (5, 3600, [5, 10, 20, 40, 60, 60, 60]),
        (5, 60, [5, 10, 20, 40, 60, 60]),
        (5, 15, [5, 10, 15, 15]),
        (5, 5, [5, 5, 5]),
        (0.25, 3600, [0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]),
        (60, 3600, [60, 60, 60]),
        (300, 3600, [300, 300, 300]),
        (0, 0, [0, 0, 0]),
    ],
)
def test_the_distance_doubles_to_a_minute_or_to_the_longest_wait_when_that_is_shorter(
    first_seconds: float, longest_seconds: float, distances: list[float]
) -> None:
    probe = Probe(first_seconds=first_seconds, longest_seconds=longest_seconds)
    probe.failed(70.0, probing=False)
    probe.failed(80.0, probing=False)
    now, found = 100.0, []
    for _ in distances:
        probe.failed(now, probing=probe.active)
        found.append(probe.next_at - now)
        now = probe.next_at + 1.0
    assert found == distances


def test_the_next_probing_begins_with_the_shortest_distance_again() -> None:
    probe = _failing()
    for _ in range(5):
        probe.failed(1000.0, probing=True)
    assert probe.next_at == 1060.0
    probe.succeeded()
    assert probe.next_at == -math.inf, "what waits may go at once"
    for now in (2000.0, 2001.0):
        probe.failed(now, probing=False)
        assert probe.next_at == -math.inf
    probe.failed(2002.0, probing=False)
    assert probe.next_at == 2007.0
    probe.failed(2008.0, probing=True)
    assert probe.next_at == 2018.0


def test_attempts_that_were_under_way_when_the_probing_began_say_nothing_when_they_fail() -> None:
    probe = _failing()
    for now in (1.0, 4.0, 30.0):
        assert not probe.failed(now, probing=False)
        assert probe.active
        assert probe.next_at == 5.0
    assert not probe.failed(31.0, probing=True)
    assert probe.next_at == 41.0


def test_an_attempt_that_was_under_way_when_the_probing_began_ends_it_when_it_succeeds() -> None:
    probe = _failing()
    assert probe.succeeded()
    assert not probe.active


def test_without_distances_the_next_attempt_may_start_at_once() -> None:
    probe = Probe()
    for now in range(20):
        probe.failed(float(now), probing=probe.active)
        assert probe.next_at == (now if now >= 2 else -math.inf)
    assert probe.active


def test_a_target_may_fail_for_ever() -> None:
    probe = _failing(first_seconds=1e-3, longest_seconds=1e9)
    for _ in range(5000):
        probe.failed(7.0, probing=True)
    assert probe.next_at == 67.0


_STEPS = st.lists(
    st.tuples(st.sampled_from(["fail", "fail", "fail", "straggle", "succeed"]), st.integers(0, 100)),
    max_size=60,
)


@given(st.integers(0, 8) | st.integers(0, 200), st.integers(0, 200), _STEPS)
def test_the_distance_depends_on_the_attempts_that_were_started_while_probing(
    first: int, more: int, steps: list[tuple[str, int]]
) -> None:
    longest = first + more
    probe = Probe(first_seconds=first, longest_seconds=longest)
    now, in_a_row, next_at, distance = 0.0, 0, -math.inf, 0
    for step, wait in steps:
        now += wait
        active = in_a_row >= 3
        if step == "succeed":
            assert probe.succeeded() == active
            in_a_row, next_at = 0, -math.inf
        elif not active:
            in_a_row += 1
            assert probe.failed(now, probing=False) == (in_a_row == 3)
            if in_a_row == 3:
                distance = first
                next_at = now + distance
        else:
            assert not probe.failed(now, probing=step == "fail")
            if step == "fail":
                distance = max(first, min(2 * distance, longest, 60))
                next_at = now + distance
        assert probe.active == (in_a_row >= 3)
        assert probe.next_at == next_at
