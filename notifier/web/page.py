"""The pages that people look at: all of it on one, and one for each job."""

from functools import partial

from aiohttp import web

from notifier.web.board import make_board, spell_troubles
from notifier.web.daemon import Daemon
from notifier.web.dossier import make_dossier
from notifier.web.frame import Frame, page, query_of
from notifier.web.lists import Answer
from notifier.web.reply import wanted_jobs


def page_routes(daemon: Daemon, answer: Answer, frame: Frame) -> list[web.RouteDef]:
    """Return what answers with them."""

    async def board(request: web.Request) -> web.Response:
        wanted, cursor = wanted_jobs(request), request.query.get("cursor")
        found = partial(
            make_board,
            daemon.catalogue,
            polls=daemon.polls(),
            targets=list(daemon.targets),
            dead_parts=daemon.vitals(),
            quiet=daemon.quiet_now,
            wanted=wanted,
            cursor=cursor,
        )
        query = query_of(q=wanted.text, table=wanted.table, source=wanted.source, status=wanted.status)
        context = frame(request) | {"query": query}

        def make() -> web.Response:
            made = found()
            return page("page.html", context | {"board": made, "trouble": spell_troubles(made.troubles)})

        return await answer(make)

    async def job(request: web.Request) -> web.Response:
        key, quiet = (request.match_info["source"], request.match_info["id"]), daemon.quiet_now
        context = frame(request) | {"key": key}

        def make() -> web.Response:
            dossier = make_dossier(daemon.catalogue, key, quiet)
            if dossier is None:
                return page("missing.html", context, 404)
            return page("job.html", context | {"dossier": dossier})

        return await answer(make)

    return [web.get("/", board), web.get("/jobs/{source:[^/]+}/{id:[^/]+}", job)]
