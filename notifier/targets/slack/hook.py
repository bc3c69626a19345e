"""An incoming webhook of Slack, Mattermost or the like as a target: one message an event."""

import json
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import aiohttp
from slack_sdk.web.internal_utils import get_user_agent
from slack_sdk.webhook.async_client import AsyncWebhookClient
from yarl import URL

from notifier.model import Event, utc_now
from notifier.sending import Cards, Grouping, Preview, Receipt, SendError, Shipment
from notifier.spacing import Spacing
from notifier.targets.slack.api import CODE
from notifier.targets.slack.message import Message
from notifier.targets.slack.refusal import PayloadRefusedError, refusal, refused_also_as_plain_text
from notifier.targets.slack.render import DIGEST_LIMIT, Renderer
from notifier.targets.slack.session import OWN_HEADERS, QUIET, Session
from notifier.targets.slack.settings import SlackSettings
from notifier.transport import (
    USER_AGENT,
    describe_fault,
    excerpt,
    parse_retry_after,
    shown,
    url_secrets,
    was_sent,
)


class SlackHook:
    """A target that posts each event as a message of its own: what it posted it cannot edit or find again."""

    concurrency = 1
    cards: Cards | None = None

    def __init__(
        self,
        name: str,
        settings: SlackSettings,
        *,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | bool,
        job_links: Mapping[str, str],
        digest_over: int,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        url = settings.webhook_url.get_secret_value() if settings.webhook_url is not None else ""
        self.name = name
        self.spacing: Spacing | None = Spacing(1.0)
        self.longest = 2 * settings.timeout
        self.grouping = Grouping(over=digest_over, limit=DIGEST_LIMIT)
        self._render = Renderer(job_links=job_links, mentions=settings.mentions)
        self._now = now
        self._secrets = url_secrets(url)
        self._shown_url = f"{URL(url).origin()}/…"
        own = Session(
            session,
            timeout=settings.timeout,
            tls=tls,
            proxy=settings.proxy or None,
            decompress=False,  # its status says it all: what a 2xx carries must not make a failure of it
        )
        self._client = AsyncWebhookClient(
            url,
            user_agent_prefix=USER_AGENT,
            session=own,  # type: ignore[arg-type] # as much of one as slack-sdk uses
            retry_handlers=[],  # the outbox is the one retry: slack-sdk's sends a message twice
            logger=QUIET,
        )

    async def send(self, shipment: Shipment) -> Receipt:
        """Make one attempt; on return the message is posted. Raises SendError when it is not.

        Several events are one digest. A message that is refused for how it is written is sent once more, as
        plain text.
        """
        try:
            try:
                await self._post(self._render.message(shipment.events, shipment.record))
            except PayloadRefusedError:
                await self._post(self._render.message(shipment.events, shipment.record, plain=True))
        except PayloadRefusedError as error:
            raise refused_also_as_plain_text(error) from None
        return Receipt()

    def preview(self, event: Event) -> Preview:
        """Return what `send` would send."""
        headers = {"Content-Type": "application/json;charset=utf-8", **OWN_HEADERS}
        headers["User-Agent"] = get_user_agent(USER_AGENT)
        body = json.dumps(self._render.message([event]).arguments()).encode()  # as slack-sdk writes it
        return Preview(request=f"POST {self._shown_url}", headers=headers, body=body)

    async def probe(self) -> None:
        """Return None: an incoming webhook can only be tried by posting."""

    async def caveat(self) -> None:
        """Return None: it has no scopes that could be missing."""

    async def _post(self, message: Message) -> None:
        try:
            reply = await self._client.send_dict(message.arguments())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # What aiohttp and slack-sdk raise holds the URL: it is not chained.
            raise SendError(describe_fault(error), outcome_unknown=was_sent(error)) from None
        if not 200 <= reply.status_code < 300:
            raise self._judged(reply)

    def _judged(self, reply: Any) -> SendError | PayloadRefusedError:
        word = reply.body.strip()  # the error of one of Slack's is one word, others' are anything
        return refusal(
            status=reply.status_code,
            code=word if CODE.fullmatch(word) and shown(word, self._secrets) == word else "",
            detail=shown(reply.body, self._secrets),
            retry_after=parse_retry_after(reply.headers.get("Retry-After"), self._now()),
            hook=True,
            answer=excerpt(reply.body, self._secrets),
        )
