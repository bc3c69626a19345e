"""Targets that fail for long, told to the other targets: pure (contract, section 3, `target.down`)."""

from datetime import datetime, timedelta

import msgspec

from notifier.duration import spell_duration
from notifier.model import Event, Outage, SourceRecord
from notifier.outbox import event_id
from notifier.payload import Data, encode_payload
from notifier.summary import one_line

DOWN = "target.down"
UP = "target.up"

_REASON = 300


def with_outage(record: SourceRecord, target: str, outage: Outage | None) -> SourceRecord:
    """Return the record with what is known of a target that fails; with None without it."""
    others = {name: each for name, each in record.outages.items() if name != target}
    return msgspec.structs.replace(record, outages=others if outage is None else others | {target: outage})


def tell_down(
    record: SourceRecord, *, outage: Outage, source: str, target: str, now: datetime
) -> tuple[SourceRecord, Event]:
    """Return the event that says that a target fails, and the record that knows that it was told."""
    reason = one_line(outage.reason, _REASON)
    summary = f"target {target} has failed for {_length(outage, now)}: {reason}"
    told = with_outage(record, target, msgspec.structs.replace(outage, told=True))
    return _tell(told, DOWN, summary, source=source, target=target, reason=reason, now=now)


def tell_up(
    record: SourceRecord, *, outage: Outage, source: str, target: str, now: datetime
) -> tuple[SourceRecord, Event]:
    """Return the event that says that a target works again, and the record without its outage."""
    summary = f"target {target} works again after {_length(outage, now)}"
    over = with_outage(record, target, None)
    return _tell(over, UP, summary, source=source, target=target, reason=None, now=now)


def _length(outage: Outage, now: datetime) -> str:
    return spell_duration(max(timedelta(0), now - outage.since))


def _tell(
    record: SourceRecord,
    type_: str,
    summary: str,
    *,
    source: str,
    target: str,
    reason: str | None,
    now: datetime,
) -> tuple[SourceRecord, Event]:
    seq = record.seq + 1
    id_ = event_id(record.id, None, type_=type_, previous_status=None, status=target, seq=seq)
    data = Data(event_id=id_, source=source, summary=summary, target=target, reason=reason)
    event = Event(
        id=id_,
        seq=seq,
        type=type_,
        status="",
        previous_status=None,
        observed_at=now,
        summary=summary,
        payload=encode_payload(type_, now, data),
    )
    return msgspec.structs.replace(record, seq=seq), event
