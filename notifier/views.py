"""What a notifier is doing, as people and programs are shown it: sources, targets, an overview. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import chain
from operator import itemgetter

import msgspec

from notifier.catalogue import Catalogue, Tally, tally
from notifier.hours import NEVER_QUIET, QuietNow
from notifier.model import Outage, PollReport, SourceRecord


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A source with its jobs by status and, while a daemon runs, its polls."""

    name: str
    jobs: dict[str, int]
    active: int
    """Listed jobs that may still change; none of a source that is no longer configured."""
    stalled: int
    """Of these the ones that do not move."""
    baseline_at: datetime | None
    failing_since: datetime | None
    """Since when no poll was good; null while they are."""
    polls: PollReport | None
    configured: bool | None = None
    """Whether the config still has it; null when no daemon runs."""


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
    configured: bool | None = None
    """Whether the config still has it; null when no daemon runs."""


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


def list_sources(catalogue: Catalogue, polls: Mapping[str, PollReport] | None = None) -> list[SourceView]:
    """Return the sources that are stored or polled, by name; `polls` has those configured, if known."""
    known = {} if polls is None else polls
    statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    active: Counter[str] = Counter()
    stalled: Counter[str] = Counter()
    for entry in catalogue.entries():
        statuses[entry.source][entry.status] += 1
        if entry.is_active and (polls is None or entry.source in polls):
            active[entry.source] += 1
            stalled[entry.source] += entry.stalled
    stored = catalogue.records.sources()
    return [
        SourceView(
            name=name,
            jobs=dict(statuses[name].most_common()),
            active=active[name],
            stalled=stalled[name],
            baseline_at=stored[name].baseline_at if name in stored else None,
            failing_since=None if (outage := _outage(stored.get(name))) is None else outage.since,
            polls=known.get(name),
            configured=None if polls is None else name in polls,
        )
        for name in sorted(stored.keys() | known.keys())
    ]


def list_targets(
    catalogue: Catalogue, names: Collection[str] | None = None, quiet: QuietNow = NEVER_QUIET
) -> list[TargetView]:
    """Return these targets, which are configured, and all that have deliveries, by name."""
    sources = list(catalogue.records.sources().values())
    counted: defaultdict[str, list[Tally]] = defaultdict(list)
    for tallies in chain(map(tally, sources), (entry.tallies for entry in catalogue.entries())):
        for each in tallies:
            counted[each.target].append(each)
    outages = {name: outage for record in sources for name, outage in record.outages.items()}
    return [
        _target_view(
            name,
            counted[name],
            outages.get(name),
            quiet.until(name),
            configured=None if names is None else name in names,
        )
        for name in sorted({*(names or ()), *counted})
    ]


def _target_view(
    name: str,
    tallies: list[Tally],
    outage: Outage | None,
    quiet_until: datetime | None,
    *,
    configured: bool | None,
) -> TargetView:
    oldest = (each.oldest_pending for each in tallies if each.oldest_pending is not None)
    told = ((each.error_weight, each.error) for each in tallies if each.error_weight is not None)
    weight, error = max(told, key=itemgetter(0), default=((False, None), None))
    is_waiting, _ = weight
    if outage is not None and not is_waiting:
        error = outage.reason
    return TargetView(
        name=name,
        pending=sum(each.pending for each in tallies),
        delivered=sum(each.delivered for each in tallies),
        dead=sum(each.dead for each in tallies),
        oldest_pending=min(oldest, default=None),
        last_error=error,
        failing_since=None if outage is None else outage.since,
        quiet_until=quiet_until,
        configured=configured,
    )


def _outage(record: SourceRecord | None) -> Outage | None:
    return None if record is None else record.outage
