"""A Unix socket beside the state file, by which commands reach the daemon that holds it."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from notifier.unix import short_path, socket_path
from notifier.web.faults import requests_log


@asynccontextmanager
async def served_beside(state: Path, application: web.Application) -> AsyncIterator[None]:
    """Serve on the socket, for its owner alone. Raises OSError when that is impossible.

    The caller holds the state: a socket that is there was left behind.
    """
    path = socket_path(state)
    runner = web.AppRunner(
        application, access_log=None, logger=requests_log, shutdown_timeout=1.0, lingering_time=0.0
    )
    await runner.setup()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_path(path) as address:
            listening.bind(address)
        path.chmod(0o600)  # before anybody can connect: it does not listen yet
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()
        listening.close()
        with suppress(OSError):  # the next daemon replaces what is left
            path.unlink()
