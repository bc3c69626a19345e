import random
from collections import Counter
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import DELIVERY_STATES, Deaths, Delivery, DeliveryState, Event, JobRecord, SourceRecord
from notifier.prune import prune_job, prune_source, pruned
from tests.records import NOW as BEFORE
from tests.records import at, delivery, record

MOST = 500


def _prune(old: JobRecord, *, listing_known: bool = True) -> JobRecord | None:
    return prune_job(old, BEFORE, listing_known=listing_known)


def _kept(old: JobRecord, *, listing_known: bool = True) -> JobRecord:
    new = _prune(old, listing_known=listing_known)
    assert new is not None
    return new


def _ids(values: tuple[Event, ...] | tuple[Delivery, ...]) -> list[str]:
    return [value.id for value in values]


def _missing(old: JobRecord, since: datetime | None) -> JobRecord:
    return msgspec.structs.replace(old, snapshot=msgspec.structs.replace(old.snapshot, missing_since=since))


def _event(number: int, minutes: float) -> Event:
    return Event(
        id=f"evt_{number}",
        seq=number,
        type="backfill.staging",
        status="staging",
        previous_status=None,
        observed_at=at(minutes),
        summary="",
    )


# ------------------------------------------------------------------------------ events, deliveries


@pytest.mark.parametrize(
    ("state", "ended", "stays"),
    [
        ("delivered", -1, False),
        ("delivered", 0, False),
        ("delivered", 1, True),
        ("dead", -1, False),
        ("dead", 0, False),
        ("dead", 1, True),
        ("pending", None, True),
        ("delivered", None, False),
        ("dead", None, False),
    ],
)
def test_a_delivery_goes_with_its_event_when_it_ended_long_ago_and_never_while_it_is_pending(
    state: DeliveryState, ended: float | None, stays: bool
) -> None:
    one = delivery("a", state=state, created=-9, ended_at=None if ended is None else at(ended))
    new = _kept(record(one))
    assert new.deliveries == ((one,) if stays else ())
    assert _ids(new.events) == (["evt_a"] if stays else [])


def test_a_delivery_of_which_nobody_noted_the_end_is_as_old_as_itself() -> None:
    assert _kept(record(delivery("a", created=1))).deliveries


def test_an_event_stays_as_long_as_one_of_its_deliveries() -> None:
    old = delivery("a", created=-9, ended_at=at(-8))
    others: list[tuple[DeliveryState, datetime | None]] = [
        ("pending", None),
        ("dead", at(1)),
        ("delivered", at(1)),
    ]
    for state, ended in others:
        other = delivery("a", state=state, created=-9, ended_at=ended, target="team")
        other = msgspec.structs.replace(other, id="dlv_other")
        new = _kept(record(old, other))
        assert (_ids(new.events), new.deliveries) == (["evt_a"], (other,))


@pytest.mark.parametrize(("observed", "stays"), [(-1, False), (0, False), (1, True)])
def test_an_event_that_was_told_to_nobody_goes_by_its_own_age(observed: float, stays: bool) -> None:
    new = _kept(msgspec.structs.replace(record(), events=(_event(1, observed),)))
    assert _ids(new.events) == (["evt_1"] if stays else [])


def test_what_a_pending_delivery_will_send_stays_as_it_is() -> None:
    old = record(delivery("a", state="pending", created=-9), delivery("b", created=-9, ended_at=at(-9)))
    event = msgspec.structs.replace(old.events[0], payload=msgspec.Raw(b'{"type":"backfill.staging"}'))
    new = _kept(msgspec.structs.replace(old, events=(event, old.events[1])))
    assert new.events == (event,)
    assert new.deliveries == old.deliveries[:1]


def test_what_is_pruned_leaves_the_snapshot_and_the_count_of_events_alone() -> None:
    old = record(delivery("a", created=-9), delivery("b", created=-9), delivery("c", created=9))
    assert _kept(old) == msgspec.structs.replace(old, events=old.events[2:], deliveries=old.deliveries[2:])


def test_a_record_of_which_nothing_goes_is_returned_itself() -> None:
    for old in (
        record(),
        record(delivery("a", created=1), delivery("b", state="pending", created=-9)),
        _missing(record(), at(1)),
    ):
        assert _prune(old) is old
    source = SourceRecord(id="s", baseline_at=at(-99), seq=7)
    assert prune_source(source, BEFORE) is source


def test_of_a_source_the_rest_stays_whatever_its_age() -> None:
    old = SourceRecord(
        id="s",
        baseline_at=at(-99),
        organization_id="org",
        seq=2,
        events=(_event(1, -9), _event(2, -9)),
        deliveries=(delivery("1", created=-9), delivery("2", state="pending", created=-9)),
        deaths={"ops": Deaths(count=3, told_at=at(-99))},
    )
    new = prune_source(old, BEFORE)
    assert new == msgspec.structs.replace(old, events=old.events[1:], deliveries=old.deliveries[1:])


# ----------------------------------------------------------------------------------- whole jobs


@pytest.mark.parametrize(
    ("missing_since", "left", "listing_known", "is_forgotten"),
    [
        (-1, None, True, True),
        (0, None, True, True),
        (1, None, True, False),
        (None, None, True, False),
        (-1, None, False, False),
        (-1, ("delivered", -1), True, True),
        (-1, ("dead", -1), True, True),
        (-1, ("delivered", 1), True, False),
        (-1, ("dead", 1), True, False),
        (-1, ("pending", None), True, False),
    ],
)
def test_a_job_is_forgotten_when_it_was_missing_for_long_and_nothing_of_it_is_left(
    missing_since: float | None,
    left: tuple[DeliveryState, float | None] | None,
    listing_known: bool,
    is_forgotten: bool,
) -> None:
    deliveries = []
    if left is not None:
        state, ended = left
        deliveries = [delivery("a", state=state, created=-9, ended_at=None if ended is None else at(ended))]
    old = _missing(record(*deliveries), None if missing_since is None else at(missing_since))
    assert (_prune(old, listing_known=listing_known) is None) == is_forgotten


def test_a_job_is_forgotten_with_events_that_nobody_waits_for() -> None:
    old = msgspec.structs.replace(_missing(record(), at(-1)), events=(_event(1, 5),))
    assert _prune(old) is None


def test_while_it_is_not_known_what_is_listed_only_what_is_done_goes() -> None:
    old = _missing(record(delivery("a", created=-9), delivery("b", state="pending", created=-9)), at(-9))
    new = _kept(old, listing_known=False)
    assert new == msgspec.structs.replace(old, events=old.events[1:], deliveries=old.deliveries[1:])
    assert _kept(_missing(record(delivery("a", created=-9)), at(-9)), listing_known=False).events == ()


# -------------------------------------------------------------------------- too many for a record


def test_no_more_than_the_newest_five_hundred_events_stay() -> None:
    old = record(*(delivery(str(number), created=1 + number) for number in range(MOST + 3)))
    new = _kept(old)
    assert new.events == old.events[3:]
    assert new.deliveries == old.deliveries[3:]
    assert _kept(new) is new
    assert _kept(record(*old.deliveries[:MOST])).events == old.events[:MOST]


def test_an_event_that_may_still_be_sent_stays_however_many_came_after_it() -> None:
    deliveries = [delivery(str(number), created=1 + number) for number in range(MOST + 4)]
    deliveries[1] = delivery("1", state="pending", created=-9)
    deliveries[2] = delivery("2", state="dead", created=-9, ended_at=at(1))
    new = _kept(record(*deliveries))
    assert _ids(new.events) == [f"evt_{number}" for number in (1, 2, *range(4, MOST + 4))]
    assert _ids(new.deliveries) == [f"dlv_{number}" for number in (1, 2, *range(4, MOST + 4))]
    assert _kept(new) is new


# ---------------------------------------------------------------------------------------- counts


def test_what_has_gone_is_counted() -> None:
    old = record(
        delivery("a", created=-9),
        delivery("b", state="dead", created=-9),
        delivery("c", created=-9),
        delivery("d", state="pending", created=-9),
    )
    assert pruned(old, _kept(old)) == {
        "event|events": 3,
        "delivered delivery|delivered deliveries": 2,
        "dead letter|dead letters": 1,
    }
    gone = _missing(record(*old.deliveries[:2]), at(-9))
    assert pruned(gone, _prune(gone)) == {
        "job|jobs": 1,
        "event|events": 2,
        "delivered delivery|delivered deliveries": 1,
        "dead letter|dead letters": 1,
    }
    assert pruned(old, old) == Counter()


# ------------------------------------------------------------------------------------ properties


def _some_record(seed: int, size: int, share_pending: float) -> JobRecord:
    """Return a record such as only a clock that jumps could have made."""
    lots = random.Random(seed)
    events, deliveries = [], []
    for number in range(size):
        events.append(_event(number, lots.randint(-3, 3)))
        for target in lots.sample(("ops", "team", "audit"), lots.randint(0, 3)):
            state: DeliveryState = (
                "pending" if lots.random() < share_pending else lots.choice(DELIVERY_STATES[1:])
            )
            ended = None if state == "pending" or lots.random() < 0.1 else at(lots.randint(-3, 3))
            created = lots.randint(-3, 3)
            one = delivery(str(number), state=state, created=created, ended_at=ended, target=target)
            deliveries.append(msgspec.structs.replace(one, id=f"dlv_{number}_{target}"))
    missing_since = lots.choice([None, at(-1), at(0), at(1)])
    return _missing(
        msgspec.structs.replace(record(), seq=size, events=tuple(events), deliveries=tuple(deliveries)),
        missing_since,
    )


def _records(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[JobRecord]:
    return st.builds(_some_record, st.integers(0, 2**32), sizes, st.sampled_from([0.0, 0.02, 0.5]))


_FEW = st.integers(0, 12)
_RECORDS = st.one_of(_records(_FEW), _records(_FEW), _records(st.integers(MOST - 3, 2 * MOST)))


def _may_go(each: Delivery) -> bool:
    return each.state != "pending" and (each.ended_at or each.created_at) <= BEFORE


@given(_RECORDS)
def test_nothing_goes_that_is_needed_and_nothing_stays_that_is_not(old: JobRecord) -> None:
    new = _kept(old, listing_known=False)
    assert (new.snapshot, new.seq) == (old.snapshot, old.seq)
    kept, left = set(_ids(new.events)), set(_ids(new.deliveries))
    assert new.events == tuple(event for event in old.events if event.id in kept)
    assert new.deliveries == tuple(each for each in old.deliveries if each.id in left)
    assert all(each.event_id in kept for each in new.deliveries)
    newest = [event.seq for event in new.events[-MOST:]]
    too_many = {event.id for event in old.events if len(newest) == MOST and event.seq < newest[0]}
    for each in old.deliveries:
        if each.id not in left:
            assert _may_go(each) or (each.state == "delivered" and each.event_id in too_many)
        else:
            assert not _may_go(each)
    needed = {each.event_id for each in new.deliveries}
    for event in old.events:
        if event.id not in kept:
            assert event.observed_at <= BEFORE or event.id in too_many
        else:
            assert event.observed_at > BEFORE or event.id in needed
    waiting = {each.event_id for each in new.deliveries if each.state != "delivered"}
    assert set(_ids(new.events[:-MOST])) <= waiting


@given(_RECORDS, st.booleans())
def test_pruning_twice_is_pruning_once(old: JobRecord, listing_known: bool) -> None:
    new = _prune(old, listing_known=listing_known)
    if new is not None:
        assert _prune(new, listing_known=listing_known) is new


@given(_RECORDS, st.booleans())
def test_a_job_is_forgotten_exactly_when_it_is_known_to_be_gone_and_nothing_is_left(
    old: JobRecord, listing_known: bool
) -> None:
    since = old.snapshot.missing_since
    is_gone = listing_known and since is not None and since <= BEFORE
    forgotten = _prune(old, listing_known=listing_known) is None
    assert forgotten == (is_gone and all(map(_may_go, old.deliveries)))


@given(_records(_FEW))
def test_it_does_not_matter_how_often_it_was_pruned_before(old: JobRecord) -> None:
    earlier = prune_job(old, BEFORE - timedelta(minutes=2), listing_known=False)
    assert earlier is not None
    assert _prune(earlier) == _prune(old)
