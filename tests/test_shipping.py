from datetime import datetime, timedelta

import msgspec
import pytest

from notifier.model import Attempt, AttemptOutcome, Delivery, Event, JobRecord, Place, RecordKey, SourceRecord
from notifier.outbox import with_events
from notifier.records import Records
from notifier.sending import Shipment
from notifier.shipping import find, ship
from notifier.waiting import Batch, Waiting
from tests.records import NOW, at, delivery, of, record

PLACE = Place(configured="#data", id="C1")


def stored(jobs: dict[str, JobRecord], own: SourceRecord | None = None) -> Records:
    """Return the records of a source `s` with these jobs."""
    records = of(jobs, "s")
    source = own or SourceRecord(id="0" * 32, baseline_at=NOW, places={"ops": PLACE, "audit": PLACE})
    records.put({"s": source}, {})
    return records


def waiting(name: str, job_id: str | None = "j", *, cut_off: bool = False) -> Waiting:
    return Waiting(("s", job_id), f"dlv_{name}", 0.0, cut_off=cut_off)


def attempted(name: str, *attempts: tuple[float, AttemptOutcome]) -> Delivery:
    """Return a delivery that was attempted at these minutes; each attempt took a second."""
    history = tuple(Attempt(at=at(minute), outcome=what, duration_ms=1000) for minute, what in attempts)
    return delivery(name, state="pending", attempts=len(history), history=history)


def shipped(records: Records, *members: Waiting) -> Shipment:
    return ship(records, Batch(members), [find(records, each) for each in members])


def ended(minute: float) -> datetime:
    return at(minute) + timedelta(seconds=1)


def own_event(id_: str) -> Event:
    return Event(
        id=id_,
        seq=1,
        type="source.down",
        status="",
        previous_status=None,
        observed_at=NOW,
        summary="",
        payload=msgspec.Raw(b"{}"),
    )


@pytest.mark.parametrize("name", ["1", "2"])
def test_what_waits_is_found_with_its_event_and_the_key_of_its_record(name: str) -> None:
    records = stored({"j": record(delivery("1"), delivery("2")), "k": record(delivery("3"))})
    key, event, found = find(records, waiting(name))
    assert (key, event.id, found.id) == (("s", "j"), f"evt_{name}", f"dlv_{name}")


def test_an_event_of_a_job_comes_with_its_record_and_the_place_of_its_target() -> None:
    records = stored({"j": record(delivery("1"), delivery("2"))})
    shipment = shipped(records, waiting("2"))
    assert [event.id for event in shipment.events] == ["evt_2"]
    assert shipment.record == records.job(("s", "j"))
    assert shipment.place == PLACE


def test_the_record_is_as_it_is_when_the_attempt_is_made() -> None:
    records = stored({"j": record(delivery("1"))})
    found = [find(records, waiting("1"))]
    newer = record(delivery("1"), status="failed")
    records.put({}, {("s", "j"): msgspec.json.encode(newer)})
    shipment = ship(records, Batch((waiting("1"),)), found)
    assert shipment.record is not None
    assert shipment.record.snapshot.status == "failed"


@pytest.mark.parametrize(
    "members",
    [[waiting("1"), waiting("2", "k")], [waiting("1"), waiting("3")]],
    ids=["of two jobs", "of one"],
)
def test_several_events_come_in_their_order_without_a_record(members: list[Waiting]) -> None:
    records = stored({"j": record(delivery("1"), delivery("3")), "k": record(delivery("2"))})
    shipment = shipped(records, *members)
    assert [event.id for event in shipment.events] == [
        each.delivery_id.replace("dlv", "evt") for each in members
    ]
    assert (shipment.record, shipment.place) == (None, PLACE)


def test_an_event_that_is_about_no_job_comes_without_a_record() -> None:
    source = SourceRecord(id="0" * 32, baseline_at=NOW, places={"ops": PLACE})
    own = with_events(source, events=[own_event("evt_own")], targets={"evt_own": ("ops",)})
    records = stored({}, own)
    key: RecordKey = ("s", None)
    member = Waiting(key, own.deliveries[0].id, 0.0)
    shipment = shipped(records, member)
    assert ([event.id for event in shipment.events], shipment.record) == (["evt_own"], None)
    assert shipment.place == PLACE


@pytest.mark.parametrize("places", [{}, {"audit": PLACE}])
def test_a_place_of_another_target_is_of_no_use(places: dict[str, Place]) -> None:
    own = SourceRecord(id="0" * 32, baseline_at=NOW, places=places)
    assert shipped(stored({"j": record(delivery("1"))}, own), waiting("1")).place is None


@pytest.mark.parametrize(
    ("attempts", "since", "until"),
    [
        ([], None, None),
        ([(1, "failed")], None, None),
        ([(1, "unknown")], at(1), ended(1)),
        ([(1, "failed"), (2, "unknown"), (3, "unknown"), (4, "failed")], at(2), ended(3)),
    ],
)
def test_an_attempt_that_may_have_arrived_is_told_by_when_it_began_and_had_ended(
    attempts: list[tuple[float, AttemptOutcome]], since: datetime | None, until: datetime | None
) -> None:
    shipment = shipped(stored({"j": record(attempted("1", *attempts))}), waiting("1"))
    assert (shipment.in_doubt_since, shipment.in_doubt_until) == (since, until)


def test_of_several_it_is_told_from_the_first_beginning_to_the_last_end() -> None:
    records = stored(
        {
            "j": record(attempted("1", (2, "unknown"), (3, "failed"))),
            "k": record(attempted("2", (1, "failed"), (2, "unknown"), (5, "unknown"))),
        }
    )
    shipment = shipped(records, waiting("1"), waiting("2", "k"))
    assert (shipment.in_doubt_since, shipment.in_doubt_until) == (at(2), ended(5))


@pytest.mark.parametrize("cut_off", [False, True])
def test_of_what_an_earlier_process_may_have_been_sending_the_end_is_not_told(cut_off: bool) -> None:
    records = stored(
        {"j": record(attempted("1", (2, "unknown"))), "k": record(attempted("2", (2, "unknown")))}
    )
    shipment = shipped(records, waiting("1"), waiting("2", "k", cut_off=cut_off))
    assert shipment.in_doubt_since is not None
    assert shipment.in_doubt_since <= at(2)
    assert shipment.in_doubt_until == (None if cut_off else ended(2))
