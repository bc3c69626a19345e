"""Names are looked up beside each other: one that hangs delays no other, nor the end of the process."""

import asyncio
import socket
import subprocess
import sys

import aiohttp
import pytest

from notifier.assembly import open_session
from notifier.resolver import Resolver
from tests.servers import ScriptedServer

# In a process of its own: what cannot be made to hang here for real is the system's resolver.
HANGING = """
import asyncio, socket, time
from notifier.resolver import Resolver

ask = socket.getaddrinfo
def getaddrinfo(host, *arguments, **named):
    if host.startswith("hangs"):
        time.sleep(600)
    return ask(host, *arguments, **named)
socket.getaddrinfo = getaddrinfo

async def main():
    resolver = Resolver()
    stuck = [asyncio.create_task(resolver.resolve(f"hangs{n}", 80)) for n in range(50)]
    await asyncio.sleep(0)
    [found] = await resolver.resolve("localhost", 80)
    print(found["host"], await asyncio.to_thread(lambda: "free"))
    for task in stuck:
        task.cancel()

asyncio.run(main())
"""


async def test_a_name_is_looked_up_by_the_session(receiver: ScriptedServer) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")
    async with open_session() as session, session.post(url, data=b"{}") as response:
        assert response.status == 204


async def test_what_is_found_is_what_the_system_finds() -> None:
    found = await Resolver().resolve("localhost", 8080, socket.AF_INET)
    assert [(each["hostname"], each["host"], each["port"]) for each in found] == [
        ("localhost", "127.0.0.1", 8080)
    ]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "x..invalid"])
async def test_a_name_that_is_none_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match="."):
        await Resolver().resolve(host, 80)


async def test_a_name_that_is_none_is_told_as_such() -> None:
    async with open_session() as session:
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await session.get("http://no-such-host.invalid/")


async def test_a_question_that_is_given_up_leaves_nothing_behind() -> None:
    asking = asyncio.create_task(Resolver().resolve("localhost", 80))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await Resolver().resolve("localhost", 80)


def test_names_that_hang_delay_no_other_look_up_and_not_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "127.0.0.1 free\n"
