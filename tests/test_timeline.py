"""Events with what became of each, newest first."""

from notifier.catalogue import Catalogue
from notifier.model import SourceRecord
from notifier.timeline import list_events, show_events
from tests.records import at, delivery, of, record


def test_events_of_all_records_are_listed_newest_first_a_page_at_a_time() -> None:
    records = of(
        {
            "a": record(delivery("1", created=1), delivery("2", state="dead", created=4, ended_at=at(5))),
            "b": record(delivery("3", state="pending", created=3)),
        }
    )
    every = list_events(Catalogue(records)).items
    assert [(item.job_id, item.id) for item in every] == [
        (item.job_id, item.id) for item in sorted(every, key=lambda item: item.observed_at, reverse=True)
    ]
    assert {each.state for item in every for each in item.deliveries} == {"delivered", "dead", "pending"}
    first = list_events(Catalogue(records), limit=2)
    rest = list_events(Catalogue(records), limit=2, cursor=first.next_cursor)
    assert [*first.items, *rest.items] == every
    assert rest.next_cursor is None


def test_events_of_one_job_or_source_can_be_asked_for() -> None:
    records = of({"a": record(delivery("1", created=1)), "b": record(delivery("2", created=2))})
    records.put({"other": SourceRecord(id="x")}, {})
    assert {item.job_id for item in list_events(Catalogue(records), job_id="a").items} == {"a"}
    assert {item.job_id for item in list_events(Catalogue(records), source="allium", job_id="b").items} == {
        "b"
    }
    assert list_events(Catalogue(records), source="other").items == []
    assert list_events(Catalogue(records), source="allium", job_id="none").items == []
    assert len(list_events(Catalogue(records), source="allium").items) == 2


def test_what_one_job_has_to_tell_is_newest_first() -> None:
    found = show_events(("allium", "a"), record(delivery("1", created=1), delivery("2", created=4)))
    assert [item.observed_at for item in found] == sorted((item.observed_at for item in found), reverse=True)
