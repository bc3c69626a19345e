"""Keys that do not go together: names used twice, references to nothing, kinds of target."""

from typing import Any

import pytest

from notifier.coherence import check_coherence
from tests.configs import SOURCE, TARGET, TOKEN, WHSEC, load, problems

TWO = TARGET + f'[targets.data-team]\ntype = "slack"\ntoken = "{TOKEN}"\nchannel = "#x"\n'
UNSET = "the environment variable NO is not set"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (SOURCE + SOURCE, "sources[1].name", '"allium" is also the name of sources[0]; names are unique'),
        (
            SOURCE + 'name = "a"\n' + SOURCE + SOURCE + 'name = "a"\n',
            "sources[2].name",
            '"a" is also the name of sources[0]; names are unique',
        ),
        (
            SOURCE + SOURCE + 'name = "allium"\n',
            "sources[1].name",
            '"allium" is also the name of sources[0]; names are unique',
        ),
    ],
)
def test_the_names_of_sources_are_unique(text: str, where: str, message: str) -> None:
    assert problems(text) == [(where, message)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("", 'is missing; set "slack" or "webhook"'),
        ("type = 1", "must be a string in quotes"),
        ('type = ["slack"]', "must be a string in quotes"),
        ('type = { slack = "x" }', "must be a string in quotes"),
        ('type = "email"', '"email" is no kind of target; use "slack" or "webhook"'),
        ('type = "Slack"', '"Slack" is no kind of target; use "slack" or "webhook"'),
        ('type = "ms-teams"', '"ms-teams" is no kind of target; use "slack" or "webhook"'),
        ('type = ""', 'is no kind of target; use "slack" or "webhook"'),
        (f'type = "{TOKEN}"', 'is no kind of target; use "slack" or "webhook"'),
        ('type = "apprise"', '"apprise" is not available yet; "slack" and "webhook" are'),
        ('type = "${NO}"', UNSET),
    ],
)
def test_a_target_of_no_known_kind_is_one_problem(kind: str, message: str) -> None:
    text = SOURCE + f'[targets.team]\ntoken = 1\nurl = "x"\ntoken_file = "missing"\nquux = true\n{kind}'
    assert problems(text) == [("targets.team.type", message)]


@pytest.mark.parametrize(
    ("keys", "where", "message"),
    [
        ('to = ["op"]', ".to[0]", 'there is no target "op"; did you mean "ops"?'),
        ('to = ["OPS"]', ".to[0]", 'there is no target "OPS"; did you mean "ops"?'),
        ('to = ["ops", "data_team"]', ".to[1]", 'there is no target "data_team"; did you mean "data-team"?'),
        ('to = ["audit"]', ".to[0]", 'there is no target "audit"'),
        ('to = ["*"]', ".to[0]", 'there is no target "*"'),
        ('to = [""]', ".to[0]", 'there is no target ""'),
        ('to = ["${NO}"]', ".to[0]", UNSET),
        ('to = "${NO}"', ".to", UNSET),
        ('to = ["ops", 1]', ".to[1]", "must be a string in quotes"),
        ("to = []", ".to", "must name at least one"),
        ('to = "ops"', ".to", "must be a list in brackets"),
        ("to = { ops = true }", ".to", "must be a list in brackets"),
        ("", ".to", "is missing; name at least one target"),
        ('to = ["ops"]\nevents = []', ".events", "must name at least one"),
        ('to = ["ops"]\nevents = "backfill.failed"', ".events", "must be a list in brackets"),
        ('to = ["ops"]\nevents = [""]', ".events[0]", "is empty"),
        ('to = ["ops"]\nevents = ["backfill.failed", " "]', ".events[1]", "is empty"),
        ('to = ["ops"]\nevents = ["${NO}"]', ".events[0]", UNSET),
        ('to = ["ops"]\nevents = [1]', ".events[0]", "must be a string in quotes"),
        ('to = ["ops"]\nsources = "allium"', ".sources", "must be a list in brackets"),
        ('to = ["ops"]\ntables = []', ".tables", "must name at least one"),
        ('to = ["ops"]\nnames = [""]', ".names[0]", "is empty"),
        ('to = ["ops"]\ndestinations = [[]]', ".destinations[0]", "must be a string in quotes"),
        ('to = ["ops"]\nevent = ["x"]', ".event", 'unknown key; did you mean "events"?'),
        ('to = ["ops"]\nsource = "allium"', ".source", 'unknown key; did you mean "sources"?'),
        ('to = ["ops"]\nTables = ["x"]', ".Tables", 'unknown key; did you mean "tables"?'),
        ('to = ["ops"]\ndestination = ["x"]', ".destination", 'unknown key; did you mean "destinations"?'),
        ('to = ["ops"]\ntargets = ["ops"]', ".targets", 'unknown key; did you mean "to"?'),
        ('to = ["ops"]\ntarget = "ops"', ".target", 'unknown key; did you mean "to"?'),
        ('to = ["ops"]\nquux = 1', ".quux", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_route_is_told_with_its_place(keys: str, where: str, message: str) -> None:
    assert problems(TWO + f"[[routes]]\n{keys}") == [(f"routes[0]{where}", message)]


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("routes = {}\n" + TWO, "routes", "must be written [[routes]], in two brackets"),
        ('routes = "ops"\n' + TWO, "routes", "must be written [[routes]], in two brackets"),
        (TWO + '[routes]\nto = ["ops"]', "routes", "must be written [[routes]], in two brackets"),
        ("routes = [1]\n" + TWO, "routes[0]", "must be a table"),
        ("routes = [[]]\n" + TWO, "routes[0]", "must be a table"),
        (TWO + '[[route]]\nto = ["ops"]', "route", 'unknown key; did you mean "routes"?'),
        (SOURCE + '[[routes]]\nto = ["ops"]', "routes[0].to[0]", 'there is no target "ops"'),
        (
            "targets = 1\n" + SOURCE + '[[routes]]\nto = ["ops"]',
            "targets",
            "must be a table, written [targets.NAME] in single brackets",
        ),
    ],
)
def test_routes_are_tables_in_a_list_and_lead_to_targets(text: str, where: str, message: str) -> None:
    assert problems(text) == [(where, message)]


def test_the_problems_of_several_routes_are_told_at_once() -> None:
    text = TWO + '[[routes]]\n[[routes]]\nto = ["opps"]\nevents = []\n[[routes]]\nto = ["ops", "x"]\nzz = 1\n'
    assert sorted(problems(text)) == [
        ("routes[0].to", "is missing; name at least one target"),
        ("routes[1].events", "must name at least one"),
        ("routes[1].to[0]", 'there is no target "opps"; did you mean "ops"?'),
        ("routes[2].to[1]", 'there is no target "x"'),
        ("routes[2].zz", "unknown key"),
    ]


def test_a_route_to_a_target_that_is_wrong_itself_is_no_second_problem() -> None:
    text = SOURCE + '[targets.ops]\ntype = "webhook"\n[[routes]]\nto = ["ops"]'
    assert problems(text) == [("targets.ops.url", "is missing; set url or url_file")]


def test_routes_can_name_targets_by_variables_and_twice() -> None:
    config = load(TWO + '[[routes]]\nto = ["${TARGET}", "ops", "data-team"]', TARGET="ops")
    assert config.settings.routes[0].to == ["ops", "ops", "data-team"]


OF_SLACK = 'unknown key; it belongs to targets of type "slack"'


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (f'token = "{TOKEN}"\nchannel = "#x"', [("channel", OF_SLACK), ("token", OF_SLACK)]),
        ('mentions = {}\nstyle = "card"', [("mentions", OF_SLACK), ("style", OF_SLACK)]),
        ('token_file = "missing"', [("token_file", OF_SLACK)]),
        (f'webhook_url_file = "{WHSEC}"', [("webhook_url_file", OF_SLACK)]),
        (
            'heders = {}\nSecret = "x"',
            [
                ("Secret", 'unknown key; did you mean "secret"?'),
                ("heders", 'unknown key; did you mean "headers"?'),
            ],
        ),
    ],
)
def test_a_key_of_another_kind_of_target_is_told_as_one(keys: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(problems(TARGET + keys)) == [(f"targets.ops.{key}", message) for key, message in expected]


@pytest.mark.parametrize("odd", [None, 1, "x", [], [1], {}, {"a": 1}, [{"name": 1}], {"a": {"type": 1}}])
@pytest.mark.parametrize("key", ["sources", "targets", "routes"])
def test_a_config_of_any_shape_can_be_looked_at(key: str, odd: Any) -> None:
    check_coherence({key: odd, "routes": [{"to": ["x"]}]}, {}, [], set())
    check_coherence({"targets": {"a": {"type": "slack", "mentions": odd, "token": odd}}}, {}, [], set())
    check_coherence({"targets": {"a": {"type": "webhook", "url": odd}}}, {}, [], set())
