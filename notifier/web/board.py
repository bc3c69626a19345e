"""What the pages show, from what is known: pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from notifier.catalogue import Catalogue, Entry, Wanted
from notifier.hours import QuietNow
from notifier.items import JobItem, MuteItem, list_mutes, show_job
from notifier.model import JobKey, PollReport, is_active
from notifier.page import Place, find_place, make_page
from notifier.records import Records
from notifier.timeline import EventItem, show_events
from notifier.views import SourceView, TargetView, list_sources, list_targets

_JOBS = 50
"""On a page."""
_EVENTS = 4
"""The last ones of a job in the list; its own page has all."""
_MUTES = 100
_STATUSES = 20
_LONGEST_STATUS = 60
_TABLES = 50
_LONGEST_TABLE = 200


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the list."""

    item: JobItem
    events: list[EventItem]
    """The last ones, newest first."""
    older: int
    """How many there are beside them."""
    muted_itself: bool
    """Whether a mute is about this very job: that one can be ended from here."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should look at."""

    what: str
    """What it is about: `process`, `source`, `target`, `dead` or `stalled`."""
    name: str = ""
    """Of the source or target."""
    count: int = 1
    since: datetime | None = None
    reason: str = ""

    @property
    def is_failing(self) -> bool:
        """Whether something does not work, rather than waits to be looked at."""
        return self.what in ("process", "source", "target")


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The first page."""

    sources: list[SourceView]
    targets: list[TargetView]
    troubles: list[Trouble]
    wanted: Wanted
    all: int
    """How many jobs there are, of those that are wanted but for their status."""
    counts: list[tuple[str, int]]
    """How many of them by status."""
    tables: list[str]
    """Those with the most jobs."""
    rows: list[Row]
    place: Place
    next_cursor: str | None
    mutes: list[MuteItem]


def make_board(
    catalogue: Catalogue,
    *,
    polls: Mapping[str, PollReport],
    targets: list[str],
    dead_parts: list[str],
    quiet: QuietNow,
    wanted: Wanted,
    cursor: str | None,
) -> Board:
    """Return what the first page shows now. Raises BadCursorError."""
    now, wanted = quiet.now, msgspec.structs.replace(wanted, watched=polls.keys())
    sources = list_sources(catalogue, polls)
    views = list_targets(catalogue, targets, quiet)
    chosen = list(wanted.select(catalogue.entries()))
    page = make_page(
        ((entry.key, entry.job, catalogue.records) for entry in chosen),
        _JOBS,
        cursor,
        lambda key, records: make_row(records, key, now),
    )
    alike = list(msgspec.structs.replace(wanted, status=None).select(catalogue.entries()))
    return Board(
        sources=sources,
        targets=views,
        troubles=[*_troubles(dead_parts, sources, views)],
        wanted=wanted,
        all=len(alike),
        counts=_counts(alike, wanted),
        tables=_tables(catalogue),
        rows=[row for row in page.items if row is not None],
        place=find_place((entry.key for entry in chosen), _JOBS, cursor),
        next_cursor=page.next_cursor,
        mutes=list_mutes(catalogue.records, now=now, limit=_MUTES).items,
    )


def make_row(records: Records, key: JobKey, now: datetime, most: int = _EVENTS) -> Row | None:
    """Return a job with its last events, so many at most; None when nothing is known about it."""
    record, source = records.job(key), records.source(key[0])
    if record is None:
        return None
    mutes = () if source is None else source.mutes
    events = show_events(key, record)
    return Row(
        item=show_job(key, record, mutes, now),
        events=events[:most],
        older=len(events[most:]),
        muted_itself=any(mute.job_id == key[1] and now < mute.until for mute in mutes),
    )


def _counts(entries: list[Entry], wanted: Wanted) -> list[tuple[str, int]]:
    """Return how many jobs each status would find: active ones first, then what became of the others."""
    chosen = wanted.status
    counts = Counter(entry.status for entry in entries if 0 < len(entry.status) <= _LONGEST_STATUS)
    common = [status for status, _ in counts.most_common(_STATUSES)]
    rest = sorted(common, key=lambda status: (not is_active(status), status))
    counts["active"] = sum(wanted.is_active(entry) for entry in entries)
    counts["stalled"] = sum(wanted.is_active(entry) and entry.stalled for entry in entries)
    counts["removed"] = sum(entry.removed for entry in entries)
    always = {"active", "failed", chosen}
    order = dict.fromkeys(["active", "stalled", "failed", *rest, "removed", chosen or "active"])
    return [(status, counts[status]) for status in order if counts[status] or status in always]


def _tables(catalogue: Catalogue) -> list[str]:
    counts = Counter(entry.table for entry in catalogue.entries() if entry.table is not None)
    return sorted(table for table, _ in counts.most_common(_TABLES) if len(table) <= _LONGEST_TABLE)


def _troubles(
    dead_parts: list[str], sources: list[SourceView], targets: list[TargetView]
) -> Iterator[Trouble]:
    for reason in dead_parts:
        yield Trouble(what="process", reason=reason)
    for source in sources:
        polls = source.polls
        if polls is not None and polls.failures:
            since = source.failing_since or polls.last_good_poll
            yield Trouble(what="source", name=source.name, since=since, reason=polls.last_error or "")
    targets = [target for target in targets if target.configured]  # nothing can be done about the others
    for target in targets:
        if target.failing_since is not None:
            reason = target.last_error or ""
            yield Trouble(what="target", name=target.name, since=target.failing_since, reason=reason)
    if stalled := sum(source.stalled for source in sources):
        yield Trouble(what="stalled", count=stalled)
    if dead := sum(target.dead for target in targets):
        yield Trouble(what="dead", count=dead)


def spell_troubles(troubles: list[Trouble]) -> str:
    """Return the troubles as a page's title begins, such as `2 failing, 1 stalled`; "" without one."""
    failing = sum(trouble.is_failing for trouble in troubles)
    words = [f"{failing:,} failing"] if failing else []
    words += [f"{each.count:,} {each.what}" for each in troubles if not each.is_failing]
    return ", ".join(words)
