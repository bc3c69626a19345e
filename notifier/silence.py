"""What nobody would hear of: often intended, never to be overlooked. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from notifier.glob import matches
from notifier.model import ALL_TYPES, JOB_TYPES, OTHER_TYPES
from notifier.problem import did_you_mean
from notifier.route import Match, RouteSettings, Subject, judge
from notifier.settings import Settings


def unheard(settings: Settings) -> Iterator[str]:
    """Yield a line for each kind of event, target and pattern that the routes leave out."""
    if not settings.routes:
        return
    sources = [source.name for source in settings.sources]
    groups: defaultdict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for source in sources:
        groups[_left_out(source, settings.routes)].append(source)
    for (silent, partial), names in groups.items():
        which = f"source{'' if len(names) == 1 else 's'} {' and '.join(names)}"
        if silent:
            yield f"no route leads anywhere for {', '.join(silent)} of {which}: nobody hears of it"
        if partial:
            yield (
                f"{', '.join(partial)} of {which} is heard of only for jobs that match the tables, "
                "names or destinations of a route"
            )
    named = {name for route in settings.routes for name in route.to}
    for name in settings.targets:
        if name not in named:
            yield f"no route leads to {name}: it would hear of nothing"
    for number, route in enumerate(settings.routes):
        yield from _unmatched(f"routes[{number}]", route, sources)


def _unmatched(where: str, route: RouteSettings, sources: list[str]) -> Iterator[str]:
    for glob in route.sources or ():
        if not any(matches(glob, name) for name in sources):
            yield f'{where}.sources: "{glob}" matches no source' + _hint(glob, sources)
    for glob in route.events or ():
        if not any(matches(glob, type_) for type_ in ALL_TYPES):
            yield f'{where}.events: "{glob}" matches no known type of event' + _hint(glob, ALL_TYPES)
    only_jobs = any((route.tables, route.names, route.destinations))
    if only_jobs and route.events and all(_is_of_no_job(glob) for glob in route.events):
        yield f"{where} never matches: tables, names and destinations match events of jobs only"


def _is_of_no_job(glob: str) -> bool:
    return any(matches(glob, t) for t in OTHER_TYPES) and not any(matches(glob, t) for t in JOB_TYPES)


def _hint(glob: str, known: Iterable[str]) -> str:
    return "" if any(wild in glob for wild in "*?[") else did_you_mean(glob, known)


def _left_out(source: str, routes: list[RouteSettings]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the types of events nobody hears of, and those that are heard of for some jobs only."""
    types = [type_ for type_ in ALL_TYPES if type_ != "backfill.progress"]
    found = {type_: _matches(type_, source, routes) for type_ in types}
    silent = tuple(type_ for type_ in types if found[type_] == {"no"})
    return silent, tuple(type_ for type_ in types if type_ not in silent and "yes" not in found[type_])


def _matches(type_: str, source: str, routes: list[RouteSettings]) -> set[Match]:
    subject = Subject(type=type_, source=source)
    return {judge(subject, route).match for route in routes}
