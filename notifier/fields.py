"""The kinds of value a config key can hold, each with its check and its JSON Schema."""

import base64
import binascii
import os
import re
import secrets
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError
from yarl import URL

from notifier.duration import parse_duration
from notifier.model import ALL_TYPES

_SIZES = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Section(BaseModel):
    """A table of the config file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


def wrong(message: str) -> PydanticCustomError:
    """Return the error of a value that is wrong for this reason."""
    # Braces would be read as placeholders of the message.
    return PydanticCustomError("invalid", "{reason}", {"reason": message})


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise wrong('must be a duration in quotes, like "15s", "2m", "1h30m" or "3d"')
    try:
        return parse_duration(value)
    except ValueError as error:
        raise wrong(str(error)) from error


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise wrong("must be longer than 0s")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(
        {
            "type": "string",
            "title": "duration",
            "pattern": r"^(?!$)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "examples": ["15s", "2m", "1h30m", "3d"],
        }
    ),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


def _at_least_one(value: int) -> int:
    if value < 1:
        raise wrong("must be at least 1")
    return value


AtLeastOne = Annotated[int, AfterValidator(_at_least_one), WithJsonSchema({"type": "integer", "minimum": 1})]


class Bytes(int):
    """A number of bytes."""


def _size(value: Any) -> Any:
    if isinstance(value, Bytes):
        return value
    match = re.fullmatch(r"([0-9]{1,12}) ?([A-Za-z]*)", value) if isinstance(value, str) else None
    if match is None or match[2] not in _SIZES:
        raise wrong('must be a size in quotes, like "256MiB" or "64KiB"')
    size = int(match[1]) * _SIZES[match[2]]
    if size < 1:
        raise wrong("must be at least 1B")
    return Bytes(size)


def format_size(size: int) -> str:
    """Return the shortest text in binary units that stands for exactly this many bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "type": "string",
            "title": "size",
            "pattern": r"^[0-9]+ ?(B|KiB|MiB|GiB|kB|MB|GB)?$",
            "examples": ["64KiB", "256MiB"],
        }
    ),
]


def _name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise wrong("must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit")
    return value


Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "title": "name", "pattern": f"^{_NAME}$"})
]


def _glob(value: str) -> str:
    if not value.strip():
        raise wrong("is empty")
    return value


_GLOB_SCHEMA = WithJsonSchema({"type": "string", "title": "glob", "minLength": 1})
Globs = Annotated[list[Annotated[str, AfterValidator(_glob), _GLOB_SCHEMA]], Field(min_length=1)]
"""Patterns in which * stands for any characters, ? for one and [abc] for one of these."""
_KNOWN_TYPES: list[JsonValue] = list(ALL_TYPES)
EventGlob = Annotated[
    str,
    AfterValidator(_glob),
    WithJsonSchema({"anyOf": [{"enum": _KNOWN_TYPES}, {"type": "string", "title": "glob", "minLength": 1}]}),
]
"""A pattern for types of events."""
EventGlobs = Annotated[list[EventGlob], Field(min_length=1)]


def _secret(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str):
        raise wrong("must be a string")
    return SecretStr(value)


def _header_safe(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.strip():
        raise wrong("is empty")
    if text[0] == text[-1] and text[0] in "\"'" and len(text) > 1:
        raise wrong("has quotes around it that belong to no secret; write it without")
    if "/" in text and os.path.isfile(text):  # noqa: PTH113 - unlike Path's, it never raises
        raise wrong("is the path of a file; that belongs in the key that ends in _file")
    if text.startswith("Bearer "):
        raise wrong("begins with Bearer; write what follows alone")
    if text != text.strip() or not text.isprintable() or not text.isascii():
        raise wrong("has spaces around it, line breaks or characters that cannot stand in an HTTP header")
    return value


_SECRET_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})
Secret = Annotated[SecretStr, BeforeValidator(_secret), _SECRET_SCHEMA]
HeaderSecret = Annotated[Secret, AfterValidator(_header_safe), _SECRET_SCHEMA]
OptionalHeaderSecret = Annotated[
    HeaderSecret | None,
    BeforeValidator(lambda value: None if value == "" else value),
    WithJsonSchema({"type": "string"}),
]


def check_http_url(text: str) -> str:
    """Return the text. Raises `invalid`, without repeating it, unless it is an http(s) URL with a host."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        (URL(text).raw_host or "").encode("idna")  # as will be done to connect, where nobody expects an error
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        usable, user, password = None, "", ""
    if not usable or not text.isprintable() or " " in text:
        raise wrong("must be a URL that starts with http:// or https:// and names a host")
    if ":" in user or not (user + password).isascii():
        raise wrong("has a user name with a colon in it, or one or a password that is not ASCII")
    return text


def origin(url: str) -> str:
    """Return scheme, host and port of a URL: all of it that may be shown."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def _secret_url(value: SecretStr) -> SecretStr:
    check_http_url(value.get_secret_value())
    return value


_URL_SCHEMA = WithJsonSchema({"type": "string", "title": "URL", "pattern": r"^https?://"})
SecretUrl = Annotated[Secret, AfterValidator(_secret_url), _URL_SCHEMA]


def _base_url(value: str) -> str:
    parts = urlsplit(check_http_url(value))
    if parts.query or parts.fragment:
        raise wrong("must end before ? and #: the API's path is added to it")
    if parts.path.rstrip("/").endswith(("/api/v1/beam", "/api/v1/beam/backfills")):
        raise wrong("must end before /api/v1/…, which is added to it")
    return value


BaseUrl = Annotated[str, AfterValidator(_base_url), Field(repr=False), _URL_SCHEMA]  # may have a password


def _optional_url(value: str) -> str:
    return value if value == "" else check_http_url(value)


OPTIONAL_URL_SCHEMA = WithJsonSchema({"type": "string", "title": "URL", "pattern": r"^(https?://.*)?$"})
OptionalUrl = Annotated[str, AfterValidator(_optional_url), Field(repr=False), OPTIONAL_URL_SCHEMA]
OptionalSecretUrl = Annotated[
    SecretUrl | None, BeforeValidator(lambda value: None if value == "" else value), OPTIONAL_URL_SCHEMA
]


def decode_signing_secret(text: str) -> bytes:
    """Return the key of a `whsec_` secret. Raises ValueError when it is none (Standard Webhooks 1.0.0)."""
    prefix, _, encoded = text.partition("_")
    if prefix != "whsec" or not encoded:
        raise ValueError("must start with whsec_ (make one with: notifier keygen)")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("is not valid base64 after whsec_ (make a new one with: notifier keygen)") from error
    if not key:
        raise ValueError("has no key after whsec_ (make one with: notifier keygen)")
    return key


def new_signing_secret() -> str:
    """Return a new random `whsec_` secret of 32 bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _signing_secrets(value: Any) -> Any:
    if isinstance(value, str | SecretStr):
        return (_secret(value),)
    if isinstance(value, list | tuple) and value:
        return tuple(_secret(item) for item in value)
    raise wrong("must be a whsec_ secret or a list of them")


def _check_signing_secrets(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in value:
        try:
            decode_signing_secret(secret.get_secret_value())
        except ValueError as error:
            raise wrong(str(error)) from error
    return value


_WHSEC = {"type": "string", "pattern": r"^whsec_"}
SigningSecrets = Annotated[
    tuple[Secret, ...],
    BeforeValidator(_signing_secrets),
    AfterValidator(_check_signing_secrets),
    WithJsonSchema({"anyOf": [_WHSEC, {"type": "array", "items": _WHSEC, "minItems": 1}]}),
]


def _headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise wrong(f"{name!r} is no header name")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("webhook-"):
            raise wrong(f"{name} is set by the notifier itself")
        if not text.get_secret_value().isprintable() or not text.get_secret_value().isascii():
            raise wrong(f"the value of {name} has characters that cannot stand in an HTTP header")
    return value


_OWN_HEADERS = frozenset({"content-type", "content-length", "transfer-encoding", "user-agent", "connection"})
Headers = Annotated[
    dict[str, Secret],
    AfterValidator(_headers),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
