"""A service manager as a process sees it: a datagram socket, and what was told it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Manager:
    """Keeps each message as its fields."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}
        self.messages: list[dict[str, str]] = []
        self._changed = asyncio.Condition()

    async def told(self, field: str, count: int = 1, *, within: float = 20) -> str:
        """Wait until a field was told so many times; return the last of its values."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.values(field)) >= count)
        return self.values(field)[-1]

    async def told_that(self, text: str) -> str:
        """Wait for a status with this text; return it."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: any(text in each for each in self.values("STATUS")))
        return next(each for each in self.values("STATUS") if text in each)

    def values(self, field: str) -> list[str]:
        """Return what a field was told to be, in order."""
        return [message[field] for message in self.messages if field in message]

    async def listen(self, receiving: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await loop.sock_recv(receiving, 4096)
            async with self._changed:
                self.messages.append(dict(line.split("=", 1) for line in message.decode().splitlines()))
                self._changed.notify_all()


@asynccontextmanager
async def managed(directory: Path | None = None) -> AsyncIterator[Manager]:
    """Yield a manager that listens in the directory, or without one at an abstract address."""
    manager = Manager(f"\0notifier-test-{os.getpid()}" if directory is None else f"{directory}/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiving:
        receiving.bind(manager.address)
        listening = asyncio.create_task(manager.listen(receiving))
        try:
            yield manager
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
