"""A stand-in for Slack on loopback, as strict as Slack where it matters: demo and tests share it.

It knows tokens and scopes, channels by name and by id, membership and archives, threads and edits, the limits
of messages and of rates, and answers with Slack's own error codes.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from notifier.demo.blocks import Refusal, check_message, without_odd_metadata
from notifier.demo.conversations import Conversations, require
from notifier.demo.exchange import broken_off, hook_refused, read_arguments, refused
from notifier.demo.limit import Limit
from notifier.demo.post import BOT, USER, Author, Channel, Post

__all__ = ["API", "HOOKS", "Channel", "FakeSlack", "Post"]

API = "/api/"
HOOKS = "/services/"

_IDENTITY = {
    "url": "https://demo.slack.com/",
    "team": "Demo",
    "user": "backfill_notifier",
    "team_id": "T0DEMO",
    "user_id": USER,
    "bot_id": BOT,
}
_POSTS_AT_ONCE = 2
_EDITS_AT_ONCE = 20
_READS_AT_ONCE = 20


class FakeSlack:
    """One workspace with one app.

    `seen` is called with each message that it accepts, `edited` with each message whose edit it accepts.
    Messages are limited by channel, edits for the whole workspace, the reading of messages by method and
    channel; None is no limit. https://docs.slack.dev/apis/web-api/rate-limits

    `script` goes first: each answer in it is given once, instead of what would have been answered: a
    response, an error's code, or an async function of the request that returns one of them.
    """

    def __init__(
        self,
        *channels: Channel,
        token: str,
        seen: Callable[[Post], None] = lambda _: None,
        edited: Callable[[Post], None] = lambda _: None,
        posts_a_second: float | None = None,
        edits_a_minute: float | None = None,
        history_a_minute: float | None = None,
    ) -> None:
        self.channels = list(channels)
        self.token = token
        self.scopes = {"chat:write"}
        self.revoked: str | None = None
        """The error that every call of the API gets now, such as token_revoked or account_inactive."""
        self.edits_closed = False
        """Whether the workspace's settings let nobody edit a message any more."""
        self.losing: Callable[[str, dict[str, Any]], bool] = lambda _method, _arguments: False
        """Asked of each call that was performed, as it stands in `calls`: whether its answer is lost."""
        self.hooks: dict[str, Channel] = {}
        """Incoming webhooks, by what follows /services/ in their URL."""
        self.posts: list[Post] = []
        """What the app sent."""
        self.script: list[Any] = []
        self.unscripted: set[str] = set()
        """Methods that are answered as usual all the same."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Every request: its method, or its path for a webhook, and its arguments."""
        self.posts_a_second = posts_a_second
        self.edits_a_minute = edits_a_minute
        self.history_a_minute = history_a_minute
        self._seen = seen
        self._edited = edited
        self._conversations = Conversations(self.channels)
        self._limit = Limit()

    def say(self, channel: Channel, text: str, **arguments: Any) -> Post:
        """Say something as a person does; it is not among `posts`, and the app cannot edit it."""
        return self._conversations.say(channel, {"text": text} | arguments, "person")

    def delete(self, post: Post) -> None:
        """Delete a message as a person does."""
        post.deleted = True

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer a call of the API, `GET` or `POST /api/{method}`."""
        method = request.match_info["method"]
        arguments = await read_arguments(request)
        self.calls.append((method, arguments or {}))
        authorization = request.headers.get("Authorization", "")
        is_known = authorization == f"Bearer {self.token}" and self.revoked is None
        headers = {"x-oauth-scopes": ",".join(sorted(self.scopes))} if is_known else {}
        try:
            if self.script and method not in self.unscripted:
                return await self._scripted(request)
            self._authorize(authorization)
            values = self._perform(method, arguments)
        except Refusal as error:
            return refused(error, headers)
        if self.losing(method, arguments or {}):
            return broken_off(request)
        return web.json_response({"ok": True} | values, headers=headers)

    async def hook(self, request: web.Request) -> web.StreamResponse:
        """Answer a post to an incoming webhook, `POST /services/{path}`."""
        path = request.match_info["path"]
        arguments = await read_arguments(request)
        self.calls.append((path, arguments or {}))
        try:
            if self.script:
                return await self._scripted(request)
            self._perform_hook(path, arguments)
        except Refusal as error:
            return hook_refused(error)
        if self.losing(path, arguments or {}):
            return broken_off(request)
        return web.Response(text="ok")

    def routes(self) -> list[web.RouteDef]:
        """Return what it serves."""
        return [
            web.get(f"{API}{{method}}", self.call, allow_head=False),
            web.post(f"{API}{{method}}", self.call),
            web.post(f"{HOOKS}{{path:.+}}", self.hook),
        ]

    def _authorize(self, authorization: str) -> None:
        if not authorization.startswith("Bearer "):
            raise Refusal("not_authed")
        if authorization != f"Bearer {self.token}":
            raise Refusal("invalid_auth")
        if self.revoked is not None:
            raise Refusal(self.revoked)

    def _perform(self, method: str, arguments: dict[str, Any] | None) -> dict[str, Any]:
        if arguments is None:
            raise Refusal("invalid_json")
        match method:
            case "auth.test":
                return _IDENTITY
            case "chat.postMessage":
                return self._post(arguments)
            case "chat.update":
                return self._update(arguments)
            case "conversations.list":
                return self._conversations.channels(arguments, self.scopes)
            case "conversations.history" | "conversations.replies":
                return self._read(method, arguments)
            case _:
                raise Refusal("unknown_method")

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer https://docs.slack.dev/reference/methods/chat.postMessage ."""
        require("chat:write", self.scopes)
        channel = self._conversations.find(arguments.get("channel"))
        if channel is None or channel.is_hidden:
            raise Refusal("channel_not_found")
        post = self._take(channel, arguments, "app")
        return {"channel": channel.id, "ts": post.ts, "message": self._conversations.told(post)}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer https://docs.slack.dev/reference/methods/chat.update ."""
        require("chat:write", self.scopes)
        self._limit.spend("chat.update", self.edits_a_minute, 60, at_once=_EDITS_AT_ONCE)
        post = self._conversations.editable(arguments)
        if self.edits_closed:
            raise Refusal("edit_window_closed")
        check_message(arguments, is_edit=True)
        post.edits.append(without_odd_metadata(arguments, is_edit=True))
        self._edited(post)
        message = self._conversations.told(post)
        return {"channel": post.channel.id, "ts": post.ts, "text": message["text"], "message": message}

    def _read(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        # Who may read once a minute may not do so twenty times at once.
        at_once = max(1, min(_READS_AT_ONCE, self.history_a_minute or 1))
        self._limit.spend(f"{method} {arguments.get('channel')}", self.history_a_minute, 60, at_once=at_once)
        if method == "conversations.replies":
            return self._conversations.replies(arguments, self.scopes)
        return self._conversations.history(arguments, self.scopes)

    def _perform_hook(self, path: str, arguments: dict[str, Any] | None) -> None:
        if path not in self.hooks:
            raise Refusal("no_service")
        if arguments is None:
            raise Refusal("invalid_payload")
        self._take(self.hooks[path], arguments, "webhook")

    def _take(self, channel: Channel, arguments: dict[str, Any], author: Author) -> Post:
        if channel.is_archived:
            raise Refusal("is_archived")
        if not channel.is_member:
            raise Refusal("not_in_channel")
        if channel.is_read_only:
            raise Refusal("restricted_action_read_only_channel")
        self._limit.spend(channel.id, self.posts_a_second, 1, at_once=_POSTS_AT_ONCE)
        check_message(arguments)
        post = self._conversations.say(channel, arguments, author)
        self.posts.append(post)
        self._seen(post)
        return post

    async def _scripted(self, request: web.Request) -> web.StreamResponse:
        answer = self.script.pop(0)
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, str):
            raise Refusal(answer)
        response: web.StreamResponse = answer
        return response
