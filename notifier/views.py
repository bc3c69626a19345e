"""What a notifier is doing, as people and programs are shown it: sources, targets, an overview. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec

from notifier.hours import NEVER_QUIET, QuietNow
from notifier.model import (
    Delivery,
    DeliveryState,
    Outage,
    PollReport,
    SourceRecord,
    is_active,
)
from notifier.records import Records


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A source with its jobs by status and, while a daemon runs, its polls."""

    name: str
    jobs: dict[str, int]
    active: int
    """Listed jobs that may still change."""
    stalled: int
    """Of these the ones that do not move."""
    baseline_at: datetime | None
    failing_since: datetime | None
    """Since when no poll was good; null while they are."""
    polls: PollReport | None


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """A target with its deliveries by state."""

    name: str
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    oldest_pending: datetime | None = None
    last_error: str | None = None
    """Of the delivery that failed last and still waits, or why it fails otherwise, or else of the last one
    that is dead."""
    failing_since: datetime | None = None
    """Since when it fails; null while it works."""
    quiet_until: datetime | None = None
    """Until when it is in quiet hours; null when it is not, or no daemon runs."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier is doing; `pid` and `started_at` are null when none runs."""

    running: bool
    version: str
    pid: int | None = None
    started_at: datetime | None = None
    state: str
    """The absolute path of the state."""
    sources: list[SourceView]
    targets: list[TargetView]
    mutes: int
    """How many mutes hold."""


def list_sources(
    records: Records, polls: Mapping[str, PollReport] = MappingProxyType({})
) -> list[SourceView]:
    """Return the sources that are stored or polled, by name."""
    statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    active: Counter[str] = Counter()
    stalled: Counter[str] = Counter()
    for (source, _), record in records.jobs():
        snapshot = record.snapshot
        statuses[source][snapshot.status] += 1
        if is_active(snapshot.status) and not snapshot.is_removed:
            active[source] += 1
            stalled[source] += snapshot.stalled_at is not None
    stored = records.sources()
    return [
        SourceView(
            name=name,
            jobs=dict(statuses[name].most_common()),
            active=active[name],
            stalled=stalled[name],
            baseline_at=stored[name].baseline_at if name in stored else None,
            failing_since=None if (outage := _outage(stored.get(name))) is None else outage.since,
            polls=polls.get(name),
        )
        for name in sorted(stored.keys() | polls.keys())
    ]


def list_targets(
    records: Records, names: Collection[str] = (), quiet: QuietNow = NEVER_QUIET
) -> list[TargetView]:
    """Return these targets and all that have deliveries, by name."""
    counts: defaultdict[str, Counter[DeliveryState]] = defaultdict(Counter)
    oldest: dict[str, Delivery] = {}
    telling: dict[str, Delivery] = {}
    for _, record in records.outboxes():
        for each in record.deliveries:
            counts[each.target][each.state] += 1
            if each.state == "pending":
                oldest[each.target] = min(oldest.get(each.target, each), each, key=_created_at)
            if each.last_error is not None:
                telling[each.target] = max(telling.get(each.target, each), each, key=_weight)
    outages = {
        name: outage for record in records.sources().values() for name, outage in record.outages.items()
    }
    return [
        msgspec.structs.replace(
            _target_view(name, counts[name], oldest.get(name), telling.get(name), outages.get(name)),
            quiet_until=quiet.until(name),
        )
        for name in sorted({*names, *counts})
    ]


def _target_view(
    name: str,
    counts: Counter[DeliveryState],
    oldest: Delivery | None,
    telling: Delivery | None,
    outage: Outage | None,
) -> TargetView:
    error = None if telling is None else telling.last_error
    if outage is not None and (telling is None or telling.state != "pending"):
        error = outage.reason
    return TargetView(
        name=name,
        pending=counts["pending"],
        delivered=counts["delivered"],
        dead=counts["dead"],
        oldest_pending=None if oldest is None else oldest.created_at,
        last_error=error,
        failing_since=None if outage is None else outage.since,
    )


def _outage(record: SourceRecord | None) -> Outage | None:
    return None if record is None else record.outage


def _created_at(delivery: Delivery) -> datetime:
    return delivery.created_at


def _weight(delivery: Delivery) -> tuple[bool, datetime]:
    """Return how much a delivery's error says of its target now: most, if it still waits and failed last."""
    last = delivery.history[-1].at if delivery.history else delivery.ended_at or delivery.created_at
    return delivery.state == "pending", last
