"""Slack messages drawn in a terminal, as Slack would show them."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

TOKEN = re.compile(
    r"```(?P<block>.*?)```|`(?P<code>[^`\n]+)`|<(?P<angle>[^<>]+)>|\*(?P<bold>[^*\n]+)\*", re.DOTALL
)
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_CODE = Style(color="#e8912d")
_LINK = Style(color="#1d9bd1")
_MENTION = Style(color="#1d9bd1", bgcolor="#1d3a4a")


class Barred:
    """Something with a bar in a colour at its left."""

    def __init__(self, content: RenderableType, colour: str) -> None:
        self._content = content
        self._bar = Segment("▌ ", Style(color=colour))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        # A bar stands before each line, so lines are broken here also where the console leaves them long.
        inner = options.update(width=max(1, options.max_width - 2), no_wrap=False, overflow="fold")
        for line in console.render_lines(self._content, inner, pad=False):
            yield self._bar
            yield from line
            yield Segment.line()


def draw_message(message: Mapping[str, Any]) -> RenderableType:
    """Return what shows a message, given as the arguments of a post."""
    parts: list[RenderableType] = list(_blocks(message.get("blocks", ())))
    if not parts:
        parts.append(draw_mrkdwn(str(message.get("text", ""))))
    parts += (
        Barred(Group(*_blocks(attachment.get("blocks", ()))), str(attachment.get("color", "#868e96")))
        for attachment in message.get("attachments", ())
    )
    return Group(*parts)


def _blocks(blocks: Any) -> Iterator[RenderableType]:
    for block in blocks:
        if block["type"] == "context":
            text = Text(" ").join(draw_mrkdwn(element["text"]) for element in block["elements"])
            text.stylize("dim")
            yield text
        else:
            yield draw_mrkdwn(block["text"]["text"])


def draw_mrkdwn(source: str) -> Text:
    """Return mrkdwn as styled text."""
    text = Text()
    position = 0
    for match in TOKEN.finditer(source):
        text.append(_unescaped(source[position : match.start()]))
        position = match.end()
        if match["block"] is not None:
            text.append(_unescaped(match["block"]), _CODE)
        elif match["code"] is not None:
            text.append(_unescaped(match["code"]), _CODE)
        elif match["bold"] is not None:
            bold = draw_mrkdwn(match["bold"])
            bold.stylize("bold")
            text.append_text(bold)
        else:
            text.append_text(_angle(match["angle"]))
    text.append(_unescaped(source[position:]))
    return text


def _angle(inner: str) -> Text:
    what, _, label = inner.partition("|")
    if what.startswith("!date^"):
        try:
            time = datetime.fromtimestamp(int(what.split("^")[1]), UTC).astimezone()
        except (ValueError, OverflowError, OSError):  # as Slack does with what is no time
            return Text(_unescaped(label))
        return Text(f"{time:%b %d at %H:%M}")
    if what.startswith("!subteam^"):
        return Text(f"@{_unescaped(label) or what.removeprefix('!subteam^')}", _MENTION)
    if what.startswith(("!", "@", "#")):
        return Text(f"@{_unescaped(label) or what[1:]}", _MENTION)
    return Text(_unescaped(label or what), _LINK + Style(link=_unescaped(what)))


def _unescaped(text: str) -> str:
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text
