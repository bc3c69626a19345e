"""What an attempt makes of its delivery: delivered, tried again and when, or given up. Pure."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from notifier.model import Attempt, AttemptOutcome, Delivery
from notifier.sending import SendError

KEPT_ATTEMPTS = 20
"""How many attempts of a delivery are remembered."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a failed delivery is tried again (contract, section 4.4)."""

    first_retry: timedelta
    max_retry: timedelta
    give_up_after: timedelta


Outcome = Literal["delivered", "retry", "split", "dead"]
"""`split`: it was refused together with others; it is tried again alone."""


def judge(
    delivery: Delivery,
    error: SendError | None,
    *,
    policy: RetryPolicy,
    now: datetime,
    took: timedelta,
    chance: float,
    paused: timedelta = timedelta(0),
    quiet: timedelta = timedelta(0),
    alone: bool = True,
) -> tuple[Outcome, Delivery]:
    """Return what an attempt that just ended, and took this long, makes of its delivery.

    `chance`, from 0 to 1, is the jitter: 0 is half the nominal wait, 1 is one and a half times it.
    `paused` is how long, since the first attempt, the target was left alone because it asked for it.
    `quiet` is how long, beside that, it was kept waiting because it was quiet.
    `alone` is false for what was sent together with others.
    """
    started = now - took
    started = started.replace(microsecond=started.microsecond // 1000 * 1000)
    first = delivery.first_attempt_at or started
    held = max(delivery.held, paused)
    attempt = Attempt(
        at=started,
        outcome=_outcome(error),
        duration_ms=round(took.total_seconds() * 1000),
        status=None if error is None else error.status,
        error=None if error is None else error.reason,
    )
    tried = msgspec.structs.replace(
        delivery,
        attempts=delivery.attempts + 1,
        history=(*delivery.history, attempt)[-KEPT_ATTEMPTS:],
        first_attempt_at=first,
        next_attempt_at=None,
        held_until=None,
        last_error=attempt.error,
        answer=None if error is None else error.answer,
    )
    if error is None:
        return "delivered", msgspec.structs.replace(tried, state="delivered", ended_at=now)
    if error.refused == "message" and not alone:
        return "split", tried
    if error.refused or now - first - held - quiet >= policy.give_up_after:
        return "dead", msgspec.structs.replace(tried, state="dead", ended_at=now)
    wait = backoff(tried.attempts, policy, chance)
    if error.retry_after is not None:
        wait = max(wait, error.retry_after)
        held += error.retry_after
        tried = msgspec.structs.replace(tried, held_until=now + error.retry_after)
    if error.not_before is not None:
        wait = max(wait, error.not_before)
    tried = msgspec.structs.replace(tried, held=held)
    return "retry", msgspec.structs.replace(tried, next_attempt_at=now + wait)


def in_doubt_since(delivery: Delivery, *, cut_off: bool) -> datetime | None:
    """Return since when an attempt may have arrived without anybody knowing; None when none may.

    `cut_off` says that an earlier process may have ended in the middle of one.
    """
    if cut_off or len(delivery.history) < delivery.attempts:
        return delivery.created_at  # nothing tells any more when that one was made, or how it ended
    return next((attempt.at for attempt in delivery.history if attempt.outcome == "unknown"), None)


def in_doubt_until(delivery: Delivery, *, cut_off: bool) -> datetime | None:
    """Return when the last attempt that may have arrived had ended; None when nobody knows, or none may."""
    if cut_off or len(delivery.history) < delivery.attempts:
        return None
    ends = [
        attempt.at + timedelta(milliseconds=attempt.duration_ms)
        for attempt in delivery.history
        if attempt.outcome == "unknown"
    ]
    return max(ends, default=None)


def backoff(attempts: int, policy: RetryPolicy, chance: float) -> timedelta:
    """Return the wait after this many failed attempts: doubling from the first to the longest, jittered."""
    doublings = min(attempts - 1, 60)
    enough = policy.max_retry // policy.first_retry + 1  # to reach the longest; more could overflow
    nominal = min(policy.max_retry, policy.first_retry * min(1 << doublings, enough))
    return nominal * (0.5 + chance)


def _outcome(error: SendError | None) -> AttemptOutcome:
    if error is None:
        return "delivered"
    if error.refused:
        return "refused"
    return "unknown" if error.outcome_unknown else "failed"
