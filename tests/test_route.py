from datetime import UTC, datetime

import pytest

from notifier.model import Event
from notifier.route import route


def _event(type_: str) -> Event:
    return Event(
        id="evt_1",
        seq=1,
        type=type_,
        status="transporting",
        previous_status=None,
        observed_at=datetime(2026, 1, 31, tzinfo=UTC),
        summary="",
    )


@pytest.mark.parametrize("targets", [(), ("ops",), ("ops", "data-team", "audit")])
@pytest.mark.parametrize(
    "type_",
    [
        "backfill.staging",
        "backfill.failed",
        "backfill.stalled",
        "backfill.status_progress",
        "backfill.unheard_of",
    ],
)
def test_without_routes_an_event_goes_to_every_target(type_: str, targets: tuple[str, ...]) -> None:
    assert route(_event(type_), targets) == targets


def test_without_routes_progress_goes_nowhere() -> None:
    assert route(_event("backfill.progress"), ["ops"]) == ()


def test_targets_keep_the_order_of_the_config() -> None:
    assert route(_event("backfill.failed"), {"z": 1, "a": 2, "m": 3}) == ("z", "a", "m")
