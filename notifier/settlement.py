"""What an attempt changes in the records, for one commit: pure."""

from collections import defaultdict
from functools import partial

import msgspec

from notifier.deaths import count_deaths
from notifier.model import (
    Card,
    Delivery,
    Event,
    JobKey,
    JobRecord,
    OpenBatch,
    Outbox,
    RecordKey,
    SourceRecord,
)
from notifier.outbox import LOST_SOURCE, present, settle
from notifier.records import JobUpdate, SourceUpdate
from notifier.sending import Receipt


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of deliveries of one source that were attempted together."""

    deliveries: tuple[tuple[RecordKey, Event, Delivery], ...]
    ended: OpenBatch | None = None
    """The batch that they were, when it is one no longer."""
    receipt: Receipt = Receipt()
    """What the target wants to be remembered."""

    def job_updates(self) -> dict[JobKey, JobUpdate]:
        """Return what becomes of the records of jobs."""
        settled: defaultdict[JobKey, list[Delivery]] = defaultdict(list)
        for (source, job_id), _, delivery in self.deliveries:
            if job_id is not None:
                settled[source, job_id].append(delivery)
        return {
            key: partial(_settle_job, deliveries=each, card=self.receipt.card)
            for key, each in settled.items()
        }

    def source_updates(self) -> dict[str, SourceUpdate]:
        """Return what becomes of the source's record; nothing when it stays as it is."""
        own = [delivery for key, _, delivery in self.deliveries if key[1] is None]
        dead = [(event, delivery) for _, event, delivery in self.deliveries if _is_told(delivery)]
        place = self.receipt.place
        if not own and not dead and self.ended is None and place is None:
            return {}
        target = self.deliveries[0][2].target

        def update(record: SourceRecord | None) -> SourceRecord:
            settled = _settle(record, deliveries=own)
            batches = tuple(batch for batch in settled.batches if batch != self.ended)
            places = settled.places if place is None else settled.places | {target: place}
            return count_deaths(msgspec.structs.replace(settled, batches=batches, places=places), dead)

        return {self.deliveries[0][0][0]: update}


def open_batch(record: SourceRecord | None, *, batch: OpenBatch) -> SourceRecord:
    """Return a source's record with a batch that is about to be attempted."""
    known = present(record)
    return msgspec.structs.replace(known, batches=(*known.batches, batch))


def without_batches(record: SourceRecord | None, *, target: str) -> SourceRecord:
    """Return a source's record without what was fixed to go together to a target."""
    known = present(record)
    left = tuple(batch for batch in known.batches if batch.target != target)
    return msgspec.structs.replace(known, batches=left)


def _settle_job(record: JobRecord | None, *, deliveries: list[Delivery], card: Card | None) -> JobRecord:
    settled = _settle(record, deliveries=deliveries)
    if card is None:
        return settled
    target = deliveries[0].target
    known = settled.cards.get(target)
    if known is not None and known.ts == card.ts and known.edited_at > card.edited_at:
        return settled  # it was edited again since
    return msgspec.structs.replace(settled, cards=settled.cards | {target: card})


def _settle(record: Outbox | None, *, deliveries: list[Delivery]) -> Outbox:
    return settle(present(record), deliveries)


def _is_told(delivery: Delivery) -> bool:
    """Return whether others are told of a dead letter: not when the config asked for it."""
    return delivery.state == "dead" and delivery.last_error != LOST_SOURCE
