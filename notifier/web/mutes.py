"""Mutes over HTTP: listed, made and ended."""

import asyncio
from functools import partial

import msgspec
from aiohttp import web

from notifier.duration import parse_duration
from notifier.items import list_mutes, show_mute
from notifier.model import utc_now
from notifier.muting import MuteOrder, Muting, Unmuted
from notifier.records import Records
from notifier.web.lists import Answer
from notifier.web.reply import paging, reply


class WantedMute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an order to mute jobs."""

    length: str = msgspec.field(name="for")
    """A duration such as "2h"."""
    job_id: str | None = None
    table: str | None = None
    name: str | None = None
    source: str | None = None
    reason: str | None = None


def mute_routes(records: Records, muting: Muting, answer: Answer) -> list[web.RouteDef]:
    """Return what answers about mutes."""

    async def mutes(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        return await answer(partial(list_mutes, records, now=utc_now(), limit=limit, cursor=cursor))

    async def mute(request: web.Request) -> web.Response:
        made = await muting.mute(_order(await request.read()))
        return reply(await asyncio.to_thread(show_mute, records, made), 201)

    async def unmute(request: web.Request) -> web.Response:
        return reply(Unmuted(await muting.unmute(request.match_info["id"])))

    return [
        web.get("/api/v1/mutes", mutes),
        web.post("/api/v1/mutes", mute),
        web.delete("/api/v1/mutes/{id:[^/]+}", unmute),
    ]


def _order(body: bytes) -> MuteOrder:
    try:
        wanted = msgspec.json.decode(body, type=WantedMute)
        length = parse_duration(wanted.length)
    except ValueError as error:  # msgspec's own errors and those of UTF-8 are
        raise web.HTTPBadRequest(text=str(error)) from error
    return MuteOrder(
        job_id=wanted.job_id,
        table=wanted.table,
        name=wanted.name,
        source=wanted.source,
        length=length,
        reason=wanted.reason,
    )
