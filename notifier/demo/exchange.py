"""What the Slack stand-in reads of a request and writes as an answer."""

import json
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from notifier.demo.blocks import Refusal

_HOOK_ERRORS = {
    "no_service": (404, "no_service"),
    "is_archived": (410, "channel_is_archived"),
    "not_in_channel": (404, "channel_not_found"),
    "ratelimited": (429, "rate_limited"),
    "restricted_action_read_only_channel": (403, "action_prohibited"),
}


async def read_arguments(request: web.Request) -> dict[str, Any] | None:
    """Return what the query string and the JSON or form behind it hold; None when that is no JSON object."""
    body = await request.read()
    query: dict[str, Any] = dict(request.query)
    if request.content_type != "application/json":
        form = parse_qs(body.decode(errors="replace"))
        return query | {key: values[0] for key, values in form.items()}
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return query | value if isinstance(value, dict) else None


def refused(error: Refusal, headers: dict[str, str]) -> web.Response:
    """Return the API's answer to what it refuses."""
    wait = _retry_after(error)
    details = {key: value for key, value in error.details.items() if key != "retry_after"}
    return web.json_response(
        {"ok": False, "error": error.code} | details, status=429 if wait else 200, headers=headers | wait
    )


def hook_refused(error: Refusal) -> web.Response:
    """Return an incoming webhook's answer to what it refuses."""
    status, code = _HOOK_ERRORS.get(error.code, (400, error.code))
    return web.Response(status=status, text=code, headers=_retry_after(error))


def broken_off(request: web.Request) -> web.Response:
    """Break the connection, and return what nobody will receive."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _retry_after(error: Refusal) -> dict[str, str]:
    wait = error.details.get("retry_after")
    return {} if wait is None else {"Retry-After": wait}
