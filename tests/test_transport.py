import base64
import errno
import gzip
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import xxhash
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from notifier.transport import (
    TooLargeError,
    describe_fault,
    excerpt,
    header_secrets,
    parse_retry_after,
    read_body,
    read_start,
    shown,
    tls_context,
    url_secrets,
    was_sent,
)
from tests.servers import ScriptedServer
from tests.wire import closed_port, reply, tls_files, wired

NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
PATH = "/hooks/path-that-is-secret?token=query-that-is-secret"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


# ------------------------------------------------------------------------------------ bodies


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_within_its_budget_is_read_whole(
    session: aiohttp.ClientSession, api: ScriptedServer, size: int, packed: bool
) -> None:
    content = b"0123456789" * (size // 10) + b"x" * (size % 10)
    api.answer = (
        web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"}) if packed else content
    )
    async with session.get(api.url) as response:
        body, digest = await read_body(response, max(size, 1))
    assert body == content
    assert digest == xxhash.xxh3_128_digest(content)


@pytest.mark.parametrize("packed", [False, True])
async def test_the_first_byte_beyond_the_budget_is_too_much(
    session: aiohttp.ClientSession, api: ScriptedServer, packed: bool
) -> None:
    content = b"x" * 1001
    api.answer = (
        web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"}) if packed else content
    )
    async with session.get(api.url) as response:
        with pytest.raises(TooLargeError):
            await read_body(response, 1000)


@pytest.mark.parametrize(
    ("answer", "start"),
    [
        (reply(b"0123456789", "Content-Length: 10"), b"01234"),
        (reply(b"012", "Content-Length: 3"), b"012"),
        (reply(b"", "Content-Length: 0"), b""),
        (reply(b"012", "Content-Length: 10"), b"012"),
        (reply(b"3\r\n012\r\n9", "Transfer-Encoding: chunked"), b"012"),
        (reply(b"not gzip at all", "Content-Encoding: gzip", "Content-Length: 15"), b""),
    ],
)
async def test_the_start_of_a_body_is_what_came_of_it(
    session: aiohttp.ClientSession, answer: bytes, start: bytes
) -> None:
    async with wired(answer) as url, session.get(url) as response:
        assert await read_start(response, 5) == start


# ------------------------------------------------------------------------------- Retry-After


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(minutes=2)),
        (" 7 ", timedelta(seconds=7)),
        ("99999999999999999999", timedelta(days=365)),
        ("Sat, 31 Jan 2026 10:31:30 GMT", timedelta(seconds=90)),
        ("Saturday, 31-Jan-26 10:31:30 GMT", timedelta(seconds=90)),
        ("Sat Jan 31 10:31:30 2026", timedelta(seconds=90)),
        ("Sat, 31 Jan 2026 11:31:30 +0100", timedelta(seconds=90)),
        ("Sat, 31 Jan 2026 10:29:00 GMT", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=365)),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("１２", None),
        ("Sat, 99 Jan 2026 10:31:30 GMT", None),
    ],
)
def test_a_wait_is_read_from_seconds_or_a_date(value: str | None, wait: timedelta | None) -> None:
    assert parse_retry_after(value, NOW) == wait


@given(st.text() | st.text(" ,:-+.0123456789JanFebMonGMTZ()", max_size=40))
def test_no_value_of_a_header_is_an_error(value: str) -> None:
    wait = parse_retry_after(value, NOW)
    assert wait is None or timedelta(0) <= wait <= timedelta(days=365)


# ------------------------------------------------------------------------------------ faults


async def fault(session: aiohttp.ClientSession, url: str, proxy: str | None = None) -> Exception:
    """Return what a real request raises."""
    try:
        async with session.post(
            url + PATH, data=b"{}", proxy=proxy, timeout=aiohttp.ClientTimeout(total=0.3)
        ) as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return error
    raise AssertionError("the request was fine")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(None, "no answer in time", id="silence"),
        pytest.param(b"", "the connection was closed before an answer came", id="closed"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", "the answer was not HTTP", id="another protocol"),
        pytest.param(
            reply(b"[]", "X: " + "x" * 10_000, "Content-Length: 2"),
            "the answer was not HTTP",
            id="long header",
        ),
        pytest.param(
            reply(b"[{", "Content-Length: 9"), "the answer broke off or could not be decoded", id="short body"
        ),
        pytest.param(
            reply(b"5\r\n[{", "Transfer-Encoding: chunked"),
            "the answer broke off or could not be decoded",
            id="chunk cut off",
        ),
        pytest.param(
            reply(b"zz\r\n[]\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            "the answer was not HTTP",
            id="no chunk",
        ),
        pytest.param(
            reply(b"not gzip", "Content-Encoding: gzip", "Content-Length: 8"),
            "the answer broke off or could not be decoded",
            id="broken gzip",
        ),
    ],
)
async def test_a_fault_after_sending_is_told_in_words(
    session: aiohttp.ClientSession, answer: bytes | None, words: str
) -> None:
    async with wired(answer) as url:
        error = await fault(session, url)
    assert describe_fault(error) == words
    assert was_sent(error)


@pytest.mark.parametrize(("read", "reset"), [(False, False), (False, True), (True, True)])
async def test_a_connection_closed_at_once_is_told_in_words(
    session: aiohttp.ClientSession, read: bool, reset: bool
) -> None:
    async with wired(b"", read=read, reset=reset) as url:
        error = await fault(session, url)
    assert describe_fault(error) == "the connection was closed before an answer came"
    assert was_sent(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_is_told_with_its_address(
    session: aiohttp.ClientSession, host: str
) -> None:
    with closed_port() as port:
        error = await fault(session, f"http://{host}:{port}")
    assert describe_fault(error) == f"no connection to {host}:{port}: connection refused"
    assert not was_sent(error)


async def test_an_unknown_host_is_named() -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as patient:
        with pytest.raises(aiohttp.ClientError) as caught:
            await patient.get("http://api.invalid" + PATH)
    assert describe_fault(caught.value) == "the host name api.invalid could not be resolved"
    assert not was_sent(caught.value)


async def test_an_untrusted_certificate_is_told_in_words(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server, _ = tls_files(tmp_path)
    async with wired(reply(b"[]"), tls=server) as url:
        error = await fault(session, url)
    assert describe_fault(error) == "its TLS certificate could not be verified"
    assert not was_sent(error)


async def test_a_server_without_tls_is_told_in_words(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    error = await fault(session, receiver.url.replace("http:", "https:"))
    assert describe_fault(error) == "the TLS connection failed"
    assert not was_sent(error)
    assert receiver.requests == []


async def test_a_proxy_that_is_not_there_is_told_in_words(session: aiohttp.ClientSession) -> None:
    with closed_port() as port:
        error = await fault(session, "http://api.invalid", proxy=f"http://127.0.0.1:{port}")
    assert describe_fault(error) == "the proxy could not be reached: connection refused"
    assert not was_sent(error)


async def test_a_proxy_of_an_unknown_name_is_named() -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as patient:
        with pytest.raises(aiohttp.ClientError) as caught:
            await patient.get("http://api.example.com" + PATH, proxy="http://proxy.invalid:3128")
    assert describe_fault(caught.value) == "the host name proxy.invalid could not be resolved"
    assert not was_sent(caught.value)


async def test_a_proxy_that_refuses_the_way_is_told_with_its_answer(session: aiohttp.ClientSession) -> None:
    async with wired(reply(b"no", "Content-Length: 2", status="407 Proxy Authentication Required")) as proxy:
        error = await fault(session, "https://api.invalid", proxy=proxy)
    assert describe_fault(error) == "the proxy answered 407"
    assert not was_sent(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(), "the connection was closed before an answer came"),
        (BrokenPipeError(), "the connection was closed before an answer came"),
        (aiohttp.InvalidURL("http://h/path-that-is-secret"), "the connection failed (InvalidURL)"),
        (OSError(errno.EHOSTUNREACH, "to /path-that-is-secret"), "the connection failed: no route to host"),
        (aiohttp.ConnectionTimeoutError("/path-that-is-secret"), "no answer in time"),
    ],
)
def test_any_other_fault_is_told_without_its_text(error: Exception, words: str) -> None:
    assert describe_fault(error) == words


# ------------------------------------------------------------------------------- certificates


async def test_a_certificate_file_is_trusted(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    server, file = tls_files(tmp_path)
    async with (
        wired(reply(b"[]", "Content-Length: 2"), tls=server) as url,
        session.get(url, ssl=tls_context(str(file))) as response,
    ):
        assert await response.read() == b"[]"


@pytest.mark.parametrize("file", [None, ""])
def test_without_a_certificate_file_the_systems_are_trusted(file: str | None) -> None:
    assert tls_context(file) is True


def test_an_unusable_certificate_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "words.pem").write_text("no certificate")
    with pytest.raises(FileNotFoundError):
        tls_context(str(tmp_path / "missing.pem"))
    with pytest.raises(ssl.SSLError):
        tls_context(str(tmp_path / "words.pem"))
    with pytest.raises(IsADirectoryError):
        tls_context(str(tmp_path))


# ------------------------------------------------------------------------------- foreign words


@pytest.mark.parametrize(
    ("text", "secrets", "words"),
    [
        ("fine", [], "fine"),
        (b"caf\xc3\xa9 \xff", [], "café \ufffd"),
        ("two\nlines\r\n\tand \x1b[31mred\x07", [], "two lines and [31mred"),
        ("key k-123456 and again k-123456", ["k-123456"], "key REDACTED and again REDACTED"),
        ("nothing", [""], "nothing"),
        ("Bearer backfills-9f8e7d6c", ["backfills", "backfills-9f8e7d6c"], "Bearer REDACTED"),
        ("x" * 300, [], "x" * 199 + "…"),
        ("x" * 199 + "secret-12", ["secret-12"], "x" * 199 + "…"),
    ],
)
def test_foreign_text_is_one_line_without_secrets(text: bytes | str, secrets: list[str], words: str) -> None:
    assert shown(text, secrets) == words


@given(
    st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=4),
    st.text("abc ", max_size=10),
    st.text("abc ", max_size=10),
)
def test_no_secret_is_shown_whatever_the_others_are(secrets: list[str], before: str, after: str) -> None:
    for secret in secrets:
        assert secret not in shown(f"{before}{secret}{after}", secrets)


@pytest.mark.parametrize(
    ("text", "secrets", "start"),
    [
        ("", [], ""),
        ("two\nlines\x1b[31m", [], "two\nlines\x1b[31m"),
        (b"caf\xc3\xa9 \xff", [], "café \ufffd"),
        ("x" * 501, [], "x" * 500),
        ("é" * 500, [], "é" * 250),
        ("x" + "é" * 500, [], "x" + "é" * 249),
        ("😀" * 500, [], "😀" * 125),
        ("xyz" + "😀" * 500, [], "xyz" + "😀" * 124),
        ("half a pair \ud83d", [], "half a pair ?"),
        ("x" * 495 + "secret-12", ["secret-12"], "x" * 495 + "REDAC"),
        ("secret-12 " * 60, ["secret-12"], ("REDACTED " * 60)[:500]),
        ("nothing", [""], "nothing"),
    ],
)
def test_of_foreign_text_500_bytes_are_kept_without_secrets(
    text: bytes | str, secrets: list[str], start: str
) -> None:
    assert excerpt(text, secrets) == start


@given(st.text() | st.binary(), st.lists(st.text("abc", min_size=1, max_size=6), max_size=4))
def test_what_is_kept_can_be_stored_and_holds_no_secret(text: bytes | str, secrets: list[str]) -> None:
    kept = excerpt(text, secrets)
    assert len(kept.encode()) <= 500
    assert not any(secret in kept for secret in secrets)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        (
            "https://hooks.example.com/services/T000/B000/token-of-it",
            {"/services/T000/B000/token-of-it", "services", "token-of-it"},
        ),
        ("https://example.com", set()),
        ("https://example.com/hook", set()),
        ("https://example.com/?key=a&sig=0123%2F56%2B8", {"0123%2F56%2B8", "0123/56%2B8", "0123/56+8"}),
        ("https://user:pass@example.com/", {"pass", "dXNlcjpwYXNz"}),
        ("https://user:p%2Fss@example.com/", {"p%2Fss", "p/ss", "dXNlcjpwL3Nz"}),
        ("https://user@example.com/", {"user", "dXNlcjo="}),
    ],
)
def test_credentials_path_and_query_of_a_url_are_secrets(url: str, secrets: set[str]) -> None:
    found = set(url_secrets(url))
    assert secrets | {url} <= found
    assert not {"", "/", "hook", "key", "sig", "example.com"} & found


@pytest.mark.parametrize(
    "form",
    [
        "tok+en/d&e=f-12",
        "tok+en\\/d&e=f-12",
        "tok\\u002Ben\\u002fd\\u0026e=f-12",
        "tok%2Ben%2fd%26e%3Df-12",
        "tok&#43;en&#x2F;d&amp;e=f-12",
    ],
)
def test_a_secret_is_found_in_whatever_form_it_is_repeated(form: str) -> None:
    assert shown(f"bad token {form}!", ["tok+en/d&e=f-12"]) == "bad token REDACTED!"
    assert excerpt(f'{{"token": "{form}"}}', ["tok+en/d&e=f-12"]) == '{"token": "REDACTED"}'


def test_basic_credentials_are_secrets_decoded_too() -> None:
    value = "Basic " + base64.b64encode(b"user:a-long-password").decode()
    text = f"no {value}, no user:a-long-password, no a-long-password"
    assert shown(text, header_secrets(value)) == "no REDACTED, no REDACTED, no REDACTED"
    assert header_secrets("Basic no base64") == ["Basic no base64", "base64"]
