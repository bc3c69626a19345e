"""Servers below HTTP: each answers with exact bytes, or not at all, as no HTTP library would let it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import trustme

_NO_LINGERING = struct.pack("ii", 1, 0)


def reply(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """Return an HTTP reply that ends with its connection; `lines` are further header lines."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""])
    return head.encode(errors="surrogateescape") + body


@contextlib.asynccontextmanager
async def wired(
    answer: bytes | None, *, read: bool = True, reset: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Yield the origin of a server that reads a request, writes these bytes and closes the connection.

    With None it never answers; without `read` it does not wait for a request; with `reset` it
    closes as a crashed peer does.
    """
    handlers: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.append(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if read:
                await _read_request(reader)
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*handlers)


async def _read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    _, _, length = head.partition("content-length: ")
    if length:
        await reader.readexactly(int(length.split("\r\n")[0]))


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port of loopback that refuses connections for as long as the context lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can get it meanwhile
        yield taken.getsockname()[1]


def tls_files(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what a TLS server on loopback needs, and the file of the authority that vouches for it."""
    authority, file = trustme.CA(), directory / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, file
