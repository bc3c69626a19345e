"""Jobs, deliveries and mutes as people and programs are shown them: lists, newest first. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime

import msgspec

from notifier.catalogue import ALL_JOBS, Catalogue, Wanted
from notifier.element import read_details
from notifier.hours import NEVER_QUIET, QuietNow
from notifier.model import (
    Attempt,
    Delivery,
    DeliveryState,
    JobKey,
    JobRecord,
    Mute,
    RecordKey,
    Snapshot,
    SourceRecord,
    is_active,
)
from notifier.mute import is_of, muting
from notifier.outbox import pending
from notifier.page import DEFAULT_LIMIT, Page, make_page
from notifier.patience import moved_at
from notifier.payload import Progress, progress_of
from notifier.rate import is_outdated
from notifier.records import Records


class PhaseItem(msgspec.Struct, frozen=True, kw_only=True):
    """A status that a job was seen in."""

    status: str
    since: datetime | None
    """When it was first seen in it; null when nobody knows: it was in it when it was first seen."""
    seconds: float | None
    """How long it was in it; of an active job's last status until now."""


class JobItem(msgspec.Struct, frozen=True, kw_only=True):
    """A job as last seen."""

    source: str
    job_id: str
    status: str
    job_name: str | None
    table: str | None
    progress: Progress
    error_message: str | None
    time_created: datetime | None
    time_completed: datetime | None
    first_seen: datetime
    status_since: datetime
    """When this status was first seen."""
    phases: list[PhaseItem]
    """The last statuses, the present one included, oldest first."""
    stalled_since: datetime | None
    """Since when it has not moved, if it is stalled."""
    removed: bool
    """Whether it was active when it vanished from the listing."""
    muted_until: datetime | None
    """Until when nobody is notified about it; null when it is not muted."""
    events: int
    """How many events of it are kept."""
    pending: int
    """How many deliveries are still to be made."""
    dead: int
    job: msgspec.Raw
    """The element as the API returned it."""


class DeliveryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with the event it is of."""

    id: str
    event_id: str
    type: str
    source: str
    job_id: str | None
    """None for an event that is about no job."""
    target: str
    state: DeliveryState
    attempts: int
    last_error: str | None
    created_at: datetime
    first_attempt: datetime | None
    next_attempt: datetime | None
    """When it is tried again; null for at once, and when it has ended."""
    waits_for: str | None
    """The earlier delivery of the same job to the same target, which goes first."""
    ended_at: datetime | None
    summary: str
    status: int | None = None
    """Of the HTTP answer to the last attempt, if it failed; null when there was none."""
    answer: str | None = None
    """How that answer began, 500 bytes at most; null once delivered."""
    history: tuple[Attempt, ...] = ()
    """The last twenty attempts, the oldest first, those before a replay included."""
    quiet_until: datetime | None = None
    """Until when quiet hours hold it; null when they do not, or no daemon runs."""


class MuteItem(msgspec.Struct, frozen=True, kw_only=True):
    """An order not to notify about some jobs until a time."""

    id: str
    job_id: str | None
    table: str | None
    """A glob, as is `name`."""
    name: str | None
    source: str | None
    """The one source that it is for, if the order named one."""
    sources: list[str]
    """The sources that it holds for."""
    reason: str | None
    created_at: datetime
    until: datetime
    suppressed: int
    """How many events nobody was notified of because of it."""
    matching: int | None = None
    """How many known jobs it is about; told of a new one only."""


def list_jobs(
    catalogue: Catalogue,
    *,
    now: datetime,
    wanted: Wanted = ALL_JOBS,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[JobItem]:
    """Return jobs, the ones ordered last first. Raises BadCursorError."""
    records = catalogue.records
    found = ((entry.key, entry.job, records) for entry in wanted.select(catalogue.entries()))
    page = make_page(found, limit, cursor, lambda key, records: _show_job(records, key, now))
    return Page([item for item in page.items if item is not None], page.next_cursor)


def list_mutes(
    records: Records, *, now: datetime, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[MuteItem]:
    """Return the mutes that hold, the newest first. Raises BadCursorError."""
    holders: defaultdict[str, list[tuple[str, Mute]]] = defaultdict(list)
    for name, record in sorted(records.sources().items()):
        for mute in record.mutes:
            if now < mute.until:
                holders[mute.id].append((name, mute))
    found = (((_sortable(held[0][1].created_at), id_), id_, held) for id_, held in holders.items())
    return make_page(found, limit, cursor, lambda _, held: _mute_item(held))


def list_deliveries(
    catalogue: Catalogue,
    *,
    state: DeliveryState | None = None,
    target: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    quiet: QuietNow = NEVER_QUIET,
) -> Page[DeliveryItem]:
    """Return deliveries, those of the newest events first. Raises BadCursorError."""
    found = (
        ((_sortable(delivery.created_at), f"{_place(key)}/{place:09}"), key, (record, delivery))
        for key, record in _outboxes(catalogue, state, target)
        for place, delivery in enumerate(record.deliveries)
        if state in (None, delivery.state) and target in (None, delivery.target)
    )
    return make_page(found, limit, cursor, lambda key, pair: _delivery_item(key, *pair, quiet=quiet))


def show_job(key: JobKey, record: JobRecord, mutes: Collection[Mute], now: datetime) -> JobItem:
    """Return a job as last seen; `mutes` are those of its source."""
    snapshot = record.snapshot
    details = read_details(snapshot.element)
    is_past = snapshot.stalled_at is not None or is_outdated(snapshot.samples, now)
    samples = () if is_past else snapshot.samples
    ends = [mute.until for mute in muting(mutes, key[1], details, now)]
    states = Counter(delivery.state for delivery in record.deliveries)
    return JobItem(
        source=key[0],
        job_id=key[1],
        status=record.snapshot.status,
        job_name=details.job_name,
        table=details.table,
        progress=progress_of(details, samples, transporting=snapshot.status == "transporting"),
        error_message=details.error_message,
        time_created=details.time_created,
        time_completed=details.time_completed,
        first_seen=record.snapshot.first_seen,
        status_since=record.snapshot.status_since,
        phases=_phases(snapshot, now),
        stalled_since=moved_at(snapshot) if snapshot.stalled_at is not None else None,
        removed=snapshot.is_removed,
        muted_until=max(ends, default=None),
        events=len(record.events),
        pending=states["pending"],
        dead=states["dead"],
        job=record.snapshot.element,
    )


def show_deliveries(key: RecordKey, record: JobRecord | SourceRecord, quiet: QuietNow) -> list[DeliveryItem]:
    """Return the deliveries of a record, in the order of their events."""
    return [_delivery_item(key, record, delivery, quiet=quiet) for delivery in record.deliveries]


def show_mute(records: Records, mute: Mute) -> MuteItem:
    """Return a mute that was just made, and how many known jobs it is about."""
    holders = [name for name, record in sorted(records.sources().items()) if mute in record.mutes]
    jobs = (
        is_of(mute, job_id, read_details(record.snapshot.element))
        for (source, job_id), record in records.jobs()
        if source in holders
    )
    item = _mute_item([(name, mute) for name in holders])
    return msgspec.structs.replace(item, matching=sum(jobs))


def count_mutes(records: Records, now: datetime) -> int:
    """Return how many mutes hold."""
    held = (mute for record in records.sources().values() for mute in record.mutes if now < mute.until)
    return len({mute.id for mute in held})


def _show_job(records: Records, key: JobKey, now: datetime) -> JobItem | None:
    """Return a job as last seen; None when it is gone."""
    record, source = records.job(key), records.source(key[0])
    return None if record is None else show_job(key, record, () if source is None else source.mutes, now)


def _outboxes(
    catalogue: Catalogue, state: DeliveryState | None, target: str | None
) -> Iterator[tuple[RecordKey, JobRecord | SourceRecord]]:
    """Yield the records that may have such deliveries."""
    for source, record in list(catalogue.records.sources().items()):
        yield (source, None), record
    for entry in catalogue.entries():
        found = (each for each in entry.tallies if target in (None, each.target))
        if any(state is None or each.count(state) for each in found):
            job = catalogue.records.job(entry.job)
            if job is not None:
                yield entry.job, job


def _mute_item(held: list[tuple[str, Mute]]) -> MuteItem:
    mute = held[0][1]
    return MuteItem(
        id=mute.id,
        job_id=mute.job_id,
        table=mute.table,
        name=mute.name,
        source=mute.source,
        sources=[name for name, _ in held],
        reason=mute.reason,
        created_at=mute.created_at,
        until=mute.until,
        suppressed=sum(each.suppressed for _, each in held),
    )


def _phases(snapshot: Snapshot, now: datetime) -> list[PhaseItem]:
    ends = [*(phase.since for phase in snapshot.phases[1:]), now if is_active(snapshot.status) else None]
    return [
        PhaseItem(status=phase.status, since=phase.since, seconds=_seconds(phase.since, end))
        for phase, end in zip(snapshot.phases, ends, strict=False)
    ]


def _seconds(since: datetime | None, end: datetime | None) -> float | None:
    return None if since is None or end is None else max(0.0, round((end - since).total_seconds(), 3))


def _delivery_item(
    key: RecordKey, record: JobRecord | SourceRecord, delivery: Delivery, *, quiet: QuietNow
) -> DeliveryItem:
    event = next(event for event in record.events if event.id == delivery.event_id)
    in_order = (each for each in pending(record) if each.target == delivery.target and not each.replay)
    first = delivery if delivery.replay else next(in_order, delivery)
    return DeliveryItem(
        id=delivery.id,
        event_id=event.id,
        type=event.type,
        source=key[0],
        job_id=key[1],
        target=delivery.target,
        state=delivery.state,
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        created_at=delivery.created_at,
        first_attempt=delivery.first_attempt_at,
        next_attempt=delivery.next_attempt_at,
        waits_for=first.id if delivery.state == "pending" and first.id != delivery.id else None,
        ended_at=delivery.ended_at,
        summary=event.summary,
        status=delivery.history[-1].status if delivery.history else None,
        answer=delivery.answer,
        history=delivery.history,
        quiet_until=quiet.holds(delivery, "" if event.again else event.type),
    )


def _place(key: RecordKey) -> str:
    return key[0] if key[1] is None else f"{key[0]}/job/{key[1]}"


def _sortable(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")  # strftime would not pad the year 999
