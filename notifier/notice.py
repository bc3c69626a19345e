"""An event that is about no job but about the notifier's own work: pure."""

from datetime import datetime

import msgspec

from notifier.model import Event, SourceRecord
from notifier.outbox import event_id
from notifier.payload import Data, encode_payload


def make_notice(
    record: SourceRecord,
    type_: str,
    *,
    source: str,
    target: str | None,
    summary: str,
    reason: str | None,
    delivery_id: str | None = None,
    again: bool = False,
    now: datetime,
) -> tuple[SourceRecord, Event]:
    """Return the record with the event counted, and the event: about a target, with None about the source."""
    seq = record.seq + 1
    id_ = event_id(record.id, None, type_=type_, previous_status=None, status=target or source, seq=seq)
    data = Data(
        event_id=id_,
        source=source,
        summary=summary,
        target=target,
        delivery_id=delivery_id,
        reason=reason,
    )
    event = Event(
        id=id_,
        seq=seq,
        type=type_,
        status="",
        previous_status=None,
        observed_at=now,
        summary=summary,
        payload=encode_payload(type_, now, data),
        again=again,
    )
    return msgspec.structs.replace(record, seq=seq), event
