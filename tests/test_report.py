import logging
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from notifier.model import Delivery, Event
from notifier.outbox import LOST_SOURCE, batch_id, lose
from notifier.report import describe, raised_in, report
from notifier.retry import Outcome
from notifier.sending import Receipt, SendError

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
_TRIED = Delivery(
    id="dlv_1", event_id="evt_1", target="ops", created_at=_NOW, attempts=3, last_error="answered 500: oops"
)
_WHAT = "backfill.failed (evt_1)"
_FAILED = SendError("answered 500: oops")
_REFUSED = SendError("invalid_auth", credentials=True)


def _event(id_: str, type_: str = "backfill.failed") -> Event:
    return Event(
        id=id_,
        seq=1,
        type=type_,
        status="failed",
        previous_status=None,
        observed_at=_NOW,
        summary="it failed",
    )


def _line(
    outcome: Outcome,
    result: Receipt | SendError,
    *,
    alone: bool = True,
    took: timedelta = timedelta(milliseconds=1234.4),
    wait: timedelta | None = timedelta(minutes=2, seconds=5),
) -> tuple[int, str]:
    return report(_WHAT, outcome, _TRIED, result, alone=alone, took=took, wait=wait)


def test_what_a_config_gave_up_is_no_error_and_asks_for_nothing() -> None:
    lost = lose(_TRIED, now=_NOW)
    level, line = report(
        _WHAT, "dead", lost, _FAILED, alone=True, took=timedelta(seconds=1), wait=timedelta(0)
    )
    assert (level, line) == (logging.INFO, f"gave up {_WHAT}: {LOST_SOURCE}")


# ------------------------------------------------------------------------------------ what it is of


def test_an_event_is_told_by_its_type_and_id() -> None:
    assert describe([_event("evt_1")]) == _WHAT


def test_several_are_told_by_their_number_and_the_id_that_the_receiver_knows() -> None:
    events = [_event(f"evt_{number}") for number in range(1200)]
    assert describe(events) == f"1,200 events together ({batch_id([event.id for event in events])})"


def test_a_type_that_the_api_made_up_breaks_no_line() -> None:
    words = describe([_event("evt_1", "backfill.a\nb\x1b[31m" + "x" * 500)])
    assert words.isprintable()
    assert words.startswith("backfill.a b [31mx")
    assert words.endswith("… (evt_1)")
    assert len(words) < 120


# ------------------------------------------------------------------------------- what came of it


@pytest.mark.parametrize(("seconds", "words"), [(1.2344, "1234 ms"), (0, "0 ms"), (90, "90000 ms")])
def test_a_success_is_told_with_how_long_it_took(seconds: float, words: str) -> None:
    line = _line("delivered", Receipt(), took=timedelta(seconds=seconds))
    assert line == (logging.INFO, f"delivered {_WHAT} in {words}")


def test_what_had_arrived_before_was_not_delivered_now() -> None:
    assert _line("delivered", Receipt(was_there=True)) == (
        logging.INFO,
        f"{_WHAT} was there: an earlier attempt had arrived",
    )


def test_a_dead_letter_is_an_error_that_says_how_it_is_sent_again() -> None:
    assert _line("dead", _FAILED) == (
        logging.ERROR,
        f"gave up {_WHAT}: answered 500: oops; to send again: notifier retry dlv_1",
    )
    assert _line("dead", _FAILED, alone=False) == (
        logging.ERROR,
        f"gave up {_WHAT}: answered 500: oops; to send again: notifier retry --dead --target ops",
    )


def test_what_was_refused_together_is_sent_one_by_one() -> None:
    assert _line("split", _FAILED, alone=False) == (
        logging.WARNING,
        f"refused {_WHAT}: answered 500: oops; sending one by one",
    )


@pytest.mark.parametrize(
    ("error", "wait", "when"),
    [
        (_FAILED, timedelta(minutes=2, seconds=5), "next in 2m 5s"),
        (_FAILED, timedelta(milliseconds=7), "next in under 1s"),
        (_FAILED, timedelta(seconds=-5), "next in under 1s"),
        (_FAILED, None, "tried again by a later run"),
        (
            _REFUSED,
            timedelta(hours=1),
            "next in 1h, or as soon as it works again; nothing else is sent until then",
        ),
        (_REFUSED, None, "tried again by a later run"),
    ],
)
def test_a_failure_is_told_with_when_it_is_tried_again(
    error: SendError, wait: timedelta | None, when: str
) -> None:
    assert _line("retry", error, wait=wait) == (
        logging.WARNING,
        f"attempt 3 of {_WHAT} failed: answered 500: oops; {when}",
    )


def test_refused_credentials_that_ended_a_delivery_are_told_as_its_end() -> None:
    tried = msgspec.structs.replace(_TRIED, last_error="invalid_auth")
    line = report(_WHAT, "dead", tried, _REFUSED, alone=True, took=timedelta(0), wait=timedelta(0))
    assert line == (logging.ERROR, f"gave up {_WHAT}: invalid_auth; to send again: notifier retry dlv_1")


# ------------------------------------------------------------------------- where an error came from


def _fail_for(url: str) -> None:
    raise ValueError(f"cannot reach {url}")


def test_an_unforeseen_error_is_told_by_the_place_it_was_raised_at_never_by_its_text() -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        _fail_for("https://hooks.example.com/secret")
    line = _fail_for.__code__.co_firstlineno + 1
    assert raised_in(caught.value) == f"in _fail_for, line {line}"


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert raised_in(ValueError("https://hooks.example.com/secret")) == ""
