"""The stream that tells open pages of changes, listened to by programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from notifier.model import PollReport
from notifier.records import Records
from notifier.web.session import COOKIE, Sessions
from notifier.web.stream import Rhythm
from tests.html import read_html
from tests.records import NOW, of, put, record
from tests.web import TOKEN, daemon_of, web_of


class Listener:
    """Reads a stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def mark(self, event: str = "changed") -> str:
        """Return what the next change, or another event, is marked with."""
        async with asyncio.timeout(10):
            while await self.answer.content.readline() != f"event: {event}\n".encode():
                pass
            return (await self.answer.content.readline()).decode().removeprefix("data: ").strip()

    async def ended(self) -> None:
        """Wait until the stream has ended."""
        async with asyncio.timeout(10):
            await self.answer.content.read()


@asynccontextmanager
async def listening(url: str, **headers: str) -> AsyncIterator[Listener]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/changes", headers=headers) as answer,
    ):
        yield Listener(answer)


async def test_it_tells_what_the_page_shows_and_then_of_each_change() -> None:
    records = of({"a": record()})
    polls = {"allium": PollReport(last_poll=NOW)}
    async with (
        web_of(daemon_of(records, polls=polls)) as url,
        aiohttp.ClientSession() as session,
        session.get(url) as page,
        listening(url) as listener,
    ):
        shown = read_html(await page.text()).one("main").attributes["data-mark"]
        assert listener.answer.content_type == "text/event-stream"
        assert await listener.mark() == shown
        put(records, [(("allium", "a"), record(status="failed"))])
        changed = await listener.mark()
        polls["allium"] = PollReport(last_poll=NOW, failures=1)
        assert len({shown, changed, await listener.mark()}) == 3


async def test_it_goes_on_to_say_that_it_is_there_when_nothing_changes() -> None:
    async with (
        web_of(daemon_of(Records()), rhythm=Rhythm(beat=0.1)) as url,
        listening(url) as listener,
    ):
        marks = [await listener.mark(), await listener.mark("beat"), await listener.mark("beat")]
        assert len(set(marks)) == 1


async def test_it_lasts_longer_than_an_answer_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifier.web.api._ANSWER_WITHIN_SECONDS", 0.3)
    records = Records()
    async with web_of(daemon_of(records)) as url, listening(url) as listener:
        marks = [await listener.mark()]
        for number in range(2):  # a second apart
            put(records, [(("allium", "a"), record(seen=number))])
            marks.append(await listener.mark())
        assert len(set(marks)) == 3


async def test_it_ends_with_the_server() -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(web_of(daemon_of(Records())))
        async with listening(url) as listener:
            await listener.mark()
            began = asyncio.get_running_loop().time()
            await stack.aclose()
            assert asyncio.get_running_loop().time() - began < 0.9, "it ended by itself, and was not cut off"
            await listener.ended()


async def test_so_many_may_listen_and_no_more_until_one_leaves() -> None:
    async with web_of(daemon_of(Records())) as url, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(listening(url)) for _ in range(50)]
        async with listening(url) as late:
            assert late.answer.status == 503
            assert "50 pages" in (await late.answer.json())["error"]
        others[0].answer.close()
        async with asyncio.timeout(10):
            while True:
                async with listening(url) as next_one:
                    if next_one.answer.status == 200:
                        break


async def test_it_is_for_those_who_may_see_the_page() -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        async with listening(url) as stranger:
            assert stranger.answer.status == 401
        async with listening(url, Cookie=f"{COOKIE}={Sessions(TOKEN).make()}") as known:
            assert await known.mark()


async def test_it_cannot_be_asked_for_its_head_alone() -> None:
    async with (
        web_of(daemon_of(Records())) as url,
        aiohttp.ClientSession() as session,
        session.head(f"{url}/changes") as answer,
    ):
        assert answer.status == 405
