"""Webhook receivers on one port each, bare and in a process of their own: what is measured is not they.

Usage: receivers.py MODE...; a MODE is `take` (204 at once) or `hang` (never answers). Prints their ports,
then on each line of standard input the number and times of arrival at each since the line before, as JSON.
"""

import asyncio
import json
import sys
import time


class Receiver(asyncio.Protocol):
    """Answers each request, or none."""

    def __init__(self, arrivals: list[float], *, answers: bool) -> None:
        self._arrivals = arrivals
        self._answers = answers
        self._left = 0
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count each request when its whole body is there."""
        while data:
            if not self._left:
                self._head += data
                head, found, data = self._head.partition(b"\r\n\r\n")
                if not found:
                    return
                self._head = b""
                self._left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            taken = min(self._left, len(data))
            self._left, data = self._left - taken, data[taken:]
            if not self._left:
                self._arrivals.append(time.time())
                if self._answers:
                    self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def serve(modes: list[str]) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    arrivals: list[list[float]] = []
    for mode in modes:
        arrivals.append([])
        server = await loop.create_server(
            lambda times=arrivals[-1], mode=mode: Receiver(times, answers=mode == "take"),  # type: ignore[misc]
            "127.0.0.1",
            0,
        )
        print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(arrivals), flush=True)
        for times in arrivals:
            times.clear()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
