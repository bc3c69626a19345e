"""A stand-in for Slack on loopback, as strict as Slack where it matters: demo and tests share it.

It knows tokens and scopes, channels by name and by id, membership and archives, the limits of messages,
one message a second and channel, and answers with Slack's own error codes.
"""

import itertools
import json
import math
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from notifier.demo.blocks import Refusal, check_message

API = "/api/"
HOOKS = "/services/"

_PING = re.compile(r"<(!(?:here|channel|everyone|subteam\^S\w+)|@[UW]\w+)(?:\|[^>]*)?>")
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_-]+")
_HOOK_ERRORS = {
    "no_service": (404, "no_service"),
    "is_archived": (410, "channel_is_archived"),
    "not_in_channel": (404, "channel_not_found"),
    "ratelimited": (429, "rate_limited"),
    "restricted_action_read_only_channel": (403, "action_prohibited"),
}
_BURST = 2.0


class Channel(msgspec.Struct, kw_only=True):
    """A conversation of the workspace."""

    id: str
    name: str
    is_archived: bool = False
    is_private: bool = False
    is_member: bool = True
    """Whether the app is in it."""
    is_read_only: bool = False


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was accepted."""

    channel: Channel
    ts: str
    message: dict[str, Any]
    """As it was sent; metadata that Slack would ignore is left out."""

    @property
    def pings(self) -> list[str]:
        """Whom it notifies: `!channel`, `!subteam^S1`, `@U1`, each as often as it stands in the blocks."""
        blocks = [*self.message.get("blocks", ())]
        for attachment in self.message.get("attachments", ()):
            blocks += attachment.get("blocks", ())
        return _PING.findall("\n".join(_mrkdwn(blocks)) if blocks else self.message.get("text", ""))


class FakeSlack:
    """One workspace with one app. `seen` is called with each message that it accepts.

    `script` goes first: each answer in it is given once, instead of what would have been answered: a
    response, an error's code, or an async function of the request that returns one of them.
    """

    def __init__(
        self,
        *channels: Channel,
        token: str,
        seen: Callable[[Post], None] = lambda _: None,
        posts_a_second: float | None = None,
    ) -> None:
        self.channels = list(channels)
        self.token = token
        self.scopes = {"chat:write"}
        self.hooks: dict[str, Channel] = {}
        """Incoming webhooks, by what follows /services/ in their URL."""
        self.posts: list[Post] = []
        self.script: list[Any] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Every request: its method, or its path for a webhook, and its arguments."""
        self._seen = seen
        self._rate = posts_a_second
        self._allowance: dict[str, tuple[float, float]] = {}
        self._numbers = itertools.count(1)

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer a call of the API, `POST /api/{method}`."""
        method = request.match_info["method"]
        arguments = _arguments(request, await request.read())
        self.calls.append((method, arguments or {}))
        try:
            if self.script:
                return await self._scripted(request)
            self._authorize(request)
            values = self._perform(method, arguments)
        except Refusal as error:
            return _error(error)
        headers = {"x-oauth-scopes": ",".join(sorted(self.scopes))}
        return web.json_response({"ok": True} | values, headers=headers)

    async def hook(self, request: web.Request) -> web.StreamResponse:
        """Answer a post to an incoming webhook, `POST /services/{path}`."""
        path = request.match_info["path"]
        arguments = _arguments(request, await request.read())
        self.calls.append((path, arguments or {}))
        try:
            if self.script:
                return await self._scripted(request)
            self._perform_hook(path, arguments)
        except Refusal as error:
            status, code = _HOOK_ERRORS.get(error.code, (400, error.code))
            retry_after = error.details.get("retry_after")
            headers = {} if retry_after is None else {"Retry-After": retry_after}
            return web.Response(status=status, text=code, headers=headers)
        return web.Response(text="ok")

    def routes(self) -> list[web.RouteDef]:
        """Return what it serves."""
        return [web.post(f"{API}{{method}}", self.call), web.post(f"{HOOKS}{{path:.+}}", self.hook)]

    def _authorize(self, request: web.Request) -> None:
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith("Bearer "):
            raise Refusal("not_authed")
        if authorization != f"Bearer {self.token}":
            raise Refusal("invalid_auth")

    def _perform(self, method: str, arguments: dict[str, Any] | None) -> dict[str, Any]:
        if arguments is None:
            raise Refusal("invalid_json")
        if method == "auth.test":
            return {"team": "Demo", "user": "backfill_notifier", "user_id": "U0BOT", "bot_id": "B0BOT"}
        if method != "chat.postMessage":
            raise Refusal("unknown_method")
        if "chat:write" not in self.scopes:
            raise Refusal("missing_scope", needed="chat:write", provided=",".join(sorted(self.scopes)))
        channel = self._find(arguments.get("channel"))
        if channel is None or (channel.is_private and not channel.is_member):
            raise Refusal("channel_not_found")
        post = self._take(channel, arguments)
        return {"channel": channel.id, "ts": post.ts, "message": post.message | {"ts": post.ts}}

    def _perform_hook(self, path: str, arguments: dict[str, Any] | None) -> None:
        if path not in self.hooks:
            raise Refusal("no_service")
        if arguments is None:
            raise Refusal("invalid_payload")
        self._take(self.hooks[path], arguments)

    def _find(self, where: Any) -> Channel | None:
        names = (where, where.removeprefix("#")) if isinstance(where, str) else ()
        return next((c for c in self.channels if c.id == where or c.name in names), None)

    def _take(self, channel: Channel, arguments: dict[str, Any]) -> Post:
        if channel.is_archived:
            raise Refusal("is_archived")
        if not channel.is_member:
            raise Refusal("not_in_channel")
        if channel.is_read_only:
            raise Refusal("restricted_action_read_only_channel")
        if (wait := self._must_wait(channel)) is not None:
            raise Refusal("ratelimited", retry_after=str(wait))
        check_message(arguments)
        message = dict(arguments)
        metadata = message.get("metadata")
        type_ = metadata.get("event_type") if isinstance(metadata, dict) else None
        if not isinstance(type_, str) or not _EVENT_TYPE.fullmatch(type_):
            message.pop("metadata", None)
        post = Post(channel=channel, ts=f"{int(time.time())}.{next(self._numbers):06d}", message=message)
        self.posts.append(post)
        self._seen(post)
        return post

    def _must_wait(self, channel: Channel) -> int | None:
        if self._rate is None:
            return None
        now = time.monotonic()
        left, at = self._allowance.get(channel.id, (_BURST, now))
        left = min(_BURST, left + (now - at) * self._rate)
        self._allowance[channel.id] = (left - 1 if left >= 1 else left, now)
        return None if left >= 1 else math.ceil((1 - left) / self._rate)

    async def _scripted(self, request: web.Request) -> web.StreamResponse:
        answer = self.script.pop(0)
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, str):
            raise Refusal(answer)
        response: web.StreamResponse = answer
        return response


def _error(error: Refusal) -> web.Response:
    retry_after = error.details.pop("retry_after", None)
    return web.json_response(
        {"ok": False, "error": error.code} | error.details,
        status=200 if retry_after is None else 429,
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def _arguments(request: web.Request, body: bytes) -> dict[str, Any] | None:
    if request.content_type != "application/json":
        return {key: values[0] for key, values in parse_qs(body.decode(errors="replace")).items()}
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _mrkdwn(node: Any) -> list[str]:
    """Return all mrkdwn of some blocks: nothing else can mention anybody."""
    if isinstance(node, list | tuple):
        return [text for item in node for text in _mrkdwn(item)]
    if not isinstance(node, dict):
        return []
    if node.get("type") == "mrkdwn":
        return [str(node.get("text"))]
    return [text for value in node.values() for text in _mrkdwn(value)]
