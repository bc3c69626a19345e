"""The body of a standard webhook (contract, section 6), fixed when an event is observed."""

from datetime import datetime
from typing import Any

import msgspec

from notifier.element import Details
from notifier.model import rfc3339
from notifier.summary import percent_done


class _Progress(msgspec.Struct):
    chunks_total: int | None
    chunks_done: int | None
    percent: float | None
    chunks_per_minute: float | None = None
    eta: str | None = None


class _Data(msgspec.Struct, kw_only=True):
    event_id: str
    source: str
    job_id: str | None
    status: str | None
    previous_status: str | None
    summary: str
    progress: _Progress | None
    job: msgspec.Raw | None
    target: str | None = None
    delivery_id: str | None = None
    reason: str | None = None
    test: bool = False


class _Payload(msgspec.Struct):
    type: str
    timestamp: str
    data: _Data


def job_payload(
    *,
    event_id: str,
    type: str,  # noqa: A002 - the contract's name
    observed_at: datetime,
    source: str,
    job_id: str,
    status: str,
    previous_status: str | None,
    summary: str,
    details: Details,
    element: msgspec.Raw,
) -> msgspec.Raw:
    """Return the exact bytes a webhook target sends for a job's event."""
    data = _Data(
        event_id=event_id,
        source=source,
        job_id=job_id,
        status=status,
        previous_status=previous_status,
        summary=summary,
        progress=_progress(details),
        job=element,
    )
    return msgspec.Raw(msgspec.json.encode(_Payload(type, rfc3339(observed_at), data)))


def read_payload(payload: bytes | msgspec.Raw) -> dict[str, Any]:
    """Return a payload as plain Python values."""
    value: dict[str, Any] = msgspec.json.decode(payload)
    return value


def _progress(details: Details) -> _Progress:
    total, left = details.num_chunks, details.chunks_left
    done = None if total is None or left is None else max(0, total - left)
    return _Progress(total, done, percent_done(details))
