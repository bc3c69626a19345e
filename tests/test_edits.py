import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.edits import Edits
from notifier.model import JobKey
from notifier.spacing import Allowance

A, B, C, D = (("s", name) for name in "abcd")


def edits(*, period: float = 1.0, burst: int = 1000, spare: int = 0) -> tuple[Edits, Allowance]:
    allowance = Allowance(per_minute=60.0 / period, burst=burst)
    return Edits(allowance, spare=spare), allowance


def all_taken(asked: Edits, now: float, edit: Callable[[], None] = lambda: None) -> list[JobKey]:
    """Return what is looked at now, each edited."""
    found = []
    while (job := asked.take(now)) is not None:
        found.append(job)
        edit()
    return found


def test_at_first_nothing_is_asked_for() -> None:
    asked, _ = edits()
    assert (len(asked), asked.next_due(), asked.take(1e9)) == (0, None, None)


def test_nothing_is_looked_at_before_it_is_due() -> None:
    asked, _ = edits()
    asked.ask(A, 10.0)
    assert (asked.next_due(), asked.take(9.9), len(asked)) == (10.0, None, 1)
    assert (asked.take(10.0), asked.take(10.0), len(asked), asked.next_due()) == (A, None, 0, None)


def test_those_of_events_go_at_once_and_in_their_order() -> None:
    asked, _ = edits()
    asked.ask(A, 1.0)
    for job in (C, B, D, C):
        asked.ask_for_event(job)
    assert len(asked) == 4
    assert asked.next_due() == -math.inf
    assert all_taken(asked, 5.0) == [C, B, D, A]


def test_the_others_go_when_they_are_due_the_one_that_is_due_longest_first() -> None:
    asked, _ = edits()
    for job, due in ((A, 3.0), (B, 1.0), (C, 2.0), (D, 9.0)):
        asked.ask(job, due)
    assert all_taken(asked, 5.0) == [B, C, A]
    assert asked.next_due() == 9.0


def test_a_card_is_asked_for_once_however_often_its_job_changes() -> None:
    asked, _ = edits()
    for due in (7.0, 5.0, 6.0, 5.0, 8.0):
        asked.ask(A, due)
    assert len(asked) == 1
    assert asked.next_due() == 5.0, "the earliest counts"
    assert all_taken(asked, 100.0) == [A]
    assert (len(asked), asked.next_due()) == (0, None)


def test_an_event_brings_a_card_forward_that_was_not_due_yet() -> None:
    asked, _ = edits()
    asked.ask(A, 50.0)
    asked.ask_for_event(A)
    assert len(asked) == 1
    assert all_taken(asked, 0.0) == [A]
    assert all_taken(asked, 100.0) == [], "and it is not looked at again when it would have been due"


def test_a_card_that_an_event_has_asked_for_is_not_put_off() -> None:
    asked, _ = edits()
    asked.ask_for_event(A)
    asked.ask(A, 50.0)
    assert len(asked) == 1
    assert all_taken(asked, 0.0) == [A]
    assert all_taken(asked, 100.0) == []


@pytest.mark.parametrize("due", [3.0, 50.0, None], ids=["asked for sooner", "asked for later", "an event"])
def test_what_is_put_off_is_looked_at_then_and_not_before(due: float | None) -> None:
    asked, _ = edits()
    if due is None:
        asked.ask_for_event(A)
    else:
        asked.ask(A, due)
    asked.put_off(A, 10.0)
    assert (len(asked), asked.next_due()) == (1, 10.0)
    assert all_taken(asked, 9.9) == []
    assert all_taken(asked, 10.0) == [A]
    assert all_taken(asked, 100.0) == []


def test_putting_one_off_leaves_the_others_as_they_are() -> None:
    asked, _ = edits()
    for job in (A, B):
        asked.ask_for_event(job)
    asked.ask(C, 2.0)
    asked.put_off(A, 5.0)
    asked.put_off(D, 5.0)
    assert all_taken(asked, 4.0) == [B, C]
    assert all_taken(asked, 5.0) == [A, D]


def test_what_is_put_off_may_be_asked_for_again() -> None:
    asked, _ = edits()
    asked.put_off(A, 10.0)
    asked.put_off(B, 10.0)
    asked.ask_for_event(A)
    asked.ask(B, 4.0)
    assert all_taken(asked, 3.0) == [A]
    assert all_taken(asked, 4.0) == [B]
    assert len(asked) == 0


def test_what_was_looked_at_may_be_asked_for_again() -> None:
    asked, _ = edits()
    for due in (10.0, 20.0, 20.0, 5.0):
        asked.ask(A, due)
        assert asked.next_due() == due
        assert all_taken(asked, 100.0) == [A]
    asked.ask(A, 30.0)
    asked.ask_for_event(A)
    assert all_taken(asked, 0.0) == [A]
    asked.ask(A, 30.0)
    assert all_taken(asked, 29.0) == []
    assert all_taken(asked, 30.0) == [A]


def test_all_of_them_keep_to_the_allowance() -> None:
    asked, allowance = edits(period=2.0, burst=3)
    for job in (A, B, C, D):
        asked.ask_for_event(job)
    assert all_taken(asked, 10.0, lambda: allowance.take(10.0)) == [A, B, C]
    assert asked.next_due() == 12.0
    assert asked.take(11.9) is None
    assert asked.take(12.0) == D


def test_a_look_that_edits_nothing_costs_nothing() -> None:
    asked, _ = edits(period=60.0, burst=1)
    for job in (A, B, C):
        asked.ask(job, 1.0)
    assert all_taken(asked, 1.0) == [A, B, C]


def test_the_others_leave_so_many_edits_for_events() -> None:
    asked, allowance = edits(period=2.0, burst=4, spare=2)
    for job in (A, B, C):
        asked.ask(job, 1.0)
    assert all_taken(asked, 10.0, lambda: allowance.take(10.0)) == [A, B]
    assert asked.next_due() == 12.0
    asked.ask_for_event(D)
    asked.ask_for_event(A)
    asked.ask_for_event(B)
    assert all_taken(asked, 10.0, lambda: allowance.take(10.0)) == [D, A]
    assert asked.next_due() == 12.0
    assert asked.take(12.0) == B
    allowance.take(12.0)
    assert asked.next_due() == 18.0, "C, when two are left for events again"


def test_those_of_events_that_may_not_go_yet_keep_the_others_waiting() -> None:
    asked, allowance = edits(period=5.0, burst=1)
    allowance.take(0.0)
    asked.ask(A, 1.0)
    asked.ask_for_event(B)
    assert asked.take(4.9) is None
    assert asked.take(5.0) == B


def test_while_it_rests_nothing_is_looked_at() -> None:
    asked, _ = edits()
    asked.ask(A, 1.0)
    asked.ask_for_event(B)
    asked.rest(50.0)
    asked.rest(20.0)
    assert asked.next_due() == 50.0
    assert all_taken(asked, 49.9) == []
    assert all_taken(asked, 50.0) == [B, A]


def test_a_hold_of_the_allowance_holds_all() -> None:
    asked, allowance = edits()
    asked.ask(A, 1.0)
    asked.ask_for_event(B)
    allowance.hold(30.0)
    assert asked.next_due() == 30.0
    assert all_taken(asked, 29.9) == []
    assert all_taken(asked, 30.0) == [B, A]


def test_what_two_ask_for_is_bounded_by_the_allowance_they_share() -> None:
    allowance = Allowance(per_minute=60.0, burst=2)
    one, other = Edits(allowance, spare=0), Edits(allowance, spare=0)
    for job in (A, B):
        one.ask_for_event(job)
        other.ask_for_event(job)
    assert one.take(0.0) == A
    allowance.take(0.0)
    assert other.take(0.0) == A
    allowance.take(0.0)
    assert (one.next_due(), other.next_due()) == (1.0, 1.0)
    assert other.take(1.0) == B
    allowance.take(1.0)
    assert (one.take(1.0), one.next_due()) == (None, 2.0)


class Model:
    """The same, slow and simple."""

    def __init__(self, allowance: Allowance, spare: int) -> None:
        self.allowance = allowance
        self.spare = spare
        self.events: list[JobKey] = []
        self.due: dict[JobKey, float] = {}
        self.rest_until = -math.inf

    def ask_for_event(self, job: JobKey) -> None:
        self.due.pop(job, None)
        if job not in self.events:
            self.events.append(job)

    def ask(self, job: JobKey, due: float) -> None:
        if job not in self.events:
            self.due[job] = min(due, self.due.get(job, due))

    def put_off(self, job: JobKey, due: float) -> None:
        if job in self.events:
            self.events.remove(job)
        self.due[job] = due

    def next_due(self) -> float | None:
        if self.events:
            return max(self.rest_until, self.allowance.next_at())
        if not self.due:
            return None
        return max(min(self.due.values()), self.rest_until, self.allowance.next_at(spare=self.spare))

    def candidates(self) -> list[JobKey]:
        """Return what may be next: of several that are due at the same time any."""
        if self.events:
            return self.events[:1]
        return [job for job, due in self.due.items() if due == min(self.due.values())]

    def took(self, job: JobKey) -> None:
        if job in self.events:
            self.events.remove(job)
        else:
            del self.due[job]


_JOBS = st.sampled_from([A, B, C, D])
_STEPS = st.lists(
    st.tuples(st.just("event"), _JOBS, st.just(0))
    | st.tuples(st.just("ask"), _JOBS, st.integers(-5, 30))
    | st.tuples(st.just("put off"), _JOBS, st.integers(-5, 30))
    | st.tuples(st.just("look"), st.just(A), st.integers(0, 9))
    | st.tuples(st.just("edit"), st.just(A), st.integers(0, 9))
    | st.tuples(st.just("other"), st.just(A), st.just(0))
    | st.tuples(st.just("hold"), st.just(A), st.integers(0, 20))
    | st.tuples(st.just("rest"), st.just(A), st.integers(0, 20)),
    min_size=40,  # or most of them would be far shorter than it takes to come to something
    max_size=100,
)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 5), _STEPS)
def test_it_asks_for_the_same_as_a_simple_model(
    period: int, burst: int, spare: int, steps: list[tuple[str, JobKey, int]]
) -> None:
    asked, allowance = edits(period=period, burst=burst, spare=spare)
    model, now = Model(allowance, spare), 0.0
    for step, job, number in steps:
        match step:
            case "event":
                asked.ask_for_event(job)
                model.ask_for_event(job)
            case "ask":
                asked.ask(job, now + number)
                model.ask(job, now + number)
            case "put off":
                asked.put_off(job, now + number)
                model.put_off(job, now + number)
            case "other":
                allowance.take(now)
            case "hold":
                allowance.hold(now + number)
            case "rest":
                asked.rest(now + number)
                model.rest_until = max(model.rest_until, now + number)
            case _:
                now += number
                due, candidates = model.next_due(), model.candidates()
                taken = asked.take(now)
                if due is None or due > now:
                    assert taken is None
                else:
                    assert taken is not None
                    assert taken in candidates
                    model.took(taken)
                    if step == "edit":
                        allowance.take(now)
        assert asked.next_due() == model.next_due()
        assert len(asked) == len(model.events) + len(model.due)


@given(st.integers(1, 4), st.integers(1, 6), st.data())
def test_everything_that_is_asked_for_is_looked_at_in_the_end(
    period: int, burst: int, data: st.DataObject
) -> None:
    spare = data.draw(st.integers(0, burst - 1))
    asked, allowance = edits(period=period, burst=burst, spare=spare)
    jobs = [("s", str(number)) for number in range(20)]
    for job in jobs:
        if data.draw(st.booleans()):
            asked.ask_for_event(job)
        else:
            asked.ask(job, data.draw(st.integers(0, 50)))
    found = []
    while (due := asked.next_due()) is not None:
        now = max(0.0, due)
        taken = asked.take(now)
        assert taken is not None
        found.append(taken)
        allowance.take(now)
    assert sorted(found) == sorted(jobs)


@pytest.mark.parametrize("count", [3, 3000])
def test_asking_again_and_again_keeps_nothing_of_what_is_over(count: int) -> None:
    asked, _ = edits()
    for number in range(count):
        asked.ask(A, 10.0 + number)
        asked.ask_for_event(A)
        assert all_taken(asked, 0.0) == [A]
    assert (len(asked), asked.next_due()) == (0, None)
    assert asked._heap == []
