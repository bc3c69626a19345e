"""What is in a channel already: a message whose answer was lost is looked for before it is sent again."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from notifier.sending import SendError
from notifier.targets.slack.api import Api
from notifier.targets.slack.refusal import PayloadRefusedError, is_answer

EVENT_TYPE = "backfill_notifier_event"
"""Of the metadata of every message; its payload holds the id of the event, or of a digest."""

_EARLIER = timedelta(minutes=15)
"""How far this machine's clock and Slack's may be apart."""
_PAGE = 200
_PAGE_OF_CHANNELS = 500  # it must be less than 1000
_PAGES = 50


def metadata(event_id: str, target: str) -> dict[str, Any]:
    """Return the metadata that a message is found by; another target may write to the same channel."""
    return {"event_type": EVENT_TYPE, "event_payload": {"event_id": event_id, "target": target}}


class Past:
    """Looks into channels and threads for what a target posted, as far as the token may."""

    def __init__(self, api: Api, target: str) -> None:
        self._api = api
        self._target = target

    async def find(
        self, event_id: str, *, channel: str, thread_ts: str | None, since: datetime
    ) -> Mapping[str, Any] | None:
        """Return the message that was posted with this id, as Slack tells it; None when there is none.

        Looked for in the thread, if there is one, and in the channel. `channel` is an id. None, too, when the
        token may not read there. Raises SendError, of unknown outcome, when Slack does not tell.
        """
        if self._api.may_read is False:
            return None
        where: dict[str, Any] = {
            "channel": channel,
            "include_all_metadata": True,
            "limit": _PAGE,
            "oldest": f"{(since - _EARLIER).timestamp():.6f}",
        }
        if thread_ts is not None:
            async for message in self._messages("conversations.replies", where | {"ts": thread_ts}):
                if self._is_of(event_id, message) and message.get("ts") != thread_ts:
                    return message
        async for message in self._messages("conversations.history", where):
            if self._is_of(event_id, message):
                return message
        return None

    async def look(self, channel: str) -> None:
        """Find out whether the token may read a channel; `channel` is an id."""
        await self._page("conversations.history", {"channel": channel, "limit": 1})

    async def channel_id(self, name: str) -> str | None:
        """Return the id of the channel with this name, such as `#data`; None when the token may not list it.

        Raises SendError, of unknown outcome, when Slack does not tell.
        """
        if self._api.scopes is None:
            await self._page("auth.test", {})
        if not (types := self._api.may_list):
            return None
        where = {"types": types, "exclude_archived": True, "limit": _PAGE_OF_CHANNELS}
        async for channel in self._items("conversations.list", where, "channels"):
            if channel.get("name") == name.removeprefix("#"):
                return str(channel.get("id"))
        return None

    def _is_of(self, event_id: str, message: Mapping[str, Any]) -> bool:
        found = message.get("metadata")
        wanted = metadata(event_id, self._target)
        return isinstance(found, dict) and all(found.get(key) == value for key, value in wanted.items())

    async def _messages(self, method: str, where: dict[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        async for message in self._items(method, where, "messages"):
            yield message

    async def _items(self, method: str, where: dict[str, Any], key: str) -> AsyncIterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(_PAGES):
            answer = await self._page(method, where | ({"cursor": cursor} if cursor else {}))
            items = answer.get(key)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict):
                    yield item
            following = answer.get("response_metadata")
            cursor = str(following.get("next_cursor") or "") if isinstance(following, dict) else ""
            if not cursor:
                return

    async def _page(self, method: str, arguments: dict[str, Any]) -> Mapping[str, Any]:
        """Return a page; an empty one when this token is not to read there."""
        try:
            return await self._api.call(method, arguments)
        except PayloadRefusedError:
            return {}
        except SendError as error:
            if error.code == "missing_scope" and method != "conversations.list":
                self._api.note_unreadable()
            if is_answer(error) and (error.code == "missing_scope" or not error.credentials):
                return {}
            raise SendError(
                f"whether an earlier attempt arrived cannot be told: {error.reason}",
                not_before=error.retry_after,
                credentials=error.credentials,
                outcome_unknown=True,
                code=error.code,
                status=error.status,
                answer=error.answer,
            ) from None
