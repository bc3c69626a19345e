"""Dead letters, counted and put in words."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.deaths import TELL_EVERY, count_deaths, discount_deaths, next_telling, tell_deaths
from notifier.model import ALL_TYPES, Deaths, Delivery, Event, SourceRecord
from notifier.outbox import LOST_TARGET

_NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def _record(**fields: Any) -> SourceRecord:
    return SourceRecord(id="0" * 32, baseline_at=_NOW, **fields)


def _dead(
    name: str = "1",
    *,
    target: str = "ops",
    type_: str = "backfill.failed",
    error: str | None = "answered 400: no",
    summary: str = "USDC failed",
) -> tuple[Event, Delivery]:
    event = Event(
        id=f"evt_{name}",
        seq=1,
        type=type_,
        status="failed",
        previous_status=None,
        observed_at=_NOW,
        summary=summary,
    )
    delivery = Delivery(
        id=f"dlv_{name}",
        event_id=event.id,
        target=target,
        state="dead",
        created_at=_NOW,
        ended_at=_NOW,
        last_error=error,
    )
    return event, delivery


def _told(record: SourceRecord, target: str = "ops", now: datetime = _NOW) -> tuple[SourceRecord, Event]:
    return tell_deaths(record, source="allium", target=target, now=now)


def _payload(event: Event) -> dict[str, Any]:
    assert not isinstance(event.payload, msgspec.UnsetType)
    payload: dict[str, Any] = json.loads(bytes(event.payload))
    return payload


# --------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("letters", "counts"),
    [
        ([], {}),
        ([("1", "ops")], {"ops": (1, "dlv_1")}),
        ([("1", "ops"), ("2", "ops"), ("3", "ops")], {"ops": (3, "dlv_3")}),
        ([("1", "ops"), ("2", "data"), ("3", "ops")], {"ops": (2, "dlv_3"), "data": (1, "dlv_2")}),
    ],
)
def test_dead_letters_are_counted_by_target_and_the_last_one_is_kept(
    letters: Sequence[tuple[str, str]], counts: dict[str, tuple[int, str]]
) -> None:
    record = count_deaths(_record(), [_dead(name, target=target) for name, target in letters])
    assert {target: (each.count, each.delivery_id) for target, each in record.deaths.items()} == counts
    assert msgspec.structs.replace(record, deaths={}) == _record(), "nothing else changes"


def test_why_and_what_is_kept_of_the_last_one() -> None:
    letters = [_dead("1", error="answered 410", summary="one"), _dead("2", summary="two")]
    [deaths] = count_deaths(_record(), letters).deaths.values()
    assert deaths == Deaths(count=2, delivery_id="dlv_2", reason="answered 400: no", summary="two")


def test_what_is_counted_later_is_added_and_keeps_when_others_were_told() -> None:
    before = _record(deaths={"ops": Deaths(told_at=_NOW), "data": Deaths(count=7)})
    record = count_deaths(count_deaths(before, [_dead("1")]), [_dead("2")])
    assert (record.deaths["ops"].count, record.deaths["ops"].told_at) == (2, _NOW)
    assert record.deaths["data"] == Deaths(count=7)
    assert before.deaths["ops"] == Deaths(told_at=_NOW), "the record before is left as it was"


@pytest.mark.parametrize("type_", [*ALL_TYPES, "backfill.paused", "target.new", "delivery.dead"])
def test_a_dead_letter_about_a_target_or_a_dead_letter_causes_no_further_event(type_: str) -> None:
    record = count_deaths(_record(), [_dead(type_=type_)])
    assert bool(record.deaths) == (type_ != "delivery.dead" and not type_.startswith("target."))


def test_among_others_those_that_cause_no_further_event_are_left_out() -> None:
    letters = [_dead("1"), _dead("2", type_="target.down"), _dead("3", type_="delivery.dead")]
    [deaths] = count_deaths(_record(), letters).deaths.values()
    assert (deaths.count, deaths.delivery_id) == (1, "dlv_1")


@pytest.mark.parametrize(
    ("error", "kept"), [(None, ""), ("a\nb\x1b[31m", "a b [31m"), ("x" * 400, "x" * 299 + "…")]
)
def test_foreign_words_are_kept_on_one_line_and_short(error: str | None, kept: str) -> None:
    [deaths] = count_deaths(_record(), [_dead(error=error, summary=error or "")]).deaths.values()
    assert deaths.reason == kept
    assert "\n" not in deaths.summary
    assert len(deaths.summary) <= 150


# ------------------------------------------------------------------------------------ when to tell


@pytest.mark.parametrize(
    ("told_at", "when"),
    [
        (None, _NOW),
        (_NOW, _NOW + TELL_EVERY),
        (_NOW - 59 * _SECOND, _NOW + _SECOND),
        (_NOW - 60 * _SECOND, _NOW),
        (_NOW - timedelta(days=3), _NOW - timedelta(days=3) + TELL_EVERY),
        pytest.param(_NOW + _SECOND, _NOW, id="the clock was set back"),
        pytest.param(_NOW + timedelta(days=300), _NOW, id="the clock was set back far"),
    ],
)
def test_others_are_told_at_once_and_then_at_most_once_a_minute(
    told_at: datetime | None, when: datetime
) -> None:
    record = _record(deaths={"ops": Deaths(count=1)})
    assert next_telling(record, "ops", told_at, _NOW) == when


@pytest.mark.parametrize("deaths", [{}, {"ops": Deaths(told_at=_NOW)}, {"data": Deaths(count=1)}])
@pytest.mark.parametrize("told_at", [None, _NOW, _NOW + _SECOND, _NOW - timedelta(days=1)])
def test_without_a_dead_letter_nobody_is_told(deaths: dict[str, Deaths], told_at: datetime | None) -> None:
    assert next_telling(_record(deaths=deaths), "ops", told_at, _NOW) is None


@given(st.none() | st.timedeltas(timedelta(days=-3000), timedelta(days=3000)).map(_NOW.__add__))
def test_nobody_waits_longer_than_a_minute_whatever_the_clock_does(told_at: datetime | None) -> None:
    at = next_telling(_record(deaths={"ops": Deaths(count=1)}), "ops", told_at, _NOW)
    assert at is not None
    assert at <= _NOW + TELL_EVERY


# -------------------------------------------------------------------------------------- the event


def test_the_event_says_what_a_receiver_is_promised() -> None:
    """Contract, section 6: all that is a job's is null."""
    _, event = _told(count_deaths(_record(seq=4), [_dead()]), now=_NOW + _SECOND)
    assert (event.type, event.seq, event.observed_at) == ("delivery.dead", 5, _NOW + _SECOND)
    payload = _payload(event)
    assert list(payload) == ["type", "timestamp", "data"]
    assert (payload["type"], payload["timestamp"]) == ("delivery.dead", "2026-01-31T10:30:01.000Z")
    assert payload["data"] == {
        "event_id": event.id,
        "source": "allium",
        **dict.fromkeys(["job_id", "status", "previous_status", "progress", "job"]),
        "summary": "a delivery to ops was given up: answered 400: no (USDC failed)",
        "target": "ops",
        "delivery_id": "dlv_1",
        "reason": "answered 400: no",
        "test": False,
    }
    assert event.summary == payload["data"]["summary"]


@pytest.mark.parametrize(
    ("count", "summary"),
    [
        (1, "a delivery to ops was given up: answered 400: no (USDC failed)"),
        (2, "2 deliveries to ops were given up; the last one: answered 400: no (USDC failed)"),
        (1200, "1,200 deliveries to ops were given up; the last one: answered 400: no (USDC failed)"),
    ],
)
def test_the_event_says_how_many_there_were(count: int, summary: str) -> None:
    letters = [_dead(str(number)) for number in range(count)]
    _, event = _told(count_deaths(_record(), letters))
    assert event.summary == summary
    assert _payload(event)["data"]["delivery_id"] == f"dlv_{count - 1}"


def test_after_the_event_nothing_is_counted_and_when_it_was_told_is_known() -> None:
    record = count_deaths(_record(), [_dead("1"), _dead("2", target="data")])
    told, event = _told(record)
    assert told.deaths["ops"] == Deaths(told_at=_NOW)
    assert told.deaths["data"] == record.deaths["data"]
    assert (told.seq, event.seq) == (1, 1)
    assert next_telling(told, "ops", _NOW, _NOW) is None


def test_the_id_is_the_same_for_the_same_telling_and_another_for_any_other() -> None:
    record = count_deaths(_record(), [_dead("1"), _dead("2", target="data")])
    told, event = _told(record)
    assert _told(record, now=_NOW + _SECOND)[1].id == event.id, "told again after a crash"
    others = [
        _told(count_deaths(told, [_dead("3")]))[1],
        _told(record, "data")[1],
        _told(msgspec.structs.replace(record, id="1" * 32))[1],
    ]
    assert len({event.id, *(other.id for other in others)}) == 4
    assert all(len(other.id) == 36 and other.id.startswith("evt_") for other in others)


def test_the_event_can_be_told_to_nobody_by_itself() -> None:
    """Only a caller knows the routes: the record holds neither the event nor a delivery yet."""
    told, _ = _told(count_deaths(_record(), [_dead()]))
    assert (told.events, told.deliveries) == ((), ())


def _again(*names: str, minutes: float = 0, **fields: Any) -> list[tuple[Event, Delivery]]:
    ended = _NOW + timedelta(minutes=minutes)
    letters = [_dead(name, **fields) for name in names]
    return [(event, msgspec.structs.replace(each, ended_at=ended)) for event, each in letters]


@pytest.mark.parametrize(
    ("replayed", "left"),
    [
        ([], 3),
        (_again("1", minutes=1), 2),
        (_again("1", "2", "3", minutes=1), 0),
        (_again("1", minutes=-1), 3),  # it was told already
        (_again("1", minutes=1, error=LOST_TARGET), 3),
        (_again("1", minutes=1, type_="delivery.dead"), 3),
        (_again("1", minutes=1, target="data"), 3),
    ],
)
def test_what_is_replayed_before_it_was_told_is_no_news(
    replayed: list[tuple[Event, Delivery]], left: int
) -> None:
    record = _record(deaths={"ops": Deaths(count=3, told_at=_NOW)})
    assert discount_deaths(record, replayed).deaths.get("ops") == Deaths(count=left, told_at=_NOW)
