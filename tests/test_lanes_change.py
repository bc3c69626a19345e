"""A lane whose source goes, or whose target becomes another: nothing is lost, repeated or out of order."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from notifier.lanes import Lane
from notifier.sending import Grouping
from notifier.waiting import Batch, Waiting

_ARRIVAL = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans(), st.booleans())
_END = st.sampled_from(["finish", "retry", "split"])
_GROUPINGS = st.sampled_from([None, Grouping(over=1, limit=4)])


def waiting(place: int, source: str, job: str, *, loud: bool, replay: bool) -> Waiting:
    return Waiting((source, job), f"{place:03}", 0.0, loud=loud, replay=replay)


def worked_on(
    arrivals: list[tuple[str, str, bool, bool]], ends: list[str], *, grouping: Grouping | None, quiet: bool
) -> tuple[Lane, list[Waiting], list[Batch]]:
    """Return a lane that has been worked on for a while, what is left in it, and what is under way."""
    lane, left, under_way = Lane(3, grouping=grouping), [], []
    for place, (source, job, loud, replay) in enumerate(arrivals):
        each = waiting(place, source, job, loud=loud, replay=replay)
        lane.add(each)
        left.append(each)
    lane.set_quiet(quiet)
    for end in ends:
        under_way += lane.take(1.0)
        if not under_way:
            break
        batch = under_way.pop(0)
        if end == "finish":
            lane.finish(batch)
            done = {member.delivery_id for member in batch.members}
            left = [each for each in left if each.delivery_id not in done]
        elif end == "retry":
            lane.retry(batch, 2.0)
        else:
            lane.split(batch, 2.0)
    return lane, left, under_way


def rest_of(lane: Lane) -> list[str]:
    """Return all that is still to be attempted, in the order in which it is."""
    lane.set_quiet(False)
    order: list[str] = []
    while batches := lane.take(10.0):
        for batch in batches:
            order += [member.delivery_id for member in batch.members]
            lane.finish(batch)
    return order


@given(st.lists(_ARRIVAL, max_size=12), st.lists(_END, max_size=8), _GROUPINGS, st.booleans())
def test_of_a_source_that_is_dropped_nothing_is_attempted_and_of_others_all(
    arrivals: list[tuple[str, str, bool, bool]], ends: list[str], grouping: Grouping | None, quiet: bool
) -> None:
    lane, left, under_way = worked_on(arrivals, ends, grouping=grouping, quiet=quiet)
    lane.drop("a")
    assert all(name[0][0] == "b" or name in lane._taken for name in lane._loud)
    others = {each.delivery_id for each in left if each.key[0] == "b"}
    busy = [member.delivery_id for batch in under_way for member in batch.members]
    assert len(lane) == len(others | set(busy))
    for batch in under_way:
        lane.finish(batch)
    assert sorted(rest_of(lane)) == sorted(others - set(busy))
    assert len(lane) == 0


@given(st.lists(_ARRIVAL, max_size=12), st.lists(_END, max_size=8), _GROUPINGS, st.booleans())
def test_what_is_drained_is_all_that_waits_in_the_order_of_each_job(
    arrivals: list[tuple[str, str, bool, bool]], ends: list[str], grouping: Grouping | None, quiet: bool
) -> None:
    lane, left, under_way = worked_on(arrivals, ends, grouping=grouping, quiet=quiet)
    for batch in under_way:
        lane.retry(batch, 5.0)
    drained = [member for batch in lane.drain() for member in batch.members]
    assert sorted(each.delivery_id for each in drained) == sorted(each.delivery_id for each in left)
    assert len(lane) == 0
    assert rest_of(lane) == []
    queues: defaultdict[object, list[str]] = defaultdict(list)
    for each in drained:
        queues[each.queue].append(each.delivery_id)
    assert all(ids == sorted(ids) for ids in queues.values())
    tried = {member.delivery_id for batch in under_way for member in batch.members}
    assert not [each for each in drained if each.delivery_id in tried and each.fresh]
    anew = Lane(3)
    for each in drained:
        anew.add(each)
    assert sorted(rest_of(anew)) == sorted(each.delivery_id for each in left)
