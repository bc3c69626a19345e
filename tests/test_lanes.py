import math
from itertools import count, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from notifier.lanes import Lane
from notifier.model import RecordKey
from notifier.probe import Probe
from notifier.sending import Grouping
from notifier.spacing import Spacing
from notifier.waiting import Batch, Waiting


def _waiting(job: str, number: int = 1, due: float = 0.0) -> Waiting:
    return Waiting(("allium", job), f"dlv_{job}{number}", due)


def _tried(job: str, number: int = 1, due: float = 0.0) -> Waiting:
    return Waiting(("allium", job), f"dlv_{job}{number}", due, fresh=False)


def _replay(job: str, number: int = 1, due: float = 0.0) -> Waiting:
    return Waiting(("allium", job), f"dlv_{job}{number}", due, replay=True)


def _lane(*all_waiting: Waiting, concurrency: int = 10, grouping: Grouping | None = None) -> Lane:
    lane = Lane(concurrency, grouping=grouping)
    for waiting in all_waiting:
        lane.add(waiting)
    return lane


def _probed_lane(*all_waiting: Waiting, grouping: Grouping | None = None) -> Lane:
    """Return a lane with a target that failed three times in a row, until the time 10."""
    lane = Lane(10, grouping=grouping, probe=Probe(first_seconds=10.0, longest_seconds=60.0))
    for job in ("x", "y", "z"):
        lane.add(_waiting(job))
        batch = _take(lane, 0)
        lane.failed(batch, 0.0)
        lane.retry(batch, 1000.0)
    for waiting in all_waiting:
        lane.add(waiting)
    return lane


def _alone(*each: Waiting) -> list[Batch]:
    return [Batch((waiting,)) for waiting in each]


def _take(lane: Lane, now: float) -> Batch:
    (batch,) = lane.take(now)
    return batch


def _taken(lane: Lane, now: float) -> list[list[str]]:
    """Return which deliveries are attempted now, by what goes together."""
    return [[each.delivery_id.removeprefix("dlv_") for each in batch.members] for batch in lane.take(now)]


def test_an_empty_lane_has_nothing_to_do() -> None:
    lane = Lane(10)
    assert lane.take(math.inf) == []
    assert lane.next_due() is None
    assert lane.is_idle(math.inf)
    assert not lane.probing
    assert len(lane) == 0


def test_second_event_of_a_job_waits_for_the_first() -> None:
    first, second = _waiting("a", 1), _waiting("a", 2)
    lane = _lane(first, second)
    batch = _take(lane, 1)
    assert batch == Batch((first,))
    assert lane.take(1) == []
    lane.finish(batch)
    assert lane.take(1) == _alone(second)


def test_second_event_of_a_job_waits_while_the_first_is_retried() -> None:
    first, second = _waiting("a", 1), _waiting("a", 2)
    lane = _lane(first, second)
    lane.retry(_take(lane, 0), 50.0)
    assert lane.take(49.9) == []
    again = _take(lane, 50.0)
    assert again == Batch((first,))
    lane.finish(again)
    assert lane.take(50.0) == _alone(second)


def test_a_job_that_is_retried_delays_no_other_job() -> None:
    slow, other = _waiting("a"), _waiting("b")
    lane = _lane(slow, other)
    slow_batch, other_batch = lane.take(0)
    lane.retry(slow_batch, 1000.0)
    lane.finish(other_batch)
    later = _waiting("b", 2)
    lane.add(later)
    assert lane.take(1) == _alone(later)


def test_jobs_of_the_same_name_in_two_sources_are_two_jobs() -> None:
    here, there = Waiting(("one", "a"), "dlv_1", 0), Waiting(("two", "a"), "dlv_2", 0)
    assert _lane(here, there).take(0) == _alone(here, there)


def test_events_of_a_source_that_are_about_no_job_go_in_their_order_and_wait_for_no_job() -> None:
    down, up = Waiting(("allium", None), "dlv_down", 0), Waiting(("allium", None), "dlv_up", 0)
    lane = _lane(_waiting("a"), down, up)
    assert _taken(lane, 0) == [["a1"], ["down"]]
    lane.finish(Batch((down,)))
    assert _taken(lane, 0) == [["up"]]


def test_no_more_jobs_are_attempted_side_by_side_than_allowed() -> None:
    jobs = [_waiting(job) for job in "abc"]
    lane = _lane(*jobs, concurrency=2)
    taken = lane.take(0)
    assert taken == _alone(*jobs[:2])
    assert lane.take(0) == []
    assert lane.next_due() is None
    lane.finish(taken[1])
    assert lane.next_due() == 0
    assert lane.take(0) == _alone(*jobs[2:])


def test_what_has_been_due_longest_goes_first() -> None:
    late, early, second_early = _waiting("a", due=9), _waiting("b", due=3), _waiting("c", due=3)
    lane = _lane(late, early, second_early, concurrency=2)
    assert lane.next_due() == 3
    assert lane.take(10) == _alone(early, second_early)


def test_what_is_retried_takes_its_turn_by_when_it_is_due() -> None:
    lane = _lane(_waiting("a"), concurrency=1)
    lane.retry(_take(lane, 0), 5.0)
    lane.add(_waiting("b", due=4))
    lane.add(_waiting("c", due=6))
    order = []
    while len(lane):
        batch = _take(lane, 10)
        order.append(batch.members[0].delivery_id)
        lane.finish(batch)
    assert order == ["dlv_b1", "dlv_a1", "dlv_c1"]


def test_a_lane_is_idle_when_nothing_is_due_and_nothing_under_way() -> None:
    lane = _lane(_waiting("a", due=5))
    assert lane.is_idle(4.9)
    assert not lane.is_idle(5)
    batch = _take(lane, 5)
    assert not lane.is_idle(4.9)
    lane.retry(batch, math.inf)
    assert lane.is_idle(10**9)
    assert len(lane) == 1


def test_attempts_start_an_interval_apart() -> None:
    lane = Lane(10, spacing=Spacing(1.0))
    for job in ("a", "b", "c"):
        lane.add(_waiting(job))
    assert _taken(lane, 5.0) == [["a1"]]
    assert lane.next_due() == 6.0
    assert lane.take(5.9) == []
    assert _taken(lane, 6.5) == [["b1"]]
    assert lane.next_due() == 7.5
    assert not lane.is_idle(6.6), "what only the interval delays is still to be done"


def test_a_held_lane_starts_nothing_before_its_time() -> None:
    lane = _lane(_waiting("a"), _waiting("b", due=50.0))
    lane.hold(30.0)
    lane.hold(20.0)
    assert lane.next_due() == 30.0
    assert lane.take(29.9) == []
    assert lane.is_idle(29.9), "nobody waits for a target that asked to be left alone"
    assert _taken(lane, 30.0) == [["a1"]]
    assert lane.next_due() == 50.0


def test_a_replay_waits_for_nobody_and_nobody_waits_for_it() -> None:
    lane = _lane(_waiting("a", 2), _replay("a", 1), _waiting("a", 3))
    assert _taken(lane, 0) == [["a2"], ["a1"]]
    lane.finish(Batch((_waiting("a", 2),)))
    assert _taken(lane, 0) == [["a3"]]
    lane.retry(Batch((_replay("a", 1),)), 50.0)
    lane.finish(Batch((_waiting("a", 3),)))
    lane.add(_waiting("a", 4))
    assert _taken(lane, 1) == [["a4"]]
    assert _taken(lane, 50) == [["a1"]]


def test_what_was_attempted_before_a_restart_waits_for_its_time_and_its_job_waits_for_it() -> None:
    lane = _lane(_tried("a", 1, due=50), _waiting("a", 2), _waiting("b"))
    assert _taken(lane, 0) == [["b1"]]
    assert lane.next_due() == 50
    first = _take(lane, 50)
    assert first == Batch((_tried("a", 1, due=50),))
    lane.finish(first)
    assert _taken(lane, 50) == [["a2"]]


def test_several_go_together_when_more_than_so_many_wait() -> None:
    three = [_waiting(job) for job in "abc"]
    assert _taken(_lane(*three, grouping=Grouping(over=3, limit=10)), 0) == [["a1"], ["b1"], ["c1"]]
    lane = _lane(*three, _waiting("d"), grouping=Grouping(over=3, limit=10))
    assert _taken(lane, 0) == [["a1", "b1", "c1", "d1"]]
    assert len(lane) == 4
    assert lane.next_due() is None


def test_no_more_go_together_than_the_limit_and_the_rest_may_be_too_few() -> None:
    lane = _lane(*(_waiting(job) for job in "abcde"), grouping=Grouping(over=2, limit=3))
    assert _taken(lane, 0) == [["a1", "b1", "c1"], ["d1"], ["e1"]]


def test_without_a_grouping_each_goes_alone() -> None:
    assert _taken(_lane(*(_waiting(job) for job in "abc")), 0) == [["a1"], ["b1"], ["c1"]]


def test_several_events_of_one_job_go_together_in_their_order() -> None:
    each = [_waiting("a", 1), _waiting("b", 1), _waiting("a", 2), _waiting("c", 1), _waiting("a", 3)]
    lane = _lane(*each, grouping=Grouping(over=1, limit=4))
    together = _take(lane, 0)
    assert together.members == tuple(each[:4])
    assert lane.take(0) == [], "the job's third waits for the first two"
    lane.add(_waiting("d"))
    lane.finish(together)
    assert _taken(lane, 0) == [["a3", "d1"]]


def test_what_goes_together_is_of_one_source() -> None:
    each = [Waiting((source, job), f"dlv_{source}{job}", 0) for job in "ab" for source in ("eu", "us")]
    assert _taken(_lane(*each, grouping=Grouping(over=2, limit=10)), 0) == [["eua", "eub"], ["usa"], ["usb"]]


def test_what_is_not_due_yet_goes_with_nothing() -> None:
    lane = _lane(
        *(_waiting("a"), _waiting("b"), _waiting("c", due=5), _waiting("d")),
        concurrency=1,
        grouping=Grouping(over=2, limit=10),
    )
    assert _taken(lane, 4) == [["a1", "b1", "d1"]]


def test_what_was_attempted_before_goes_with_nothing() -> None:
    lane = _lane(
        *(_tried("a", 1), _waiting("a", 2), _tried("b"), _waiting("c"), _waiting("d")),
        grouping=Grouping(over=1, limit=10),
    )
    assert sorted(_taken(lane, 0)) == [["a1"], ["b1"], ["c1", "d1"]]
    assert lane.take(0) == []


def test_replays_go_together_like_all_that_was_never_attempted() -> None:
    lane = _lane(*(_replay(job) for job in "abc"), _waiting("d"), grouping=Grouping(over=1, limit=10))
    assert _taken(lane, 0) == [["a1", "b1", "c1", "d1"]]


def test_while_probed_a_replay_goes_first_and_at_once_when_hurried() -> None:
    lane = _probed_lane(_waiting("a"), _replay("b", due=-1.0), grouping=Grouping(over=5, limit=10))
    assert lane.next_due() == 10.0
    lane.hurry()
    assert _take(lane, 5) == Batch((_replay("b", due=-1.0),), probing=True)


def test_a_batch_is_retried_as_it_was_whatever_came_in_meanwhile() -> None:
    grouping = Grouping(over=1, limit=10)
    lane = _lane(_waiting("a", 1), _waiting("b"), _waiting("a", 2), concurrency=1, grouping=grouping)
    together = _take(lane, 0)
    lane.add(_waiting("c"))
    lane.add(_waiting("a", 3))
    for due in (5.0, 10.0, 20.0):
        lane.retry(together, due)
        assert _taken(lane, due - 1) == ([["c1"]] if due == 5.0 else [])
        if due == 5.0:
            lane.finish(Batch((_waiting("c"),)))
        assert _take(lane, due) == together
    lane.finish(together)
    assert _taken(lane, 20) == [["a3"]]
    assert len(lane) == 1


def test_after_a_split_the_members_go_one_by_one_in_their_jobs_order() -> None:
    each = [_waiting("a", 1), _waiting("b"), _waiting("a", 2)]
    lane = _lane(*each, grouping=Grouping(over=1, limit=10))
    together = _take(lane, 0)
    lane.add(_waiting("a", 3))
    lane.split(together, 5.0)
    assert len(lane) == 4
    assert lane.take(4.9) == []
    first, second = lane.take(5)
    assert (first, second) == (Batch((_tried("a", due=5),)), Batch((_tried("b", due=5),)))
    lane.finish(first)
    assert _taken(lane, 5) == [["a2"]]
    lane.finish(Batch((_tried("a", 2, due=5),)))
    assert _taken(lane, 5) == [["a3"]]


def test_what_was_split_is_never_put_together_again() -> None:
    lane = _lane(_waiting("a"), _waiting("b"), _waiting("c"), grouping=Grouping(over=1, limit=10))
    lane.split(_take(lane, 0), 0.0)
    lane.add(_waiting("d"))
    lane.add(_waiting("e"))
    assert sorted(_taken(lane, 1)) == [["a1"], ["b1"], ["c1"], ["d1", "e1"]]


def test_a_batch_from_before_a_restart_goes_as_it_was_and_its_jobs_wait_for_it() -> None:
    lane = Lane(10)
    members = (_tried("a", due=3), _tried("b", due=7), _tried("a", 2, due=5))
    lane.restore(members)
    lane.add(_waiting("a", 3))
    lane.add(_waiting("c"))
    assert len(lane) == 5
    assert _taken(lane, 0) == [["c1"]]
    assert lane.next_due() == 7
    together = _take(lane, 7)
    assert together == Batch(members)
    lane.finish(together)
    assert _taken(lane, 7) == [["a3"]]


def test_a_batch_from_before_a_restart_stays_together_though_it_was_never_attempted() -> None:
    lane = Lane(10, grouping=Grouping(over=1, limit=10))
    members = (_waiting("a"), _waiting("b"))
    lane.restore(members)
    lane.add(_waiting("c"))
    lane.add(_waiting("d"))
    assert sorted(_taken(lane, 0)) == [["a1", "b1"], ["c1", "d1"]]


def test_what_was_left_out_of_a_batch_goes_later_whenever_it_was_due() -> None:
    lane = _lane(
        *(_waiting("a", due=2), _waiting("b", due=1), _waiting("c", due=0)),
        concurrency=1,
        grouping=Grouping(over=2, limit=2),
    )
    lane.finish(_take(lane, 5))
    assert len(lane) == 1
    lane.finish(_take(lane, 5))
    assert len(lane) == 0


def test_a_jobs_later_event_keeps_its_own_time_when_the_first_has_gone_with_others() -> None:
    lane = Lane(1, grouping=Grouping(over=1, limit=10))
    for number, (source, job, due) in enumerate(
        [("eu", "a", 0), ("us", "a", 0), ("eu", "b", 0), ("eu", "b", 8)]
    ):
        lane.add(Waiting((source, job), f"dlv_{number}", due))
    lane.finish(_take(lane, 0))
    lane.finish(_take(lane, 0))
    assert lane.next_due() == 8
    assert _taken(lane, 8) == [["3"]]


def test_a_target_that_fails_three_times_in_a_row_is_attempted_one_at_a_time() -> None:
    lane = _probed_lane(_waiting("a"), _waiting("b"))
    assert lane.probing
    assert lane.next_due() == 10
    assert lane.take(9.9) == []
    probe = _take(lane, 10)
    assert probe == Batch((_waiting("a"),), probing=True)
    assert lane.next_due() is None
    assert lane.take(math.inf) == []
    assert not lane.failed(probe, 11.0)
    lane.retry(probe, 500.0)
    assert lane.next_due() == 31, "the distance has doubled"
    assert lane.succeeded()
    assert not lane.probing
    assert lane.next_due() == 0, "what waited goes at once"


def test_attempts_that_were_under_way_when_the_probing_begins_end_first_and_delay_it_no_further() -> None:
    lane = Lane(4, probe=Probe(first_seconds=10.0, longest_seconds=60.0))
    for job in "abcde":
        lane.add(_waiting(job))
    *failing, straggler = lane.take(0)
    for batch in failing:
        lane.failed(batch, 0.0)
        lane.retry(batch, 20.0)
    assert lane.probing
    assert lane.next_due() is None
    assert not lane.failed(straggler, 5.0)
    lane.retry(straggler, 20.0)
    assert lane.next_due() == 10
    assert _taken(lane, 10) == [["e1"]]


def test_an_attempt_from_before_the_probing_ends_it_when_it_succeeds() -> None:
    lane = _lane(*(_waiting(job) for job in "abcdef"), concurrency=4)
    *failing, straggler = lane.take(0)
    for batch in failing:
        lane.failed(batch, 0.0)
        lane.retry(batch, 20.0)
    assert lane.succeeded()
    lane.finish(straggler)
    assert _taken(lane, 1.0) == [["e1"], ["f1"]]


def test_a_refusal_neither_begins_nor_ends_the_probing() -> None:
    refused = [_waiting(job) for job in "abcd"]
    lane = _lane(*refused)
    for batch in lane.take(0):
        lane.finish(batch)
    assert not lane.probing
    lane = _probed_lane(*refused)
    lane.finish(_take(lane, 10))
    assert lane.probing
    assert lane.next_due() == 10, "it was an answer: the next attempt need not wait longer"
    assert _taken(lane, 10) == [["b1"]]


def test_a_success_in_between_keeps_a_target_from_being_probed() -> None:
    lane = _lane(*(_waiting(job) for job in "abcde"))
    for number, batch in enumerate(lane.take(0)):
        if number == 2:
            assert not lane.succeeded()
            lane.finish(batch)
        else:
            assert not lane.failed(batch, 0.0)
            lane.retry(batch, 20.0)
    assert not lane.probing


def test_while_probed_a_retry_that_is_due_goes_before_what_can_still_be_grouped() -> None:
    lane = _probed_lane(*(_waiting(job) for job in "abc"), grouping=Grouping(over=2, limit=10))
    assert _take(lane, 1000) == Batch((_waiting("x"),), probing=True)
    lane.finish(Batch((_waiting("x"),)))
    lane.succeeded()
    assert _taken(lane, 1000) == [["a1", "b1", "c1"], ["y1"], ["z1"]]


def test_while_probed_one_that_waits_is_tried_when_no_retry_is_due() -> None:
    lane = _probed_lane(*(_waiting(job) for job in "abcd"), grouping=Grouping(over=2, limit=10))
    first = _take(lane, 999)
    assert first == Batch((_waiting("a"),), probing=True)
    lane.finish(first)
    lane.succeeded()
    assert _taken(lane, 999) == [["b1", "c1", "d1"]]


def test_while_probed_retries_take_turns_with_what_was_never_attempted() -> None:
    lane = _probed_lane(*(_waiting(job) for job in "abc"))
    turns = []
    for _ in range(6):
        batch = _take(lane, 1000)
        turns.append(batch.members[0].key[1])
        lane.retry(batch, 5000)
    assert turns == ["x", "a", "y", "b", "z", "c"]


_Line = tuple[RecordKey, str]


def _line(waiting: Waiting) -> _Line:
    return waiting.key, waiting.delivery_id if waiting.replay else ""


class _Watched:
    """A lane, all that can be known of it from outside, and a clock: it checks what the lane promises."""

    def __init__(self, concurrency: int, *, interval: float, grouping: Grouping | None, probe: Probe) -> None:
        self.lane = Lane(concurrency, spacing=Spacing(interval), grouping=grouping, probe=probe)
        self.quiet = False
        self.was_held: set[str] = set()
        """What was there when the quiet ended."""
        self.now = 0.0
        self.concurrency, self.interval, self.grouping, self.probe = concurrency, interval, grouping, probe
        self.lines: dict[_Line, list[Waiting]] = {}
        """What has not ended, in the order of its events; a replay is a line of its own."""
        self.arrivals: dict[str, int] = {}
        self.again: list[tuple[float, tuple[Waiting, ...]]] = []
        self.under_way: list[Batch] = []
        self.attempted: set[str] = set()
        self.ended: set[str] = set()
        self.held_until = -math.inf
        self.last_start = -math.inf

    def add(self, waiting: Waiting) -> None:
        if not waiting.fresh and not self.lines.get(_line(waiting)):
            self.again.append((waiting.due, (waiting,)))
        self._note(waiting)
        self.lane.add(waiting)

    def restore(self, members: tuple[Waiting, ...]) -> None:
        for member in members:
            self._note(member)
        self.again.append((max(member.due for member in members), members))
        self.lane.restore(members)

    def set_quiet(self, quiet: bool) -> None:
        if self.quiet and not quiet:
            self.was_held.update(
                each.delivery_id for line in self.lines.values() for each in line if not each.loud
            )
        self.quiet = quiet
        self.lane.set_quiet(quiet)
        assert self.lane.is_quiet == quiet

    def hold(self, until: float) -> None:
        self.held_until = max(self.held_until, until)
        self.lane.hold(until)

    def take(self) -> list[Batch]:
        may_start = self.next_due()
        taken = self.lane.take(self.now)
        assert bool(taken) == (may_start is not None and may_start <= self.now)
        for batch in taken:
            self._check_time(batch)
            self._check_order(batch)
            self._check_members(batch)
            self.again = [entry for entry in self.again if entry[1] != batch.members]
            self.under_way.append(batch)
            self.attempted.update(member.delivery_id for member in batch.members)
            self.last_start = self.now
        return taken

    def succeed(self, batch: Batch) -> None:
        was_probing = self.lane.probing
        assert self.lane.succeeded() == was_probing
        assert not self.lane.probing
        self.finish(batch)

    def fail(self, batch: Batch) -> None:
        was_probing, next_at = self.lane.probing, self.probe.next_at
        begins = self.lane.failed(batch, self.now)
        assert begins == (self.lane.probing and not was_probing)
        if was_probing and not batch.probing:
            assert self.probe.next_at == next_at, "it was under way when the probing began"

    def finish(self, batch: Batch) -> None:
        self.under_way.remove(batch)
        for member in batch.members:
            self.lines[_line(member)].remove(member)
            self.ended.add(member.delivery_id)
        self.lane.finish(batch)

    def retry(self, batch: Batch, due: float) -> None:
        self.under_way.remove(batch)
        self.again.append((due, batch.members))
        self.lane.retry(batch, due)

    def split(self, batch: Batch, due: float) -> None:
        self.under_way.remove(batch)
        for member in batch.members:
            line = self.lines[_line(member)]
            alone = replace(member, due=due, fresh=False)
            line[line.index(member)] = alone
        self.lane.split(batch, due)

    def next_due(self) -> float | None:
        dues = self._retries() + [front.due for front in self._fronts()]
        if not dues or len(self.under_way) >= (1 if self.probe.active else self.concurrency):
            return None
        return max(min(dues), self._free_from())

    def check(self) -> None:
        due = self.lane.next_due()
        assert due == self.next_due()
        assert self.lane.take(math.inf if due is None else math.nextafter(due, -math.inf)) == []
        assert len(self.lane) == sum(map(len, self.lines.values()))
        assert self.lane.probing == self.probe.active
        # What only the interval or the probing delays is still to be done; what a hold delays is not.
        dues = self._retries() + [front.due for front in self._fronts()]
        to_do = any(max(due, self.held_until) <= self.now for due in dues)
        assert self.lane.is_idle(self.now) == (not self.under_way and not to_do)
        assert self.lane.asleep == self._asleep()

    def work_off(self) -> None:
        """Let every attempt succeed from now on, and each start as soon as it may."""
        self.set_quiet(False)
        for _ in range(2 * len(self.lane) + 1):
            for batch in self.under_way.copy():
                self.succeed(batch)
            self.check()
            if not len(self.lane):
                break
            self.wait_until_due()
            assert self.take()
            self.check()
        assert len(self.lane) == 0
        assert self.lane.next_due() is None
        assert self.ended == self.attempted == set(self.arrivals)

    def wait_until_due(self) -> None:
        due = self.lane.next_due()
        assert due is not None, "with nothing under way, what waits may go some time"
        self.now = max(self.now, due)

    def _note(self, waiting: Waiting) -> None:
        self.arrivals[waiting.delivery_id] = len(self.arrivals)
        self.lines.setdefault(_line(waiting), []).append(waiting)

    def _sleeps(self, name: _Line) -> bool:
        return self.quiet and not any(each.loud for each in self.lines[name])

    def _batch_sleeps(self, members: tuple[Waiting, ...]) -> bool:
        return all(self._sleeps(_line(member)) for member in members)

    def _asleep(self) -> int:
        awake = [members for _, members in self.again if not self._batch_sleeps(members)]
        awake += [batch.members for batch in self.under_way]
        taken = {_line(member) for members in awake for member in members}
        return sum(len(line) for name, line in self.lines.items() if self._sleeps(name) and name not in taken)

    def _retries(self) -> list[float]:
        """Return when each batch may be tried again that does not sleep."""
        return [due for due, members in self.again if not self._batch_sleeps(members)]

    def _fixed(self) -> set[Waiting]:
        """Return what is in a batch: under way, or to be tried again."""
        batches = [members for _, members in self.again] + [batch.members for batch in self.under_way]
        return {member for members in batches for member in members}

    def _untaken(self) -> list[list[Waiting]]:
        fixed = self._fixed()
        return [
            line
            for name, line in self.lines.items()
            if line and line[0] not in fixed and not self._sleeps(name)
        ]

    def _fronts(self) -> list[Waiting]:
        return [line[0] for line in self._untaken()]

    def _free_from(self) -> float:
        spaced_until = self.last_start + self.interval if self.interval else -math.inf
        return max(spaced_until, self.held_until, self.probe.next_at)

    def _check_time(self, batch: Batch) -> None:
        assert self.now >= self._free_from()
        assert len(self.under_way) < self.concurrency
        assert batch.probing == self.probe.active
        assert not (batch.probing and self.under_way), "one attempt at a time"

    def _check_order(self, batch: Batch) -> None:
        """Check each is attempted once at a time, and after all that came before it of its job."""
        busy = {_line(member) for each in self.under_way for member in each.members}
        for position, member in enumerate(batch.members):
            assert _line(member) not in busy
            line = self.lines[_line(member)]
            before = line[: line.index(member)]
            assert before == [each for each in batch.members[:position] if _line(each) == _line(member)]

    def _check_members(self, batch: Batch) -> None:
        """Check that it is what was attempted before, or what has waited longest with what goes with it."""
        retries = self._retries()
        if any(members == batch.members for _, members in self.again):
            due, others = self._due_of(batch), retries
            if not batch.probing:
                others = retries + [front.due for front in self._fronts()]
            assert due <= self.now
            assert due == min(others)
            return
        fronts = self._fronts()
        if not batch.probing:
            longest = min(retries + [front.due for front in fronts])
        elif self.grouping is None:  # retries take turns with the others
            longest = min(front.due for front in fronts)
        elif batch.members[0].fresh:
            first = not batch.members[0].replay
            assert not first or min(retries, default=math.inf) > self.now, "what is retried goes first"
            longest = min(front.due for front in fronts if front.fresh)
        else:
            longest = min(retries + [front.due for front in fronts if not front.fresh])
        assert batch.members in [self._going_with(front) for front in fronts if front.due == longest]

    def _due_of(self, batch: Batch) -> float:
        return next(due for due, members in self.again if members == batch.members)

    def _going_with(self, front: Waiting) -> tuple[Waiting, ...]:
        if self.grouping is None or not self._is_groupable(front):
            return (front,)
        groupable = [each for line in self._untaken() for each in self._groupable(line)]
        assert not self.attempted.intersection(each.delivery_id for each in groupable)
        together = [each for each in groupable if each.key[0] == front.key[0]]
        held = [each for each in together if each.held or each.delivery_id in self.was_held]
        if len(groupable) <= self.grouping.over and (self.quiet or not held):
            return (front,)
        together.sort(key=lambda each: self.arrivals[each.delivery_id])
        return tuple(together[: self.grouping.limit]) or (front,)

    def _groupable(self, line: list[Waiting]) -> list[Waiting]:
        groupable = list(takewhile(self._is_groupable, line))
        if not self.quiet:
            return groupable
        return groupable[: max((n for n, each in enumerate(groupable, 1) if each.loud), default=0)]

    def _is_groupable(self, waiting: Waiting) -> bool:
        return waiting.fresh and waiting.due <= self.now and not self.probe.active


_SOURCES = st.sampled_from(["eu", "us"])
_JOBS = st.sampled_from([None, "a", "b", "c"])
_TIMES = st.integers(0, 8).map(float)
_INTERVALS = st.sampled_from([0.0, 0.0, 1.0, 4.0])
_GROUPINGS = st.none() | st.builds(Grouping, over=st.integers(1, 4), limit=st.integers(2, 5))
_PROBES = st.builds(Probe, first_seconds=st.integers(0, 5), longest_seconds=st.integers(0, 100))
_WATCHED = st.builds(_Watched, st.integers(1, 5), interval=_INTERVALS, grouping=_GROUPINGS, probe=_PROBES)


class _AnyUse(RuleBasedStateMachine):
    """A lane as a dispatcher may use it, in any order, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: _Watched
        self.numbers = count()

    def waiting(self, key: RecordKey, wait: float, **flags: bool) -> Waiting:
        return Waiting(key, f"dlv_{next(self.numbers)}", self.watched.now + wait, **flags)

    def pick(self, index: int) -> Batch:
        return self.watched.under_way[index % len(self.watched.under_way)]

    @initialize(watched=_WATCHED)
    def start(self, watched: _Watched) -> None:
        self.watched = watched

    @rule(
        source=_SOURCES,
        job=_JOBS,
        wait=_TIMES | st.just(0.0),
        fresh=st.booleans() | st.just(value=True),
        loud=st.booleans(),
        held=st.booleans(),
    )
    def add(self, *, source: str, job: str | None, wait: float, fresh: bool, loud: bool, held: bool) -> None:
        self.watched.add(
            self.waiting((source, job), wait, fresh=fresh, loud=loud, held=held and fresh and not loud)
        )

    @rule(source=_SOURCES, jobs=st.lists(_JOBS, min_size=2, max_size=8))
    def add_many(self, source: str, jobs: list[str | None]) -> None:
        for job in jobs:
            self.watched.add(self.waiting((source, job), 0.0))

    @rule(source=_SOURCES, job=_JOBS, wait=_TIMES, fresh=st.booleans(), loud=st.booleans())
    def add_replay(self, source: str, job: str | None, wait: float, fresh: bool, loud: bool) -> None:
        self.watched.add(self.waiting((source, job), wait, fresh=fresh, replay=True, loud=loud))

    @rule(
        source=_SOURCES,
        jobs=st.lists(
            st.tuples(_JOBS, _TIMES, st.sampled_from([True, False, False])), min_size=2, max_size=5
        ),
        fresh=st.booleans(),
    )
    def restore(self, source: str, jobs: list[tuple[str | None, float, bool]], fresh: bool) -> None:
        members = tuple(
            self.waiting((source, job), wait, fresh=fresh, loud=loud)
            for job, wait, loud in jobs
            if not self.watched.lines.get(((source, job), ""))
        )
        if members:
            self.watched.restore(members)

    @rule()
    def take(self) -> None:
        self.watched.take()

    @rule()
    def take_what_is_due_next(self) -> None:
        if (due := self.watched.lane.next_due()) is not None and due < math.inf:
            self.watched.wait_until_due()
            assert self.watched.take()

    @precondition(lambda self: self.watched.under_way)
    @rule(index=st.integers(0, 4))
    def succeed(self, index: int) -> None:
        self.watched.succeed(self.pick(index))

    @precondition(lambda self: self.watched.under_way)
    @rule(index=st.integers(0, 4), wait=_TIMES | st.just(math.inf))
    def fail_and_retry(self, index: int, wait: float) -> None:
        batch = self.pick(index)
        self.watched.fail(batch)
        self.watched.retry(batch, self.watched.now + wait)

    @rule(times=st.integers(1, 5), wait=st.sampled_from([0.0, 4.0, 300.0]))
    def fail_for_a_while(self, times: int, wait: float) -> None:
        for _ in range(times):
            self.take_what_is_due_next()
            for batch in self.watched.under_way.copy():
                self.watched.fail(batch)
                self.watched.retry(batch, self.watched.now + wait)
            self.watched.check()

    @precondition(lambda self: self.watched.under_way)
    @rule(index=st.integers(0, 4), wait=_TIMES, retry_after=_TIMES)
    def fail_with_a_hold(self, index: int, wait: float, retry_after: float) -> None:
        batch = self.pick(index)
        self.watched.hold(self.watched.now + retry_after)
        self.watched.fail(batch)
        self.watched.retry(batch, self.watched.now + max(wait, retry_after))

    @precondition(lambda self: self.watched.under_way)
    @rule(index=st.integers(0, 4))
    def fail_and_give_up(self, index: int) -> None:
        batch = self.pick(index)
        self.watched.fail(batch)
        self.watched.finish(batch)

    @precondition(lambda self: self.watched.under_way)
    @rule(index=st.integers(0, 4))
    def be_refused(self, index: int) -> None:
        self.watched.finish(self.pick(index))

    @precondition(lambda self: self.watched.under_way)
    @rule(index=st.integers(0, 4), wait=_TIMES | st.just(0.0))
    def split(self, index: int, wait: float) -> None:
        several = [batch for batch in self.watched.under_way if len(batch.members) > 1]
        batch = several[index % len(several)] if several else self.pick(index)
        self.watched.split(batch, self.watched.now + wait)

    @rule(quiet=st.booleans())
    def set_quiet(self, quiet: bool) -> None:
        self.watched.set_quiet(quiet)

    @rule(wait=_TIMES)
    def hold(self, wait: float) -> None:
        self.watched.hold(self.watched.now + wait)

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.watched.now += seconds / 2

    @invariant()
    def check(self) -> None:
        self.watched.check()

    def teardown(self) -> None:
        if hasattr(self, "watched"):
            self.watched.work_off()


def test_a_lane_keeps_its_promises_however_it_is_used_and_ends_empty_once_all_succeeds() -> None:
    run_state_machine_as_test(
        _AnyUse, settings=settings(max_examples=300, stateful_step_count=40, deadline=None)
    )


_Arrivals = list[tuple[str, str | None, bool, bool, bool]]
_ARRIVALS = st.lists(
    st.tuples(_SOURCES, _JOBS, st.booleans(), st.booleans(), st.sampled_from([True, False, False])),
    max_size=40,
)


@given(_WATCHED, _ARRIVALS, st.integers(1, 6), st.integers(0, 3), st.booleans())
@settings(deadline=None)
def test_nobody_starves_when_attempts_keep_failing_and_are_given_up_at_last(
    watched: _Watched, arrivals: _Arrivals, tries: int, wait: int, refuses: bool
) -> None:
    poisoned, failures = set[str](), dict[str, int]()
    for number, (source, job, bad, fresh, replay) in enumerate(arrivals):
        id_ = f"dlv_{number}"
        watched.add(Waiting((source, job), id_, float(number), fresh=fresh, replay=replay))
        if bad:
            poisoned.add(id_)
    while len(watched.lane):
        if not watched.under_way:
            watched.wait_until_due()
        watched.take()
        batch = watched.under_way[0]
        ids = [member.delivery_id for member in batch.members]
        if poisoned.isdisjoint(ids):
            watched.succeed(batch)
        elif len(ids) > 1 and refuses:
            watched.split(batch, watched.now)
        else:
            watched.fail(batch)
            failures[ids[0]] = failures.get(ids[0], 0) + 1
            if failures[ids[0]] == tries:
                watched.finish(batch)
            else:
                watched.retry(batch, watched.now + wait * 2.0 ** failures[ids[0]])
        watched.check()
    assert watched.attempted == watched.ended == set(watched.arrivals)


@given(_WATCHED, _ARRIVALS)
@settings(deadline=None)
def test_all_that_waits_is_attempted_in_its_turn_when_nothing_ever_succeeds(
    watched: _Watched, arrivals: _Arrivals
) -> None:
    for number, (source, job, _, fresh, replay) in enumerate(arrivals):
        watched.add(Waiting((source, job), f"dlv_{number}", 0.0, fresh=fresh, replay=replay))
    # Longer than it takes to probe with each once: else the first ones could fill the whole time.
    wait = 100.0 * len(arrivals)
    for _ in range(3 * len(arrivals)):
        if not watched.under_way:
            watched.wait_until_due()
        watched.take()
        batch = watched.under_way[0]
        watched.fail(batch)
        watched.retry(batch, watched.now + wait)
        watched.check()
    first = {line[0].delivery_id for line in watched.lines.values()}
    assert first <= watched.attempted


@pytest.mark.parametrize("over", [1, 3])
@given(
    arrivals=st.lists(st.tuples(_SOURCES, _JOBS), max_size=30),
    limit=st.integers(1, 8),
    retries=st.lists(st.integers(0, 2), max_size=30),
)
@settings(deadline=None)
def test_each_delivery_is_in_one_batch_which_stays_the_same_until_it_has_ended(
    over: int, arrivals: list[tuple[str, str | None]], limit: int, retries: list[int]
) -> None:
    lane = Lane(3, grouping=Grouping(over=over, limit=limit))
    for number, key in enumerate(arrivals):
        lane.add(Waiting(key, f"dlv_{number}", 0.0))
    left, seen, ended = list(retries), dict[str, tuple[Waiting, ...]](), list[Waiting]()
    now = 0.0
    while len(lane):
        now += 1.0
        for batch in lane.take(now):
            assert {seen.setdefault(each.delivery_id, batch.members) for each in batch.members} == {
                batch.members
            }
            assert len(batch.members) <= limit
            assert len({each.key[0] for each in batch.members}) == 1
            if left and left.pop():
                lane.retry(batch, now + 2.0)
            else:
                lane.finish(batch)
                ended += batch.members
    assert sorted(ended, key=lambda each: int(each.delivery_id[4:])) == [
        Waiting(key, f"dlv_{number}", 0.0) for number, key in enumerate(arrivals)
    ]
    for key in set(arrivals):
        of_job = [int(each.delivery_id[4:]) for each in ended if each.key == key]
        assert of_job == sorted(of_job)
