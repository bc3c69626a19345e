import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.spacing import Allowance, Spacing


def every(period: float, *, burst: int) -> Allowance:
    """Return an allowance of one in so many seconds."""
    return Allowance(per_minute=60.0 / period, burst=burst)


def taken(allowance: Allowance, count: int, *, now: float = 0.0, spare: int = 0) -> list[float]:
    """Return when so many are taken, each as soon as it may be."""
    times = []
    for _ in range(count):
        now = max(now, allowance.next_at(spare=spare))
        allowance.take(now)
        times.append(now)
    return times


# -------------------------------------------------------------------------------------- allowances


@pytest.mark.parametrize("spare", [0, 2])
def test_what_was_never_taken_from_is_allowed_at_any_time(spare: int) -> None:
    assert every(6, burst=3).next_at(spare=spare) == -math.inf


@pytest.mark.parametrize(
    ("burst", "spare", "times"),
    [
        (1, 0, [0, 6, 12, 18]),
        (3, 0, [0, 0, 0, 6, 12]),
        (3, 1, [0, 0, 6, 12]),
        (3, 2, [0, 6, 12]),
        (10, 5, [0, 0, 0, 0, 0, 6, 12]),
    ],
)
def test_after_a_rest_so_many_go_at_once_and_the_others_at_the_rate(
    burst: int, spare: int, times: list[float]
) -> None:
    assert taken(every(6, burst=burst), len(times), spare=spare) == times


def test_the_rate_is_told_by_the_minute() -> None:
    assert taken(Allowance(per_minute=240, burst=1), 3) == [0.0, 0.25, 0.5]


@pytest.mark.parametrize(("rest", "at_once"), [(0, 0), (5.9, 0), (6, 1), (17, 2), (18, 3), (1000, 3)])
def test_a_rest_earns_one_each_period_but_never_more_than_the_burst(rest: float, at_once: int) -> None:
    allowance = every(6, burst=3)
    now = taken(allowance, 3, now=100.0)[-1] + rest
    assert taken(allowance, 5, now=now).count(now) == at_once


def test_what_others_take_counts() -> None:
    allowance = every(6, burst=3)
    for _ in range(5):  # without asking
        allowance.take(0.0)
    assert allowance.next_at() == 18.0


def test_while_it_is_held_nothing_is_allowed() -> None:
    allowance = every(6, burst=3)
    allowance.hold(50.0)
    assert taken(allowance, 4) == [50.0, 50.0, 50.0, 56.0]
    assert allowance.next_at() == 62.0


def test_a_shorter_hold_ends_no_longer_one() -> None:
    allowance = every(6, burst=3)
    allowance.hold(50.0)
    allowance.hold(20.0)
    assert allowance.next_at() == 50.0
    allowance.hold(60.0)
    assert allowance.next_at(spare=1) == 60.0


def test_a_hold_that_is_over_sooner_than_the_rate_allows_changes_nothing() -> None:
    allowance = every(60, burst=1)
    allowance.take(0.0)
    allowance.hold(10.0)
    assert allowance.next_at() == 60.0


_PERIODS = st.sampled_from([0.25, 1.0, 1.5, 7.0])
_BURSTS = st.integers(1, 12)
_STEPS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 6), st.integers(0, 60)), min_size=20, max_size=60
)
"""A wait in quarters of a second, how many are left for others, and for how long it is held."""


@given(_PERIODS, _BURSTS, _STEPS)
def test_in_no_time_are_there_more_than_the_burst_and_what_the_rate_allows(
    period: float, burst: int, steps: list[tuple[int, int, int]]
) -> None:
    allowance = every(period, burst=burst)
    now, times = 0.0, list[float]()
    for wait, spare, hold in steps:
        now += wait / 4
        while allowance.next_at(spare=spare) <= now:
            allowance.take(now)
            times.append(now)
        if hold > 50:
            allowance.hold(now + hold - 50)
    for first, since in enumerate(times):
        for last, until in enumerate(times[first:], first):
            assert last - first + 1 <= burst + (until - since) / period + 1e-6


@given(_PERIODS, _BURSTS, _STEPS)
def test_what_is_left_for_others_is_there_at_once(
    period: float, burst: int, steps: list[tuple[int, int, int]]
) -> None:
    allowance = every(period, burst=burst)
    now = 0.0
    for wait, spare, _ in steps:
        now += wait / 4
        if spare >= burst or allowance.next_at(spare=spare) > now:
            continue
        allowance.take(now)
        for _ in range(spare):
            assert allowance.next_at() <= now + 1e-6
            allowance.take(now)


@given(_PERIODS, _BURSTS, _STEPS)
def test_nobody_waits_for_longer_than_for_one_and_what_is_left_for_others(
    period: float, burst: int, steps: list[tuple[int, int, int]]
) -> None:
    allowance = every(period, burst=burst)
    now, held = 0.0, 0.0
    for wait, spare, hold in steps:
        now += wait / 4
        if allowance.next_at() <= now:
            allowance.take(now)
        if hold > 50:
            allowance.hold(now + hold - 50)
            held = max(held, now + hold - 50)
        assert held - 1e-6 <= allowance.next_at(spare=spare) or held <= now
        assert allowance.next_at(spare=spare) <= max(held, now + (spare + 1) * period) + 1e-6


@given(_PERIODS, _BURSTS, st.integers(1, 100))
def test_whoever_always_wants_one_gets_the_rate(period: float, burst: int, count: int) -> None:
    times = taken(every(period, burst=burst), count)
    assert times == pytest.approx([max(0, number - burst + 1) * period for number in range(count)])


# ---------------------------------------------------------------------------------------- spacings


def test_without_an_interval_the_next_may_start_at_any_time() -> None:
    spacing = Spacing()
    for now in (0.0, 5.0):
        spacing.started(now)
        spacing.ended(now + 1)
        assert spacing.next_at() == -math.inf


def test_the_next_may_start_an_interval_after_the_start_and_the_end_of_the_one_before() -> None:
    spacing = Spacing(2.0)
    assert spacing.next_at() == -math.inf
    spacing.started(10.0)
    assert spacing.next_at() == 12.0
    spacing.ended(11.0)
    assert spacing.next_at() == 13.0
    spacing.ended(20.0)
    assert spacing.next_at() == 22.0


def test_of_several_side_by_side_the_last_end_counts() -> None:
    spacing = Spacing(2.0)
    spacing.started(10.0)
    spacing.ended(30.0)
    spacing.ended(15.0)
    assert spacing.next_at() == 32.0


def test_what_is_shared_bounds_all_who_share_it_and_the_interval_each_alone() -> None:
    shared = every(5, burst=2)
    one, other = Spacing(1.0, shared=shared), Spacing(1.0, shared=shared)
    one.started(0.0)
    assert (one.next_at(), other.next_at()) == (1.0, 0.0)
    other.started(0.0)
    assert (one.next_at(), other.next_at()) == (5.0, 5.0)
    one.ended(7.0)
    assert (one.next_at(), other.next_at()) == (8.0, 5.0)


def test_an_end_takes_nothing_of_what_is_shared() -> None:
    shared = every(5, burst=2)
    spacing = Spacing(shared=shared)
    spacing.started(0.0)
    for now in (1.0, 2.0, 3.0):
        spacing.ended(now)
    assert shared.next_at() == 0.0


def test_while_what_is_shared_is_held_nothing_starts() -> None:
    shared = every(5, burst=2)
    spacing = Spacing(1.0, shared=shared)
    shared.hold(40.0)
    assert spacing.next_at() == 40.0


@given(
    st.integers(0, 5),
    st.none() | st.tuples(_PERIODS, _BURSTS),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=10, max_size=40),
)
def test_attempts_one_after_the_other_keep_the_interval_and_what_is_shared(
    interval: int, terms: tuple[float, int] | None, steps: list[tuple[int, int]]
) -> None:
    shared = None if terms is None else every(terms[0], burst=terms[1])
    spacing = Spacing(float(interval), shared=shared)
    now, attempts = 0.0, list[tuple[float, float]]()
    for wait, length in steps:
        start = max(now + wait, spacing.next_at())
        spacing.started(start)
        now = start + length
        spacing.ended(now)
        attempts.append((start, now))
    assert all(after[0] - before[1] >= interval for before, after in pairwise(attempts))
    if terms is not None:
        period, burst = terms
        for first, (since, _) in enumerate(attempts):
            for last, (until, _) in enumerate(attempts[first:], first):
                assert last - first + 1 <= burst + (until - since) / period + 1e-6
    elif not interval:
        assert spacing.next_at() == -math.inf
