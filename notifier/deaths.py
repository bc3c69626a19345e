"""Dead letters, counted and told to the other targets: pure (contract, section 3, `delivery.dead`)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from notifier.model import Deaths, Delivery, Event, SourceRecord
from notifier.notice import make_notice
from notifier.outbox import LOST_SOURCE, LOST_TARGET
from notifier.summary import counted, one_line

TYPE = "delivery.dead"
TELL_EVERY = timedelta(minutes=1)
"""The least time between two events about one target."""

_REASON = 300
_SUMMARY = 150


def count_deaths(record: SourceRecord, dead: Iterable[tuple[Event, Delivery]]) -> SourceRecord:
    """Return the record with these new dead letters counted, but for those that cause no further event."""
    deaths = dict(record.deaths)
    for event, delivery in dead:
        if _causes_none(event):
            continue
        old = deaths.get(delivery.target, Deaths())
        deaths[delivery.target] = Deaths(
            count=old.count + 1,
            delivery_id=delivery.id,
            reason=one_line(delivery.last_error or "", _REASON),
            summary=one_line(event.summary, _SUMMARY),
            told_at=old.told_at,
        )
    return msgspec.structs.replace(record, deaths=deaths)


def discount_deaths(record: SourceRecord, replayed: Iterable[tuple[Event, Delivery]]) -> SourceRecord:
    """Return the record without counting these dead letters, which are pending again: no news any more."""
    deaths = dict(record.deaths)
    for event, delivery in replayed:
        old = deaths.get(delivery.target, Deaths())
        is_counted = delivery.last_error not in (LOST_TARGET, LOST_SOURCE) and not _causes_none(event)
        is_untold = old.told_at is None or (delivery.ended_at or old.told_at) > old.told_at
        if is_counted and is_untold and old.count:
            deaths[delivery.target] = msgspec.structs.replace(old, count=old.count - 1)
    return msgspec.structs.replace(record, deaths=deaths)


def _causes_none(event: Event) -> bool:
    return event.type == TYPE or event.type.startswith("target.")


def next_telling(
    record: SourceRecord, target: str, told_at: datetime | None, now: datetime
) -> datetime | None:
    """Return when others are to be told of a target's dead letters; None when there is nothing to tell.

    `told_at` is when they were last told of that target's, whatever the source.
    """
    if record.deaths.get(target, Deaths()).count == 0:
        return None
    if told_at is None or told_at > now:  # the clock was set back: nobody is to wait for it
        return now
    return told_at + TELL_EVERY


def tell_deaths(
    record: SourceRecord, *, source: str, target: str, now: datetime
) -> tuple[SourceRecord, Event]:
    """Return the event about the dead letters counted for a target, and the record without that count."""
    deaths = record.deaths[target]
    told = msgspec.structs.replace(record, deaths={**record.deaths, target: Deaths(told_at=now)})
    return make_notice(
        told,
        TYPE,
        source=source,
        target=target,
        summary=_summary(deaths, target),
        reason=deaths.reason,
        delivery_id=deaths.delivery_id,
        now=now,
    )


def _summary(deaths: Deaths, target: str) -> str:
    if deaths.count == 1:
        return f"a delivery to {target} was given up: {deaths.reason} ({deaths.summary})"
    what = counted(deaths.count, "delivery", "deliveries")
    return f"{what} to {target} were given up; the last one: {deaths.reason} ({deaths.summary})"
