"""What is wrong is told in words, at its place, once, whatever it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.config import load_config
from notifier.fields import Section
from notifier.problem import ConfigError, Problem, Where, did_you_mean, spell
from notifier.quiet import QuietSettings
from notifier.route import RouteSettings
from notifier.settings import DeliverySettings, LogSettings, Settings, StoreSettings, WebSettings
from notifier.source import SourceSettings
from notifier.targets.slack.settings import SlackSettings
from notifier.targets.webhook import WebhookSettings
from tests.configs import HOOK, SLACK, SLACK_HOOK, SOURCE, TARGET


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (("sources", 0, "poll_every"), "sources[0].poll_every"),
        (("targets", "data-team_1", "url"), "targets.data-team_1.url"),
        (("targets", "team", "mentions", "source.down"), 'targets.team.mentions."source.down"'),
        (("targets", "my ops"), 'targets."my ops"'),
        (("",), '""'),
        (('a"\n\x1b[2J',), r'"a\"\n\u001b[2J"'),
        (("größe",), '"größe"'),
        ((0, 1), "[0][1]"),
    ],
)
def test_a_key_path_is_spelled_as_the_file_would_write_it(where: Where, text: str) -> None:
    assert spell(where) == text


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("ops", '; did you mean "ops"?'),
        ("OPS", '; did you mean "ops"?'),
        ("data-team", '; did you mean "Data_Team"?'),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_a_near_miss_is_suggested_whatever_its_case(word: str, hint: str) -> None:
    assert did_you_mean(word, ["ops", "Data_Team"]) == hint
    assert did_you_mean(word, []) == ""


ODD = (
    *("1", "-1", "1.5", "true", "2026-01-31", "2026-01-31T10:30:00Z", "nan"),
    *('""', '" "', '"x y"', '"#"', '"*"', '"${NO}"', '"${"', '"{reason}"', r'"\u0000"', r'"a\nb"'),
    *("[]", "[1]", '[""]', '["${NO}"]', "[[]]", "[{}]", "{}", '{ "*" = 1 }'),
)
TABLES: dict[str, tuple[str, type[Section]]] = {
    "sources[0]": (SOURCE, SourceSettings),
    "targets.ops": (TARGET, WebhookSettings),
    "targets.team": (SLACK, SlackSettings),
    "targets.ops.quiet": (
        TARGET + '[targets.ops.quiet]\nfrom = "22:00"\nto = "07:00"\n',
        QuietSettings,
    ),
    "routes[0]": (TARGET + '[[routes]]\nto = ["ops"]\n', RouteSettings),
    "delivery": (SOURCE + "[delivery]\n", DeliverySettings),
    "store": (SOURCE + "[store]\n", StoreSettings),
    "web": (SOURCE + "[web]\n", WebSettings),
    "log": (SOURCE + "[log]\n", LogSettings),
}


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("table", TABLES)
def test_an_odd_value_of_a_key_is_at_most_one_problem_and_that_with_the_key(table: str, value: str) -> None:
    base, kind = TABLES[table]
    for key in (field.alias or name for name, field in kind.model_fields.items()):
        start, twin = base, key.removesuffix("_file")
        if key.startswith("webhook_url"):
            start = SLACK_HOOK
        text = "".join(line for line in start.splitlines(True) if line.split(" ")[0] not in (key, twin))
        found = told(f"{text}{key} = {value}\n")
        has_keys = key == "quiet" and value.startswith("{")  # each of which may be a problem
        assert len(found) <= 1 or has_keys or (table == "web" and "not available yet" in f"{found}"), (
            key,
            found,
        )
        assert all(where.startswith((f"{table}.{key}", f"{table}.{twin}")) for where, _ in found), (
            key,
            found,
        )


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("key", Settings.model_fields)
def test_an_odd_value_of_a_table_is_told_at_its_place(key: str, value: str) -> None:
    found = told(f"{key} = {value}\n" + ("" if key == "sources" else SOURCE))
    assert all(where.startswith(key) for where, _ in found)


def told(text: str) -> list[Problem]:
    Path("notifier.toml").write_text(text)
    try:
        load_config(None, {})
    except ConfigError as error:
        return error.problems
    return []


KEYS = sorted({key for _, kind in TABLES.values() for key in kind.model_fields} | {"allium", "", "\n"})
WORDS = st.sampled_from(
    ["slack", "webhook", "${NO}", "xoxb-1", "#x", HOOK, "backfill.failed", "ops", "{", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def toml(value: Any) -> str:
    """Return a value as TOML writes it in a line; None, which TOML does not have, as a date."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return "2026-01-31" if value is None else json.dumps(value)


@given(st.dictionaries(st.sampled_from(list(Settings.model_fields)), VALUES))
def test_whatever_a_file_says_it_is_read_or_its_problems_are_told(data: dict[str, Any]) -> None:
    told("".join(f"{key} = {toml(value)}\n" for key, value in data.items()))
