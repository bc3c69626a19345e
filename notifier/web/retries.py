"""Dead letters made pending again over HTTP."""

import msgspec
from aiohttp import web

from notifier.replays import Order, Retried
from notifier.web.daemon import Daemon
from notifier.web.reply import Nothing, read_body, reply


class RetryAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an order to make dead letters pending again."""

    target: str | None = None
    """Only those for this target."""


def retry_routes(daemon: Daemon) -> list[web.RouteDef]:
    """Return what takes such orders."""

    async def retry(request: web.Request) -> web.Response:
        read_body(await request.read(), Nothing)
        return reply(Retried(await daemon.retry(Order(id=request.match_info["id"]))))

    async def retry_all(request: web.Request) -> web.Response:
        wanted = read_body(await request.read(), RetryAll)
        if wanted.target is not None and wanted.target not in daemon.targets:
            raise web.HTTPNotFound(text=f"there is no target {wanted.target}")
        return reply(Retried(await daemon.retry(Order(target=wanted.target))))

    return [
        web.post("/api/v1/deliveries/retry", retry_all),
        web.post("/api/v1/deliveries/{id}/retry", retry),
    ]
