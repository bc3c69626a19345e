"""Signing in by a form, for whoever looks at pages: a browser cannot send the token by itself."""

import re
from urllib.parse import parse_qsl

from aiohttp import web

from notifier.web.frame import page, root_of
from notifier.web.guard import SIGN_IN, SIGN_OUT, Guard, Handler
from notifier.web.session import COOKIE, LASTS_SECONDS, Sessions

_WHERE = re.compile(r"(?:(?:jobs/|deliveries)[!-~]*|\?[!-~]*)?")
"""What leads back to a page of ours: relative, so never to another site."""


@web.middleware
async def offer_sign_in(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the form what a person asked for who has not signed in; programs are told in JSON."""
    try:
        return await handler(request)
    except web.HTTPUnauthorized as error:
        is_page = _WHERE.fullmatch(request.raw_path.removeprefix("/")) is not None
        if not is_page or "text/html" not in request.headers.get("Accept", ""):
            raise
        answer = _form(request.raw_path, request.raw_path.removeprefix("/"), "", 401)
        answer.headers["WWW-Authenticate"] = error.headers["WWW-Authenticate"]
        return answer


def sign_in_routes(guard: Guard, sessions: Sessions) -> list[web.RouteDef]:
    """Return what answers the form."""

    async def form(_: web.Request) -> web.Response:
        return _form(SIGN_IN, "", "", 200)

    async def sign_in(request: web.Request) -> web.Response:
        fields = dict(parse_qsl((await request.read()).decode(errors="replace")))
        token, where = (fields.get(name, "") for name in ("token", "where"))
        if not guard.is_token(token.strip()):
            guard.refused(request)
            return _form(SIGN_IN, where, "That is not the token.", 401)
        answer = _see(f"./{where}" if _WHERE.fullmatch(where) else "./")
        answer.set_cookie(
            COOKIE,
            sessions.make(),
            max_age=LASTS_SECONDS,
            path="/",
            # Who ends TLS before us says so; who lies only keeps his own browser from sending it.
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
            httponly=True,
            samesite="Strict",
        )
        return answer

    async def sign_out(_: web.Request) -> web.Response:
        answer = _see("./")
        answer.del_cookie(COOKIE, path="/")
        return answer

    return [web.get(SIGN_IN, form), web.post(SIGN_IN, sign_in), web.post(SIGN_OUT, sign_out)]


def _form(path: str, where: str, problem: str, status: int) -> web.Response:
    """Return the form, as the answer at a path."""
    return page("sign_in.html", {"root": root_of(path), "where": where, "problem": problem}, status)


def _see(where: str) -> web.Response:
    return web.Response(status=303, headers={"Location": where})
