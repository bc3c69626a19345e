from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.pace import Pace, after_failure, after_refusal, after_success, after_throttling

_SECOND = timedelta(seconds=1)
_FIVE_MINUTES = timedelta(minutes=5)
_DEFAULT = Pace(poll_every=15 * _SECOND, poll_idle_every=60 * _SECOND)

_DURATIONS = st.timedeltas(timedelta(milliseconds=1), timedelta(days=3650))
_PACES = st.builds(
    Pace, poll_every=_DURATIONS | st.timedeltas(_SECOND, 100 * _SECOND), poll_idle_every=_DURATIONS
)
_FAILURES = st.integers(1, 50) | st.integers(1, 10**6)
_CHANCES = st.floats(0, 1)
_RETRY_AFTER = st.timedeltas(timedelta(0), timedelta(days=365)) | st.timedeltas(timedelta(0), 100 * _SECOND)


def test_polls_are_slower_while_no_job_is_active() -> None:
    assert after_success(_DEFAULT, active=True) == 15 * _SECOND
    assert after_success(_DEFAULT, active=False) == 60 * _SECOND


def test_a_refused_key_is_tried_again_at_the_idle_pace() -> None:
    assert after_refusal(_DEFAULT) == 60 * _SECOND


@pytest.mark.parametrize(
    ("failures", "retry_after", "chance", "seconds"),
    [
        (1, None, 0, 15),
        (1, None, 1, 30),
        (2, None, 0, 30),
        (2, None, 1, 60),
        (3, None, 1, 60),
        (1000, None, 0, 30),
        (1000, None, 1, 60),
        (1, 0, 0, 15),
        (1, 40, 0, 40),
        (1, 40, 1, 40),
        (1, 3600, 0, 60),
        (5, 1, 1, 60),
    ],
)
def test_a_failed_poll_is_repeated_within_four_polls(
    failures: int, retry_after: int | None, chance: float, seconds: float
) -> None:
    told = None if retry_after is None else retry_after * _SECOND
    wait = after_failure(_DEFAULT, failures=failures, retry_after=told, chance=chance)
    assert wait == seconds * _SECOND


@pytest.mark.parametrize(
    ("failures", "retry_after", "chance", "seconds"),
    [
        (1, None, 0, 15),
        (1, None, 1, 30),
        (3, None, 0, 60),
        (3, None, 1, 120),
        (1000, None, 0, 150),
        (1000, None, 1, 300),
        (1, 0, 0, 15),
        (1, 0, 1, 16),
        (1, 90, 0, 90),
        (1, 90, 1, 91),
        (1000, 2, 0, 15),
        (1, 86400, 0, 86400),
    ],
)
def test_throttling_is_answered_as_told_or_by_doubling(
    failures: int, retry_after: int | None, chance: float, seconds: float
) -> None:
    told = None if retry_after is None else retry_after * _SECOND
    wait = after_throttling(_DEFAULT, failures=failures, retry_after=told, chance=chance)
    assert wait == seconds * _SECOND


@given(_PACES, _FAILURES, st.none() | _RETRY_AFTER, _CHANCES)
def test_after_a_failure_the_next_poll_is_neither_hasty_nor_late(
    pace: Pace, failures: int, retry_after: timedelta | None, chance: float
) -> None:
    longest = min(4 * pace.poll_every, _FIVE_MINUTES)
    wait = after_failure(pace, failures=failures, retry_after=retry_after, chance=chance)
    assert min(pace.poll_every, longest) <= wait <= longest
    assert wait >= min(retry_after or wait, longest)


@given(_PACES, _FAILURES, _CHANCES)
def test_more_failures_in_a_row_never_shorten_the_wait(pace: Pace, failures: int, chance: float) -> None:
    for after in (after_failure, after_throttling):
        wait = after(pace, failures=failures, retry_after=None, chance=chance)
        assert after(pace, failures=failures + 1, retry_after=None, chance=chance) >= wait


@given(_PACES, _FAILURES, _RETRY_AFTER, _CHANCES)
def test_the_retry_after_of_throttling_is_honoured_in_full(
    pace: Pace, failures: int, retry_after: timedelta, chance: float
) -> None:
    wait = after_throttling(pace, failures=failures, retry_after=retry_after, chance=chance)
    assert max(retry_after, pace.poll_every) <= wait <= max(retry_after, pace.poll_every) + _SECOND


@given(_PACES, _FAILURES, _CHANCES)
def test_throttling_without_retry_after_never_lasts_over_five_minutes(
    pace: Pace, failures: int, chance: float
) -> None:
    wait = after_throttling(pace, failures=failures, retry_after=None, chance=chance)
    assert min(pace.poll_every, _FIVE_MINUTES) <= wait <= _FIVE_MINUTES
