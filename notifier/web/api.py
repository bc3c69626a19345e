"""What programs are told: JSON under /api/v1."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from aiohttp import web

from notifier import __version__
from notifier.hours import QuietNow
from notifier.items import count_mutes, list_deliveries, list_jobs
from notifier.model import DELIVERY_STATES, PollReport, is_delivery_state, utc_now
from notifier.muting import Muting, RefusedMuteError
from notifier.page import BadCursorError
from notifier.quiet import QuietSettings
from notifier.records import Records
from notifier.replays import Order, RefusedOrderError, Retried
from notifier.views import Status, list_sources, list_targets
from notifier.web.mutes import mute_routes
from notifier.web.reply import paging, reply


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about."""

    records: Records
    targets: Collection[str]
    """The names of the targets that are configured."""
    retry: Callable[[Order], Awaitable[list[str]]]
    """Makes dead letters pending again. Raises RefusedOrderError."""
    muting: Muting
    polls: Callable[[], Mapping[str, PollReport]]
    """Returns how the polls of each source are going."""
    state_path: Path
    started_at: datetime
    quiet: Mapping[str, QuietSettings] = MappingProxyType({})
    """The quiet hours of the targets that have some."""


class RetryAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an order to make dead letters pending again."""

    target: str | None = None
    """Only those for this target."""


def make_application(daemon: Daemon) -> web.Application:
    """Return what answers about this daemon.

    Answers are made and encoded in a thread, one at a time: polls go on and need not wait for it.
    """
    application = web.Application(middlewares=[_errors_as_json])
    turns = asyncio.Semaphore(1)

    async def answer(make: Callable[[], Any]) -> web.Response:
        async with turns:
            return await asyncio.to_thread(lambda: reply(make()))

    async def status(_: web.Request) -> web.Response:
        return await answer(partial(_status, daemon))

    async def jobs(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        return await answer(partial(list_jobs, daemon.records, now=utc_now(), limit=limit, cursor=cursor))

    async def deliveries(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        state = request.query.get("state")
        if state is not None and not is_delivery_state(state):
            raise web.HTTPBadRequest(text=f"state must be one of {', '.join(DELIVERY_STATES)}")
        return await answer(
            partial(
                list_deliveries,
                daemon.records,
                state=state,
                limit=limit,
                cursor=cursor,
                quiet=_quiet(daemon),
            )
        )

    async def retry(request: web.Request) -> web.Response:
        order = Order(id=request.match_info["id"])
        return reply(Retried(await daemon.retry(order)))

    async def retry_all(request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read() or b"{}", type=RetryAll)
        except ValueError as error:  # msgspec's own errors and those of UTF-8 are
            raise web.HTTPBadRequest(text=str(error)) from error
        if wanted.target is not None and wanted.target not in daemon.targets:
            raise web.HTTPNotFound(text=f"there is no target {wanted.target}")
        return reply(Retried(await daemon.retry(Order(target=wanted.target))))

    application.router.add_post("/api/v1/deliveries/retry", retry_all)
    application.router.add_post("/api/v1/deliveries/{id}/retry", retry)
    application.add_routes(mute_routes(daemon.records, daemon.muting, answer))
    application.router.add_get("/api/v1/status", status)
    application.router.add_get("/api/v1/jobs", jobs)
    application.router.add_get("/api/v1/deliveries", deliveries)
    return application


def _status(daemon: Daemon) -> Status:
    return Status(
        running=True,
        version=__version__,
        pid=os.getpid(),
        started_at=daemon.started_at,
        state=str(daemon.state_path),
        sources=list_sources(daemon.records, daemon.polls()),
        targets=list_targets(daemon.records, daemon.targets, _quiet(daemon)),
        mutes=count_mutes(daemon.records, utc_now()),
    )


def _quiet(daemon: Daemon) -> QuietNow:
    return QuietNow(hours=daemon.quiet, now=utc_now())


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedMuteError as error:
        return reply({"error": str(error)}, 404 if error.unknown else 400)
    except RefusedOrderError as error:
        return reply({"error": str(error)}, 404 if error.unknown else 409)
    except BadCursorError as error:
        return reply({"error": f"cursor: {error}"}, 400)
    except web.HTTPException as error:
        answer = reply({"error": error.text}, error.status)
        if "Allow" in error.headers:  # a 405 must have it (RFC 9110, section 15.5.6)
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
