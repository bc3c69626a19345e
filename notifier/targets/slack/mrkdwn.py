"""Foreign text in Slack's mrkdwn: shown as it is, meaning nothing. Pure."""

import re
from datetime import datetime

from notifier.summary import one_line

# Slack reads these but between two letters or digits; look-alikes are shown, as nothing escapes them.
_MARKS = re.compile(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])")
_LOOK_ALIKE = {"*": "∗", "_": "＿", "~": "∼", "`": "ˋ"}
_DEEPEST = 40
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str) -> str:
    """Return the text with the three characters that begin mentions and links escaped.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], text)


def plain(text: str, length: int) -> str:
    """Return foreign text on one line, at most `length` characters before it is escaped."""
    return escape(_MARKS.sub(lambda match: _LOOK_ALIKE[match[0]], one_line(text, length)))


def code(text: str, length: int) -> str:
    """Return foreign text as inline code, on one line; "" when there is none."""
    line = one_line(text.replace("`", "ˋ"), length)
    return f"`{escape(line)}`" if line else ""


def code_block(text: str, length: int) -> str:
    """Return foreign text of several lines as a block of code, at most `length` characters in all.

    "" when there is nothing to see in it; lines stay indented.
    """
    lines = (_indented(line.replace("`", "ˋ"), length) for line in text.splitlines())
    shown = "\n".join(lines).strip("\n")
    return f"```{_cut(shown, length - 6)}```" if shown else ""


def link(url: str, label: str) -> str:
    """Return a link; URL and label are escaped already."""
    return f"<{url.replace('|', '%7C')}|{label.replace('|', '¦')}>"


def local_time(time: datetime) -> str:
    """Return a time that Slack shows in the reader's own time zone and language."""
    fallback = f"{time:%Y-%m-%d %H:%M} UTC"
    return f"<!date^{int(time.timestamp())}^{{date_short_pretty}} at {{time}}|{fallback}>"


def _indented(line: str, length: int) -> str:
    words = one_line(line, length)
    line = line.expandtabs(4)
    return " " * min(len(line) - len(line.lstrip()), _DEEPEST) + words if words else ""


def _cut(text: str, length: int) -> str:
    """Return escaped text of at most this length, never cut inside of an escape."""
    escaped = escape(text)
    if len(escaped) <= length:
        return escaped
    while len(escaped) > length - 1:
        text = text[: len(text) - max(1, (len(escaped) - length) // 5)]
        escaped = escape(text)
    return f"{escaped.rstrip()}…"
