"""HTML from the templates of this package: all that is foreign is escaped, and shown as one harmless text."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from notifier import __version__
from notifier.duration import spell_duration
from notifier.items import MuteItem
from notifier.model import is_active, rfc3339
from notifier.mute import spell_mute
from notifier.muting import LONGEST_REASON
from notifier.summary import counted, one_line

_LONGEST = 200
"""Characters of a name, a table or an id; more is cut."""
_MOST_LINES = 60
_LONGEST_SEGMENT = 4000
"""Servers read 8190 bytes of a request's first line."""
_KINDS = frozenset({"staging", "transporting", "completed", "failed", "cancelled", "stalled", "removed"})


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the HTML that a template makes of `context`, which holds the time as `now`."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("notifier.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    environment.globals["longest_reason"] = LONGEST_REASON
    environment.filters |= {
        "line": _line,
        "lines": _lines,
        "since": _since,
        "ago": _ago,
        "until": _until,
        "at": _at,
        "lasted": _lasted,
        "thousands": _thousands,
        "counted": counted,
        "segment": _segment,
        "moment": datetime.fromisoformat,
        "kind": _kind,
        "muted": _muted,
    }
    environment.tests |= {"active": is_active, "nameable": _is_nameable}
    return environment


def _line(text: str | None, length: int = _LONGEST) -> str:
    """Return a foreign text on one line, without what would reorder or hide characters."""
    return one_line(text or "", length)


def _lines(text: str | None, length: int = 6000) -> str:
    """Return a foreign text on its lines: not too many, none of them too long."""
    lines = (text or "")[:length].splitlines()
    shown = [_indented(line) for line in lines[:_MOST_LINES]]
    return "\n".join(shown + ["…"] * (len(lines) > _MOST_LINES or len(text or "") > length))


def _indented(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * min(indent, 40) + one_line(line, 1000)


@pass_context
def _since(context: Context, time: datetime) -> Markup:
    """Return how long ago it was, such as `4s`."""
    return _clock("since", time, spell_duration(context["now"] - time))


@pass_context
def _ago(context: Context, time: datetime) -> Markup:
    """Return how long ago it was, such as `4s ago`."""
    age = context["now"] - time
    return _clock("ago", time, "just now" if age < timedelta(seconds=1) else f"{spell_duration(age)} ago")


@pass_context
def _until(context: Context, time: datetime) -> Markup:
    """Return when it will be, such as `in 4s`."""
    left = time - context["now"]
    return _clock("until", time, "now" if left < timedelta(seconds=1) else f"in {spell_duration(left)}")


def _at(time: datetime) -> Markup:
    """Return the time itself."""
    return Markup('<time datetime="{}">{}</time>').format(
        rfc3339(time), f"{_utc(time):%Y-%m-%d %H:%M:%S} UTC"
    )


def _clock(kind: str, time: datetime, words: str) -> Markup:
    return Markup('<time datetime="{}" data-clock="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{}</time>').format(
        rfc3339(time), kind, _utc(time), words
    )


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _lasted(seconds: float) -> str:
    return spell_duration(timedelta(seconds=seconds))


def _thousands(number: float) -> str:
    """Return a number with its thousands apart, and two decimals at most."""
    return f"{number:,.2f}".rstrip("0").rstrip(".")


def _segment(text: str) -> str:
    """Return a text as one segment of a URL's path."""
    return quote(text, safe="")


def _is_nameable(job_id: str) -> bool:
    """Return whether a URL can name it: browsers take a dot or two for another folder."""
    return job_id not in ("", ".", "..") and len(_segment(job_id)) <= _LONGEST_SEGMENT


def _muted(mute: MuteItem) -> str:
    """Return which jobs a mute is about."""
    words = spell_mute(job_id=mute.job_id, table=mute.table, name=mute.name, source=mute.source)
    return one_line(words, _LONGEST)


def _kind(type_: str) -> str:
    """Return what an event is shown as: a status, `stalled`, `removed` or `other`."""
    word = type_.removeprefix("backfill.")
    return "transporting" if word in ("progress", "resumed") else word if word in _KINDS else "other"
