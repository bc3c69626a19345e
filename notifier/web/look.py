"""What pages look like and how they move: the files in this package, which are no secret."""

from importlib.resources import files
from mimetypes import guess_type

from aiohttp import web

from notifier.web.guard import STATIC


def look_routes() -> list[web.RouteDef]:
    """Return what answers with these files."""
    return [_route(file.name, file.read_bytes()) for file in (files("notifier.web") / "static").iterdir()]


def _route(name: str, content: bytes) -> web.RouteDef:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=guess_type(name)[0] or "", charset="utf-8")

    return web.get(STATIC + name, answer)
