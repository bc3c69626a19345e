import re

import pytest

from notifier.model import ALL_TYPES
from notifier.targets.slack.look import look_of, rank_of, words_of

UNKNOWN = "backfill.paused"


def test_what_matters_most_comes_first() -> None:
    assert sorted([*ALL_TYPES, UNKNOWN], key=rank_of) == [
        "backfill.failed",
        "source.down",
        "target.down",
        "delivery.dead",
        "backfill.stalled",
        "backfill.removed",
        "backfill.cancelled",
        UNKNOWN,
        "source.up",
        "target.up",
        "backfill.resumed",
        "backfill.completed",
        "backfill.transporting",
        "backfill.staging",
        "backfill.progress",
    ]


@pytest.mark.parametrize("type_", ["backfill.", "", "backfill.status_removed", "failed", "source.odd"])
def test_what_nobody_knows_yet_has_one_place_and_one_look(type_: str) -> None:
    assert rank_of(type_) == rank_of(UNKNOWN)
    assert look_of(type_) == look_of(UNKNOWN)


@pytest.mark.parametrize("type_", ALL_TYPES)
def test_every_known_type_has_a_place_a_look_and_words_of_its_own(type_: str) -> None:
    others = [other for other in (*ALL_TYPES, UNKNOWN) if other != type_]
    assert rank_of(type_) not in map(rank_of, others)
    assert words_of(type_) not in map(words_of, others)
    assert look_of(type_).emoji != look_of(UNKNOWN).emoji


@pytest.mark.parametrize("type_", [*ALL_TYPES, UNKNOWN])
def test_a_colour_is_one_that_slack_takes(type_: str) -> None:
    assert re.fullmatch(r"#[0-9a-f]{6}", look_of(type_).colour)


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        ("backfill.failed", "failed"),
        ("backfill.progress", "progressed"),
        ("backfill.removed", "no longer listed"),
        ("source.down", "source down"),
        ("delivery.dead", "given up"),
        ("backfill.paused", "paused"),
        ("backfill.status_removed", "status_removed"),
        ("source.odd", "source.odd"),
    ],
)
def test_a_number_of_events_is_told_in_words(type_: str, words: str) -> None:
    assert words_of(type_) == words
