"""What an attempt changes in the records, for one commit: pure."""

from collections import defaultdict
from functools import partial

import msgspec

from notifier.deaths import count_deaths
from notifier.model import (
    Delivery,
    Event,
    JobKey,
    OpenBatch,
    Outbox,
    RecordKey,
    SourceRecord,
)
from notifier.outbox import present, settle
from notifier.records import JobUpdate, SourceUpdate


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of deliveries of one source that were attempted together."""

    deliveries: tuple[tuple[RecordKey, Event, Delivery], ...]
    ended: OpenBatch | None = None
    """The batch that they were, when it is one no longer."""

    def job_updates(self) -> dict[JobKey, JobUpdate]:
        """Return what becomes of the records of jobs."""
        settled: defaultdict[JobKey, list[Delivery]] = defaultdict(list)
        for (source, job_id), _, delivery in self.deliveries:
            if job_id is not None:
                settled[source, job_id].append(delivery)
        return {key: partial(_settle, deliveries=each) for key, each in settled.items()}

    def source_updates(self) -> dict[str, SourceUpdate]:
        """Return what becomes of the source's record; nothing when it stays as it is."""
        own = [delivery for key, _, delivery in self.deliveries if key[1] is None]
        dead = [(event, delivery) for _, event, delivery in self.deliveries if delivery.state == "dead"]
        if not own and not dead and self.ended is None:
            return {}

        def update(record: SourceRecord | None) -> SourceRecord:
            settled = _settle(record, deliveries=own)
            batches = tuple(batch for batch in settled.batches if batch != self.ended)
            return count_deaths(msgspec.structs.replace(settled, batches=batches), dead)

        return {self.deliveries[0][0][0]: update}


def open_batch(record: SourceRecord | None, *, batch: OpenBatch) -> SourceRecord:
    """Return a source's record with a batch that is about to be attempted."""
    known = present(record)
    return msgspec.structs.replace(known, batches=(*known.batches, batch))


def _settle(record: Outbox | None, *, deliveries: list[Delivery]) -> Outbox:
    return settle(present(record), deliveries)
