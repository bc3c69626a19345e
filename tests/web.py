"""The daemon's web server on loopback, asked by programs and browsers, for tests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from notifier.address import ListenAddress
from notifier.difference import Reloaded
from notifier.meter import Meter
from notifier.model import PollReport
from notifier.muting import Muting
from notifier.records import Records
from notifier.replays import Order
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard
from notifier.web.server import served_on
from notifier.web.stream import RHYTHM, Rhythm
from tests.records import NOW, no_muting, nothing_to_retry

TOKEN = "web-token-that-is-secret"
_GOOD = PollReport(last_poll=NOW, last_good_poll=NOW)


def daemon_of(
    records: Records,
    *,
    targets: list[str] | None = None,
    retry: Callable[[Order], Awaitable[list[str]]] = nothing_to_retry,
    muting: Muting | None = None,
    reload: Callable[[], Awaitable[Reloaded]] | None = None,
    meter: Meter | None = None,
    polls: Mapping[str, PollReport] | None = None,
    vitals: Callable[[], list[str]] = list,
    state_path: Path = Path("/var/lib/notifier/state.db"),
) -> Daemon:
    """Return what is asked about these records; unless told otherwise all that they name is configured."""
    return Daemon(
        records=records,
        targets=sorted(_targets_of(records)) if targets is None else targets,
        retry=retry,
        muting=muting or no_muting(),
        reload=reload,
        meter=meter or Meter(),
        polls=lambda: dict.fromkeys(_sources_of(records), _GOOD) if polls is None else polls,
        state_path=state_path,
        started_at=NOW,
        vitals=vitals,
    )


def _targets_of(records: Records) -> set[str]:
    return {delivery.target for _, record in records.outboxes() for delivery in record.deliveries}


def _sources_of(records: Records) -> set[str]:
    return {source for (source, _), _ in records.outboxes()}


@asynccontextmanager
async def web_of(
    daemon: Daemon, token: str | None = None, *, rhythm: Rhythm = RHYTHM, **terms: Any
) -> AsyncIterator[str]:
    """Serve a daemon as `[web]` has it; yield its address, without a slash at the end."""
    application = make_application(daemon, Guard(token), rhythm)
    async with served_on(ListenAddress("127.0.0.1", 0), application, **terms) as opening:
        yield f"http://127.0.0.1:{(await opening).sockets[0].getsockname()[1]}"
