"""What a config means, in words for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from notifier.config import Config
from notifier.duration import format_duration
from notifier.fields import origin
from notifier.problem import os_words
from notifier.route import RouteSettings, Subject, judge, route
from notifier.rules import JobRules
from notifier.settings import Settings
from notifier.source import SourceSettings
from notifier.summary import counted


def explain_config(config: Config, warnings: int) -> str:
    """Return the lines that `notifier check` prints after so many warnings; they hold no secret."""
    verdict = f"valid, with {counted(warnings, 'warning')}" if warnings else "fine"
    return "".join(f"{line}\n" for line in (*_lines(config), "", f"The config is {verdict}."))


def explain_event(subject: Subject, settings: Settings) -> str:
    """Return the lines that `notifier explain` prints for an event of one source."""
    return "".join(f"{line}\n" for line in _event_lines(subject, settings))


def _event_lines(subject: Subject, settings: Settings) -> Iterator[str]:
    yield f"{subject.type} of source {subject.source}"
    if not settings.routes:
        yield "  there are no routes: every event but backfill.progress goes to every target"
    maybe: set[str] = set()
    for number, each in enumerate(settings.routes):
        verdict = judge(subject, each)
        words = {"yes": "matches", "no": "does not match", "maybe": "may match"}[verdict.match]
        reasons = "; ".join(verdict.reasons) or "it matches every event but backfill.progress"
        to = "" if verdict.match == "no" else f" → {', '.join(each.to)}"
        yield f"  routes[{number}] {words}: {reasons}{to}"
        maybe.update(each.to if verdict.match == "maybe" else ())
    certain = route(subject, settings.routes, settings.targets)
    yield from _heard(
        subject, certain, [name for name in settings.targets if name in maybe.difference(certain)]
    )


def _heard(subject: Subject, certain: Sequence[str], possible: Sequence[str]) -> Iterator[str]:
    yield f"targets  {', '.join(certain) or 'none' + ('' if possible else ': nobody would hear of it')}"
    if possible:
        yield f"maybe    {', '.join(possible)}: depends on the job; say its --table, --name or --destination"
    if certain and (subject.type.startswith("target.") or subject.type == "delivery.dead"):
        yield "         (never the target that it is about)"


def _lines(config: Config) -> Iterator[str]:
    settings = config.settings
    state = settings.store.path
    yield f"config   {config.origin}"
    yield f"state    {state}{_state(state)}"
    yield ""
    yield f"sources  {len(settings.sources)}"
    for source in settings.sources:
        yield f"  {source.name}: {_source(source)}"
        yield from (f"    {line}" for line in _watched(source))
    yield f"targets  {len(settings.targets)}"
    for name, target in settings.targets.items():
        yield f"  {name}: {target.shown}"
        if target.quiet is not None:
            yield f"    {target.quiet.shown}"
    yield from _routes(settings.routes)
    yield f"web      {settings.web.shown}"
    if settings.heartbeat.shown is not None:
        yield f"heartbeat  {settings.heartbeat.shown}"


def _state(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return " (new)"
    except OSError as error:
        return f" (cannot be looked at: {os_words(error)})"
    return ""


def _source(source: SourceSettings) -> str:
    return (
        f"{origin(source.base_url)}, every {format_duration(source.poll_every)}, "
        f"every {format_duration(source.poll_idle_every)} while no job is active; the first poll "
        + ("announces all jobs" if source.first_poll == "announce" else "is a baseline and announces nothing")
    )


def _watched(source: SourceSettings) -> Iterator[str]:
    """Yield what is told beside a job's status: of all jobs, and of those for which it is otherwise."""
    yield f"down after {format_duration(source.down_after)}; {_rules(source)}"
    for each in source.jobs:
        which = [
            f"{key} {' or '.join(globs)}"
            for key, globs in (("tables", each.tables), ("names", each.names))
            if globs
        ]
        yield f"{' and '.join(which) or 'all'}: {_rules(each) or 'nothing is otherwise'}"


def _rules(rules: SourceSettings | JobRules) -> str:
    parts = [
        f"{words}{format_duration(wait)}" if wait else f"{words.split(' after')[0].strip()} never"
        for words, wait in (
            ("stalled after ", rules.stalled_after),
            ("stalled while staging after ", rules.staging_stalled_after),
        )
        if wait is not None
    ]
    if rules.milestones is not None:
        shares = ", ".join(map(str, sorted(rules.milestones)))
        parts.append(f"progress at {shares} %" if shares else "no progress")
    if rules.remind_every:
        parts.append(f"reminders every {format_duration(rules.remind_every)}")
    return ", ".join(parts)


def _routes(routes: list[RouteSettings]) -> Iterator[str]:
    if not routes:
        yield "routes   none: every event but backfill.progress goes to every target"
        return
    yield f"routes   {len(routes)}"
    for number, each in enumerate(routes):
        events = ", ".join(each.events) if each.events else "every event but backfill.progress"
        only = "".join(
            f"; {key} {' or '.join(globs)}"
            for key, globs in (
                ("sources", each.sources),
                ("tables", each.tables),
                ("names", each.names),
                ("destinations", each.destinations),
            )
            if globs
        )
        yield f"  routes[{number}]: {events}{only} → {', '.join(each.to)}"
