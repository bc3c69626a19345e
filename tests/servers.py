"""A scripted API or receiver on loopback, and elements for it to list."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class ScriptedServer:
    """An HTTP server that answers as it was last told and keeps every request.

    `answer` is what the next requests get: a response, a JSON value, bytes, or a function of the request
    (plain or async). `script` goes first, one answer a request.
    """

    def __init__(self) -> None:
        self.answer: Any = web.Response(status=204)
        self.script: list[Any] = []
        self.requests: list[tuple[web.Request, bytes]] = []
        self.url = ""
        self._changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = self.script.pop(0) if self.script else self.answer
        async with self._changed:
            self.requests.append((request, body))
            self._changed.notify_all()
        if callable(answer):
            answer = answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.StreamResponse):
            return _again(answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return web.json_response(answer)

    async def arrived(self, count: int) -> None:
        """Wait until this many requests have come in all."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON bodies of all requests."""
        return [json.loads(body) for _, body in self.requests if body]


def _again(answer: web.StreamResponse) -> web.StreamResponse:
    """Return an equal response: aiohttp sends each object once."""
    if isinstance(answer, web.Response) and not answer.prepared:
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
    return answer


@asynccontextmanager
async def served(
    server: ScriptedServer, port: int = 0, *, listening: socket.socket | None = None
) -> AsyncIterator[ScriptedServer]:
    """Serve on loopback, or on a socket that is there already."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.SockSite(runner, listening or socket.create_server(("127.0.0.1", port))).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def job(job_id: str = "j1", status: str = "staging", **fields: Any) -> dict[str, Any]:
    """Return an element of the listing as the API documents it."""
    return {
        "job_id": job_id,
        "workflow_id": f"beam-backfill-org123-{job_id}",
        "organization_id": "org123",
        "status": status,
        "job_name": f"Name of {job_id}",
        "table": "base.assets.erc20_token_transfers",
        "partition_key": "block_timestamp",
        "backfill_start": "2024-01-01T00:00:00",
        "backfill_end": "2024-02-01T00:00:00",
        "filter_column": "token_address",
        "filter_values": ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"],
        "destinations": [{"type": "kafka", "name": "base-usdc", "uid": "u1"}],
        "static_egress_ip": False,
        "num_chunks": None if status == "staging" else 1000,
        "chunks_left": None if status == "staging" else 423,
        "error_message": None,
        "time_created": "2024-04-27T10:30:00Z",
        "time_completed": None,
    } | fields
