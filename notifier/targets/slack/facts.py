"""What is known of a job, as lines and blocks of Slack messages: pure.

Limits: https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from notifier.duration import spell_duration
from notifier.element import Destination, Details
from notifier.payload import Progress
from notifier.summary import counted
from notifier.targets.slack.mrkdwn import code, code_block, escape, link, local_time, plain

Block = dict[str, Any]
Line = tuple[str, str]
"""What it is called, "" for what needs no name, and what it is, as mrkdwn; "" leaves the line out."""

SECTION_LENGTH = 2900
_URL = 600
_SHOWN_VALUES = 3
_SHOWN_DESTINATIONS = 5
_BAR_CELLS = 16
_CHUNKS = 100

_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


def sections(lines: Iterable[Line]) -> Iterator[Block]:
    """Yield what is to be shown, a line each, in as few blocks as their limit allows."""
    text = ""
    for label, value in lines:
        line = f"*{label}*  {value}\n" if label and value else f"{value}\n" if value else ""
        if len(text) + len(line) > SECTION_LENGTH:
            yield section(text)
            text = ""
        text += line
    if text:
        yield section(text)


def job_lines(details: Details) -> tuple[Line, ...]:
    """Return what a job is about: the same from its order to its end."""
    return (
        ("Table", code(details.table or "", 200)),
        ("Window", _window(details)),
        ("Filter", _filter(details)),
        ("To", ", ".join(_destinations(details.destinations))),
    )


def linked(label: str, job_id: str, job_link: str) -> str:
    """Return what a job is called, escaped already, leading to where the config says when it says so."""
    url = escape(job_link.replace("{job_id}", quote(job_id, safe="")))
    return link(url, label) if label and 0 < len(url) <= _URL else label


def _window(details: Details) -> str:
    start, end = (plain(_bound(bound), 60) for bound in (details.backfill_start, details.backfill_end))
    if not start and not end:
        return ""
    key = code(details.partition_key or "", 60)
    return f"{start or '…'} → {end or '…'}" + (f" by {key}" if key else "")


def _bound(bound: str | None) -> str:
    """Return a bound for people: `2024-01-01`, `2024-01-01 10:30:00`, `18,000,000`."""
    text = (bound or "")[:60]
    if text.isascii() and text.isdecimal():
        return f"{int(text):,}"
    if _TIME.match(text):
        day = text.removesuffix("Z").removesuffix("T00:00:00")
        return f"{day.replace('T', ' ')}{' UTC' if 'T' in day and text.endswith('Z') else ''}"
    return text


def _filter(details: Details) -> str:
    column = code(details.filter_column or "", 80)
    shown = ", ".join(filter(None, (code(value, 80) for value in details.filter_values[:_SHOWN_VALUES])))
    more = len(details.filter_values) - _SHOWN_VALUES
    values = f"{shown or '…'} and {more:,} more" if more > 0 else shown
    return f"{column} = {values}" if column and values else column or values


def _destinations(destinations: tuple[Destination, ...]) -> Iterator[str]:
    for each in destinations[:_SHOWN_DESTINATIONS]:
        if words := f"{plain(each.type or '', 30)} {code(each.name or '', 60)}".strip():
            yield words
    if (more := len(destinations) - _SHOWN_DESTINATIONS) > 0:
        yield f"and {more:,} more"


def bar(progress: Progress | None) -> str:
    """Return a bar, percent and chunks; "" when nobody knows how far the job is."""
    if progress is None or progress.percent is None:
        return ""
    filled = int(progress.percent / 100 * _BAR_CELLS)
    cells = "▰" * filled + "▱" * (_BAR_CELLS - filled)
    chunks = f"{progress.chunks_done:,} of {counted(progress.chunks_total or 0, 'chunk')}"
    return f"{cells}  {progress.percent:g} %" + (f", {chunks}" if len(chunks) <= _CHUNKS else "")


def pace(progress: Progress | None) -> str:
    """Return how fast a job is and when it will be done; "" when nobody knows."""
    if progress is None or progress.chunks_per_minute is None:
        return ""
    rate = progress.chunks_per_minute
    number = f"{rate:,.1f}".removesuffix(".0")
    words = f"{number} chunk{'' if number == '1' else 's'} a minute"
    if rate < 1:
        words = f"a chunk in {spell_duration(timedelta(minutes=1 / rate))}"
    if progress.eta is None:
        return words
    end = datetime.fromisoformat(progress.eta).replace(second=0, microsecond=0)
    return f"{words}, done about {local_time(end)}"


def ordered(details: Details, *, until: datetime, words: str) -> str:
    """Return when a job was ordered, and after these words, if any, how long it has been until a time."""
    if details.time_created is None:
        return ""
    took = until - details.time_created
    lasted = f"{words} {spell_duration(took)}" if words and took > timedelta(0) else ""
    return ", ".join(filter(None, (f"ordered {local_time(details.time_created)}", lasted)))


def error_block(error: str | None) -> Iterator[Block]:
    """Yield an error as a block, unless there is nothing to see in it."""
    if error and (block := code_block(error, SECTION_LENGTH)):
        yield section(block)


def foot(*parts: str) -> Block:
    """Return a small line at the end; parts that are "" are left out."""
    text = {"type": "mrkdwn", "text": " · ".join(filter(None, parts)), "verbatim": True}
    return {"type": "context", "elements": (text,)}


def section(text: str) -> Block:
    """Return a block of text, at most 3000 characters."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text.rstrip(), "verbatim": True}}
