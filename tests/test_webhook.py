import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from notifier import __version__
from notifier.fields import new_signing_secret
from notifier.model import Event, utc_now
from notifier.sending import SendError, Shipment
from notifier.targets.webhook import Webhook, WebhookSettings
from notifier.transport import tls_context
from tests.servers import ScriptedServer, served
from tests.wire import closed_port, reply, tls_files, wired

NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
PATH = "/hooks/path-that-is-secret"
PAYLOAD = '{"type":"backfill.completed","data":{"name":"USDC → é\\u0000", "n": 1.10}}'.encode()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def webhook(
    session: aiohttp.ClientSession,
    url: str,
    *,
    now: Callable[[], datetime] = utc_now,
    ca_file: str = "",
    **settings: Any,
) -> Webhook:
    parsed = WebhookSettings.model_validate({"type": "webhook", "url": url, "ca_file": ca_file} | settings)
    return Webhook("ops", parsed, session=session, tls=tls_context(ca_file), now=now)


def event(payload: bytes | None = PAYLOAD, event_id: str = "evt_" + "0123456789abcdef" * 2) -> Event:
    return Event(
        id=event_id,
        seq=1,
        type="backfill.completed",
        status="completed",
        previous_status="transporting",
        observed_at=NOW,
        summary="completed",
        payload=msgspec.UNSET if payload is None else msgspec.Raw(payload),
    )


async def failed(target: Webhook) -> SendError:
    with pytest.raises(SendError) as caught:
        await target.send(Shipment(events=(event(),)))
    assert str(caught.value) == caught.value.reason
    assert "path-that-is-secret" not in caught.value.reason
    return caught.value


# ----------------------------------------------------------------------------------- the request


async def test_the_payload_is_posted_byte_by_byte(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    await webhook(session, receiver.url + PATH + "%2F~?a=b+c%20d&e=%2F%3d").send(Shipment(events=(event(),)))
    [(request, body)] = receiver.requests
    assert (request.method, request.raw_path) == ("POST", PATH + "%2F~?a=b+c%20d&e=%2F%3d")
    assert body == PAYLOAD
    assert request.headers.getall("Content-Type") == ["application/json"]
    assert request.headers.getall("Content-Length") == [str(len(PAYLOAD))]
    assert request.headers.getall("User-Agent") == [f"backfill-notifier/{__version__}"]
    assert request.headers.getall("webhook-id") == ["evt_0123456789abcdef0123456789abcdef"]
    assert "webhook-signature" not in request.headers
    assert "Authorization" not in request.headers


async def test_a_large_payload_arrives_whole(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    payload = json.dumps({"data": "x" * 5 * 2**20}).encode()
    secret = new_signing_secret()
    await webhook(session, receiver.url, secret=secret).send(Shipment(events=(event(payload),)))
    [(request, body)] = receiver.requests
    assert body == payload
    Verifier(secret).verify(body, dict(request.headers))


async def test_one_secret_signs(session: aiohttp.ClientSession, receiver: ScriptedServer) -> None:
    secret = new_signing_secret()
    await webhook(session, receiver.url, secret=secret).send(Shipment(events=(event(),)))
    [(request, body)] = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 1
    assert Verifier(secret).verify(body, dict(request.headers)) == json.loads(PAYLOAD)
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body + b" ", dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(new_signing_secret()).verify(body, dict(request.headers))


async def test_each_of_several_secrets_signs(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    secrets = [new_signing_secret() for _ in range(3)]
    await webhook(session, receiver.url, secret=secrets).send(Shipment(events=(event(),)))
    [(request, body)] = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 3
    for secret in secrets:
        Verifier(secret).verify(body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(new_signing_secret()).verify(body, dict(request.headers))


async def test_the_id_stays_and_the_timestamp_is_that_of_the_attempt(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    secret = new_signing_secret()
    start = utc_now()
    times = [start - timedelta(seconds=100), start]
    clock = iter(times)
    target = webhook(session, receiver.url, secret=secret, now=lambda: next(clock))
    for _ in times:
        await target.send(Shipment(events=(event(),)))
    assert [request.headers["webhook-timestamp"] for request, _ in receiver.requests] == [
        str(int(time.timestamp())) for time in times
    ]
    assert {request.headers["webhook-id"] for request, _ in receiver.requests} == {event().id}
    assert len({request.headers["webhook-signature"] for request, _ in receiver.requests}) == 2
    for request, body in receiver.requests:
        Verifier(secret).verify(body, dict(request.headers))


async def test_headers_of_ones_own_are_sent(session: aiohttp.ClientSession, receiver: ScriptedServer) -> None:
    headers = {"Authorization": "Bearer ops-token", "X-Team": "data", "Accept": "text/plain"}
    await webhook(session, receiver.url, headers=headers).send(Shipment(events=(event(),)))
    [(request, _)] = receiver.requests
    assert {name: request.headers.getall(name) for name in headers} == {
        name: [value] for name, value in headers.items()
    }


async def test_user_and_password_of_a_url_are_sent_as_authorization(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    await webhook(session, receiver.url.replace("//", "//user:pass%2Fword@") + PATH).send(
        Shipment(events=(event(),))
    )
    [(request, _)] = receiver.requests
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"user:pass/word").decode()
    assert "@" not in request.headers["Host"]


async def test_a_certificate_of_ones_own_is_trusted_by_its_file(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server, file = tls_files(tmp_path)
    async with wired(reply(b"", "Content-Length: 0"), tls=server) as url:
        await webhook(session, url, ca_file=str(file)).send(Shipment(events=(event(),)))


async def test_a_proxy_is_given_the_request(session: aiohttp.ClientSession, receiver: ScriptedServer) -> None:
    await webhook(session, "http://ops.invalid" + PATH, proxy=receiver.url).send(Shipment(events=(event(),)))
    [(request, body)] = receiver.requests
    assert (request.host, request.path, body) == ("ops.invalid", PATH, PAYLOAD)


async def test_an_event_without_its_payload_cannot_be_sent(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    with pytest.raises(SendError) as caught:
        await webhook(session, receiver.url).send(Shipment(events=(event(None),)))
    assert caught.value.refused
    assert receiver.requests == []


# ------------------------------------------------------------------------------------ the answer


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
async def test_any_2xx_is_success(
    session: aiohttp.ClientSession, receiver: ScriptedServer, status: int
) -> None:
    receiver.answer = web.Response(status=status, body=b"" if status == 204 else b"error: failed")
    await webhook(session, receiver.url).send(Shipment(events=(event(),)))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("status", "permanent", "outcome_unknown"),
    [
        (400, True, False),
        (410, True, False),
        (413, True, False),
        (422, True, False),
        (401, False, False),
        (403, False, False),
        (404, False, False),
        (405, False, False),
        (408, False, False),
        (409, False, False),
        (418, False, False),
        (429, False, False),
        (500, False, True),
        (502, False, True),
        (503, False, True),
        (599, False, True),
    ],
)
async def test_what_a_refusal_means(
    session: aiohttp.ClientSession,
    receiver: ScriptedServer,
    status: int,
    permanent: bool,
    outcome_unknown: bool,
) -> None:
    receiver.answer = web.Response(status=status, text="not\nnow")
    error = await failed(webhook(session, receiver.url + PATH))
    assert error.reason == f"answered {status}: not now"
    assert (bool(error.refused), error.outcome_unknown) == (permanent, outcome_unknown)
    assert error.retry_after is None


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(
    session: aiohttp.ClientSession, receiver: ScriptedServer, status: int
) -> None:
    async with served(ScriptedServer()) as elsewhere:
        receiver.answer = web.Response(status=status, headers={"Location": elsewhere.url + PATH})
        error = await failed(webhook(session, receiver.url + PATH, headers={"Authorization": "Bearer t"}))
    assert elsewhere.requests == []
    assert len(receiver.requests) == 1
    assert error.reason == f"answered {status}, a redirect, which is not followed"
    assert (bool(error.refused), error.outcome_unknown) == (False, False)


@pytest.mark.parametrize("status", [302, 404, 429, 503])
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(minutes=2)),
        ("Sat, 31 Jan 2026 10:31:30 GMT", timedelta(seconds=90)),
        ("never", None),
    ],
)
async def test_the_wait_that_is_asked_for_is_told(
    session: aiohttp.ClientSession,
    receiver: ScriptedServer,
    status: int,
    header: str,
    wait: timedelta | None,
) -> None:
    receiver.answer = web.Response(status=status, headers={"Retry-After": header})
    error = await failed(webhook(session, receiver.url, now=lambda: NOW))
    assert error.retry_after == wait


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(b"", "the connection was closed before an answer came", id="closed"),
        pytest.param(b"EHLO\r\n", "the answer was not HTTP", id="not HTTP"),
        pytest.param(None, "no answer in time", id="silence"),
    ],
)
async def test_the_outcome_is_unknown_when_no_answer_comes(
    session: aiohttp.ClientSession, answer: bytes | None, reason: str
) -> None:
    async with wired(answer) as url, asyncio.timeout(5):
        error = await failed(webhook(session, url + PATH, timeout="200ms"))
    assert error.reason == reason
    assert (bool(error.refused), error.outcome_unknown) == (False, True)


async def test_a_refused_connection_was_certainly_not_sent(session: aiohttp.ClientSession) -> None:
    with closed_port() as port:
        error = await failed(webhook(session, f"http://user:secret-word@127.0.0.1:{port}{PATH}"))
    assert error.reason == f"no connection to 127.0.0.1:{port}: connection refused"
    assert (bool(error.refused), error.outcome_unknown) == (False, False)


async def test_a_host_that_does_not_exist_is_named(session: aiohttp.ClientSession) -> None:
    error = await failed(webhook(session, "https://ops.invalid" + PATH))
    assert error.reason == "the host name ops.invalid could not be resolved"
    assert (bool(error.refused), error.outcome_unknown) == (False, False)


async def test_an_untrusted_certificate_gets_nothing(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    server, _ = tls_files(tmp_path)
    async with wired(reply(b""), tls=server) as url:
        error = await failed(webhook(session, url + PATH))
    assert error.reason == "its TLS certificate could not be verified"
    assert (bool(error.refused), error.outcome_unknown) == (False, False)


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"o", "Content-Length: 2"),
        reply(b"no gzip", "Content-Encoding: gzip", "Content-Length: 7"),
        reply(b"9\r\nok", "Transfer-Encoding: chunked"),
    ],
)
async def test_a_success_stays_one_whatever_becomes_of_its_body(
    session: aiohttp.ClientSession, answer: bytes
) -> None:
    async with wired(answer) as url:
        await webhook(session, url).send(Shipment(events=(event(),)))


@pytest.mark.parametrize("status", [200, 404])
async def test_a_huge_answer_is_not_read_to_its_end(
    session: aiohttp.ClientSession, receiver: ScriptedServer, status: int
) -> None:
    written = 0
    gone = asyncio.Event()

    async def huge(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            for _ in range(50):
                await response.write(b"word " * 200_000)
                written += 1_000_000
        finally:
            gone.set()
        return response

    receiver.answer = huge
    async with asyncio.timeout(10):
        if status == 200:
            await webhook(session, receiver.url).send(Shipment(events=(event(),)))
        else:
            error = await failed(webhook(session, receiver.url))
            assert error.reason.startswith("answered 404: word word")
            assert len(error.reason) < 250
        await gone.wait()
    assert written < 20_000_000


async def test_a_success_whose_body_never_ends_is_one(
    session: aiohttp.ClientSession, receiver: ScriptedServer
) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    receiver.answer = silent
    async with asyncio.timeout(5):
        await webhook(session, receiver.url, timeout="200ms").send(Shipment(events=(event(),)))


# ---------------------------------------------------------------------------------------- secrets

SIGNING_SECRET = "whsec_" + base64.b64encode(b"signing key that is secret").decode()


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(lambda _: SIGNING_SECRET, id="signing secret"),
        pytest.param(lambda _: SIGNING_SECRET.removeprefix("whsec_"), id="signing secret without prefix"),
        pytest.param(lambda request: request.headers["Authorization"], id="header"),
        pytest.param(lambda request: request.headers["Authorization"].split(" ")[1], id="token"),
        pytest.param(lambda request: str(request.url), id="URL"),
        pytest.param(lambda request: request.path, id="path"),
        pytest.param(lambda request: request.path.split("/")[2], id="segment"),
        pytest.param(lambda request: request.path_qs, id="path and query"),
        pytest.param(lambda request: request.query_string, id="query"),
        pytest.param(lambda request: request.query["key"], id="value of the query"),
        pytest.param(lambda request: json.dumps(dict(request.headers)), id="all headers"),
        pytest.param(lambda request: json.dumps(request.path).replace("/", "\\/"), id="escaped path"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 500])
async def test_a_secret_that_the_receiver_repeats_is_not_shown(
    session: aiohttp.ClientSession,
    receiver: ScriptedServer,
    echo: Callable[[web.Request], str],
    status: int,
) -> None:
    receiver.answer = lambda request: web.Response(status=status, text=f"refused: {echo(request)}")
    error = await failed(
        webhook(
            session,
            receiver.url + PATH + "?key=query%2Fthat-is-secret%2B%3d",
            secret=SIGNING_SECRET,
            headers={"Authorization": "Bearer path-that-is-secret-and-more"},
        )
    )
    assert error.reason.startswith(f"answered {status}: refused: ")
    assert "REDACTED" in error.reason
    for secret in (SIGNING_SECRET[6:], "that-is-secret", "and-more"):
        assert secret not in error.reason


@pytest.mark.parametrize(
    "echo",
    [
        lambda request: request.headers["Authorization"],
        lambda request: base64.b64decode(request.headers["Authorization"].split(" ")[1]).decode(),
    ],
)
async def test_a_password_of_the_url_that_the_receiver_repeats_is_not_shown(
    session: aiohttp.ClientSession, receiver: ScriptedServer, echo: Callable[[web.Request], str]
) -> None:
    receiver.answer = lambda request: web.Response(status=401, text=f"refused: {echo(request)}")
    error = await failed(webhook(session, receiver.url.replace("//", "//user:pass%2Fword@")))
    assert "REDACTED" in error.reason
    for secret in ("pass%2Fword", "pass/word", base64.b64encode(b"user:pass/word").decode()):
        assert secret not in error.reason


def test_no_secret_is_in_what_settings_look_like() -> None:
    settings = WebhookSettings.model_validate(
        {
            "type": "webhook",
            "url": "https://user:secret-1@ops.example.com/secret-2?secret-3",
            "secret": [SIGNING_SECRET],
            "headers": {"X-Api-Key": "Bearer secret-4"},
            "proxy": "http://user:secret-5@proxy.example.com",
        }
    )
    assert "secret-" not in f"{settings!r} {settings}"
    assert SIGNING_SECRET not in repr(settings)
    assert settings.shown == "webhook at https://ops.example.com, signed"


def test_a_url_with_a_user_leaves_no_room_for_another_authorization() -> None:
    with pytest.raises(ValidationError, match="Authorization"):
        WebhookSettings.model_validate(
            {"type": "webhook", "url": "https://user@h/", "headers": {"authorization": "Bearer secret"}}
        )


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip", b"deflate", b"unheard-of"])
async def test_a_success_is_one_however_its_body_is_encoded(
    session: aiohttp.ClientSession, encoding: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 2\r\n\r\nok" % encoding
    async with wired(head) as url:
        await webhook(session, url).send(Shipment(events=(event(),)))
