from collections.abc import Mapping
from datetime import timedelta

import pytest

from notifier.model import Outage, SourceRecord
from notifier.overview import overview
from notifier.records import Records
from tests.records import NOW, at


def _of(
    listed: Mapping[str, tuple[int, int] | None],
    waiting: Mapping[str, int],
    dead: int = 0,
    **sources: SourceRecord,
) -> str:
    records = Records()
    records.put(sources, {}, dead=dead)
    return overview(records, listed=listed, waiting=waiting, now=NOW)


def _failing(seconds: float) -> Outage:
    return Outage(since=NOW - timedelta(seconds=seconds), reason="answered 503")


@pytest.mark.parametrize(
    ("listed", "waiting", "dead", "line"),
    [
        ({"a": (12, 3)}, {"ops": 2}, 0, "watching 12 jobs, 3 active; 2 deliveries pending, 0 dead"),
        (
            {"a": (10_000, 3), "b": (1, 0)},
            {"ops": 0, "team": 1},
            1234,
            "watching 10,001 jobs, 3 active; 1 delivery pending, 1,234 dead",
        ),
        ({"a": (1, 1), "b": None}, {}, 0, "watching 1 job, 1 active; 0 deliveries pending, 0 dead"),
        ({"a": None}, {"ops": 0}, 0, "no good poll yet; 0 deliveries pending, 0 dead"),
    ],
)
def test_it_counts_over_all_sources_and_targets(
    listed: dict[str, tuple[int, int] | None], waiting: dict[str, int], dead: int, line: str
) -> None:
    assert _of(listed, waiting, dead) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "fails"),
        (59, "fails"),
        (60, "has failed for 1m"),
        (61, "has failed for 1m"),
        (5 * 60 + 59, "has failed for 5m"),
        (3 * 3600 + 12 * 60 + 5, "has failed for 3h 12m"),
    ],
)
def test_it_says_what_fails_and_for_how_many_minutes(seconds: float, words: str) -> None:
    record = SourceRecord(id="s", outage=_failing(seconds), outages={"ops": _failing(3600)})
    assert _of({"allium": (1, 0)}, {"ops": 0}, allium=record).split("; ")[2:] == [
        f"source allium {words}",
        "target ops has failed for 1h",
    ]


def test_what_is_no_longer_configured_does_not_fail() -> None:
    gone = SourceRecord(id="s", baseline_at=at(0), outage=_failing(60))
    kept = SourceRecord(id="t", baseline_at=at(0), outages={"renamed": _failing(60)})
    line = _of({"kept": None}, {"ops": 0}, gone=gone, kept=kept)
    assert line == "no good poll yet; 0 deliveries pending, 0 dead"
