from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import Delivery, DeliveryState, Event, JobRecord, Snapshot
from notifier.outbox import abandon, absorb, delivery_id, pending, settle

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)


def _snapshot(status: str) -> Snapshot:
    return Snapshot(
        status=status, first_seen=_NOW, status_since=_NOW, element=msgspec.Raw(b'{"job_id":"j1"}')
    )


def _event(seq: int) -> Event:
    return Event(
        id=f"evt_{seq}",
        seq=seq,
        type="backfill.staging",
        status="staging",
        previous_status=None,
        observed_at=_NOW + timedelta(seconds=seq),
        summary=f"event {seq}",
        payload=msgspec.Raw(b'{"seq":%d}' % seq),
    )


def _record(*routes: Sequence[str]) -> JobRecord:
    record: JobRecord | None = None
    for seq, targets in enumerate(routes, 1):
        record = absorb(
            record,
            snapshot=_snapshot("staging"),
            seq=seq,
            events=[_event(seq)],
            targets={f"evt_{seq}": targets},
        )
    return record or JobRecord(snapshot=_snapshot("staging"))


def _ended(delivery: Delivery, state: DeliveryState) -> Delivery:
    return msgspec.structs.replace(delivery, state=state, attempts=1, ended_at=_NOW)


def _with_payload(record: JobRecord) -> list[int]:
    return [event.seq for event in record.events if event.payload is not msgspec.UNSET]


def test_the_first_change_of_a_job_makes_its_record() -> None:
    record = absorb(
        None, snapshot=_snapshot("staging"), seq=1, events=[_event(1)], targets={"evt_1": ("ops", "audit")}
    )
    assert record.snapshot == _snapshot("staging")
    assert record.seq == 1
    assert record.events == (_event(1),)
    assert [(d.event_id, d.target, d.state, d.attempts) for d in record.deliveries] == [
        ("evt_1", "ops", "pending", 0),
        ("evt_1", "audit", "pending", 0),
    ]
    assert {d.created_at for d in record.deliveries} == {_event(1).observed_at}
    assert len({d.id for d in record.deliveries}) == 2


def test_a_change_without_an_event_keeps_what_waits() -> None:
    before = _record(["ops"])
    after = absorb(before, snapshot=_snapshot("paused"), seq=1, events=[], targets={})
    assert after == msgspec.structs.replace(before, snapshot=_snapshot("paused"))


def test_later_deliveries_stand_behind_earlier_ones() -> None:
    record = _record(["ops", "audit"], ["ops"], ["audit"])
    assert [d.event_id for d in record.deliveries] == ["evt_1", "evt_1", "evt_2", "evt_3"]
    assert [event.seq for event in record.events] == [1, 2, 3]
    assert record.seq == 3


def test_a_later_change_leaves_a_pending_payload_as_it_is() -> None:
    before = _record(["ops"])
    after = absorb(
        before, snapshot=_snapshot("failed"), seq=2, events=[_event(2)], targets={"evt_2": ("ops",)}
    )
    assert after.events[0] == before.events[0]
    assert after.deliveries[0] == before.deliveries[0]


def test_an_event_that_goes_nowhere_is_kept_without_its_payload() -> None:
    record = _record([])
    assert record.deliveries == ()
    assert record.events == (msgspec.structs.replace(_event(1), payload=msgspec.UNSET),)


def test_each_event_is_routed_by_itself() -> None:
    record = absorb(
        None,
        snapshot=_snapshot("staging"),
        seq=2,
        events=[_event(1), _event(2)],
        targets={"evt_1": (), "evt_2": ("ops",)},
    )
    assert [d.event_id for d in record.deliveries] == ["evt_2"]
    assert _with_payload(record) == [2]


def test_an_outcome_is_noted_at_its_delivery_alone() -> None:
    record = _record(["ops", "audit"], ["ops"])
    tried = msgspec.structs.replace(record.deliveries[1], attempts=3, last_error="HTTP 500")
    assert settle(record, tried) == msgspec.structs.replace(
        record, deliveries=(record.deliveries[0], tried, record.deliveries[2])
    )


def test_a_payload_is_dropped_with_the_last_delivery_that_needs_it() -> None:
    record = _record(["ops", "audit"], ["ops"])
    record = settle(record, _ended(record.deliveries[0], "delivered"))
    assert _with_payload(record) == [1, 2]
    record = settle(record, _ended(record.deliveries[1], "delivered"))
    assert _with_payload(record) == [2]
    assert [event.summary for event in record.events] == ["event 1", "event 2"]


def test_a_dead_letter_keeps_its_payload() -> None:
    record = _record(["ops", "audit"])
    record = settle(record, _ended(record.deliveries[0], "delivered"))
    record = settle(record, _ended(record.deliveries[1], "dead"))
    assert _with_payload(record) == [1]


@given(
    st.lists(st.lists(st.sampled_from(["ops", "audit"]), unique=True), max_size=4),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["pending", "delivered", "dead"]))),
)
def test_a_payload_is_there_as_long_as_a_delivery_may_need_it(
    routes: list[list[str]], outcomes: list[tuple[int, DeliveryState]]
) -> None:
    record = _record(*routes)
    settled: set[str] = set()
    for index, state in outcomes:
        if index < len(record.deliveries) and (delivery := record.deliveries[index]).id not in settled:
            settled.add(delivery.id)
            record = settle(record, _ended(delivery, state))
    needed = {d.event_id for d in record.deliveries if d.state in ("pending", "dead")}
    for event in record.events:
        expected = msgspec.Raw(b'{"seq":%d}' % event.seq) if event.id in needed else msgspec.UNSET
        assert event.payload == expected
    assert [d.id for d in pending(record)] == [d.id for d in record.deliveries if d.state == "pending"]
    assert len(record.events) == len(routes)


def test_what_still_has_to_be_made_comes_in_the_order_of_the_events() -> None:
    record = _record(["ops", "audit"], ["ops"], ["ops"])
    first, second, third, fourth = record.deliveries
    record = settle(record, _ended(second, "delivered"))
    record = settle(record, _ended(third, "dead"))
    assert pending(record) == (first, fourth)


@pytest.mark.parametrize("targets", [["ops"], {"ops": 1}, {"ops"}])
def test_deliveries_of_a_lost_target_are_given_up(targets: Sequence[str]) -> None:
    record = _record(["ops", "gone"], ["gone"])
    waiting = msgspec.structs.replace(record.deliveries[2], attempts=2, next_attempt_at=_NOW)
    record = abandon(settle(record, waiting), targets=targets, reason="no such target", now=_NOW)
    kept, *lost = record.deliveries
    assert kept.state == "pending"
    for delivery in lost:
        assert (delivery.state, delivery.ended_at, delivery.last_error) == ("dead", _NOW, "no such target")
        assert delivery.next_attempt_at is None
    assert [delivery.attempts for delivery in lost] == [0, 2]
    assert pending(record) == (kept,)
    assert _with_payload(record) == [1, 2]


def test_what_has_ended_is_not_given_up_again() -> None:
    record = _record(["gone"], ["gone"])
    record = settle(record, _ended(record.deliveries[0], "delivered"))
    record = settle(record, _ended(record.deliveries[1], "dead"))
    assert abandon(record, targets=[], reason="no such target", now=_NOW + timedelta(days=1)) == record


def test_a_delivery_has_one_id_for_its_event_and_target() -> None:
    ids = {delivery_id(event, target) for event in ("evt_1", "evt_2") for target in ("ops", "audit")}
    assert len(ids) == 4
    assert delivery_id("evt_1", "ops") in ids
    assert all(len(id_) == 28 and id_.startswith("dlv_") and int(id_[4:], 16) >= 0 for id_ in ids)
