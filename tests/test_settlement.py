"""What an attempt changes in the records."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import (
    Card,
    Deaths,
    Delivery,
    DeliveryState,
    Event,
    JobRecord,
    OpenBatch,
    Place,
    RecordKey,
    Snapshot,
    SourceRecord,
)
from notifier.outbox import absorb, delivery_id, with_events
from notifier.sending import Receipt
from notifier.settlement import Settlement, open_batch

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
_LATER = _NOW + timedelta(minutes=1)
_J, _K = ("s", "j"), ("s", "k")
_OWN: RecordKey = ("s", None)


def _event(name: str, type_: str = "backfill.failed") -> Event:
    return Event(
        id=f"evt_{name}",
        seq=1,
        type=type_,
        status="failed",
        previous_status=None,
        observed_at=_NOW,
        summary=f"{name} failed",
        payload=msgspec.Raw(b"{}"),
    )


def _job(*names: str, target: str = "ops") -> JobRecord:
    snapshot = Snapshot(status="failed", first_seen=_NOW, status_since=_NOW, element=msgspec.Raw(b"{}"))
    events = [_event(name) for name in names]
    return absorb(
        None, snapshot=snapshot, seq=1, events=events, targets={event.id: (target,) for event in events}
    )


def _source(*names: str, **fields: Any) -> SourceRecord:
    record = SourceRecord(id="0" * 32, baseline_at=_NOW, **fields)
    events = [_event(name, "source.down") for name in names]
    return with_events(record, events=events, targets={event.id: ("ops",) for event in events})


def _became(
    key: RecordKey, name: str, state: DeliveryState = "delivered", *, type_: str = "backfill.failed"
) -> tuple[RecordKey, Event, Delivery]:
    event = _event(name, type_)
    delivery = Delivery(
        id=delivery_id(event.id, "ops"),
        event_id=event.id,
        target="ops",
        state=state,
        created_at=_NOW,
        attempts=1,
        ended_at=None if state == "pending" else _LATER,
        last_error=None if state == "delivered" else "answered 400: no",
    )
    return key, event, delivery


def _batch(*members: tuple[str | None, str], target: str = "ops") -> OpenBatch:
    return OpenBatch(
        target=target, members=tuple((job_id, delivery_id(f"evt_{name}", target)) for job_id, name in members)
    )


def _states(record: JobRecord | SourceRecord | None) -> list[tuple[str, DeliveryState, int]]:
    assert record is not None
    return [(each.event_id.removeprefix("evt_"), each.state, each.attempts) for each in record.deliveries]


# ----------------------------------------------------------------------------------- records of jobs


def test_several_deliveries_of_one_job_are_one_change_of_its_record() -> None:
    settlement = Settlement(
        deliveries=(_became(_J, "1"), _became(_K, "2"), _became(_J, "3"), _became(_J, "4"))
    )
    updates = settlement.job_updates()
    assert updates.keys() == {_J, _K}
    assert _states(updates[_J](_job("1", "3", "4", "5"))) == [
        ("1", "delivered", 1),
        ("3", "delivered", 1),
        ("4", "delivered", 1),
        ("5", "pending", 0),
    ]
    assert _states(updates[_K](_job("2"))) == [("2", "delivered", 1)]


def test_what_came_in_meanwhile_is_kept() -> None:
    """The record is the newest one when the outcome is committed, not that of the attempt."""
    [update] = Settlement(deliveries=(_became(_J, "1"),)).job_updates().values()
    before = _job("1")
    newer = absorb(
        before,
        snapshot=msgspec.structs.replace(before.snapshot, status="completed"),
        seq=2,
        events=[_event("2")],
        targets={"evt_2": ("ops",)},
    )
    settled = update(newer)
    assert settled is not None
    assert (settled.snapshot.status, settled.seq) == ("completed", 2)
    assert _states(settled) == [("1", "delivered", 1), ("2", "pending", 0)]


def test_a_delivery_about_no_job_changes_no_record_of_a_job() -> None:
    assert Settlement(deliveries=(_became(_OWN, "1"),)).job_updates() == {}


# ------------------------------------------------------------------------------ the source's record


@pytest.mark.parametrize("state", ["delivered", "pending"])
def test_the_source_s_record_stays_as_it_is_when_nothing_of_it_changes(state: DeliveryState) -> None:
    settlement = Settlement(deliveries=(_became(_J, "1", state), _became(_K, "2", state)))
    assert settlement.source_updates() == {}


@pytest.mark.parametrize("state", ["delivered", "pending", "dead"])
def test_what_is_about_the_source_changes_its_record(state: DeliveryState) -> None:
    settlement = Settlement(
        deliveries=(
            _became(_OWN, "1", state, type_="source.down"),
            _became(_J, "3", state),
            _became(_OWN, "2", state, type_="source.down"),
        )
    )
    updates = settlement.source_updates()
    assert updates.keys() == {"s"}
    record = updates["s"](_source("1", "2", "4", organization_id="org"))
    assert _states(record) == [("1", state, 1), ("2", state, 1), ("4", "pending", 0)]
    assert record.organization_id == "org"
    assert bool(record.deaths) == (state == "dead")


def test_dead_letters_are_counted_in_the_same_commit() -> None:
    """A crash between the two would leave one that nobody is told of."""
    settlement = Settlement(
        deliveries=(_became(_J, "1", "dead"), _became(_J, "2", "dead"), _became(_K, "3", "dead"))
    )
    record = settlement.source_updates()["s"](_source(deaths={"ops": Deaths(count=4, told_at=_NOW)}))
    assert record.deaths == {
        "ops": Deaths(
            count=7,
            delivery_id=delivery_id("evt_3", "ops"),
            reason="answered 400: no",
            summary="3 failed",
            told_at=_NOW,
        )
    }
    assert settlement.job_updates().keys() == {_J, _K}


@pytest.mark.parametrize("type_", ["delivery.dead", "target.down", "target.up"])
def test_those_that_cause_no_further_event_are_not_counted(type_: str) -> None:
    settlement = Settlement(deliveries=(_became(_OWN, "1", "dead", type_=type_),))
    record = settlement.source_updates()["s"](_source("1"))
    assert record.deaths == {}
    assert _states(record) == [("1", "dead", 1)]


# ------------------------------------------------------------------------------------------- batches


def test_a_batch_that_has_ended_is_taken_from_the_source_s_record_and_no_other() -> None:
    ended = _batch(("j", "1"), ("j", "2"))
    others = (
        _batch(("j", "3"), ("k", "4")),
        _batch(("j", "1"), ("j", "2"), target="data"),
        _batch(("j", "2"), ("j", "1")),
    )
    settlement = Settlement(deliveries=(_became(_J, "1"), _became(_J, "2")), ended=ended)
    record = settlement.source_updates()["s"](_source(batches=(others[0], ended, *others[1:])))
    assert record == _source(batches=others)


@pytest.mark.parametrize("state", ["delivered", "pending", "dead"])
def test_a_batch_ends_together_with_its_members(state: DeliveryState) -> None:
    """Delivered, given up, or pending one by one: always in one commit."""
    ended = _batch(("j", "1"), (None, "2"))
    settlement = Settlement(
        deliveries=(_became(_J, "1", state), _became(_OWN, "2", state, type_="source.down")), ended=ended
    )
    record = settlement.source_updates()["s"](_source("2", batches=(ended,)))
    assert record.batches == ()
    assert _states(record) == [("2", state, 1)]
    assert _states(settlement.job_updates()[_J](_job("1"))) == [("1", state, 1)]
    assert sum(each.count for each in record.deaths.values()) == (2 if state == "dead" else 0)


def test_a_batch_that_is_retried_stays() -> None:
    settlement = Settlement(deliveries=(_became(_J, "1", "pending"), _became(_OWN, "2", "pending")))
    batch = _batch(("j", "1"), (None, "2"))
    assert settlement.source_updates()["s"](_source("2", batches=(batch,))).batches == (batch,)


def test_a_batch_that_is_about_to_be_attempted_stands_behind_the_others() -> None:
    first, second = _batch(("j", "1"), ("j", "2")), _batch(("k", "3"), (None, "4"))
    record = open_batch(open_batch(_source(), batch=first), batch=second)
    assert record == _source(batches=(first, second))


@given(
    st.lists(
        st.tuples(st.sampled_from(["j", "k", None]), st.sampled_from(["delivered", "pending", "dead"])),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_each_delivery_becomes_what_it_became_whatever_goes_together(
    members: list[tuple[str | None, DeliveryState]], ended: bool
) -> None:
    batch = _batch(*((job_id, str(number)) for number, (job_id, _) in enumerate(members)))
    settlement = Settlement(
        deliveries=tuple(
            _became(("s", job_id), str(number), state) for number, (job_id, state) in enumerate(members)
        ),
        ended=batch if ended else None,
    )

    def names(job_id: str | None) -> list[str]:
        return [str(number) for number, (of, _) in enumerate(members) if of == job_id]

    source = _source(*names(None), batches=(batch,))
    for update_source in settlement.source_updates().values():
        source = update_source(source)
    became = _states(source)
    for (_, job_id), update in settlement.job_updates().items():
        became += _states(update(_job(*names(job_id))))
    assert sorted(became) == sorted((str(number), state, 1) for number, (_, state) in enumerate(members))
    assert source.batches == (() if ended else (batch,))
    dead = sum(state == "dead" for _, state in members)
    assert source.deaths.get("ops", Deaths()).count == dead


# ------------------------------------------------------------------------------- what is remembered


def _card(ts: str, *, edited_at: datetime = _NOW, **fields: Any) -> Card:
    return Card(configured="#data", channel="C1", ts=ts, event_id="evt_1", edited_at=edited_at, **fields)


_PLACE = Place(configured="#data", id="C1")


@pytest.mark.parametrize("cards", [{}, {"ops": _card("1", seq=1, shown="before")}])
def test_a_card_is_remembered_with_the_outcome(cards: dict[str, Card]) -> None:
    others = {"audit": _card("7"), "data": _card("8")}
    before = msgspec.structs.replace(_job("1", "2"), cards=others | cards)
    card = _card("2", seq=1, shown="now")
    [update] = Settlement(deliveries=(_became(_J, "1"),), receipt=Receipt(card=card)).job_updates().values()
    settled = update(before)
    assert settled is not None
    assert settled.cards == others | {"ops": card}
    assert _states(settled) == [("1", "delivered", 1), ("2", "pending", 0)]
    assert before.cards == others | cards, "the record of before is not changed"


@pytest.mark.parametrize(
    ("known", "is_kept"),
    [
        (_card("1", edited_at=_LATER, seq=2, shown="later"), True),
        (_card("1", edited_at=_NOW, seq=2, shown="as old"), False),
        (_card("1", edited_at=_NOW - timedelta(minutes=1), shown="before"), False),
        (_card("0", edited_at=_LATER, seq=2, shown="another message"), False),
    ],
)
@pytest.mark.parametrize("state", ["delivered", "pending", "dead"])
def test_a_card_that_was_edited_again_since_is_kept(known: Card, is_kept: bool, state: DeliveryState) -> None:
    card = _card("1", seq=1, shown="now")
    before = msgspec.structs.replace(_job("1"), cards={"ops": known})
    settlement = Settlement(deliveries=(_became(_J, "1", state),), receipt=Receipt(card=card))
    settled = settlement.job_updates()[_J](before)
    assert settled is not None
    assert settled.cards == {"ops": known if is_kept else card}
    assert _states(settled) == [("1", state, 1)]


@pytest.mark.parametrize("state", ["delivered", "pending", "dead"])
def test_without_news_of_it_a_card_stays_as_it_is(state: DeliveryState) -> None:
    """It is the newest record's: it may have been edited meanwhile."""
    cards = {"ops": _card("1", seq=4, shown="now"), "audit": _card("7")}
    before = msgspec.structs.replace(_job("1"), cards=cards)
    settled = Settlement(deliveries=(_became(_J, "1", state),)).job_updates()[_J](before)
    assert settled is not None
    assert settled.cards == cards


def test_where_a_channel_was_found_is_remembered_in_the_source_s_record() -> None:
    elsewhere = Place(configured="#audit", id="C7")
    settlement = Settlement(deliveries=(_became(_J, "1"),), receipt=Receipt(place=_PLACE))
    for places in ({}, {"ops": Place(configured="#old", id="C0")}):
        before = _source("2", places={"audit": elsewhere} | places, organization_id="org")
        record = settlement.source_updates()["s"](before)
        assert record == msgspec.structs.replace(before, places={"audit": elsewhere, "ops": _PLACE})
        assert before.places == {"audit": elsewhere} | places, "the record of before is not changed"


def test_a_place_is_remembered_together_with_all_else() -> None:
    ended = _batch(("j", "1"), (None, "2"))
    settlement = Settlement(
        deliveries=(_became(_J, "1"), _became(_OWN, "2", type_="source.down")),
        ended=ended,
        receipt=Receipt(place=_PLACE),
    )
    record = settlement.source_updates()["s"](_source("2", batches=(ended,)))
    assert (record.batches, record.places) == ((), {"ops": _PLACE})
    assert _states(record) == [("2", "delivered", 1)]


def test_without_news_of_it_a_place_stays_as_it_is() -> None:
    settlement = Settlement(deliveries=(_became(_OWN, "1", type_="source.down"),))
    record = settlement.source_updates()["s"](_source("1", places={"ops": _PLACE}))
    assert record.places == {"ops": _PLACE}


def test_a_card_is_no_change_of_the_source_s_record_and_a_place_none_of_a_job_s() -> None:
    card = Settlement(deliveries=(_became(_J, "1"),), receipt=Receipt(card=_card("1")))
    assert card.source_updates() == {}
    place = Settlement(deliveries=(_became(_J, "1"),), receipt=Receipt(place=_PLACE))
    settled = place.job_updates()[_J](_job("1"))
    assert settled is not None
    assert settled.cards == {}


def test_that_it_was_there_already_is_delivered_like_any_other() -> None:
    for receipt in (Receipt(), Receipt(was_there=True)):
        settlement = Settlement(deliveries=(_became(_J, "1"),), receipt=receipt)
        assert _states(settlement.job_updates()[_J](_job("1"))) == [("1", "delivered", 1)]
        assert settlement.source_updates() == {}


# ------------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    "update",
    [
        lambda: Settlement(deliveries=(_became(_J, "1"),)).job_updates()[_J](None),
        lambda: Settlement(deliveries=(_became(_OWN, "1"),)).source_updates()["s"](None),
        lambda: open_batch(None, batch=_batch(("j", "1"), ("j", "2"))),
    ],
)
def test_a_record_that_is_gone_is_an_error_and_not_made_anew(update: Callable[[], object]) -> None:
    with pytest.raises(LookupError, match="no record"):
        update()
