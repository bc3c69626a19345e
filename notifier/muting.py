"""Mutes, made and ended by the orders of people, and ended by themselves."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import msgspec

from notifier.duration import spell_duration
from notifier.model import Mute, SourceRecord, utc_now
from notifier.mute import spell_mute, without_mutes
from notifier.outbox import present
from notifier.state import State
from notifier.summary import counted, one_line
from notifier.tags import tags

_log = logging.getLogger(__name__)

LONGEST = timedelta(days=3650)
LONGEST_REASON = 500
"""Characters: it is for people, and shown wherever mutes are."""
_LOOK_EVERY_SECONDS = 60.0
"""The wall clock may be set while it is waited for."""


class MuteOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are to be muted, and for how long: all that is named must match."""

    job_id: str | None = None
    table: str | None = None
    """A glob, as is `name`."""
    name: str | None = None
    source: str | None = None
    length: timedelta
    reason: str | None = None


class Unmuted(msgspec.Struct, frozen=True):
    """What came of it: the ids of the mutes that were ended."""

    unmuted: list[str]


class RefusedMuteError(Exception):
    """The order cannot be carried out. `unknown`: what it names is not there."""

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown


class Muting:
    """Carries such orders out.

    `ended` is called after mutes have ended, with the names of the sources that held them. `sources` are
    those that are configured; None when that is not known: then those that are stored count.
    """

    def __init__(
        self,
        state: State,
        *,
        sources: Collection[str] | None = None,
        ended: Callable[[Collection[str]], Awaitable[None]] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._state = state
        self._sources = sources
        self._ended = ended
        self._now = now
        self._changed = asyncio.Event()

    async def mute(self, order: MuteOrder) -> Mute:
        """Return the mute that was made, durably. Raises RefusedMuteError."""
        check_mute(order)
        now = self._now()
        mute = Mute(
            id=f"mut_{secrets.token_hex(12)}",
            created_at=now,
            until=now + order.length,
            job_id=order.job_id,
            table=order.table,
            name=order.name,
            source=order.source,
            reason=order.reason,
        )
        holders = self._holders(order)
        update = partial(_with_mute, mute=mute)
        await self._state.commit(sources=dict.fromkeys(holders, update))
        what = f"{_spelled(mute)} for {spell_duration(order.length)}"
        _log.info("muted %s (%s)", one_line(what, 400), mute.id, extra=tags(mute=mute.id))
        self._changed.set()
        return mute

    async def unmute(self, id_: str) -> list[str]:
        """End the mute of this id, or those of the job of this id; return their ids.

        What they kept from people is told before it returns, if anybody is there to tell it.
        Raises RefusedMuteError when there is none.
        """
        now = self._now()
        held = self._held()
        found = {mute.id: mute for mutes in held.values() for mute in mutes if id_ in (mute.id, mute.job_id)}
        if not any(now < mute.until for mute in found.values()):
            raise RefusedMuteError(
                f"there is no mute {id_}, and no job {id_} that is muted by its id", unknown=True
            )
        await self._end(found)
        return sorted(found, key=lambda each: found[each].created_at)

    async def end_due(self) -> None:
        """End the mutes whose time has come. Raises StoreError when the state fails."""
        now = self._now()
        held = self._held()
        if over := {mute.id: mute for mutes in held.values() for mute in mutes if mute.until <= now}:
            await self._end(over)

    async def run(self) -> None:
        """End mutes when their time has come, until cancelled. Raises StoreError when the state fails."""
        while True:
            self._changed.clear()
            await self.end_due()
            ends = [mute.until for mutes in self._held().values() for mute in mutes]
            wait = min(((end - self._now()).total_seconds() for end in ends), default=None)
            try:
                async with asyncio.timeout(
                    None if wait is None else min(max(0.0, wait), _LOOK_EVERY_SECONDS)
                ):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _held(self) -> dict[str, tuple[Mute, ...]]:
        return {name: record.mutes for name, record in self._state.records.sources().items() if record.mutes}

    def _holders(self, order: MuteOrder) -> list[str]:
        records = self._state.records
        known = sorted(self._sources if self._sources is not None else records.sources())
        if order.source is not None and order.source not in known:
            raise RefusedMuteError(f"there is no source {order.source}", unknown=True)
        holders = known if order.source is None else [order.source]
        if order.job_id is not None:
            holders = [name for name in holders if order.job_id in records.job_ids(name)]
            if not holders:
                where = "" if order.source is None else f" of source {order.source}"
                raise RefusedMuteError(f"there is no job {order.job_id}{where}", unknown=True)
        if not holders:
            raise RefusedMuteError("there is no source yet: nothing was polled so far", unknown=True)
        return holders

    async def _end(self, mutes: dict[str, Mute]) -> None:
        holders = [name for name, held in self._held().items() if any(each.id in mutes for each in held)]
        kept = {
            id_: sum(each.suppressed for held in self._held().values() for each in held if each.id == id_)
            for id_ in mutes
        }
        await self._state.commit(sources=dict.fromkeys(holders, partial(_without, ids=tuple(mutes))))
        for mute in mutes.values():
            what = one_line(_spelled(mute), 300)
            events = counted(kept[mute.id], "event")
            _log.info(
                "the mute of %s ended, %s suppressed (%s)", what, events, mute.id, extra=tags(mute=mute.id)
            )
        self._changed.set()
        if self._ended is not None:
            await self._ended(holders)


def _spelled(mute: Mute) -> str:
    return spell_mute(job_id=mute.job_id, table=mute.table, name=mute.name, source=mute.source)


def check_mute(order: MuteOrder) -> None:
    """Raise RefusedMuteError when an order makes no sense, whatever there is to mute."""
    if not any((order.job_id, order.table, order.name, order.source)):
        raise RefusedMuteError("nothing is named: a job_id, a table, a name or a source")
    for key in ("job_id", "table", "name", "source", "reason"):
        value = getattr(order, key)
        if value is not None and not value.strip():
            raise RefusedMuteError(f"{key} is empty")
        if value is not None and not value.isascii() and _is_torn(value):
            raise RefusedMuteError(f"{key} is not UTF-8 text")
    if order.reason is not None and len(order.reason) > LONGEST_REASON:
        raise RefusedMuteError(f"reason is longer than {LONGEST_REASON} characters")
    if not timedelta(0) < order.length <= LONGEST:
        raise RefusedMuteError(f"it must last longer than 0s, and {LONGEST.days:,} days at most")


def _is_torn(text: str) -> bool:
    """Return whether a text has halves of characters, which can be neither stored nor sent."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _with_mute(record: SourceRecord | None, *, mute: Mute) -> SourceRecord:
    known = record or SourceRecord(id=uuid4().hex)
    return msgspec.structs.replace(known, mutes=(*known.mutes, mute))


def _without(record: SourceRecord | None, *, ids: Collection[str]) -> SourceRecord:
    return without_mutes(present(record), ids)
