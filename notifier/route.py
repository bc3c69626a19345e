"""Which targets get an event, and why: pure (contract, section 5)."""

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from pydantic import Field, WithJsonSchema

from notifier.element import Details
from notifier.fields import EventGlobs, Globs, Section
from notifier.glob import matches
from notifier.model import Event, is_job_event
from notifier.summary import one_line

_PROGRESS = "backfill.progress"


_TARGET_SCHEMA = WithJsonSchema({"type": "string", "title": "name", "minLength": 1})


class RouteSettings(Section):
    """Which events go to which targets. Every route that matches an event adds its targets, each once."""

    events: EventGlobs | None = None
    """Types of events, such as "backfill.failed" or "source.*"; without it all but "backfill.progress"."""
    sources: Globs | None = None
    """Names of sources; without it all."""
    tables: Globs | None = None
    """Tables of jobs, such as "base.*"; a route with this key matches events of jobs only."""
    names: Globs | None = None
    """Names of jobs; a route with this key matches events of jobs only."""
    destinations: Globs | None = None
    """Names or types of a job's destinations; a route with this key matches events of jobs only."""
    to: Annotated[list[Annotated[str, _TARGET_SCHEMA]], Field(min_length=1)]
    """The names of the targets that get what matches."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What routes look at in an event. None stands for what is not known, () for what a job does not have."""

    type: str
    source: str
    tables: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    destinations: tuple[str, ...] | None = None
    about: str | None = None
    """The target that an event is about: the event is never told to it."""


Match = Literal["yes", "no", "maybe"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one route makes of an event; `maybe` when that hangs on what is not known of the job."""

    match: Match
    reasons: tuple[str, ...]
    """For `no` what does not match, for `maybe` what would have to, for `yes` what does."""


def subject_of(event: Event, details: Details, source: str) -> Subject:
    """Return what routes look at in an event of a job with these details."""
    words = (word for each in details.destinations for word in (each.name, each.type) if word)
    return Subject(
        type=event.type,
        source=source,
        tables=() if details.table is None else (details.table,),
        names=() if details.job_name is None else (details.job_name,),
        destinations=tuple(words),
    )


def route(subject: Subject, routes: Sequence[RouteSettings], targets: Collection[str]) -> tuple[str, ...]:
    """Return the names of the targets an event goes to, each once, in the config's order.

    Without routes that is every target, for every event but progress.
    """
    if routes:
        matching = (each for each in routes if all(f.match == "yes" for f in _look(subject, each)))
        named = {name for each in matching for name in each.to}
    else:
        named = set() if subject.type == _PROGRESS else set(targets)
    return tuple(name for name in targets if name in named and name != subject.about)


def judge(subject: Subject, route: RouteSettings) -> Verdict:
    """Return whether a route matches an event, with the reasons."""
    findings = list(_look(subject, route))
    matches = {finding.match for finding in findings}
    match: Match = "no" if "no" in matches else "maybe" if "maybe" in matches else "yes"
    return Verdict(match=match, reasons=tuple(_words(f) for f in findings if f.match == match))


class _Finding(NamedTuple):
    match: Match
    key: str
    globs: Sequence[str]
    values: Sequence[str] | None


def _look(subject: Subject, route: RouteSettings) -> Iterator[_Finding]:
    if route.events is not None:
        yield _compare("events", route.events, (subject.type,))
    elif subject.type == _PROGRESS:
        yield _Finding("no", "events", (), ())
    if route.sources is not None:
        yield _compare("sources", route.sources, (subject.source,))
    for key, globs, values in (
        ("tables", route.tables, subject.tables),
        ("names", route.names, subject.names),
        ("destinations", route.destinations, subject.destinations),
    ):
        if globs is None:
            continue
        if is_job_event(subject.type):
            yield _compare(key, globs, values)
        else:
            yield _Finding("no", key, (), ())


def _compare(key: str, globs: Sequence[str], values: Sequence[str] | None) -> _Finding:
    if values is None:
        return _Finding("maybe", key, globs, values)
    for glob in globs:
        for value in values:
            if matches(glob, value):
                return _Finding("yes", key, (glob,), (value,))
    return _Finding("no", key, globs, values)


def _words(finding: _Finding) -> str:
    match, key, globs, values = finding
    wanted = " or ".join(map(_quoted, globs))
    if not globs:
        if key == "events":
            return f"a route without the key events leaves {_PROGRESS} out"
        return f"the key {key} matches events of jobs only"
    if match == "maybe":
        return f"{key} would have to match {wanted}"
    if match == "yes":
        return f"{key} {wanted} matches {_quoted((values or ('',))[0])}"
    return f"{key} {wanted} does not match " + (
        " or ".join(map(_quoted, values or ())) or "a job without any"
    )


def _quoted(text: str) -> str:
    return f'"{one_line(text, 200)}"'
