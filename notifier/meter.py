"""What has happened since the start, counted for Prometheus (contract, section 9)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import product
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from notifier.histogram import Histogram
from notifier.model import (
    ALL_TYPES,
    DELIVERY_STATES,
    AttemptOutcome,
    Delivery,
    DeliveryState,
    Event,
    Fault,
    PollReport,
    RecordKey,
    utc_now,
)
from notifier.vocabulary import Vocabulary

_POLL_OUTCOMES = ("good", *get_args(Fault))
_ATTEMPT_OUTCOMES: tuple[AttemptOutcome, ...] = get_args(AttemptOutcome)
_POLL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LATENCY_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)


class Meter(Collector):
    """Counts what it is told; `collect` gives the counts as they are, from any thread.

    Every series of what is configured is there from the start, at 0: a series that begins at 1 shows no
    increase, so nobody would hear of a first failure.
    """

    def __init__(
        self,
        sources: Collection[str] = (),
        targets: Collection[str] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._now = now
        self._types = Vocabulary(ALL_TYPES, "backfill.other")
        self._polls = _Counts("polls", "Polls by how they ended", "source", "outcome")
        self._events = _Counts(
            "events", "Events observed, those included that go to nobody", "source", "type"
        )
        self._attempts = _Counts(
            "attempts", "Attempts by how they ended; a batch or digest is one", "target", "outcome"
        )
        self._deliveries = _Counts(
            "deliveries", "Deliveries by the state they came into: pending is made", "target", "state"
        )
        self._durations = Histogram(
            "notifier_poll_duration_seconds",
            "How long polls took, until what they found was stored",
            "source",
            _POLL_SECONDS,
        )
        self._latencies = Histogram(
            "notifier_delivery_latency_seconds",
            "How long after its event was observed each delivery was made",
            "target",
            _LATENCY_SECONDS,
        )
        self._rejected: dict[str, int] = {}
        self._last_good: dict[str, float] = {}
        self.configure(sources, targets)
        self.reloaded(True)

    def configure(self, sources: Collection[str], targets: Collection[str]) -> None:
        """Have the series of these sources and targets, and of no others."""
        self._polls.configure(sources, _POLL_OUTCOMES)
        self._events.configure(sources, self._types.known)
        self._attempts.configure(targets, _ATTEMPT_OUTCOMES)
        self._deliveries.configure(targets, DELIVERY_STATES)
        self._durations.configure(sources)
        self._latencies.configure(targets)
        self._rejected = {name: self._rejected.get(name, 0) for name in sources}
        self._last_good = {name: self._last_good.get(name, 0.0) for name in sources}

    def reloaded(self, good: bool) -> None:
        """Note that the config was read again, and whether it could be used."""
        self._is_reloaded = good
        if good:
            self._reloaded_at = self._now().timestamp()

    def polled(self, source: str, report: PollReport) -> None:
        """Count a poll by its report."""
        self._polls.add(source, report.fault or "good")
        if report.took_seconds is not None:
            self._durations.observe(source, report.took_seconds)
        if report.fault is None:
            self._rejected[source] = self._rejected.get(source, 0) + report.rejected
        if report.last_good_poll is not None:
            self._last_good[source] = report.last_good_poll.timestamp()

    def observed(self, key: RecordKey, event: Event, targets: Sequence[str]) -> None:
        """Count an event, and a delivery that is pending for each of its targets."""
        self._events.add(key[0], self._types(event.type))
        for target in targets:
            self._deliveries.add(target, "pending")

    def attempted(self, made: Sequence[tuple[Event, Delivery]]) -> None:
        """Count an attempt, and what became of its deliveries."""
        first = made[0][1]
        self._attempts.add(first.target, first.history[-1].outcome)
        for event, delivery in made:
            if delivery.state != "pending":
                self._deliveries.add(delivery.target, delivery.state)
            if delivery.state == "delivered" and delivery.ended_at is not None:
                latency = delivery.ended_at - event.observed_at
                self._latencies.observe(delivery.target, latency.total_seconds())

    def became(self, target: str, state: DeliveryState, number: int = 1) -> None:
        """Count deliveries that came into a state without an attempt: given up, or made pending again."""
        self._deliveries.add(target, state, number)

    def collect(self) -> Iterator[Metric]:
        """Yield all counts."""
        yield self._polls.family()
        yield self._durations.family()
        last_good = GaugeMetricFamily(
            "notifier_last_good_poll_timestamp_seconds",
            "When the last good poll ended, as Unix time; 0 when none was since the start",
            labels=["source"],
        )
        rejected = CounterMetricFamily(
            "notifier_rejected_elements",
            "Elements of good polls that were skipped, without a usable job_id or status",
            labels=["source"],
        )
        for source, at in list(self._last_good.items()):
            last_good.add_metric([source], at)
        for source, number in list(self._rejected.items()):
            rejected.add_metric([source], number)
        yield last_good
        yield rejected
        yield self._events.family()
        yield self._attempts.family()
        yield self._deliveries.family()
        yield self._latencies.family()
        yield GaugeMetricFamily(
            "notifier_config_last_reload_successful",
            "1 when the config could be used the last time it was read, else 0",
            self._is_reloaded,
        )
        yield GaugeMetricFamily(
            "notifier_config_last_reload_success_timestamp_seconds",
            "When the config was last read that is in use, as Unix time",
            self._reloaded_at,
        )


class _Counts:
    """How often each pair of values of two labels was counted."""

    def __init__(self, name: str, words: str, *labels: str) -> None:
        self._name = f"notifier_{name}"
        self._words = words
        self._labels = labels
        self._counts: Counter[tuple[str, str]] = Counter()

    def configure(self, first: Collection[str], second: Collection[str]) -> None:
        """Have a series for each pair of these, and none whose first value is not among them."""
        kept = {pair: count for pair, count in self._counts.items() if pair[0] in first}
        self._counts = Counter(dict.fromkeys(product(first, second), 0) | kept)

    def add(self, first: str, second: str, number: int = 1) -> None:
        self._counts[first, second] += number

    def family(self) -> CounterMetricFamily:
        family = CounterMetricFamily(self._name, self._words, labels=self._labels)
        for pair, count in list(self._counts.items()):
            family.add_metric(pair, count)
        return family
