"""Jobs and mutes as people and programs are shown them: lists, newest first. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime

import msgspec

from notifier.catalogue import ALL_JOBS, Catalogue, Wanted, sortable
from notifier.element import read_details
from notifier.model import JobKey, JobRecord, Mute, Snapshot, is_active
from notifier.mute import is_of, muting
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
    found = (((sortable(held[0][1].created_at), id_), id_, held) for id_, held in holders.items())
    return make_page(found, limit, cursor, lambda _, held: _mute_item(held))


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
    known = list(records.sources().values())  # another thread may add one meanwhile
    held = (mute for record in known for mute in record.mutes if now < mute.until)
    return len({mute.id for mute in held})


def _show_job(records: Records, key: JobKey, now: datetime) -> JobItem | None:
    """Return a job as last seen; None when it is gone."""
    record, source = records.job(key), records.source(key[0])
    return None if record is None else show_job(key, record, () if source is None else source.mutes, now)


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
