"""Who may ask over TCP, and what browsers are told about every answer."""

import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from notifier.loopback import is_loopback
from notifier.summary import counted
from notifier.web.session import COOKIE, Sessions

_log = logging.getLogger(__name__)

_TELL_EVERY_SECONDS = 60.0

PROBES = frozenset({"/healthz", "/readyz"})
"""What whoever watches the process asks; it has no token."""
SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"
STATIC = "/static/"
"""What the page and the form look like: it is in the package, so it is no secret."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = frozenset({SIGN_IN, SIGN_OUT})
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "backfill-notifier",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Lets requests in: with a token those that carry it, without one those of this machine.

    What would change something must in both cases be JSON, which no form of another site can send.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self.sessions = None if token is None else Sessions(token)
        self._refusals = 0
        """Wrong tokens that the log has not told of."""
        self._tell_at = -math.inf

    @web.middleware
    async def let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that may be answered.

        Raises HTTPForbidden, HTTPUnauthorized or HTTPUnsupportedMediaType for one that may not.
        """
        if self._token is None:
            _check_host(request)
        elif not self._is_public(request.path) and not self._is_known(request):
            if "Authorization" in request.headers:
                self.refused(request)
            raise web.HTTPUnauthorized(
                text="a token is needed: Authorization: Bearer …, or sign in on the page",
                headers={"WWW-Authenticate": 'Bearer realm="backfill-notifier"'},
            )
        # What nothing answers has an error of its own: another method, or another address.
        if request.method not in _SAFE and request.match_info.http_exception is None:
            _check_change(request)
        return await handler(request)

    def refused(self, request: web.Request) -> None:
        """Note a wrong token: the log tells of it once a minute at most."""
        self._refusals += 1
        if (now := time.monotonic()) >= self._tell_at:
            _log.warning("web: %s, the last one from %s", _wrong_tokens(self._refusals), request.remote)
            self._tell_at, self._refusals = now + _TELL_EVERY_SECONDS, 0

    def is_token(self, text: str) -> bool:
        """Return whether this is the token; how long that takes does not depend on how much of it is."""
        return self._token is not None and hmac.compare_digest(_bytes(text), _bytes(self._token))

    def _is_public(self, path: str) -> bool:
        return path in PROBES or path == SIGN_IN or path.startswith(STATIC)

    def _is_known(self, request: web.Request) -> bool:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(credentials.strip()):
            return True
        return self.sessions is not None and self.sessions.holds(request.cookies.get(COOKIE, ""))


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Tell browsers to run nothing that is not ours, to frame, sniff and keep nothing."""
    response.headers.update(_HEADERS)


def _check_host(request: web.Request) -> None:
    # A name of an attacker's that resolves to 127.0.0.1 would let his page ask as if it were ours.
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        host = ""
    if not is_loopback(host):
        raise web.HTTPForbidden(
            text="without a token ([web] token) only this machine is answered: ask for localhost or 127.0.0.1"
        )


def _check_change(request: web.Request) -> None:
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        raise web.HTTPForbidden(text="another site's page may change nothing here")
    if request.path not in _FORMS and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="changes need the header Content-Type: application/json")


def _wrong_tokens(number: int) -> str:
    return counted(number, "request with a wrong token", "requests with a wrong token")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
