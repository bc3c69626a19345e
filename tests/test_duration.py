from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.duration import format_duration, parse_duration, spell_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("15s", 15),
        ("2m", 120),
        ("1h30m", 5400),
        ("3d", 3 * 86400),
        ("0s", 0),
        ("1d2h3m4s5ms", 93784.005),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "15", "s", "1.5h", "-1s", "1s1m", "1 h", "1h ", "1S", "１s", "99999d", "1m1m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration|ten years"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_a_formatted_duration_reads_as_the_same(duration: timedelta) -> None:
    duration -= timedelta(microseconds=duration.microseconds % 1000)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "under 1s"),
        (0.9, "under 1s"),
        (59, "59s"),
        (61, "1m 1s"),
        (3600, "1h"),
        (11520, "3h 12m"),
        (90061, "1d 1h"),
    ],
)
def test_people_read_the_two_largest_units(seconds: float, words: str) -> None:
    assert spell_duration(timedelta(seconds=seconds)) == words
