"""What Slack takes: its own types as JSON Schemas, and the lengths that only its documentation tells.

Slack answers `invalid_blocks` without saying where; these checks name the place.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, ValidationError
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

_SCHEMAS = Path(__file__).parent / "data" / "slack"

_MAX_BLOCKS = 50
_MAX_ATTACHMENTS = 20  # Slack takes 100 and advises against more than 20
_MAX_TEXT = 4_000  # Slack cuts at 40 000 and recommends this
_MAX_FALLBACK = 4_000
_MAX_HEADER = 150
_MAX_SECTION = 3_000
_MAX_FIELDS = 10
_MAX_FIELD = 2_000
_MAX_CONTEXT_ELEMENTS = 10
_MAX_CONTEXT_TEXT = 2_000
_MAX_RICH_TEXT = 3_000  # undocumented: what a section may hold is a safe guess
_MAX_URL = 3_000
_MAX_EVENT_PAYLOAD = 8_000

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_-]+")
# Control characters but the newline, what turns the direction of text, and halves of surrogate pairs,
# which no UTF-8 can hold.
_UNFIT = re.compile(r"[\x00-\x09\x0b-\x1f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def check_post(message: dict[str, Any]) -> None:
    """Fail unless `chat.postMessage` takes this message."""
    _check("post", message)


def check_update(message: dict[str, Any]) -> None:
    """Fail unless `chat.update` takes this message."""
    _check("update", message)


def check_webhook(message: dict[str, Any]) -> None:
    """Fail unless an incoming webhook takes this message."""
    _check("webhook", message)


def _check(kind: str, message: dict[str, Any]) -> None:
    _check_schema(kind, message)
    _check_characters("$", message)
    _check_length("$.text", message.get("text", ""), _MAX_TEXT)
    _check_attachments(message.get("attachments", []))
    _check_blocks(message)
    if "metadata" in message:
        _check_metadata(message["metadata"])


@functools.cache
def _validator(kind: str) -> Draft7Validator:
    schema = json.loads((_SCHEMAS / f"{kind}.schema.json").read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def _check_schema(kind: str, message: dict[str, Any]) -> None:
    causes = [_cause(error) for error in _validator(kind).iter_errors(message)]
    assert not causes, "\n".join(causes)


def _cause(error: ValidationError) -> str:
    """Return what is wrong, of the member of a union that the `type` of the value says is meant.

    Of a union, `jsonschema` itself only says that nothing fits, or tells about a member nobody meant.
    """
    given = error.instance.get("type") if isinstance(error.instance, dict) else None
    if error.validator != "anyOf" or given is None:
        return f"{error.json_path}: {error.message}"
    meant: list[list[ValidationError]] = []
    known: set[str] = set()
    for member in _members(error):
        others = [
            str(it.validator_value) for it in member if it.validator == "const" and [*it.path] == ["type"]
        ]
        known.update(others)
        if not others:
            meant.append(member)
    if not meant:
        return f"{error.json_path}: the type {given!r} is none of {sorted(known)}"
    return "; ".join(_cause(it) for it in min(meant, key=len))


def _members(error: ValidationError) -> Iterator[list[ValidationError]]:
    """Yield what each member of a union finds wrong, the members of a union inside the union too."""
    for _, found in itertools.groupby(error.context or (), key=lambda it: it.schema_path[0]):
        errors = list(found)
        if len(errors) == 1 and errors[0].validator == "anyOf" and not errors[0].path:
            yield from _members(errors[0])
        else:
            yield errors


def _check_characters(path: str, value: Any) -> None:
    match value:
        case str():
            unfit = _UNFIT.findall(value)
            assert not unfit, f"{path}: the character {unfit[0]!a} must not be in {value!a}"
        case dict():
            for key, item in value.items():
                _check_characters(f"{path} (a key)", key)
                _check_characters(f"{path}.{key}", item)
        case list():
            for index, item in enumerate(value):
                _check_characters(f"{path}[{index}]", item)


def _check_attachments(attachments: list[dict[str, Any]]) -> None:
    _check_count("$.attachments", attachments, _MAX_ATTACHMENTS, least=0)
    for index, attachment in enumerate(attachments):
        path = f"$.attachments[{index}]"
        _check_length(f"{path}.fallback", attachment.get("fallback", ""), _MAX_FALLBACK)
        color = attachment.get("color", "#000000")
        assert _COLOR.fullmatch(color), f"{path}.color: {color!r} is not #rrggbb"


def _check_blocks(message: dict[str, Any]) -> None:
    lists = {"$.blocks": message.get("blocks", [])}
    for index, attachment in enumerate(message.get("attachments", [])):
        lists[f"$.attachments[{index}].blocks"] = attachment.get("blocks", [])
    total = sum(map(len, lists.values()))
    assert total <= _MAX_BLOCKS, f"$: {total} blocks, more than {_MAX_BLOCKS}"
    for path, blocks in lists.items():
        for inner, node in _objects(path, blocks):
            _check_texts(inner, node)
            _check_links(inner, node)
        for index, block in enumerate(blocks):
            _check_model(f"{path}[{index}]", block)


def _objects(path: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every JSON object in this value and where it is."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _objects(f"{path}.{key}", item)
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(f"{path}[{index}]", item)


def _check_texts(path: str, node: dict[str, Any]) -> None:
    match node.get("type"):
        case "header":
            _check_length(f"{path}.text", node["text"]["text"], _MAX_HEADER)
        case "section":
            if "text" in node:
                _check_length(f"{path}.text", node["text"]["text"], _MAX_SECTION)
            if "fields" in node:
                _check_count(f"{path}.fields", node["fields"], _MAX_FIELDS)
                for index, field in enumerate(node["fields"]):
                    _check_length(f"{path}.fields[{index}]", field["text"], _MAX_FIELD)
        case "context":
            _check_count(f"{path}.elements", node["elements"], _MAX_CONTEXT_ELEMENTS)
            for index, element in enumerate(node["elements"]):
                if "text" in element:
                    _check_length(f"{path}.elements[{index}]", element["text"], _MAX_CONTEXT_TEXT)
        case "rich_text":
            _check_rich_text(path, node)


def _check_links(path: str, node: dict[str, Any]) -> None:
    for key, value in node.items():
        if (key == "url" or key.endswith("_url")) and isinstance(value, str):
            _check_length(f"{path}.{key}", value, _MAX_URL)
            assert value.startswith(("https://", "http://")), f"{path}.{key}: {value!r} is no web address"


def _check_rich_text(path: str, block: dict[str, Any]) -> None:
    total = 0
    for inner, node in _objects(path, block):
        text = node.get("text")
        assert text != "", f"{inner}.text: empty"
        # A link without a text shows its address.
        total += len(text or (node["url"] if node.get("type") == "link" else ""))
    assert total <= _MAX_RICH_TEXT, f"{path}: {total} characters, more than {_MAX_RICH_TEXT}"


def _check_model(path: str, block: dict[str, Any]) -> None:
    """Check what Slack's own library knows besides: a button's text, a block's id, a section without anything."""
    model = Block.parse(block)
    if model is None:
        return  # newer than the library; the schema knows it
    try:
        model.to_dict()  # validates what is inside too, which `validate_json` does not
    except SlackObjectFormationError as error:
        raise AssertionError(f"{path}: {error}") from error


def _check_metadata(metadata: dict[str, Any]) -> None:
    name = metadata["event_type"]
    assert _EVENT_TYPE.fullmatch(name), (
        f"$.metadata.event_type: {name!r} does not match {_EVENT_TYPE.pattern}"
    )
    payload = json.dumps(metadata["event_payload"], ensure_ascii=False, separators=(",", ":"))
    size = len(payload.encode())
    assert size <= _MAX_EVENT_PAYLOAD, (
        f"$.metadata.event_payload: {size} bytes, more than {_MAX_EVENT_PAYLOAD}"
    )


def _check_length(path: str, text: str, most: int) -> None:
    assert text, f"{path}: missing or empty"
    assert len(text) <= most, f"{path}: {len(text)} characters, more than {most}"


def _check_count(path: str, items: list[Any], most: int, *, least: int = 1) -> None:
    assert least <= len(items) <= most, f"{path}: {len(items)} items, not {least} to {most}"
