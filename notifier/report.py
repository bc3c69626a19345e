"""What the log says of attempts: pure."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from notifier.duration import spell_duration
from notifier.model import Delivery, Event, RecordKey
from notifier.outbox import LOST_SOURCE, batch_id
from notifier.retry import Outcome
from notifier.sending import Receipt, SendError
from notifier.summary import counted, one_line
from notifier.tags import tags


def describe(events: Sequence[Event]) -> str:
    """Return what an attempt is to bring, such as `backfill.failed (evt_…)`."""
    id_ = batch_id([event.id for event in events])
    if len(events) == 1:
        return f"{one_line(events[0].type, 100)} ({id_})"
    return f"{counted(len(events), 'event')} together ({id_})"


def report(
    what: str,
    outcome: Outcome,
    tried: Delivery,
    result: Receipt | SendError,
    *,
    alone: bool,
    took: timedelta,
    wait: timedelta | None,
) -> tuple[int, str]:
    """Return the level and the text of the line about an attempt.

    `tried` is one of its deliveries as the attempt left it; `wait` is how long until the next attempt, None
    when a later run makes it.
    """
    if isinstance(result, Receipt):
        if result.was_there:
            return logging.INFO, f"{what} was there: an earlier attempt had arrived"
        return logging.INFO, f"delivered {what} in {took.total_seconds() * 1000:.0f} ms"
    if tried.last_error == LOST_SOURCE:
        return logging.INFO, f"gave up {what}: {tried.last_error}"  # nobody can have it sent again
    if outcome == "dead":
        which = tried.id if alone else f"--dead --target {tried.target}"
        return logging.ERROR, f"gave up {what}: {tried.last_error}; to send again: notifier retry {which}"
    if outcome == "split":
        return logging.WARNING, f"refused {what}: {tried.last_error}; sending one by one"
    when = "tried again by a later run" if wait is None else f"next in {spell_duration(wait)}"
    if result.credentials and wait is not None:
        when += ", or as soon as it works again; nothing else is sent until then"
    return logging.WARNING, f"attempt {tried.attempts} of {what} failed: {tried.last_error}; {when}"


def tags_of(
    judged: Sequence[tuple[RecordKey, Event, Outcome, Delivery]],
    result: Receipt | SendError,
    *,
    took: timedelta,
    wait: timedelta,
) -> dict[str, dict[str, Any]]:
    """Return the tags of the line about an attempt: of the one delivery, or the ids of all."""
    (source, job_id), event, outcome, tried = judged[0]
    events = [event.id for _, event, _, _ in judged]
    alone = len(judged) == 1
    return tags(
        source=source,
        target=tried.target,
        job_id=job_id if alone else None,
        event_id=batch_id(events),
        event_ids=None if alone else events,
        type=event.type if alone else None,
        delivery_id=tried.id if alone else None,
        attempt=tried.attempts,
        outcome=tried.history[-1].outcome if tried.history else None,
        status=result.status if isinstance(result, SendError) else None,
        took_ms=round(took.total_seconds() * 1000),
        wait_s=wait.total_seconds() if outcome == "retry" else None,
    )


def raised_in(error: BaseException) -> str:
    """Return where an unexpected error was raised; never its text, which may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
