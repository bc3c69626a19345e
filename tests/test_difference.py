"""What a changed config changes."""

from typing import Any

import pytest

from notifier.difference import Names, difference, followable, place_of
from notifier.settings import Settings
from notifier.spelling import spell_difference, spell_restart

ALLIUM = {"name": "allium", "api_key": "a"}
OPS = {"type": "webhook", "url": "https://ops.example.com/hook"}
TEAM = {"type": "slack", "token": "xoxb-1", "channel": "#x"}


def settings(**tables: Any) -> Settings:
    return Settings.model_validate({"sources": [ALLIUM]} | tables, strict=False)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {}, []),
        ({}, {"targets": {"ops": OPS}}, ["target ops added"]),
        ({"targets": {"ops": OPS}}, {}, ["target ops removed"]),
        ({"targets": {"ops": OPS}}, {"targets": {"ops": OPS | {"timeout": "1s"}}}, ["target ops changed"]),
        ({"targets": {"ops": OPS}}, {"targets": {"ops": TEAM}}, ["target ops changed"]),
        ({"targets": {"a": OPS, "b": OPS}}, {"targets": {"b": OPS, "a": OPS}}, []),
        ({}, {"sources": [ALLIUM, {"name": "b", "api_key": "b"}]}, ["source b added"]),
        ({}, {"sources": [{"name": "b", "api_key": "b"}]}, ["source b added", "source allium removed"]),
        ({}, {"sources": [ALLIUM | {"poll_every": "1m"}]}, ["source allium changed"]),
        # Those of one key share what keeps its limit.
        ({}, {"sources": [ALLIUM, ALLIUM | {"name": "b"}]}, ["source b added", "source allium changed"]),
        (
            {"targets": {"team": TEAM, "ops": OPS}},
            {"targets": {"team": TEAM, "ops": OPS}, "delivery": {"digest_over": 3}},
            ["target team changed", "[delivery] changed"],
        ),
        (
            {"targets": {"team": TEAM, "ops": OPS}},
            {"targets": {"team": TEAM, "ops": OPS}, "sources": [ALLIUM | {"job_link": "https://x/{job_id}"}]},
            ["source allium changed", "target team changed"],
        ),
        ({}, {"routes": [{"to": ["ops"]}], "log": {"level": "debug"}}, ["[routes] and [log] changed"]),
        # A source without a link is nothing to a target.
        (
            {"targets": {"team": TEAM}},
            {"targets": {"team": TEAM}, "sources": [ALLIUM, {"name": "b", "api_key": "b"}]},
            ["source b added"],
        ),
        ({}, {"heartbeat": {"url": "https://h/x"}}, ["[heartbeat] changed"]),
        ({}, {"store": {"keep": "1d"}}, []),
    ],
)
def test_what_is_another_is_found(old: dict[str, Any], new: dict[str, Any], words: list[str]) -> None:
    found = difference(settings(**old), settings(**new))
    assert list(spell_difference(found)) == words


def test_what_only_a_restart_can_follow_is_left_as_it_was() -> None:
    old = settings()
    new = settings(store={"keep": "1d"}, web={"listen": ""}, log={"level": "debug"})
    found = difference(old, new)
    assert found.restart_needed == ("store", "web")
    assert spell_restart(found) == "[store] and [web] changed, which is followed by a restart only"
    followed = followable(old, new)
    assert (followed.store, followed.web, followed.log) == (old.store, old.web, new.log)


def test_another_key_is_another_source() -> None:
    old, new = settings(), settings(sources=[ALLIUM | {"api_key": "b"}])
    assert difference(old, new).sources == Names(changed=("allium",))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (OPS, OPS | {"timeout": "1s"}, True),
        (OPS, OPS | {"url": "https://ops.example.com/other"}, False),
        (TEAM, TEAM | {"channel": "#y"}, True),
        (TEAM, TEAM | {"token": "xoxb-2"}, False),
        (TEAM, OPS, False),
    ],
)
def test_a_pause_is_of_a_place(old: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
    places = [place_of(settings(targets={"t": each}), "t") for each in (old, new)]
    assert (places[0] == places[1]) is expected
