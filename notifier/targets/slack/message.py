"""An event as a Slack message that a person likes to read: pure.

The first line says what happened; under it, beside a bar in the colour of the status, stands what the
job is.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from notifier.element import Details, read_details
from notifier.glob import matches
from notifier.model import JobRecord, is_active
from notifier.payload import MARK, Payload
from notifier.summary import headline, one_line
from notifier.targets.slack.facts import (
    Block,
    Line,
    bar,
    error_block,
    foot,
    job_lines,
    linked,
    ordered,
    pace,
    section,
    sections,
)
from notifier.targets.slack.look import look_of
from notifier.targets.slack.mrkdwn import plain
from notifier.targets.slack.phases import phase_line, phases_at

_TEXT = 4000
_MENTION = 500


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


def render(payload: Payload, *, job_link: str, mention: str, record: JobRecord | None = None) -> Message:
    """Return the message for an event. `mention` is the config's and stands as it is; the rest is foreign.

    The job's record, if there is one, knows its phases until then.
    """
    look = look_of(payload.type)
    data = payload.data
    details = Details() if data.job_id is None else read_details(data.job)
    head, tail = f"{look.emoji} {MARK if data.test else ''}", f" {mention}" if mention else ""
    summary = plain(summary_of(payload), 600)
    body = (
        *sections(_lines(payload, details, record)),
        *error_block(_error(payload, details)),
        foot_of(payload),
    )
    return Message(
        text=f"{head}{summary}{tail}",
        blocks=(section(f"{head}{title(payload, details, job_link)}{tail}"),),
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


def summary_of(payload: Payload) -> str:
    """Return the summary without the mark of a sample, which stands before it; a job may be called so too."""
    return payload.data.summary.removeprefix(MARK) if payload.data.test else payload.data.summary


def title(payload: Payload, details: Details, job_link: str) -> str:
    """Return what happened to what, as mrkdwn."""
    data = payload.data
    if data.job_id is None:
        return f"*{plain(summary_of(payload), 400)}*"
    name, words = headline(summary_of(payload), details, data.job_id)
    label = linked(plain(name, 150), data.job_id, job_link)
    return f"*{label}* {plain(words, 200)}" if label else f"*{plain(words, 200)}*"


def foot_of(payload: Payload) -> Block:
    """Return what is known of where an event comes from, as a small line."""
    data = payload.data
    return foot(
        plain(data.source, 100),
        plain(data.job_id or "", 200),
        plain(data.delivery_id or "", 100),
        "a sample: nothing happened" if data.test else "",
    )


def _lines(payload: Payload, details: Details, record: JobRecord | None) -> tuple[Line, ...]:
    active = is_active(payload.data.status or "")
    observed = datetime.fromisoformat(payload.timestamp)
    words = "" if payload.type == "backfill.removed" else "running for" if active else "took"
    until = observed if active else details.time_completed or observed
    return (
        *job_lines(details),
        ("Progress", bar(payload.data.progress)),
        ("Pace", pace(payload.data.progress) if payload.data.status == "transporting" else ""),
        ("Phases", phase_line(phases_at(payload, record), active=active)),
        ("Time", ordered(details, until=until, words=words)),
    )


def _error(payload: Payload, details: Details) -> str | None:
    """Return what is not in the summary already."""
    data = payload.data
    if data.job_id is not None:
        return details.error_message
    return data.reason if data.reason and one_line(data.reason, 300) not in data.summary else None
