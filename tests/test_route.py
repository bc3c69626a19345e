"""Which targets get an event: tables of routes and events."""

from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.element import Destination, Details
from notifier.model import Event
from notifier.route import Match, RouteSettings, Subject, judge, route, subject_of

TARGETS = ("data-team", "ops", "audit")
JOB = {
    "type": "backfill.failed",
    "source": "allium",
    "tables": ("base.raw.logs",),
    "names": ("USDC transfers",),
    "destinations": ("base-usdc", "kafka"),
}


def subject(**changes: Any) -> Subject:
    return Subject(**(JOB | changes))


def routed(**keys: Any) -> RouteSettings:
    return RouteSettings.model_validate({"to": ["ops"]} | keys)


@pytest.mark.parametrize("targets", [(), ("ops",), TARGETS])
@pytest.mark.parametrize(
    "type_",
    [
        "backfill.staging",
        "backfill.stalled",
        "backfill.status_progress",
        "backfill.unheard_of",
        "source.down",
    ],
)
def test_without_routes_an_event_goes_to_every_target(type_: str, targets: tuple[str, ...]) -> None:
    assert route(subject(type=type_), [], targets) == targets


def test_without_routes_progress_goes_nowhere() -> None:
    assert route(subject(type="backfill.progress"), [], TARGETS) == ()


def test_targets_keep_the_order_of_the_config_and_come_once() -> None:
    routes = [routed(to=["audit", "ops"]), routed(to=["data-team", "ops"]), routed(to=["ops"])]
    assert route(subject(), routes, TARGETS) == TARGETS


def test_an_event_that_no_route_matches_goes_nowhere() -> None:
    assert route(subject(), [routed(events=["source.*"])], TARGETS) == ()


def test_an_event_about_a_target_is_never_told_to_it() -> None:
    down = Subject(type="target.down", source="allium", about="ops")
    assert route(down, [], TARGETS) == ("data-team", "audit")
    assert route(down, [routed(to=["ops", "audit"])], TARGETS) == ("audit",)


@pytest.mark.parametrize(
    ("keys", "changes", "match"),
    [
        ({}, {}, "yes"),
        ({}, {"type": "backfill.progress"}, "no"),
        ({"events": ["*"]}, {"type": "backfill.progress"}, "yes"),
        ({"events": ["backfill.progress"]}, {"type": "backfill.progress"}, "yes"),
        ({"events": ["backfill.failed"]}, {}, "yes"),
        ({"events": ["backfill.f*"]}, {}, "yes"),
        ({"events": ["Backfill.FAILED"]}, {}, "yes"),
        ({"events": ["backfill"]}, {}, "no"),
        ({"events": ["source.*", "backfill.failed"]}, {}, "yes"),
        ({"events": ["source.*"]}, {"type": "source.down"}, "yes"),
        ({"sources": ["Allium"]}, {}, "yes"),
        ({"sources": ["prod"]}, {}, "no"),
        ({"sources": ["allium"]}, {"type": "source.down"}, "yes"),
        ({"tables": ["base.*"]}, {}, "yes"),
        ({"tables": ["BASE.RAW.*"]}, {}, "yes"),
        ({"tables": ["base.*"]}, {"tables": ("BASE.RAW.LOGS",)}, "yes"),
        ({"tables": ["base"]}, {}, "no"),
        ({"tables": ["*"]}, {"tables": ()}, "no"),
        ({"tables": ["base.*"]}, {"tables": None}, "maybe"),
        ({"tables": ["base.*"]}, {"type": "source.down", "tables": None}, "no"),
        ({"names": ["usdc*"]}, {}, "yes"),
        ({"names": ["weth*"]}, {}, "no"),
        ({"destinations": ["kafka"]}, {}, "yes"),
        ({"destinations": ["BASE-*"]}, {}, "yes"),
        ({"destinations": ["sns"]}, {}, "no"),
        ({"tables": ["base.*"], "names": ["weth*"]}, {}, "no"),
        ({"tables": ["base.*"], "names": ["usdc*"]}, {"names": None}, "maybe"),
        ({"tables": ["eth.*"], "names": ["usdc*"]}, {"names": None}, "no"),
        ({"events": ["backfill.failed"], "tables": ["base.*"]}, {"type": "target.down"}, "no"),
    ],
)
def test_a_route_matches_when_all_of_its_keys_do(
    keys: dict[str, Any], changes: dict[str, Any], match: Match
) -> None:
    verdict = judge(subject(**changes), routed(**keys))
    assert verdict.match == match
    assert bool(route(subject(**changes), [routed(**keys)], TARGETS)) == (match == "yes")


@pytest.mark.parametrize(
    ("keys", "changes", "reasons"),
    [
        ({}, {}, ()),
        ({"events": ["x", "*.failed"]}, {}, ('events "*.failed" matches "backfill.failed"',)),
        (
            {"tables": ["eth.*", "sol.*"], "names": ["x"]},
            {"names": ()},
            (
                'tables "eth.*" or "sol.*" does not match "base.raw.logs"',
                'names "x" does not match a job without any',
            ),
        ),
        ({"tables": ["eth.*"]}, {"tables": None}, ('tables would have to match "eth.*"',)),
        ({"tables": ["*"]}, {"type": "source.up"}, ("the key tables matches events of jobs only",)),
        ({}, {"type": "backfill.progress"}, ("a route without the key events leaves backfill.progress out",)),
    ],
)
def test_a_verdict_says_why(keys: dict[str, Any], changes: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert judge(subject(**changes), routed(**keys)).reasons == reasons


def test_what_routes_look_at_comes_from_the_job() -> None:
    event = Event(
        id="evt_1",
        seq=1,
        type="backfill.failed",
        status="failed",
        previous_status=None,
        observed_at=datetime(2026, 1, 31, tzinfo=UTC),
        summary="",
    )
    details = Details(
        table="base.raw.logs",
        job_name="USDC transfers",
        destinations=(Destination(name="base-usdc", type="kafka"), Destination()),
    )
    assert subject_of(event, details, "allium") == subject()
    assert subject_of(event, Details(), "allium") == subject(tables=(), names=(), destinations=())
