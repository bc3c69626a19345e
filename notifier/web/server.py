"""The page, the API and the metrics over TCP."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from notifier.address import ListenAddress
from notifier.transport import os_words
from notifier.web.faults import requests_log

_log = logging.getLogger(__name__)


_AGAIN_AFTER_SECONDS = 10.0
_MOST_CONNECTIONS = 256
"""Whoever opens more gets none: files must be left for polls, deliveries and the state."""
_TELL_EVERY_SECONDS = 60.0
_IDLE_SECONDS = 30.0
"""How long a connection may be open without a request."""


@asynccontextmanager
async def served_on(
    address: ListenAddress,
    application: web.Application,
    *,
    most_connections: int = _MOST_CONNECTIONS,
    idle_seconds: float = _IDLE_SECONDS,
    again_after_seconds: float = _AGAIN_AFTER_SECONDS,
) -> AsyncIterator[asyncio.Task[asyncio.Server]]:
    """Serve on the address for as long as the context lasts; yield what ends once it listens.

    While the address cannot be had that is logged, and it is tried again: polls and deliveries do not wait
    for a page.
    """
    doors = _Doors(most_connections, idle_seconds)
    application.middlewares.insert(0, doors.note)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=requests_log,
        shutdown_timeout=1.0,
        keepalive_timeout=idle_seconds,
        lingering_time=0.0,  # what is too large need not be read to its end
    )
    await runner.setup()
    opening = asyncio.create_task(
        _open(address, lambda: doors.accept(runner.server), again_after_seconds), name="web"
    )
    try:
        yield opening
    finally:
        opening.cancel()
        listening = (await asyncio.gather(opening, return_exceptions=True))[0]
        if isinstance(listening, asyncio.Server):
            listening.close()
        await runner.cleanup()


async def _open(
    address: ListenAddress, accept: Callable[[], asyncio.BaseProtocol], again_after_seconds: float
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    told = ""
    while True:
        try:
            server = await loop.create_server(accept, address.host, address.port, reuse_address=True)
        except OSError as error:
            reason = os_words(error)
            if reason != told:
                _log.error(
                    "cannot listen on %s:%s: %s; tried again", address.host or "", address.port, reason
                )
            told = reason
            await asyncio.sleep(again_after_seconds)
        else:
            port = server.sockets[0].getsockname()[1]
            _log.info("the status page is at %s", address._replace(port=port).url)
            return server


class _Doors:
    """Takes connections: not too many, and none that says nothing."""

    def __init__(self, most: int, idle_seconds: float) -> None:
        self._most = most
        self._idle_seconds = idle_seconds
        self._silent: set[asyncio.BaseProtocol] = set()
        """Those that brought no request yet, and were not given up for it."""
        self._busy: set[asyncio.BaseProtocol] = set()
        """Those whose requests are being answered."""
        self._tell_at = -math.inf

    @web.middleware
    async def note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Note that a connection brought a request; from now on the server itself ends it when idle."""
        self._silent.discard(request.protocol)
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)

    def accept(self, server: web.Server | None) -> asyncio.BaseProtocol:
        """Return what speaks on a new connection; when there are too many, an idle one has to go for it."""
        if server is None:
            return _Closed()
        if len(server.connections) >= self._most:
            self._tell_full()
            idle = next((each for each in server.connections if each not in self._busy), None)
            if idle is None:
                return _Closed()
            _end(idle)
        protocol = server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(self._idle_seconds, self._end_silent, protocol)
        return protocol

    def _tell_full(self) -> None:
        if (now := time.monotonic()) >= self._tell_at:
            self._tell_at = now + _TELL_EVERY_SECONDS
            _log.warning(
                "web: %s connections are open, as many as there may be: idle ones are ended", self._most
            )

    def _end_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            _end(protocol)


def _end(protocol: web.RequestHandler) -> None:
    if protocol.transport is not None:
        protocol.transport.abort()


class _Closed(asyncio.Protocol):
    """Closes its connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it at once."""
        transport.close()
