"""What is known about every source and job: read from memory, written to the store first."""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from notifier.model import JobKey, JobRecord, SourceRecord, utc_now
from notifier.records import JobUpdate, Records, SourceUpdate, count_dead, decode_job, job_key, source_key
from notifier.storage import Store
from notifier.turn import Turn

_Result = TypeVar("_Result")

_LONGEST_COMMIT_SECONDS = 300.0  # a store that does not answer gives up before that by itself

_encode = msgspec.json.Encoder().encode


class _Request(msgspec.Struct):
    jobs: Mapping[JobKey, JobUpdate]
    sources: Mapping[str, SourceUpdate]
    done: asyncio.Future[None]


class State:
    """The records and their commits.

    Entered as a context it loads the store; leaving it commits what was asked for and closes the store.
    """

    def __init__(
        self, open_store: Callable[[], Store], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_store = open_store
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self.records = Records()
        self._requests: list[_Request] = []
        self._asked = asyncio.Event()
        self._broken: Exception | None = None
        self._commits = 0
        self._committing_since: float | None = None

    async def __aenter__(self) -> Self:
        """Open and load the store. Raises StoreError when it cannot be used."""
        try:
            self._store = await self._in_thread(self._open_store)
            try:
                await self._in_thread(self._load)
            except BaseException:
                await self._in_thread(self._store.close)
                raise
        except BaseException:
            self._thread.shutdown()
            raise
        self._committer = asyncio.create_task(self._commit_for_ever(), name="committer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the commits that were asked for and close the store."""
        try:
            if self._broken is None:
                await self.commit()
        finally:
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)
            await self._in_thread(self._store.close)
            self._thread.shutdown()

    def under_way(self) -> Mapping[Hashable, tuple[str, float]]:
        """Return the commit under way, with what it is and how many seconds it may take."""
        if self._committing_since is None:
            return {}
        return {("commit", self._commits): ("a commit to the state", _LONGEST_COMMIT_SECONDS)}

    def fault(self) -> str | None:
        """Return why nothing can become durable; None while it can."""
        if self._broken is not None:
            return str(self._broken)
        since = self._committing_since
        seconds = 0.0 if since is None else self._monotonic() - since
        return f"a commit has not ended for {seconds:.0f} s" if seconds > _LONGEST_COMMIT_SECONDS else None

    async def commit(
        self,
        *,
        jobs: Mapping[JobKey, JobUpdate] | None = None,
        sources: Mapping[str, SourceUpdate] | None = None,
    ) -> None:
        """Replace records by what the functions make of them: all are durable on return, or none is.

        Each function is given the newest record. Requests that come while a commit is under way
        share the next one. Raises StoreError, then and from then on, when the store failed.
        """
        if self._broken is not None:
            raise self._broken
        request = _Request(jobs or {}, sources or {}, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._asked.set()
        await request.done

    async def _commit_for_ever(self) -> None:
        while self._broken is None:
            await self._asked.wait()
            self._asked.clear()
            await self._commit_requests()

    async def _commit_requests(self) -> None:
        batch, self._requests = self._requests, []
        try:
            await self._commit_batch(batch)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, and nobody commits again
            self._broken = error
            batch += self._requests
        for request in batch:
            if not request.done.done():
                if self._broken is None:
                    request.done.set_result(None)
                else:
                    request.done.set_exception(self._broken)

    async def _commit_batch(self, batch: list[_Request]) -> None:
        sources: dict[str, SourceRecord] = {}
        jobs: dict[JobKey, bytes | None] = {}
        dead = 0
        turn = Turn()
        for request in batch:
            for name, update_source in request.sources.items():
                before = sources.get(name) or self.records.source(name)
                sources[name] = update_source(before)
                dead += count_dead(sources[name]) - count_dead(before)
            for key, update_job in request.jobs.items():
                await turn.pass_on()
                old = self.records.job(key) if key not in jobs else _decode(jobs[key])
                new = update_job(old)
                jobs[key] = None if new is None else _encode(new)
                dead += count_dead(new) - count_dead(old)
        documents: dict[str, bytes | None] = {job_key(key): document for key, document in jobs.items()}
        documents.update({source_key(name): _encode(record) for name, record in sources.items()})
        if documents:
            self._commits += 1
            self._committing_since = self._monotonic()
            await self._in_thread(lambda: self._store.commit(documents))
            self._committing_since = None
        self.records.put(sources, jobs, dead=dead)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _load(self) -> None:
        self.records.load(self._store.load(), self._store.name)
        # A disk that cannot be written must be noticed before anything is sent, or each
        # restart would repeat what the last one sent and could not record.
        self._store.commit({"start": _encode({"at": utc_now()})})


def _decode(document: bytes | None) -> JobRecord | None:
    return None if document is None else decode_job(document)
