"""What nobody would hear of, for tables of routes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import ALL_TYPES, JOB_TYPES, OTHER_TYPES
from notifier.route import RouteSettings, Subject, judge, route
from notifier.settings import Settings
from notifier.silence import unheard

STATUSES = "backfill.staging, backfill.transporting, backfill.completed, backfill.failed, backfill.cancelled"
OTHER_JOB = "backfill.stalled, backfill.resumed, backfill.removed"
OTHER = "source.down, source.up, target.down, target.up, delivery.dead"
ONLY_JOBS = "never matches: tables, names and destinations match events of jobs only"


def settings(
    routes: list[dict[str, Any]],
    *,
    sources: tuple[str, ...] = ("allium",),
    targets: tuple[str, ...] = ("data-team", "ops"),
) -> Settings:
    return Settings.model_validate(
        {
            "sources": [{"name": name, "api_key": "k"} for name in sources],
            "targets": {name: {"type": "webhook", "url": "https://h/"} for name in targets},
            "routes": [{"to": list(targets)} | keys for keys in routes],
        }
    )


def silent(types: str, source: str = "allium") -> str:
    return f"no route leads anywhere for {types} of source {source}: nobody hears of it"


def partial(types: str, source: str = "allium") -> str:
    return (
        f"{types} of source {source} is heard of only for jobs that match the tables, names or "
        "destinations of a route"
    )


@pytest.mark.parametrize(
    ("routes", "lines"),
    [
        # everything is heard of
        ([{}], []),
        ([{"events": ["*"]}], []),
        ([{"events": ["backfill.*"]}, {"events": ["source.*", "target.*", "delivery.*"]}], []),
        ([{"sources": ["Allium"]}], []),
        ([{"tables": ["base.*"]}, {}], []),
        ([{"events": ["BACKFILL.*", "*.down", "*.up", "delivery.dead"]}], []),
        # events that nobody hears of; progress is not missed
        ([{"events": ["backfill.*"]}], [silent(OTHER)]),
        ([{"events": ["source.*", "target.*", "delivery.*"]}], [silent(f"{STATUSES}, {OTHER_JOB}")]),
        (
            [{"events": ["backfill.failed"]}],
            [silent(f"{STATUSES.replace('backfill.failed, ', '')}, {OTHER_JOB}, {OTHER}")],
        ),
        ([{"events": ["backfill.progress"]}], [silent(f"{STATUSES}, {OTHER_JOB}, {OTHER}")]),
        ([{"tables": ["base.*"]}], [silent(OTHER), partial(f"{STATUSES}, {OTHER_JOB}")]),
        (
            [{"names": ["*"]}, {"destinations": ["kafka"]}],
            [silent(OTHER), partial(f"{STATUSES}, {OTHER_JOB}")],
        ),
        (
            [{"events": ["backfill.failed"], "tables": ["x"]}, {"events": ["[!b]*", "backfill.[!f]*"]}],
            [partial("backfill.failed")],
        ),
        ([{}, {"events": ["backfill.stalled"], "names": ["x"]}], []),
        # targets to which nothing leads
        ([{"to": ["ops"]}], ["no route leads to data-team: it would hear of nothing"]),
        ([{"to": ["ops"]}, {"to": ["data-team"], "names": ["x"]}], []),
        # patterns that match nothing
        (
            [{}, {"sources": ["alium"]}],
            ['routes[1].sources: "alium" matches no source; did you mean "allium"?'],
        ),
        ([{}, {"sources": ["x*", "allium"]}], ['routes[1].sources: "x*" matches no source']),
        (
            [{}, {"events": ["failed", "Backfill.Stall"]}],
            [
                'routes[1].events: "failed" matches no known type of event',
                'routes[1].events: "Backfill.Stall" matches no known type of event; did you mean "backfill.stalled"?',
            ],
        ),
        ([{}, {"events": ["backfil.*"]}], ['routes[1].events: "backfil.*" matches no known type of event']),
        (
            [{}, {"events": ["backfill.paused"], "tables": ["x"]}],
            [
                'routes[1].events: "backfill.paused" matches no known type of event; did you mean "backfill.failed"?'
            ],
        ),
        ([{}, {"events": ["source.*"], "tables": ["x"]}], [f"routes[1] {ONLY_JOBS}"]),
        ([{}, {"events": ["source.*", "target.up"], "names": ["x"]}], [f"routes[1] {ONLY_JOBS}"]),
        ([{}, {"events": ["source.*", "*.failed"], "destinations": ["x"]}], []),
        ([{}, {"events": ["*"], "destinations": ["x"]}], []),
        (
            [{}, {"sources": ["x"], "tables": ["y"]}],
            ['routes[1].sources: "x" matches no source'],
        ),
    ],
)
def test_what_nobody_would_hear_of_is_told(routes: list[dict[str, Any]], lines: list[str]) -> None:
    assert list(unheard(settings(routes))) == lines


def test_each_source_is_looked_at_by_itself() -> None:
    routes: list[dict[str, Any]] = [
        {"sources": ["prod*"], "events": ["backfill.*"]},
        {"events": ["source.*"]},
    ]
    rest = OTHER.removeprefix("source.down, source.up, ")
    lines = list(unheard(settings(routes, sources=("prod-eu", "staging"))))
    assert lines == [
        silent(rest, "prod-eu"),
        silent(f"{STATUSES}, {OTHER_JOB}, {rest}", "staging"),
    ]


def test_sources_that_miss_the_same_share_a_line() -> None:
    made = settings([{"events": ["backfill.*"]}], sources=("eu", "us"))
    assert list(unheard(made)) == [
        f"no route leads anywhere for {OTHER} of sources eu and us: nobody hears of it"
    ]


@given(
    st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=3, unique=True),
    st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=3, unique=True),
)
def test_without_routes_nothing_is_unheard(sources: list[str], targets: list[str]) -> None:
    assert list(unheard(settings([], sources=tuple(sources), targets=tuple(targets)))) == []


GLOBS = st.lists(
    st.sampled_from([*ALL_TYPES, "*", "backfill.*", "source.*", "*.up", "x"]), min_size=1, max_size=3
)
ROUTES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "events": GLOBS,
            "sources": st.just(["allium"]) | st.just(["other"]),
            "tables": st.just(["base.*"]),
            "to": st.just(["ops"]),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(ROUTES, st.sampled_from(ALL_TYPES))
def test_a_type_is_told_exactly_when_no_event_of_it_can_reach_a_target(
    routes: list[dict[str, Any]], type_: str
) -> None:
    made = settings(routes)
    # A job for which every pattern of the routes above matches: if even it is not heard of, no other is.
    job: dict[str, Any] = (
        {"tables": ("base.logs",), "names": (), "destinations": ()} if type_ in JOB_TYPES else {}
    )
    heard = route(Subject(type=type_, source="allium", **job), made.routes, tuple(made.targets))
    first = next(iter(unheard(made)), "")
    told = first.startswith("no route leads anywhere") and type_ in first
    assert told == (not heard and type_ != "backfill.progress")


@given(ROUTES)
def test_a_route_that_is_said_never_to_match_does_not(routes: list[dict[str, Any]]) -> None:
    made = settings(routes)
    lines = list(unheard(made))
    for number, each in enumerate(made.routes):
        if f"routes[{number}] {ONLY_JOBS}" in lines:
            assert not any(may_match(type_, each) for type_ in (*JOB_TYPES, *OTHER_TYPES))


def may_match(type_: str, each: RouteSettings) -> bool:
    return judge(Subject(type=type_, source="allium"), each).match != "no"
