"""Durations counted by how long they are."""

from bisect import bisect_left
from collections.abc import Collection, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class Histogram:
    """Counts seconds in buckets, for each value of one label.

    The library's own counts start times beside each, and takes a lock for each observation.
    """

    def __init__(self, name: str, words: str, label: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._words = words
        self._label = label
        self._bounds = bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def configure(self, values: Collection[str]) -> None:
        """Have a series for each of these values of the label, and for no other."""
        self._sums = {value: self._sums.get(value, 0.0) for value in values}
        self._counts = {value: self._counts.get(value) or self._empty() for value in values}

    def observe(self, value: str, seconds: float) -> None:
        """Count one more; less than nothing, by a clock that was set back, counts as nothing."""
        if value not in self._counts:
            self._sums[value], self._counts[value] = 0.0, self._empty()
        self._counts[value][bisect_left(self._bounds, seconds)] += 1
        self._sums[value] += max(0.0, seconds)

    def family(self) -> HistogramMetricFamily:
        """Return the counts as they are."""
        family = HistogramMetricFamily(self._name, self._words, labels=[self._label])
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for value, counts in list(self._counts.items()):
            below, buckets = 0, list[tuple[str, float]]()
            for name, count in zip(names, counts.copy(), strict=True):
                below += count
                buckets.append((name, below))
            family.add_metric([value], buckets, self._sums[value])
        return family

    def _empty(self) -> list[int]:
        return [0] * (len(self._bounds) + 1)
