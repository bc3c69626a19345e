"""When a source is polled next: pure."""

from datetime import timedelta

import msgspec

_LONGEST_BACKOFF = timedelta(minutes=5)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often a source is polled."""

    poll_every: timedelta
    poll_idle_every: timedelta


def after_success(pace: Pace, *, active: bool) -> timedelta:
    """Return the wait after a good poll, by whether any job is active."""
    return pace.poll_every if active else pace.poll_idle_every


def after_refusal(pace: Pace) -> timedelta:
    """Return the wait after the API refused the key: slow, but going on, since keys get renewed."""
    return pace.poll_idle_every


def after_throttling(pace: Pace, *, failures: int, retry_after: timedelta | None, chance: float) -> timedelta:
    """Return the wait after a 429: as told, in full, else doubling up to five minutes.

    `failures` counts the failed polls in a row, `chance` from 0 to 1 is the jitter.
    """
    if retry_after is not None:
        return max(retry_after, pace.poll_every) + min(pace.poll_every, timedelta(seconds=1)) * chance
    return _backoff(pace, failures, _LONGEST_BACKOFF, chance)


def after_failure(pace: Pace, *, failures: int, retry_after: timedelta | None, chance: float) -> timedelta:
    """Return the wait after any other failed poll: never more than four polls' time or five minutes.

    A `Retry-After` is honoured up to that bound: silence must not last because a proxy said so.
    """
    longest = min(4 * pace.poll_every, _LONGEST_BACKOFF)
    wait = _backoff(pace, failures, longest, chance)
    return wait if retry_after is None else min(max(wait, retry_after), longest)


def _backoff(pace: Pace, failures: int, longest: timedelta, chance: float) -> timedelta:
    shortest = min(pace.poll_every, longest)
    nominal = min(longest, shortest * (1 << min(failures, 20)))
    return max(nominal * (0.5 + chance / 2), shortest)
