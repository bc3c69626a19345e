"""The body of a standard webhook (contract, section 6), fixed when an event is observed."""

from datetime import datetime

import msgspec

from notifier.element import Details
from notifier.model import Sample, rfc3339
from notifier.rate import chunks_per_minute, expected_end
from notifier.summary import percent_done

MARK = "Test: "
"""What the summary of a sample begins with."""


class Progress(msgspec.Struct, frozen=True):
    """How far a job is; null what cannot be told."""

    chunks_total: int | None
    chunks_done: int | None
    percent: float | None
    chunks_per_minute: float | None = None
    eta: str | None = None


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What happened; for an event that is not about a job all of a job's fields are null."""

    event_id: str
    source: str
    job_id: str | None = None
    status: str | None = None
    previous_status: str | None = None
    summary: str
    progress: Progress | None = None
    job: msgspec.Raw = msgspec.Raw(b"null")
    target: str | None = None
    delivery_id: str | None = None
    reason: str | None = None
    test: bool = False


class Payload(msgspec.Struct, frozen=True):
    """All of a webhook's body."""

    type: str
    timestamp: str
    data: Data


_PAYLOAD = msgspec.json.Decoder(Payload)


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
    progress: Progress,
    element: msgspec.Raw,
    test: bool = False,
) -> msgspec.Raw:
    """Return the exact bytes a webhook target sends for a job's event."""
    data = Data(
        event_id=event_id,
        source=source,
        job_id=job_id,
        status=status,
        previous_status=previous_status,
        summary=summary,
        progress=progress,
        job=element,
        test=test,
    )
    return encode_payload(type, observed_at, data)


def encode_payload(type_: str, observed_at: datetime, data: Data) -> msgspec.Raw:
    """Return the exact bytes of a payload."""
    return msgspec.Raw(msgspec.json.encode(Payload(type_, rfc3339(observed_at), data)))


def read_payload(payload: bytes | msgspec.Raw) -> Payload:
    """Return what the bytes of a payload say."""
    return _PAYLOAD.decode(payload)


def progress_of(
    details: Details, samples: tuple[Sample, ...] = (), *, transporting: bool = False
) -> Progress:
    """Return how far a job with these details is, and how fast; when it will be done while it transports."""
    total, left = details.num_chunks, details.chunks_left
    done = None if total is None or left is None else max(0, total - left)
    percent = percent_done(details)
    end = expected_end(samples, percent) if transporting else None
    return Progress(total, done, percent, chunks_per_minute(samples), None if end is None else rfc3339(end))
