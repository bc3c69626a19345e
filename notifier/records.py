"""All records of a state, in memory as their stored bytes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from urllib.parse import quote, unquote

import msgspec

from notifier.model import JobKey, JobRecord, RecordKey, SourceRecord
from notifier.storage import StoreError

JobUpdate = Callable[[JobRecord | None], JobRecord | None]
"""Returns what becomes of a job's record: None removes it."""
SourceUpdate = Callable[[SourceRecord | None], SourceRecord]
"""Returns what becomes of a source's record."""

_JOB = msgspec.json.Decoder(JobRecord)
_SOURCE = msgspec.json.Decoder(SourceRecord)


class Records:
    """What is known about every source and job; decoded when asked for."""

    def __init__(self) -> None:
        self._sources: dict[str, SourceRecord] = {}
        self._jobs: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self.dead = 0
        """How many dead letters they hold."""
        self.version = 0
        """Another one after each change."""

    def load(self, documents: Iterable[tuple[str, bytes]], store: str) -> None:
        """Take in the documents of a store. Raises StoreError, naming it, when one cannot be read."""
        for key, document in documents:
            kind, _, name = key.partition("/")
            try:
                if kind == "source":
                    self._sources[name] = _SOURCE.decode(document)
                    self.dead += count_dead(self._sources[name])
                elif kind == "job":
                    source, _, job_id = name.partition("/")
                    self.dead += count_dead(_JOB.decode(document))
                    self._jobs[source][unquote(job_id)] = document
            except (
                ValueError,
                TypeError,
            ) as error:  # msgspec's own errors and those of UTF-8 are ValueErrors
                raise StoreError(
                    f"the state {store} is damaged: its record {key} cannot be read: {error}. Nothing was "
                    "changed. Restore it from a backup; or, to start anew with a baseline, move it away"
                ) from error

    def put(
        self, sources: Mapping[str, SourceRecord], jobs: Mapping[JobKey, bytes | None], *, dead: int = 0
    ) -> None:
        """Replace records; those of jobs by their documents, None for one that is no more.

        `dead` is how many more dead letters these hold than those that they replace.
        """
        self.dead += dead
        self._sources.update(sources)
        for (source, job_id), document in jobs.items():
            if document is None:
                self._jobs[source].pop(job_id, None)
            else:
                self._jobs[source][job_id] = document
        self.version += 1  # after the change: whoever saw the old one must look again

    def source(self, name: str) -> SourceRecord | None:
        """Return what is known about a source."""
        return self._sources.get(name)

    def sources(self) -> Mapping[str, SourceRecord]:
        """Return what is known about all sources, by name."""
        return self._sources

    def job(self, key: JobKey) -> JobRecord | None:
        """Return what is known about a job."""
        source, job_id = key
        document = self._jobs.get(source, {}).get(job_id)  # whoever asks may name any source
        return None if document is None else decode_job(document)

    def outbox(self, key: RecordKey) -> JobRecord | SourceRecord | None:
        """Return what is known about a job, or with None for its id about a source."""
        source, job_id = key
        return self.source(source) if job_id is None else self.job((source, job_id))

    def outboxes(self) -> Iterator[tuple[RecordKey, JobRecord | SourceRecord]]:
        """Yield all records that hold deliveries, as they are now: those of sources, then those of jobs."""
        for source, record in list(self._sources.items()):
            yield (source, None), record
        yield from self.jobs()

    def job_ids(self, source: str) -> AbstractSet[str]:
        """Return the ids of a source's jobs; they change with the records."""
        return self._jobs[source].keys()

    def jobs(self) -> Iterator[tuple[JobKey, JobRecord]]:
        """Yield all jobs, as they are now, with what is known about them."""
        for key, document in self.documents():
            yield key, decode_job(document)

    def documents(self) -> Iterator[tuple[JobKey, bytes]]:
        """Yield the documents of all jobs, as they are now."""
        now = [(source, list(documents.items())) for source, documents in list(self._jobs.items())]
        for source, documents in now:
            for job_id, document in documents:
                yield (source, job_id), document


def count_dead(record: JobRecord | SourceRecord | None) -> int:
    """Return how many dead letters a record holds."""
    return 0 if record is None else sum(delivery.state == "dead" for delivery in record.deliveries)


def decode_job(document: bytes) -> JobRecord:
    """Return the record that a document holds."""
    return _JOB.decode(document)


def job_key(key: JobKey) -> str:
    """Return the key of a job's document in the store."""
    return f"job/{key[0]}/{quote(key[1], safe='')}"


def source_key(name: str) -> str:
    """Return the key of a source's document in the store."""
    return f"source/{name}"
