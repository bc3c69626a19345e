"""`explain`: which routes match an event, which targets get it, and why."""

from pathlib import Path

import pytest

from notifier.model import ALL_TYPES
from tests.commands import KEY, invoke

HEAD = f"""
[[sources]]
api_key = "{KEY}"
[targets.ops]
type = "webhook"
url = "https://ops.example.com/path-that-is-secret"
[targets.data]
type = "webhook"
url = "https://data.example.com/path-that-is-secret"
"""
TWO_SOURCES = HEAD + f'[[sources]]\nname = "test"\napi_key = "{KEY}-2"\n'


def explained(routes: str, *arguments: str, head: str = HEAD) -> list[str]:
    """Return the lines about an event."""
    Path("notifier.toml").write_text(head + routes)
    result = invoke("explain", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("type_", "targets"),
    [
        ("backfill.failed", "ops, data"),
        ("source.down", "ops, data"),
        ("backfill.progress", "none: nobody would hear of it"),
    ],
)
def test_without_routes_every_target_gets_every_event_but_progress(type_: str, targets: str) -> None:
    assert explained("", type_) == [
        f"{type_} of source allium",
        "  there are no routes: every event but backfill.progress goes to every target",
        f"targets  {targets}",
    ]


def route(keys: str, to: str = "ops") -> str:
    return f'[[routes]]\n{keys}\nto = ["{to}"]\n'


@pytest.mark.parametrize(
    ("keys", "arguments", "reason"),
    [
        ("", ["backfill.failed"], "it matches every event but backfill.progress"),
        (
            'events = ["source.*", "backfill.f*"]',
            ["backfill.failed"],
            'events "backfill.f*" matches "backfill.failed"',
        ),
        ('sources = ["ALL*"]', ["source.down"], 'sources "ALL*" matches "allium"'),
        (
            'tables = ["base.*"]',
            ["backfill.failed", "--table", "base.raw.logs"],
            'tables "base.*" matches "base.raw.logs"',
        ),
        ('names = ["*usdc*"]', ["backfill.failed", "--name", "My USDC"], 'names "*usdc*" matches "My USDC"'),
        (
            'destinations = ["kafka"]',
            ["backfill.failed", "--destination", "lake", "--destination", "Kafka"],
            'destinations "kafka" matches "Kafka"',
        ),
        (
            'events = ["backfill.failed"]\ntables = ["*"]',
            ["backfill.failed", "--table", "t"],
            'events "backfill.failed" matches "backfill.failed"; tables "*" matches "t"',
        ),
    ],
)
def test_a_route_that_matches_says_what_does(keys: str, arguments: list[str], reason: str) -> None:
    assert explained(route(keys), *arguments) == [
        f"{arguments[0]} of source allium",
        f"  routes[0] matches: {reason} → ops",
        "targets  ops",
    ]


@pytest.mark.parametrize(
    ("keys", "arguments", "reason"),
    [
        ("", ["backfill.progress"], "a route without the key events leaves backfill.progress out"),
        (
            'events = ["source.*", "target.up"]',
            ["backfill.failed"],
            'events "source.*" or "target.up" does not match "backfill.failed"',
        ),
        ('sources = ["prod"]', ["source.down"], 'sources "prod" does not match "allium"'),
        ('tables = ["base.*"]', ["source.down"], "the key tables matches events of jobs only"),
        (
            'names = ["a"]\ndestinations = ["b"]',
            ["target.up"],
            "the key names matches events of jobs only; the key destinations matches events of jobs only",
        ),
        (
            'tables = ["base.*"]',
            ["backfill.failed", "--table", "eth.raw.logs"],
            'tables "base.*" does not match "eth.raw.logs"',
        ),
        (
            'destinations = ["kafka"]',
            ["backfill.failed", "--destination", "lake", "--destination", "webhook"],
            'destinations "kafka" does not match "lake" or "webhook"',
        ),
        (
            'tables = ["base.*"]\nnames = ["x"]',
            ["backfill.failed", "--table", "eth"],
            'tables "base.*" does not match "eth"',
        ),
    ],
)
def test_a_route_that_does_not_match_says_what_does_not(keys: str, arguments: list[str], reason: str) -> None:
    assert explained(route(keys), *arguments) == [
        f"{arguments[0]} of source allium",
        f"  routes[0] does not match: {reason}",
        "targets  none: nobody would hear of it",
    ]


def test_a_route_that_may_match_says_what_would_have_to() -> None:
    routes = route('events = ["backfill.*"]\ntables = ["base.*", "eth.*"]\nnames = ["x"]')
    assert explained(routes, "backfill.failed", "--name", "x") == [
        "backfill.failed of source allium",
        '  routes[0] may match: tables would have to match "base.*" or "eth.*" → ops',
        "targets  none",
        "maybe    ops: depends on the job; say its --table, --name or --destination",
    ]


def test_a_target_that_gets_it_for_certain_is_not_one_that_may() -> None:
    routes = route('tables = ["base.*"]') + route("", "ops") + route('names = ["x"]', "data")
    assert explained(routes, "backfill.failed") == [
        "backfill.failed of source allium",
        '  routes[0] may match: tables would have to match "base.*" → ops',
        "  routes[1] matches: it matches every event but backfill.progress → ops",
        '  routes[2] may match: names would have to match "x" → data',
        "targets  ops",
        "maybe    data: depends on the job; say its --table, --name or --destination",
    ]


def test_targets_are_named_once_in_the_order_of_the_config() -> None:
    routes = '[[routes]]\nto = ["data", "ops"]\n' + route("", "data")
    lines = explained(routes, "backfill.failed")
    assert lines[1].endswith(" → data, ops")
    assert lines[-1] == "targets  ops, data"


@pytest.mark.parametrize("type_", ["target.down", "target.up", "delivery.dead"])
@pytest.mark.parametrize(
    ("routes", "last"),
    [
        ("", ["targets  ops, data", "         (never the target that it is about)"]),
        (route(""), ["targets  ops", "         (never the target that it is about)"]),
        (route('events = ["source.*"]'), ["targets  none: nobody would hear of it"]),
    ],
)
def test_what_is_about_a_target_never_goes_to_it(type_: str, routes: str, last: list[str]) -> None:
    assert explained(routes, type_)[2:] == last


def test_each_source_is_explained_unless_one_is_named() -> None:
    routes = route('sources = ["test"]')
    lines = explained(routes, "source.down", head=TWO_SOURCES)
    assert [line for line in lines if not line.startswith(" ")] == [
        "source.down of source allium",
        "targets  none: nobody would hear of it",
        "source.down of source test",
        "targets  ops",
    ]
    assert explained(routes, "source.down", "--source", "test", head=TWO_SOURCES) == lines[3:]


@pytest.mark.parametrize("type_", [*ALL_TYPES, "backfill.status_progress"])
def test_every_type_is_explained(type_: str) -> None:
    Path("notifier.toml").write_text(HEAD)
    result = invoke("explain", type_)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{type_} of source allium\n")
    assert (result.stderr == "") == (type_ in ALL_TYPES)


@pytest.mark.parametrize(
    ("type_", "hint"),
    [("backfill.faild", '; did you mean "backfill.failed"?'), ("backfill.zzzzzzzz", "")],
)
def test_a_type_of_a_status_nobody_knows_yet_is_explained_with_a_hint(type_: str, hint: str) -> None:
    Path("notifier.toml").write_text(HEAD)
    result = invoke("explain", type_)
    assert result.exit_code == 0
    assert result.stdout.endswith("targets  ops, data\n")
    assert result.stderr == f'notifier: "{type_}" is of a status that nobody knows yet{hint}\n'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["backfil.failed"],
            'there is no type of event "backfil.failed"; did you mean "backfill.failed"?',
        ),
        (["SOURCE.DOWN"], 'there is no type of event "SOURCE.DOWN"; did you mean "source.down"?'),
        (["backfill."], 'there is no type of event "backfill."'),
        (["x"], 'there is no type of event "x"; there is backfill.staging, backfill.transporting, '),
        (
            ["source.up", "--source", "alium"],
            'there is no source "alium"; did you mean "allium"?',
        ),
        (["source.up", "--source", "x"], 'there is no source "x"; there is allium'),
        (["source.up", "--source", ""], 'there is no source ""; there is allium'),
    ],
)
def test_an_unknown_type_or_source_exits_with_2(arguments: list[str], told: str) -> None:
    Path("notifier.toml").write_text(HEAD)
    result = invoke("explain", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"notifier: {told}")


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["source.up", "--table"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    Path("notifier.toml").write_text(HEAD)
    assert invoke("explain", *arguments).exit_code == 2


def test_what_is_said_of_a_job_is_shown_on_one_line() -> None:
    lines = explained(route('names = ["a"]'), "backfill.failed", "--name", "\x1b[31m\nb\u202e")
    assert lines[1] == '  routes[0] does not match: names "a" does not match "[31m b"'
