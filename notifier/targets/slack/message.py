"""An event as a Slack message that a person likes to read: pure.

The first line says what happened; under it, beside a bar in the colour of the status, stands what the
job is. Limits: https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from notifier.duration import spell_duration
from notifier.element import Destination, Details, read_details
from notifier.glob import matches
from notifier.model import is_active
from notifier.payload import MARK, Payload
from notifier.summary import headline, one_line
from notifier.targets.slack.look import look_of
from notifier.targets.slack.mrkdwn import code, code_block, escape, link, local_time, plain

Block = dict[str, Any]

_SECTION = 2900
_TEXT = 4000
_URL = 600
_MENTION = 500
_SHOWN_VALUES = 3
_SHOWN_DESTINATIONS = 5
_BAR_CELLS = 16
_CHUNKS = 100

_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as Slack's API takes it, but for where it goes."""

    text: str
    """What notifications, screen readers and receivers without blocks show."""
    blocks: tuple[Block, ...] = ()
    attachments: tuple[Block, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """Return it as the arguments of a post; links in it are not unfolded."""
        parts = {"text": self.text, "attachments": self.attachments, "blocks": self.blocks}
        return {k: v for k, v in parts.items() if v} | {"unfurl_links": False, "unfurl_media": False}


def render(payload: Payload, *, job_link: str, mention: str) -> Message:
    """Return the message for an event. `mention` is the config's and stands as it is; the rest is foreign."""
    look = look_of(payload.type)
    data = payload.data
    details = Details() if data.job_id is None else read_details(data.job)
    head, tail = f"{look.emoji} {MARK if data.test else ''}", f" {mention}" if mention else ""
    summary = plain(_summary(payload), 600)
    body = (*_facts(payload, details), *_errors(payload, details), _foot(payload))
    return Message(
        text=f"{head}{summary}{tail}",
        blocks=(section(f"{head}{_title(payload, details, job_link)}{tail}"),),
        attachments=({"color": look.colour, "fallback": summary, "blocks": body},),
    )


def as_plain_text(message: Message) -> Message:
    """Return the message without any block: what is left to try when Slack refuses them."""
    text = message.text
    for block in (block for attachment in message.attachments for block in attachment["blocks"]):
        more = f"\n{block['text']['text']}" if block["type"] == "section" else ""
        text += more if len(text) + len(more) <= _TEXT else ""
    return Message(text=text)


def mention_for(type_: str, mentions: Mapping[str, str]) -> str:
    """Return whom an event of this type mentions: all whose glob matches, each once."""
    mention = ""
    for text in dict.fromkeys(text for glob, text in mentions.items() if matches(glob, type_)):
        longer = f"{mention} {text}".strip()
        mention = longer if len(longer) <= _MENTION else mention  # cut in the middle it would mean nobody
    return mention


def _summary(payload: Payload) -> str:
    """Return the summary without the mark of a sample, which stands before it; a job may be called so too."""
    return payload.data.summary.removeprefix(MARK) if payload.data.test else payload.data.summary


def _title(payload: Payload, details: Details, job_link: str) -> str:
    data = payload.data
    if data.job_id is None:
        return f"*{plain(_summary(payload), 400)}*"
    name, words = headline(_summary(payload), details, data.job_id)
    label = linked(plain(name, 150), data.job_id, job_link)
    return f"*{label}* {plain(words, 200)}" if label else f"*{plain(words, 200)}*"


def linked(label: str, job_id: str, job_link: str) -> str:
    """Return what a job is called, escaped already, leading to where the config says when it says so."""
    url = escape(job_link.replace("{job_id}", quote(job_id, safe="")))
    return link(url, label) if label and 0 < len(url) <= _URL else label


def _facts(payload: Payload, details: Details) -> Iterator[Block]:
    """Yield what is known of the job, a line each, in as few sections as their limit allows."""
    text = ""
    for label, value in (
        ("Table", code(details.table or "", 200)),
        ("Window", _window(details)),
        ("Filter", _filter(details)),
        ("To", ", ".join(_destinations(details.destinations))),
        ("Progress", _progress(payload)),
        ("Time", _time(payload, details)),
    ):
        line = f"*{label}*  {value}\n" if value else ""
        if len(text) + len(line) > _SECTION:
            yield section(text)
            text = ""
        text += line
    if text:
        yield section(text)


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


def _progress(payload: Payload) -> str:
    progress = payload.data.progress
    if progress is None or progress.percent is None:
        return ""
    filled = int(progress.percent / 100 * _BAR_CELLS)
    bar = "▰" * filled + "▱" * (_BAR_CELLS - filled)
    chunks = f"{progress.chunks_done:,} of {progress.chunks_total:,} chunks"
    return f"{bar}  {progress.percent:g} %" + (f", {chunks}" if len(chunks) <= _CHUNKS else "")


def _time(payload: Payload, details: Details) -> str:
    if details.time_created is None:
        return ""
    active = is_active(payload.data.status or "")
    observed = datetime.fromisoformat(payload.timestamp)
    took = (observed if active else details.time_completed or observed) - details.time_created
    since = "" if payload.type == "backfill.removed" else "running for" if active else "took"
    words = f"{since} {spell_duration(took)}" if since and took > timedelta(0) else ""
    return ", ".join(filter(None, (f"ordered {local_time(details.time_created)}", words)))


def _errors(payload: Payload, details: Details) -> Iterator[Block]:
    data = payload.data
    error = details.error_message if data.job_id is not None else data.reason
    is_new = error and (data.job_id is not None or one_line(error, 300) not in data.summary)
    if is_new and (block := code_block(error or "", _SECTION)):
        yield section(block)


def _foot(payload: Payload) -> Block:
    data = payload.data
    parts = [
        plain(data.source, 100),
        plain(data.job_id or "", 200),
        plain(data.delivery_id or "", 100),
        "a sample: nothing happened" if data.test else "",
    ]
    text = {"type": "mrkdwn", "text": " · ".join(filter(None, parts)), "verbatim": True}
    return {"type": "context", "elements": (text,)}


def section(text: str) -> Block:
    """Return a block of text, at most 3000 characters."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text.rstrip(), "verbatim": True}}
