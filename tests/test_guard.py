"""Who is answered over TCP, and who is not."""

import json
from typing import Any

import aiohttp
import pytest
import time_machine

from notifier.records import Records
from notifier.web.session import COOKIE, LASTS_SECONDS, Sessions
from tests.web import TOKEN, daemon_of, web_of

JSON = {"Content-Type": "application/json"}
PATHS = [
    "/api/v1/status",
    "/api/v1/jobs",
    "/api/v1/deliveries",
    "/api/v1/events",
    "/api/v1/mutes",
    "/metrics",
    "/nowhere",
]


async def ask(
    url: str, path: str, method: str = "GET", data: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, url + path, headers=named, data=data) as response,
    ):
        return response.status, dict(response.headers), await response.json(content_type=None)


@pytest.mark.parametrize("path", PATHS)
async def test_without_the_token_nothing_is_told(path: str) -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        status, headers, answer = await ask(url, path)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="backfill-notifier"')
        assert answer == {"error": "a token is needed: Authorization: Bearer …, or sign in on the page"}


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer ü",
    ],
)
async def test_another_token_opens_nothing(credentials: str) -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        assert (await ask(url, "/api/v1/status", Authorization=credentials))[0] == 401


@pytest.mark.parametrize("credentials", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN}"])
async def test_the_token_opens_all_whatever_the_host(credentials: str) -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        for host in ("notifier.example.com", "10.0.0.1:8080"):
            assert (await ask(url, "/api/v1/status", Authorization=credentials, Host=host))[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_whoever_watches_the_process_needs_no_token(path: str) -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        assert (await ask(url, path, Host="10.0.0.1:8080"))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example.com",
        "10.0.0.1:8080",
        "localhost.example.com",
        "127.0.0.1.nip.io:8080",
        "",
        "[::2]:80",
        "][",
    ],
)
@pytest.mark.parametrize("path", [*PATHS, "/healthz", "/readyz"])
async def test_without_a_token_names_that_lead_here_are_refused(path: str, host: str) -> None:
    async with web_of(daemon_of(Records())) as url:
        status, _, answer = await ask(url, path, Host=host)
        assert status == 403
        assert "ask for localhost" in answer["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "127.9.9.9"])
async def test_without_a_token_this_machine_is_answered(host: str) -> None:
    async with web_of(daemon_of(Records())) as url:
        assert (await ask(url, "/api/v1/status", Host=host))[0] == 200


CHANGES = [
    ("POST", "/api/v1/deliveries/x/retry"),
    ("POST", "/api/v1/deliveries/retry"),
    ("POST", "/api/v1/mutes"),
    ("DELETE", "/api/v1/mutes/x"),
]


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
@pytest.mark.parametrize("token", [None, TOKEN])
async def test_what_a_form_can_send_changes_nothing(
    method: str, path: str, kind: str | None, token: str | None
) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= {} if kind is None else {"Content_Type": kind}
    async with web_of(daemon_of(Records()), token) as url:
        status, _, answer = await ask(url, path, method, b'{"job_id": "x", "for": "1h"}', **headers)
        assert (status, answer) == (415, {"error": "changes need the header Content-Type: application/json"})


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    ("site", "expected"), [("cross-site", 403), ("same-site", 403), ("same-origin", None)]
)
async def test_another_site_changes_nothing(method: str, path: str, site: str, expected: int | None) -> None:
    async with web_of(daemon_of(Records())) as url:
        headers = {"Content_Type": "application/json", "Sec_Fetch_Site": site}
        status = (await ask(url, path, method, b"{}", **headers))[0]
        assert status == expected if expected is not None else status in (200, 400, 404)


async def test_every_answer_tells_browsers_to_run_and_keep_nothing() -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        for path, headers in [
            ("/healthz", {}),
            ("/api/v1/jobs", {}),
            ("/api/v1/jobs", {"Authorization": f"Bearer {TOKEN}"}),
        ]:
            found = (await ask(url, path, "GET", None, **headers))[1]
            assert "script-src 'self';" in found["Content-Security-Policy"]
            assert "unsafe-inline" not in found["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
            assert found["X-Content-Type-Options"] == "nosniff"
            assert found["Referrer-Policy"] == "no-referrer"
            assert found["Cache-Control"] == "no-store"
            assert found["Server"] == "backfill-notifier"


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with web_of(daemon_of(Records())) as url:
        status, _, answer = await ask(
            url, "/api/v1/mutes", "POST", b" " * 70_000, Content_Type="application/json"
        )
        assert (status, "error" in answer) == (413, True)


class TestSessions:
    def test_a_session_holds_for_a_week_and_for_this_token_alone(self) -> None:
        with time_machine.travel("2026-01-31T10:00:00Z", tick=False) as clock:
            cookie = Sessions(TOKEN).make()
            assert Sessions(TOKEN).holds(cookie)  # also after a restart
            assert not Sessions(TOKEN + "x").holds(cookie)
            clock.shift(LASTS_SECONDS - 1)
            assert Sessions(TOKEN).holds(cookie)
            clock.shift(1)
            assert not Sessions(TOKEN).holds(cookie)

    @pytest.mark.parametrize("change", ["", ".", "x.y", "9", "99999999999.", "ü.ü", "١٢.x"])
    def test_what_is_no_session_is_none(self, change: str) -> None:
        assert not Sessions(TOKEN).holds(change)

    def test_a_session_cannot_be_made_longer(self) -> None:
        until, _, proof = Sessions(TOKEN).make().partition(".")
        assert not Sessions(TOKEN).holds(f"{int(until) + 1}.{proof}")
        assert not Sessions(TOKEN).holds(f"0{until}.{proof}")

    async def test_a_session_is_as_good_as_the_token(self) -> None:
        async with web_of(daemon_of(Records()), TOKEN) as url:
            cookie = Sessions(TOKEN).make()
            assert (await ask(url, "/api/v1/status", Cookie=f"{COOKIE}={cookie}"))[0] == 200
            assert (await ask(url, "/api/v1/status", Cookie=f"{COOKIE}={cookie}x"))[0] == 401


def test_the_cookie_says_nothing_of_the_token() -> None:
    assert TOKEN not in json.dumps(Sessions(TOKEN).make())


async def test_wrong_tokens_are_told_of_once_a_minute_and_never_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_of(daemon_of(Records()), TOKEN) as url:
        for number in range(3):
            await ask(url, "/api/v1/status", Authorization=f"Bearer wrong-{number}")
        await ask(url, "/api/v1/status")  # no token is not a wrong one
        headers = {"Content_Type": "application/x-www-form-urlencoded"}
        await ask_form(url, b"token=wrong-3", **headers)
    told = [record.message for record in caplog.records if "token" in record.message]
    assert told == ["web: 1 request with a wrong token, the last one from 127.0.0.1"]
    assert "wrong-" not in caplog.text


async def ask_form(url: str, data: bytes, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/sign-in", data=data, headers=named) as response,
    ):
        return response.status
