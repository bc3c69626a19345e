"""Slack's Web API, asked through slack-sdk: an answer, or an error that says what to do."""

import json
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from notifier.sending import SendError
from notifier.targets.slack.refusal import PayloadRefusedError, refusal
from notifier.targets.slack.session import NO_OBJECT, QUIET, Session
from notifier.targets.slack.settings import SlackSettings
from notifier.transport import USER_AGENT, describe_fault, excerpt, parse_retry_after, shown, was_sent

_MAY_POST = frozenset({"chat:write", "chat:write:bot", "bot"})  # the last two of older apps
_MAY_READ = ("channels:history", "groups:history", "im:history", "mpim:history")
_MAY_LIST = {"channels:read": "public_channel", "groups:read": "private_channel"}
_READING = "conversations."

CODE = re.compile(r"[a-z][a-z0-9_]{2,60}")
"""What Slack's errors look like."""


class Api:
    """The API as one token may use it."""

    def __init__(
        self,
        settings: SlackSettings,
        *,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | bool,
        now: Callable[[], datetime],
    ) -> None:
        token = settings.token.get_secret_value() if settings.token is not None else ""
        self.secrets = [token]
        self.scopes: frozenset[str] | None = None
        """What the token may do, as the last answer said; None when no answer did."""
        self._may_not_read = False
        self._now = now
        own = Session(
            session, timeout=settings.timeout, tls=tls, proxy=settings.proxy or None, decompress=True
        )
        self._client = AsyncWebClient(
            token,
            base_url=settings.api_url,
            user_agent_prefix=USER_AGENT,
            session=own,  # type: ignore[arg-type] # as much of one as slack-sdk uses
            retry_handlers=[],  # the outbox is the one retry: slack-sdk's sends a message twice
            logger=QUIET,
        )

    @property
    def may_read(self) -> bool | None:
        """Whether the token may read what was posted somewhere; None when nobody knows."""
        if self.scopes is None:
            return False if self._may_not_read else None
        return not self.scopes.isdisjoint(_MAY_READ)

    @property
    def may_list(self) -> str:
        """The types of channels that the token may list, as `conversations.list` takes them."""
        return ",".join(type_ for scope, type_ in _MAY_LIST.items() if scope in (self.scopes or ()))

    async def call(self, method: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer of a method.

        Raises PayloadRefusedError when Slack refuses how a message is written, SendError when it refuses
        something else or does not answer.
        """
        given: dict[str, Any] = {"json": dict(arguments)}
        if method.startswith(_READING):
            given = {"http_verb": "GET", "params": dict(arguments)}
        elif not arguments:
            given = {"params": {}}
        try:
            response: Any = await self._client.api_call(method, **given)
        except SlackApiError as error:
            response = error.response
            self._note_scopes(response.headers)
            if response.get("ok") is True and 200 <= response.status_code < 300:
                return dict(response.data)  # slack-sdk takes none but 200 for a success
            raise self._judged(response) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # What aiohttp and slack-sdk raise holds the URL or the whole answer: it is not chained.
            raise SendError(describe_fault(error), outcome_unknown=was_sent(error)) from None
        self._note_scopes(response.headers)
        return dict(response.data)

    def note_unreadable(self) -> None:
        """Note that the token lacks the scope to read: not every server that speaks for Slack tells."""
        self._may_not_read = True

    async def test(self) -> Mapping[str, Any]:
        """Return whose the token is, as `auth.test` tells; its scopes are known then if Slack tells them.

        Raises SendError when the token is refused or lacks the scope to post.
        """
        try:
            answer = await self.call("auth.test", {})
        except PayloadRefusedError as error:
            raise SendError(error.reason) from None
        if self.scopes is not None and self.scopes.isdisjoint(_MAY_POST):
            raise refusal(status=200, code="missing_scope", needed="chat:write")
        return answer

    def _note_scopes(self, headers: Mapping[str, str]) -> None:
        scopes = headers.get("x-oauth-scopes")
        if scopes is not None:
            self.scopes = frozenset(re.split(r"[,\s]+", scopes.strip()))

    def _judged(self, response: Any) -> SendError | PayloadRefusedError:
        data: Mapping[str, Any] = response.data
        code = data.get("error")
        metadata = data.get("response_metadata")
        messages = metadata.get("messages") if isinstance(metadata, dict) else None
        words = "; ".join(map(str, messages)) if isinstance(messages, list) else ""
        return refusal(
            status=response.status_code,
            code=code if isinstance(code, str) and CODE.fullmatch(code) and self._fit(code) else "",
            detail=shown(words, self.secrets),
            needed=shown(str(data.get("needed") or ""), self.secrets),
            retry_after=parse_retry_after(response.headers.get("Retry-After"), self._now()),
            answer=excerpt(data.get(NO_OBJECT) or json.dumps(data, ensure_ascii=False), self.secrets),
        )

    def _fit(self, code: str) -> bool:
        return shown(code, self.secrets) == code
