from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from notifier.element import Details
from notifier.rules import JobRules, RuleBook, Rules

_HOUR = timedelta(hours=1)
_BASE = Details(table="base.transfers", job_name="USDC daily")


def _jobs(**keys: Any) -> JobRules:
    return JobRules.model_validate(keys)


def test_a_job_has_the_rules_of_its_source_when_there_are_no_others() -> None:
    book = RuleBook(Rules(stalled_after=_HOUR))
    assert book.is_same_for_all
    assert book.of(_BASE) == book.of(Details()) == Rules(stalled_after=_HOUR)


@pytest.mark.parametrize(
    ("keys", "details", "is_for"),
    [
        ({}, Details(), True),
        ({"tables": ["base.*"]}, _BASE, True),
        ({"tables": ["BASE.T*"]}, _BASE, True),
        ({"tables": ["eth.*", "base.*"]}, _BASE, True),
        ({"tables": ["base"]}, _BASE, False),
        ({"tables": ["*"]}, Details(), False),
        ({"names": ["usdc*"]}, _BASE, True),
        ({"names": ["*"]}, Details(table="base.transfers"), False),
        ({"tables": ["base.*"], "names": ["usdc*"]}, _BASE, True),
        ({"tables": ["base.*"], "names": ["usdt*"]}, _BASE, False),
        ({"tables": ["eth.*"], "names": ["usdc*"]}, _BASE, False),
    ],
)
def test_what_is_otherwise_holds_for_jobs_that_match_all_that_is_named(
    keys: dict[str, Any], details: Details, is_for: bool
) -> None:
    book = RuleBook(Rules(), [_jobs(**keys, stalled_after="1h")])
    assert not book.is_same_for_all
    assert book.of(details) == (Rules(stalled_after=_HOUR) if is_for else Rules())


def test_of_each_key_the_first_table_that_matches_and_has_it_counts() -> None:
    book = RuleBook(
        Rules(remind_every=_HOUR),
        [
            _jobs(tables=["eth.*"], stalled_after="9h", milestones=[1]),
            _jobs(tables=["base.*"], stalled_after="0s"),
            _jobs(names=["usdc*"], stalled_after="2h", staging_stalled_after="3h", milestones=[]),
            _jobs(milestones=[50], remind_every="0s"),
        ],
    )
    assert book.of(_BASE) == Rules(
        stalled_after=timedelta(0),
        staging_stalled_after=3 * _HOUR,
        milestones=(),
        remind_every=timedelta(0),
    )
    assert book.of(Details()) == Rules(milestones=(50,), remind_every=timedelta(0))


@pytest.mark.parametrize("percent", [0, -1, 101, 2.5, "half", True])
def test_a_milestone_is_a_whole_percentage(percent: Any) -> None:
    with pytest.raises(ValidationError):
        _jobs(milestones=[50, percent])
    assert _jobs(milestones=[100, 1]).milestones == [100, 1]


@pytest.mark.parametrize(
    ("status", "patience"),
    [("staging", 6 * _HOUR), ("transporting", _HOUR / 2), ("paused", _HOUR / 2), ("Staging", _HOUR / 2)],
)
def test_staging_which_shows_no_progress_is_waited_for_longer(status: str, patience: timedelta) -> None:
    assert Rules().patience(status) == patience
