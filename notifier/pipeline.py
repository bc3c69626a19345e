"""The flow: what the watchers observe is committed, what is committed the dispatchers deliver."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec

from notifier.dispatcher import Dispatcher
from notifier.model import (
    Delivery,
    DeliveryState,
    Event,
    JobKey,
    OpenBatch,
    Outbox,
    RecordKey,
    SourceRecord,
    utc_now,
)
from notifier.outbox import LOST_SOURCE, LOST_TARGET, abandon, delivery_id, pending, present
from notifier.records import JobUpdate, SourceUpdate
from notifier.report import describe
from notifier.state import State
from notifier.summary import counted
from notifier.tags import tags
from notifier.turn import Turn

_log = logging.getLogger(__name__)


class Pipeline:
    """Joins the parts: events of any source go to the dispatchers of their targets.

    `observed` is told each committed event with the record's key and the targets it is for, `became` how many
    deliveries for a target came into a state without an attempt.
    """

    def __init__(
        self,
        state: State,
        dispatchers: Mapping[str, Dispatcher],
        now: Callable[[], datetime] = utc_now,
        *,
        observed: Callable[[RecordKey, Event, Sequence[str]], None] = lambda *_: None,
        became: Callable[[str, DeliveryState, int], None] = lambda *_: None,
    ) -> None:
        self._state = state
        self._dispatchers = dispatchers
        self._observed = observed
        self._became = became
        self._now = now

    def pass_on(self, key: RecordKey, event: Event, targets: Sequence[str]) -> None:
        """Queue the deliveries of an event that was just committed."""
        self._observed(key, event, targets)
        for target in targets:
            if (dispatcher := self._dispatchers.get(target)) is not None:  # else it was just taken out
                dispatcher.add(key, delivery_id(event.id, target))

    def resume_one(self, key: RecordKey, delivery: Delivery) -> None:
        """Queue a delivery that was just made pending again."""
        self._became(delivery.target, "pending", 1)
        if (dispatcher := self._dispatchers.get(delivery.target)) is not None:
            dispatcher.resume(key, delivery)

    async def resume(self, sources: Collection[str]) -> None:
        """Queue what the stored outbox still owes.

        What it owes to a target, or for a source, that is no longer configured becomes dead.
        """
        await self.give_up_lost(sources)
        batched: set[str] = set()
        for source, record in self._state.records.sources().items():
            for batch in record.batches:
                batched.update(self._resume_batch(source, batch))
        for key, delivery in self._owed():
            if delivery.id not in batched:
                self._dispatchers[delivery.target].resume(key, delivery)
        if waiting := sum(map(len, self._dispatchers.values())):
            what = counted(waiting, "delivery", "deliveries")
            _log.info("%s from before still to be made", what)

    def _resume_batch(self, source: str, batch: OpenBatch) -> Iterator[str]:
        members = [((source, job_id), self._delivery((source, job_id), id_)) for job_id, id_ in batch.members]
        self._dispatchers[batch.target].resume_batch(members)
        return (delivery.id for _, delivery in members)

    def _delivery(self, key: RecordKey, id_: str) -> Delivery:
        record = present(self._state.records.outbox(key))
        return next(delivery for delivery in record.deliveries if delivery.id == id_)

    def _owed(self) -> list[tuple[RecordKey, Delivery]]:
        """Return what is pending, the oldest first, that of each record in its order."""
        owed: list[tuple[datetime, RecordKey, Delivery]] = []
        for key, record in self._state.records.outboxes():
            latest = datetime.min.replace(tzinfo=self._now().tzinfo)
            for delivery in pending(record):
                latest = max(latest, delivery.created_at)  # a clock that was set back changes no order
                owed.append((latest, key, delivery))
        owed.sort(key=lambda each: each[0])
        return [(key, delivery) for _, key, delivery in owed]

    async def give_up_lost(self, sources: Collection[str]) -> None:
        """Make dead what is owed to a target that is no longer configured, or for a source not in `sources`.

        Nothing of it may be queued any more.
        """
        await self._state.commit()  # what was asked for before is there to be looked at
        now = self._now()
        jobs: dict[JobKey, JobUpdate] = {}
        own: dict[str, SourceUpdate] = {}
        lost: list[tuple[RecordKey, Event, Delivery, str]] = []
        for key, record in self._state.records.outboxes():
            source, job_id = key
            known = self._dispatchers if source in sources else ()
            owed = [each for each in pending(record) if each.target not in known]
            if not owed:
                continue
            reason = LOST_TARGET if source in sources else LOST_SOURCE
            events = {event.id: event for event in record.events}
            lost.extend((key, events[each.event_id], each, reason) for each in owed)
            given_up = partial(_abandon, targets=tuple(known), reason=reason, now=now)
            if job_id is None:
                own[source] = given_up
            else:
                jobs[source, job_id] = given_up
        for source, record in self._state.records.sources().items():
            if lost_batches := [
                each for each in record.batches if not self._can_resume(source, each, sources)
            ]:
                own[source] = partial(_without, batches=lost_batches, first=own.get(source))
        if jobs or own:
            await self._state.commit(jobs=jobs, sources=own)
        for target, number in Counter(delivery.target for _, _, delivery, _ in lost).items():
            self._became(target, "dead", number)
        if lost:
            what = counted(len(lost), "delivery", "deliveries")
            _log.warning("gave up %s: the source or target is no longer configured", what)
        turn = Turn()
        for (source, job_id), event, delivery, reason in lost:
            await turn.pass_on()
            about = tags(
                source=source,
                target=delivery.target,
                job_id=job_id,
                event_id=event.id,
                type=event.type,
                delivery_id=delivery.id,
                outcome="lost",
            )
            _log.info("%s: gave up %s: %s", delivery.target, describe([event]), reason, extra=about)

    def _can_resume(self, source: str, batch: OpenBatch, sources: Collection[str]) -> bool:
        dispatcher = self._dispatchers.get(batch.target)
        is_taken = source in sources and dispatcher is not None and dispatcher.takes_batches
        return is_taken and all(self._is_owed((source, job_id), id_) for job_id, id_ in batch.members)

    def _is_owed(self, key: RecordKey, id_: str) -> bool:
        record = self._state.records.outbox(key)
        return record is not None and any(delivery.id == id_ for delivery in pending(record))


def _abandon(record: Outbox | None, *, targets: Sequence[str], reason: str, now: datetime) -> Outbox:
    return abandon(present(record), targets=targets, reason=reason, now=now)


def _without(
    record: SourceRecord | None, *, batches: Collection[OpenBatch], first: SourceUpdate | None
) -> SourceRecord:
    changed = present(record) if first is None else first(record)
    left = tuple(batch for batch in changed.batches if batch not in batches)
    return msgspec.structs.replace(changed, batches=left)
