"""Mutes over HTTP: listed, made and ended."""

import asyncio
from functools import partial
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from notifier.duration import parse_duration
from notifier.items import list_mutes, show_mute
from notifier.model import utc_now
from notifier.muting import LONGEST_REASON, MuteOrder, Muting, Unmuted
from notifier.records import Records
from notifier.web.lists import Answer
from notifier.web.reply import Nothing, paging, read_body, reply

# More than spaces, among which Python counts some control characters that no pattern's \s has.
_NOT_BLANK = r"[^\s\x1c-\x1f\x85]"
_Words = Annotated[str, Meta(extra_json_schema={"pattern": _NOT_BLANK})]
_Reason = Annotated[str, Meta(extra_json_schema={"pattern": _NOT_BLANK, "maxLength": LONGEST_REASON})]
_Length = Annotated[
    str,
    Meta(
        extra_json_schema={
            "pattern": "^(?=.*[1-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 2,
            "format": "duration-of-a-mute",
        }
    ),
]


class WantedMute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of an order to mute jobs."""

    length: _Length = msgspec.field(name="for")
    """A duration such as "2h" or "1d12h": longer than 0s, ten years at most."""
    job_id: _Words | None = None
    """The one job that it is about."""
    table: _Words | None = None
    """A glob: jobs of these tables."""
    name: _Words | None = None
    """A glob: jobs that are called like this."""
    source: _Words | None = None
    """Jobs of this source; alone it is about the source itself, too."""
    reason: _Reason | None = None
    """Why, for people."""


def mute_routes(records: Records, muting: Muting, answer: Answer) -> list[web.RouteDef]:
    """Return what answers about mutes."""

    async def mutes(request: web.Request) -> web.Response:
        limit, cursor = paging(request)
        return await answer(partial(list_mutes, records, now=utc_now(), limit=limit, cursor=cursor))

    async def mute(request: web.Request) -> web.Response:
        made = await muting.mute(_order(await request.read()))
        return reply(await asyncio.to_thread(show_mute, records, made), 201)

    async def unmute(request: web.Request) -> web.Response:
        read_body(await request.read(), Nothing)
        return reply(Unmuted(await muting.unmute(request.match_info["id"])))

    return [
        web.get("/api/v1/mutes", mutes),
        web.post("/api/v1/mutes", mute),
        web.delete("/api/v1/mutes/{id:[^/]+}", unmute),
    ]


def _order(body: bytes) -> MuteOrder:
    wanted = read_body(body, WantedMute)
    try:
        length = parse_duration(wanted.length)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return MuteOrder(
        job_id=wanted.job_id,
        table=wanted.table,
        name=wanted.name,
        source=wanted.source,
        length=length,
        reason=wanted.reason,
    )
