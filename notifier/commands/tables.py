"""Tables for a terminal: foreign text on one line, never markup; on a narrow screen stacked, never cut."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from notifier.deliveries import DeliveryItem
from notifier.duration import spell_duration
from notifier.items import JobItem, MuteItem
from notifier.model import is_active, utc_now
from notifier.mute import spell_mute
from notifier.payload import Progress
from notifier.summary import counted, one_line
from notifier.views import SourceView, Status, TargetView

_BAR_WIDTH = 16
_WIDEST = 10_000
_SHOWN_PHASES = 3
_LONGEST_REASON = 100
"""Characters of why something is muted; `--json` has the rest."""
_STATUS_STYLES = {
    "staging": "cyan",
    "transporting": "blue",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "pending": "yellow",
    "delivered": "green",
    "dead": "bold red",
}


class _Fitting:
    """The wide one of two tables where the screen has room for it, else the narrow one."""

    def __init__(self, wide: Table, narrow: RenderableType) -> None:
        self._wide = wide
        self._narrow = narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield (
            self._wide
            if not console.is_terminal or self._needs(console) <= options.max_width
            else self._narrow
        )

    def _needs(self, console: Console) -> int:
        return console.measure(self._wide, options=console.options.update_width(_WIDEST)).maximum


def jobs_table(items: list[JobItem]) -> RenderableType:
    """Return a row for each job, with a bar for its progress."""
    if not items:
        return Text("no jobs", "dim")
    several = len({item.source for item in items}) > 1
    columns = ("status", "progress", "", "pace", "job", "table", "phases")
    wide = _table(*columns, *(["source"] if several else []), "id")
    narrow = _table("status", "progress", "job")
    for item in items:
        style = _STATUS_STYLES.get(item.status, "magenta")
        status = _stacked(Text(one_line(item.status, 30), style), *_remarks(item))
        bar, share = _progress(item.progress, style)
        name, table, id_ = _cell(item.job_name, 60), _cell(item.table, 60), _cell(item.job_id, 60)
        source = [_cell(item.source, 64)] if several else []
        pace, phases = _pace(item.progress), _phases(item)
        wide.add_row(status, bar, share, pace, name, table, phases, *source, id_)
        narrow.add_row(
            _stacked(status, Text(f"for {_ago(item.status_since)}", "dim")),
            _stacked(Group(bar, share), pace),
            _stacked(name, table, phases, *source, id_),
        )
    return Group(_Fitting(wide, narrow), Text(counted(len(items), "job"), "dim"))


def mutes_table(items: list[MuteItem]) -> RenderableType:
    """Return a row for each mute."""
    if not items:
        return Text("no mutes", "dim")
    wide, narrow = _table("muted", "ends", "suppressed", "reason", "made", "id"), _table("muted")
    for item in items:
        what = _cell(
            spell_mute(job_id=item.job_id, table=item.table, name=item.name, source=item.source), 200
        )
        events, ends = counted(item.suppressed, "event"), _until(item.until)
        reason, made = _cell(item.reason, _LONGEST_REASON), _ago(item.created_at, " ago")
        wide.add_row(what, ends, events, reason, made, item.id)
        narrow.add_row(
            _stacked(what, Text(f"ends {ends}, {events} suppressed"), reason, Text(item.id, "dim"))
        )
    return Group(_Fitting(wide, narrow), Text(counted(len(items), "mute"), "dim"))


def deliveries_table(items: list[DeliveryItem]) -> RenderableType:
    """Return a row for each delivery."""
    if not items:
        return Text("no deliveries", "dim")
    wide = _table("state", "target", "event", "observed", "attempts", "next attempt", "last error", "id")
    narrow = _table("state", "event")
    for item in items:
        state = Text(item.state, _STATUS_STYLES[item.state])
        target, summary, error = _cell(item.target, 64), _cell(item.summary, 90), _last_error(item)
        observed, next_attempt = _ago(item.created_at, " ago"), _next_attempt(item)
        wide.add_row(state, target, summary, observed, str(item.attempts), next_attempt, error, item.id)
        times = f"{observed}, {counted(item.attempts, 'attempt')}"
        narrow.add_row(
            state,
            _stacked(
                Text.assemble("to ", target, ", ", times, f", {_ending(item)}" if _ending(item) else ""),
                summary,
                error,
                Text(item.id, "dim"),
            ),
        )
    return Group(_Fitting(wide, narrow), Text(counted(len(items), "delivery", "deliveries"), "dim"))


def status_tables(status: Status) -> RenderableType:
    """Return what a notifier is doing: a line about the process, its sources, its targets."""
    return Group(*_status_parts(status))


def _status_parts(status: Status) -> Iterator[RenderableType]:
    if status.running and status.started_at is not None:
        yield Text.assemble(
            ("● running", "bold green"),
            f"  notifier {status.version}, process {status.pid}, for {_ago(status.started_at)}",
        )
    else:
        yield Text.assemble(("○ not running", "bold yellow"), "  this is what was stored last")
    yield Text(f"  state {one_line(status.state, 500)}", "dim")
    if status.mutes:
        held = counted(status.mutes, "mute holds", "mutes hold")
        yield Text(f"  {held}: notifier mutes", "yellow")
    yield Text()
    yield _sources(status) if status.sources else Text("no source was polled yet", "dim")
    yield Text()
    yield _targets(status.targets) if status.targets else Text("nothing was sent to any target yet", "dim")


def _sources(status: Status) -> RenderableType:
    polls = ["last poll", "next poll"] if status.running else []
    wide = _table("source", "jobs", "active", "by status", *polls)
    narrow, lines = _table("source", "jobs", "active", *polls[1:]), []
    for source in status.sources:
        name, jobs, active, statuses = _source(source)
        last, next_poll = _polls(source)
        wide.add_row(name, jobs, active, statuses, *((last, next_poll) if polls else ()))
        narrow.add_row(name, jobs, active, *((next_poll,) if polls else ()))
        lines.append(Text.assemble(name, ": ", statuses, *(("; last poll ", last) if polls else ())))
    return _Fitting(wide, Group(narrow, *lines))


def _targets(targets: list[TargetView]) -> RenderableType:
    columns = ("target", "pending", "oldest", "dead", "delivered")
    wide, narrow = _table(*columns, "last error"), _table(*columns)
    errors = []
    for target in targets:
        wide.add_row(*_target(target), _cell(target.last_error, 160))
        narrow.add_row(*_target(target))
        if target.last_error is not None:
            errors.append(_cell(f"{target.name}: {target.last_error}", 400))
    return _Fitting(wide, Group(narrow, *errors))


def _source(source: SourceView) -> tuple[Text, str, str, Text]:
    statuses = Text(", ").join(
        Text(f"{count:,} {one_line(status, 30)}", _STATUS_STYLES.get(status, "magenta"))
        for status, count in source.jobs.items()
    )
    if source.stalled:
        statuses.append(f"; {source.stalled:,} stalled", "bold red")
    return _cell(source.name, 64), f"{sum(source.jobs.values()):,}", f"{source.active:,}", statuses


def _polls(source: SourceView) -> tuple[Text, str]:
    """Return how the last poll went, and when the next one comes."""
    polls = source.polls
    if source.configured is False:
        return Text("no longer configured", "dim"), ""
    if polls is None or polls.last_poll is None:
        return Text("none yet", "dim"), ""
    next_poll = "now" if polls.next_poll is None else _until(polls.next_poll)
    ago = f"{_ago(polls.last_poll)} ago"
    if polls.last_error is None:
        return Text(f"{ago}, good", "green"), next_poll
    good = "never" if polls.last_good_poll is None else f"{_ago(polls.last_good_poll)} ago"
    words = f"{ago}: {one_line(polls.last_error, 200)} (last good one: {good})"
    return Text(words, "bold red"), next_poll


def _target(target: TargetView) -> Iterator[RenderableType]:
    quiet = "" if target.quiet_until is None else f" quiet for {_left(target.quiet_until)}"
    gone = " no longer configured" if target.configured is False else ""
    yield Text.assemble(_cell(target.name, 64), (quiet or gone, "dim"))
    yield Text(f"{target.pending:,}", "yellow" if target.pending else "dim")
    yield "" if target.oldest_pending is None else f"{_ago(target.oldest_pending)} ago"
    yield Text(f"{target.dead:,}", "bold red" if target.dead else "dim")
    yield f"{target.delivered:,}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        right = column in ("jobs", "active", "pending", "dead", "delivered", "attempts")
        whole = right or column in ("id", "for", "oldest", "status", "state", "")
        table.add_column(column, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    return table


def _progress(progress: Progress, style: str) -> tuple[RenderableType, str]:
    if progress.percent is None:
        return "", ""
    bar = ProgressBar(100, progress.percent, width=_BAR_WIDTH, complete_style=style, finished_style=style)
    return Padding(bar, 0), f"{progress.percent:g} % of {progress.chunks_total:,}"


def _remarks(item: JobItem) -> Iterator[Text]:
    if item.stalled_since is not None:
        yield Text(f"stalled {_ago(item.stalled_since)}", "bold red")
    if item.removed:
        yield Text("not listed", "yellow")
    if item.muted_until is not None:
        yield Text(f"muted for {spell_duration(item.muted_until - utc_now())} more", "yellow")


def _pace(progress: Progress) -> Text:
    """Return how fast a job is, and how long it takes until it is done."""
    rate = progress.chunks_per_minute
    words = "" if rate is None else f"{rate:,.2f}".rstrip("0").rstrip(".") + "/min"
    if progress.eta is None:
        return Text(words)
    return Text(f"{words}, done {_until(datetime.fromisoformat(progress.eta))}")


def _phases(item: JobItem) -> Text:
    """Return how long a job was in each of its last statuses; the present one is a time that goes on."""
    parts = []
    for phase in item.phases[-_SHOWN_PHASES:]:
        length = "" if phase.seconds is None else f" {spell_duration(timedelta(seconds=phase.seconds))}"
        parts.append(f"{one_line(phase.status, 30)}{length}")
    text = " → ".join(parts)
    if not item.phases or item.phases[-1].seconds is not None:
        return Text(text)
    known = _ago(item.status_since)
    if item.phases[-1].since is None:  # it was so when it was first seen
        return Text(f"{text} for at least {known}" if is_active(item.status) else f"{text}, over {known} ago")
    return Text(f"{text}, {known} ago")


def _stacked(*lines: Text | Group) -> Group:
    return Group(*(line for line in lines if line))


def _last_error(item: DeliveryItem) -> Text | Group:
    """Return why it failed and, of a dead letter, more of the receiver's answer than that holds."""
    error = _cell(item.last_error, 300)
    answer = one_line(item.answer or "", 500)
    if item.state != "dead" or not answer or answer in (item.last_error or ""):
        return error
    return Group(error, Text(f"answer: {answer}", "dim"))


def _ending(item: DeliveryItem) -> str:
    return f"next {_next_attempt(item)}" if item.state == "pending" else _next_attempt(item)


def _next_attempt(item: DeliveryItem) -> str:
    if item.state == "dead":
        return f"given up {_ago(item.ended_at or item.created_at)} ago"
    if item.state != "pending":
        return ""
    if item.waits_for is not None:
        return "after an earlier one"
    if item.quiet_until is not None:
        return f"held for {_left(item.quiet_until)}"
    return "now" if item.next_attempt is None else _until(item.next_attempt)


def _cell(text: str | None, length: int) -> Text:
    return Text(one_line(text or "", length))


def _ago(time: datetime, suffix: str = "") -> str:
    return spell_duration(utc_now() - time) + suffix


def _left(time: datetime) -> str:
    return spell_duration(time - utc_now())


def _until(time: datetime) -> str:
    left = time - utc_now()
    return f"in {spell_duration(left)}" if left.total_seconds() >= 1 else "now"
