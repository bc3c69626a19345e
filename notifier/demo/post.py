"""A channel of the Slack stand-in, and a message in it: what was sent and what became of it."""

from typing import Any, Literal

import msgspec

from notifier.demo.blocks import pings_of

USER, BOT = "U0BOT", "B0BOT"
"""Who the app is."""

CONTENT = ("text", "blocks", "attachments", "metadata")

_AUTHORS = {
    "app": {"user": USER, "bot_id": BOT},
    "webhook": {"subtype": "bot_message", "bot_id": "B0HOOK"},
    "person": {"user": "U0PERSON"},
}
_TOMBSTONE = {
    "subtype": "tombstone",
    "user": "USLACKBOT",
    "text": "This message was deleted.",
    "hidden": True,
}

Author = Literal["app", "webhook", "person"]


class Channel(msgspec.Struct, kw_only=True):
    """A conversation of the workspace."""

    id: str
    name: str
    is_archived: bool = False
    is_private: bool = False
    is_member: bool = True
    """Whether the app is in it."""
    is_read_only: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether the app cannot know that it is there."""
        return self.is_private and not self.is_member


class Post(msgspec.Struct, kw_only=True):
    """A message that was accepted."""

    channel: Channel
    ts: str
    message: dict[str, Any]
    """As it was sent; metadata that Slack would ignore is left out."""
    thread_ts: str | None = None
    """The message it replies to; None at the top level, also when that message was no longer there."""
    broadcast: bool = False
    """Whether a reply is shown in the channel, too."""
    deleted: bool = False
    edits: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """The arguments of each accepted chat.update, in order; odd metadata is left out here, too."""
    author: Author = "app"

    @property
    def shown(self) -> dict[str, Any]:
        """The arguments as people see them now.

        An edit retains what it leaves out and removes what it empties, but a text without blocks takes the
        place of the blocks: https://docs.slack.dev/reference/methods/chat.update#text-blocks-attachments
        """
        shown = dict(self.message)
        for edit in self.edits:
            given = {key: edit[key] for key in CONTENT if edit.get(key) is not None}
            if given.get("text"):
                shown.pop("blocks", None)
            shown |= given
            for key, value in given.items():
                if not value:
                    del shown[key]
        return shown

    @property
    def pings(self) -> list[str]:
        """Whom it notified: `!channel`, `!subteam^S1`, `@U1`, each as often as it stood in the blocks.

        An edit notifies nobody.
        """
        return pings_of(self.message)

    def told(self) -> dict[str, Any]:
        """Return it as the API tells it, but for the replies to it; a deleted one is a tombstone."""
        told: dict[str, Any] = {"type": "message", "ts": self.ts}
        if self.thread_ts is not None:
            told["thread_ts"] = self.thread_ts
        if self.deleted:
            return told | _TOMBSTONE
        told |= {"text": ""} | _AUTHORS[self.author]
        if self.broadcast:
            told["subtype"] = "thread_broadcast"
        return told | {key: value for key, value in self.shown.items() if key in CONTENT}
