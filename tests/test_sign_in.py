"""Signing in by a form: what people see who did not, and what a browser is given."""

from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from yarl import URL

from notifier.web.session import COOKIE, LASTS_SECONDS, Sessions
from tests.html import Element, read_html
from tests.records import of, record
from tests.web import TOKEN, daemon_of, web_of

HTML = {"Accept": "text/html,application/xhtml+xml"}
RECORDS = of({"a": record(job_name="USDC Jan"), "b/c?": record()})


async def ask(
    url: str, path: str, method: str = "GET", data: Any = None, **headers: str
) -> tuple[int, Any, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, URL(url + path, encoded=True), data=data, headers=headers, allow_redirects=False
        ) as answer,
    ):
        return answer.status, answer.headers, await answer.text()


def form(text: str) -> Element:
    page = read_html(text)
    assert "USDC" not in page.text
    return page.one("form")


@pytest.mark.parametrize(
    "path", ["/", "/?status=failed", "/jobs/allium/a", "/jobs/allium/b%2Fc%3F", "/deliveries?state=dead"]
)
async def test_a_page_is_answered_with_the_form_to_who_has_not_signed_in(path: str) -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, headers, text = await ask(url, path, **HTML)
        found = form(text)
        assert (status, "Location" in headers) == (401, False)
        assert headers["WWW-Authenticate"] == 'Bearer realm="backfill-notifier"'
        assert found.attributes["method"] == "post"
        assert urljoin(url + path, found.attributes["action"]) == f"{url}/sign-in"
        where = found.one("input", name="where").attributes["value"]
        status, headers, _ = await ask(url, "/sign-in", "POST", {"token": TOKEN, "where": where})
        assert status == 303
        assert urljoin(f"{url}/sign-in", headers["Location"]) == url + path


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/", "*/*"),
        ("/", "application/json"),
        ("/api/v1/jobs", "text/html"),
        ("/changes", "text/event-stream"),
        ("/metrics", "text/html"),
        ("/nowhere", "*/*"),
    ],
)
async def test_programs_are_told_in_json(path: str, accept: str) -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, headers, text = await ask(url, path, Accept=accept)
        assert (status, headers["Content-Type"]) == (401, "application/json")
        assert "USDC" not in text


async def test_an_address_that_is_none_is_a_page_for_people_who_have_not_signed_in_too() -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, headers, text = await ask(url, "/nowhere/x", **HTML)
        page = read_html(text)
        assert (status, page.one("h1").text) == (401, "Sign in first")
        assert headers["WWW-Authenticate"] == 'Bearer realm="backfill-notifier"'
        home = urljoin(f"{url}/nowhere/x", page.one("main").all("a")[0].attributes["href"])
        assert len(form((await ask(url, home.removeprefix(url), **HTML))[2]).all("input", name="token")) == 1


async def test_a_program_with_the_token_may_have_the_page() -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, _, text = await ask(url, "/", Authorization=f"Bearer {TOKEN}")
        page = read_html(text)
        assert status == 200
        assert "USDC Jan" in page.text
        assert not [each for each in page.all("button") if each.text == "Sign out"]


async def test_the_token_opens_a_session_that_scripts_and_other_sites_cannot_use() -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, headers, _ = await ask(url, "/sign-in", "POST", {"token": f" {TOKEN}\n"})
        assert (status, headers["Location"]) == (303, "./")
        cookie, *terms = headers["Set-Cookie"].split("; ")
        assert {each.lower() for each in terms} == {
            *("httponly", "samesite=strict", "path=/", f"max-age={LASTS_SECONDS}")
        }
        assert cookie.startswith(f"{COOKIE}=")
        assert TOKEN not in cookie
        status, _, text = await ask(url, "/", Cookie=cookie, **HTML)
        page = read_html(text)
        assert status == 200
        assert "USDC Jan" in page.text
        [leave] = [each for each in page.all("form") if "sign-out" in each.attributes.get("action", "")]
        assert leave.attributes["method"] == "post"


@pytest.mark.parametrize(
    "data",
    [
        {"token": TOKEN + "x"},
        {"token": ""},
        {},
        b"token",
        b"\xff=\xfe&token=%ff",
        b'{"token": "x"}',
        {"token": "<script>"},
    ],
)
async def test_another_token_opens_nothing_and_says_so(data: Any) -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, headers, text = await ask(url, "/sign-in", "POST", data)
        found = form(text)
        assert (status, found.one("p", role="alert").text) == (401, "That is not the token.")
        assert found.one("input", name="token").attributes["aria-invalid"] == "true"
        assert "Set-Cookie" not in headers
        assert "<script>" not in text


@pytest.mark.parametrize(
    "where",
    [
        *("//evil.example.com", "/\\evil.example.com", "https://evil.example.com", "javascript:alert(1)"),
        *("/api/v1/jobs", "jobs/a\r\nSet-Cookie: x=y", "\\\\evil.example.com", "deliveries\n", "sign-out"),
    ],
)
async def test_it_leads_to_no_other_place_than_a_page(where: str) -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, headers, _ = await ask(url, "/sign-in", "POST", {"token": TOKEN, "where": where})
        assert (status, headers["Location"]) == (303, "./")


async def test_signing_out_ends_the_session_of_this_browser() -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        cookie = f"{COOKIE}={Sessions(TOKEN).make()}"
        status, headers, _ = await ask(url, "/sign-out", "POST", {}, Cookie=cookie)
        assert (status, headers["Location"]) == (303, "./")
        assert headers["Set-Cookie"].startswith(f'{COOKIE}=""; ')
        assert "Max-Age=0" in headers["Set-Cookie"]


async def test_another_site_can_neither_sign_in_nor_out() -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        cookie = f"{COOKIE}={Sessions(TOKEN).make()}"
        foreign = {"Sec-Fetch-Site": "cross-site", "Cookie": cookie}
        for path in ("/sign-in", "/sign-out"):
            status, headers, _ = await ask(url, path, "POST", {"token": TOKEN}, **foreign)
            assert (status, "Set-Cookie" in headers) == (403, False)


async def test_the_form_has_an_address_of_its_own() -> None:
    async with web_of(daemon_of(RECORDS), TOKEN) as url:
        status, _, text = await ask(url, "/sign-in", **HTML)
        assert (status, form(text).attributes["action"]) == (200, "./sign-in")


async def test_without_a_token_there_is_nothing_to_sign_in_to() -> None:
    async with web_of(daemon_of(RECORDS)) as url:
        assert (await ask(url, "/sign-in"))[0] == 404
        cookie = f"{COOKIE}={Sessions(TOKEN).make()}"
        _, _, text = await ask(url, "/", Cookie=cookie, **HTML)
        assert "Sign out" not in text
