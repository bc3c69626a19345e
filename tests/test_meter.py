"""What is counted for Prometheus."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from notifier.meter import Meter
from notifier.model import ALL_TYPES, Attempt, AttemptOutcome, Delivery, DeliveryState, Event, PollReport
from tests.records import NOW, at, delivery
from tests.scrape import scrape_of


def event(type_: str = "backfill.staging", **fields: object) -> Event:
    known = Event(
        id="evt_1", seq=1, type=type_, status="x", previous_status=None, observed_at=NOW, summary="s"
    )
    return msgspec.structs.replace(known, **fields)


def made(
    outcome: AttemptOutcome, state: DeliveryState = "pending", *, target: str = "ops", took: float = 0
) -> tuple[Event, Delivery]:
    """Return a delivery after an attempt, and how many seconds after the event that ended."""
    ended_at = None if state == "pending" else NOW + timedelta(seconds=took)
    attempt = Attempt(at=NOW, outcome=outcome, duration_ms=1)
    return event(), delivery("1", state=state, target=target, history=(attempt,), ended_at=ended_at)


def test_every_series_of_what_is_configured_is_there_from_the_start() -> None:
    scrape = scrape_of(Meter(["a", "b"], ["ops"]))
    assert scrape.series("notifier_polls_total", "source", "outcome") == {
        (source, outcome): 0
        for source in ("a", "b")
        for outcome in ("good", "refused", "throttled", "failed")
    }
    assert scrape.series("notifier_events_total", "source", "type") == {
        (source, type_): 0 for source in ("a", "b") for type_ in ALL_TYPES
    }
    assert scrape.series("notifier_attempts_total", "target", "outcome") == {
        ("ops", outcome): 0 for outcome in ("delivered", "failed", "unknown", "refused")
    }
    assert scrape.series("notifier_deliveries_total", "target", "state") == {
        ("ops", state): 0 for state in ("pending", "delivered", "dead")
    }
    for name in (
        "poll_duration_seconds_count",
        "last_good_poll_timestamp_seconds",
        "rejected_elements_total",
    ):
        assert scrape.series(f"notifier_{name}") == {("a",): 0, ("b",): 0}
    assert scrape.series("notifier_delivery_latency_seconds_count") == {("ops",): 0}


def test_polls_are_counted_by_how_they_ended_and_timed_when_something_was_asked() -> None:
    meter = Meter(["a"])
    good = PollReport(last_poll=at(1), last_good_poll=at(1), took_seconds=0.3, rejected=2)
    meter.polled("a", good)
    meter.polled("a", good)
    for fault, took in (("refused", 70.0), ("throttled", None), ("failed", 0.05)):
        meter.polled("a", PollReport(last_good_poll=at(1), fault=fault, took_seconds=took, rejected=2))  # type: ignore[arg-type]
    scrape = scrape_of(meter)
    assert scrape.series("notifier_polls_total", "source", "outcome") == {
        ("a", "good"): 2,
        ("a", "refused"): 1,
        ("a", "throttled"): 1,
        ("a", "failed"): 1,
    }
    assert scrape("notifier_rejected_elements_total", source="a") == 4, "a failed poll skips nothing"
    assert scrape("notifier_last_good_poll_timestamp_seconds", source="a") == at(1).timestamp()
    bucket = "notifier_poll_duration_seconds_bucket"
    assert scrape("notifier_poll_duration_seconds_count", source="a") == 4
    assert scrape("notifier_poll_duration_seconds_sum", source="a") == pytest.approx(70.65)
    assert [scrape(bucket, source="a", le=le) for le in ("0.05", "0.25", "0.5", "60.0", "+Inf")] == [
        1,
        1,
        3,
        3,
        4,
    ]


def test_an_event_is_counted_once_and_a_delivery_for_each_of_its_targets() -> None:
    meter = Meter(["a"], ["ops", "team"])
    meter.observed(("a", "j"), event(), ["ops", "team"])
    meter.observed(("a", "j"), event(mute="mut_1"), [])
    meter.observed(("a", None), event("source.down"), ["ops"])
    meter.became("team", "pending")  # a replay
    scrape = scrape_of(meter)
    assert scrape("notifier_events_total", source="a", type="backfill.staging") == 2
    assert scrape("notifier_events_total", source="a", type="source.down") == 1
    assert scrape("notifier_deliveries_total", target="ops", state="pending") == 2
    assert scrape("notifier_deliveries_total", target="team", state="pending") == 2


def test_types_that_nobody_knows_are_counted_up_to_a_limit() -> None:
    meter = Meter(["a"])
    for number in range(50):
        meter.observed(("a", "j"), event(f"backfill.status-{number}"), [])
    counts = scrape_of(meter).series("notifier_events_total", "source", "type")
    assert len(counts) == len(ALL_TYPES) + 31
    assert counts["a", "backfill.other"] == 20


@pytest.mark.parametrize(
    ("attempts", "expected", "states"),
    [
        ([[made("delivered", "delivered")]], {"delivered": 1}, {"delivered": 1}),
        ([[made("delivered", "delivered")] * 3], {"delivered": 1}, {"delivered": 3}),
        ([[made("failed")], [made("unknown")]], {"failed": 1, "unknown": 1}, {}),
        ([[made("refused")] * 2, [made("refused", "dead")]], {"refused": 2}, {"dead": 1}),
        ([[made("failed", "dead")]], {"failed": 1}, {"dead": 1}),
    ],
)
def test_an_attempt_is_counted_once_and_each_delivery_that_ended(
    attempts: Sequence[Sequence[tuple[Event, Delivery]]], expected: dict[str, int], states: dict[str, int]
) -> None:
    meter = Meter((), ["ops"])
    for attempt in attempts:
        meter.attempted(attempt)
    scrape = scrape_of(meter)
    counted = {
        outcome: n
        for (_, outcome), n in scrape.series("notifier_attempts_total", "target", "outcome").items()
        if n
    }
    ended = {
        state: n
        for (_, state), n in scrape.series("notifier_deliveries_total", "target", "state").items()
        if n
    }
    assert (counted, ended) == (expected, states)
    delivered = scrape("notifier_delivery_latency_seconds_count", target="ops")
    assert delivered == states.get("delivered", 0)


def test_latency_is_from_the_observation_on_and_never_less_than_nothing() -> None:
    meter = Meter((), ["ops"])
    for seconds in (-3600, 0.1, 90_000):
        meter.attempted([made("delivered", "delivered", took=seconds)])
    scrape = scrape_of(meter)
    assert scrape("notifier_delivery_latency_seconds_sum", target="ops") == pytest.approx(90_000.1)
    bucket = "notifier_delivery_latency_seconds_bucket"
    assert [scrape(bucket, target="ops", le=le) for le in ("0.1", "86400.0", "+Inf")] == [2, 2, 3]


def test_what_is_not_configured_any_more_has_no_series_and_the_rest_goes_on_counting() -> None:
    meter = Meter(["a", "b"], ["ops", "team"])
    for source, target in (("a", "ops"), ("b", "team")):
        meter.polled(source, PollReport(last_poll=at(1), last_good_poll=at(1), took_seconds=1, rejected=1))
        meter.observed((source, "j"), event("backfill.unheard-of"), [target])
        meter.attempted([made("delivered", "delivered", target=target)])
    meter.configure(["b", "c"], ["team", "new"])
    scrape = scrape_of(meter)
    assert scrape.labels("source") == {"b", "c"}
    assert scrape.labels("target") == {"team", "new"}
    assert scrape("notifier_polls_total", source="b", outcome="good") == 1
    assert scrape("notifier_polls_total", source="c", outcome="good") == 0
    assert scrape("notifier_events_total", source="b", type="backfill.unheard-of") == 1
    assert scrape("notifier_rejected_elements_total", source="b") == 1
    assert scrape("notifier_last_good_poll_timestamp_seconds", source="b") == at(1).timestamp()
    assert scrape("notifier_delivery_latency_seconds_count", target="team") == 1
    assert scrape("notifier_delivery_latency_seconds_count", target="new") == 0


def test_what_is_given_up_for_a_target_that_is_gone_is_counted() -> None:
    meter = Meter(["a"], ["ops"])
    meter.became("gone", "dead", 3)
    meter.attempted([made("delivered", "delivered", target="gone")])  # it was under way
    scrape = scrape_of(meter)
    assert scrape("notifier_deliveries_total", target="gone", state="dead") == 3
    assert scrape("notifier_delivery_latency_seconds_count", target="gone") == 1


def test_a_config_that_is_refused_leaves_the_time_of_the_one_in_use() -> None:
    times = iter([at(0), at(1)])
    meter = Meter(now=lambda: next(times))
    successful = "notifier_config_last_reload_successful"
    success_at = "notifier_config_last_reload_success_timestamp_seconds"
    seen = []
    for good in (None, False, True):
        if good is not None:
            meter.reloaded(good)
        scrape = scrape_of(meter)
        seen.append((scrape(successful), scrape(success_at)))
    assert seen == [(1, at(0).timestamp()), (0, at(0).timestamp()), (1, at(1).timestamp())]
