from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifier import quiet as module
from notifier.quiet import DAYS, QuietSettings, is_excepted, quiet_until, quiet_within

BERLIN, NEW_YORK, LORD_HOWE, APIA = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
HOUR = timedelta(hours=1)


def settings(begins: str, ends: str, zone: str = "UTC", **keys: Any) -> QuietSettings:
    return QuietSettings.model_validate({"from": begins, "to": ends, "timezone": zone} | keys)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def reason(**keys: Any) -> tuple[tuple[str | int, ...], str]:
    with pytest.raises(ValidationError) as raised:
        QuietSettings.model_validate({"from": "22:00", "to": "07:00"} | keys)
    [error] = raised.value.errors()
    return error["loc"], error["msg"]


# ------------------------------------------------------------------------------- what the config says


def test_times_are_in_utc_and_all_days_are_quiet_unless_said_otherwise() -> None:
    quiet = settings("22:00", "07:00")
    assert quiet.timezone == "UTC"
    assert quiet.days == list(DAYS)
    assert quiet.excepted == []
    assert quiet.shown == "quiet from 22:00 to 07:00 UTC"


def test_it_says_in_words_when_it_is_quiet_and_for_what_not() -> None:
    quiet = settings(
        "22:30", "24:00", BERLIN, days=["Sun", "MON"], **{"except": ["backfill.failed", "*.down"]}
    )
    assert quiet.shown == (
        "quiet from 22:30 to 24:00 Europe/Berlin, beginning on mon, sun, except for backfill.failed, *.down"
    )


def test_a_time_is_spelled_as_people_there_read_it() -> None:
    assert settings("22:00", "07:00", BERLIN).spell(utc("2026-07-05T22:30")) == "Mon 00:30 Europe/Berlin"
    assert settings("22:00", "07:00").spell(utc("2026-07-05T22:30")) == "Sun 22:30 UTC"


@pytest.mark.parametrize("key", ["from", "to"])
@pytest.mark.parametrize("value", ["7:00", "07:00:00", "0700", "", "٠٧:00", 7, None])
def test_a_time_of_day_is_hours_and_minutes_in_quotes(key: str, value: Any) -> None:
    assert reason(**{key: value}) == ((key,), 'must be a time of day in quotes, like "22:00"')


@pytest.mark.parametrize("value", ["24:01", "25:00", "12:60"])
def test_a_time_of_day_is_one_that_there_is(value: str) -> None:
    assert reason(to=value) == (("to",), 'must be from "00:00" to "24:00"')


def test_midnight_begins_a_day_and_may_end_one() -> None:
    assert reason(**{"from": "24:00"}) == (
        ("from",),
        'must be before "24:00"; write "00:00" of the next day',
    )
    now, midnight = utc("2026-01-05T23:59"), utc("2026-01-06")
    assert quiet_until(settings("22:00", "24:00"), now) == midnight
    assert quiet_until(settings("22:00", "00:00"), now) == midnight


@pytest.mark.parametrize("at", ["22:00", "00:00"])
def test_what_begins_and_ends_at_the_same_time_is_an_error_that_says_how_whole_days_are_written(
    at: str,
) -> None:
    said = 'begins and ends at the same time; for whole days write from "00:00" to "24:00"'
    assert reason(**{"from": at, "to": at}) == ((), said)


def test_quiet_hours_that_never_end_are_an_error() -> None:
    whole = {"from": "00:00", "to": "24:00"}
    assert reason(**whole) == ((), "never ends; name the days that are quiet")
    assert settings("00:00", "24:00", days=["sat", "sun"]).days == ["sat", "sun"]


@pytest.mark.parametrize("day", ["monday", "", 1])
def test_a_day_is_one_of_seven(day: Any) -> None:
    where, said = reason(days=[day])
    assert (where, said) == (("days", 0), "must be one of mon, tue, wed, thu, fri, sat, sun, in quotes")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", '; did you mean "Europe/Berlin"?'),
        ("berlin", '; did you mean "Europe/Berlin"?'),
        ("New York", '; did you mean "America/New_York"?'),
        ("Europe", "; did you mean"),
        ("qqqqq", '; one is "Europe/Berlin"'),
        ("../etc/passwd", '; one is "Europe/Berlin"'),
        ("", '; one is "Europe/Berlin"'),
        ("a\0b", '; one is "Europe/Berlin"'),
    ],
)
def test_a_time_zone_is_one_that_is_known(name: str, hint: str) -> None:
    where, said = reason(timezone=name)
    assert where == ("timezone",)
    assert said.startswith("is no time zone" + hint)


def test_without_a_time_zone_database_there_is_utc_and_an_error_that_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(module, "ZoneInfo", none)
    monkeypatch.setattr(module, "available_timezones", set)
    said = "is not known: there is no time zone database here; install tzdata"
    assert reason(timezone=BERLIN) == (("timezone",), said)
    assert quiet_until(settings("22:00", "07:00"), utc("2026-01-05T23:00")) == utc("2026-01-06T07:00")


def test_globs_name_what_is_excepted_and_case_is_the_same() -> None:
    quiet = settings("22:00", "07:00", "UTC", **{"except": ["backfill.failed", "Target.*"]})
    assert is_excepted(quiet, "backfill.failed")
    assert is_excepted(quiet, "target.down")
    assert not is_excepted(quiet, "backfill.completed")
    assert not is_excepted(settings("22:00", "07:00"), "backfill.failed")


# ---------------------------------------------------------------------------------- when it is quiet


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        pytest.param(settings("22:00", "07:00"), "2026-01-05T21:59:59.999999", None, id="before"),
        pytest.param(settings("22:00", "07:00"), "2026-01-05T22:00", "2026-01-06T07:00", id="at the first"),
        pytest.param(settings("22:00", "07:00"), "2026-01-06T06:59:59", "2026-01-06T07:00", id="to the last"),
        pytest.param(settings("22:00", "07:00"), "2026-01-06T07:00", None, id="at the end"),
        pytest.param(settings("12:00", "13:30"), "2026-01-06T12:30", "2026-01-06T13:30", id="within a day"),
        pytest.param(settings("07:00", "22:00", days=["mon"]), "2026-01-06T12:00", None, id="another day"),
        pytest.param(
            settings("22:00", "07:00", days=["mon"]), "2026-01-06T06:00", "2026-01-06T07:00", id="begun on it"
        ),
        pytest.param(settings("22:00", "07:00", days=["mon"]), "2026-01-05T06:00", None, id="begun before"),
        pytest.param(
            settings("00:00", "24:00", days=["sat", "sun"]),
            "2026-01-10T12:00",
            "2026-01-12T00:00",
            id="whole days that follow each other are one",
        ),
        pytest.param(
            settings("00:00", "24:00", days=["mon", "tue", "wed", "thu", "fri", "sat"]),
            "2026-01-05T00:00",
            "2026-01-11T00:00",
            id="all days but one",
        ),
        pytest.param(
            settings("22:00", "07:00", "Asia/Kolkata"), "2026-01-05T16:30", "2026-01-06T01:30", id="elsewhere"
        ),
        # Berlin: at 01:00 UTC from 02:00 to 03:00 on 2026-03-29, from 03:00 to 02:00 on 2026-10-25.
        pytest.param(
            settings("22:00", "07:00", BERLIN), "2026-03-28T21:00", "2026-03-29T05:00", id="short night"
        ),
        pytest.param(
            settings("22:00", "07:00", BERLIN), "2026-10-24T20:00", "2026-10-25T06:00", id="long night"
        ),
        pytest.param(settings("02:30", "07:00", BERLIN), "2026-03-29T00:59:59", None, id="before the gap"),
        pytest.param(
            settings("02:30", "07:00", BERLIN), "2026-03-29T01:00", "2026-03-29T05:00", id="from in the gap"
        ),
        pytest.param(
            settings("22:00", "02:30", BERLIN), "2026-03-29T00:59", "2026-03-29T01:00", id="to in the gap"
        ),
        pytest.param(settings("22:00", "02:30", BERLIN), "2026-03-29T01:00", None, id="after the gap"),
        pytest.param(settings("02:15", "02:45", BERLIN), "2026-03-29T01:00", None, id="both in the gap"),
        pytest.param(
            settings("02:30", "04:00", BERLIN), "2026-10-25T00:30", "2026-10-25T03:00", id="first from"
        ),
        pytest.param(settings("02:30", "04:00", BERLIN), "2026-10-25T00:29", None, id="before the first"),
        pytest.param(
            settings("22:00", "02:30", BERLIN), "2026-10-25T00:45", "2026-10-25T01:30", id="last to"
        ),
        pytest.param(
            settings("02:15", "02:45", BERLIN), "2026-10-25T00:50", "2026-10-25T01:45", id="both doubled"
        ),
        pytest.param(
            settings("02:45", "02:15", BERLIN, days=["sat", "sun"]),
            "2026-10-24T12:00",
            "2026-10-26T01:15",
            id="one night reaches into the next",
        ),
        # New York: at 07:00 UTC from 02:00 to 03:00 on 2026-03-08, at 06:00 UTC from 02:00 to 01:00 on 2026-11-01.
        pytest.param(
            settings("02:15", "05:00", NEW_YORK), "2026-03-08T07:00", "2026-03-08T09:00", id="NY gap"
        ),
        pytest.param(settings("02:15", "05:00", NEW_YORK), "2026-03-08T06:59:59", None, id="NY before"),
        pytest.param(
            settings("20:00", "01:30", NEW_YORK), "2026-11-01T05:45", "2026-11-01T06:30", id="NY doubled"
        ),
        # Lord Howe: half an hour, at 15:00 UTC from 02:00 to 01:30 on 2026-04-05, at 15:30 UTC to 02:30 on 2026-10-04.
        pytest.param(
            settings("22:00", "01:45", LORD_HOWE), "2026-04-04T14:50", "2026-04-04T15:15", id="half doubled"
        ),
        pytest.param(
            settings("01:45", "06:00", LORD_HOWE), "2026-04-04T14:45", "2026-04-04T19:30", id="half from"
        ),
        pytest.param(
            settings("02:10", "06:00", LORD_HOWE), "2026-10-03T15:30", "2026-10-03T19:00", id="half gap"
        ),
        pytest.param(settings("02:10", "06:00", LORD_HOWE), "2026-10-03T15:29:59", None, id="half before"),
        # Apia had no 2011-12-30: at 10:00 UTC on that day the 31st began.
        pytest.param(
            settings("22:00", "07:00", APIA), "2011-12-30T08:00", "2011-12-30T17:00", id="a day is skipped"
        ),
        pytest.param(
            settings("12:00", "13:00", APIA, days=["fri"]), "2011-12-30T10:00", None, id="it is no day"
        ),
    ],
)
def test_it_is_quiet_until_the_end_of_the_quiet_time_that_now_is_in(
    quiet: QuietSettings, now: str, until: str | None
) -> None:
    assert quiet_until(quiet, utc(now)) == (None if until is None else utc(until))


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        (BERLIN, "2026-01-10T12:00", 9),
        (BERLIN, "2026-03-28T12:00", 8),
        (BERLIN, "2026-10-24T12:00", 10),
        (NEW_YORK, "2026-03-07T18:00", 8),
        (NEW_YORK, "2026-10-31T18:00", 10),
        (LORD_HOWE, "2026-10-03T01:00", 8.5),
        (LORD_HOWE, "2026-04-04T01:00", 9.5),
        (APIA, "2011-12-29T22:00", 9),
    ],
)
def test_a_night_is_as_long_as_it_is_when_the_clock_is_changed(zone: str, noon: str, hours: float) -> None:
    quiet = settings("22:00", "07:00", zone)
    assert quiet_within(quiet, utc(noon), utc(noon) + 24 * HOUR) == hours * HOUR


def test_what_touches_is_counted_once() -> None:
    quiet = settings("02:45", "02:15", BERLIN)
    assert quiet_within(quiet, utc("2026-10-24T12:00"), utc("2026-10-25T12:00")) == 24 * HOUR
    assert quiet_within(quiet, utc("2026-10-26T00:00"), utc("2026-10-27T00:00")) == (23.5 * HOUR)


def test_no_time_has_no_quiet_in_it() -> None:
    quiet, now = settings("22:00", "07:00"), utc("2026-01-05T23:00")
    assert quiet_within(quiet, now, now) == timedelta(0)
    assert quiet_within(quiet, now, now - HOUR) == timedelta(0), "a clock was set back"


_MINUTES = st.integers(0, 24 * 60 - 1).map(lambda each: f"{each // 60:02}:{each % 60:02}")
_ZONES = st.sampled_from(
    ["UTC", BERLIN, NEW_YORK, LORD_HOWE, "Asia/Kolkata", "Pacific/Kiritimati", "America/St_Johns", APIA]
)
_SOME_DAYS = st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True)
_TIMES = st.datetimes(datetime(2005, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Mostly the days around a change of the clock: everywhere else nights are alike.
_NEAR_CHANGES = st.builds(
    lambda day, seconds: utc(day) + timedelta(seconds=seconds),
    st.sampled_from(
        ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04", "2011-12-30"]
    ),
    st.integers(-172_800, 172_800),
)
_NOWS = _NEAR_CHANGES | _TIMES


@st.composite
def _quiets(draw: st.DrawFn, zones: st.SearchStrategy[str] = _ZONES) -> QuietSettings:
    begins, ends = draw(_MINUTES), draw(_MINUTES | st.just("24:00"))
    days = draw(_SOME_DAYS)
    assume(begins != ends)
    assume((begins, ends) != ("00:00", "24:00") or len(days) < 7)
    return settings(begins, ends, draw(zones), days=days)


@given(_quiets(), _NOWS)
def test_a_quiet_time_ends_later_and_then_it_is_not_quiet(quiet: QuietSettings, now: datetime) -> None:
    until = quiet_until(quiet, now)
    if until is not None:
        assert now < until <= now + timedelta(days=7)
        assert quiet_until(quiet, until) is None
        assert quiet_until(quiet, until - timedelta(microseconds=1)) == until


@given(_quiets(), _NOWS, st.timedeltas(timedelta(0), timedelta(days=9)), st.floats(0, 1))
def test_what_is_quiet_of_a_time_is_what_is_quiet_of_its_parts(
    quiet: QuietSettings, since: datetime, length: timedelta, share: float
) -> None:
    middle, until = since + length * share, since + length
    whole = quiet_within(quiet, since, until)
    assert timedelta(0) <= whole <= length
    assert whole == quiet_within(quiet, since, middle) + quiet_within(quiet, middle, until)


@given(_quiets(), _NOWS)
def test_all_is_quiet_until_the_end_and_nothing_where_it_is_not(quiet: QuietSettings, now: datetime) -> None:
    until = quiet_until(quiet, now)
    if until is None:
        assert quiet_within(quiet, now, now + timedelta(microseconds=1)) == timedelta(0)
    else:
        assert quiet_within(quiet, now, until + timedelta(microseconds=1)) == until - now


@given(_quiets(st.sampled_from(["UTC", "Asia/Kolkata", "Pacific/Kiritimati"])), _NOWS)
def test_where_the_clock_is_never_changed_it_tells_whether_it_is_quiet(
    quiet: QuietSettings, now: datetime
) -> None:
    local = now.astimezone(ZoneInfo(quiet.timezone))
    since_midnight = timedelta(
        hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond
    )
    today, yesterday = DAYS[local.weekday()] in quiet.days, DAYS[local.weekday() - 1] in quiet.days
    if quiet.begins < quiet.ends:
        expected = today and quiet.begins <= since_midnight < quiet.ends
    else:
        expected = (today and quiet.begins <= since_midnight) or (yesterday and since_midnight < quiet.ends)
    assert (quiet_until(quiet, now) is not None) == expected


@given(_quiets(), _NEAR_CHANGES)
def test_it_becomes_quiet_and_ends_only_when_clocks_show_it_or_are_changed(
    quiet: QuietSettings, now: datetime
) -> None:
    until = quiet_until(quiet, now)
    if until is None:
        return
    zone = ZoneInfo(quiet.timezone)
    before = (until - timedelta(microseconds=1)).astimezone(zone)
    after = until.astimezone(zone)
    shown = timedelta(hours=after.hour, minutes=after.minute)
    assert shown == quiet.ends % timedelta(days=1) or before.utcoffset() != after.utcoffset()
