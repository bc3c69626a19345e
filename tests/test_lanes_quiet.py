"""What of a lane goes while it is quiet, and what goes together afterwards."""

import math

from notifier.lanes import Lane
from notifier.probe import Probe
from notifier.sending import Grouping
from notifier.waiting import Batch, Waiting

GROUPING = Grouping(over=10, limit=40)


def _waiting(name: str, due: float = 0.0, *, source: str = "allium", **flags: bool) -> Waiting:
    """Return a delivery whose name is its job's and a number."""
    return Waiting((source, name[0]), name, due, **flags)


def _loud(name: str) -> Waiting:
    return _waiting(name, loud=True)


def _lane(*all_waiting: Waiting, quiet: bool = True, grouping: Grouping | None = None) -> Lane:
    lane = Lane(10, grouping=grouping)
    lane.set_quiet(quiet)
    for waiting in all_waiting:
        lane.add(waiting)
    return lane


def _names(*batches: Batch) -> list[list[str]]:
    return [[each.delivery_id for each in batch.members] for batch in batches]


def _worked_off(lane: Lane, now: float = 0.0) -> list[list[str]]:
    """Let all that goes now be delivered; return what went together, in its order."""
    gone = []
    while batches := lane.take(now):
        gone += batches
        for batch in batches:
            lane.finish(batch)
    return _names(*gone)


def test_while_it_is_quiet_nothing_is_due() -> None:
    lane = _lane(_waiting("a1"), _waiting("a2"), _waiting("b1"))
    assert lane.next_due() is None
    assert lane.is_idle(math.inf)
    assert lane.take(math.inf) == []
    assert (len(lane), lane.asleep) == (3, 3)


def test_when_the_quiet_ends_everything_goes() -> None:
    lane = _lane(_waiting("a1"), _waiting("a2"), _waiting("b1"))
    lane.set_quiet(False)
    assert lane.asleep == 0
    assert lane.next_due() == 0
    assert _worked_off(lane) == [["a1"], ["b1"], ["a2"]]


def test_a_loud_one_goes_and_takes_the_earlier_ones_of_its_job_along_in_their_order() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"), _waiting("a2"), _loud("a3"), _waiting("a4"))
    assert _worked_off(lane) == [["a1"], ["a2"], ["a3"]]
    assert lane.asleep == 2


def test_a_loud_one_that_comes_later_wakes_its_job_alone() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"))
    assert lane.take(0) == []
    lane.add(_loud("a2"))
    assert lane.next_due() == 0
    assert _worked_off(lane) == [["a1"], ["a2"]]
    assert lane.next_due() is None


def test_a_second_loud_one_wakes_what_came_in_between() -> None:
    lane = _lane(_loud("a1"), _waiting("a2"), _loud("a3"))
    assert _worked_off(lane) == [["a1"], ["a2"], ["a3"]]


def test_attempts_under_way_may_end_and_what_fails_of_them_sleeps() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"), _waiting("c1"), quiet=False)
    good, bad, refused = lane.take(0)
    lane.set_quiet(True)
    assert lane.asleep == 0
    lane.finish(good)
    lane.retry(bad, 5.0)
    lane.split(refused, 5.0)
    assert lane.take(10) == []
    assert lane.asleep == 2
    lane.set_quiet(False)
    assert _names(*lane.take(10)) == [["b1"], ["c1"]]


def test_a_retry_that_waits_when_the_quiet_begins_sleeps() -> None:
    lane = _lane(_waiting("a1"), quiet=False)
    lane.retry(lane.take(0)[0], 50.0)
    lane.set_quiet(True)
    assert lane.next_due() is None
    lane.set_quiet(False)
    assert lane.next_due() == 50


def test_a_loud_one_wakes_the_retry_that_it_waits_behind() -> None:
    lane = _lane(_waiting("a1"), quiet=False)
    lane.retry(lane.take(0)[0], 50.0)
    lane.set_quiet(True)
    lane.add(_loud("a2"))
    assert lane.next_due() == 50
    assert _worked_off(lane, 50) == [["a1"], ["a2"]]


def test_a_loud_one_that_waits_when_the_quiet_begins_goes_on() -> None:
    lane = _lane(_waiting("a1"), _loud("a2"), _loud("b1"), quiet=False)
    first, loud = lane.take(0)
    lane.set_quiet(True)
    lane.retry(first, 5.0)
    lane.retry(loud, 6.0)
    assert lane.next_due() == 5
    assert _worked_off(lane, 6) == [["a1"], ["b1"], ["a2"]]


def test_a_batch_that_was_attempted_stays_as_it_was_and_wakes_with_any_of_its_jobs() -> None:
    lane = _lane(*map(_waiting, ("a1", "b1", "c1")), quiet=False, grouping=Grouping(over=1, limit=10))
    together = lane.take(0)[0]
    lane.retry(together, 5.0)
    lane.add(_waiting("c2"))
    lane.set_quiet(True)
    assert lane.take(5) == []
    assert lane.asleep == 4
    lane.add(_loud("b2"))
    assert lane.take(5) == [together]
    lane.finish(together)
    assert _worked_off(lane, 5) == [["b2"]]
    assert lane.asleep == 1


def test_a_batch_from_before_a_restart_sleeps_and_goes_as_it_was() -> None:
    lane = _lane()
    lane.restore((_waiting("a1"), _waiting("b1")))
    lane.add(_waiting("c1"))
    assert lane.take(0) == []
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1", "b1"], ["c1"]]


def test_a_batch_from_before_a_restart_that_holds_a_loud_one_goes_at_once() -> None:
    lane = _lane()
    lane.restore((_waiting("a1"), _loud("b1")))
    lane.add(_waiting("a2"))
    assert _worked_off(lane) == [["a1", "b1"]]
    assert lane.asleep == 1


def test_nothing_that_sleeps_is_grouped_into_what_goes() -> None:
    lane = _lane(
        *(_waiting("a1"), _loud("a2"), _waiting("a3"), _waiting("b1"), _loud("c1"), _waiting("c2")),
        grouping=Grouping(over=2, limit=10),
    )
    assert _worked_off(lane) == [["a1", "a2", "c1"]]
    assert lane.asleep == 3


def test_what_a_loud_one_takes_along_goes_with_it_as_ever_not_as_what_was_held() -> None:
    lane = _lane(_waiting("a1"), _loud("a2"), grouping=GROUPING)
    assert _worked_off(lane) == [["a1"], ["a2"]]
    lane = _lane(_waiting("a1", held=True), _loud("a2"), grouping=GROUPING)
    assert _worked_off(lane) == [["a1"], ["a2"]]


def test_what_was_held_goes_together_however_little_it_is() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"), grouping=GROUPING)
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1", "b1"]]


def test_one_that_was_held_goes_alone() -> None:
    lane = _lane(_waiting("a1"), grouping=GROUPING)
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1"]]


def test_what_was_held_goes_in_as_few_as_there_may_be_each_of_one_source() -> None:
    here = [_waiting(f"{job}1") for job in "abc"]
    there = [_waiting(f"{job}2", source="other") for job in "xy"]
    lane = _lane(*here, *there, grouping=Grouping(over=10, limit=2))
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1", "b1"], ["c1"], ["x2", "y2"]]


def test_what_comes_after_the_quiet_is_as_ever() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"), grouping=GROUPING)
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1", "b1"]]
    lane.add(_waiting("a2"))
    lane.add(_waiting("b2"))
    assert _worked_off(lane) == [["a2"], ["b2"]]


def test_what_was_already_waiting_when_the_quiet_began_was_held_as_well() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"), quiet=False, grouping=GROUPING)
    lane.set_quiet(True)
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1", "b1"]]


def test_loud_ones_that_still_wait_when_the_quiet_ends_were_not_held() -> None:
    lane = _lane(_loud("a1"), _loud("b1"), grouping=GROUPING)
    lane.set_quiet(False)
    assert _worked_off(lane) == [["a1"], ["b1"]]


def test_what_an_earlier_process_held_goes_together() -> None:
    held = [_waiting("a1", held=True), _waiting("b1", held=True)]
    assert _worked_off(_lane(*held, quiet=False, grouping=GROUPING)) == [["a1", "b1"]]
    assert _worked_off(_lane(*held, quiet=False)) == [["a1"], ["b1"]]
    assert _worked_off(_lane(*held, grouping=GROUPING)) == [], "it is quiet again"


def test_while_the_target_is_probed_what_was_held_is_not_put_together() -> None:
    lane = Lane(10, grouping=GROUPING, probe=Probe(first_seconds=10.0, longest_seconds=60.0))
    lane.set_quiet(True)
    for job in "xyz":
        lane.add(_loud(f"{job}1"))
        [batch] = lane.take(0)
        lane.failed(batch, 0.0)
        lane.finish(batch)
    for job in "abc":
        lane.add(_waiting(f"{job}1"))
    lane.set_quiet(False)
    [probe] = lane.take(10)
    assert _names(probe) == [["a1"]]
    lane.succeeded()
    lane.finish(probe)
    assert _worked_off(lane, 10) == [["b1", "c1"]]


def test_a_split_in_the_quiet_leaves_loud_what_was() -> None:
    lane = _lane(_loud("a1"), _loud("b1"), grouping=Grouping(over=1, limit=10))
    [together] = lane.take(0)
    lane.add(_waiting("b2"))
    lane.split(together, 5.0)
    assert _worked_off(lane, 5) == [["a1"], ["b1"]]
    assert lane.asleep == 1


def test_a_lane_that_is_told_again_what_it_knows_changes_nothing() -> None:
    lane = _lane(_waiting("a1"), _waiting("b1"), quiet=False, grouping=GROUPING)
    lane.set_quiet(False)
    assert not lane.is_quiet
    assert _worked_off(lane) == [["a1"], ["b1"]]
    lane.set_quiet(True)
    lane.set_quiet(True)
    assert lane.is_quiet
