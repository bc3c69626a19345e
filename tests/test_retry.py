from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import Attempt, AttemptOutcome, Delivery
from notifier.retry import KEPT_ATTEMPTS, Outcome, RetryPolicy, backoff, in_doubt_since, in_doubt_until, judge
from notifier.sending import SendError

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_TOOK = 2 * _SECOND
_MILLISECOND = timedelta(milliseconds=1)
_POLICY = RetryPolicy(first_retry=5 * _SECOND, max_retry=timedelta(hours=1), give_up_after=timedelta(days=3))


def _delivery(**changes: object) -> Delivery:
    fields = {"id": "dlv_1", "event_id": "evt_1", "target": "ops", "created_at": _NOW}
    return Delivery(**(fields | changes))  # type: ignore[arg-type]


def _judged(
    delivery: Delivery,
    error: SendError | None,
    *,
    now: datetime = _NOW,
    took: timedelta = _TOOK,
    alone: bool = True,
) -> tuple[Outcome, Delivery]:
    return judge(delivery, error, policy=_POLICY, now=now, took=took, chance=0.5, alone=alone)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("first_attempt_at", "error", "outcome"),
    [
        (None, None, "delivered"),
        (_NOW - timedelta(days=30), None, "delivered"),
        (None, SendError("HTTP 500"), "retry"),
        (None, SendError("HTTP 410", refused="endpoint"), "dead"),
        (_NOW - timedelta(days=1), SendError("HTTP 410", refused="endpoint"), "dead"),
        (_NOW - timedelta(days=1), SendError("HTTP 500"), "retry"),
        (_NOW - timedelta(days=3) + _MILLISECOND, SendError("HTTP 500"), "retry"),
        (_NOW - timedelta(days=3), SendError("HTTP 500"), "dead"),
        (_NOW - timedelta(days=4), SendError("no answer", outcome_unknown=True), "dead"),
        (_NOW - timedelta(days=3), SendError("HTTP 429", retry_after=_SECOND), "dead"),
        (None, SendError("no answer", outcome_unknown=True), "retry"),
    ],
)
def test_an_attempt_delivers_or_is_repeated_or_was_the_last(
    first_attempt_at: datetime | None, error: SendError | None, outcome: Outcome, alone: bool
) -> None:
    delivery = _delivery(
        created_at=_NOW - timedelta(days=60),
        attempts=4,
        first_attempt_at=first_attempt_at,
        next_attempt_at=_NOW,
        last_error="HTTP 503",
        replay=True,
    )
    judged, tried = _judged(delivery, error, alone=alone)
    assert judged == outcome
    assert tried.state == ("pending" if outcome == "retry" else outcome)
    assert tried.attempts == 5
    assert tried.first_attempt_at == (first_attempt_at or _NOW - _TOOK)
    assert tried.last_error == (None if error is None else error.reason)
    assert tried.ended_at == (None if outcome == "retry" else _NOW)
    assert tried.next_attempt_at == (_NOW + 80 * _SECOND if outcome == "retry" else None)
    assert (tried.id, tried.event_id, tried.target, tried.created_at, tried.replay) == (
        delivery.id,
        delivery.event_id,
        delivery.target,
        delivery.created_at,
        delivery.replay,
    )


@pytest.mark.parametrize("first_attempt_at", [None, _NOW - timedelta(days=1), _NOW - timedelta(days=4)])
def test_a_message_that_is_refused_alone_is_given_up_and_one_refused_with_others_is_tried_alone(
    first_attempt_at: datetime | None,
) -> None:
    delivery = _delivery(first_attempt_at=first_attempt_at, next_attempt_at=_NOW)
    error = SendError("HTTP 400", refused="message")
    outcome, tried = _judged(delivery, error)
    assert (outcome, tried.state, tried.ended_at) == ("dead", "dead", _NOW)
    outcome, tried = _judged(delivery, error, alone=False)
    assert (outcome, tried.state, tried.ended_at) == ("split", "pending", None)
    assert (tried.attempts, tried.next_attempt_at, tried.last_error) == (1, None, "HTTP 400")
    outcome, tried = _judged(tried, error)
    assert (outcome, tried.state, tried.attempts) == ("dead", "dead", 2)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "delivered"),
        (SendError("HTTP 500", status=500, answer="oops"), "failed"),
        (SendError("no answer", outcome_unknown=True), "unknown"),
        (SendError("HTTP 502", outcome_unknown=True, status=502), "unknown"),
        (SendError("HTTP 400", refused="message", status=400, answer="bad"), "refused"),
        (SendError("HTTP 410", refused="endpoint", status=410, answer="gone"), "refused"),
        (SendError("HTTP 410", refused="endpoint", status=410, outcome_unknown=True), "refused"),
        (SendError("HTTP 429", retry_after=_SECOND, status=429), "failed"),
    ],
)
def test_each_attempt_is_recorded_with_its_start_and_what_came_of_it(
    error: SendError | None, outcome: AttemptOutcome
) -> None:
    took = timedelta(milliseconds=1234, microseconds=567)
    _, tried = _judged(_delivery(last_error="before", answer="before"), error, took=took)
    reason, status, answer = (
        (None, None, None) if error is None else (error.reason, error.status, error.answer)
    )
    at = _NOW - timedelta(milliseconds=1235)
    assert tried.history == (Attempt(at=at, outcome=outcome, duration_ms=1235, status=status, error=reason),)
    assert (tried.last_error, tried.answer) == (reason, answer)


def test_only_the_last_attempts_are_remembered_but_all_are_counted() -> None:
    delivery = _delivery()
    for number in range(1, KEPT_ATTEMPTS + 6):
        _, delivery = _judged(delivery, SendError(f"failure {number}"), now=_NOW + number * _SECOND)
        assert delivery.attempts == number
        assert [attempt.error for attempt in delivery.history] == [
            f"failure {kept}" for kept in range(max(1, number - 19), number + 1)
        ]
    assert len(delivery.history) == 20


def test_the_attempts_before_a_replay_are_remembered_but_not_counted() -> None:
    _, dead = _judged(_delivery(), SendError("HTTP 410", refused="endpoint"))
    revived = msgspec.structs.replace(
        dead, state="pending", attempts=0, first_attempt_at=None, ended_at=None, replay=True
    )
    later = _NOW + timedelta(days=30)
    outcome, tried = _judged(revived, SendError("HTTP 500"), now=later)
    assert (outcome, tried.attempts, tried.first_attempt_at) == ("retry", 1, later - _TOOK)
    assert [attempt.error for attempt in tried.history] == ["HTTP 410", "HTTP 500"]


def test_how_long_it_is_tried_counts_from_when_the_first_attempt_started() -> None:
    took = timedelta(hours=1)
    error = SendError("no answer", outcome_unknown=True)
    _, tried = _judged(_delivery(), error, took=took)
    assert tried.first_attempt_at == _NOW - took
    assert _judged(tried, error, now=_NOW + timedelta(days=3) - took - _MILLISECOND)[0] == "retry"
    assert _judged(tried, error, now=_NOW + timedelta(days=3) - took)[0] == "dead"


def test_what_the_target_asked_to_be_left_alone_does_not_count_as_trying() -> None:
    error = SendError("HTTP 429", retry_after=timedelta(days=4))
    _, held = _judged(_delivery(), error, took=timedelta(0))
    assert held.held_until == _NOW + timedelta(days=4)
    later = _NOW + timedelta(days=6)
    outcome, tried = _judged(held, SendError("HTTP 500"), now=later)
    assert (outcome, tried.held_until, tried.held) == ("retry", None, timedelta(days=4))
    later = _NOW + timedelta(days=7)
    assert _judged(tried, SendError("HTTP 500"), now=later)[0] == "dead"


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        (None, 5 * _SECOND),
        (timedelta(0), 5 * _SECOND),
        (4 * _SECOND, 5 * _SECOND),
        (6 * _SECOND, 6 * _SECOND),
        (timedelta(days=365), timedelta(days=365)),
    ],
)
def test_retry_after_is_honoured_when_it_is_the_longer_wait(
    retry_after: timedelta | None, wait: timedelta
) -> None:
    error = SendError("HTTP 429", retry_after=retry_after)
    _, tried = _judged(_delivery(), error)
    assert tried.next_attempt_at == _NOW + wait
    assert tried.held_until == (None if retry_after is None else _NOW + retry_after)


@pytest.mark.parametrize(
    ("retry_after", "not_before", "wait"),
    [
        (None, timedelta(0), 5 * _SECOND),
        (None, 4 * _SECOND, 5 * _SECOND),
        (None, 60 * _SECOND, 60 * _SECOND),
        (30 * _SECOND, 60 * _SECOND, 60 * _SECOND),
        (60 * _SECOND, 30 * _SECOND, 60 * _SECOND),
    ],
)
def test_a_message_that_is_to_wait_waits_without_holding_others(
    retry_after: timedelta | None, not_before: timedelta, wait: timedelta
) -> None:
    error = SendError("cannot look", retry_after=retry_after, not_before=not_before)
    outcome, tried = _judged(_delivery(held=_SECOND), error)
    assert (outcome, tried.next_attempt_at) == ("retry", _NOW + wait)
    assert tried.held_until == (None if retry_after is None else _NOW + retry_after)
    assert tried.held == _SECOND + (retry_after or timedelta(0))


def test_that_a_message_is_to_wait_counts_as_trying() -> None:
    """Nobody asked to be left alone: others went on meanwhile."""
    _, tried = _judged(_delivery(), SendError("cannot look", not_before=timedelta(days=2)), took=timedelta(0))
    assert _judged(tried, SendError("HTTP 500"), now=_NOW + timedelta(days=3))[0] == "dead"


@pytest.mark.parametrize("refused", ["message", "endpoint"])
def test_what_is_given_up_waits_for_nothing(refused: Literal["message", "endpoint"]) -> None:
    error = SendError("no", refused=refused, not_before=60 * _SECOND)
    _, tried = _judged(_delivery(), error)
    assert (tried.state, tried.next_attempt_at) == ("dead", None)


# ----------------------------------------------------------------------- whether one may have arrived


def _attempted(*outcomes: AttemptOutcome, **changes: object) -> Delivery:
    """Return a delivery whose attempts, one a minute, ended like this."""
    history = tuple(
        Attempt(at=_NOW + timedelta(minutes=number), outcome=outcome, duration_ms=1)
        for number, outcome in enumerate(outcomes, 1)
    )
    first = history[0].at if history else None
    fields: dict[str, object] = {"attempts": len(history), "history": history, "first_attempt_at": first}
    return _delivery(**(fields | changes))


_FIRST = _NOW + timedelta(minutes=1)
_NINETEEN_FAILURES: tuple[AttemptOutcome, ...] = ("failed",) * 19


@pytest.mark.parametrize(
    ("delivery", "since"),
    [
        (_attempted(), None),
        (_attempted("failed"), None),
        (_attempted("failed", "refused", "failed"), None),
        (_attempted("unknown"), _FIRST),
        (_attempted("unknown", "failed", "failed"), _FIRST),
        (_attempted("failed", "failed", "unknown"), _FIRST + timedelta(minutes=2)),
        (_attempted("unknown", *_NINETEEN_FAILURES), _FIRST),
    ],
)
def test_an_attempt_of_unknown_outcome_leaves_doubt_from_then_on(
    delivery: Delivery, since: datetime | None
) -> None:
    assert in_doubt_since(delivery, cut_off=False) == since


@pytest.mark.parametrize("delivery", [_attempted(), _attempted("failed"), _attempted("unknown")])
def test_an_attempt_that_a_crash_may_have_cut_off_leaves_doubt_even_when_it_was_the_first(
    delivery: Delivery,
) -> None:
    since = in_doubt_since(delivery, cut_off=True)
    assert since is not None
    assert delivery.created_at <= since <= (delivery.first_attempt_at or delivery.created_at)


def test_what_was_cut_off_is_older_than_the_attempts_after_the_crash() -> None:
    _, failed = _judged(_delivery(), SendError("HTTP 500"), now=_NOW + timedelta(hours=2))
    assert in_doubt_since(failed, cut_off=True) == _NOW


def test_attempts_before_a_replay_leave_doubt_as_well() -> None:
    """Whoever replays all dead letters has not looked for each of them."""
    before = _attempted("unknown", "unknown", "refused")
    replayed = msgspec.structs.replace(before, attempts=0, first_attempt_at=None, replay=True)
    assert in_doubt_since(replayed, cut_off=False) == before.history[0].at
    refused = msgspec.structs.replace(_attempted("refused"), attempts=0, first_attempt_at=None, replay=True)
    assert in_doubt_since(refused, cut_off=False) is None


def test_doubt_remains_when_the_attempt_that_left_it_is_no_longer_remembered() -> None:
    _, delivery = _judged(_delivery(), SendError("no answer", outcome_unknown=True))
    first = delivery.first_attempt_at
    for _ in range(KEPT_ATTEMPTS):
        _, delivery = _judged(delivery, SendError("HTTP 403"))
    since = in_doubt_since(delivery, cut_off=False)
    assert first is not None
    assert since is not None
    assert since <= max(first, delivery.created_at)


@given(
    st.lists(st.sampled_from(["failed", "unknown", "refused"]), max_size=KEPT_ATTEMPTS), st.integers(0, 20)
)
def test_only_an_attempt_of_unknown_outcome_leaves_doubt(
    outcomes: list[AttemptOutcome], attempts: int
) -> None:
    delivery = _attempted(*outcomes, attempts=min(attempts, len(outcomes)))
    assert (in_doubt_since(delivery, cut_off=False) is not None) == ("unknown" in outcomes)
    assert in_doubt_since(delivery, cut_off=True) is not None


@pytest.mark.parametrize(
    ("delivery", "until"),
    [
        (_attempted(), None),
        (_attempted("failed", "refused"), None),
        (_attempted("unknown"), _FIRST + _MILLISECOND),
        (_attempted("unknown", "failed"), _FIRST + _MILLISECOND),
        (_attempted("unknown", "failed", "unknown", "failed"), _FIRST + timedelta(minutes=2) + _MILLISECOND),
    ],
)
def test_doubt_is_about_the_time_until_the_last_attempt_of_unknown_outcome_had_ended(
    delivery: Delivery, until: datetime | None
) -> None:
    assert in_doubt_until(delivery, cut_off=False) == until


@pytest.mark.parametrize("delivery", [_attempted(), _attempted("failed"), _attempted("unknown")])
def test_when_an_attempt_ended_that_a_crash_may_have_cut_off_nobody_knows(delivery: Delivery) -> None:
    assert in_doubt_until(delivery, cut_off=True) is None


def test_when_attempts_ended_that_are_no_longer_remembered_nobody_knows() -> None:
    assert in_doubt_until(_attempted("unknown", "failed", attempts=3), cut_off=False) is None


def test_attempts_before_a_replay_had_ended_when_they_had() -> None:
    before = _attempted("unknown", "unknown", "refused")
    replayed = msgspec.structs.replace(before, attempts=0, first_attempt_at=None, replay=True)
    assert in_doubt_until(replayed, cut_off=False) == before.history[1].at + _MILLISECOND


def test_the_end_of_an_attempt_that_took_long_is_not_its_beginning() -> None:
    took = timedelta(seconds=90)
    _, tried = _judged(_delivery(), SendError("no answer", outcome_unknown=True), took=took)
    assert in_doubt_until(tried, cut_off=False) == _NOW
    assert in_doubt_since(tried, cut_off=False) == _NOW - took


@given(st.lists(st.sampled_from(["failed", "unknown", "refused"]), max_size=KEPT_ATTEMPTS), st.booleans())
def test_doubt_never_ends_before_it_begins(outcomes: list[AttemptOutcome], cut_off: bool) -> None:
    delivery = _attempted(*outcomes)
    since, until = (look(delivery, cut_off=cut_off) for look in (in_doubt_since, in_doubt_until))
    assert (until is not None) == ("unknown" in outcomes and not cut_off)
    assert until is None or (since is not None and since < until)


# ------------------------------------------------------------------------------------------ waits


@pytest.mark.parametrize(
    ("attempts", "chance", "seconds"),
    [
        (1, 0.5, 5),
        (1, 0, 2.5),
        (1, 1, 7.5),
        (2, 0.5, 10),
        (3, 0.5, 20),
        (10, 0.5, 2560),
        (11, 0.5, 3600),
        (11, 1, 5400),
        (5000, 0, 1800),
        (5000, 0.5, 3600),
    ],
)
def test_the_wait_doubles_up_to_the_longest(attempts: int, chance: float, seconds: float) -> None:
    assert backoff(attempts, _POLICY, chance) == seconds * _SECOND


# What the config takes: from a millisecond to ten years.
_WAITS = st.timedeltas(_MILLISECOND, timedelta(days=3650))
_ATTEMPTS = st.integers(1, 100) | st.integers(1, 10**6)
_CHANCES = st.floats(0, 1)


@given(_WAITS, _WAITS, _ATTEMPTS, _CHANCES)
def test_each_wait_is_half_to_one_and_a_half_of_the_nominal_one(
    first: timedelta, longest: timedelta, attempts: int, chance: float
) -> None:
    policy = RetryPolicy(first_retry=first, max_retry=longest, give_up_after=_POLICY.give_up_after)
    nominal = min(longest, first)
    for _ in range(min(attempts, 100) - 1):
        nominal = min(longest, nominal * 2)
    wait = backoff(attempts, policy, chance)
    assert 0.5 * nominal <= wait <= 1.5 * nominal
    assert wait == nominal * (0.5 + chance)


@given(_WAITS, _WAITS, st.integers(2, 200))
def test_the_nominal_wait_doubles_from_the_first_to_the_longest_and_stays_there(
    first: timedelta, longest: timedelta, most: int
) -> None:
    policy = RetryPolicy(first_retry=first, max_retry=longest, give_up_after=_POLICY.give_up_after)
    waits = [backoff(attempts, policy, 0.5) for attempts in range(1, most + 1)]
    assert waits[0] == min(first, longest)
    assert all(later == min(2 * earlier, longest) for earlier, later in pairwise(waits))


_ASKED = st.none() | st.timedeltas(timedelta(0), timedelta(days=365))


@given(_WAITS, _WAITS, st.tuples(_ASKED, _ASKED), _ATTEMPTS, _CHANCES)
def test_the_next_attempt_comes_after_the_wait_and_never_before_what_was_asked_for(
    first: timedelta,
    longest: timedelta,
    asked: tuple[timedelta | None, timedelta | None],
    attempts: int,
    chance: float,
) -> None:
    policy = RetryPolicy(first_retry=first, max_retry=longest, give_up_after=_POLICY.give_up_after)
    retry_after, not_before = asked
    _, tried = judge(
        _delivery(attempts=attempts - 1),
        SendError("HTTP 503", retry_after=retry_after, not_before=not_before),
        policy=policy,
        now=_NOW,
        took=_TOOK,
        chance=chance,
    )
    waits = (backoff(attempts, policy, chance), *filter(None, asked))
    assert tried.next_attempt_at == _NOW + max(waits)
    assert tried.held_until == (None if retry_after is None else _NOW + retry_after)


@given(
    st.timedeltas(_SECOND, timedelta(days=3)),
    st.lists(
        st.tuples(
            st.none() | st.timedeltas(timedelta(0), timedelta(days=1)),
            st.timedeltas(timedelta(0), timedelta(minutes=1)),
            _CHANCES,
        )
    ),
)
def test_a_delivery_is_tried_for_as_long_as_told_from_its_first_attempt_on_holds_left_out(
    give_up_after: timedelta, failures: list[tuple[timedelta | None, timedelta, float]]
) -> None:
    policy = RetryPolicy(first_retry=_SECOND, max_retry=timedelta(hours=1), give_up_after=give_up_after)
    delivery, started, held = _delivery(created_at=_NOW - timedelta(days=100)), _NOW, timedelta(0)
    for attempts, (retry_after, took, chance) in enumerate(failures, 1):
        error = SendError("HTTP 503", retry_after=retry_after)
        now = started + took
        outcome, delivery = judge(delivery, error, policy=policy, now=now, took=took, chance=chance)
        assert (delivery.attempts, delivery.first_attempt_at) == (attempts, _NOW)
        assert len(delivery.history) == min(attempts, KEPT_ATTEMPTS)
        assert outcome == ("retry" if now - _NOW - held < give_up_after else "dead")
        if outcome == "dead":
            break
        held += retry_after or timedelta(0)
        assert delivery.held == held
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at - now >= max(0.5 * _SECOND, retry_after or timedelta(0))
        started = delivery.next_attempt_at
