"""Made-up events, marked as such: what `test` sends and `preview` shows. Pure."""

import json
from datetime import datetime, timedelta
from typing import Any

import msgspec

from notifier.element import read_details
from notifier.model import Event, is_job_event, rfc3339
from notifier.payload import MARK, Data, encode_payload, job_payload, progress_of
from notifier.summary import summarize

_NAME = "USDC transfers Jan 2024"
_JOB_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
_CHUNKS = 1000
_FIRST = {"backfill.staging": None, "backfill.transporting": "staging"}
_WORDS = {
    "backfill.progress": "is at 50 % (500 of 1000 chunks)",
    "backfill.stalled": "has not moved for 30m at 42.3 %",
    "backfill.resumed": "moves again after 45m",
    "backfill.removed": "is no longer listed; it was transporting",
}
_LEFT = {
    "backfill.transporting": 1000,
    "backfill.completed": 0,
    "backfill.failed": 417,
    "backfill.cancelled": 700,
    "backfill.progress": 500,
}
_LEFT_ELSEWHERE = 577
_ERROR = "Snowflake query exceeded its time limit of 3600 s\nstatement 01b2c3d4, warehouse BEAM_XL"
_OTHERS = {
    "source.down": (
        "source {source} has had no good poll for 5m: the API answered 503",
        "the API answered 503",
    ),
    "source.up": ("source {source} answers again after 12m", None),
    "target.down": ("target ops has failed for 5m: answered 500", "answered 500"),
    "target.up": ("target ops works again after 12m", None),
    "delivery.dead": (
        "a delivery to ops was given up: answered 400: unknown field",
        "answered 400: unknown field",
    ),
}


def sample_event(type_: str, *, source: str, event_id: str, now: datetime) -> Event:
    """Return an event of this type as it could be observed; its payload says that it is a test."""
    if not is_job_event(type_):
        return _other(type_, source=source, event_id=event_id, now=now)
    status = type_.removeprefix("backfill.") if type_ not in _WORDS else "transporting"
    previous = _FIRST.get(type_, "transporting")
    element = msgspec.Raw(json.dumps(_element(type_, status, now)).encode())
    details = read_details(element)
    words = _WORDS.get(type_)
    summary = MARK + (
        f"{_NAME} {words}"
        if words is not None
        else summarize(
            job_id=_JOB_ID,
            status=status,
            previous_status=previous,
            details=details,
            first_seen=now,
            now=now,
        )
    )
    payload = job_payload(
        event_id=event_id,
        type=type_,
        observed_at=now,
        source=source,
        job_id=_JOB_ID,
        status=status,
        previous_status=previous,
        summary=summary,
        progress=progress_of(details),
        element=element,
        test=True,
    )
    return Event(
        id=event_id,
        seq=0,
        type=type_,
        status=status,
        previous_status=previous,
        observed_at=now,
        summary=summary,
        payload=payload,
    )


def _element(type_: str, status: str, now: datetime) -> dict[str, Any]:
    staging = status == "staging"
    ended = status in ("completed", "failed", "cancelled")
    return {
        "job_id": _JOB_ID,
        "workflow_id": f"beam-backfill-sample-{_JOB_ID}",
        "organization_id": "sample",
        "status": status,
        "job_name": _NAME,
        "table": "base.assets.erc20_token_transfers",
        "partition_key": "block_timestamp",
        "backfill_start": "2024-01-01T00:00:00",
        "backfill_end": "2024-02-01T00:00:00",
        "filter_column": "token_address",
        "filter_values": ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"],
        "destinations": [
            {"type": "kafka", "name": "base-usdc", "uid": "6f1c7a52"},
            {"type": "webhook", "name": "lake", "url": "https://lake.example.com/in"},
        ],
        "static_egress_ip": False,
        "num_chunks": None if staging else _CHUNKS,
        "chunks_left": None if staging else _LEFT.get(type_, _LEFT_ELSEWHERE),
        "error_message": _ERROR if status == "failed" else None,
        "time_created": rfc3339(now - timedelta(hours=3, minutes=12)),
        "time_completed": rfc3339(now) if ended else None,
    }


def _other(type_: str, *, source: str, event_id: str, now: datetime) -> Event:
    words, reason = _OTHERS[type_]
    summary = MARK + words.format(source=source)
    data = Data(
        event_id=event_id,
        source=source,
        summary=summary,
        target=None if type_.startswith("source.") else "ops",
        delivery_id="dlv_0123456789abcdef01234567" if type_ == "delivery.dead" else None,
        reason=reason,
        test=True,
    )
    return Event(
        id=event_id,
        seq=0,
        type=type_,
        status="",
        previous_status=None,
        observed_at=now,
        summary=summary,
        payload=encode_payload(type_, now, data),
    )
