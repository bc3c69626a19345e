"""Records as a daemon would have stored them."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from notifier.model import Delivery, DeliveryState, Event, JobKey, JobRecord, Snapshot, SourceRecord
from notifier.muting import Muting
from notifier.records import Records, job_key, source_key
from notifier.replays import Order
from notifier.state import State
from notifier.store.sqlite import SqliteStore

NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def delivery(name: str, *, state: DeliveryState = "delivered", created: float = 0, **fields: Any) -> Delivery:
    return Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        state=state,
        created_at=at(created),
        **{"target": "ops"} | fields,
    )


def record(
    *deliveries: Delivery, status: str = "staging", seen: float = 0, element: bytes = b"", **fields: Any
) -> JobRecord:
    """Return a record with an event for each delivery; `fields` are those of the element."""
    listed = {"job_id": "j", "status": status, "time_created": None} | fields
    events = {
        d.event_id: Event(
            id=d.event_id,
            seq=place + 1,
            type="backfill.staging",
            status=status,
            previous_status=None,
            observed_at=d.created_at,
            summary=f"summary of {d.event_id}",
        )
        for place, d in enumerate(deliveries)
    }
    return JobRecord(
        snapshot=Snapshot(
            status=status,
            first_seen=at(seen),
            status_since=at(seen + 1),
            element=msgspec.Raw(element or json.dumps(listed).encode()),
        ),
        seq=len(events),
        events=tuple(events.values()),
        deliveries=deliveries,
    )


def put(records: Records, jobs: Iterable[tuple[JobKey, JobRecord]]) -> None:
    records.put({}, {key: msgspec.json.encode(each) for key, each in jobs})


async def nothing_to_retry(_: Order) -> list[str]:
    return []


def no_muting() -> Muting:
    """Return what carries out orders to mute, over a state that was never opened."""
    return Muting(State(lambda: SqliteStore(Path("/nonexistent/state.db"))))


def of(jobs: dict[str, JobRecord], source: str = "allium") -> Records:
    records = Records()
    put(records, (((source, job_id), each) for job_id, each in jobs.items()))
    return records


def write_state(path: Path, jobs: Mapping[JobKey, JobRecord]) -> None:
    """Leave what a daemon with these jobs would leave at its end."""
    store = SqliteStore(path)
    try:
        sources = {source: SourceRecord(id=source, baseline_at=NOW) for source, _ in jobs} or {
            "allium": SourceRecord(id="allium", baseline_at=NOW)
        }
        documents = {source_key(name): msgspec.json.encode(each) for name, each in sources.items()}
        store.commit(documents | {job_key(key): msgspec.json.encode(each) for key, each in jobs.items()})
    finally:
        store.close()
