"""The address that is listened on, and who connects to it."""

import asyncio
import contextlib
import logging

import aiohttp
import pytest

from notifier.address import ListenAddress
from notifier.records import Records
from notifier.web.api import make_application
from notifier.web.server import served_on
from tests.web import daemon_of, web_of
from tests.wire import closed_port


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as response:
        return response.status


async def test_it_says_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with web_of(daemon_of(Records())) as url:
        assert await status_of(url) == 200
    assert [record.message for record in caplog.records] == [f"the status page is at {url}/"]


async def test_an_address_that_is_taken_is_told_once_and_had_as_soon_as_it_is_free(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    application = make_application(daemon_of(Records()))
    async with served_on(ListenAddress("127.0.0.1", port), application, again_after_seconds=0.01) as opening:
        while not caplog.records:  # noqa: ASYNC110 - the first try happens within a few steps of the loop
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
        await opening
        assert await status_of(f"http://127.0.0.1:{port}") == 200
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", f"cannot listen on 127.0.0.1:{port}: address already in use; tried again"),
        ("INFO", f"the status page is at http://127.0.0.1:{port}/"),
    ]


async def test_it_stops_also_while_the_address_is_taken() -> None:
    with closed_port() as port:
        async with served_on(ListenAddress("127.0.0.1", port), make_application(daemon_of(Records()))):
            pass


async def test_when_there_are_too_many_connections_an_idle_one_goes_for_a_new_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_of(daemon_of(Records()), most_connections=2) as url:
        host, port = url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert await status_of(url) == 200
        assert caplog.messages == [
            "web: 2 connections are open, as many as there may be: idle ones are ended"
        ]
        ended = [asyncio.create_task(reader.read()) for reader, _ in held]
        _, still = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        assert len(still) == 1
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for _, writer in held:
            writer.close()


async def test_a_connection_whose_request_is_under_way_is_not_ended_for_another() -> None:
    async with web_of(daemon_of(Records()), most_connections=1) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        other, unheard = await asyncio.open_connection(host, int(port))
        assert await other.read() == b""
        for each in (writer, unheard):
            each.close()


async def test_who_connects_and_does_not_ask_is_cut_off() -> None:
    async with web_of(daemon_of(Records()), idle_seconds=0.05) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: local")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
