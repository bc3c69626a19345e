"""Tells browsers that something changed, while they listen: server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from contextlib import suppress

import msgspec
from aiohttp import web

from notifier.fingerprint import fingerprint
from notifier.web.daemon import Daemon
from notifier.web.reply import LIMIT

_LOOK_EVERY_SECONDS = 0.25
_TELL_EVERY_SECONDS = 1.0
_AGAIN_AFTER_MILLISECONDS = 1000
"""When browsers connect again after a connection was lost, as by a restart."""
_MOST_STREAMS = 50
"""Each holds a connection for as long as a page is open, and programs need some, too."""
_HEADERS = {"X-Accel-Buffering": "no"}  # a proxy that buffers would tell nothing for minutes


class Rhythm(msgspec.Struct, frozen=True, kw_only=True):
    """How often an open page hears of its daemon, and what it makes of hearing nothing; in seconds."""

    beat: float = 2.0
    """The stream says something so often, even when nothing changed."""
    patience: float = 8.0
    """A page that has heard nothing for so long says that there is no answer; it looks once a second."""
    again: float = 15.0
    """How often a page without a stream asks by itself."""


RHYTHM = Rhythm()


def mark_of(daemon: Daemon) -> str:
    """Return what is another one whenever pages have something new to show."""
    quiet = daemon.quiet_now
    return fingerprint(
        msgspec.json.encode(
            (
                daemon.started_at,
                daemon.records.version,
                dict(daemon.polls()),
                sorted(daemon.targets),
                daemon.vitals(),
                {target: quiet.until(target) for target in daemon.quiet()},
            )
        )
    )


def stream_routes(daemon: Daemon, ending: asyncio.Event, rhythm: Rhythm) -> list[web.RouteDef]:
    """Return what answers with a stream of marks, until the application is `ending` or nobody listens."""
    listening = 0

    async def stream(request: web.Request) -> web.StreamResponse:
        nonlocal listening
        if listening >= _MOST_STREAMS or ending.is_set():
            raise web.HTTPServiceUnavailable(text=f"{listening} pages are told of changes already")
        listening += 1
        try:
            request[LIMIT].reschedule(None)
            response = web.StreamResponse(headers=_HEADERS)
            response.content_type = "text/event-stream"
            await response.prepare(request)
            with suppress(ConnectionError):  # whoever listened has left
                await _tell(daemon, request, response, ending, rhythm)
            return response
        finally:
            listening -= 1

    return [web.get("/changes", stream, allow_head=False)]


async def _tell(
    daemon: Daemon,
    request: web.Request,
    response: web.StreamResponse,
    ending: asyncio.Event,
    rhythm: Rhythm,
) -> None:
    await response.write(f"retry: {_AGAIN_AFTER_MILLISECONDS}\n\n".encode())
    clock = asyncio.get_running_loop().time
    told, told_at, spoke_at = "", 0.0, 0.0
    while not ending.is_set() and not (request.transport is None or request.transport.is_closing()):
        mark, now = mark_of(daemon), clock()
        if mark != told and now - told_at >= _TELL_EVERY_SECONDS:
            await response.write(f"event: changed\ndata: {mark}\n\n".encode())
            told, told_at, spoke_at = mark, now, now
        elif now - spoke_at >= rhythm.beat:  # an event: scripts are not told of comments
            await response.write(f"event: beat\ndata: {told}\n\n".encode())
            spoke_at = now
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), _LOOK_EVERY_SECONDS)
