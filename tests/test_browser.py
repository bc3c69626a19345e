"""The pages in a real browser: that they live, hinder nobody, and run nothing of what they show."""

import asyncio
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, expect

from notifier.address import ListenAddress
from notifier.model import Attempt, JobRecord, Mute, Outage, PollReport, SourceRecord, utc_now
from notifier.muting import Muting
from notifier.replays import Replays
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard
from notifier.web.server import served_on
from notifier.web.stream import RHYTHM, Rhythm
from tests.browser import PHONE, TABLET, chromium, is_wider_than_the_screen, violations, visit
from tests.records import at, delivery, of, record
from tests.test_page import HOSTILE
from tests.web import TOKEN, daemon_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIVE = "[data-live=live]"
LOST = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
"""What a browser logs of a server that went away."""
NO_ANSWER = re.compile(r"No answer since \d\d:\d\d:\d\d UTC; what is shown may be old")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


class Site:
    """A daemon's pages over a state that changes, whose orders are carried out."""

    def __init__(self, state: State, polls: dict[str, PollReport]) -> None:
        self.state = state
        self.daemon = daemon_of(
            state.records,
            targets=["data", "ops"],
            retry=Replays(state, targets=["data", "ops"]).carry_out,
            muting=Muting(state, sources=["allium"]),
            polls=polls,
        )
        self.url = ""

    async def put(self, **jobs: JobRecord) -> None:
        await self.state.commit(
            jobs={("allium", id_): (lambda _, each=each: each) for id_, each in jobs.items()}  # type: ignore[misc]
        )


@asynccontextmanager
async def served(
    daemon: Daemon, token: str | None = None, port: int = 0, rhythm: Rhythm = RHYTHM
) -> AsyncIterator[str]:
    application = make_application(daemon, Guard(token), rhythm)
    async with served_on(ListenAddress("127.0.0.1", port), application) as opening:
        yield f"http://127.0.0.1:{(await opening).sockets[0].getsockname()[1]}"


def usual() -> dict[str, JobRecord]:
    """Return jobs in each state that a page shows otherwise."""
    stalled = record(status="transporting", job_name="Stalled", num_chunks=100, chunks_left=50, seen=4)
    gone = record(status="staging", job_name="Gone", seen=3)
    return {
        "a": record(
            delivery(
                "1",
                state="dead",
                last_error="answered 413: too large",
                answer="too large",
                ended_at=at(1),
                history=(Attempt(at=at(1), outcome="refused", duration_ms=7, error="answered 413"),),
            ),
            delivery("2", target="data"),
            status="failed",
            job_name="USDC transfers",
            table="base.raw.logs",
            error_message="no memory",
            num_chunks=1000,
            chunks_left=423,
            seen=5,
        ),
        "b": msgspec.structs.replace(
            stalled, snapshot=msgspec.structs.replace(stalled.snapshot, stalled_at=at(9))
        ),
        "c": msgspec.structs.replace(gone, snapshot=msgspec.structs.replace(gone.snapshot, missing_polls=3)),
        "d": record(
            delivery("3", state="pending", target="data", last_error="503"), status="staging", seen=2
        ),
        "e": record(status="completed", job_name="DEX trades", num_chunks=7, chunks_left=0, seen=1),
        "f": record(status="paused_by_owner", job_name="Odd"),
        "g": record(status="cancelled", job_name="Cancelled"),
    }


def failing(*, trouble: bool = False) -> SourceRecord:
    until = utc_now() + timedelta(hours=3)
    outage = Outage(since=utc_now() - timedelta(minutes=9), reason="answered 502")
    return SourceRecord(
        id="x",
        mutes=(Mute(id="mut_1", created_at=at(0), until=until, table="base.dex.*", reason="known"),),
        outage=outage if trouble else None,
        outages={"data": outage} if trouble else {},
    )


@asynccontextmanager
async def site_of(
    directory: Path, jobs: dict[str, JobRecord], *, trouble: bool = False
) -> AsyncIterator[Site]:
    now = utc_now()
    good = PollReport(last_poll=now, last_good_poll=now, next_poll=now + timedelta(seconds=15))
    bad = PollReport(last_poll=now, failures=3, last_error="answered 503: busy")
    async with State(lambda: SqliteStore(directory / "state.db")) as state:
        site = Site(state, {"allium": bad if trouble else good})
        await state.commit(sources={"allium": lambda _: failing(trouble=trouble)})
        await site.put(**jobs)
        async with served(site.daemon) as site.url:
            yield site


@pytest_asyncio.fixture(loop_scope="module")
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_of(tmp_path, usual()) as site:
        yield site


def job_row(page: Page, name: str) -> Locator:
    return page.locator(".jobs tbody tr").filter(has_text=name)


# ------------------------------------------------------------------------------------------ live


async def test_a_change_shows_within_two_seconds(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url) as page:
        await expect(page.locator(LIVE)).to_be_visible()
        began = time.monotonic()
        await site.put(d=record(status="transporting", job_name="Renamed", seen=2))
        await job_row(page, "Renamed").wait_for(timeout=2000)
        sys.stdout.write(f"shown after {time.monotonic() - began:.2f} s\n")  # pytest -s
        await site.put(new=record(job_name="Brand new", seen=9))
        await expect(page.locator(".name").first).to_have_text("Brand new", timeout=2000)
        await site.state.commit(
            jobs={("allium", id_): lambda _: None for id_ in ("new", "a", "b")},
        )
        await expect(page.locator(".name").first).to_have_text("Gone", timeout=2000)
        await expect(page).to_have_title("Backfills · backfill-notifier")


async def test_what_a_person_does_outlives_changes(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url, "/?q=s", viewport={"width": 1180, "height": 300}) as page:
        await expect(page.locator(LIVE)).to_be_visible()
        shown = await page.locator(".name").all_inner_texts()
        await job_row(page, "USDC").locator("summary").click()
        await page.locator("[name=table]").fill("half typed")
        await job_row(page, "DEX").locator("[data-mute]").focus()
        await page.mouse.wheel(0, 300)
        await page.wait_for_function("scrollY > 100")
        place = await page.evaluate("scrollY")
        await site.put(
            e=record(status="failed", job_name="DEX trades", seen=1),
            z=record(job_name="Second", seen=60),
            none=record(job_name="X", seen=90),
        )
        await expect(page.locator(".name").first).to_have_text("Second")
        assert await page.locator(".name").all_inner_texts() == ["Second", *shown], "the filter holds"
        await expect(job_row(page, "DEX").locator(".badge").first).to_have_text("failed")
        await expect(job_row(page, "DEX").locator("[data-mute]")).to_be_focused()
        await expect(job_row(page, "USDC").locator("details")).to_have_attribute("open", "")
        await expect(page.locator("[name=table]")).to_have_value("half typed")
        assert await page.locator("[name=q]").input_value() == "s"
        assert abs(await page.evaluate("scrollY") - place) < 200


async def test_times_go_on_by_themselves(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url) as page:
        clock = page.locator("#sources time").first
        before = await clock.inner_text()
        await expect(clock).not_to_have_text(before)
        assert (await clock.inner_text()).endswith("ago")


async def test_when_the_server_was_away_it_goes_on(browser: Browser, site: Site) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(site.daemon))
        async with visit(browser, url, expected=LOST) as page:
            await _is_live(page)
            await stack.aclose()
            await _has_no_answer(page)
            await site.put(d=record(job_name="Meanwhile", seen=2))
            async with served(site.daemon, port=int(url.rpartition(":")[2])):
                await _is_live(page)
                await job_row(page, "Meanwhile").wait_for()
                await page.goto("about:blank")


async def _is_live(page: Page) -> None:
    await expect(page.locator(LIVE)).to_be_visible()
    await expect(page.get_by_role("alert")).to_be_hidden()
    await expect(page).not_to_have_title(re.compile("no answer"))
    await expect(page.locator("#sources .well .icon")).to_be_visible()


async def _has_no_answer(page: Page) -> None:
    await expect(page.get_by_role("alert")).to_have_text(NO_ANSWER)
    await expect(page).to_have_title("no answer · backfill-notifier")
    await expect(page.locator("[data-live=lost]")).to_have_text("no answer")
    await expect(page.locator("#sources .well .icon")).to_be_hidden()


class Freezable:
    """A server with a loop of its own, which can be stopped in its tracks: it takes what comes, and is silent."""

    def __init__(self, daemon: Daemon, rhythm: Rhythm) -> None:
        self._daemon = daemon
        self._rhythm = rhythm
        self._thawed = threading.Event()

    async def serve(self, started: Callable[[str], None]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with served(self._daemon, rhythm=self._rhythm) as url:
            started(url)
            await self._end.wait()

    def freeze(self) -> None:
        self._thawed.clear()
        self._loop.call_soon_threadsafe(self._thawed.wait)

    def thaw(self) -> None:
        self._thawed.set()

    def end(self) -> None:
        self.thaw()
        self._loop.call_soon_threadsafe(self._end.set)


@asynccontextmanager
async def freezable(daemon: Daemon, rhythm: Rhythm) -> AsyncIterator[tuple[Freezable, str]]:
    server, loop = Freezable(daemon, rhythm), asyncio.get_running_loop()
    started: asyncio.Future[str] = loop.create_future()

    def tell(url: str) -> None:
        loop.call_soon_threadsafe(started.set_result, url)

    thread = threading.Thread(target=lambda: asyncio.run(server.serve(tell)))
    thread.start()
    try:
        yield server, await started
    finally:
        server.end()
        await asyncio.to_thread(thread.join)


@pytest.mark.parametrize("path", ["/", "/jobs/allium/a", "/deliveries"])
async def test_when_the_server_is_frozen_it_says_so_until_it_answers(browser: Browser, path: str) -> None:
    records = of({"a": record(delivery("1"))})
    now = utc_now()
    polls = {"allium": PollReport(last_poll=now, last_good_poll=now)}
    async with (
        freezable(daemon_of(records, targets=["ops"], polls=polls), Rhythm(beat=0.1, patience=2.0)) as (
            server,
            url,
        ),
        visit(browser, url, path) as page,
    ):
        await expect(page.locator(LIVE)).to_be_visible()
        title = await page.title()
        server.freeze()
        await expect(page.get_by_role("alert")).to_have_text(NO_ANSWER)
        await expect(page).to_have_title("no answer · backfill-notifier")
        assert await violations(page) == []
        server.thaw()
        await expect(page.locator(LIVE)).to_be_visible()
        await expect(page.get_by_role("alert")).to_be_hidden()
        await expect(page).to_have_title(title)


async def test_who_hears_that_it_is_there_waits_for_a_page_that_takes_long(
    browser: Browser, site: Site
) -> None:
    async with (
        served(site.daemon, rhythm=Rhythm(beat=0.1, patience=1.0)) as url,
        visit(browser, url) as page,
    ):
        await _is_live(page)
        asked, answer = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            asked.set()
            await answer.wait()
            await route.continue_()

        await page.route(f"{url}/", hold)
        await site.put(d=record(job_name="Late", seen=2))
        await asked.wait()
        for _ in range(3):  # longer than its patience for who is silent
            await page.evaluate("new Promise(done => setTimeout(done, 400))")
            await expect(page.locator(LIVE)).to_be_visible()
        await expect(page.get_by_role("alert")).to_be_hidden()
        answer.set()
        await job_row(page, "Late").wait_for()
        await page.unroute_all(behavior="wait")


async def test_a_stream_that_a_proxy_holds_back_is_not_taken_for_silence(
    browser: Browser, site: Site
) -> None:
    rhythm = Rhythm(beat=60.0, patience=2.0)
    async with served(site.daemon, rhythm=rhythm) as url, visit(browser, url) as page:
        await _is_live(page)
        await expect(page.locator("[data-live=still]")).to_be_visible()
        for _ in range(3):
            async with page.expect_response(f"{url}/"):
                pass
            await expect(page.get_by_role("alert")).to_be_hidden()


async def test_without_a_stream_it_reloads_itself(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url, "/deliveries", expected=("ERR_FAILED",)) as page:
        await page.clock.install()
        await page.route("**/changes", lambda route: route.abort())
        await page.goto(site.url)
        await expect(page.locator("[data-live=still]")).to_have_text("reloads every 15 s")
        await site.put(d=record(job_name="Unheard", seen=2))
        await page.clock.fast_forward(15_000)
        await job_row(page, "Unheard").wait_for()


async def test_without_scripts_it_can_be_read_and_filtered(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url, java_script_enabled=False) as page:
        assert await page.locator(".name").count() == 7
        assert not await page.locator("button:visible", has_text="Mute").count()
        assert not await page.locator("button:visible", has_text="Retry").count()
        await page.get_by_label("Text").fill("usdc")
        await page.get_by_role("button", name="Filter").click()
        assert await page.locator(".name").all_inner_texts() == ["USDC transfers"]
        await page.get_by_role("link", name="USDC transfers").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("USDC transfers")


# -------------------------------------------------------------------------------------- everyone


async def _nothing(_: Page) -> None:
    pass


async def _open_all(page: Page) -> None:
    for summary in await page.locator("summary").all():
        await summary.click()


async def _ask_mute(page: Page) -> None:
    await page.locator("[data-mute]").first.click()
    await page.get_by_role("dialog").wait_for()


VIEWS: list[tuple[str, Callable[[Page], Awaitable[None]]]] = [
    ("/", _open_all),
    ("/?status=none", _nothing),
    ("/jobs/allium/a", _open_all),
    ("/jobs/allium/unknown", _nothing),
    ("/nowhere", _nothing),
    ("/deliveries", _open_all),
    ("/", _ask_mute),
]


@pytest.mark.parametrize(
    ("scheme", "size", "trouble", "views"),
    [
        ("light", TABLET, False, VIEWS),
        ("dark", PHONE, True, VIEWS),
        ("light", PHONE, True, VIEWS[:1]),
        ("dark", TABLET, False, VIEWS[:1]),
    ],
)
async def test_nothing_hinders_anybody(
    browser: Browser, tmp_path: Path, *, scheme: Any, size: Any, trouble: bool, views: list[Any]
) -> None:
    async with (
        site_of(tmp_path, usual(), trouble=trouble) as site,
        visit(
            browser,
            site.url,
            expected=("404 (Not Found)",),
            color_scheme=scheme,
            viewport=size,
            reduced_motion="reduce",
        ) as page,
    ):
        for path, prepare in views:
            await page.goto(site.url + path)
            await prepare(page)
            assert await violations(page) == [], (path, prepare.__name__)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_form_hinders_nobody(browser: Browser, site: Site, scheme: str) -> None:
    async with (
        served(site.daemon, TOKEN) as url,
        visit(browser, url, expected=("401 (Unauthorized)",), color_scheme=scheme, viewport=PHONE) as page,
    ):
        assert await violations(page) == []
        await page.get_by_label("Token").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        assert await violations(page) == []


async def test_an_empty_page_hinders_nobody(browser: Browser, tmp_path: Path) -> None:
    async with site_of(tmp_path, {}) as site, visit(browser, site.url) as page:
        assert await violations(page) == []


async def test_nobody_has_to_scroll_sideways(browser: Browser, tmp_path: Path) -> None:
    long = record(
        delivery("9", state="dead", last_error="e" * 500, answer="a" * 500),
        status="s" * 100,
        job_name="n" * 500,
        table="t" * 500,
        error_message="x" * 9000,
        seen=9,
    )
    narrow = {"width": 320, "height": 640}
    async with (
        site_of(tmp_path, {**usual(), "i" * 300: long}, trouble=True) as site,
        visit(browser, site.url, viewport=narrow) as page,
    ):
        for path in ("/", f"/jobs/allium/{'i' * 300}", "/jobs/allium/a", "/deliveries"):
            await page.goto(site.url + path)
            await _open_all(page)
            assert not await is_wider_than_the_screen(page), path
        await page.goto(site.url)
        await _ask_mute(page)
        assert not await is_wider_than_the_screen(page)


async def _tab_to(page: Page, target: Locator) -> None:
    for _ in range(80):
        await page.keyboard.press("Tab")
        if await target.evaluate("each => each === document.activeElement"):
            return
    pytest.fail("it cannot be reached by the keyboard")


async def test_all_can_be_done_by_keyboard(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url) as page:
        await expect(page.locator(LIVE)).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await _tab_to(page, job_row(page, "USDC").locator("summary"))
        await page.keyboard.press("Enter")
        await expect(job_row(page, "USDC").locator(".timeline")).to_be_visible()
        await page.keyboard.press("Shift+Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("USDC transfers")
        mute = page.get_by_role("button", name="Mute USDC transfers")
        await _tab_to(page, mute)
        await page.keyboard.press("Enter")
        await page.get_by_role("dialog").wait_for()
        await page.keyboard.press("Escape")
        await expect(mute).to_be_focused()
        await page.keyboard.press("Enter")
        await _tab_to(page, page.get_by_label("1 hour"))
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Tab")
        await page.keyboard.type("on holiday")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(page.get_by_role("status").filter(has_text="Muted for 4 hours.")).to_be_visible()
        unmute = page.get_by_role("button", name="Unmute USDC transfers")
        await expect(unmute).to_be_focused()
        [*_, made] = site.state.records.sources()["allium"].mutes
        assert (made.job_id, made.reason, made.until - made.created_at) == (
            "a",
            "on holiday",
            timedelta(hours=4),
        )
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("1 mute has ended.")).to_be_visible()
        await _tab_to(page, page.get_by_role("button", name="Retry for ops"))
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("1 dead letter is sent again.")).to_be_visible()
        record_ = site.state.records.job(("allium", "a"))
        assert record_ is not None
        assert record_.deliveries[0].state == "pending"
        await expect(page.locator("#events-title")).to_be_focused()


# ------------------------------------------------------------------------------------------ orders


async def test_a_table_or_a_source_can_be_muted(browser: Browser, tmp_path: Path) -> None:
    async with (
        site_of(
            tmp_path, {"a": record(table="odd[x]*", job_name="First"), "b": record(job_name="Second")}
        ) as site,
        visit(browser, site.url) as page,
    ):
        await job_row(page, "First").locator("[data-mute]").click()
        await page.get_by_role("radio", name="table odd[x]* of source allium").check()
        await page.get_by_label("1 week").check()
        await page.get_by_role("button", name="Mute", exact=True).click()
        await page.get_by_text("Muted for 1 week.").wait_for()
        await expect(job_row(page, "First").locator(".status")).to_contain_text("muted, ends in 6d 23h")
        await job_row(page, "Second").locator("[data-mute]").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("radio", name="table")).to_be_hidden()
        await expect(dialog.get_by_role("radio", name="job Second of source allium")).to_be_checked()
        await dialog.get_by_role("radio", name="source allium each").check()
        await page.get_by_role("button", name="Mute", exact=True).click()
        await expect(job_row(page, "Second").locator(".status")).to_contain_text("muted, ends in")
        await page.locator("#mutes").get_by_role("button", name="End the mute of source allium").click()
        await expect(job_row(page, "Second").locator(".status")).not_to_contain_text("muted")


async def test_all_dead_letters_of_a_target_are_retried_at_once(browser: Browser, site: Site) -> None:
    async with visit(browser, site.url) as page:
        await page.get_by_role("button", name="Retry 1 dead letter for ops").click()
        await page.get_by_text("1 dead letter is sent again.").wait_for()
        await expect(page.locator("#targets tr").filter(has_text="ops")).to_contain_text("1 pending for ops")
        await expect(page.locator("#targets-title")).to_be_focused()


async def test_what_goes_wrong_is_said(browser: Browser, site: Site) -> None:
    expected = ("404 (Not Found)", "409 (Conflict)", "ERR_FAILED")
    async with visit(browser, site.url, "/deliveries?state=dead", expected=expected) as page:
        await page.clock.install()
        await page.route("**/changes", lambda route: route.abort())
        await page.goto(f"{site.url}/deliveries?state=dead")
        await site.put(a=record(delivery("1"), status="failed"))
        await page.get_by_role("button", name="Retry for ops").click()
        said = page.locator("#outcome")
        await expect(said).to_have_text(
            "That did not work: dlv_1 is delivered; only a dead letter is made pending again"
        )
        await page.route("**/api/**", lambda route: route.abort())
        await page.get_by_role("button", name="Retry for ops").click()
        await expect(said).to_have_text("The notifier does not answer.")
        await page.goto(site.url)
        await site.state.commit(jobs={("allium", "e"): lambda _: None})
        await page.unroute("**/api/**")
        await job_row(page, "DEX").locator("[data-mute]").click()
        await page.get_by_role("button", name="Mute", exact=True).click()
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(
            "That did not work: there is no job e of source allium"
        )


# ------------------------------------------------------------------------------------------ safety


async def test_hostile_text_executes_nothing(browser: Browser, tmp_path: Path) -> None:
    jobs: dict[str, Any] = {
        f"{number}{text[:300]}": record(
            delivery(f"{number}", state="dead", last_error=text, answer=text),
            status=text,
            job_name=text,
            table=text[:300],
            error_message=text,
            seen=number,
        )
        for number, text in enumerate(HOSTILE)
    }
    async with site_of(tmp_path, jobs) as site, visit(browser, site.url) as page:
        await expect(page.locator(LIVE)).to_be_visible()
        await _open_all(page)
        await site.put(**jobs, last=record(job_name='<img src=x onerror="window.hit=1">', seen=99))
        await expect(page.locator(".name").first).to_have_text('<img src=x onerror="window.hit=1">')
        for button in await page.locator("[data-mute]").all():
            await button.click()
            await page.keyboard.press("Escape")
        await page.goto(f"{site.url}/deliveries")
        await page.get_by_role("button", name="Retry").first.click()
        await page.get_by_text("1 dead letter is sent again.").wait_for()
        await page.goto(site.url)
        for link in await page.locator(".name a").evaluate_all("all => all.map(each => each.href)"):
            answer = await page.goto(link)
            assert answer is not None
            assert answer.status == 200, link
            await _open_all(page)
            assert await page.evaluate("window.hit") is None


async def test_who_signs_in_comes_back_to_the_page_and_can_leave(browser: Browser, site: Site) -> None:
    async with (
        served(site.daemon, TOKEN) as url,
        visit(browser, url, "/jobs/allium/a", expected=("401 (Unauthorized)",)) as page,
    ):
        await expect(page.get_by_label("Token")).to_be_focused()
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("USDC transfers")
        assert page.url == f"{url}/jobs/allium/a"
        await expect(page.locator(LIVE)).to_be_visible()
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Retry for ops").click()
        await page.get_by_text("1 dead letter is sent again.").wait_for()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        await page.goto(f"{url}/deliveries")
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_a_session_that_ended_leads_to_the_form(browser: Browser, site: Site) -> None:
    async with (
        served(site.daemon, TOKEN) as url,
        visit(browser, url, expected=("401 (Unauthorized)",)) as page,
    ):
        await page.get_by_label("Token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator(LIVE)).to_be_visible()
        await page.context.clear_cookies()
        await site.put(d=record(job_name="Secret", seen=2))
        await expect(page.get_by_label("Token")).to_be_visible()
        assert await page.get_by_text("Secret").count() == 0
