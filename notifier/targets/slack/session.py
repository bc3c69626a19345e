"""The HTTP under slack-sdk: by itself it follows redirects, reads without a bound and takes any proxy."""

import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from notifier.transport import read_start

_READ_OF_ANSWER = 1024 * 1024  # Slack repeats the message, each character of it as up to twelve


NO_OBJECT = "(no JSON object)"
"""The key of a body that is none."""

QUIET = logging.getLogger("notifier.slack_sdk")
"""For slack-sdk, which would log URLs that are secrets."""
QUIET.setLevel(logging.CRITICAL + 1)

OWN_HEADERS = {"Accept-Encoding": "identity"}


class Answer:
    """As much of an aiohttp response as slack-sdk looks at."""

    content_type = "application/json"  # or slack-sdk would not look for JSON

    def __init__(self, status: int, headers: CIMultiDictProxy[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def text(self) -> str:
        """Return the start of the body."""
        return self._body.decode(errors="replace")

    async def json(self) -> dict[str, Any]:
        """Return the JSON object that the body is; anything else, which slack-sdk trips over, as one."""
        try:
            value = json.loads(self._body)
        except (ValueError, RecursionError):
            value = None
        return value if isinstance(value, dict) else {NO_OBJECT: await self.text()}


class Session:
    """What slack-sdk takes for an aiohttp session: each request on our terms."""

    closed = False

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: timedelta,
        tls: ssl.SSLContext | bool,
        proxy: str | None,
        decompress: bool,
    ) -> None:
        self._session = session
        self._terms: dict[str, Any] = {
            "timeout": aiohttp.ClientTimeout(total=timeout.total_seconds()),
            "ssl": tls,
            "proxy": proxy,
            "allow_redirects": False,
            "auto_decompress": decompress,
        }

    @asynccontextmanager
    async def request(self, method: str, url: str, **arguments: Any) -> AsyncIterator[Answer]:
        """Make a request; raises what aiohttp raises."""
        headers = {**arguments.pop("headers", {}), **OWN_HEADERS}
        async with self._session.request(
            method, url, headers=headers, **(arguments | self._terms)
        ) as response:
            yield Answer(response.status, response.headers, await read_start(response, _READ_OF_ANSWER))
