"""The page of deliveries: what was sent, what waits, what was given up."""

from functools import partial

from aiohttp import web

from notifier.deliveries import list_deliveries
from notifier.model import DELIVERY_STATES, is_delivery_state
from notifier.web.daemon import Daemon
from notifier.web.frame import Frame, page, query_of
from notifier.web.lists import Answer

_MOST = 50
"""On a page."""


def sent_routes(daemon: Daemon, answer: Answer, frame: Frame) -> list[web.RouteDef]:
    """Return what answers with it."""

    async def sent(request: web.Request) -> web.Response:
        state, target = request.query.get("state") or None, request.query.get("target") or None
        if state is not None and not is_delivery_state(state):
            raise web.HTTPBadRequest(text=f"state must be one of {', '.join(DELIVERY_STATES)}")
        cursor = request.query.get("cursor")
        context = frame(request) | {
            "query": query_of(state=state, target=target),
            "state": state,
            "target": target,
            "states": DELIVERY_STATES,
            "targets": sorted({*daemon.targets, *([] if target is None else [target])}),
        }

        found = partial(
            list_deliveries,
            daemon.catalogue,
            state=state,
            target=target,
            limit=_MOST,
            cursor=cursor,
            quiet=daemon.quiet_now,
        )

        def make() -> web.Response:
            return page("deliveries.html", context | {"page": found(), "is_first": cursor is None})

        return await answer(make)

    return [web.get("/deliveries", sent)]
