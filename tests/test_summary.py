from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.element import Details
from notifier.summary import (
    one_line,
    percent_done,
    say_failed_still,
    say_listed_again,
    say_progress,
    say_removed,
    say_resumed,
    say_stall,
    summarize,
    whole_percent_done,
)

_CREATED = datetime(2026, 1, 31, 10, tzinfo=UTC)
_SEEN = _CREATED + timedelta(hours=1)
_NOW = _CREATED + timedelta(hours=3, minutes=12)


def _summary(
    status: str,
    previous_status: str | None = None,
    *,
    job_id: str = "f47ac10b",
    details: Details | None = None,
    now: datetime = _NOW,
) -> str:
    return summarize(
        job_id=job_id,
        status=status,
        previous_status=previous_status,
        details=details or Details(),
        first_seen=_SEEN,
        now=now,
    )


_FULL = Details(
    job_name="USDC transfers",
    num_chunks=1000,
    chunks_left=423,
    error_message="Connection to\nkafka:9092   lost",
    time_created=_CREATED,
)


@pytest.mark.parametrize(
    ("status", "previous_status", "summary"),
    [
        ("staging", None, "USDC transfers is staging"),
        ("staging", "transporting", "USDC transfers is staging"),
        ("staging", "failed", "USDC transfers is staging again"),
        ("transporting", "staging", "USDC transfers is transporting (1000 chunks)"),
        ("transporting", "paused", "USDC transfers is transporting (1000 chunks)"),
        ("transporting", "cancelled", "USDC transfers is transporting again (1000 chunks)"),
        ("completed", "transporting", "USDC transfers completed in 3h 12m (1000 chunks)"),
        ("completed", None, "USDC transfers completed in 3h 12m (1000 chunks)"),
        (
            "failed",
            "transporting",
            "USDC transfers failed after 3h 12m at 57.7 %: Connection to kafka:9092 lost",
        ),
        ("cancelled", "transporting", "USDC transfers was cancelled after 3h 12m at 57.7 %"),
        ("paused", "transporting", "USDC transfers is now paused"),
        ("on\nhold ", None, "USDC transfers is now on hold"),
        ("", "staging", "USDC transfers is now of an empty status"),
        (" ", "staging", "USDC transfers is now of an empty status"),
    ],
)
def test_a_summary_says_what_happened_to_which_job(
    status: str, previous_status: str | None, summary: str
) -> None:
    assert _summary(status, previous_status, details=_FULL) == summary


@pytest.mark.parametrize(
    ("status", "summary"),
    [
        ("staging", "job f47ac10b is staging"),
        ("transporting", "job f47ac10b is transporting"),
        ("completed", "job f47ac10b completed in 2h 12m"),
        ("failed", "job f47ac10b failed after 2h 12m"),
        ("cancelled", "job f47ac10b was cancelled after 2h 12m"),
        ("paused", "job f47ac10b is now paused"),
    ],
)
def test_a_summary_needs_no_more_than_id_and_status(status: str, summary: str) -> None:
    assert _summary(status) == summary


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (Details(time_created=_CREATED, time_completed=_CREATED + timedelta(hours=2)), "completed in 2h"),
        (Details(time_created=_CREATED), "completed in 3h 12m"),
        (Details(time_completed=_SEEN + timedelta(minutes=5)), "completed in 5m"),
        (Details(time_completed=_SEEN - timedelta(minutes=5)), "completed in under 1s"),
        (Details(time_created=_NOW + timedelta(days=1)), "completed in under 1s"),
        (Details(num_chunks=1), "completed in 2h 12m (1 chunk)"),
        (Details(num_chunks=0), "completed in 2h 12m (0 chunks)"),
    ],
)
def test_a_completed_job_took_the_time_between_what_is_known(details: Details, words: str) -> None:
    assert _summary("completed", details=details) == f"job f47ac10b {words}"


@pytest.mark.parametrize("job_name", ["\u202e\n", "\x00", "\u200b \ufeff"])
def test_a_name_of_nothing_visible_is_no_name(job_name: str) -> None:
    assert _summary("staging", details=Details(job_name=job_name)) == "job f47ac10b is staging"


def test_names_and_errors_of_any_length_make_a_short_line() -> None:
    details = Details(job_name="n" * 10_000, error_message="e" * 10_000, num_chunks=4, chunks_left=1)
    name, _, rest = _summary("failed", details=details).partition(" ")
    assert name == "n" * 149 + "…"
    assert rest == "failed after 2h 12m at 75 %: " + "e" * 299 + "…"
    assert len(_summary("s" * 10_000, job_id="j" * 10_000)) < 400


@pytest.mark.parametrize(
    ("total", "left", "percent"),
    [
        (1000, 1000, 0.0),
        (1000, 423, 57.7),
        (1000, 0, 100.0),
        (3, 2, 33.3),
        (100_000, 1, 99.9),
        (2000, 1, 99.9),
        (1, 0, 100.0),
        (10, 25, 0.0),
        (0, 0, None),
        (0, 5, None),
        (None, 5, None),
        (5, None, None),
        (None, None, None),
        (10**400, 5 * 10**399, 50.0),
    ],
)
def test_the_share_of_delivered_chunks_is_told_when_it_is_known(
    total: int | None, left: int | None, percent: float | None
) -> None:
    assert percent_done(Details(num_chunks=total, chunks_left=left)) == percent


@given(st.integers(1), st.integers(0))
def test_a_hundred_percent_means_that_nothing_is_left(total: int, left: int) -> None:
    percent = percent_done(Details(num_chunks=total, chunks_left=left))
    assert percent is not None
    assert 0 <= percent <= 100
    assert (percent == 100) == (left == 0)


@pytest.mark.parametrize(
    ("text", "length", "line"),
    [
        ("as it is", 8, "as it is"),
        ("", 5, ""),
        ("  two\r\n\tlines  ", 50, "two lines"),
        ("a\x1b[31mred\x00", 50, "a [31mred"),
        ("no-break\u00a0space", 50, "no-break space"),
        ("right\u202eleft", 50, "right left"),
        ("lone \ud800.", 50, "lone ."),
        ("123456", 5, "1234…"),
        ("123 56", 5, "123…"),
        ("😀😀😀", 2, "😀…"),
    ],
)
def test_one_line_holds_what_can_be_printed(text: str, length: int, line: str) -> None:
    assert one_line(text, length) == line


@given(st.text(st.characters()), st.integers(1, 40))
def test_one_line_is_one_line_and_not_too_long(text: str, length: int) -> None:
    line = one_line(text, length)
    assert len(line) <= length
    assert line.isprintable()
    assert line == line.strip()
    assert one_line(line, length) == line


_BARE = Details()
_LASTED = timedelta(minutes=45)


def _stall(status: str, details: Details, *, again: bool = False) -> str:
    return say_stall(details, "j", status=status, lasted=_LASTED, again=again)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (say_progress(_FULL, "j"), "USDC transfers is at 57.7 % (577 of 1000 chunks)"),
        (_stall("transporting", _FULL), "USDC transfers has not moved for 45m at 57.7 %"),
        (_stall("transporting", _FULL, again=True), "USDC transfers still has not moved for 45m at 57.7 %"),
        (_stall("transporting", _BARE), "job j has not moved for 45m"),
        (_stall("paused", _BARE), "job j has not moved for 45m"),
        (_stall("staging", _FULL), "USDC transfers has been staging for 45m"),
        (_stall("staging", _BARE, again=True), "job j still has been staging for 45m"),
        (
            say_failed_still(_FULL, "j", lasted=_LASTED),
            "USDC transfers failed 45m ago and is still failed: Connection to kafka:9092 lost",
        ),
        (say_failed_still(_BARE, "j", lasted=_LASTED), "job j failed 45m ago and is still failed"),
        (say_resumed(_FULL, "j", lasted=_LASTED), "USDC transfers moves again after 45m at 57.7 %"),
        (say_resumed(_FULL, "j"), "USDC transfers moves again at 57.7 %"),
        (say_resumed(_BARE, "j"), "job j moves again"),
        (
            say_removed(_FULL, "j", status="transporting"),
            "USDC transfers is no longer listed; it was transporting at 57.7 %",
        ),
        (say_removed(_BARE, "j", status="on\nhold"), "job j is no longer listed; it was on hold"),
        (say_removed(_BARE, "j", status=""), "job j is no longer listed; it was of an empty status"),
        (
            say_listed_again(_FULL, "j", status="transporting"),
            "USDC transfers is listed again: transporting at 57.7 %",
        ),
        (say_listed_again(_BARE, "j", status=" "), "job j is listed again: of an empty status"),
    ],
)
def test_a_summary_says_what_is_told_beside_the_status(said: str, line: str) -> None:
    assert said == line


@pytest.mark.parametrize(
    ("total", "left", "percent"),
    [
        (1000, 1000, 0),
        (1000, 751, 24),
        (1000, 750, 25),
        (100_000, 75_001, 24),
        (100_000, 1, 99),
        (1, 0, 100),
        (10, 25, 0),
        (0, 0, None),
        (None, 5, None),
        (5, None, None),
        (10**400, 5 * 10**399, 50),
    ],
)
def test_a_share_in_whole_percent_is_never_more_than_was_delivered(
    total: int | None, left: int | None, percent: int | None
) -> None:
    assert whole_percent_done(Details(num_chunks=total, chunks_left=left)) == percent
