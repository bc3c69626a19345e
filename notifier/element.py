"""What can be read from one element of the listing, whatever its shape."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

REDACTED = "REDACTED"

# A comma can stand in a password and in a query: where one is not followed by another URL, rather too
# much is redacted than too little.
_USER_INFO = re.compile(r"(^|//|[/#][^/?#,]*,)[^/?#]*@")
_QUERY = re.compile(r"\?(?:(?!,\s*[a-zA-Z][\w+.-]*://)[^#])*")

_IN_TEXT = re.compile(r"([a-zA-Z][\w+.-]*://)[^\s/?#\"'<>]*@")
"""The user info of a URL in a text."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


class Destination(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a job delivers to."""

    type: str | None = None
    name: str | None = None


class Details(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The documented fields of a job that this program uses; what is absent or unusable is None."""

    job_name: str | None = None
    table: str | None = None
    partition_key: str | None = None
    backfill_start: str | None = None
    backfill_end: str | None = None
    """Times as ISO 8601 or numbers of blocks, as listed."""
    filter_column: str | None = None
    filter_values: tuple[str, ...] = ()
    destinations: tuple[Destination, ...] = ()
    num_chunks: int | None = None
    chunks_left: int | None = None
    error_message: str | None = None
    time_created: datetime | None = None
    time_completed: datetime | None = None


def read_details(element: msgspec.Raw) -> Details:
    """Return the fields of an element; never fails on an element that is a JSON object."""
    fields = _FIELDS.decode(element)
    values = {}
    for name, usable in _USABLE.items():
        raw = fields.get(name)
        if raw is not None and (value := usable(_decoded(raw))) is not None:
            values[name] = value
    return Details(**values)


def redact_element(element: msgspec.Raw) -> msgspec.Raw:
    """Return the element as received but for what is secret.

    That is user info and query of `destinations[].url`, and user info of URLs in `error_message`: a broker
    that refuses is told there with its URL.
    """
    fields = _FIELDS.decode(element)
    redacted = {
        name: new
        for name, redact in (("destinations", _redact_destinations), ("error_message", _redact_text))
        if name in fields and (new := redact(fields[name])) is not fields[name]
    }
    return msgspec.Raw(msgspec.json.encode(fields | redacted)) if redacted else element


def _redact_destinations(raw: msgspec.Raw) -> msgspec.Raw:
    try:
        destinations = _LIST.decode(raw)
    except msgspec.MsgspecError:
        return raw
    redacted = [_redact_destination(destination) for destination in destinations]
    if all(new is old for new, old in zip(redacted, destinations, strict=True)):
        return raw
    return msgspec.Raw(msgspec.json.encode(redacted))


def _redact_text(raw: msgspec.Raw) -> msgspec.Raw:
    try:
        text = _TEXT.decode(raw)
    except msgspec.MsgspecError:
        return raw
    redacted = _IN_TEXT.sub(rf"\1{REDACTED}@", text)
    return raw if redacted == text else msgspec.Raw(msgspec.json.encode(redacted))


def _redact_destination(destination: msgspec.Raw) -> msgspec.Raw:
    try:
        fields = _FIELDS.decode(destination)
        url = _TEXT.decode(fields["url"])
    except (KeyError, msgspec.MsgspecError):
        return destination
    redacted = redact_url(url)
    if redacted == url:
        return destination
    fields["url"] = msgspec.Raw(msgspec.json.encode(redacted))
    return msgspec.Raw(msgspec.json.encode(fields))


def redact_url(url: str) -> str:
    """Return the URL, or comma-separated URLs, without user info and query."""
    return _QUERY.sub(f"?{REDACTED}", _USER_INFO.sub(rf"\1{REDACTED}@", url))


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _bound(value: Any) -> str | None:
    return str(value) if type(value) is int else _text(value)


def _values(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    scalars = (item for item in value if isinstance(item, str | int | float))
    return tuple(item if isinstance(item, str) else json.dumps(item) for item in scalars)


def _destinations(value: Any) -> tuple[Destination, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(
        Destination(type=_text(item.get("type")), name=_text(item.get("name")))
        for item in value
        if isinstance(item, dict)
    )


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_USABLE: dict[str, Callable[[Any], Any]] = {
    "job_name": _text,
    "table": _text,
    "partition_key": _text,
    "backfill_start": _bound,
    "backfill_end": _bound,
    "filter_column": _text,
    "filter_values": _values,
    "destinations": _destinations,
    "num_chunks": _count,
    "chunks_left": _count,
    "error_message": _text,
    "time_created": _time,
    "time_completed": _time,
}
