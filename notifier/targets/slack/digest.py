"""Many events as one Slack message: how many of which kind, the ones that matter most a line each. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from notifier.element import read_details
from notifier.glob import matches
from notifier.model import Event
from notifier.payload import read_payload
from notifier.summary import counted, job_title
from notifier.targets.slack.facts import Block, linked, section
from notifier.targets.slack.look import look_of, rank_of, words_of
from notifier.targets.slack.message import Message
from notifier.targets.slack.mrkdwn import local_time, plain

_LINES = 40
_FOREIGN_KINDS = 5
_SECTION = 2900
_TEXT = 4000
_BLOCKS = 11_000  # Slack refuses somewhat more than 13,000 in all (msg_blocks_too_long)
_SOURCE = 100
_NAME = 100
_WORDS = 160
_KIND = 30
_MENTIONS = 1000

_MENTION = re.compile(r"<([^<>|]+)[^<>]*>")


def render_digest(
    events: Sequence[Event], *, source: str, job_link: str, mentions: Mapping[str, str]
) -> Message:
    """Return one message for all of these events of one source, in their order; none goes uncounted.

    Lines stand beside a bar in the colour of what happened, what matters most first.
    """
    ranked = _ranked(events)
    title = f"*{_title(ranked, source)}*{_mentions(ranked, mentions)}"
    counts = " · ".join(f"{emoji} {words}" for emoji, words in _counts(ranked))
    foot = _foot(ranked)
    lines, rest = _fitted(ranked, job_link, _BLOCKS - len(title) - len(counts) - len(foot))
    bars = [*_bars(ranked, lines), *((look_of("").colour, line, [line]) for line in rest)]
    attachments: list[Block] = [
        {"color": colour, "fallback": fallback, "blocks": [*map(section, _sections(texts))]}
        for colour, fallback, texts in bars
    ]
    element = {"type": "mrkdwn", "text": foot, "verbatim": True}
    attachments[-1]["blocks"].append({"type": "context", "elements": [element]})
    return Message(
        text=_head(ranked, source, mentions),
        blocks=tuple(map(section, _sections([title, counts]))),
        attachments=tuple(attachments),
    )


def render_plain_digest(
    events: Sequence[Event], *, source: str, job_link: str, mentions: Mapping[str, str]
) -> Message:
    """Return the same as plain text: what is left to try when Slack refuses the other one's blocks."""
    ranked = _ranked(events)
    head, foot = _head(ranked, source, mentions), _foot(ranked)
    lines, rest = _fitted(ranked, job_link, _TEXT - len(head) - len(foot) - 2)
    return Message(text="\n".join([head, *lines, *rest, foot]))


def _ranked(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: rank_of(event.type))


def _title(ranked: Sequence[Event], source: str) -> str:
    return f"{counted(len(ranked), 'event')} of {plain(source, _SOURCE)}"


def _head(ranked: Sequence[Event], source: str, mentions: Mapping[str, str]) -> str:
    words = f"{_title(ranked, source)}: {_numbers(ranked)}"
    return f"{look_of(ranked[0].type).emoji} {words}{_mentions(ranked, mentions)}"


def _foot(events: Iterable[Event]) -> str:
    """Return when they were observed: what waited for long is not to look new."""
    times = sorted(event.observed_at for event in events)
    first, last = (local_time(time.replace(second=0, microsecond=0)) for time in (times[0], times[-1]))
    return f"observed {first}" if first == last else f"observed from {first} to {last}"


def _counts(events: Iterable[Event]) -> Iterator[tuple[str, str]]:
    """Yield emoji, and number in words, of each kind of event; those nobody knows beyond the fifth as one."""
    kinds = Counter(event.type for event in events)
    others = set([type_ for type_ in kinds if look_of(type_) == look_of("")][_FOREIGN_KINDS:])
    for type_, number in kinds.items():
        if type_ not in others:
            yield look_of(type_).emoji, f"{number:,} {plain(words_of(type_), _KIND) or 'of an empty status'}"
    if others:
        yield look_of("").emoji, f"{sum(map(kinds.__getitem__, others)):,} of other kinds"


def _numbers(events: Iterable[Event]) -> str:
    return ", ".join(words for _, words in _counts(events))


def _mentions(ranked: Sequence[Event], mentions: Mapping[str, str]) -> str:
    """Return whom any of the events mentions, each once, ready to be appended."""
    types = dict.fromkeys(event.type for event in ranked)
    wanted = dict.fromkeys(text for type_ in types for glob, text in mentions.items() if matches(glob, type_))
    said: set[str] = set()
    mention = ""
    for text in wanted:
        names = set(_MENTION.findall(text))
        longer = f"{mention} {_without(said, text)}"
        if (names - said or not names) and len(longer) <= _MENTIONS:  # cut it would mean nobody
            mention = longer
            said |= names
    return mention


def _without(said: Collection[str], text: str) -> str:
    left = _MENTION.sub(lambda match: "" if match[1] in said else match[0], text)
    return " ".join(left.split())


def _fitted(ranked: Sequence[Event], job_link: str, room: int) -> tuple[list[str], list[str]]:
    """Return a line for each of the first events, and the one that counts the others, if any.

    Of the former there are forty, or as many as fit. When none does, neither does the latter: whatever
    stands above counts them all.
    """
    lines = [_line(event, job_link) for event in ranked[:_LINES]]
    while lines:
        rest = _rest(ranked[len(lines) :])
        if sum(len(line) + 1 for line in (*lines, *rest)) <= room:
            return lines, rest
        lines.pop()
    return [], []


def _line(event: Event, job_link: str) -> str:
    emoji = look_of(event.type).emoji
    payload = None if event.payload is msgspec.UNSET else read_payload(event.payload)
    if payload is None or payload.data.job_id is None:
        return f"{emoji} {plain(event.summary, _NAME + _WORDS) or plain(event.type, _NAME)}"
    name = job_title(read_details(payload.data.job), payload.data.job_id)
    words = event.summary.removeprefix(name).strip()
    label = linked(plain(name, _NAME), payload.data.job_id, job_link)
    return f"{emoji} *{label}* {plain(words, _WORDS)}"


def _rest(events: Sequence[Event]) -> list[str]:
    return [f"and {len(events):,} more: {_numbers(events)}"] if events else []


def _bars(ranked: Sequence[Event], lines: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield colour, a text for where no blocks are shown, and the lines of each bar."""
    shown = zip(ranked, lines, strict=False)
    for colour, pairs in groupby(shown, key=lambda pair: look_of(pair[0].type).colour):
        together = list(pairs)
        yield colour, _numbers(event for event, _ in together), [line for _, line in together]


def _sections(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines in as few texts as the limit of one allows."""
    text = ""
    for line in lines:
        if text and len(text) + 1 + len(line) > _SECTION:
            yield text
            text = ""
        text = f"{text}\n{line}" if text else line
    yield text
