"""What answers look like: one job that failed and what came of it, told by the functions that answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from notifier.catalogue import Catalogue
from notifier.deliveries import DeliveryItem, list_deliveries
from notifier.difference import Difference, Names, Reloaded
from notifier.items import JobItem, MuteItem, list_jobs, list_mutes
from notifier.model import (
    Attempt,
    Delivery,
    Event,
    JobRecord,
    Mute,
    Phase,
    PollReport,
    Snapshot,
    SourceRecord,
)
from notifier.muting import Unmuted
from notifier.outbox import delivery_id
from notifier.page import Page
from notifier.records import Records
from notifier.replays import Retried
from notifier.timeline import EventItem, list_events
from notifier.views import Status, list_sources, list_targets
from notifier.web.mutes import WantedMute
from notifier.web.probes import Health, Readiness
from notifier.web.reply import Nothing
from notifier.web.retries import RetryAll

_BEGAN = datetime(2026, 1, 31, 7, 18, tzinfo=UTC)
_ENDED = _BEGAN + timedelta(hours=3, minutes=12)
_JOB = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
_EVENT = "evt_0123456789abcdef0123456789abcdef"
_DELIVERY = delivery_id(_EVENT, "ops")
_MUTE = "mut_95605405cbba207f902c8a3b"
_REFUSAL = "answered 422: unknown field"
_ELEMENT = {
    "job_id": _JOB,
    "status": "failed",
    "job_name": "USDC transfers Jan 2024",
    "table": "base.assets.erc20_token_transfers",
    "num_chunks": 1000,
    "chunks_left": 417,
    "error_message": "Snowflake query exceeded its time limit",
    "time_created": "2026-01-31T07:18:00Z",
}


def examples() -> dict[Any, Any]:
    """Return a value of each struct that is sent or answered, by the struct."""
    records, now = _records(), _ENDED + timedelta(minutes=5)
    catalogue = Catalogue(records)
    poll = PollReport(
        last_poll=now, last_good_poll=now, next_poll=now + timedelta(seconds=15), took_seconds=0.21
    )
    return {
        Health: Health(healthy=True, reasons=[]),
        Readiness: Readiness(ready=True, reasons=[]),
        Status: Status(
            running=True,
            version="1.0.0",
            pid=4711,
            started_at=_BEGAN,
            state="/var/lib/notifier/state.db",
            sources=list_sources(catalogue, {"allium": poll}),
            targets=list_targets(catalogue, ["ops"]),
            mutes=1,
        ),
        Page[JobItem]: list_jobs(catalogue, now=now),
        Page[EventItem]: list_events(catalogue),
        Page[DeliveryItem]: list_deliveries(catalogue),
        Page[MuteItem]: (mutes := list_mutes(records, now=now)),
        MuteItem: mutes.items[0],
        WantedMute: WantedMute(length="2h", job_id=_JOB, reason="the schema is being mended"),
        Unmuted: Unmuted([_MUTE]),
        RetryAll: RetryAll(target="ops"),
        Retried: Retried([_DELIVERY]),
        Nothing: Nothing(),
        Reloaded: Reloaded(
            config="/etc/notifier/notifier.toml",
            difference=Difference(
                sources=Names(), targets=Names(added=("team",)), tables=("routes",), restart_needed=()
            ),
        ),
    }


def _records() -> Records:
    record = JobRecord(
        snapshot=Snapshot(
            status="failed",
            first_seen=_BEGAN,
            status_since=_ENDED,
            element=msgspec.Raw(msgspec.json.encode(_ELEMENT)),
            phases=(Phase("transporting", _BEGAN), Phase("failed", _ENDED)),
        ),
        seq=1,
        events=(
            Event(
                id=_EVENT,
                seq=1,
                type="backfill.failed",
                status="failed",
                previous_status="transporting",
                observed_at=_ENDED,
                summary="USDC transfers Jan 2024 failed after 3h 12m",
            ),
        ),
        deliveries=(
            Delivery(
                id=_DELIVERY,
                event_id=_EVENT,
                target="ops",
                state="dead",
                created_at=_ENDED,
                attempts=1,
                history=(Attempt(at=_ENDED, outcome="refused", duration_ms=87, status=422, error=_REFUSAL),),
                first_attempt_at=_ENDED,
                ended_at=_ENDED,
                last_error=_REFUSAL,
                answer='{"detail":"unknown field"}',
            ),
        ),
    )
    mute = Mute(
        id=_MUTE,
        created_at=_ENDED,
        until=_ENDED + timedelta(hours=2),
        job_id=_JOB,
        reason="the schema is being mended",
    )
    records = Records()
    records.put(
        {"allium": SourceRecord(id="0" * 32, baseline_at=_BEGAN, mutes=(mute,))},
        {("allium", _JOB): msgspec.json.encode(record)},
    )
    return records
