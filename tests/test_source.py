import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from notifier import __version__
from notifier.source import AlliumSource, Fingerprint, Reply, SourceError, SourceSettings
from notifier.transport import tls_context
from tests.servers import ScriptedServer, job, served
from tests.wire import closed_port, reply, tls_files, wired

KEY = "allium-key-0123456789"
NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
PATH = "/api/v1/beam/backfills"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def source(session: aiohttp.ClientSession, base_url: str, ca_file: str = "", **settings: Any) -> AlliumSource:
    return AlliumSource(
        SourceSettings(api_key=SecretStr(KEY), base_url=base_url, ca_file=ca_file, **settings),
        session=session,
        tls=tls_context(ca_file),
        now=lambda: NOW,
    )


async def refused(
    session: aiohttp.ClientSession, base_url: str, known: Fingerprint | None = None, **settings: Any
) -> SourceError:
    """Return the error of a poll that is no observation, after a look at its words."""
    with pytest.raises(SourceError) as caught:
        await source(session, base_url, **settings).fetch(known)
    assert str(caught.value) == caught.value.reason
    assert KEY not in caught.value.reason
    assert "/api" not in caught.value.reason
    assert caught.value.reason.isprintable()
    return caught.value


# ----------------------------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", PATH),
        ("/", PATH),
        ("//", PATH),
        ("/gateway", f"/gateway{PATH}"),
        ("/gateway/allium/", f"/gateway/allium{PATH}"),
    ],
)
async def test_the_listing_is_asked_for_with_the_key(
    session: aiohttp.ClientSession, api: ScriptedServer, suffix: str, path: str
) -> None:
    await source(session, api.url + suffix).fetch(None)
    [(request, body)] = api.requests
    assert (request.method, request.path, request.query_string, body) == ("GET", path, "", b"")
    assert request.headers.getall("X-API-Key") == [KEY]
    assert request.headers.getall("User-Agent") == [f"backfill-notifier/{__version__}"]
    assert request.headers["Accept"] == "application/json"
    assert "If-None-Match" not in request.headers
    assert "Authorization" not in request.headers


async def test_a_listing_is_returned_as_received(session: aiohttp.ClientSession, api: ScriptedServer) -> None:
    api.answer = [job("j1"), job("j2", "completed", new_field={"a": [1]}), {"no": "job"}]
    listing = (await source(session, api.url).fetch(None)).listing
    assert listing is not None
    assert [(element.job_id, element.status) for element in listing.elements] == [
        ("j1", "staging"),
        ("j2", "completed"),
    ]
    assert json.loads(bytes(listing.elements[1].raw)) == api.answer[1]
    assert listing.rejected == 1
    assert listing.organization_ids == {"org123"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_listing_is_the_same(
    session: aiohttp.ClientSession, api: ScriptedServer, encoding: str
) -> None:
    async def packed(request: web.Request) -> web.StreamResponse:
        assert encoding in request.headers["Accept-Encoding"]
        response = web.StreamResponse()
        response.enable_compression(web.ContentCoding(encoding))
        await response.prepare(request)
        await response.write(json.dumps([job("j1")]).encode())
        return response

    api.answer = packed
    compressed = await source(session, api.url).fetch(None)
    api.answer = [job("j1")]
    assert compressed == await source(session, api.url).fetch(None)


async def test_a_large_listing_that_compresses_well_is_read_whole(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    body = json.dumps([job("j1", error_message="x" * 50 * 2**20)]).encode()
    api.answer = web.Response(body=gzip.compress(body, 1), headers={"Content-Encoding": "gzip"})
    listing = (await source(session, api.url).fetch(None)).listing
    assert listing is not None
    assert len(bytes(listing.elements[0].raw)) > 50 * 2**20


async def test_a_certificate_of_ones_own_is_trusted_by_its_file(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server, file = tls_files(tmp_path)
    async with wired(reply(b"[]", "Content-Length: 2"), tls=server) as url:
        assert (await source(session, url, ca_file=str(file)).fetch(None)).listing is not None


async def test_a_proxy_is_asked_for_the_listing(session: aiohttp.ClientSession, api: ScriptedServer) -> None:
    await source(session, "http://allium.invalid", proxy=api.url).fetch(None)
    [(request, _)] = api.requests
    assert (request.host, request.path) == ("allium.invalid", PATH)


# ----------------------------------------------------------------------------- unchanged replies


async def test_an_etag_is_sent_back_and_304_says_nothing_new(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    api.script = [
        web.Response(body=b"[]", headers={"ETag": 'W/"v1"'}),
        web.Response(status=304, headers={"ETag": 'W/"v1"'}),
        web.Response(status=304),
        web.Response(body=b"[ ]", headers={"ETag": 'W/"v2"'}),
    ]
    allium = source(session, api.url)
    first = await allium.fetch(None)
    assert first.fingerprint.etag == 'W/"v1"'
    assert await allium.fetch(first.fingerprint) == Reply(first.fingerprint, None)
    assert await allium.fetch(first.fingerprint) == Reply(first.fingerprint, None)
    changed = await allium.fetch(first.fingerprint)
    assert changed.listing is not None
    assert changed.fingerprint.etag == 'W/"v2"'
    assert [request.headers.get("If-None-Match") for request, _ in api.requests] == [None] + ['W/"v1"'] * 3


async def test_the_same_body_without_an_etag_says_nothing_new(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    api.answer = [job("j1")]
    allium = source(session, api.url)
    first = await allium.fetch(None)
    assert await allium.fetch(first.fingerprint) == Reply(first.fingerprint, None)
    api.answer = [job("j1", chunks_left=1)]
    changed = await allium.fetch(first.fingerprint)
    assert changed.listing is not None
    assert changed.fingerprint != first.fingerprint
    assert all("If-None-Match" not in request.headers for request, _ in api.requests)


async def test_the_newest_etag_of_the_same_body_is_kept(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    api.script = [web.Response(body=b"[]", headers={"ETag": '"v1"'}), web.Response(body=b"[]")]
    allium = source(session, api.url)
    first = await allium.fetch(None)
    second = await allium.fetch(first.fingerprint)
    assert second == Reply(Fingerprint(None, first.fingerprint.digest), None)


@pytest.mark.parametrize("known", [None, Fingerprint(None, b"digest")])
async def test_a_304_that_nobody_asked_for_is_no_observation(
    session: aiohttp.ClientSession, api: ScriptedServer, known: Fingerprint | None
) -> None:
    api.answer = web.Response(status=304)
    error = await refused(session, api.url, known)
    assert (error.fault, error.reason) == ("failed", "the API answered 304")


async def test_an_etag_of_any_bytes_can_be_sent_back(session: aiohttp.ClientSession) -> None:
    async with wired(reply(b"[]", "Content-Length: 2", 'ETag: "é\udcff"')) as url:
        first = await source(session, url).fetch(None)
        assert (await source(session, url).fetch(first.fingerprint)).listing is None


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_told_in_plain_words(
    session: aiohttp.ClientSession, api: ScriptedServer, status: int
) -> None:
    api.answer = web.json_response({"message": f"no such key: {KEY}"}, status=status)
    error = await refused(session, api.url, name="prod")
    assert error.fault == "refused"
    assert error.reason == f"the API key of source prod was refused ({status}); is api_key right?"


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ({"Retry-After": "7"}, timedelta(seconds=7)),
        ({"Retry-After": "Sat, 31 Jan 2026 10:31:30 GMT"}, timedelta(seconds=90)),
        ({"Retry-After": "later"}, None),
        ({}, None),
    ],
)
async def test_throttling_is_told_with_the_wait_it_asks_for(
    session: aiohttp.ClientSession, api: ScriptedServer, header: dict[str, str], wait: timedelta | None
) -> None:
    api.answer = web.json_response({"message": "slow down"}, status=429, headers=header)
    error = await refused(session, api.url)
    assert (error.fault, error.retry_after) == ("throttled", wait)
    assert error.reason == "the API answered 429: slow down"


@pytest.mark.parametrize("status", [400, 404, 500, 502, 503])
async def test_any_other_error_is_told_with_its_status_and_words(
    session: aiohttp.ClientSession, api: ScriptedServer, status: int
) -> None:
    api.answer = web.json_response({"message": "broken"}, status=status, headers={"Retry-After": "3"})
    error = await refused(session, api.url)
    assert (error.fault, error.reason) == ("failed", f"the API answered {status}: broken")
    assert error.retry_after == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message": "m", "detail": "d", "error": "e"}', ": m"),
        (b'{"detail": "d", "error": "e"}', ": d"),
        (b'{"message": null, "error": "e"}', ": e"),
        (b'{"detail": [{"loc": ["path"]}]}', ""),
        (b'{"error": {"code": 1}}', ""),
        (b'["x"]', ""),
        (b"", ""),
        (b" \n", ""),
        (b"upstream is\r\n  down", ": upstream is down"),
        (b"<html><h1>502</h1></html>", ""),
        (b"\n <!DOCTYPE html>\n", ""),
        (b"[" * 4096, ": " + "[" * 199 + "…"),
        (b'{"message": "' + b"x" * 300 + b'"}', ": " + "x" * 199 + "…"),
        (b"\x1b[2J\x00red \xff", ": [2J red \ufffd"),
        (b'{"message": "no key \\u001b]0;x\\u0007 here"}', ": no key ]0;x here"),
        (f'{{"message": "unknown key {KEY}"}}'.encode(), ": unknown key REDACTED"),
        (f"X-API-Key: {KEY}, again {KEY}".encode(), ": X-API-Key: REDACTED, again REDACTED"),
        (f'{{"detail": "{"x" * 190}{KEY}"}}'.encode(), ": " + "x" * 190 + "REDACTED"),
    ],
)
async def test_what_the_api_says_is_repeated_as_far_as_it_is_fit_to_be(
    session: aiohttp.ClientSession, api: ScriptedServer, body: bytes, words: str
) -> None:
    api.answer = web.Response(status=500, body=body)
    assert (await refused(session, api.url)).reason == f"the API answered 500{words}"


async def test_an_endless_error_page_is_not_read_to_its_end(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"words " * 1000)

    api.answer = endless
    error = await refused(session, api.url)
    assert error.reason.startswith("the API answered 500: words words")
    assert len(error.reason) < 250


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    session: aiohttp.ClientSession, api: ScriptedServer, status: int
) -> None:
    async with served(ScriptedServer()) as elsewhere:
        elsewhere.answer = [job("j1")]
        api.answer = web.Response(status=status, headers={"Location": elsewhere.url + PATH})
        error = await refused(session, api.url)
    assert elsewhere.requests == []
    assert len(api.requests) == 1
    assert (error.fault, error.reason) == (
        "failed",
        f"the API answered {status}, a redirect; is base_url right?",
    )


@pytest.mark.parametrize("status", [201, 202, 203, 204, 206])
async def test_a_success_without_the_whole_listing_is_no_observation(
    session: aiohttp.ClientSession, api: ScriptedServer, status: int
) -> None:
    api.answer = web.Response(status=status, body=b"" if status == 204 else b"[]")
    error = await refused(session, api.url)
    assert error.fault == "failed"
    assert error.reason.startswith(f"the API answered {status}")


# ------------------------------------------------------------------------------ unusable replies


@pytest.mark.parametrize("packed", [False, True])
async def test_a_listing_may_be_as_large_as_max_body_and_no_larger(
    session: aiohttp.ClientSession, api: ScriptedServer, packed: bool
) -> None:
    body = b"[" + b" " * 998 + b"]"
    api.answer = (
        web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else body
    )
    assert (await source(session, api.url, max_body="1000B").fetch(None)).listing is not None
    error = await refused(session, api.url, max_body="999B")
    assert (error.fault, error.reason) == ("failed", "the reply is larger than max_body allows")


async def test_a_compressed_bomb_is_given_up_before_it_fills_the_memory(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    bomb = gzip.compress(b" " * 200 * 2**20, 1)
    api.answer = web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        error = await refused(session, api.url, max_body="1MiB")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.reason == "the reply is larger than max_body allows"
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            reply(b'[{"job_id": "j1"', "Content-Length: 100"),
            "the answer broke off or could not be decoded",
            id="shorter than its length",
        ),
        pytest.param(
            reply(b"2\r\n[]\r\n", "Transfer-Encoding: chunked"),
            "the answer broke off or could not be decoded",
            id="chunks without an end",
        ),
        pytest.param(
            reply(b"9\r\n[]", "Transfer-Encoding: chunked"),
            "the answer broke off or could not be decoded",
            id="chunk cut off",
        ),
        pytest.param(
            reply(b"no gzip", "Content-Encoding: gzip", "Content-Length: 7"),
            "the answer broke off or could not be decoded",
            id="broken gzip",
        ),
        pytest.param(
            reply(gzip.compress(b"[" + b" " * 90_000 + b"]")[:50], "Content-Encoding: gzip"),
            "the reply is not a whole JSON array; it may have been cut off",
            id="gzip cut off",
        ),
        pytest.param(
            reply(b'[{"job_id": "j1"'),
            "the reply is not a whole JSON array; it may have been cut off",
            id="no length and cut off",
        ),
        pytest.param(
            reply(b"<html>maintenance</html>", "Content-Type: text/html"),
            "the reply is an HTML page, not JSON",
            id="HTML",
        ),
        pytest.param(reply(b'{"items": []}'), "the reply is a JSON object, not an array", id="object"),
        pytest.param(reply(b"null"), "the reply is not a JSON array", id="null"),
        pytest.param(reply(b""), "the reply is empty", id="empty"),
        pytest.param(b"", "the connection was closed before an answer came", id="closed"),
        pytest.param(b"220 mail.example.com ESMTP\r\n", "the answer was not HTTP", id="not HTTP"),
    ],
)
async def test_a_reply_that_is_no_listing_is_told_in_words(
    session: aiohttp.ClientSession, answer: bytes, reason: str
) -> None:
    async with wired(answer) as url:
        error = await refused(session, url)
    assert (error.fault, error.reason, error.retry_after) == ("failed", reason, None)


async def test_a_connection_closed_at_once_is_told_in_words(session: aiohttp.ClientSession) -> None:
    async with wired(b"", read=False) as url:
        error = await refused(session, url)
    assert (error.fault, error.reason) == ("failed", "the connection was closed before an answer came")


async def test_a_refused_connection_is_told_in_words(session: aiohttp.ClientSession) -> None:
    with closed_port() as port:
        error = await refused(session, f"http://127.0.0.1:{port}")
    assert (error.fault, error.reason) == ("failed", f"no connection to 127.0.0.1:{port}: connection refused")


async def test_a_host_that_does_not_exist_is_named(session: aiohttp.ClientSession) -> None:
    error = await refused(session, "https://allium.invalid")
    assert (error.fault, error.reason) == ("failed", "the host name allium.invalid could not be resolved")


async def test_an_untrusted_certificate_is_told_in_words(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server, _ = tls_files(tmp_path)
    async with wired(reply(b"[]"), tls=server) as url:
        error = await refused(session, url)
    assert (error.fault, error.reason) == ("failed", "its TLS certificate could not be verified")


async def test_a_server_that_never_answers_is_given_up_in_time(session: aiohttp.ClientSession) -> None:
    async with wired(None) as url, asyncio.timeout(5):
        error = await refused(session, url, timeout="200ms")
    assert (error.fault, error.reason) == ("failed", "no answer in time")


async def test_a_reply_that_drips_is_given_up_in_time(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    api.answer = drip
    async with asyncio.timeout(5):
        error = await refused(session, api.url, timeout="200ms")
    assert (error.fault, error.reason) == ("failed", "no answer in time")


async def test_polls_are_good_again_after_a_bad_one(
    session: aiohttp.ClientSession, api: ScriptedServer
) -> None:
    allium = source(session, api.url)
    api.script = [web.Response(status=500), b"[", [job("j1")]]
    for _ in range(2):
        with pytest.raises(SourceError):
            await allium.fetch(None)
    assert (await allium.fetch(None)).listing is not None
