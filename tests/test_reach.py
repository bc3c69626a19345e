"""What a config needs to reach, and whether any of it takes a connection: with real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier.assembly import make_reach
from notifier.config import load_config
from notifier.reach import Place, Reach, needed_places
from notifier.settings import Settings
from tests.servers import ScriptedServer
from tests.wire import closed_port, wired

WEBHOOK = '[targets.{name}]\ntype = "webhook"\nurl = "{url}"\n'
API = Place("api.allium.so", 443)
NOWHERE = Place("no-such-host.invalid", 443)


def load(text: str) -> Settings:
    Path("notifier.toml").write_text(text)
    return load_config(None, {}).settings


def source(name: str = "allium", more: str = "") -> str:
    return f'[[sources]]\nname = "{name}"\napi_key = "key of {name}"\n{more}\n'


# ------------------------------------------------------------------------------------ the places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        pytest.param(source(), [API], id="a source"),
        pytest.param(source() + source("two"), [API], id="one place for two"),
        pytest.param(
            source(more='base_url = "http://Allium.Example.com./gateway"\ninsecure_http = true'),
            [Place("allium.example.com", 80)],
            id="as it is looked up",
        ),
        pytest.param(
            source(more='base_url = "https://[2001:db8::1]:8443"'), [Place("2001:db8::1", 8443)], id="IPv6"
        ),
        pytest.param(
            source(more='base_url = "https://bücher.example"'),
            [Place("xn--bcher-kva.example", 443)],
            id="IDN",
        ),
        pytest.param(
            source(more='proxy = "http://user:password@proxy.example.com:3128"')
            + WEBHOOK.format(name="ops", url="https://ops.example.com/hooks")
            + 'proxy = "http://proxy.example.com:3128"\n',
            [Place("proxy.example.com", 3128)],
            id="a proxy instead of what is behind it",
        ),
        pytest.param(
            source()
            + WEBHOOK.format(name="ops", url="https://user:password@ops.example.com:444/hooks?x=1")
            + '[targets.team]\ntype = "slack"\ntoken = "xoxb-1"\nchannel = "#x"\n'
            + '[targets.chat]\ntype = "slack"\nwebhook_url = "https://chat.example.com/hooks/x"\n',
            [
                API,
                Place("ops.example.com", 444),
                Place("slack.com", 443),
                Place("chat.example.com", 443),
            ],
            id="targets of each kind",
        ),
        pytest.param(
            source(more='proxy = "http://127.9.9.9:3128"')
            + WEBHOOK.format(name="a", url="http://localhost:8080/")
            + WEBHOOK.format(name="b", url="http://[::1]/")
            + WEBHOOK.format(name="c", url="https://ops.example.com/")
            + WEBHOOK.format(name="d", url="https://app.localhost/"),
            [Place("ops.example.com", 443)],
            id="nothing on loopback",
        ),
        pytest.param(
            source(more='base_url = "http://localhost"')
            + WEBHOOK.format(name="a", url="http://127.0.0.1:8080/")
            + WEBHOOK.format(name="b", url="http://127.0.0.1:8080/other"),
            [Place("localhost", 80), Place("127.0.0.1", 8080)],
            id="loopback when there is nothing else",
        ),
    ],
)
def test_the_places_that_a_config_needs(text: str, places: list[Place]) -> None:
    assert list(needed_places(load(text))) == places


# ---------------------------------------------------------------------------------------- asking


@contextlib.contextmanager
def listening(family: socket.AddressFamily = socket.AF_INET, *, full: bool = False) -> Iterator[Place]:
    """Yield a place that listens and never accepts; a full one has no room for another connection."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket(family))
        listener.bind((address, 0))
        listener.listen(0 if full else 10)
        for _ in range(5 if full else 0):
            caller = sockets.enter_context(socket.socket(family))
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield Place(address, listener.getsockname()[1])


@contextlib.contextmanager
def closed() -> Iterator[Place]:
    with closed_port() as port:
        yield Place("127.0.0.1", port)


async def test_one_place_that_takes_a_connection_is_enough() -> None:
    with closed() as first, listening() as second:
        assert not await Reach([first, second, NOWHERE]).is_offline()
        assert not await Reach([second, first]).is_offline()


async def test_it_is_offline_when_no_place_takes_a_connection() -> None:
    with closed() as first, closed() as second:
        assert await Reach([first, second]).is_offline()
        assert await Reach([first, NOWHERE]).is_offline()
        assert await Reach([NOWHERE, Place("other.invalid", 443)]).is_offline()


async def test_of_less_than_two_places_nobody_can_tell() -> None:
    with closed() as place:
        assert not await Reach([]).is_offline()
        assert not await Reach([place]).is_offline()
        assert not await Reach([place, place]).is_offline()


async def test_a_place_that_does_not_answer_is_waited_for_no_longer_than_allowed() -> None:
    with listening(full=True) as hanging, closed() as refusing, listening() as good:
        async with asyncio.timeout(4):
            assert await Reach([hanging, refusing], within_seconds=0.3).is_offline()
            assert not await Reach([hanging, good], within_seconds=60).is_offline()


async def test_names_and_addresses_of_both_families_are_tried() -> None:
    async with wired(b"", read=False) as url:
        port = int(url.rpartition(":")[2])
        assert not await Reach([Place("localhost", port), NOWHERE]).is_offline()
    with listening(socket.AF_INET6) as place:
        assert not await Reach([place, NOWHERE]).is_offline()


async def test_a_connection_is_closed_at_once() -> None:
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        ended.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        assert not await Reach([Place(*server.sockets[0].getsockname()), NOWHERE]).is_offline()
        await ended.wait()


async def test_it_can_be_cancelled_and_leaves_nothing_behind() -> None:
    with listening(full=True) as first, listening(full=True) as second:
        asking = asyncio.create_task(Reach([first, second]).is_offline())
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_it_is_made_of_a_config(api: ScriptedServer) -> None:
    with closed_port() as port:
        text = source(more=f'base_url = "{api.url}"') + WEBHOOK.format(
            name="ops", url=f"http://127.0.0.1:{port}/"
        )
        assert not await make_reach(load(text)).is_offline()
        assert await make_reach(load(text.replace(api.url, f"http://localhost:{port}"))).is_offline()
