"""What is around every page, and how a page becomes an answer."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from notifier.model import utc_now
from notifier.web.daemon import Daemon
from notifier.web.markup import render
from notifier.web.reply import html_reply
from notifier.web.session import COOKIE, Sessions
from notifier.web.stream import Rhythm, mark_of

Frame = Callable[[web.Request], dict[str, Any]]
"""Returns what every page shows."""


def make_frame(daemon: Daemon, sessions: Sessions | None, rhythm: Rhythm) -> Frame:
    """Return what makes it; `sessions` are those of people who signed in, None when nobody has to."""

    def frame(request: web.Request) -> dict[str, Any]:
        return {
            "root": root_of(request.raw_path),
            "mark": mark_of(daemon),
            "rhythm": rhythm,
            "configured_sources": frozenset(daemon.polls()),
            "configured_targets": frozenset(daemon.targets),
            "now": utc_now(),
            "started_at": daemon.started_at,
            "state_path": str(daemon.state_path),
            "signed_in": sessions is not None and sessions.holds(request.cookies.get(COOKIE, "")),
        }

    return frame


def root_of(path: str) -> str:
    """Return what leads from a path to the first page: relative, or no proxy could serve it elsewhere."""
    return "../" * (path.partition("?")[0].count("/") - 1) or "./"


def page(template: str, context: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return the answer that is a page."""
    return html_reply(render(template, context), status)


def query_of(**filters: str | None) -> Callable[..., str]:
    """Return what makes the query of a link to the same list with other filters; None leaves one out."""

    def query(**changes: str | None) -> str:
        changed = {**filters, **changes}
        return urlencode({name: value for name, value in changed.items() if value is not None})

    return query
