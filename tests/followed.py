"""Jobs that a Slack target is told of, in a test's hands."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from notifier.announcement import Origin
from notifier.diff import diff
from notifier.model import Card, Event, JobRecord, Place
from notifier.outbox import absorb
from notifier.rules import Rules
from notifier.sending import Receipt, Shipment
from notifier.targets.slack.channel import SlackChannel
from notifier.targets.slack.limits import Limits
from notifier.targets.slack.settings import SlackSettings
from notifier.transport import tls_context
from tests.servers import job
from tests.slack import NOW, TOKEN, CheckedSlack, listed


class Followed:
    """Jobs that one Slack target is told of: what is observed of them, and what is remembered, as a daemon does."""

    def __init__(self, slack: CheckedSlack, session: aiohttp.ClientSession, **settings: Any) -> None:
        self.limits: Limits = settings.pop("limits", None) or Limits()
        self.now = NOW
        self.records: dict[str, JobRecord] = {}
        self.place: Place | None = None
        self.target = self._target(slack, session, **settings)

    def _target(
        self, slack: CheckedSlack, session: aiohttp.ClientSession, *, name: str = "data-team", **settings: Any
    ) -> SlackChannel:
        given = {"type": "slack", "token": TOKEN, "channel": "#data-backfills"}
        parsed = SlackSettings.model_validate(given | {"api_url": f"{slack.url}/api/"} | settings)
        return SlackChannel(
            name,
            parsed,
            session=session,
            tls=tls_context(parsed.ca_file),
            limits=self.limits,
            job_links={"allium": "https://app.allium.so/{job_id}"},
            digest_over=10,
            now=lambda: self.now,
        )

    def observe(self, job_id: str = "j1", *, minutes: float = 1, **fields: Any) -> JobRecord:
        """Take note of what a poll lists some minutes after the one before; return the job's record."""
        self.now += timedelta(minutes=minutes)
        old = self.records.get(job_id)
        element = listed(**job(job_id, **fields))
        change = diff(
            old,
            element,
            origin=Origin("allium", "s", element.job_id),
            rules=Rules(),
            announce=True,
            now=self.now,
        )
        assert change is not None
        to = {event.id: [self.target.name] for event in change.events}
        self.records[job_id] = absorb(
            old, snapshot=change.snapshot, seq=change.seq, events=change.events, targets=to
        )
        return self.records[job_id]

    def happen(self, status: str, job_id: str = "j1", **fields: Any) -> Event:
        """Return the event that a job's new status is."""
        return self.observe(job_id, status=status, **fields).events[-1]

    async def send(
        self,
        *events: Event,
        job_id: str = "j1",
        in_doubt_since: datetime | None = None,
        in_doubt_until: datetime | None = None,
    ) -> Receipt:
        """Make one attempt, and remember what it is to be remembered of it."""
        shipment = Shipment(
            events=events,
            record=self.records.get(job_id) if len(events) == 1 else None,
            place=self.place,
            in_doubt_since=in_doubt_since,
            in_doubt_until=in_doubt_until,
        )
        receipt = await self.target.send(shipment)
        self.place = receipt.place or self.place
        if receipt.card is not None and job_id in self.records:
            self.keep(receipt.card, job_id)
        return receipt

    async def tell(self, status: str, job_id: str = "j1", **fields: Any) -> Receipt:
        """Send what a job's new status is."""
        return await self.send(self.happen(status, job_id, **fields), job_id=job_id)

    async def edit(self, job_id: str = "j1") -> Card:
        """Have a card show its job as it is."""
        assert self.target.cards is not None
        record = self.records[job_id]
        card = await self.target.cards.edit(self.card(job_id), record, source="allium", job_id=job_id)
        self.keep(card, job_id)
        return card

    def card(self, job_id: str = "j1") -> Card:
        return self.records[job_id].cards[self.target.name]

    def keep(self, card: Card, job_id: str = "j1") -> None:
        record = self.records[job_id]
        cards = record.cards | {self.target.name: card}
        self.records[job_id] = msgspec.structs.replace(record, cards=cards)


def methods(slack: CheckedSlack) -> list[str]:
    return [method for method, _ in slack.calls]


def too_many(**headers: str) -> web.Response:
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
