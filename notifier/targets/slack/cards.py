"""The cards of a channel: posted for a job's first event, edited and replied to for the later ones."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import msgspec

from notifier.fingerprint import snapshot_print
from notifier.glob import matches
from notifier.model import Card, Event, JobRecord
from notifier.payload import Payload
from notifier.sending import CardLostError, SendError
from notifier.summary import one_line
from notifier.targets.slack.card import card_of, card_of_event, left_for, look_print, reply_to, with_mention
from notifier.targets.slack.limits import LEFT_FOR_EVENTS, Limits
from notifier.targets.slack.message import Message
from notifier.targets.slack.poster import Poster
from notifier.targets.slack.render import Renderer
from notifier.targets.slack.settings import SlackSettings

_log = logging.getLogger(__name__)

_LEAVE_SECONDS = 5.0
_PAUSE = timedelta(seconds=30)
"""When Slack asks for one without saying how long."""


class ChannelCards:
    """The cards of one target; of two who want to edit one at the same time only the first one does."""

    spare = LEFT_FOR_EVENTS

    def __init__(
        self,
        name: str,
        settings: SlackSettings,
        *,
        poster: Poster,
        render: Renderer,
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self.refresh = settings.card_refresh
        self.allowance = limits.edits
        self._name = name
        self._channel = settings.channel or ""
        self._broadcast: Collection[str] = settings.broadcast
        self._poster = poster
        self._render = render
        self._now = now
        self._busy: set[tuple[str, str]] = set()
        """The jobs whose cards are being edited."""

    def of(self, record: JobRecord | None) -> Card | None:
        """Return the job's card in this channel."""
        card = None if record is None else record.cards.get(self._name)
        return card if card is not None and card.configured == self._channel else None

    def first(self, payload: Payload) -> Message:
        """Return the message that would become the card of a job that nothing else is known of."""
        link = self._render.link_of(payload.data.source)
        card = card_of_event(payload, record=None, job_link=link)
        return with_mention(card, self._render.mention(payload))

    def reply(self, event: Event, payload: Payload) -> tuple[Message, bool]:
        """Return what is written in the thread of a job's card, and whether the channel is shown it, too."""
        link = self._render.link_of(payload.data.source)
        message = reply_to(payload, job_link=link, mention=self._render.mention(payload))
        return message, any(matches(glob, event.type) for glob in self._broadcast)

    async def tell(self, event: Event, payload: Payload, record: JobRecord | None) -> Card | None:
        """Tell an event of a job: in the thread of its card, or by a new one.

        Return the card as it is now; None when it is as it was. Raises SendError when it is not told.
        """
        if record is not None and (card := self.of(record)) is not None:
            try:
                edited = await self._edited_at_once(card, record, payload)
                try:
                    await self._reply(edited, event, payload)
                except SendError as error:
                    error.card = None if edited is card else edited
                    raise
            except CardLostError as lost:
                what = f"the card of job {payload.data.job_id} can no longer be used: {lost}; posting another"
                _log.info("%s: %s", self._name, one_line(what, 400))
            else:
                return None if edited is card else edited
        card = await self._begin(event, payload, record)
        if record is not None and self._name in record.cards:
            await self._leave(record.cards[self._name], record, payload)
        return card

    async def edit(self, card: Card, record: JobRecord, *, source: str, job_id: str) -> Card:
        """Have a card show its job as it is; return it, the very same when nothing had to be done.

        So it is, too, while it is being edited: whoever does that has it looked at again. What Slack refuses
        for good counts as shown until the job changes. Raises CardLostError when it can no longer be edited,
        SendError when that may succeed later.
        """
        message = self._now_of(record, source, job_id)
        shown = look_print(message)
        if (source, job_id) in self._busy or (shown == card.shown and card.seq == record.seq):
            return card
        seen = msgspec.structs.replace(card, job=snapshot_print(record.snapshot), seq=record.seq)
        if shown == card.shown:
            return seen
        try:
            await self._edit(card, message, (source, job_id))
        except SendError as error:
            if error.is_final and card.configured != self._channel:
                raise CardLostError(error.reason) from None  # it was left to itself anyway
            raise
        return msgspec.structs.replace(seen, shown=shown, edited_at=self._now())

    def adopt(self, channel: str, ts: str, event: Event, *, shown: str = "", job: str = "") -> Card:
        """Return the card that a posted message is; without `shown` nobody knows what it shows."""
        return Card(
            configured=self._channel,
            channel=channel,
            ts=ts,
            event_id=event.id,
            seq=event.seq if shown else 0,
            shown=shown,
            job=job,
            edited_at=self._now(),
        )

    async def _edited_at_once(self, card: Card, record: JobRecord, payload: Payload) -> Card:
        """Return the card, edited unless that has to wait: an event never waits for an edit."""
        if self.allowance.next_at() > time.monotonic():
            return card
        try:
            return await self.edit(card, record, source=payload.data.source, job_id=payload.data.job_id or "")
        except SendError:
            return card  # whoever keeps cards true between events will tell

    async def _edit(self, card: Card, message: Message, job: tuple[str, str]) -> None:
        self._busy.add(job)
        self.allowance.take(time.monotonic())
        try:
            await self._poster.edit(card, message)
        except SendError as error:
            if error.is_throttled or error.retry_after is not None:
                wait = _PAUSE if error.retry_after is None else error.retry_after
                self.allowance.hold(time.monotonic() + wait.total_seconds())
            if error.refused != "message":
                raise
            _log.warning("%s: the card of job %s was not edited: %s", self._name, job[1], error.reason)
        finally:
            self._busy.discard(job)

    async def _reply(self, card: Card, event: Event, payload: Payload) -> None:
        reply, broadcast = self.reply(event, payload)
        await self._poster.reply(card, reply, event.id, broadcast=broadcast)

    async def _begin(self, event: Event, payload: Payload, record: JobRecord | None) -> Card | None:
        """Post a new card: of the job as it is, or as it was when the event happened, if that is over."""
        job = ""
        if record is None or record.seq != event.seq:
            link = self._render.link_of(payload.data.source)
            message = card_of_event(payload, record=record, job_link=link)
        else:
            message = self._now_of(record, payload.data.source, payload.data.job_id or "")
            job = snapshot_print(record.snapshot)
        mention = self._render.mention(payload)
        answer = await self._poster.post(with_mention(message, mention), event.id)
        channel, ts = answer.get("channel"), answer.get("ts")
        if not isinstance(channel, str) or not isinstance(ts, str):
            return None
        return self.adopt(channel, ts, event, shown=look_print(message), job=job)

    async def _leave(self, card: Card, record: JobRecord, payload: Payload) -> None:
        """Have the card in a channel that was left say so, as far as that can be done at once."""
        if card.configured == self._channel or self.allowance.next_at() > time.monotonic():
            return
        source, job_id = payload.data.source, payload.data.job_id or ""
        if (source, job_id) in self._busy:
            return
        message = left_for(self._now_of(record, source, job_id), self._channel)
        with contextlib.suppress(Exception):  # the new card is there, and must be remembered whatever happens
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._edit(card, message, (source, job_id))

    def _now_of(self, record: JobRecord, source: str, job_id: str) -> Message:
        link = self._render.link_of(source)
        return card_of(record, source=source, job_id=job_id, job_link=link, now=self._now())
