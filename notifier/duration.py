"""Durations as the config writes them and as people read them."""

import re
from datetime import timedelta

_PATTERN = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?")
_MILLISECONDS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_LONGEST = timedelta(days=3650)


def parse_duration(text: str) -> timedelta:
    """Return what `"500ms"`, `"15s"`, `"2m"`, `"1h30m"` or `"3d"` stands for.

    Raises ValueError when the text is not of that form or longer than ten years.
    """
    match = _PATTERN.fullmatch(text)
    if match is None or not text:
        raise ValueError('not a duration; write it like "15s", "2m", "1h30m" or "3d"')
    total = sum(int(n or 0) * unit for n, unit in zip(match.groups(), _MILLISECONDS, strict=True))
    if total > _LONGEST // timedelta(milliseconds=1):
        raise ValueError("longer than ten years")
    return timedelta(milliseconds=total)


def format_duration(duration: timedelta) -> str:
    """Return the text that `parse_duration` reads as this duration, to the millisecond."""
    left = duration // timedelta(milliseconds=1)
    parts = []
    for unit, name in zip(_MILLISECONDS, ("d", "h", "m", "s", "ms"), strict=True):
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def spell_duration(duration: timedelta) -> str:
    """Return a duration for people: its two largest units, such as `3h 12m`; `under 1s` when shorter."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds == 0:
        return "under 1s"
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)
