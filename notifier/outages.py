"""Targets that fail for long, told to the other targets: pure (contract, section 3, `target.down`)."""

from datetime import datetime, timedelta

import msgspec

from notifier.duration import spell_duration
from notifier.model import Event, Outage, SourceRecord
from notifier.notice import make_notice
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
    return make_notice(told, DOWN, source=source, target=target, summary=summary, reason=reason, now=now)


def tell_up(
    record: SourceRecord, *, outage: Outage, source: str, target: str, now: datetime
) -> tuple[SourceRecord, Event]:
    """Return the event that says that a target works again, and the record without its outage."""
    summary = f"target {target} works again after {_length(outage, now)}"
    over = with_outage(record, target, None)
    return make_notice(over, UP, source=source, target=target, summary=summary, reason=None, now=now)


def _length(outage: Outage, now: datetime) -> str:
    return spell_duration(max(timedelta(0), now - outage.since))
