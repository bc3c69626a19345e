"""What is known, over HTTP: an overview, and lists of jobs, deliveries and events."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from notifier import __version__
from notifier.deliveries import list_deliveries
from notifier.items import count_mutes, list_jobs
from notifier.model import DELIVERY_STATES, is_delivery_state, utc_now
from notifier.timeline import list_events
from notifier.views import Status, list_sources, list_targets
from notifier.web.daemon import Daemon
from notifier.web.reply import paging, reply, wanted_jobs

Answer = Callable[[Callable[[], Any]], Awaitable[web.Response]]
"""Makes and encodes an answer in a thread; what is an answer already stays as it is."""


def in_turn() -> Answer:
    """Return what makes answers one at a time: polls go on and need not wait for them."""
    turns = asyncio.Semaphore(1)

    async def answer(make: Callable[[], Any]) -> web.Response:
        async with turns:
            return await asyncio.to_thread(_encoded, make)

    return answer


def _encoded(make: Callable[[], Any]) -> web.Response:
    made = make()
    return made if isinstance(made, web.Response) else reply(made)


def list_routes(daemon: Daemon, answer: Answer) -> list[web.RouteDef]:
    """Return what answers about sources, targets, jobs, deliveries and events."""

    async def status(_: web.Request) -> web.Response:
        return await answer(partial(overview, daemon))

    async def jobs(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        wanted = wanted_jobs(request)
        return await answer(
            partial(list_jobs, daemon.catalogue, now=utc_now(), wanted=wanted, limit=limit, cursor=cursor)
        )

    async def deliveries(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        state = request.query.get("state")
        if state is not None and not is_delivery_state(state):
            raise web.HTTPBadRequest(text=f"state must be one of {', '.join(DELIVERY_STATES)}")
        quiet = daemon.quiet_now
        return await answer(
            partial(
                list_deliveries,
                daemon.catalogue,
                state=state,
                target=request.query.get("target"),
                limit=limit,
                cursor=cursor,
                quiet=quiet,
            )
        )

    async def events(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        wanted = {key: request.query.get(key) for key in ("source", "job_id")}
        return await answer(partial(list_events, daemon.catalogue, limit=limit, cursor=cursor, **wanted))

    return [
        web.get("/api/v1/status", status),
        web.get("/api/v1/jobs", jobs),
        web.get("/api/v1/deliveries", deliveries),
        web.get("/api/v1/events", events),
    ]


def overview(daemon: Daemon) -> Status:
    """Return what the daemon is doing."""
    return Status(
        running=True,
        version=__version__,
        pid=os.getpid(),
        started_at=daemon.started_at,
        state=str(daemon.state_path),
        sources=list_sources(daemon.catalogue, daemon.polls()),
        targets=list_targets(daemon.catalogue, daemon.targets, daemon.quiet_now),
        mutes=count_mutes(daemon.records, utc_now()),
    )
