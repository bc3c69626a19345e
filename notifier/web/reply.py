"""How requests are read and answered: pages of lists, JSON, HTML."""

import asyncio
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from notifier.catalogue import Wanted
from notifier.page import DEFAULT_LIMIT, LARGEST_LIMIT

LIMIT = web.RequestKey("limit", asyncio.Timeout)
"""What ends a request that takes too long; one that is meant to last reschedules it."""
_Body = TypeVar("_Body")


class Error(msgspec.Struct, frozen=True):
    """Why it was not done, in words."""

    error: str


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object: the address says it all."""


def read_body(body: bytes, type_: type[_Body]) -> _Body:
    """Return what a body says; none says as much as an empty object. Raises HTTPBadRequest."""
    try:
        return msgspec.json.decode(body or b"{}", type=type_)
    except ValueError as error:  # msgspec's own errors and those of UTF-8 are
        raise web.HTTPBadRequest(text=str(error)) from error


def paging(request: web.Request) -> tuple[int, str | None]:
    """Return how many items are wanted, and after which cursor. Raises HTTPBadRequest."""
    limit = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= LARGEST_LIMIT):
        raise web.HTTPBadRequest(text=f"limit must be a number from 1 to {LARGEST_LIMIT}")
    return int(limit), request.query.get("cursor")


def wanted_jobs(request: web.Request) -> Wanted:
    """Return which jobs are wanted; a filter that is left empty, as forms do, is none."""
    query = request.query
    return Wanted(
        status=query.get("status") or None,
        source=query.get("source") or None,
        table=query.get("table", "").strip() or None,
        text=query.get("q", "").strip() or None,
    )


def reply(value: Any, status: int = 200) -> web.Response:
    """Return the answer that is this value as JSON."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def html_reply(text: str, status: int = 200) -> web.Response:
    """Return the answer that is this HTML."""
    answer = web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
    answer.enable_compression()  # a list is a tenth of its size then
    return answer
