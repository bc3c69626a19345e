"""Quiet hours of a target: when they are, and what is held in them. Pure."""

import difflib
import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import count, takewhile
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from notifier.fields import EventGlob, Section, wrong
from notifier.glob import matches

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHOLE_DAY = timedelta(days=1)
_NONE = timedelta(0)


def _time_of_day(value: Any) -> Any:
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2})", value) if isinstance(value, str) else None
    if match is None:
        raise wrong('must be a time of day in quotes, like "22:00"')
    since_midnight = timedelta(hours=int(match[1]), minutes=int(match[2]))
    if int(match[2]) > 59 or since_midnight > _WHOLE_DAY:
        raise wrong('must be from "00:00" to "24:00"')
    return since_midnight


def _before_midnight(value: timedelta) -> timedelta:
    if value == _WHOLE_DAY:
        raise wrong('must be before "24:00"; write "00:00" of the next day')
    return value


def _day(value: Any) -> Any:
    if not isinstance(value, str) or value.casefold() not in DAYS:
        raise wrong(f"must be one of {', '.join(DAYS)}, in quotes")
    return value.casefold()


def _zone(name: str) -> tzinfo:
    """Return a time zone. Raises KeyError, ValueError or OSError when there is none of this name."""
    return UTC if name == "UTC" else ZoneInfo(name)  # UTC needs no time zone database


def _known_zone(name: str) -> str:
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):  # the last of a directory, such as "Europe"
        known = {each.casefold(): each for each in sorted(available_timezones())}
        if not known:
            raise wrong("is not known: there is no time zone database here; install tzdata") from None
        raise wrong(f"is no time zone{_near(name.casefold().replace(' ', '_'), known)}") from None
    return name


def _near(name: str, known: dict[str, str]) -> str:
    cities = [each for each in known if each.endswith(f"/{name}")]
    # Only names with a city in them: "CEST" means no zone that is near it by its letters.
    near = cities or difflib.get_close_matches(name, [each for each in known if "/" in each], n=1)
    return f'; did you mean "{known[near[0]]}"?' if near else '; one is "Europe/Berlin"'


_TO = r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"
_FROM = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_TimeOfDay = Annotated[timedelta, BeforeValidator(_time_of_day)]
_DAY_PATTERN = "|".join("".join(f"[{letter.upper()}{letter}]" for letter in day) for day in DAYS)
_DAY_SCHEMA: dict[str, Any] = {"type": "string", "title": "day", "pattern": f"^({_DAY_PATTERN})$"}
_Day = Annotated[str, BeforeValidator(_day), WithJsonSchema({"anyOf": [{"enum": [*DAYS]}, _DAY_SCHEMA]})]


class QuietSettings(Section):
    """Quiet hours: what happens in them is held, and goes to the target at their end."""

    begins: Annotated[
        _TimeOfDay,
        AfterValidator(_before_midnight),
        WithJsonSchema({"type": "string", "title": "time of day", "pattern": _FROM}),
    ] = Field(alias="from")
    """When they begin, such as "22:00"."""
    ends: Annotated[
        _TimeOfDay, WithJsonSchema({"type": "string", "title": "time of day", "pattern": _TO})
    ] = Field(alias="to")
    """When they end, such as "07:00" (of the next day when that is not after `from`); "24:00" at most."""
    timezone: Annotated[
        str,
        AfterValidator(_known_zone),
        WithJsonSchema({"type": "string", "title": "time zone", "minLength": 1}),
    ] = "UTC"
    """The time zone of these times, such as "Europe/Berlin"; its changes of the clock are followed."""
    days: Annotated[list[_Day], Field(min_length=1)] = Field(default_factory=lambda: [*DAYS])
    """On which days they begin: "mon", "tue", "wed", "thu", "fri", "sat", "sun"."""
    excepted: list[EventGlob] = Field(alias="except", default_factory=list)
    """The types of events (globs) that go at once all the same, after earlier held ones of their job."""

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.begins == self.ends:
            raise wrong('begins and ends at the same time; for whole days write from "00:00" to "24:00"')
        if self.ends - self.begins == _WHOLE_DAY and set(self.days) == set(DAYS):
            raise wrong("never ends; name the days that are quiet")
        return self

    @property
    def shown(self) -> str:
        """When they are and what is excepted."""
        days = [day for day in DAYS if day in self.days]
        on = "" if len(days) == len(DAYS) else f", beginning on {', '.join(days)}"
        but = f", except for {', '.join(self.excepted)}" if self.excepted else ""
        return f"quiet from {_spell(self.begins)} to {_spell(self.ends)} {self.timezone}{on}{but}"

    def spell(self, at: datetime) -> str:
        """Return a time as people there read it, such as `Mon 07:00 Europe/Berlin`."""
        local = at.astimezone(_zone(self.timezone))
        return f"{DAYS[local.weekday()].title()} {local:%H:%M} {self.timezone}"


def _spell(since_midnight: timedelta) -> str:
    minutes = since_midnight // timedelta(minutes=1)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def quiet_until(quiet: QuietSettings, now: datetime) -> datetime | None:
    """Return when the quiet time ends that now is in, those that follow without a gap included."""
    begin, end = next(each for each in _quiet_times(quiet, now) if each[1] > now)
    return end if begin <= now else None


def quiet_within(quiet: QuietSettings, since: datetime, until: datetime) -> timedelta:
    """Return how much of a time was quiet."""
    times = takewhile(lambda each: each[0] < until, _quiet_times(quiet, since))
    return sum((max(_NONE, min(end, until) - max(begin, since)) for begin, end in times), _NONE)


def is_excepted(quiet: QuietSettings, type_: str) -> bool:
    """Return whether events of a type go at once also when it is quiet."""
    return any(matches(glob, type_) for glob in quiet.excepted)


def _quiet_times(quiet: QuietSettings, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield beginning and end of all quiet times but those over before `since`; such as touch are one."""
    zone = _zone(quiet.timezone)
    # A night lasts into the next day, and a zone has once skipped a day.
    first = since.astimezone(zone).date() - 3 * _WHOLE_DAY
    days = (first + timedelta(days=number) for number in count())
    nights = (_night(quiet, day, zone) for day in days if DAYS[day.weekday()] in quiet.days)
    begin, end = next(nights)
    for next_begin, next_end in nights:
        if next_begin > end:
            yield begin, end
            begin = next_begin
        end = next_end


def _night(quiet: QuietSettings, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    midnight = datetime.combine(day, time())
    ends = quiet.ends if quiet.ends > quiet.begins else quiet.ends + _WHOLE_DAY
    return _instant(midnight + quiet.begins, zone, fold=0), _instant(midnight + ends, zone, fold=1)


def _instant(wall: datetime, zone: tzinfo, *, fold: int) -> datetime:
    """Return when clocks there show a time: of two instants the first (fold 0) or the last (fold 1).

    A time that they pass over, in spring, is the instant at which they are put forward.
    """
    at = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wall:
        return at
    # Of such a time the one reading lies before that instant, the other not (PEP 495).
    early, late = sorted(wall.replace(tzinfo=zone, fold=each).astimezone(UTC) for each in (0, 1))
    offset = late.astimezone(zone).utcoffset()

    def is_changed(seconds: int) -> bool:
        return (early + timedelta(seconds=seconds)).astimezone(zone).utcoffset() == offset

    seconds = range(int((late - early).total_seconds()))
    return early + timedelta(seconds=bisect_left(seconds, True, key=is_changed))
