"""What both sides of HTTP share: reading within a budget, Retry-After, faults in words."""

import asyncio
import base64
import errno
import functools
import os
import re
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import xxhash
from yarl import URL

from notifier import __version__
from notifier.summary import one_line

USER_AGENT = f"backfill-notifier/{__version__}"

_LONGEST_RETRY_AFTER = timedelta(days=365)
_SHOWN = 200
_EXCERPT_BYTES = 500
_SHORTEST_SECRET = 8
_SHORTEST_BEGINNING = 12
_REDACTED = "REDACTED"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


class TooLargeError(Exception):
    """A reply has more decoded bytes than its budget."""


async def read_body(response: aiohttp.ClientResponse, budget: int) -> tuple[bytearray, bytes]:
    """Return the decoded body and its digest. Raises TooLargeError as soon as it exceeds `budget` bytes.

    The budget is for decoded bytes: a small compressed reply can stand for a huge one.
    """
    body = bytearray()  # grown in place: a list of parts to join would need twice the memory
    digest = xxhash.xxh3_128()
    async for part in response.content.iter_any():
        if len(body) + len(part) > budget:
            raise TooLargeError
        digest.update(part)
        body += part
    return body, digest.digest()


async def read_start(response: aiohttp.ClientResponse, length: int) -> bytes:
    """Return at most the first `length` decoded bytes of a body; what a fault cuts off is missing."""
    start = b""
    try:
        async for part in response.content.iter_any():
            start += part
            if len(start) >= length:
                break
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    return start[:length]


def retry_after(response: aiohttp.ClientResponse, now: datetime) -> timedelta | None:
    """Return the wait that a reply's `Retry-After` asks for (RFC 9110, section 10.2.3); None without one."""
    return parse_retry_after(response.headers.get("Retry-After"), now)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return the wait that seconds or an HTTP date stand for; None when it is neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), int(_LONGEST_RETRY_AFTER.total_seconds())))
    try:
        until = parsedate_to_datetime(text)
        until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
        return min(max(until - now, timedelta(0)), _LONGEST_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError):
        return None


def tls_context(ca_file: str | None) -> ssl.SSLContext | bool:
    """Return what aiohttp takes as `ssl`. Raises OSError, as ssl.SSLError is one, for an unusable file."""
    return True if not ca_file else ssl.create_default_context(cafile=ca_file)


def describe_fault(error: BaseException) -> str:  # noqa: C901, PLR0911 - a table, spelled as a match
    """Return what went wrong below HTTP in words, without any URL: its path may be a secret."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the host name {error.host} could not be resolved"
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return "its TLS certificate could not be verified"
        case aiohttp.ClientSSLError():
            return "the TLS connection failed"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy could not be reached: {os_words(error.os_error)}"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {error.status}"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}: {os_words(error.os_error)}"
        case aiohttp.ServerTimeoutError() | asyncio.TimeoutError():
            return "no answer in time"
        case aiohttp.ServerDisconnectedError() | ConnectionError() | OSError(errno=errno.ECONNRESET):
            return "the connection was closed before an answer came"
        case aiohttp.ClientPayloadError():
            return "the answer broke off or could not be decoded"
        case aiohttp.ClientResponseError():
            return "the answer was not HTTP"
        case OSError():
            return f"the connection failed: {os_words(error)}"
        case _:
            return f"the connection failed ({type(error).__name__})"


def was_sent(error: BaseException) -> bool:
    """Return whether the request may have reached the receiver before this fault."""
    return not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError)


def shown(text: bytes | str, secrets: Iterable[str]) -> str:
    """Return foreign text fit for a log: one line, 200 characters, known secrets redacted."""
    return one_line(_redacted(text, secrets), _SHOWN)


def excerpt(text: bytes | str, secrets: Iterable[str]) -> str:
    """Return how foreign text begins: 500 bytes of UTF-8 at most, known secrets redacted."""
    start = _redacted(text, secrets).encode(errors="replace")[:_EXCERPT_BYTES]
    return start.decode(errors="ignore")


def _redacted(text: bytes | str, secrets: Iterable[str]) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    # The longest first: a shorter one inside of it would leave its rest.
    known = sorted(filter(None, secrets), key=len, reverse=True)
    for secret in known:
        words = _pattern(secret).sub(_REDACTED, words)
    return _without_cut_secret(words, known)


@functools.lru_cache(maxsize=1000)
def _pattern(secret: str) -> re.Pattern[str]:
    """Return what finds a secret as it is, and as it stands in JSON, a URL or HTML that repeats it."""
    return re.compile("".join(map(_any_form, secret)))


def _any_form(character: str) -> str:
    plain = re.escape(character)
    if character.isalnum():
        return plain
    code = ord(character)
    quoted = re.escape(quote(character, safe="")) if code < 0xD800 else plain
    forms = [plain, rf"\\{plain}", rf"\\u{code:04x}", quoted, rf"&#0*{code};", rf"&#x0*{code:x};"]
    if character in _ENTITIES:
        forms.append(_ENTITIES[character])
    return f"(?i:{'|'.join(forms)})"


def _without_cut_secret(words: str, secrets: Iterable[str]) -> str:
    """Return the text without the beginning of a secret at its end, where it was cut."""
    for secret in secrets:
        for length in range(len(secret) - 1, _SHORTEST_BEGINNING - 1, -1):
            if words.endswith(secret[:length]):
                return words[:-length] + _REDACTED
    return words


def url_secrets(url: str) -> list[str]:
    """Return the parts of a URL that must not be shown: all of it, its credentials, path and query.

    Each as it stands in the URL, as it is sent and decoded: a receiver may repeat any of them.
    """
    found: set[str] = set()
    for form in (url, str(URL(url))):
        parts = urlsplit(form)
        values = [pair.partition("=")[2] for pair in parts.query.split("&")]
        pieces = [parts.path, *parts.path.split("/"), parts.query, *values]
        found.update(piece for piece in pieces if len(piece) >= _SHORTEST_SECRET)
        found.add(form)
        if user := parts.username or parts.password:
            basic = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            found.update([parts.password or user, base64.b64encode(basic.encode()).decode()])
    return [*found, *map(unquote, found)]


def header_secrets(value: str) -> list[str]:
    """Return the parts of a header's value that must not be shown, Basic credentials also decoded."""
    scheme, _, credentials = value.rpartition(" ")
    found = [value, credentials]
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(credentials, validate=True).decode()
        except ValueError:
            return found
        found += [pair, *(part for part in pair.split(":") if len(part) >= _SHORTEST_SECRET)]
    return found


def os_words(error: OSError) -> str:
    """Return why the system refused, without the addresses that asyncio puts into its own text."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if (number := error.errno or 0) > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(number).lower()
    return (error.strerror or type(error).__name__).lower()
