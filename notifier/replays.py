"""Dead letters made pending again, by the order of a person."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

import msgspec

from notifier.deaths import discount_deaths
from notifier.model import Delivery, Event, JobKey, JobRecord, RecordKey, SourceRecord
from notifier.outbox import present, replay
from notifier.records import JobUpdate, Records, SourceUpdate
from notifier.state import State
from notifier.summary import counted

_Letter = tuple[RecordKey, Event, Delivery]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant: one by its id, or all, or all for a target."""

    id: str | None = None
    target: str | None = None


class Retried(msgspec.Struct, frozen=True):
    """What came of it: the ids of the deliveries that are pending again."""

    retried: list[str]


class RefusedOrderError(Exception):
    """There is nothing that the order could be carried out on. `unknown`: there is no such delivery."""

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown


class Replays:
    """Carries such orders out; `resume` is told each delivery that is pending again.

    `targets` and `sources` are those that are configured; None when that is not known: then no delivery is
    refused.
    """

    def __init__(
        self,
        state: State,
        *,
        resume: Callable[[RecordKey, Delivery], None] = lambda _key, _delivery: None,
        targets: Collection[str] | None = None,
        sources: Collection[str] | None = None,
    ) -> None:
        self._state = state
        self._resume = resume
        self._targets = targets
        self._sources = sources
        self._turns = asyncio.Lock()

    async def carry_out(self, order: Order) -> list[str]:
        """Return the ids of the deliveries that are pending again, durably. Raises RefusedOrderError."""
        async with self._turns:
            found = await asyncio.to_thread(_find, self._state.records, order)
            letters = [
                letter
                for letter in found
                if (self._targets is None or letter[2].target in self._targets)
                and (self._sources is None or letter[0][0] in self._sources)
            ]
            if order.id is not None:
                _check(order.id, found, able=bool(letters), targets=self._targets)
            if not letters:
                _check_all(found)
                return []
            jobs, sources = _updates(letters)
            await self._state.commit(jobs=jobs, sources=sources)
            revived = [pair for key, _, each in letters for pair in self._revived(key, each.id)]
            if order.id is not None and not revived:
                raise RefusedOrderError(f"there is no delivery {order.id}", unknown=True)
            for key, delivery in revived:
                self._resume(key, delivery)
            return [delivery.id for _, delivery in revived]

    def _revived(self, key: RecordKey, id_: str) -> Iterator[tuple[RecordKey, Delivery]]:
        record = self._state.records.outbox(key)
        for delivery in () if record is None else record.deliveries:  # it may have been pruned meanwhile
            if delivery.id == id_:
                yield key, delivery


def _find(records: Records, order: Order) -> list[_Letter]:
    return list(_meant(records, order))


def _meant(records: Records, order: Order) -> Iterator[_Letter]:
    for key, record in records.outboxes():
        for delivery in record.deliveries:
            if order.id is not None:
                if delivery.id == order.id:
                    yield key, _event_of(record, delivery), delivery
            elif delivery.state == "dead" and order.target in (None, delivery.target):
                yield key, _event_of(record, delivery), delivery


def _event_of(record: JobRecord | SourceRecord, delivery: Delivery) -> Event:
    return next(event for event in record.events if event.id == delivery.event_id)


def _check(id_: str, found: list[_Letter], *, able: bool, targets: Collection[str] | None) -> None:
    if not found:
        raise RefusedOrderError(f"there is no delivery {id_}", unknown=True)
    (source, _), _, delivery = found[0]
    if delivery.state != "dead":
        raise RefusedOrderError(f"{id_} is {delivery.state}; only a dead letter is made pending again")
    if not able:
        is_target = targets is not None and delivery.target not in targets
        what = f"for the target {delivery.target}" if is_target else f"of the source {source}"
        raise RefusedOrderError(f"{id_} is {what}, which is no longer configured")


def _check_all(found: list[_Letter]) -> None:
    if found:
        lost = ", ".join(sorted({f"{key[0]} → {delivery.target}" for key, _, delivery in found}))
        what = counted(len(found), "dead letter is", "dead letters are")
        raise RefusedOrderError(f"{what} of sources or for targets that are no longer configured: {lost}")


def _updates(
    letters: list[_Letter],
) -> tuple[Mapping[JobKey, JobUpdate], Mapping[str, SourceUpdate]]:
    ids: defaultdict[RecordKey, set[str]] = defaultdict(set)
    for key, _, delivery in letters:
        ids[key].add(delivery.id)
    jobs: dict[JobKey, JobUpdate] = {}
    own: dict[str, set[str]] = {}
    replayed: defaultdict[str, list[tuple[Event, Delivery]]] = defaultdict(list)
    for (source, _), event, delivery in letters:
        replayed[source].append((event, delivery))
    for (source, job_id), each in ids.items():
        if job_id is None:
            own[source] = each
        else:
            jobs[source, job_id] = partial(_replay_job, ids=each)
    return jobs, {
        source: partial(_replay_source, ids=own.get(source, ()), replayed=each)
        for source, each in replayed.items()
    }


def _replay_job(record: JobRecord | None, *, ids: Collection[str]) -> JobRecord | None:
    return None if record is None else replay(record, ids)  # it may have been pruned meanwhile


def _replay_source(
    record: SourceRecord | None, *, ids: Collection[str], replayed: Iterable[tuple[Event, Delivery]]
) -> SourceRecord:
    return discount_deaths(replay(present(record), ids), replayed)
