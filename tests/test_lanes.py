import math
from collections import defaultdict, deque
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.lanes import Lane, Outcome, RetryPolicy, Waiting, backoff, judge
from notifier.model import Delivery, JobKey, SendError

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_POLICY = RetryPolicy(first_retry=5 * _SECOND, max_retry=timedelta(hours=1), give_up_after=timedelta(days=3))


def _waiting(job: str, number: int = 1, due: float = 0.0) -> Waiting:
    return Waiting(("allium", job), f"dlv_{job}{number}", due)


def _lane(*all_waiting: Waiting, concurrency: int = 10) -> Lane:
    lane = Lane(concurrency)
    for waiting in all_waiting:
        lane.add(waiting)
    return lane


def _delivery(**changes: object) -> Delivery:
    fields = {"id": "dlv_1", "event_id": "evt_1", "target": "ops", "created_at": _NOW}
    return Delivery(**(fields | changes))  # type: ignore[arg-type]


def test_an_empty_lane_has_nothing_to_do() -> None:
    lane = Lane(10)
    assert lane.take(math.inf) == []
    assert lane.next_due() is None
    assert lane.is_idle(math.inf)
    assert len(lane) == 0


def test_second_event_of_a_job_waits_for_the_first() -> None:
    first, second = _waiting("a", 1), _waiting("a", 2)
    lane = _lane(first, second)
    assert lane.take(1) == [first]
    assert lane.take(1) == []
    lane.finish(first)
    assert lane.take(1) == [second]


def test_second_event_of_a_job_waits_while_the_first_is_retried() -> None:
    first, second = _waiting("a", 1), _waiting("a", 2)
    lane = _lane(first, second)
    lane.take(0)
    lane.retry(first, 50.0)
    assert lane.take(49.9) == []
    (again,) = lane.take(50.0)
    assert again == Waiting(first.job, first.delivery_id, 50.0)
    lane.finish(again)
    assert lane.take(50.0) == [second]


def test_a_job_that_is_retried_delays_no_other_job() -> None:
    slow, other = _waiting("a"), _waiting("b")
    lane = _lane(slow, other)
    assert lane.take(0) == [slow, other]
    lane.retry(slow, 1000.0)
    lane.finish(other)
    later = _waiting("b", 2)
    lane.add(later)
    assert lane.take(1) == [later]


def test_jobs_of_the_same_name_in_two_sources_are_two_jobs() -> None:
    here, there = Waiting(("one", "a"), "dlv_1", 0), Waiting(("two", "a"), "dlv_2", 0)
    assert _lane(here, there).take(0) == [here, there]


def test_no_more_jobs_are_attempted_side_by_side_than_allowed() -> None:
    jobs = [_waiting(job) for job in "abc"]
    lane = _lane(*jobs, concurrency=2)
    assert lane.take(0) == jobs[:2]
    assert lane.take(0) == []
    assert lane.next_due() is None
    lane.finish(jobs[1])
    assert lane.next_due() == 0
    assert lane.take(0) == jobs[2:]


def test_what_has_been_due_longest_goes_first() -> None:
    late, early, second_early = _waiting("a", due=9), _waiting("b", due=3), _waiting("c", due=3)
    lane = _lane(late, early, second_early, concurrency=2)
    assert lane.next_due() == 3
    assert lane.take(10) == [early, second_early]


def test_a_lane_is_idle_when_nothing_is_due_and_nothing_under_way() -> None:
    waiting = _waiting("a", due=5)
    lane = _lane(waiting)
    assert lane.is_idle(4.9)
    assert not lane.is_idle(5)
    lane.take(5)
    assert not lane.is_idle(4.9)
    lane.retry(waiting, math.inf)
    assert lane.is_idle(10**9)
    assert len(lane) == 1


def test_attempts_start_an_interval_apart() -> None:
    lane = Lane(10, interval_seconds=1.0)
    for number in range(3):
        lane.add(Waiting(("allium", f"j{number}"), f"dlv_{number}", 0.0))
    assert [w.delivery_id for w in lane.take(5.0)] == ["dlv_0"]
    assert lane.next_due() == 6.0
    assert lane.take(5.9) == []
    assert [w.delivery_id for w in lane.take(6.5)] == ["dlv_1"]
    assert lane.next_due() == 7.5
    assert not lane.is_idle(6.6), "what only the interval delays is still to be done"


def test_a_held_lane_starts_nothing_before_its_time() -> None:
    lane = _lane(Waiting(("allium", "a"), "dlv_a", 0.0), Waiting(("allium", "b"), "dlv_b", 50.0))
    lane.hold(30.0)
    lane.hold(20.0)
    assert lane.next_due() == 30.0
    assert lane.take(29.9) == []
    assert lane.is_idle(29.9), "nobody waits for a target that asked to be left alone"
    assert [w.delivery_id for w in lane.take(30.0)] == ["dlv_a"]
    assert lane.next_due() == 50.0


class _Model:
    """What a lane is to do, in the plainest words."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.queues: defaultdict[JobKey, deque[Waiting]] = defaultdict(deque)
        self.under_way: list[Waiting] = []
        self.ended: defaultdict[JobKey, list[str]] = defaultdict(list)

    def free(self) -> int:
        return self.concurrency - len(self.under_way)

    def heads(self) -> list[float]:
        busy = {waiting.job for waiting in self.under_way}
        return sorted(queue[0].due for job, queue in self.queues.items() if queue and job not in busy)

    def check(self, lane: Lane, now: float) -> None:
        heads = self.heads()
        assert len(lane) == sum(map(len, self.queues.values()))
        assert lane.next_due() == (heads[0] if heads and self.free() else None)
        assert lane.is_idle(now) == (not self.under_way and not any(due <= now for due in heads))

    def take(self, lane: Lane, now: float) -> None:
        due = [due for due in self.heads() if due <= now][: self.free()]
        taken = lane.take(now)
        assert [waiting.due for waiting in taken] == due
        self.under_way += taken
        jobs = [waiting.job for waiting in self.under_way]
        assert len(set(jobs)) == len(jobs) <= self.concurrency
        assert all(waiting == self.queues[waiting.job][0] for waiting in taken)

    def finish(self, lane: Lane, index: int) -> None:
        waiting = self.under_way.pop(index % len(self.under_way))
        self.ended[waiting.job].append(self.queues[waiting.job].popleft().delivery_id)
        lane.finish(waiting)

    def retry(self, lane: Lane, index: int, due: float) -> None:
        waiting = self.under_way.pop(index % len(self.under_way))
        self.queues[waiting.job][0] = Waiting(waiting.job, waiting.delivery_id, due)
        lane.retry(waiting, due)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "take", "take", "finish", "retry", "pass"]),
        st.integers(0, 4),
        st.integers(0, 5) | st.just(math.inf),
    ),
    max_size=60,
)


@given(st.integers(1, 4), _STEPS)
def test_a_lane_does_in_any_order_of_events_what_its_model_does(
    concurrency: int, steps: list[tuple[str, int, float]]
) -> None:
    lane, model = Lane(concurrency), _Model(concurrency)
    added: defaultdict[JobKey, list[str]] = defaultdict(list)
    now = 0.0
    for number, (step, which, wait) in enumerate(steps):
        if step == "add":
            waiting = Waiting(("allium", f"j{which}"), f"dlv_{number}", now + wait)
            added[waiting.job].append(waiting.delivery_id)
            model.queues[waiting.job].append(waiting)
            lane.add(waiting)
        elif step == "take":
            model.take(lane, now)
        elif step == "finish" and model.under_way:
            model.finish(lane, which)
        elif step == "retry" and model.under_way:
            model.retry(lane, which, now + wait)
        elif step == "pass":
            now += which
        model.check(lane, now)
    while len(lane):
        if (due := lane.next_due()) is not None:
            now = max(now, due)
            model.take(lane, now)
        assert model.under_way, "what is due is taken"
        model.finish(lane, 0)
        model.check(lane, now)
    assert model.ended == added


@pytest.mark.parametrize(
    ("first_attempt_at", "error", "outcome"),
    [
        (None, None, "delivered"),
        (_NOW - timedelta(days=30), None, "delivered"),
        (None, SendError("HTTP 500"), "retry"),
        (None, SendError("HTTP 410", permanent=True), "dead"),
        (_NOW - timedelta(days=1), SendError("HTTP 400", permanent=True), "dead"),
        (_NOW - timedelta(days=1), SendError("HTTP 500"), "retry"),
        (_NOW - timedelta(days=3) + timedelta(milliseconds=1), SendError("HTTP 500"), "retry"),
        (_NOW - timedelta(days=3), SendError("HTTP 500"), "dead"),
        (_NOW - timedelta(days=4), SendError("no answer", outcome_unknown=True), "dead"),
        (_NOW - timedelta(days=3), SendError("HTTP 429", retry_after=_SECOND), "dead"),
        (None, SendError("no answer", outcome_unknown=True), "retry"),
    ],
)
def test_an_attempt_delivers_or_is_repeated_or_was_the_last(
    first_attempt_at: datetime | None, error: SendError | None, outcome: Outcome
) -> None:
    delivery = _delivery(
        created_at=_NOW - timedelta(days=60),
        attempts=4,
        first_attempt_at=first_attempt_at,
        next_attempt_at=_NOW,
        last_error="HTTP 503",
    )
    judged, tried = judge(delivery, error, policy=_POLICY, now=_NOW, chance=0.5)
    assert judged == outcome
    assert tried.state == ("pending" if outcome == "retry" else outcome)
    assert tried.attempts == 5
    assert tried.first_attempt_at == (first_attempt_at or _NOW)
    assert tried.last_error == (None if error is None else error.reason)
    assert tried.ended_at == (None if outcome == "retry" else _NOW)
    assert tried.next_attempt_at == (_NOW + 80 * _SECOND if outcome == "retry" else None)
    assert (tried.id, tried.event_id, tried.target, tried.created_at) == (
        delivery.id,
        delivery.event_id,
        delivery.target,
        delivery.created_at,
    )


def test_what_the_target_asked_to_be_left_alone_does_not_count_as_trying() -> None:
    error = SendError("HTTP 429", retry_after=timedelta(days=4))
    _, held = judge(_delivery(), error, policy=_POLICY, now=_NOW, chance=0.5)
    assert held.held_until == _NOW + timedelta(days=4)
    later = _NOW + timedelta(days=6)
    outcome, tried = judge(held, SendError("HTTP 500"), policy=_POLICY, now=later, chance=0.5)
    assert (outcome, tried.held_until) == ("retry", None)
    later = _NOW + timedelta(days=7)
    assert judge(tried, SendError("HTTP 500"), policy=_POLICY, now=later, chance=0.5)[0] == "dead"


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
    _, tried = judge(_delivery(), error, policy=_POLICY, now=_NOW, chance=0.5)
    assert tried.next_attempt_at == _NOW + wait


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


_WAITS = st.timedeltas(timedelta(milliseconds=1), timedelta(days=3650))


@given(_WAITS, _WAITS, st.integers(1, 100) | st.integers(1, 10**6), st.floats(0, 1))
def test_each_wait_is_half_to_one_and_a_half_of_the_nominal_one(
    first: timedelta, longest: timedelta, attempts: int, chance: float
) -> None:
    policy = RetryPolicy(first_retry=first, max_retry=longest, give_up_after=_POLICY.give_up_after)
    nominal = first
    for _ in range(min(attempts, 100) - 1):
        nominal = min(longest, nominal * 2)
    nominal = min(longest, nominal)
    wait = backoff(attempts, policy, chance)
    assert 0.5 * nominal <= wait <= 1.5 * nominal
    assert wait == nominal * (0.5 + chance)


@given(
    st.timedeltas(_SECOND, timedelta(days=3)),
    st.lists(st.tuples(st.none() | st.timedeltas(timedelta(0), timedelta(days=1)), st.floats(0, 1))),
)
def test_a_delivery_is_tried_for_as_long_as_told_from_its_first_attempt_on_holds_left_out(
    give_up_after: timedelta, failures: list[tuple[timedelta | None, float]]
) -> None:
    policy = RetryPolicy(first_retry=_SECOND, max_retry=timedelta(hours=1), give_up_after=give_up_after)
    delivery, now, held = _delivery(created_at=_NOW - timedelta(days=100)), _NOW, timedelta(0)
    for attempts, (retry_after, chance) in enumerate(failures, 1):
        error = SendError("HTTP 503", retry_after=retry_after)
        outcome, delivery = judge(delivery, error, policy=policy, now=now, chance=chance)
        assert (delivery.attempts, delivery.first_attempt_at) == (attempts, _NOW)
        assert outcome == ("retry" if now - _NOW - held < give_up_after else "dead")
        held += retry_after or timedelta(0)
        if outcome == "dead":
            break
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at - now >= max(0.5 * _SECOND, retry_after or timedelta(0))
        now = delivery.next_attempt_at
