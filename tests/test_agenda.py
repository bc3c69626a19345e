from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from notifier.agenda import Agenda
from tests.records import NOW, at


def test_a_job_is_due_from_its_time_on_and_once() -> None:
    agenda = Agenda()
    agenda.put("a", at(5))
    agenda.put("b", at(3))
    assert agenda.due(at(2)) == []
    assert agenda.due(at(5)) == ["b", "a"]
    assert agenda.due(at(9)) == []
    assert list(agenda) == []


def test_the_last_time_that_was_put_counts() -> None:
    agenda = Agenda()
    for job_id, due in (("a", at(1)), ("a", at(5)), ("b", at(5)), ("b", at(1)), ("c", at(1)), ("c", None)):
        agenda.put(job_id, due)
    assert sorted(agenda) == ["a", "b"]
    assert agenda.due(at(2)) == ["b"]
    agenda.put("a", at(1))
    assert agenda.due(at(2)) == ["a"]
    assert agenda.due(at(9)) == []


def test_a_job_may_be_put_while_the_jobs_are_looked_at() -> None:
    agenda = Agenda()
    for job_id in "abc":
        agenda.put(job_id, NOW)
    for job_id in agenda:
        agenda.put(job_id, None)
        agenda.put(job_id * 2, NOW)
    assert sorted(agenda) == ["aa", "bb", "cc"]


_TIMES = st.one_of(st.none(), st.integers(0, 9).map(at))


@given(st.lists(st.one_of(st.tuples(st.sampled_from("abc"), _TIMES), st.integers(0, 9).map(at)), max_size=30))
def test_it_is_a_time_for_each_job(steps: list[tuple[str, datetime | None] | datetime]) -> None:
    agenda, times = Agenda(), dict[str, datetime]()
    for step in steps:
        if isinstance(step, datetime):
            due = agenda.due(step)
            assert sorted(due) == sorted(job_id for job_id, time in times.items() if time <= step)
            in_order = [times.pop(job_id) for job_id in due]
            assert in_order == sorted(in_order)
        else:
            job_id, time = step
            agenda.put(job_id, time)
            times.pop(job_id, None)
            if time is not None:
                times[job_id] = time
        assert sorted(agenda) == sorted(times)


def test_times_that_are_put_off_again_and_again_take_no_room() -> None:
    agenda = Agenda()
    for minute in range(20_000):
        agenda.put("a", at(minute))
    assert len(agenda._heap) < 2_000
    assert agenda.due(at(19_998)) == []
    assert agenda.due(at(19_999)) == ["a"]
