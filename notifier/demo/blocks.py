"""What Slack refuses of a message, and whom a message notifies: pure.

https://docs.slack.dev/reference/block-kit/blocks, https://docs.slack.dev/reference/methods/chat.postMessage
"""

import re
from collections.abc import Iterator
from typing import Any

_TEXT = 40_000
_EDITED_TEXT = 4_000
_BLOCKS = 50
_ATTACHMENTS = 100
_METADATA_BYTES = 8_000

_PING = re.compile(r"<(!(?:here|channel|everyone|subteam\^S\w+)|@[UW]\w+)(?:\|[^>]*)?>")
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_-]+")


class Refusal(Exception):  # noqa: N818 - Slack's answer, no fault of this program
    """A request that Slack refuses: `code` is its error, `details` what else the answer says."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


def check_message(arguments: dict[str, Any], *, is_edit: bool = False) -> None:
    """Raise Refusal unless Slack would take these arguments of a post or an edit.

    An edit's text may have 4,000 characters: https://docs.slack.dev/reference/methods/chat.update#errors
    """
    text, blocks = arguments.get("text"), arguments.get("blocks")
    attachments = arguments.get("attachments") or []
    if not text and not blocks and not attachments:
        raise Refusal("no_text")
    if text is not None and not isinstance(text, str):
        raise Refusal("invalid_arguments")
    if len(text or "") > (_EDITED_TEXT if is_edit else _TEXT):
        raise Refusal("msg_too_long")
    if not isinstance(attachments, list) or not all(isinstance(item, dict) for item in attachments):
        raise Refusal("invalid_attachments")
    if len(attachments) > _ATTACHMENTS:
        raise Refusal("too_many_attachments")
    faults = list(_blocks(blocks, "/blocks"))
    for number, attachment in enumerate(attachments):
        faults += _blocks(attachment.get("blocks"), f"/attachments/{number}/blocks")
    if faults:
        raise Refusal("invalid_blocks", response_metadata={"messages": faults})
    if len(str(arguments.get("metadata") or "")) > _METADATA_BYTES:
        raise Refusal("metadata_too_large")


def without_odd_metadata(arguments: dict[str, Any], *, is_edit: bool = False) -> dict[str, Any]:
    """Return the arguments without metadata that Slack would ignore; in an edit, `{}` removes the old."""
    metadata = arguments.get("metadata")
    type_ = metadata.get("event_type") if isinstance(metadata, dict) else None
    if (isinstance(type_, str) and _EVENT_TYPE.fullmatch(type_)) or (is_edit and metadata == {}):
        return dict(arguments)
    return {key: value for key, value in arguments.items() if key != "metadata"}


def pings_of(message: dict[str, Any]) -> list[str]:
    """Return whom a message notifies: `!channel`, `!subteam^S1`, `@U1`, each as often as it stands in it."""
    blocks = [*message.get("blocks", ())]
    for attachment in message.get("attachments", ()):
        blocks += attachment.get("blocks", ())
    return _PING.findall("\n".join(_mrkdwn(blocks)) if blocks else message.get("text", ""))


def _mrkdwn(node: Any) -> list[str]:
    """Return all mrkdwn of some blocks: nothing else can mention anybody."""
    if isinstance(node, list | tuple):
        return [text for item in node for text in _mrkdwn(item)]
    if not isinstance(node, dict):
        return []
    if node.get("type") == "mrkdwn":
        return [str(node.get("text"))]
    return [text for value in node.values() for text in _mrkdwn(value)]


def _blocks(blocks: Any, where: str) -> Iterator[str]:
    if blocks is None:
        return
    if not isinstance(blocks, list):
        yield f"[ERROR] must be a list [json-pointer:{where}]"
        return
    if len(blocks) > _BLOCKS:
        yield f"[ERROR] no more than {_BLOCKS} items allowed [json-pointer:{where}]"
    for number, block in enumerate(blocks):
        yield from _block(block, f"{where}/{number}")


def _block(block: Any, where: str) -> Iterator[str]:
    kind = block.get("type") if isinstance(block, dict) else None
    match kind:
        case "section":
            if "text" not in block and "fields" not in block:
                yield f"[ERROR] missing required field: text [json-pointer:{where}]"
            if "text" in block:
                yield from _text(block["text"], f"{where}/text", 3000)
            yield from _several(block.get("fields"), f"{where}/fields", 2000)
        case "header":
            yield from _text(block.get("text"), f"{where}/text", 150, only="plain_text")
        case "context":
            yield from _several(block.get("elements", []), f"{where}/elements", 2000, least=1)
        case "divider":
            pass
        case _:
            yield f"[ERROR] unsupported type: {kind} [json-pointer:{where}/type]"


def _several(items: Any, where: str, longest: int, least: int = 0) -> Iterator[str]:
    if items is None:
        return
    if not isinstance(items, list) or not least <= len(items) <= 10:
        yield f"[ERROR] must have {least} to 10 items [json-pointer:{where}]"
        return
    for number, item in enumerate(items):
        yield from _text(item, f"{where}/{number}", longest)


def _text(value: Any, where: str, longest: int, only: str = "") -> Iterator[str]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ((only,) if only else ("mrkdwn", "plain_text")):
        yield f"[ERROR] unsupported type: {kind} [json-pointer:{where}/type]"
        return
    text = value.get("text")
    if not isinstance(text, str) or not text:
        yield f"[ERROR] must be more than 0 characters [json-pointer:{where}/text]"
    elif len(text) > longest:
        yield f"[ERROR] must be less than {longest + 1} characters [json-pointer:{where}/text]"
