"""Whether the process works, and whether it does what it is for: asked by whoever watches it."""

from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from notifier.model import PollReport
from notifier.web.reply import reply


class Health(msgspec.Struct, frozen=True):
    """Whether the scheduler, the store and the lanes are alive, and what is not."""

    healthy: bool
    reasons: list[str]


class Readiness(msgspec.Struct, frozen=True):
    """Whether the state is open and each source's last poll was good, and what is not."""

    ready: bool
    reasons: list[str]


def probe_routes(
    vitals: Callable[[], list[str]], polls: Callable[[], Mapping[str, PollReport]]
) -> list[web.RouteDef]:
    """Return what answers `/healthz` and `/readyz`; `vitals` returns what is dead, a reason each."""

    async def health(_: web.Request) -> web.Response:
        reasons = vitals()
        return reply(Health(not reasons, reasons), 503 if reasons else 200)

    async def readiness(_: web.Request) -> web.Response:
        reasons = [*vitals(), *_unread(polls())]
        return reply(Readiness(not reasons, reasons), 503 if reasons else 200)

    return [web.get("/healthz", health), web.get("/readyz", readiness)]


def _unread(polls: Mapping[str, PollReport]) -> list[str]:
    """Return a reason for each source whose last poll was not good, or that has not been polled."""
    return [
        f"{name}: {report.last_error or 'not polled yet'}"
        for name, report in polls.items()
        if report.failures or report.last_poll is None
    ]
