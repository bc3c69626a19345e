"""A Slack channel as a target, by a bot token: one live card a job, or one message an event."""

import json
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime

import aiohttp
from slack_sdk.web.internal_utils import get_user_agent
from yarl import URL

from notifier.model import Event, Place, is_job_event, utc_now
from notifier.outbox import batch_id
from notifier.sending import Cards, Grouping, Preview, Receipt, Shipment
from notifier.targets.slack.address import is_channel_id
from notifier.targets.slack.api import Api
from notifier.targets.slack.cards import ChannelCards
from notifier.targets.slack.limits import Limits
from notifier.targets.slack.past import Past
from notifier.targets.slack.poster import Poster
from notifier.targets.slack.render import DIGEST_LIMIT, Renderer, payload_of
from notifier.targets.slack.session import OWN_HEADERS
from notifier.targets.slack.settings import SlackSettings
from notifier.transport import USER_AGENT, shown

_REQUESTS = 10
"""The most that an attempt makes, but for looks through many pages."""


class SlackChannel:
    """A target that shows each job as a card with its events in the thread, or each event as a message.

    What is not about one job, and several events at once, are messages in both styles. The `limits` are kept
    together with the other targets of the same token.
    """

    concurrency = 1

    def __init__(
        self,
        name: str,
        settings: SlackSettings,
        *,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | bool,
        limits: Limits,
        job_links: Mapping[str, str],
        digest_over: int,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self._channel = settings.channel or ""
        self.spacing = limits.spacing(self._channel)
        self.longest = _REQUESTS * settings.timeout
        self.grouping = Grouping(over=digest_over, limit=DIGEST_LIMIT)
        self._shown_url = f"{URL(settings.api_url).with_user(None)}chat.postMessage"
        self._render = Renderer(job_links=job_links, mentions=settings.mentions)
        self._api = Api(settings, session=session, tls=tls, now=now)
        self._past = Past(self._api, name, now)
        self._poster = Poster(self._api, self._channel, name)
        self._cards: ChannelCards | None = None
        if settings.has_cards:
            self._cards = ChannelCards(
                name, settings, poster=self._poster, render=self._render, limits=limits, now=now
            )

    @property
    def cards(self) -> Cards | None:
        """How its cards are kept true; None when each event is a message."""
        return self._cards

    async def send(self, shipment: Shipment) -> Receipt:
        """Make one attempt; on return Slack has posted the message. Raises SendError when it has not.

        Several events are one digest. What an earlier attempt may have posted is looked for first, as far as
        the token may. A message that Slack refuses for how it is written is sent once more, as plain text.
        """
        known_by = batch_id([event.id for event in shipment.events])
        if (found := await self._found(shipment, known_by)) is not None:
            return found
        event = shipment.events[0]
        if self._cards is not None and self._is_of_a_job(shipment):
            card = await self._cards.tell(event, payload_of(event), shipment.record)
            return Receipt(card=card, place=self._place(None if card is None else card.channel, shipment))
        answer = await self._poster.post(
            self._render.message(shipment.events, shipment.record),
            known_by,
            plain=lambda: self._render.message(shipment.events, shipment.record, plain=True),
        )
        return Receipt(place=self._place(answer.get("channel"), shipment))

    def preview(self, event: Event) -> Preview:
        """Return what `send` would send, for the first event of a job."""
        headers = {"Content-Type": "application/json;charset=utf-8", **OWN_HEADERS}
        headers |= {"User-Agent": get_user_agent(USER_AGENT), "Authorization": "Bearer REDACTED"}
        message, reply = self._render.message([event]), None
        if self._cards is not None and is_job_event(event.type):
            message = self._cards.first(payload_of(event))
            later, broadcast = self._cards.reply(event, payload_of(event))
            where = {"thread_ts": "(of the card)"} | ({"reply_broadcast": True} if broadcast else {})
            reply = json.dumps(self._poster.arguments(later, event.id) | where).encode()
        body = json.dumps(self._poster.arguments(message, event.id)).encode()  # as slack-sdk writes it
        return Preview(request=f"POST {self._shown_url}", headers=headers, body=body, reply=reply)

    async def probe(self) -> str:
        """Return whose the token is. Raises SendError when it is refused or lacks the scope to post."""
        answer = await self._api.test()
        user, team = (shown(str(answer.get(key) or "?"), self._api.secrets) for key in ("user", "team"))
        caveat = await self.caveat()
        return (
            f"the token works: {user} in the workspace {team}. "
            f"Whether it may post to {self._channel} only a message tells: notifier test {self.name}"
            + (f". {caveat[0].upper()}{caveat[1:]}" if caveat else "")
        )

    async def caveat(self) -> str | None:
        """Return what it takes to find what was posted before; None when that is there.

        Raises SendError when nobody can tell.
        """
        if self._api.scopes is None:
            await self._api.test()
        if self._api.may_read is None and is_channel_id(self._channel):
            await self._past.look(self._channel)
        if self._api.may_read is not False:
            return None
        return (
            "without the scope channels:history (groups:history for a private channel) a message whose "
            "answer is lost may be posted twice; add it under OAuth & Permissions and install the app again"
        )

    def _is_of_a_job(self, shipment: Shipment) -> bool:
        return len(shipment.events) == 1 and is_job_event(shipment.events[0].type)

    async def _found(self, shipment: Shipment, known_by: str) -> Receipt | None:
        """Return what an earlier attempt left there; None when that is nothing, as far as one may look."""
        if shipment.in_doubt_since is None:
            return None
        card = None if self._cards is None else self._cards.of(shipment.record)
        channel = await self._channel_id(shipment) if card is None else card.channel
        if channel is None:
            return None
        thread_ts = None if card is None else card.ts
        message = await self._past.find(
            known_by,
            channel=channel,
            thread_ts=thread_ts,
            since=shipment.in_doubt_since,
            until=shipment.in_doubt_until,
        )
        if message is None:
            return None
        ts, place = str(message.get("ts")), self._place(channel, shipment)
        is_reply = message.get("thread_ts") not in (None, ts)
        is_older = card is not None and ts <= card.ts
        if self._cards is None or is_reply or is_older or not self._is_of_a_job(shipment):
            return Receipt(was_there=True, place=place)
        return Receipt(was_there=True, place=place, card=self._cards.adopt(channel, ts, shipment.events[0]))

    async def _channel_id(self, shipment: Shipment) -> str | None:
        place = shipment.place
        if is_channel_id(self._channel):
            return self._channel
        if place is not None and place.configured == self._channel:
            return place.id
        return await self._past.channel_id(self._channel) if self._channel.startswith("#") else None

    def _place(self, channel: object, shipment: Shipment) -> Place | None:
        """Return where the channel is, if that is news."""
        if not isinstance(channel, str) or is_channel_id(self._channel):
            return None
        place = Place(configured=self._channel, id=channel)
        return None if place == shipment.place else place
