"""How fast a job transports and when it will be done, from the last minutes: pure."""

from datetime import datetime, timedelta
from itertools import pairwise

from notifier.model import Sample

WINDOW = timedelta(minutes=10)
_APART = timedelta(minutes=1)
_FEWEST = 2
_FIRST_PERCENT = 2.0
_FARTHEST = timedelta(days=3650)
_MINUTE = timedelta(minutes=1)
_MOST = 10**15
"""Chunks: more is no number that a job has, and may be none that a float can hold."""


def with_sample(samples: tuple[Sample, ...], chunks_left: int | None, now: datetime) -> tuple[Sample, ...]:
    """Return the samples of a transporting job with what was just seen, oldest first.

    About one a minute is kept, of the last ten minutes, and never less than two: a job may take longer for
    a chunk. When more chunks are left than before, or the clock was set back, the count begins anew.
    """
    if chunks_left is None:
        return samples
    new = Sample(now, chunks_left)
    if not samples or chunks_left > samples[-1].chunks_left or now < samples[-1].at:
        return (new,)
    if chunks_left == samples[-1].chunks_left:
        return samples
    kept = samples
    if len(samples) >= _FEWEST and samples[-1].at - samples[-2].at < _APART:
        kept = samples[:-1]
    recent = tuple(each for each in kept if now - each.at <= WINDOW)
    return (*(recent or kept[-1:]), new)


def chunks_per_minute(samples: tuple[Sample, ...]) -> float | None:
    """Return the rate over these samples, of two significant digits when it is low; None without one."""
    rate = _rate(samples)
    if rate is None:
        return None
    return round(rate, 1) if rate >= 1 else float(f"{rate:.2g}")


def expected_end(samples: tuple[Sample, ...], percent: float | None) -> datetime | None:
    """Return when all chunks will be delivered at this rate; None before two percent are."""
    rate = _rate(samples)
    if rate is None or percent is None or percent < _FIRST_PERCENT:
        return None
    last = samples[-1]
    if last.chunks_left > rate * (_FARTHEST / _MINUTE):
        return None
    return last.at + last.chunks_left / rate * _MINUTE


def is_outdated(samples: tuple[Sample, ...], now: datetime) -> bool:
    """Return whether nothing has moved for so long that the rate says nothing any more."""
    at = outdated_at(samples)
    return at is not None and now >= at


def outdated_at(samples: tuple[Sample, ...]) -> datetime | None:
    """Return when the rate says nothing any more if nothing moves; None when there is none.

    That is after ten minutes, or twice the longest time between two samples.
    """
    if len(samples) < _FEWEST:
        return None
    longest = max(after.at - before.at for before, after in pairwise(samples))
    return samples[-1].at + max(WINDOW, 2 * longest)


def _rate(samples: tuple[Sample, ...]) -> float | None:
    if len(samples) < _FEWEST:
        return None
    minutes = (samples[-1].at - samples[0].at) / _MINUTE
    delivered = samples[0].chunks_left - samples[-1].chunks_left
    if minutes <= 0 or not 0 < delivered <= _MOST:
        return None
    return delivered / minutes
