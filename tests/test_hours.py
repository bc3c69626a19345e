from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from notifier.hours import NEVER_QUIET, QuietHours, QuietNow
from notifier.quiet import QuietSettings
from tests.records import delivery

NIGHT = QuietSettings.model_validate({"from": "22:00", "to": "07:00", "except": ["backfill.failed"]})
MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
MORNING = MIDNIGHT + timedelta(hours=7)
HOUR = timedelta(hours=1)


def test_a_target_may_have_none() -> None:
    hours = QuietHours(None)
    assert hours.until(MIDNIGHT) is None
    assert hours.look_after(MIDNIGHT) is None
    assert not hours.excepts_any
    assert not hours.excepts("backfill.failed")
    assert not hours.held(replace(delivery("a"), created_at=MIDNIGHT))
    assert hours.within(MIDNIGHT, NOON, pauses=[]) == timedelta(0)
    assert hours.news(None, lambda: 3) is None


def test_it_says_until_when_it_is_quiet_and_what_goes_all_the_same() -> None:
    hours = QuietHours(NIGHT)
    assert (hours.until(MIDNIGHT), hours.until(NOON)) == (MORNING, None)
    assert hours.excepts_any
    assert hours.excepts("backfill.failed")
    assert not hours.excepts("backfill.completed")


def test_it_looks_again_each_minute_and_at_the_end() -> None:
    hours = QuietHours(NIGHT)
    assert hours.look_after(MIDNIGHT) == timedelta(minutes=1)
    assert hours.look_after(MORNING - timedelta(seconds=20)) == timedelta(seconds=20)
    assert hours.look_after(MORNING) is None


@pytest.mark.parametrize(
    ("fields", "was_held"),
    [
        ({"created_at": MIDNIGHT}, True),
        ({"created_at": NOON}, False),
        ({"created_at": MIDNIGHT, "attempts": 1}, False),
        ({"created_at": MIDNIGHT, "replay": True}, False),
    ],
)
def test_what_was_made_when_it_was_quiet_and_never_attempted_was_held(
    fields: dict[str, object], was_held: bool
) -> None:
    assert QuietHours(NIGHT).held(replace(delivery("a"), **fields)) == was_held


def test_pauses_are_not_counted_among_what_was_quiet() -> None:
    hours = QuietHours(NIGHT)
    assert hours.within(MIDNIGHT, NOON, pauses=[]) == 7 * HOUR
    pauses = [(MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR), (MORNING - HOUR, MORNING + HOUR)]
    assert hours.within(MIDNIGHT, NOON, pauses=pauses) == 5 * HOUR


def test_it_is_told_once_that_it_is_quiet_and_once_that_it_is_over() -> None:
    hours = QuietHours(NIGHT)
    assert hours.news(None, lambda: 0) is None
    assert hours.news(MORNING, lambda: 0) is None
    assert hours.news(MORNING, lambda: 1) == "quiet until Sun 07:00 UTC, 1 delivery is held"
    assert hours.news(MORNING, lambda: 2) is None
    assert hours.news(None, lambda: 2) == "no longer quiet, 2 deliveries were held"
    assert hours.news(None, lambda: 0) is None
    assert hours.news(MORNING, lambda: 2) is not None
    assert hours.news(None, lambda: 0) == "no longer quiet, 0 deliveries were held"


def test_of_all_targets_it_is_known_which_are_quiet_at_a_time() -> None:
    quiet = QuietNow(hours={"ops": NIGHT}, now=MIDNIGHT)
    assert (quiet.until("ops"), quiet.until("data")) == (MORNING, None)
    assert QuietNow(hours={"ops": NIGHT}, now=NOON).until("ops") is None
    assert NEVER_QUIET.until("ops") is None


@pytest.mark.parametrize(
    ("fields", "type_", "until"),
    [
        ({}, "backfill.staging", MORNING),
        ({"attempts": 3}, "backfill.staging", MORNING),
        ({}, "backfill.failed", None),
        ({"replay": True}, "backfill.staging", None),
        ({"state": "delivered"}, "backfill.staging", None),
        ({"target": "data"}, "backfill.staging", None),
    ],
)
def test_a_delivery_is_held_until_its_target_is_quiet_no_longer(
    fields: dict[str, object], type_: str, until: datetime | None
) -> None:
    pending = replace(delivery("a", state="pending"), **fields)
    assert QuietNow(hours={"ops": NIGHT}, now=MIDNIGHT).holds(pending, type_) == until
    assert QuietNow(hours={"ops": NIGHT}, now=NOON).holds(pending, type_) is None
