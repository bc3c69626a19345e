"""All that is answered over HTTP, joined: JSON under /api/v1, and what watches the process."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from notifier.muting import RefusedMuteError
from notifier.page import BadCursorError
from notifier.replays import RefusedOrderError
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard, add_headers
from notifier.web.lists import in_turn, list_routes
from notifier.web.metrics import metrics_routes
from notifier.web.mutes import mute_routes
from notifier.web.probes import probe_routes
from notifier.web.reloads import reload_routes
from notifier.web.reply import reply
from notifier.web.retries import retry_routes

_LARGEST_BODY = 64 * 1024
_ANSWER_WITHIN_SECONDS = 30.0
_PASSED_ON = {"Allow", "WWW-Authenticate"}
"""Which headers an error must keep (RFC 9110, sections 15.5.6 and 15.5.2)."""


def make_application(daemon: Daemon, guard: Guard | None = None) -> web.Application:
    """Return what answers about this daemon: whoever asks, or with a guard those that it lets in."""
    guards = [] if guard is None else [guard.let_in]
    application = web.Application(middlewares=[_errors_as_json, *guards], client_max_size=_LARGEST_BODY)
    application.on_response_prepare.append(add_headers)
    answer = in_turn()
    application.add_routes(probe_routes(daemon.vitals, daemon.polls))
    application.add_routes(metrics_routes(daemon, answer))
    application.add_routes(list_routes(daemon, answer))
    application.add_routes(mute_routes(daemon.records, daemon.muting, answer))
    application.add_routes(retry_routes(daemon))
    if daemon.reload is not None and guard is None:  # it is for who may read the config, not for browsers
        application.add_routes(reload_routes(daemon.reload))
    return application


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_SECONDS):
            await request.read()  # whoever answers before would close the connection on who still writes
            return await handler(request)
    except TimeoutError:
        return reply({"error": f"not answered within {_ANSWER_WITHIN_SECONDS:.0f} s"}, 503)
    except RefusedMuteError as error:
        return reply({"error": str(error)}, 404 if error.unknown else 400)
    except RefusedOrderError as error:
        return reply({"error": str(error)}, 404 if error.unknown else 409)
    except BadCursorError as error:
        return reply({"error": f"cursor: {error}"}, 400)
    except web.HTTPException as error:
        answer = reply({"error": error.text}, error.status)
        for name in _PASSED_ON & error.headers.keys():
            answer.headers[name] = error.headers[name]
        return answer
