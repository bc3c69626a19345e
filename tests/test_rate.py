from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import Sample
from notifier.rate import WINDOW, chunks_per_minute, expected_end, is_outdated, outdated_at, with_sample

T0 = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def seen(*pairs: tuple[float, int]) -> tuple[Sample, ...]:
    """Return the samples of a job seen at these minutes with so many chunks left."""
    samples: tuple[Sample, ...] = ()
    for minutes, left in pairs:
        samples = with_sample(samples, left, T0 + minutes * MINUTE)
    return samples


def kept(samples: tuple[Sample, ...]) -> list[tuple[float, int]]:
    return [((each.at - T0) / MINUTE, each.chunks_left) for each in samples]


@pytest.mark.parametrize(
    ("pairs", "rate"),
    [
        ((), None),
        (((0, 1000),), None),
        (((0, 1000), (1, 990)), 10.0),
        (((0, 1000), (3, 984)), 5.3),
        (((0, 1000), (20, 999)), 0.05),
        (((0, 1000), (30, 999)), 0.033),
        (((0, 1000), (1, 1000)), None),
        (((0, 1000), (5, 1000), (10, 900)), 10.0),
    ],
)
def test_the_rate_is_what_was_delivered_in_the_last_minutes(
    pairs: tuple[tuple[float, int], ...], rate: float | None
) -> None:
    assert chunks_per_minute(seen(*pairs)) == rate


def test_the_rate_of_a_job_that_became_faster_is_that_of_the_last_ten_minutes() -> None:
    slow = [(minute, 10_000 - minute) for minute in range(60)]
    fast = [(60 + minute, 9_940 - 100 * minute) for minute in range(11)]
    assert chunks_per_minute(seen(*slow, *fast)) == pytest.approx(100, abs=10)


def test_about_one_sample_a_minute_is_kept_and_always_the_newest() -> None:
    samples = seen(*((quarter / 4, 1000 - quarter) for quarter in range(200)))
    assert len(samples) <= 12
    assert kept(samples)[-1] == (199 / 4, 801)


def test_a_job_that_takes_longer_than_the_window_for_a_chunk_has_a_rate() -> None:
    samples = seen((0, 10), (25, 9), (50, 8))
    assert kept(samples) == [(25, 9), (50, 8)]
    assert chunks_per_minute(samples) == 0.04


@pytest.mark.parametrize("pair", [(2, 991), (0.5, 980)], ids=["more chunks left", "an earlier time"])
def test_a_count_that_goes_backwards_begins_anew(pair: tuple[float, int]) -> None:
    assert kept(seen((0, 1000), (1, 990), pair)) == [pair]


def test_a_listing_without_the_count_changes_no_sample() -> None:
    samples = seen((0, 1000), (1, 990))
    assert with_sample(samples, None, T0 + 2 * MINUTE) is samples


@pytest.mark.parametrize(
    ("percent", "minutes"), [(1.9, None), (None, None), (2.0, 100), (50.0, 100)], ids=str
)
def test_the_end_is_expected_by_the_rate_but_not_before_two_percent(
    percent: float | None, minutes: float | None
) -> None:
    end = expected_end(seen((0, 1000), (1, 990)), percent)
    assert end == (None if minutes is None else T0 + minutes * MINUTE)


def test_an_end_that_no_calendar_has_is_none() -> None:
    assert expected_end(seen((0, 10**15), (1, 10**15 - 1)), 50.0) is None
    assert expected_end(seen((0, 10**400), (1, 10**400 - 1)), 50.0) is None


def test_a_rate_is_outdated_when_nothing_moves_for_ten_minutes_or_twice_the_longest_step() -> None:
    quick, slow = seen((0, 100), (1, 90)), seen((0, 100), (20, 99))
    assert outdated_at(quick) == T0 + MINUTE + WINDOW
    assert outdated_at(slow) == T0 + 60 * MINUTE
    assert outdated_at(seen((0, 100))) is None
    assert not is_outdated(quick, T0 + 10.9 * MINUTE)
    assert is_outdated(quick, T0 + 11 * MINUTE)
    assert not is_outdated((), T0)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50) | st.integers(-3, 0) | st.none()), max_size=60)
)
def test_samples_are_few_and_in_order_and_rates_positive(steps: list[tuple[float, int | None]]) -> None:
    samples: tuple[Sample, ...] = ()
    now, left = T0, 1000
    for minutes, delivered in steps:
        now += minutes * MINUTE
        if delivered is None:
            samples = with_sample(samples, None, now)
            continue
        left = max(0, left - delivered)
        samples = with_sample(samples, left, now)
        assert samples[-1].chunks_left == left
    assert len(samples) <= 12
    assert list(samples) == sorted(samples, key=lambda each: (each.at, -each.chunks_left))
    rate = chunks_per_minute(samples)
    assert rate is None or rate >= 0
