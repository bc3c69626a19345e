"""The whole system with a marked secret in every place that one can be: none is ever shown."""

import asyncio
import base64
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from notifier.records import Records
from notifier.web.api import make_application
from tests.commands import Done, notifier
from tests.daemon import Daemon
from tests.servers import ScriptedServer, job, served
from tests.web import daemon_of
from tests.wire import closed_port, wired

MARK = "mQ7k"
"""Begins every secret, and stands nowhere else."""
KEY, FILE_KEY, BASE_PASSWORD, PROXY_PASSWORD = (
    f"{MARK}{name}" for name in ("Key", "FileKey", "Base", "Proxy")
)
PATH, QUERY, USER_PASSWORD = (f"{MARK}{name}Secret" for name in ("Path", "Query", "User"))
BEARER, CUSTOM, WEB, PING, HOOK = (
    f"{MARK}{name}Secret" for name in ("Bearer", "Custom", "Web", "Ping", "Hook")
)
TOKEN = f"xoxb-1-{MARK}Token"
SIGNING = base64.b64encode(f"{MARK}SigningSecret".encode()).decode()
BASIC = [
    base64.b64encode(f"user:{each}".encode()).decode()
    for each in (BASE_PASSWORD, PROXY_PASSWORD, USER_PASSWORD)
]
SHOWN_BY_NOBODY = [MARK, SIGNING, *BASIC, base64.b64encode(f"xoxb-1-{MARK}".encode()).decode()[:12]]

CONFIG = """
[[sources]]
name = "variable"
api_key = "${{API_KEY}}"
base_url = "{api}"
poll_every = "100ms"
poll_idle_every = "100ms"
[[sources]]
name = "file"
api_key_file = "key"
base_url = "{echo}"
poll_every = "100ms"
poll_idle_every = "100ms"
[[sources]]
name = "password"
api_key = "{key}2"
base_url = "{base}"
poll_every = "100ms"
poll_idle_every = "100ms"
[[sources]]
name = "proxied"
api_key = "{key}3"
base_url = "http://allium.invalid"
insecure_http = true
proxy = "http://user:{proxy_password}@127.0.0.1:{closed}"
poll_every = "100ms"
poll_idle_every = "100ms"

[targets.echoed]
type = "webhook"
url = "{echo}/hooks/{path}?token={query}"
[targets.signed]
type = "webhook"
url = "{echo}/hooks/{path}"
secret = "whsec_{signing}"
headers = {{ Authorization = "Bearer {bearer}", X-Custom = "{custom}" }}
[targets.with-password]
type = "webhook"
url = "{password}/hooks/{path}"
[targets.closed]
type = "webhook"
url = "http://127.0.0.1:{closed}/hooks/{path}"
[targets.unknown]
type = "webhook"
url = "http://unknown.invalid/hooks/{path}"
[targets.garbled]
type = "webhook"
url = "{garbled}/hooks/{path}"
[targets.proxied]
type = "webhook"
url = "https://ops.invalid/hooks/{path}"
proxy = "http://user:{proxy_password}@127.0.0.1:{closed}"
[targets.slack]
type = "slack"
token = "{token}"
channel = "#data"
api_url = "{echo}/api/"
[targets.slack-hook]
type = "slack"
webhook_url = "{echo}/services/{hook}"

[delivery]
first_retry = "50ms"
max_retry = "100ms"
give_up_after = "{give_up_after}"

[heartbeat]
url = "{echo}/{ping}"
every = "100ms"
signals = true

[store]
url = "sqlite:///state.db"

[web]
token = "{web}"

[log]
level = "debug"
format = "{format}"
"""


def echo(request: web.Request) -> web.Response:
    """Repeat all that came, in every part of an answer."""
    said = f"{request.url} {request.raw_path} {quote(str(request.url), safe='')} {dict(request.headers)}"
    status = [401, 500, 302, 403, 503, 400, 404][hash(request.raw_path + str(len(said))) % 7]
    if request.path.startswith("/api/"):
        kind = ["invalid_auth", "internal_error", "channel_not_found"][len(said) % 3]
        return web.json_response({"ok": False, "error": kind, "detail": said, "needed": said})
    headers = {"Location": f"http://elsewhere.invalid/{PATH}"} if status == 302 else {}
    return web.Response(status=status, text=json.dumps({"detail": said, "error": said}), headers=headers)


def with_user(url: str, password: str) -> str:
    return url.replace("http://", f"http://user:{password}@")


def leaks(text: str) -> Iterator[str]:
    for secret in SHOWN_BY_NOBODY:
        at = text.find(secret)
        if at >= 0:
            yield text[max(0, at - 200) : at + 60]


async def everything_over_http(url: str) -> list[str]:
    """Ask for all there is, with the token and without it; return all that was said."""
    said = []
    routes = make_application(daemon_of(Records())).router.routes()
    asks = {(route.method, route.resource.canonical) for route in routes if route.resource is not None}
    bodies: list[Any] = [{}, {"for": "1h", "source": "variable"}, {"for": "1h", "table": "x", "reason": "y"}]
    async with aiohttp.ClientSession() as session:
        for token in (WEB, f"{MARK}Wrong", None):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            for method, path in sorted(asks):
                if path == "/changes":
                    continue  # it does not end
                filled = path.replace("{source}/{id}", "variable/j0").replace("{id}", "x")
                for body in bodies if method == "POST" else [None]:
                    async with session.request(method, url + filled, json=body, headers=headers) as response:
                        said += [str(response.headers), response.reason or "", await response.text()]
                        assert response.status < 500 or filled == "/readyz", (method, path)
        for name in ("jobs", "deliveries", "events"):
            headers = {"Authorization": f"Bearer {WEB}"}
            async with session.get(f"{url}/api/v1/{name}?limit=2500", headers=headers) as response:
                said.append(await response.text())
                assert len((await response.json())["items"]) > 0, name
    return said


def stored_secrets() -> list[str]:
    state = b"".join(file.read_bytes() for file in Path().glob("*.db*"))
    return [secret for secret in SHOWN_BY_NOBODY if secret.encode() in state]


async def everything_that_is_no_http(url: str) -> None:
    """Send the token in requests that no server can read, and wait for each to be answered or cut off."""
    host, _, port = url.removeprefix("http://").partition(":")
    head = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n"
    form = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    token = WEB.encode()
    for sent in (
        head + b"Authorization: Bearer " + token + b"\x01\r\n\r\n",
        head + b"Authorization : Bearer " + token + b"\r\n\r\n",
        head + b"Cookie: notifier_session=" + token + b"\x00\r\n\r\n",
        form + b"Transfer-Encoding: chunked\r\n\r\n" + token + b"\r\n",
        form + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + token + b"\r\n",
        form + b"Content-Length: 1000\r\n\r\ntoken=" + token,
        b"\x16\x03\x01 " + token + b"\r\n\r\n",
        b"GET /?" + token * 1000 + b" HTTP/1.1\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        writer.write_eof()
        with suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()


async def every_command() -> list[Done]:
    environment = {"API_KEY": KEY}
    commands = [
        *(
            "check",
            "check --connect",
            "status",
            "jobs",
            "deliveries",
            "mutes",
            "health",
            "reload",
            "backup copy.db",
        ),
        *("status --json", "jobs --json", "deliveries --json", "mutes --json", "explain backfill.failed"),
        *("retry --dead", "mute j0 --for 1h", "unmute j0", "once", "schema"),
        *(
            f"{command} {target}"
            for command in ("test", "preview")
            for target in ("echoed", "signed", "slack-hook")
        ),
        *("test with-password", "test closed", "test unknown", "test garbled", "test slack", "test proxied"),
    ]
    # Two at a time: each starts an interpreter.
    turns = asyncio.Semaphore(2)

    async def done(command: str) -> Done:
        async with turns:
            return await notifier(*command.split(), **environment)

    return await asyncio.gather(*map(done, commands))


@pytest.mark.parametrize(("log", "give_up_after"), [("text", "3d"), ("json", "200ms")])
async def test_no_secret_is_ever_shown(log: str, give_up_after: str) -> None:
    config, key = Path("notifier.toml"), Path("key")
    key.write_text(f"{FILE_KEY}\n")  # noqa: ASYNC240 - a test waits for nothing else
    destinations = [
        {"type": "webhook", "url": f"https://user:{USER_PASSWORD}@kafka.example.com/x?key={QUERY}"}
    ]
    listing = [job(f"j{number}", "staging", destinations=destinations) for number in range(3)]
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(served(ScriptedServer()))
        mirror = await stack.enter_async_context(served(ScriptedServer()))
        garbage = f"HTTP/1.1 200 {PATH}\r\n{PATH}\r\n\r\n".encode()
        garbled = await stack.enter_async_context(wired(garbage))
        closed = stack.enter_context(closed_port())
        api.answer, mirror.answer = listing, echo
        text = CONFIG.format(
            api=api.url,
            echo=mirror.url,
            base=with_user(mirror.url, BASE_PASSWORD),
            password=with_user(mirror.url, USER_PASSWORD),
            garbled=garbled,
            closed=closed,
            key=KEY,
            proxy_password=PROXY_PASSWORD,
            path=PATH,
            query=QUERY,
            signing=SIGNING,
            bearer=BEARER,
            custom=CUSTOM,
            token=TOKEN,
            hook=HOOK,
            ping=PING,
            web=WEB,
            give_up_after=give_up_after,
            format=log,
        )
        config.write_text(text)  # noqa: ASYNC240
        daemon = Daemon(config, {"API_KEY": KEY, "NOTIFIER_LISTEN": "127.0.0.1:0"})
        await stack.enter_async_context(daemon)
        await daemon.logged("watching 3 jobs")
        api.answer = [element | {"status": "failed", "error_message": "x"} for element in listing]
        for target in (
            "echoed",
            "signed",
            "with-password",
            "closed",
            "unknown",
            "garbled",
            "proxied",
            "slack",
        ):
            await daemon.logged(f"{target}: ")
        await daemon.logged("gave up" if give_up_after == "200ms" else "attempt 2 of")
        [line] = [line for line in daemon.lines if "the status page is at" in line]
        url = line.partition("the status page is at ")[2].strip('"}/ ')
        await everything_that_is_no_http(url)
        said = await everything_over_http(url)
        done = await every_command() if log == "text" else []
        config.write_text(text.replace('"Bearer ', '"\\nBearer ').replace("[web]", f'[web]\nurl = "{PATH}"'))  # noqa: ASYNC240
        done.append(await notifier("reload", API_KEY=KEY))
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("not reloaded")
        assert await daemon.ends(signal.SIGTERM) == 0
    said += daemon.lines
    said += [part for each in done for part in (each.out, each.err)]
    assert len(mirror.requests) > 20
    assert any(MARK in str(request.headers) + request.raw_path for request, _ in mirror.requests)
    assert [leak for each in said for leak in leaks(each)] == []
    assert stored_secrets() == []
