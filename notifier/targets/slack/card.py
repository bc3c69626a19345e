"""The one live message about a job, and the replies in its thread: pure.

A card says nothing that changes by itself as time passes, such as how long ago something was: it is true
until the job changes.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime

import msgspec

from notifier.element import Details, read_details
from notifier.fingerprint import fingerprint
from notifier.model import STATUS_TYPES, JobRecord, Phase, Snapshot, is_active
from notifier.patience import moved_at
from notifier.payload import MARK, Payload, Progress, progress_of
from notifier.rate import is_outdated
from notifier.summary import headline, summarize
from notifier.targets.slack.facts import (
    Block,
    Line,
    bar,
    error_block,
    foot,
    job_lines,
    linked,
    pace,
    section,
    sections,
)
from notifier.targets.slack.look import look_of
from notifier.targets.slack.message import Message, summary_of, title
from notifier.targets.slack.mrkdwn import local_time, plain
from notifier.targets.slack.phases import phase_line, phases_at

_SUMMARY = 600
_TRANSPORTING = "transporting"
_TELLING_CHUNKS = (_TRANSPORTING, "completed")
_CHUNKS = re.compile(r" \(\d+ chunks?\)$")  # the bar tells them


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a card shows."""

    status: str
    summary: str
    title: str
    """As mrkdwn."""
    details: Details
    progress: Progress | None
    phases: tuple[Phase, ...]
    foot: Block
    mark: str = ""
    trouble: str = ""
    """What no status tells, as mrkdwn."""


def card_of(record: JobRecord, *, source: str, job_id: str, job_link: str, now: datetime) -> Message:
    """Return the card of a job as it is; `now` only tells a rate of long ago from a present one."""
    snapshot = record.snapshot
    details = read_details(snapshot.element)
    is_past = snapshot.stalled_at is not None or is_outdated(snapshot.samples, now)
    samples = () if is_past else snapshot.samples
    summary = summarize(
        job_id=job_id,
        status=snapshot.status,
        previous_status=snapshot.phases[-2].status if len(snapshot.phases) > 1 else None,
        details=details,
        first_seen=snapshot.first_seen,
        now=snapshot.status_since,
    )
    name, words = headline(summary, details, job_id)
    label = linked(plain(name, 150), job_id, job_link)
    return _draw(
        _Job(
            status=snapshot.status,
            summary=summary,
            title=f"*{label}* {plain(words, 200)}" if label else f"*{plain(words, 200)}*",
            details=details,
            progress=progress_of(details, samples, transporting=snapshot.status == _TRANSPORTING),
            phases=snapshot.phases,
            trouble=_trouble(snapshot),
            foot=_foot(details, source, job_id),
        )
    )


def card_of_event(payload: Payload, *, record: JobRecord | None, job_link: str) -> Message:
    """Return the card of a job as it was when something happened; the record knows its phases until then."""
    data = payload.data
    details = read_details(data.job)
    return _draw(
        _Job(
            status=data.status or "",
            summary=summary_of(payload),
            title=title(payload, details, job_link),
            details=details,
            progress=data.progress,
            phases=phases_at(payload, record),
            foot=_foot(details, data.source, data.job_id or "", test=data.test),
            mark=MARK if data.test else "",
        )
    )


def reply_to(payload: Payload, *, job_link: str, mention: str) -> Message:
    """Return what is written in the thread of a job's card: what happened, and an error in full.

    It stands for itself: notifications and the channel show it without the card. `mention` stands as it is.
    """
    look, details = look_of(payload.type), read_details(payload.data.job)
    head, tail = f"{look.emoji} {MARK if payload.data.test else ''}", f" {mention}" if mention else ""
    summary = plain(summary_of(payload), _SUMMARY)
    errors = tuple(error_block(details.error_message))
    return Message(
        text=f"{head}{summary}{tail}",
        blocks=(section(f"{head}{title(payload, details, job_link)}{tail}"),),
        attachments=({"color": look.colour, "fallback": summary, "blocks": errors},) if errors else (),
    )


def with_mention(card: Message, mention: str) -> Message:
    """Return a card that is about to be posted, mentioning somebody: an edit would notify nobody."""
    if not mention:
        return card
    first, *others = card.blocks
    text = {**first["text"], "text": f"{first['text']['text']} {mention}"}
    return msgspec.structs.replace(
        card, text=f"{card.text} {mention}", blocks=({**first, "text": text}, *others)
    )


def left_for(card: Message, channel: str) -> Message:
    """Return a card that says where the job goes on, as it is edited for the last time."""
    where = f"<#{channel}>" if channel.startswith("C") else plain(channel, 100)
    note = foot(f"not kept up to date any more: this backfill goes on in {where}")
    *others, last = card.attachments
    return msgspec.structs.replace(card, attachments=(*others, {**last, "blocks": (*last["blocks"], note)}))


def look_print(message: Message) -> str:
    """Return what is the same for what looks the same."""
    return fingerprint(json.dumps([message.text, message.blocks, message.attachments]).encode())


def _draw(job: _Job) -> Message:
    type_ = f"backfill.{job.status}"
    look = look_of(type_ if type_ in STATUS_TYPES else "")
    head, summary = f"{look.emoji} {job.mark}", plain(job.summary, _SUMMARY)
    has_bar = job.progress is not None and job.progress.percent is not None
    title = _CHUNKS.sub("", job.title) if has_bar and job.status in _TELLING_CHUNKS else job.title
    body = (*sections(_lines(job)), *error_block(job.details.error_message), job.foot)
    return Message(
        text=f"{head}{summary}",
        blocks=(section(f"{head}{title}"),),
        attachments=({"color": look.colour, "fallback": summary, "blocks": body},),
    )


def _lines(job: _Job) -> Iterator[Line]:
    yield "", job.trouble
    yield "", bar(job.progress)
    yield "", pace(job.progress) if job.status == _TRANSPORTING else ""
    yield from job_lines(job.details)
    yield "Phases", phase_line(job.phases, active=is_active(job.status))


def _trouble(snapshot: Snapshot) -> str:
    if snapshot.is_removed:
        since = "" if snapshot.missing_since is None else f" since {local_time(snapshot.missing_since)}"
        return f"{look_of('backfill.removed').emoji} *no longer listed*{since}"
    if snapshot.stalled_at is not None:
        since = local_time(moved_at(snapshot))
        return f"{look_of('backfill.stalled').emoji} *stalled*: nothing has moved since {since}"
    return ""


def _foot(details: Details, source: str, job_id: str, *, test: bool = False) -> Block:
    return foot(
        "" if details.time_created is None else f"ordered {local_time(details.time_created)}",
        plain(source, 100),
        plain(job_id, 200),
        "a sample: nothing happened" if test else "",
    )
