"""Messages posted to a channel and edited there."""

from collections.abc import Callable, Mapping
from typing import Any

from notifier.model import Card
from notifier.sending import CardLostError, SendError
from notifier.targets.slack.api import Api
from notifier.targets.slack.message import Message, as_plain_text
from notifier.targets.slack.past import metadata
from notifier.targets.slack.refusal import PayloadRefusedError, refused_also_as_plain_text

_NOT_EDITABLE = frozenset({"cant_update_message", "edit_window_closed", "message_not_found"})
_NOT_REPLIABLE = frozenset(
    {
        "cannot_reply_to_message",
        "channel_not_found",
        "is_archived",
        "message_not_found",
        "not_in_channel",
        "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked",
        "thread_locked",
        "thread_not_found",
    }
)


class Poster:
    """Posts to one channel for a target; each message is found again by its event's id."""

    def __init__(self, api: Api, channel: str, target: str) -> None:
        self._api = api
        self._channel = channel
        self._target = target

    def arguments(self, message: Message, event_id: str) -> dict[str, Any]:
        """Return the arguments of a post."""
        known_by = metadata(event_id, self._target)
        return {"channel": self._channel, **message.arguments(), "metadata": known_by}

    async def post(
        self, message: Message, event_id: str, *, plain: Callable[[], Message] | None = None, **where: Any
    ) -> Mapping[str, Any]:
        """Return what Slack says of a message it has just posted; `where` says more of where to.

        A message that Slack refuses for how it is written is posted once more, as plain text: `plain`, or
        what is left without its blocks. Raises SendError when it is not posted.
        """
        arguments = self.arguments(message, event_id) | where
        try:
            return await self._api.call("chat.postMessage", arguments)
        except PayloadRefusedError as error:
            again = self.arguments(as_plain_text(message) if plain is None else plain(), event_id) | where
            if "metadata" in error.code:
                again.pop("metadata")
        try:
            return await self._api.call("chat.postMessage", again)
        except PayloadRefusedError as error:
            raise refused_also_as_plain_text(error) from None

    async def edit(self, card: Card, message: Message) -> None:
        """Have a card show this; what Slack refuses for how it is written is shown as plain text.

        Raises CardLostError when it is no longer there, SendError when it is not edited.
        """
        try:
            try:
                await self._api.call("chat.update", self._update(card, message))
            except PayloadRefusedError as error:
                again = self._update(card, as_plain_text(message))
                if "metadata" in error.code:
                    again.pop("metadata")
                await self._api.call("chat.update", again)
        except PayloadRefusedError as error:
            raise refused_also_as_plain_text(error) from None
        except SendError as error:
            if error.code in _NOT_EDITABLE:
                raise CardLostError(error.reason) from None
            raise

    async def reply(self, card: Card, message: Message, event_id: str, *, broadcast: bool) -> None:
        """Post to a card's thread, with `broadcast` also to the channel.

        Raises CardLostError when it takes no replies, SendError when it is not posted.
        """
        where: dict[str, Any] = {"channel": card.channel, "thread_ts": card.ts}
        if broadcast:
            where["reply_broadcast"] = True
        try:
            await self.post(message, event_id, **where)
        except SendError as error:
            if error.code in _NOT_REPLIABLE:
                raise CardLostError(error.reason) from None
            raise

    def _update(self, card: Card, message: Message) -> dict[str, Any]:
        # All parts of it: what an update leaves out stays as it was.
        return {
            "channel": card.channel,
            "ts": card.ts,
            "text": message.text,
            "blocks": message.blocks,
            "attachments": message.attachments,
            "metadata": metadata(card.event_id, self._target),
        }
