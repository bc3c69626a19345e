import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.announcement import Change, Origin, event_type
from notifier.diff import diff
from notifier.listing import Element, Listing, ListingError, read_listing
from notifier.model import Event, JobRecord
from notifier.outbox import absorb, event_id
from notifier.rules import Rules
from tests.servers import job

_RULES = Rules()
_NOW = datetime(2026, 1, 31, 10, 30, 0, 123000, tzinfo=UTC)


def _element(status: str, job_id: str = "j1", **fields: Any) -> Element:
    (element,) = read_listing(json.dumps([job(job_id, status, **fields)]).encode()).elements
    return element


def _diff(
    record: JobRecord | None,
    element: Element,
    *,
    source_id: str = "s1",
    announce: bool = True,
    now: datetime = _NOW,
    rules: Rules = _RULES,
) -> Change | None:
    return diff(
        record,
        element,
        origin=Origin("allium", source_id, element.job_id),
        rules=rules,
        announce=announce,
        now=now,
    )


def _stored(record: JobRecord | None, change: Change | None) -> JobRecord:
    assert change is not None
    targets = {event.id: ("ops",) for event in change.events}
    after = absorb(record, snapshot=change.snapshot, seq=change.seq, events=change.events, targets=targets)
    return msgspec.json.decode(msgspec.json.encode(after), type=JobRecord)


def _record(*elements: Element, announce: bool = True) -> JobRecord:
    record: JobRecord | None = None
    for element in elements:
        record = _stored(record, _diff(record, element, announce=announce))
    assert record is not None
    return record


def _event(record: JobRecord | None, element: Element) -> Event:
    change = _diff(record, element)
    assert change is not None
    (event,) = change.events
    return event


@pytest.mark.parametrize("status", ["staging", "transporting", "completed", "failed", "cancelled", "paused"])
def test_a_baseline_is_stored_and_announces_nothing(status: str) -> None:
    element = _element(status)
    change = _diff(None, element, announce=False)
    assert change is not None
    assert (change.seq, change.events) == (0, ())
    assert change.snapshot.status == status
    assert (change.snapshot.first_seen, change.snapshot.status_since) == (_NOW, _NOW)
    assert change.snapshot.element == element.raw


def test_a_job_of_the_baseline_is_followed_from_then_on() -> None:
    event = _event(_record(_element("transporting"), announce=False), _element("completed"))
    assert (event.type, event.previous_status, event.seq) == ("backfill.completed", "transporting", 1)


@pytest.mark.parametrize("status", ["staging", "transporting", "completed", "failed", "cancelled", "paused"])
def test_the_first_sight_of_a_job_is_announced(status: str) -> None:
    element = _element(status)
    change = _diff(None, element)
    assert change is not None
    assert (change.snapshot.first_seen, change.snapshot.status_since) == (_NOW, _NOW)
    (event,) = change.events
    assert (event.type, event.status, event.previous_status) == (f"backfill.{status}", status, None)
    assert (change.seq, event.seq, event.observed_at) == (1, 1, _NOW)


@pytest.mark.parametrize(
    ("previous", "status", "type_"),
    [
        ("staging", "transporting", "backfill.transporting"),
        ("transporting", "completed", "backfill.completed"),
        ("transporting", "failed", "backfill.failed"),
        ("transporting", "cancelled", "backfill.cancelled"),
        ("transporting", "canceled", "backfill.cancelled"),
        ("staging", "completed", "backfill.completed"),
        ("staging", "failed", "backfill.failed"),
        ("failed", "staging", "backfill.staging"),
        ("completed", "transporting", "backfill.transporting"),
        ("cancelled", "failed", "backfill.failed"),
        ("transporting", "paused", "backfill.paused"),
        ("paused", "transporting", "backfill.transporting"),
        ("transporting", "Transporting", "backfill.Transporting"),
        ("transporting", "stalled", "backfill.status_stalled"),
        ("stalled", "resumed", "backfill.status_resumed"),
        ("transporting", "", "backfill."),
    ],
)
def test_a_change_of_status_is_one_event(previous: str, status: str, type_: str) -> None:
    record = _record(_element(previous))
    later = _NOW + timedelta(hours=1)
    change = _diff(record, _element(status), now=later)
    assert change is not None
    (event,) = change.events
    listed = "cancelled" if status == "canceled" else status
    assert (event.type, event.status, event.previous_status) == (type_, listed, previous)
    assert (change.seq, event.seq) == (2, 2)
    assert change.snapshot.status == listed
    assert (change.snapshot.first_seen, change.snapshot.status_since) == (_NOW, later)


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        ("progress", "backfill.status_progress"),
        ("stalled", "backfill.status_stalled"),
        ("resumed", "backfill.status_resumed"),
        ("removed", "backfill.status_removed"),
        ("Stalled", "backfill.Stalled"),
        ("down", "backfill.down"),
        ("staging", "backfill.staging"),
    ],
)
def test_no_status_is_mistaken_for_an_event_of_another_kind(status: str, type_: str) -> None:
    assert event_type(status) == type_


@pytest.mark.parametrize("status", ["staging", "completed", "paused"])
@pytest.mark.parametrize("announce", [True, False])
def test_a_job_listed_as_before_is_no_change(status: str, announce: bool) -> None:
    record = _record(_element(status))
    assert _diff(record, _element(status), announce=announce, now=_NOW + timedelta(days=9)) is None


def test_a_job_whose_url_has_credentials_is_no_change_when_listed_again() -> None:
    element = _element("staging", destinations=[{"type": "nats", "url": "nats://user:hunter2@h:4222?t=1"}])
    assert _diff(_record(element), element) is None


_OTHER_FIELDS: list[dict[str, Any]] = [{"job_name": None}, {"new_field": [1]}, {"error_message": "x"}]


@pytest.mark.parametrize("fields", _OTHER_FIELDS)
def test_a_changed_field_is_stored_and_announces_nothing(fields: dict[str, Any]) -> None:
    record = _record(_element("staging"), _element("transporting"))
    element = _element("transporting", **fields)
    change = _diff(record, element, now=_NOW + timedelta(hours=1))
    assert change is not None
    stored = msgspec.structs.replace(record.snapshot, element=element.raw)
    assert (change.snapshot, change.seq, change.events) == (stored, 2, ())


def test_chunks_that_are_delivered_are_stored_with_the_time_and_announce_nothing() -> None:
    record = _record(_element("staging"), _element("transporting"))
    element, later = _element("transporting", chunks_left=400), _NOW + timedelta(hours=1)
    change = _diff(record, element, now=later)
    assert change is not None
    stored = msgspec.structs.replace(
        record.snapshot,
        element=element.raw,
        samples=change.snapshot.samples,
        chunks_left=400,
        moved_at=later,
        reached=60,
    )
    assert (change.snapshot, change.seq, change.events) == (stored, 2, ())


def _missing(record: JobRecord, polls: int = 1) -> JobRecord:
    snapshot = msgspec.structs.replace(record.snapshot, missing_since=_NOW, missing_polls=polls)
    return msgspec.structs.replace(record, snapshot=snapshot)


@pytest.mark.parametrize("announce", [True, False])
@pytest.mark.parametrize("polls", [0, 1, 2])
@pytest.mark.parametrize("fields", [{}, *_OTHER_FIELDS])
def test_a_missing_job_that_is_listed_again_is_missing_no_more_and_announces_nothing(
    fields: dict[str, Any], polls: int, announce: bool
) -> None:
    record = _record(_element("staging"), _element("transporting"))
    element = _element("transporting", **fields)
    change = _diff(_missing(record, polls), element, announce=announce, now=_NOW + timedelta(days=9))
    assert change is not None
    stored = msgspec.structs.replace(record.snapshot, element=element.raw)
    assert (change.snapshot, change.seq, change.events) == (stored, 2, ())
    assert _diff(_stored(record, change), element) is None


def test_a_missing_job_that_is_listed_again_with_another_status_is_announced_and_missing_no_more() -> None:
    record = _record(_element("staging"))
    change = _diff(_missing(record), _element("failed"), now=_NOW + timedelta(days=9))
    assert change == _diff(record, _element("failed"), now=_NOW + timedelta(days=9))
    assert change is not None
    assert (change.snapshot.missing_since, change.snapshot.first_seen) == (None, _NOW)
    assert [event.previous_status for event in change.events] == ["staging"]


def test_an_event_carries_the_payload_of_its_moment() -> None:
    element = _element("failed", job_name="USDC", error_message="no space", time_created=None)
    later = _NOW + timedelta(minutes=5)
    change = _diff(_record(_element("transporting")), element, now=later)
    assert change is not None
    (event,) = change.events
    assert event.summary == "USDC failed after 5m at 57.7 %: no space"
    assert isinstance(event.payload, msgspec.Raw)
    payload = msgspec.json.decode(event.payload)
    assert (payload["type"], payload["timestamp"]) == ("backfill.failed", "2026-01-31T10:35:00.123Z")
    assert payload["data"] == {
        "event_id": event.id,
        "source": "allium",
        "job_id": "j1",
        "status": "failed",
        "previous_status": "transporting",
        "summary": event.summary,
        "progress": {
            "chunks_total": 1000,
            "chunks_done": 577,
            "percent": 57.7,
            "chunks_per_minute": None,
            "eta": None,
        },
        "job": json.loads(bytes(element.raw)),
        "target": None,
        "delivery_id": None,
        "reason": None,
        "test": False,
    }


def test_credentials_of_destinations_are_neither_stored_nor_sent() -> None:
    urls = "nats://user:hunter2@h1:4222,nats://h2:4222?token=hunter2"
    record = _record(_element("staging", destinations=[{"type": "nats", "url": urls}]))
    assert b"hunter2" not in msgspec.json.encode(record)
    assert b"nats://REDACTED@h1:4222" in msgspec.json.encode(record)


def test_an_event_id_is_evt_and_32_hex_digits() -> None:
    id_ = _event(None, _element("staging")).id
    assert id_.startswith("evt_")
    assert len(id_) == 36
    assert int(id_[4:], 16) >= 0


def test_a_change_detected_again_has_the_same_event_id() -> None:
    record = _record(_element("staging"))
    again = _diff(record, _element("failed", chunks_left=1), now=_NOW + timedelta(hours=1))
    assert again is not None
    assert again.events[0].id == _event(record, _element("failed")).id


def test_event_ids_differ_in_whatever_makes_an_event_another_one() -> None:
    facts: dict[str, Any] = {"type_": "t", "previous_status": "a", "status": "b", "seq": 2}
    others: list[dict[str, Any]] = [
        {"type_": "u"},
        {"previous_status": None},
        {"previous_status": "b"},
        {"status": "a"},
        {"seq": 3},
    ]
    ids = {event_id("s1", "j1", **(facts | other)) for other in [{}, *others]}
    ids |= {event_id("s2", "j1", **facts), event_id("s1", "j2", **facts), event_id("s1j", "1", **facts)}
    assert len(ids) == 9


def test_a_wiped_state_never_reuses_an_event_id() -> None:
    before, after = (_diff(None, _element("staging"), source_id=source_id) for source_id in ("s1", "s2"))
    assert before is not None
    assert after is not None
    assert before.events[0].id != after.events[0].id


def test_the_same_transition_a_second_time_is_another_event() -> None:
    statuses = ["staging", "failed", "staging", "failed", "staging"]
    record = _record(*map(_element, statuses))
    assert [event.status for event in record.events] == statuses
    assert len({event.id for event in record.events}) == 5


_STATUSES = st.sampled_from(
    ["staging", "transporting", "completed", "failed", "cancelled", "canceled", "paused", "stalled", ""]
)
_LISTINGS = st.lists(
    st.dictionaries(st.sampled_from(["j1", "j2", "j3"]), st.tuples(_STATUSES, st.integers(0, 2))), max_size=8
)


@given(_LISTINGS, st.booleans())
def test_what_is_announced_of_a_job_is_an_unbroken_chain(
    listings: list[dict[str, tuple[str, int]]], baseline: bool
) -> None:
    records: dict[str, JobRecord] = {}
    for number, statuses in enumerate(listings):
        announce = number > 0 or not baseline
        listing = _read(statuses)
        for element in listing.elements:
            before = records.get(element.job_id)
            now = _NOW + timedelta(minutes=number)
            change = _diff(before, element, announce=announce, now=now)
            assert change == _diff(before, element, announce=announce, now=now)
            later = _diff(before, element, announce=announce, now=now + timedelta(days=1))
            if change is not None:
                assert later is not None
                assert [event.id for event in later.events] == [event.id for event in change.events]
                records[element.job_id] = _stored(before, change)
            assert _diff(records[element.job_id], element, now=now) is None
            assert records[element.job_id].snapshot.status == element.status
    for job_id, record in records.items():
        previous = listings[0].get(job_id) if baseline else None
        status = None if previous is None else _spelled(previous[0])
        for seq, event in enumerate(record.events, 1):
            assert (event.seq, event.previous_status) == (seq, status)
            assert event.status != status
            status = event.status
        listed = [_spelled(statuses[job_id][0]) for statuses in listings if job_id in statuses]
        assert status == listed[-1] == record.snapshot.status
        assert record.seq == len(record.events) == len(record.deliveries)
    ids = [event.id for record in records.values() for event in record.events]
    assert len(set(ids)) == len(ids)


def _read(statuses: dict[str, tuple[str, int]]) -> Listing:
    elements = [job(job_id, status, chunks_left=left) for job_id, (status, left) in statuses.items()]
    return read_listing(json.dumps(elements).encode())


def _spelled(status: str) -> str:
    return "cancelled" if status == "canceled" else status


def test_whatever_depth_can_be_read_can_be_compared_and_stored() -> None:
    with ThreadPoolExecutor(1) as thread:  # it has more of its stack left than whoever reads it later
        shallow, deep = 1, 100_000
        while deep - shallow > 1:
            depth = (shallow + deep) // 2
            try:
                thread.submit(_nested, depth).result()
                shallow = depth
            except ListingError:
                deep = depth
        elements = [thread.submit(_nested, depth).result() for depth in range(shallow - 10, shallow + 1)]
    assert shallow > 100
    for element in elements:
        assert _diff(_record(element), _element("failed")) is not None


def _nested(depth: int) -> Element:
    nested = b"[" * depth + b"]" * depth
    (element,) = read_listing(b'[{"job_id":"j1","status":"staging","x":%b}]' % nested).elements
    return element


def test_a_job_that_was_forgotten_and_is_listed_again_has_events_of_other_ids() -> None:
    first = diff(
        None, _element("failed"), origin=Origin("s", "0", "j1"), rules=_RULES, announce=True, now=_NOW
    )
    again = diff(
        None,
        _element("failed"),
        origin=Origin("s", "0", "j1"),
        rules=_RULES,
        announce=True,
        now=_NOW,
        forgotten_seq=1,
    )
    assert first is not None
    assert again is not None
    assert (first.seq, again.seq) == (1, 2)
    assert first.events[0].id != again.events[0].id


def test_phases_begin_when_they_are_observed_and_the_first_when_the_job_was_ordered() -> None:
    ordered = "2026-01-31T08:00:00Z"
    record = _record(_element("staging", time_created=ordered), _element("transporting"))
    first, second = record.snapshot.phases
    assert (first.status, second.status) == ("staging", "transporting")
    assert first.since == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert second.since == record.snapshot.status_since


@pytest.mark.parametrize(
    "element",
    [_element("transporting", time_created="2026-01-31T08:00:00Z"), _element("staging", time_created=None)],
    ids=["a later phase", "no time given"],
)
def test_nobody_knows_when_a_phase_began_that_a_job_of_the_baseline_was_in(element: Element) -> None:
    [phase] = _record(element, announce=False).snapshot.phases
    assert phase.since is None
    [phase] = _record(element).snapshot.phases
    assert phase.since == _NOW


def test_only_the_last_ten_phases_of_a_job_are_kept() -> None:
    record = _record(*(_element(status) for status in ("failed", "staging") * 20))
    assert [phase.status for phase in record.snapshot.phases] == ["failed", "staging"] * 5


def test_the_progress_of_a_transporting_job_is_sampled_and_dropped_when_it_ends() -> None:
    record = _record(
        _element("staging"),
        _element("transporting", num_chunks=100, chunks_left=100),
        _element("transporting", num_chunks=100, chunks_left=60),
    )
    assert [sample.chunks_left for sample in record.snapshot.samples] == [100, 60]
    ended = _stored(record, _diff(record, _element("completed", num_chunks=100, chunks_left=0)))
    assert ended.snapshot.samples == ()


def test_an_event_tells_the_rate_of_the_last_minutes_and_no_end_once_it_has_ended() -> None:
    record = _record(_element("transporting", num_chunks=100, chunks_left=100))
    later = _diff(
        record,
        _element("completed", num_chunks=100, chunks_left=0),
        now=record.snapshot.status_since + timedelta(minutes=20),
    )
    assert later is not None
    payload = later.events[0].payload
    assert payload is not msgspec.UNSET
    progress = json.loads(bytes(payload))["data"]["progress"]
    assert (progress["chunks_per_minute"], progress["eta"]) == (5.0, None)


# ------------------------------------------------------------------------- what chunks say


def _shown(*lefts: int | None, total: int | None = 100, rules: Rules = _RULES) -> list[list[str]]:
    """Return the types told by each poll of a transporting job, after that of its first sight."""
    record: JobRecord | None = None
    told = []
    for number, left in enumerate(lefts):
        element = _element("transporting", num_chunks=total, chunks_left=left, x=number)
        change = _diff(record, element, rules=rules, now=_NOW + timedelta(minutes=number))
        record = _stored(record, change)
        assert change is not None
        told.append([event.type.removeprefix("backfill.") for event in change.events])
    return told[1:]


_NONE: list[str] = []
_TOLD = ["progress"]


@pytest.mark.parametrize(
    ("lefts", "told"),
    [
        ([100, 76, 75, 74], [_NONE, _TOLD, _NONE]),
        ([100, 30], [_TOLD]),
        ([100, 30, 25, 0], [_TOLD, _TOLD, _NONE]),
        ([100, 0], [_TOLD]),
        ([75, 74], [_NONE]),
        ([80, 70, 90, 70, 50], [_TOLD, _NONE, _NONE, _TOLD]),
        ([80, None, 70], [_NONE, _TOLD]),
        ([300, 300, 75], [_NONE, _TOLD]),
        ([None, None], [_NONE]),
    ],
    ids=[
        "at the milestone and not before",
        "two at once",
        "two at once and the third",
        "all at once",
        "one that it had when it began",
        "once though it falls back",
        "unknown between",
        "more left than there are",
        "unknown",
    ],
)
def test_a_milestone_that_is_passed_is_told_once(lefts: list[int | None], told: list[list[str]]) -> None:
    assert _shown(*lefts) == told


@pytest.mark.parametrize(
    ("milestones", "told"),
    [((), [_NONE] * 4), ((100,), [*[_NONE] * 3, _TOLD]), ((90, 1), [_TOLD, _NONE, _NONE, _TOLD])],
)
def test_the_milestones_are_those_of_the_rules(milestones: tuple[int, ...], told: list[list[str]]) -> None:
    assert _shown(100, 99, 98, 12, 0, rules=Rules(milestones=milestones)) == told


def test_progress_is_told_as_no_transition_with_the_share_that_was_reached() -> None:
    record = _record(_element("transporting", job_name="USDC", num_chunks=100, chunks_left=100))
    event = _event(record, _element("transporting", job_name="USDC", num_chunks=100, chunks_left=45))
    assert (event.status, event.previous_status, event.seq) == ("transporting", "transporting", 2)
    assert event.summary == "USDC is at 55 % (55 of 100 chunks)"


def test_each_phase_of_transporting_has_the_milestones_that_it_passes_itself() -> None:
    def at(left: int) -> Element:
        return _element("transporting", num_chunks=100, chunks_left=left)

    record = _record(at(100), at(40), _element("staging"), at(60), at(50), at(20))
    assert [event.type.removeprefix("backfill.") for event in record.events] == [
        "transporting",
        "progress",
        "staging",
        "transporting",
        "progress",
        "progress",
    ]


@pytest.mark.parametrize("status", ["staging", "paused", "failed"])
def test_only_a_job_that_transports_has_milestones(status: str) -> None:
    record = _record(*(_element(status, num_chunks=100, chunks_left=left) for left in (100, 10)))
    assert len(record.events) == 1
    assert record.snapshot.chunks_left == 10


def test_a_total_that_grows_tells_no_milestone_again() -> None:
    totals = [(100, 100), (100, 50), (200, 150), (200, 100), (200, 50)]
    record = _record(*(_element("transporting", num_chunks=n, chunks_left=left) for n, left in totals))
    assert [event.type for event in record.events[1:]] == ["backfill.progress"] * 2
    assert "75 %" in record.events[-1].summary


def _with(record: JobRecord, **fields: Any) -> JobRecord:
    return msgspec.structs.replace(record, snapshot=msgspec.structs.replace(record.snapshot, **fields))


def _stalled(status: str = "transporting", left: int | None = 80) -> JobRecord:
    record = _record(_element(status, num_chunks=100, chunks_left=left))
    return _with(record, stalled_at=_NOW + timedelta(minutes=30), told_at=_NOW + timedelta(minutes=30))


@pytest.mark.parametrize(("before", "left"), [(80, 79), (80, 81), (None, 100)])
def test_a_stalled_job_that_moves_either_way_is_told_to_have_resumed(before: int | None, left: int) -> None:
    record, later = _stalled(left=before), _NOW + timedelta(minutes=45)
    change = _diff(record, _element("transporting", num_chunks=100, chunks_left=left), now=later)
    assert change is not None
    [event] = change.events
    assert (event.type, event.previous_status) == ("backfill.resumed", "transporting")
    assert event.summary.startswith("Name of j1 moves again after 45m at ")
    assert (change.snapshot.moved_at, change.snapshot.stalled_at) == (later, None)
    assert change.snapshot.told_at is None


def test_a_stalled_job_that_moves_past_a_milestone_is_told_of_both() -> None:
    change = _diff(_stalled(), _element("transporting", num_chunks=100, chunks_left=50))
    assert change is not None
    assert [event.type for event in change.events] == ["backfill.resumed", "backfill.progress"]
    assert [event.seq for event in change.events] == [2, 3]


@pytest.mark.parametrize("fields", [{"x": 1}, {"chunks_left": None}, {"num_chunks": 90}])
def test_a_stalled_job_of_which_something_else_changes_is_still_stalled(fields: dict[str, Any]) -> None:
    record = _stalled()
    element = _element("transporting", **({"num_chunks": 100, "chunks_left": 80} | fields))
    change = _diff(record, element, now=_NOW + timedelta(hours=1))
    assert change is not None
    assert change.events == ()
    assert change.snapshot.stalled_at == record.snapshot.stalled_at


@pytest.mark.parametrize("status", ["completed", "failed", "staging", "paused"])
def test_a_stalled_job_of_another_status_has_that_told_alone(status: str) -> None:
    change = _diff(_stalled(), _element(status, num_chunks=100, chunks_left=10))
    assert change is not None
    assert [event.type for event in change.events] == [f"backfill.{status}"]
    assert change.snapshot.stalled_at is None


@pytest.mark.parametrize("fields", [{}, {"chunks_left": 10}])
def test_a_removed_job_that_is_listed_again_is_announced_and_counted_from_then_on(
    fields: dict[str, Any],
) -> None:
    record, later = _missing(_stalled(), polls=3), _NOW + timedelta(days=1)
    element = _element("transporting", **({"num_chunks": 100, "chunks_left": 80} | fields))
    change = _diff(record, element, now=later)
    assert change is not None
    [event] = change.events
    assert (event.type, event.previous_status) == ("backfill.transporting", "transporting")
    assert event.summary.startswith("Name of j1 is listed again: transporting at ")
    snapshot = change.snapshot
    assert (snapshot.missing_since, snapshot.missing_polls, snapshot.is_removed) == (None, 0, False)
    assert (snapshot.moved_at, snapshot.stalled_at, snapshot.told_at) == (later, None, None)
    assert _diff(_stored(record, change), element) is None


def test_a_removed_job_of_another_status_is_announced_as_that() -> None:
    change = _diff(_missing(_record(_element("staging")), polls=3), _element("failed"))
    assert change is not None
    assert [(event.type, event.previous_status) for event in change.events] == [
        ("backfill.failed", "staging")
    ]
    assert not change.snapshot.is_removed
