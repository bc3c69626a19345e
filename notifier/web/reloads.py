"""The config read again by order of a command."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from notifier.difference import Reloaded
from notifier.problem import ConfigError
from notifier.web.reply import Error, reply


def reload_routes(carry_out: Callable[[], Awaitable[Reloaded]]) -> list[web.RouteDef]:
    """Return what takes such orders."""

    async def reload(_: web.Request) -> web.Response:
        try:
            return reply(await carry_out())
        except ConfigError as error:
            return reply(Error(_spelled(error)), 422)

    return [web.post("/api/v1/reload", reload)]


def _spelled(error: ConfigError) -> str:
    lines = [f"  {problem.where}: {problem.message}" for problem in error.problems]
    count = f"{len(lines)} problem{'s' * (len(lines) > 1)}"
    first = f"not reloaded, the config before stays in force: {count} in {error.origin}:"
    return "\n".join([first, *lines])
