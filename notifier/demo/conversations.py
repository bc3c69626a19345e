"""What was said in the channels of the Slack stand-in, and what the methods conversations.* tell of it.

https://docs.slack.dev/reference/methods/conversations.history, …/conversations.replies, …/conversations.list
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from notifier.demo.blocks import Refusal, without_odd_metadata
from notifier.demo.page import cut, is_on, period
from notifier.demo.post import Author, Channel, Post

_TYPES = {
    "public_channel": "channels:read",
    "private_channel": "groups:read",
    "mpim": "mpim:read",
    "im": "im:read",
}
_LISTED = ("id", "name", "is_archived", "is_private", "is_member")

_Arguments = dict[str, Any]


class Conversations:
    """All that was said in these channels, by whomever."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels
        self._said: dict[tuple[str, str], Post] = {}
        """By channel and time, in order of time."""
        self._replies: defaultdict[tuple[str, str], list[Post]] = defaultdict(list)
        """By channel and time of the parent, deleted ones too."""
        self._second = 0
        self._numbers = itertools.count(1)

    def find(self, where: Any) -> Channel | None:
        """Return the channel of this id, or of this name with or without its #."""
        names = (where, where.removeprefix("#")) if isinstance(where, str) else ()
        return next((c for c in self._channels if c.id == where or c.name in names), None)

    def visible(self, id_: Any) -> Channel:
        """Return the channel of this id. Raises Refusal when the app cannot know of any."""
        channel = next((c for c in self._channels if c.id == id_ and not c.is_hidden), None)
        if channel is None:
            raise Refusal("channel_not_found")
        return channel

    def at(self, channel: Channel, ts: Any) -> Post | None:
        """Return the message of this time, a deleted one too."""
        return self._said.get((channel.id, str(ts)))

    def say(self, channel: Channel, arguments: _Arguments, author: Author) -> Post:
        """Put a message there; a reply to what cannot be read becomes a message at the top level."""
        thread_ts = self._thread(channel, arguments.get("thread_ts"))
        # The order of time is the order of arrival, also when the clock is put back.
        self._second = max(self._second, int(time.time()))
        post = Post(
            channel=channel,
            ts=f"{self._second}.{next(self._numbers):06d}",
            message=without_odd_metadata(arguments),
            thread_ts=thread_ts,
            broadcast=thread_ts is not None and is_on(arguments.get("reply_broadcast")),
            author=author,
        )
        self._said[channel.id, post.ts] = post
        if thread_ts is not None:
            self._replies[channel.id, thread_ts].append(post)
        return post

    def editable(self, arguments: _Arguments) -> Post:
        """Return the message that chat.update means. Raises Refusal when the app cannot edit it."""
        channel = self.visible(arguments.get("channel"))
        if channel.is_archived:
            raise Refusal("is_inactive")
        post = self.at(channel, arguments.get("ts"))
        if post is None or post.deleted:
            raise Refusal("message_not_found")
        if post.author != "app":
            raise Refusal("cant_update_message")
        return post

    def told(self, post: Post) -> dict[str, Any]:
        """Return a message as the API tells it."""
        told, replies = post.told(), self._left(post)
        if replies:
            told |= {"thread_ts": post.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}
        return told

    def history(self, arguments: _Arguments, scopes: Collection[str]) -> dict[str, Any]:
        """Answer conversations.history, newest first: of a thread its parent and what was broadcast."""
        channel = self._readable(arguments, scopes)
        posts = [post for post in self._said.values() if post.channel is channel and self._is_there(post)]
        top = [post for post in posts if post.thread_ts is None or post.broadcast]
        is_asked_for = period(arguments)
        keyed = [(-_time(post), post) for post in reversed(top) if is_asked_for(post.ts)]
        return self._page(arguments, keyed, default=100, most=999)

    def replies(self, arguments: _Arguments, scopes: Collection[str]) -> dict[str, Any]:
        """Answer conversations.replies: the parent, of whatever time, then the replies, the oldest first."""
        channel = self._readable(arguments, scopes)
        parent = self.at(channel, arguments.get("ts"))
        if parent is None or not self._is_there(parent):
            raise Refusal("thread_not_found")
        is_asked_for = period(arguments)
        thread = [parent, *(post for post in self._left(parent) if is_asked_for(post.ts))]
        return self._page(arguments, [(_time(post), post) for post in thread], default=1000, most=1000)

    def channels(self, arguments: _Arguments, scopes: Collection[str]) -> dict[str, Any]:
        """Answer conversations.list; as at Slack, filters work on a page, which may leave nothing of it."""
        types = str(arguments.get("types") or "public_channel").replace(" ", "").split(",")
        if not _TYPES.keys() >= set(types):
            raise Refusal("invalid_types")
        for type_ in types:
            require(_TYPES[type_], scopes)
        numbered = [(Decimal(number), channel) for number, channel in enumerate(self._channels)]
        page, cursor = cut(arguments, numbered, default=100, most=999)
        page = [c for c in page if ("private_channel" if c.is_private else "public_channel") in types]
        if is_on(arguments.get("exclude_archived")):
            page = [c for c in page if not c.is_archived]
        listed = [{key: getattr(c, key) for key in _LISTED} for c in page if not c.is_hidden]
        return {"channels": listed, "response_metadata": {"next_cursor": cursor}}

    def _left(self, parent: Post) -> list[Post]:
        replies = self._replies.get((parent.channel.id, parent.ts), ())
        return [reply for reply in replies if not reply.deleted]

    def _is_there(self, post: Post) -> bool:
        """Return whether it can be read: a deleted message leaves a tombstone only above replies."""
        return not post.deleted or bool(self._left(post))

    def _thread(self, channel: Channel, ts: Any) -> str | None:
        """Return the parent that a reply to this time has: of a reply, its own parent."""
        post = self.at(channel, ts)
        return None if post is None or not self._is_there(post) else post.thread_ts or post.ts

    def _readable(self, arguments: _Arguments, scopes: Collection[str]) -> Channel:
        if "groups:history" not in scopes:
            require("channels:history", scopes)
        channel = self.visible(arguments.get("channel"))
        require("groups:history" if channel.is_private else "channels:history", scopes)
        if not channel.is_member:
            raise Refusal("not_in_channel")
        return channel

    def _page(
        self, arguments: _Arguments, posts: list[tuple[Decimal, Post]], *, default: int, most: int
    ) -> dict[str, Any]:
        page, cursor = cut(arguments, posts, default=default, most=most)
        messages = [self.told(post) for post in page]
        if not is_on(arguments.get("include_all_metadata")):
            for message in messages:
                message.pop("metadata", None)
        more = {"response_metadata": {"next_cursor": cursor}} if cursor else {}
        return {"messages": messages, "has_more": bool(cursor)} | more


def require(scope: str, scopes: Collection[str]) -> None:
    """Raise Refusal unless the token has this scope."""
    if scope not in scopes:
        raise Refusal("missing_scope", needed=scope, provided=",".join(sorted(scopes)))


def _time(post: Post) -> Decimal:
    return Decimal(post.ts)
