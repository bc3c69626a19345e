"""What pages look like and how they move: the files in this package, which are no secret."""

from importlib.resources import files
from pathlib import PurePath

from aiohttp import web

from notifier.web.guard import STATIC

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Not as the machine has it: what is served as another kind no browser uses."""


def look_routes() -> list[web.RouteDef]:
    """Return what answers with these files."""
    return [_route(file.name, file.read_bytes()) for file in (files("notifier.web") / "static").iterdir()]


def _route(name: str, content: bytes) -> web.RouteDef:
    kind = _KINDS[PurePath(name).suffix]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8")

    return web.get(STATIC + name, answer)
