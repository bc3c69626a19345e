"""Any HTTP endpoint, spoken to as Standard Webhooks 1.0.0 has it (contract, section 6)."""

import base64
import hashlib
import hmac
import io
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from yarl import URL

from notifier.fields import (
    Headers,
    OptionalUrl,
    PositiveDuration,
    SecretUrl,
    Section,
    SigningSecrets,
    decode_signing_secret,
    origin,
)
from notifier.later import later
from notifier.model import Event, utc_now
from notifier.quiet import QuietSettings
from notifier.sending import Cards, Preview, Receipt, SendError, Shipment
from notifier.spacing import Spacing
from notifier.transport import (
    USER_AGENT,
    describe_fault,
    excerpt,
    header_secrets,
    read_start,
    retry_after,
    shown,
    url_secrets,
    was_sent,
)

_READ_OF_ANSWER = 64 * 1024
_REFUSALS: dict[int, Literal["message", "endpoint"]] = {
    400: "message",
    410: "endpoint",
    413: "message",
    422: "message",
}


class WebhookSettings(Section):
    """A webhook: each event is POSTed to it as JSON, signed when there is a secret."""

    type: Literal["webhook"]
    """The kind of target."""
    url: SecretUrl
    """Where events are POSTed; its path counts as a secret and is never shown."""
    url_file: str | None = None
    """A file that holds the URL."""
    secret: SigningSecrets = Field(default_factory=tuple)
    """The signing secret, `whsec_…`; a list signs with each of them, for rotation."""
    secret_file: str | None = None
    """A file that holds the signing secret."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send with every request, such as Authorization; their values count as secrets."""
    insecure_http: bool = False
    """Whether its secrets may go over plain http to another machine."""
    format: Annotated[
        Literal["standard", "cloudevents", "cloudevents-batch", "template"], later("standard")
    ] = "standard"
    """The shape of the body."""
    body: Annotated[str, later("")] = ""
    """The body of the format "template"."""
    batch_max: Annotated[int, later(100)] = 100
    """The most events in one request of a batch format."""
    quiet: QuietSettings | None = None
    """Quiet hours: what happens in them is held, and sent at their end."""
    timeout: PositiveDuration = timedelta(seconds=15)
    """The longest one attempt may take."""
    proxy: OptionalUrl = ""
    """An HTTP proxy to go through."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's, as PEM."""

    @model_validator(mode="after")
    def _check_authorization(self) -> Self:
        user = urlsplit(self.url.get_secret_value()).username
        if user is not None and any(name.lower() == "authorization" for name in self.headers):
            raise PydanticCustomError(
                "invalid", "has Authorization in headers and a user name in url; keep one of them"
            )
        return self

    @property
    def shown(self) -> str:
        """Where events go, as far as it may be shown."""
        count = len(self.secret)
        signed = {0: "not signed", 1: "signed"}.get(count, f"signed with {count} secrets")
        return f"webhook at {origin(self.url.get_secret_value())}, {signed}"


class Webhook:
    """A target that POSTs each event to one URL."""

    concurrency = 10
    spacing: Spacing | None = None
    cards: Cards | None = None
    grouping = None

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        *,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | bool,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self._url = settings.url.get_secret_value()
        # As written: requoting would make another URL of one whose query is signed or holds %2F.
        self._request_url = URL(self._url, encoded=self._url.isascii())
        self._keys = [decode_signing_secret(secret.get_secret_value()) for secret in settings.secret]
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self.longest = settings.timeout
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout.total_seconds())
        self._proxy = settings.proxy or None
        self._session = session
        self._tls = tls
        self._now = now
        self._secrets = [
            *url_secrets(self._url),
            *(part for value in self._headers.values() for part in header_secrets(value)),
            *(secret.get_secret_value().removeprefix("whsec_") for secret in settings.secret),
        ]

    async def send(self, shipment: Shipment) -> Receipt:
        """Make one attempt; on return the receiver has answered 2xx. Raises SendError when it has not."""
        (event,) = shipment.events
        body = self._body(event)
        headers = self._headers | self._own_headers(event, body)
        try:
            async with self._session.post(
                self._request_url,
                data=io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
                auto_decompress=False,  # what a 2xx carries must not make a failure of it
                timeout=self._timeout,
                ssl=self._tls,
                proxy=self._proxy,
            ) as response:
                await self._judge(response)
                return Receipt()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SendError(describe_fault(error), outcome_unknown=was_sent(error)) from error

    def preview(self, event: Event) -> Preview:
        """Return what `send` would send."""
        body = self._body(event)
        headers = dict.fromkeys(self._headers, "REDACTED") | self._own_headers(event, body)
        return Preview(request=f"POST {origin(self._url)}/…", headers=headers, body=body)

    async def probe(self) -> None:
        """Return None: what a webhook does with a request is its own affair."""

    async def caveat(self) -> None:
        """Return None: it needs nothing but its URL."""

    def _body(self, event: Event) -> bytes:
        if event.payload is msgspec.UNSET:
            raise SendError("the payload is no longer stored", refused="message")
        return bytes(event.payload)

    def _own_headers(self, event: Event, body: bytes) -> dict[str, str]:
        return webhook_headers(event.id, body, self._keys, self._now()) | {
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
        }

    async def _judge(self, response: aiohttp.ClientResponse) -> None:
        answer = await read_start(response, _READ_OF_ANSWER)
        status = response.status
        if 200 <= status < 300:
            return
        words = shown(answer, self._secrets)
        reason = f"answered {status}" + (f": {words}" if words else "")
        if 300 <= status < 400:
            reason = f"answered {status}, a redirect, which is not followed"
        raise SendError(
            reason,
            refused=_REFUSALS.get(status),
            retry_after=retry_after(response, self._now()),
            outcome_unknown=status >= 500,
            status=status,
            answer=excerpt(answer, self._secrets),
        )


def webhook_headers(event_id: str, body: bytes, keys: Iterable[bytes], now: datetime) -> dict[str, str]:
    """Return the content type and the headers of Standard Webhooks 1.0.0 for exactly these bytes.

    Without keys there is no signature; with several, each signs (its section "Rotating secrets").
    """
    timestamp = str(int(now.timestamp()))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    signatures = [
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys
    ]
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
    }
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return headers
