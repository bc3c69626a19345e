"""A Slack channel as a target: one message an event, posted through slack-sdk."""

import json
import logging
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import msgspec
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.internal_utils import get_user_agent
from slack_sdk.webhook.async_client import AsyncWebhookClient
from yarl import URL

from notifier.model import Event, utc_now
from notifier.outbox import batch_id
from notifier.payload import read_payload
from notifier.sending import Grouping, Preview, SendError
from notifier.targets.slack.digest import render_digest, render_plain_digest
from notifier.targets.slack.message import Message, as_plain_text, mention_for, render
from notifier.targets.slack.refusal import PayloadRefusedError, refusal
from notifier.targets.slack.session import NO_OBJECT, OWN_HEADERS, Session
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

EVENT_TYPE = "backfill_notifier_event"
DIGEST_LIMIT = 1000
"""The most events in one digest."""

_MAY_POST = frozenset({"chat:write", "chat:write:bot", "bot"})  # the last two of older apps
_CODE = re.compile(r"[a-z][a-z0-9_]{2,60}")

_quiet = logging.getLogger("notifier.slack_sdk")  # slack-sdk would log URLs that are secrets
_quiet.setLevel(logging.CRITICAL + 1)


class SlackChannel:
    """A target that posts each event as a message of its own.

    A message a second is what Slack takes for one channel, so attempts start a second apart.
    """

    concurrency = 1
    interval = timedelta(seconds=1)

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
        self.name = name
        self.timeout = settings.timeout
        self.grouping = Grouping(over=digest_over, limit=DIGEST_LIMIT)
        self._channel = settings.channel
        self._mentions = settings.mentions
        self._job_links = job_links
        self._now = now
        own = Session(
            session,
            timeout=settings.timeout,
            tls=tls,
            proxy=settings.proxy or None,
            # A hook's status says it all: what a 2xx carries must not make a failure of it.
            decompress=settings.webhook_url is None,
        )
        # The outbox is the one retry: slack-sdk's sends a message twice.
        terms: dict[str, Any] = {"session": own, "retry_handlers": [], "logger": _quiet}
        self._hook: AsyncWebhookClient | None = None
        if settings.webhook_url is not None:
            url = settings.webhook_url.get_secret_value()
            self._secrets = url_secrets(url)
            self._shown_url = f"{URL(url).origin()}/…"
            self._hook = AsyncWebhookClient(url, user_agent_prefix=USER_AGENT, **terms)
        else:
            token = settings.token.get_secret_value() if settings.token is not None else ""
            self._secrets = [token]
            self._shown_url = f"{URL(settings.api_url).with_user(None)}chat.postMessage"
            self._api = AsyncWebClient(
                token, base_url=settings.api_url, user_agent_prefix=USER_AGENT, **terms
            )

    async def send(self, events: Sequence[Event]) -> None:
        """Make one attempt; on return Slack has posted the message. Raises SendError when it has not.

        Several events are one digest. A message that Slack refuses for how it is written is sent once
        more, as plain text.
        """
        try:
            try:
                await self._post(self._arguments(events, self._message(events)))
            except PayloadRefusedError as error:
                arguments = self._arguments(events, self._message(events, plain=True))
                if "metadata" in error.code:
                    arguments.pop("metadata", None)
                await self._post(arguments)
        except PayloadRefusedError as error:
            reason = f"{error.reason}, also as plain text"
            raise SendError(reason, refused="message", status=error.status, answer=error.answer) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # What aiohttp and slack-sdk raise holds the URL or the whole answer: it is not chained.
            raise SendError(describe_fault(error), outcome_unknown=was_sent(error)) from None

    def preview(self, event: Event) -> Preview:
        """Return what `send` would send."""
        headers = {"Content-Type": "application/json;charset=utf-8", **OWN_HEADERS}
        headers["User-Agent"] = get_user_agent(USER_AGENT)
        if self._hook is None:
            headers["Authorization"] = "Bearer REDACTED"
        body = json.dumps(self._arguments([event], self._message([event]))).encode()  # as slack-sdk writes it
        return Preview(request=f"POST {self._shown_url}", headers=headers, body=body)

    async def probe(self) -> str | None:
        """Return whose the token is, as `auth.test` tells; None for an incoming webhook.

        Raises SendError when the token is refused or lacks the scope to post.
        """
        if self._hook is not None:
            return None
        try:
            response = await self._api.auth_test()
        except SlackApiError as error:
            judged = self._judged(error)
            if isinstance(judged, PayloadRefusedError):
                judged = SendError(judged.reason)
            raise judged from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SendError(describe_fault(error)) from None
        scopes = response.headers.get("x-oauth-scopes")
        if scopes is not None and _MAY_POST.isdisjoint(re.split(r"[,\s]+", scopes)):
            raise refusal(status=200, code="missing_scope", needed="chat:write")
        user, team = (shown(str(response.get(key) or "?"), self._secrets) for key in ("user", "team"))
        return (
            f"the token works: {user} in the workspace {team}. "
            f"Whether it may post to {self._channel} only a message tells: notifier test {self.name}"
        )

    def _message(self, events: Sequence[Event], *, plain: bool = False) -> Message:
        first = events[0]
        if first.payload is msgspec.UNSET:
            raise SendError("the payload is no longer stored", refused="message")
        payload = read_payload(first.payload)
        job_link = self._job_links.get(payload.data.source, "")
        if len(events) > 1:
            draw = render_plain_digest if plain else render_digest
            return draw(events, source=payload.data.source, job_link=job_link, mentions=self._mentions)
        message = render(payload, job_link=job_link, mention=mention_for(payload.type, self._mentions))
        return as_plain_text(message) if plain else message

    def _arguments(self, events: Sequence[Event], message: Message) -> dict[str, Any]:
        if self._hook is not None:
            return message.arguments()
        known_by = batch_id([event.id for event in events])
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"event_id": known_by}}
        return {"channel": self._channel, **message.arguments(), "metadata": metadata}

    async def _post(self, arguments: dict[str, Any]) -> None:
        if self._hook is not None:
            reply = await self._hook.send_dict(arguments)
            if not 200 <= reply.status_code < 300:
                raise self._refused(
                    reply.status_code, reply.headers, _hook_code(reply.body), reply.body, answer=reply.body
                )
            return
        try:
            await self._api.chat_postMessage(**arguments)
        except SlackApiError as error:
            if error.response.get("ok") is True and 200 <= error.response.status_code < 300:
                return  # slack-sdk takes none but 200 for a success
            raise self._judged(error) from None

    def _judged(self, error: SlackApiError) -> SendError | PayloadRefusedError:
        response: Any = error.response
        data: Mapping[str, Any] = response.data
        code = data.get("error")
        metadata = data.get("response_metadata")
        messages = metadata.get("messages") if isinstance(metadata, dict) else None
        return self._refused(
            response.status_code,
            response.headers,
            code if isinstance(code, str) and _CODE.fullmatch(code) else "",
            "; ".join(map(str, messages)) if isinstance(messages, list) else "",
            str(data.get("needed") or ""),
            answer=data.get(NO_OBJECT) or json.dumps(data, ensure_ascii=False),
        )

    def _refused(
        self,
        status: int,
        headers: Mapping[str, str],
        code: str,
        words: str,
        needed: str = "",
        *,
        answer: str,
    ) -> SendError | PayloadRefusedError:
        return refusal(
            status=status,
            code=code if shown(code, self._secrets) == code else "",
            detail=shown(words, self._secrets),
            needed=shown(needed, self._secrets),
            retry_after=parse_retry_after(headers.get("Retry-After"), self._now()),
            hook=self._hook is not None,
            answer=excerpt(answer, self._secrets),
        )


def _hook_code(body: str) -> str:
    """Return the error of an incoming webhook: Slack's are one word, others' are anything."""
    return body.strip() if _CODE.fullmatch(body.strip()) else ""
