from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import (
    Attempt,
    Card,
    Delivery,
    DeliveryState,
    Event,
    JobRecord,
    Place,
    Snapshot,
    SourceRecord,
)
from notifier.outbox import (
    abandon,
    absorb,
    batch_id,
    delivery_id,
    event_id,
    pending,
    replay,
    settle,
    with_events,
)

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


def _with_payload(record: JobRecord | SourceRecord) -> list[int]:
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


def _card(ts: str) -> Card:
    return Card(configured="#data", channel="C1", ts=ts, event_id="evt_1", shown="…", edited_at=_NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: absorb(record, snapshot=_snapshot("paused"), seq=1, events=[], targets={}),
        lambda record: absorb(
            record, snapshot=_snapshot("failed"), seq=2, events=[_event(2)], targets={"evt_2": ("ops",)}
        ),
        lambda record: settle(record, [_ended(record.deliveries[0], "delivered")]),
        lambda record: abandon(record, targets=[], reason="no such target", now=_NOW),
        lambda record: replay(settle(record, [_given_up(record.deliveries[0])]), [record.deliveries[0].id]),
    ],
    ids=["absorb", "absorb an event", "settle", "abandon", "replay"],
)
def test_whatever_happens_to_a_record_it_keeps_its_cards(change: Callable[[JobRecord], JobRecord]) -> None:
    cards = {"ops": _card("1"), "audit": _card("2")}
    before = msgspec.structs.replace(_record(["ops", "audit"]), cards=cards)
    after = change(before)
    assert after != before
    assert after.cards == cards


def test_a_new_record_has_no_card() -> None:
    assert _record(["ops"]).cards == {}


def test_a_source_keeps_what_is_known_of_channels() -> None:
    places = {"ops": Place(configured="#data", id="C1")}
    record = msgspec.structs.replace(_source(), places=places)
    record = with_events(record, events=[_event(1)], targets={"evt_1": ("ops",)})
    record = settle(record, [_given_up(record.deliveries[0])])
    record = replay(record, [record.deliveries[0].id])
    assert abandon(record, targets=[], reason="no such target", now=_NOW).places == places


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
    assert settle(record, [tried]) == msgspec.structs.replace(
        record, deliveries=(record.deliveries[0], tried, record.deliveries[2])
    )


def test_a_payload_is_dropped_with_the_last_delivery_that_needs_it() -> None:
    record = _record(["ops", "audit"], ["ops"])
    record = settle(record, [_ended(record.deliveries[0], "delivered")])
    assert _with_payload(record) == [1, 2]
    record = settle(record, [_ended(record.deliveries[1], "delivered")])
    assert _with_payload(record) == [2]
    assert [event.summary for event in record.events] == ["event 1", "event 2"]


def test_a_dead_letter_keeps_its_payload() -> None:
    record = _record(["ops", "audit"])
    record = settle(record, [_ended(record.deliveries[0], "delivered")])
    record = settle(record, [_ended(record.deliveries[1], "dead")])
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
            record = settle(record, [_ended(delivery, state)])
    needed = {d.event_id for d in record.deliveries if d.state in ("pending", "dead")}
    for event in record.events:
        expected = msgspec.Raw(b'{"seq":%d}' % event.seq) if event.id in needed else msgspec.UNSET
        assert event.payload == expected
    assert [d.id for d in pending(record)] == [d.id for d in record.deliveries if d.state == "pending"]
    assert len(record.events) == len(routes)


def test_what_still_has_to_be_made_comes_in_the_order_of_the_events() -> None:
    record = _record(["ops", "audit"], ["ops"], ["ops"])
    first, second, third, fourth = record.deliveries
    record = settle(record, [_ended(second, "delivered")])
    record = settle(record, [_ended(third, "dead")])
    assert pending(record) == (first, fourth)


@pytest.mark.parametrize("targets", [["ops"], {"ops": 1}, {"ops"}])
def test_deliveries_of_a_lost_target_are_given_up(targets: Sequence[str]) -> None:
    record = _record(["ops", "gone"], ["gone"])
    waiting = msgspec.structs.replace(record.deliveries[2], attempts=2, next_attempt_at=_NOW)
    record = abandon(settle(record, [waiting]), targets=targets, reason="no such target", now=_NOW)
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
    record = settle(record, [_ended(record.deliveries[0], "delivered")])
    record = settle(record, [_ended(record.deliveries[1], "dead")])
    assert abandon(record, targets=[], reason="no such target", now=_NOW + timedelta(days=1)) == record


def test_a_delivery_has_one_id_for_its_event_and_target() -> None:
    ids = {delivery_id(event, target) for event in ("evt_1", "evt_2") for target in ("ops", "audit")}
    assert len(ids) == 4
    assert delivery_id("evt_1", "ops") in ids
    assert all(len(id_) == 28 and id_.startswith("dlv_") and int(id_[4:], 16) >= 0 for id_ in ids)


# ----------------------------------------------------------------------------------------- replays


def _given_up(delivery: Delivery) -> Delivery:
    """Return a delivery as two attempts and a hold leave it that has become a dead letter."""
    attempts = [
        Attempt(at=_NOW, outcome="failed", duration_ms=5, status=503, error="answered 503"),
        Attempt(at=_NOW, outcome="refused", duration_ms=7, status=400, error="answered 400: no"),
    ]
    return msgspec.structs.replace(
        delivery,
        state="dead",
        attempts=2,
        history=tuple(attempts),
        first_attempt_at=_NOW,
        next_attempt_at=_NOW,
        held_until=_NOW,
        held=timedelta(minutes=5),
        ended_at=_NOW,
        last_error="answered 400: no",
        answer="no",
    )


def test_a_dead_letter_is_made_pending_again_as_if_never_attempted_but_for_what_is_remembered() -> None:
    record = _record(["ops"])
    dead = _given_up(record.deliveries[0])
    [again] = replay(settle(record, [dead]), [dead.id]).deliveries
    assert again == msgspec.structs.replace(
        record.deliveries[0],
        history=dead.history,
        last_error="answered 400: no",
        answer="no",
        replay=True,
    )


def test_only_the_dead_letters_that_are_meant_are_made_pending_again() -> None:
    record = _record(["ops", "audit"], ["ops", "audit"], ["ops"])
    first, second, third, fourth, fifth = record.deliveries
    record = settle(
        record, [_given_up(first), _given_up(second), _ended(third, "delivered"), _given_up(fourth)]
    )
    replayed = replay(record, {first.id, third.id, fourth.id, fifth.id, "dlv_of_another_job"})
    assert [(d.id, d.state, d.replay) for d in replayed.deliveries] == [
        (first.id, "pending", True),
        (second.id, "dead", False),
        (third.id, "delivered", False),
        (fourth.id, "pending", True),
        (fifth.id, "pending", False),
    ]
    assert replay(replayed, {first.id, fifth.id}) == replayed, "what is pending stays as it is"
    assert replay(record, ()) == record


def test_a_replay_keeps_its_payload_until_it_is_delivered() -> None:
    record = _record(["ops"], ["ops"])
    dead, other = record.deliveries
    record = replay(settle(record, [_given_up(dead), _ended(other, "delivered")]), [dead.id])
    assert _with_payload(record) == [1]
    record = settle(record, [_given_up(record.deliveries[0])])
    assert _with_payload(record) == [1], "given up again, it can be replayed again"
    record = settle(replay(record, [dead.id]), [_ended(dead, "delivered")])
    assert _with_payload(record) == []


def test_a_replay_for_a_target_that_is_lost_is_a_dead_letter_again() -> None:
    record = _record(["gone"])
    [dead] = record.deliveries
    record = replay(settle(record, [_given_up(dead)]), [dead.id])
    [lost] = abandon(record, targets=["ops"], reason="no such target", now=_NOW).deliveries
    assert (lost.state, lost.last_error, lost.ended_at) == ("dead", "no such target", _NOW)
    assert len(lost.history) == 2


# --------------------------------------------------------------------------- events about no job


def _source(organization_id: str | None = None) -> SourceRecord:
    return SourceRecord(id="0" * 32, baseline_at=_NOW, organization_id=organization_id)


def test_events_about_a_source_stand_in_its_record_with_their_deliveries() -> None:
    record = with_events(
        _source(organization_id="org"), events=[_event(1)], targets={"evt_1": ("ops", "audit")}
    )
    record = with_events(record, events=[_event(2), _event(3)], targets={"evt_2": (), "evt_3": ("ops",)})
    assert [(d.id, d.event_id, d.target, d.state) for d in record.deliveries] == [
        (delivery_id(event, target), event, target, "pending")
        for event, target in (("evt_1", "ops"), ("evt_1", "audit"), ("evt_3", "ops"))
    ]
    assert [d.created_at for d in record.deliveries] == [_event(seq).observed_at for seq in (1, 1, 3)]
    assert [event.seq for event in record.events] == [1, 2, 3]
    assert _with_payload(record) == [1, 3], "what goes to nobody is kept without its payload"
    assert msgspec.structs.replace(record, events=(), deliveries=()) == _source(organization_id="org")


def test_without_new_events_a_record_stays_as_it_is() -> None:
    for record in (_source(), _record(["ops"])):
        assert with_events(record, events=[], targets={}) == record


@pytest.mark.parametrize(
    "change",
    [
        lambda record: settle(record, [_given_up(record.deliveries[0])]),
        lambda record: settle(record, [_ended(record.deliveries[0], "delivered")]),
        lambda record: abandon(record, targets=[], reason="no such target", now=_NOW),
        lambda record: replay(settle(record, [_given_up(record.deliveries[0])]), [record.deliveries[0].id]),
    ],
)
def test_the_outbox_of_a_source_works_as_that_of_a_job(change: Callable[[Any], Any]) -> None:
    job = _record(["ops", "audit"])
    own = with_events(_source(), events=[_event(1)], targets={"evt_1": ("ops", "audit")})
    of_job, of_source = change(job), change(own)
    assert (of_source.events, of_source.deliveries) == (of_job.events, of_job.deliveries)


# --------------------------------------------------------------------------------------------- ids


def test_an_event_has_one_id_for_the_same_change_and_another_for_any_other() -> None:
    change = {"type_": "backfill.failed", "previous_status": "staging", "status": "failed"}

    def made(source_id: str = "s", job_id: str | None = "j", seq: int = 1, **other: str | None) -> str:
        fields: dict[str, Any] = change | other
        return event_id(source_id, job_id, seq=seq, **fields)

    others = [
        made(),
        made(source_id="t"),
        made(job_id="k"),
        made(job_id=None),
        made(job_id=""),
        made(job_id="None"),
        made(job_id="null"),
        made(seq=2),
        made(type_="backfill.removed"),
        made(previous_status=None),
        made(previous_status="null"),
        made(status="completed"),
        made(previous_status="failed", status="staging"),
        made(source_id="s j", job_id=""),
    ]
    assert len(set(others)) == len(others)
    assert made() == others[0]
    assert all(len(id_) == 36 and id_.startswith("evt_") and int(id_[4:], 16) >= 0 for id_ in others)


@given(st.text(max_size=5), st.none() | st.text(max_size=5), st.text(max_size=5), st.integers(0, 10**12))
def test_any_text_makes_an_id(source_id: str, job_id: str | None, status: str, seq: int) -> None:
    id_ = event_id(
        source_id, job_id, type_=f"backfill.{status}", previous_status=None, status=status, seq=seq
    )
    assert len(id_) == 36


def test_ids_that_receivers_know_stay_as_they_are_from_one_version_to_the_next() -> None:
    """An event observed before an upgrade and again after a crash must not be two."""
    fields = {"type_": "backfill.failed", "previous_status": "staging", "status": "failed"}
    id_ = event_id("0" * 32, "j1", seq=7, **fields)
    assert (id_, delivery_id(id_, "ops"), batch_id([id_, "evt_2"])) == (
        "evt_fa221dcd31c5fba8a17f97850eb61a0c",
        "dlv_68816a56e4b93eaf5a979c76",
        "bat_3e3df3e7b8c24c785517beb5249a92ec",
    )


def test_a_batch_has_one_id_for_the_same_events_in_the_same_order() -> None:
    batches = [["a", "b"], ["b", "a"], ["a", "b", "c"], ["ab", "c"], ["a", "bc"], ["b", "c"]]
    ids = [batch_id(each) for each in batches]
    assert len(set(ids)) == len(batches)
    assert ids == [batch_id(tuple(each)) for each in batches]
    assert all(len(id_) == 36 and id_.startswith("bat_") and int(id_[4:], 16) >= 0 for id_ in ids)


def test_a_single_event_is_known_by_its_own_id() -> None:
    assert batch_id(["evt_1"]) == "evt_1"
