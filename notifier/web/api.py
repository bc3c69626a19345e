"""All that is answered over HTTP, joined: the pages, JSON under /api/v1, and what watches the process."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from notifier.muting import RefusedMuteError
from notifier.page import BadCursorError
from notifier.replays import RefusedOrderError
from notifier.web.daemon import Daemon
from notifier.web.frame import make_frame
from notifier.web.guard import Guard, add_headers
from notifier.web.lists import in_turn, list_routes
from notifier.web.look import look_routes
from notifier.web.metrics import metrics_routes
from notifier.web.mutes import mute_routes
from notifier.web.openapi import Door, document_routes
from notifier.web.page import page_routes
from notifier.web.probes import probe_routes
from notifier.web.refusal import refuse
from notifier.web.reloads import reload_routes
from notifier.web.reply import LIMIT
from notifier.web.retries import retry_routes
from notifier.web.sent import sent_routes
from notifier.web.sign_in import offer_sign_in, sign_in_routes
from notifier.web.stream import RHYTHM, Rhythm, stream_routes

_LARGEST_BODY = 64 * 1024
_ANSWER_WITHIN_SECONDS = 30.0
_PASSED_ON = {"Allow", "WWW-Authenticate"}
"""Which headers an error must keep (RFC 9110, sections 15.5.6 and 15.5.2)."""


def make_application(daemon: Daemon, guard: Guard | None = None, rhythm: Rhythm = RHYTHM) -> web.Application:
    """Return what answers about this daemon: whoever asks, or with a guard those that it lets in."""
    guards = [] if guard is None else [offer_sign_in, guard.let_in]
    application = web.Application(
        middlewares=[_errors_in_words, *guards, _read_whole], client_max_size=_LARGEST_BODY
    )
    application.on_response_prepare.append(add_headers)
    answer = in_turn()
    sessions = None if guard is None else guard.sessions
    frame = make_frame(daemon, sessions, rhythm)
    if guard is not None and sessions is not None:
        application.add_routes(sign_in_routes(guard, sessions))
    application.add_routes(page_routes(daemon, answer, frame))
    application.add_routes(sent_routes(daemon, answer, frame))
    application.add_routes(look_routes())
    application.add_routes(stream_routes(daemon, _ending(application), rhythm))
    application.add_routes(probe_routes(daemon.vitals, daemon.polls))
    application.add_routes(metrics_routes(daemon, answer))
    application.add_routes(list_routes(daemon, answer))
    application.add_routes(mute_routes(daemon.records, daemon.muting, answer))
    application.add_routes(retry_routes(daemon))
    if daemon.reload is not None and guard is None:  # it is for who may read the config, not for browsers
        application.add_routes(reload_routes(daemon.reload))
    application.add_routes(document_routes(application, _door(guard), answer))
    return application


def _ending(application: web.Application) -> asyncio.Event:
    """Return what is set when the application shuts down: what lasts must end by itself."""
    ending = asyncio.Event()

    async def end(_: web.Application) -> None:
        ending.set()

    application.on_shutdown.append(end)
    return ending


def _door(guard: Guard | None) -> Door:
    if guard is None:
        return "open"
    return "this machine" if guard.sessions is None else "token"


@web.middleware
async def _read_whole(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer once all was read: whoever answers before closes the connection on who still writes."""
    try:
        await request.read()
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text="the body broke off, or is not what its headers say") from error
    return await handler(request)


@web.middleware
async def _errors_in_words(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_SECONDS) as request[LIMIT]:
            return await handler(request)
    except TimeoutError:
        return refuse(request, f"not answered within {_ANSWER_WITHIN_SECONDS:.0f} s", 503)
    except RefusedMuteError as error:
        return refuse(request, str(error), 404 if error.unknown else 400)
    except RefusedOrderError as error:
        return refuse(request, str(error), 404 if error.unknown else 409)
    except BadCursorError as error:
        return refuse(request, f"cursor: {error}", 400)
    except web.HTTPException as error:
        answer = refuse(request, error.text or error.reason, error.status)
        for name in _PASSED_ON & error.headers.keys():
            answer.headers[name] = error.headers[name]
        return answer
