"""What is in a channel already: a message whose answer was lost is looked for before it is sent again."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from notifier.sending import SendError
from notifier.targets.slack.api import Api
from notifier.targets.slack.refusal import PayloadRefusedError, is_unreadable

EVENT_TYPE = "backfill_notifier_event"
"""Of the metadata of every message; its payload holds the id of the event, or of a digest."""

_APART = timedelta(hours=1)
"""How far this machine's clock and Slack's may be apart."""
_PAGE = 200
_PAGE_OF_CHANNELS = 500  # it must be less than 1000
_PAGES = 50
_UNTOLD = "whether an earlier attempt arrived cannot be told"


def metadata(event_id: str, target: str) -> dict[str, Any]:
    """Return the metadata that a message is found by; another target may write to the same channel."""
    return {"event_type": EVENT_TYPE, "event_payload": {"event_id": event_id, "target": target}}


class Past:
    """Looks into channels and threads for what a target posted, as far as the token may."""

    def __init__(self, api: Api, target: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._target = target
        self._now = now
        self._reached: dict[tuple[str, str], str] = {}
        """Where a look that did not end is to go on, by method and what is looked for."""

    async def find(
        self, event_id: str, *, channel: str, thread_ts: str | None, since: datetime, until: datetime | None
    ) -> Mapping[str, Any] | None:
        """Return the message that was posted with this id, as Slack tells it; None when there is none.

        Looked for in the thread, if there is one, and in the channel, around the times in which it was
        posted, if it was. `channel` is an id. None, too, when the token may not read there. Raises SendError,
        of unknown outcome, when Slack does not tell.
        """
        if self._api.may_read is False:
            return None
        where: dict[str, Any] = {
            "channel": channel,
            "include_all_metadata": True,
            "limit": _PAGE,
        }
        if thread_ts is not None:
            thread = self._items("conversations.replies", where | {"ts": thread_ts}, "messages", event_id)
            async for message in thread:
                if self._is_of(event_id, message) and message.get("ts") != thread_ts:
                    return self._done(event_id, message)
        if until is not None and until + _APART < self._now():
            where["latest"] = _ts(until + _APART)
        oldest, seen = _ts(min(since, self._now()) - _APART), 0
        async for message in self._items("conversations.history", where, "messages", event_id):
            if self._is_of(event_id, message):
                return self._done(event_id, message)
            seen += 1
            if seen >= _PAGE and str(message.get("ts")) < oldest:  # newest first; a page is not worth a doubt
                break
        self._done(event_id)
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
        async for channel in self._items("conversations.list", where, "channels", name):
            if channel.get("name") == name.removeprefix("#"):
                return str(self._done(name, channel).get("id"))
        return None

    def _done(self, wanted: str, found: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return what was found; nothing is left to be looked for."""
        for reached in [each for each in self._reached if each[1] == wanted]:
            del self._reached[reached]
        return found or {}

    def _is_of(self, event_id: str, message: Mapping[str, Any]) -> bool:
        found = message.get("metadata")
        wanted = metadata(event_id, self._target)
        return isinstance(found, dict) and all(found.get(key) == value for key, value in wanted.items())

    async def _items(
        self, method: str, where: dict[str, Any], key: str, wanted: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        cursor = self._reached.get((method, wanted), "")
        for _ in range(_PAGES):
            try:
                answer = await self._page(method, where | ({"cursor": cursor} if cursor else {}))
            except SendError as error:
                if error.code == "invalid_cursor":
                    self._reached.pop((method, wanted), None)
                raise
            items = answer.get(key)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict):
                    yield item
            following = answer.get("response_metadata")
            cursor = str(following.get("next_cursor") or "") if isinstance(following, dict) else ""
            if not cursor:
                self._reached.pop((method, wanted), None)
                return
            self._reached[method, wanted] = cursor
        raise SendError(f"{_UNTOLD} yet: too many messages", outcome_unknown=True)

    async def _page(self, method: str, arguments: dict[str, Any]) -> Mapping[str, Any]:
        """Return a page; an empty one when this token is not to read there."""
        try:
            return await self._api.call(method, arguments)
        except PayloadRefusedError as error:
            raise SendError(f"{_UNTOLD}: {error.reason}", code=error.code, outcome_unknown=True) from None
        except SendError as error:
            if error.code == "missing_scope" and method != "conversations.list":
                self._api.note_unreadable()
            if is_unreadable(error):
                return {}
            raise SendError(
                f"{_UNTOLD}: {error.reason}",
                not_before=error.retry_after,
                credentials=error.credentials,
                outcome_unknown=True,
                code=error.code,
                status=error.status,
                answer=error.answer,
            ) from None


def _ts(time: datetime) -> str:
    return f"{time.timestamp():.6f}"
