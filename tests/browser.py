"""A real browser for tests, kept off the network; what it must not do fails the test that made it."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

TABLET: Any = {"width": 1180, "height": 900}
PHONE: Any = {"width": 390, "height": 800}
_OFFLINE = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Yield the system's Chromium. Without one that is a failure where all must be tested, else a skip."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("the package chromium is not installed")
    if path is None:
        pytest.skip("the package chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, chromium_sandbox=False, args=_OFFLINE
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def visit(
    browser: Browser, url: str, path: str = "/", *, expected: tuple[str, ...] = (), **terms: Any
) -> AsyncIterator[Page]:
    """Yield a page in a context of its own.

    Fails when it logs an error that is not expected, runs into one or asks another server for something.
    """
    faults: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(each in message.text for each in expected):
            faults.append(f"console: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{url}/", "data:")):
            faults.append(f"asked for {request.url}")

    context = await browser.new_context(**{"viewport": TABLET} | terms)
    context.set_default_timeout(10_000)
    try:
        page = await context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", asked)
        await page.goto(url + path)
        yield page
        assert await page.evaluate("window.hit") is None, "foreign text was executed"
    finally:
        await context.close()
    assert not faults, "\n".join(faults)


async def violations(page: Page) -> list[str]:
    """Return what axe-core finds that hinders people, a line each."""
    results = await Axe().run(page)
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for each in results.response["violations"]
        for node in each["nodes"]
    ]


async def is_wider_than_the_screen(page: Page) -> bool:
    """Return whether people must scroll sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))
