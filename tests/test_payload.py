import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.element import Details
from notifier.payload import job_payload, progress_of

_OBSERVED = datetime(2026, 1, 31, 10, 30, 0, 123000, tzinfo=UTC)


def _payload(**changes: Any) -> msgspec.Raw:
    fields: dict[str, Any] = {
        "event_id": "evt_0123456789abcdef0123456789abcdef",
        "type": "backfill.completed",
        "observed_at": _OBSERVED,
        "source": "allium",
        "job_id": "f47ac10b",
        "status": "completed",
        "previous_status": "transporting",
        "summary": "USDC completed in 3h 12m (1000 chunks)",
        "details": Details(num_chunks=1000, chunks_left=0),
        "element": msgspec.Raw(b'{"job_id":"f47ac10b","n":1.0e5}'),
    }
    fields |= changes
    return job_payload(progress=progress_of(fields.pop("details")), **fields)


def test_a_payload_is_written_as_the_contract_shows_it() -> None:
    assert bytes(_payload()).decode() == (
        '{"type":"backfill.completed","timestamp":"2026-01-31T10:30:00.123Z","data":{'
        '"event_id":"evt_0123456789abcdef0123456789abcdef","source":"allium","job_id":"f47ac10b",'
        '"status":"completed","previous_status":"transporting",'
        '"summary":"USDC completed in 3h 12m (1000 chunks)",'
        '"progress":{"chunks_total":1000,"chunks_done":1000,"percent":100.0,'
        '"chunks_per_minute":null,"eta":null},'
        '"job":{"job_id":"f47ac10b","n":1.0e5},'
        '"target":null,"delivery_id":null,"reason":null,"test":false}}'
    )


@pytest.mark.parametrize(
    ("observed_at", "timestamp"),
    [
        (_OBSERVED, "2026-01-31T10:30:00.123Z"),
        (_OBSERVED.replace(microsecond=0), "2026-01-31T10:30:00.000Z"),
        (_OBSERVED.replace(microsecond=123999), "2026-01-31T10:30:00.123Z"),
        (_OBSERVED.astimezone(timezone(timedelta(hours=-5))), "2026-01-31T10:30:00.123Z"),
    ],
)
def test_the_time_of_a_payload_is_utc_with_milliseconds(observed_at: datetime, timestamp: str) -> None:
    assert msgspec.json.decode(_payload(observed_at=observed_at))["timestamp"] == timestamp


@pytest.mark.parametrize(
    ("total", "left", "done", "percent"),
    [
        (1000, 423, 577, 57.7),
        (1000, 1000, 0, 0.0),
        (10, 25, 0, 0.0),
        (0, 0, 0, None),
        (1000, None, None, None),
        (None, 423, None, None),
        (None, None, None, None),
        (2**70, 2**69, 2**69, 50.0),
    ],
)
def test_progress_tells_what_is_known(
    total: int | None, left: int | None, done: int | None, percent: float | None
) -> None:
    payload = _payload(details=Details(num_chunks=total, chunks_left=left))
    assert json.loads(bytes(payload))["data"]["progress"] == {
        "chunks_total": total,
        "chunks_done": done,
        "percent": percent,
        "chunks_per_minute": None,
        "eta": None,
    }


def test_the_first_sight_of_a_job_has_no_previous_status() -> None:
    assert msgspec.json.decode(_payload(previous_status=None))["data"]["previous_status"] is None


@pytest.mark.parametrize(
    "element",
    [
        b"{}",
        b'{ "job_id" : "a" ,\n "big": 123456789012345678901234567890, "small": 1e-400 }',
        rb'{"name": "\u00e9\/\ud83d\ude00"}',
        '{"name": "é😀"}'.encode(),
    ],
)
def test_the_job_is_passed_on_byte_by_byte(element: bytes) -> None:
    assert b'"job":' + element + b',"target"' in bytes(_payload(element=msgspec.Raw(element)))


@given(st.text(), st.text(), st.text(), st.none() | st.text())
def test_a_payload_reads_as_what_was_written(
    job_id: str, summary: str, status: str, previous_status: str | None
) -> None:
    payload = _payload(job_id=job_id, summary=summary, status=status, previous_status=previous_status)
    data = msgspec.json.decode(bytes(payload))["data"]
    assert (data["job_id"], data["summary"]) == (job_id, summary)
    assert (data["status"], data["previous_status"]) == (status, previous_status)
    assert msgspec.json.decode(payload) == json.loads(bytes(payload))
