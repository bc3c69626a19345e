"""What `/metrics` answers, read."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Sample = tuple[str, frozenset[tuple[str, str]]]
"""The name of a series, and its labels."""


class Scrape:
    """The series of one answer: `scrape("notifier_polls_total", source="allium", outcome="good")`."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[name, frozenset(labels.items())]

    def series(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the values of all series of a name, by the values of these labels, or of all there are."""
        return {
            tuple(sample.labels[label] for label in labels or sorted(sample.labels)): sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name
        }

    def labels(self, label: str) -> set[str]:
        """Return all values of a label, of whatever metric."""
        return {value for _, labels in self._values for name, value in labels if name == label}


def scrape_of(*collectors: Collector) -> Scrape:
    """Return what these tell."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return Scrape(generate_latest(registry).decode())


def name_of(family: Metric) -> str:
    """Return the name that a metric is asked for by, without the parts of a histogram."""
    return family.name + ("_total" if family.type == "counter" else "")
