"""Asks the system's resolver in a thread of its own for each question.

By itself asyncio asks in the few threads of its default executor: hosts whose name servers hang would
delay every other look-up, and the end of the process, for as long as the system's time limit.
"""

import asyncio
import contextlib
import socket
import threading

from aiohttp.abc import AbstractResolver, ResolveResult


class Resolver(AbstractResolver):
    """What aiohttp's connector asks; a question that nobody waits for any more ends by itself."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError when there are none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(found: list[ResolveResult] | OSError) -> None:
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            found: list[ResolveResult] | OSError
            try:
                found = _look_up(host, port, family)
            except OSError as error:
                found = error
            except UnicodeError as error:  # of a name that is none
                found = OSError(str(error))
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Do nothing: threads end by themselves."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]),
            port=int(address[1]),
            family=found_family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for found_family, _, protocol, _, address in infos
    ]
