"""What lies between: certificates of one's own, and a proxy."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from notifier.settings import Settings
from notifier.source import AlliumSource, SourceError
from notifier.transport import tls_context
from tests.servers import ScriptedServer, job


@dataclass
class Secure:
    """A TLS server and the file with the certificate that vouches for it."""

    url: str
    ca_file: str


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response([job()])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield Secure(f"https://127.0.0.1:{runner.addresses[0][1]}", str(tmp_path / "ca.pem"))
    await runner.cleanup()


async def _fetch(**source: str) -> list[str]:
    settings = Settings.model_validate({"sources": [{"api_key": "k", **source}]}).sources[0]
    async with aiohttp.ClientSession() as session:
        allium = AlliumSource(settings, session=session, tls=tls_context(settings.ca_file))
        reply = await allium.fetch(None)
    assert reply.listing is not None
    return [element.job_id for element in reply.listing.elements]


async def test_a_certificate_nobody_vouches_for_is_refused(secure: Secure) -> None:
    with pytest.raises(SourceError, match="its TLS certificate could not be verified"):
        await _fetch(base_url=secure.url)


async def test_a_certificate_of_ones_own_authority_is_accepted(secure: Secure) -> None:
    assert await _fetch(base_url=secure.url, ca_file=secure.ca_file) == ["j1"]


async def test_requests_go_through_the_proxy(api: ScriptedServer) -> None:
    api.answer = [job()]
    assert await _fetch(base_url="http://allium.invalid", proxy=api.url) == ["j1"]
    [(request, _)] = api.requests
    assert request.headers["Host"] == "allium.invalid"


async def test_a_proxy_from_the_environment_is_not_used(
    api: ScriptedServer, receiver: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", receiver.url)
    api.answer = [job()]
    assert await _fetch(base_url=api.url) == ["j1"]
    assert not receiver.requests


async def test_a_proxy_that_cannot_be_reached_is_told(unused_tcp_port: int) -> None:
    with pytest.raises(SourceError, match="the proxy could not be reached: connect"):
        await _fetch(
            base_url="http://allium.invalid", proxy=f"http://user:hunter2@127.0.0.1:{unused_tcp_port}"
        )
