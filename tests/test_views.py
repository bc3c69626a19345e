"""What is known, as lists and an overview: which items, in which order, on which page."""

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.catalogue import Catalogue
from notifier.deliveries import DeliveryItem, list_deliveries
from notifier.items import JobItem, MuteItem, PhaseItem, count_mutes, list_jobs, list_mutes
from notifier.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Event,
    JobKey,
    JobRecord,
    Mute,
    Outage,
    Phase,
    PollReport,
    Sample,
    SourceRecord,
    rfc3339,
)
from notifier.page import BadCursorError, Page
from notifier.payload import Progress, read_payload
from notifier.records import Records
from notifier.views import SourceView, TargetView, list_sources, list_targets
from tests.records import NOW, at, delivery, of, put, record
from tests.servers import job
from tests.slack import hostile_events


def ids(page: Page[JobItem]) -> list[str]:
    return [item.job_id for item in page.items]


# ------------------------------------------------------------------------------------------ jobs


def test_the_job_ordered_last_comes_first() -> None:
    records = of(
        {
            "middle": record(time_created=rfc3339(at(1))),
            "first": record(time_created=rfc3339(at(2))),
            "last": record(time_created=rfc3339(at(0))),
        }
    )
    assert ids(list_jobs(Catalogue(records), now=NOW)) == ["first", "middle", "last"]


def test_a_job_without_a_usable_time_counts_as_ordered_when_it_was_first_seen() -> None:
    records = of(
        {
            "old": record(time_created=rfc3339(at(-5))),
            "seen": record(seen=-3, time_created=None),
            "odd": record(seen=-2, time_created="yesterday"),
            "new": record(seen=9, time_created=rfc3339(at(-1))),
        }
    )
    assert ids(list_jobs(Catalogue(records), now=NOW)) == ["new", "odd", "seen", "old"]


def test_times_are_compared_as_instants() -> None:
    records = of(
        {
            "year 999": record(time_created="0999-01-01T00:00:00Z"),
            "noon in Tokyo": record(time_created="2026-01-31T12:00:00+09:00"),
            "nine in London": record(time_created="2026-01-31T09:00:00.5"),
        }
    )
    assert ids(list_jobs(Catalogue(records), now=NOW)) == ["nine in London", "noon in Tokyo", "year 999"]


def test_a_job_is_shown_with_what_is_known_of_it() -> None:
    element = job("j1", "transporting", job_name="USDC", time_completed="2026-01-31T10:00:00Z", odd=[1, None])
    raw = json.dumps(element).encode()
    deliveries = [
        delivery("1"),
        delivery("2", state="dead"),
        delivery("3", state="pending"),
        delivery("4", state="pending"),
    ]
    records = of({"j1": record(*deliveries, status="transporting", seen=3, element=raw)})
    assert list_jobs(Catalogue(records), now=NOW) == Page(
        [
            JobItem(
                source="allium",
                job_id="j1",
                status="transporting",
                job_name="USDC",
                table="base.assets.erc20_token_transfers",
                progress=Progress(1000, 577, 57.7),
                error_message=None,
                time_created=datetime(2024, 4, 27, 10, 30, tzinfo=UTC),
                time_completed=datetime(2026, 1, 31, 10, tzinfo=UTC),
                first_seen=at(3),
                status_since=at(4),
                phases=[],
                stalled_since=None,
                removed=False,
                muted_until=None,
                events=4,
                pending=2,
                dead=1,
                job=msgspec.Raw(raw),
            )
        ],
        None,
    )


def test_jobs_of_two_sources_with_one_id_are_two_jobs() -> None:
    records = of({"j": record()}, "a")
    put(records, [(("b", "j"), record())])
    assert [item.source for item in list_jobs(Catalogue(records), now=NOW).items] == ["b", "a"]


@given(hostile_events())
def test_whatever_an_element_holds_its_job_can_be_shown_and_read_back(event: Event) -> None:
    assert not isinstance(event.payload, msgspec.UnsetType)
    element = bytes(read_payload(event.payload).data.job)
    page = list_jobs(Catalogue(of({"j": record(element=element)})), now=NOW)
    assert msgspec.json.decode(msgspec.json.encode(page), type=Page[JobItem]) == page


def seen(status: str = "transporting", fields: dict[str, Any] | None = None, **snapshot: Any) -> JobRecord:
    """Return the record of a job whose snapshot is like this; `fields` are those of the element."""
    old = record(status=status, **{"num_chunks": 1000, "chunks_left": 500} | (fields or {}))
    return msgspec.structs.replace(old, snapshot=msgspec.structs.replace(old.snapshot, **snapshot))


def shown(job: JobRecord, *mutes: Mute, minutes: float = 60) -> JobItem:
    records = of({"j": job})
    records.put({"allium": SourceRecord(id="s", baseline_at=NOW, mutes=mutes)}, {})
    [item] = list_jobs(Catalogue(records), now=at(minutes)).items
    return item


@pytest.mark.parametrize(
    ("status", "phases", "lengths"),
    [
        ("staging", [], []),
        ("staging", [("staging", 0)], [3600.0]),
        ("staging", [("staging", None)], [None]),
        ("transporting", [("staging", 0), ("transporting", 12.5)], [750.0, 2850.0]),
        ("transporting", [("staging", None), ("transporting", 12)], [None, 2880.0]),
        # nobody knows how long ago a job ended that is all there is of it
        ("completed", [("transporting", 10), ("completed", 50)], [2400.0, None]),
        ("cancelled", [("cancelled", None)], [None]),
        ("paused", [("failed", 10), ("paused", 50)], [2400.0, 600.0]),
        # the clock was set back, once before and once since
        ("transporting", [("staging", 30), ("transporting", 20)], [0.0, 2400.0]),
        ("transporting", [("transporting", 90)], [0.0]),
    ],
)
def test_each_phase_is_shown_with_how_long_it_lasted_the_present_one_until_now(
    status: str, phases: list[tuple[str, float | None]], lengths: list[float | None]
) -> None:
    times = [(name, None if since is None else at(since)) for name, since in phases]
    item = shown(seen(status, phases=tuple(Phase(name, since) for name, since in times)))
    assert item.phases == [
        PhaseItem(status=name, since=since, seconds=length)
        for (name, since), length in zip(times, lengths, strict=True)
    ]


@pytest.mark.parametrize(
    ("snapshot", "since"),
    [
        ({}, None),
        ({"moved_at": at(20)}, None),
        ({"moved_at": at(20), "stalled_at": at(50)}, at(20)),
        ({"stalled_at": at(50)}, at(1)),
    ],
    ids=["moves", "moved a while ago", "stalled", "stalled since it has its status"],
)
def test_of_a_stalled_job_it_is_shown_since_when_it_has_not_moved(
    snapshot: dict[str, Any], since: datetime | None
) -> None:
    assert shown(seen(**snapshot)).stalled_since == since


@pytest.mark.parametrize(("polls", "removed"), [(0, False), (2, False), (3, True), (9, True)])
def test_a_job_that_was_told_to_be_gone_is_shown_so(polls: int, removed: bool) -> None:
    assert shown(seen(missing_since=at(1) if polls else None, missing_polls=polls)).removed == removed


@pytest.mark.parametrize(
    ("status", "minutes", "snapshot", "rate", "eta"),
    [
        ("transporting", 11, {}, 40.0, at(20)),
        ("transporting", 19.9, {}, 40.0, at(20)),
        pytest.param("transporting", 20, {}, None, None, id="of long ago"),
        pytest.param("transporting", 11, {"stalled_at": at(11)}, None, None, id="stalled"),
        pytest.param("paused", 11, {}, 40.0, None, id="may never go on"),
    ],
)
def test_the_pace_of_a_job_is_shown_while_it_says_something(
    status: str, minutes: float, snapshot: dict[str, Any], rate: float | None, eta: datetime | None
) -> None:
    samples = (Sample(at(5), 600), Sample(at(10), 400))
    job = seen(status, {"chunks_left": 400}, samples=samples, **snapshot)
    progress = shown(job, minutes=minutes).progress
    found = None if progress.eta is None else datetime.fromisoformat(progress.eta)
    assert (progress.chunks_per_minute, found) == (rate, eta)


def a_mute(id_: str = "m", *, until: float = 90, created: float = 0, **named: Any) -> Mute:
    return Mute(id=id_, created_at=at(created), until=at(until), **named)


@pytest.mark.parametrize(
    ("mutes", "until"),
    [
        ([], None),
        ([a_mute(job_id="j")], at(90)),
        ([a_mute(job_id="k")], None),
        ([a_mute(table="base.*")], at(90)),
        ([a_mute(table="BASE.RAW.*", name="*usdc*")], at(90)),
        ([a_mute(table="base.*", name="*weth*")], None),
        ([a_mute(source="allium")], at(90)),
        ([a_mute(job_id="j", until=60)], None),
        ([a_mute(job_id="j", until=61), a_mute(source="allium", until=70), a_mute(job_id="k")], at(70)),
    ],
)
def test_a_job_is_shown_with_the_time_until_which_a_mute_of_its_source_is_about_it(
    mutes: list[Mute], until: datetime | None
) -> None:
    job = seen(fields={"table": "base.raw.logs", "job_name": "USDC transfers"})
    assert shown(job, *mutes).muted_until == until
    records = of({"j": job})
    records.put({"other": SourceRecord(id="o", mutes=tuple(mutes))}, {})
    assert list_jobs(Catalogue(records), now=at(60)).items[0].muted_until is None, "of another source"


# ----------------------------------------------------------------------------------------- mutes


def holding(**mutes: tuple[Mute, ...]) -> Records:
    """Return sources that hold these mutes."""
    records = Records()
    records.put({name: SourceRecord(id=name, mutes=held) for name, held in mutes.items()}, {})
    return records


def test_a_mute_that_several_sources_hold_is_one_that_kept_what_each_of_them_did() -> None:
    mute = a_mute("m", table="base.*", reason="known")
    other = a_mute("n", source="b", created=1, suppressed=1)
    records = holding(
        b=(msgspec.structs.replace(mute, suppressed=2), other),
        a=(msgspec.structs.replace(mute, suppressed=3),),
        c=(),
    )
    assert list_mutes(records, now=at(60)) == Page(
        [
            MuteItem(
                id="n",
                job_id=None,
                table=None,
                name=None,
                source="b",
                sources=["b"],
                reason=None,
                created_at=at(1),
                until=at(90),
                suppressed=1,
            ),
            MuteItem(
                id="m",
                job_id=None,
                table="base.*",
                name=None,
                source=None,
                sources=["a", "b"],
                reason="known",
                created_at=at(0),
                until=at(90),
                suppressed=5,
            ),
        ],
        None,
    )
    assert count_mutes(records, at(60)) == 2


def test_only_mutes_that_hold_are_shown_and_counted() -> None:
    records = holding(
        a=(a_mute("over", until=60), a_mute("holds", until=60.1)), b=(a_mute("over", until=60),)
    )
    assert [item.id for item in list_mutes(records, now=at(60)).items] == ["holds"]
    assert count_mutes(records, at(60)) == 1
    assert count_mutes(records, at(61)) == count_mutes(Records(), at(60)) == 0


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_of_mutes_hold_each_once_the_newest_first(limit: int) -> None:
    held = tuple(a_mute(f"m{number}", created=number // 2) for number in range(6))
    records = holding(a=held[:4], b=held[2:])
    found, cursor = list[str](), None
    while True:
        page = list_mutes(records, now=NOW, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += (item.id for item in page.items)
        if (cursor := page.next_cursor) is None:
            break
    assert found == ["m5", "m4", "m3", "m2", "m1", "m0"]


# ------------------------------------------------------------------------------------ deliveries


def test_deliveries_of_the_newest_event_come_first() -> None:
    records = of(
        {
            "a": record(delivery("1", created=1), delivery("4", created=4)),
            "b": record(delivery("2", created=2), delivery("3", created=3)),
        }
    )
    assert [item.id for item in list_deliveries(Catalogue(records)).items] == [
        "dlv_4",
        "dlv_3",
        "dlv_2",
        "dlv_1",
    ]


def test_deliveries_of_one_job_and_one_instant_keep_their_order_newest_first() -> None:
    together = [delivery(str(number)) for number in range(12)]
    records = of({"a": record(*together)})
    assert [item.id for item in list_deliveries(Catalogue(records)).items] == [
        d.id for d in reversed(together)
    ]


@pytest.mark.parametrize(
    ("state", "shown"),
    [(None, ["c", "b", "a"]), ("pending", ["a"]), ("delivered", ["b"]), ("dead", ["c"])],
)
def test_deliveries_can_be_had_by_their_state(state: DeliveryState | None, shown: list[str]) -> None:
    each = [
        delivery("a", state="pending", created=1),
        delivery("b", state="delivered", created=2),
        delivery("c", state="dead", created=3),
    ]
    items = list_deliveries(Catalogue(of({"j": record(*each)})), state=state).items
    assert [item.id for item in items] == [f"dlv_{name}" for name in shown]


def test_a_delivery_is_shown_with_the_event_it_is_of() -> None:
    pending = delivery(
        "2",
        state="pending",
        created=5,
        target="data",
        attempts=3,
        first_attempt_at=at(6),
        next_attempt_at=at(9),
        last_error="answered 503",
    )
    records = of({"j": record(delivery("1"), pending)})
    assert list_deliveries(Catalogue(records)).items[0] == DeliveryItem(
        id="dlv_2",
        event_id="evt_2",
        type="backfill.staging",
        source="allium",
        job_id="j",
        target="data",
        state="pending",
        attempts=3,
        last_error="answered 503",
        created_at=at(5),
        first_attempt=at(6),
        next_attempt=at(9),
        waits_for=None,
        ended_at=None,
        summary="summary of evt_2",
    )


def own(*deliveries: Delivery, type_: str = "delivery.dead") -> SourceRecord:
    """Return a source's record with an event about no job for each delivery."""
    events = [
        Event(
            id=each.event_id,
            seq=place + 1,
            type=type_,
            status="",
            previous_status=None,
            observed_at=each.created_at,
            summary=f"summary of {each.event_id}",
        )
        for place, each in enumerate(deliveries)
    ]
    return SourceRecord(id="x", baseline_at=NOW, events=tuple(events), deliveries=deliveries)


def test_deliveries_of_events_about_no_job_are_listed_among_the_others() -> None:
    records = of({"j": record(delivery("1", created=1), delivery("3", created=3))})
    records.put({"allium": own(delivery("2", state="pending", created=2, target="data"))}, {})
    items = list_deliveries(Catalogue(records)).items
    assert [(item.id, item.job_id) for item in items] == [("dlv_3", "j"), ("dlv_2", None), ("dlv_1", "j")]
    assert items[1] == DeliveryItem(
        id="dlv_2",
        event_id="evt_2",
        type="delivery.dead",
        source="allium",
        job_id=None,
        target="data",
        state="pending",
        attempts=0,
        last_error=None,
        created_at=at(2),
        first_attempt=None,
        next_attempt=None,
        waits_for=None,
        ended_at=None,
        summary="summary of evt_2",
    )
    assert json.loads(msgspec.json.encode(items[1]))["job_id"] is None
    assert [item.id for item in list_deliveries(Catalogue(records), state="pending").items] == ["dlv_2"]


def test_a_job_whose_id_is_empty_is_not_taken_for_the_source_itself() -> None:
    records = of({"": record(delivery("1", created=1))})
    records.put({"allium": own(delivery("2", created=1))}, {})
    assert {item.id: item.job_id for item in list_deliveries(Catalogue(records)).items} == {
        "dlv_1": "",
        "dlv_2": None,
    }


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_hold_deliveries_about_jobs_and_about_none_once_each(limit: int) -> None:
    records = of({"": record(delivery("1"), delivery("2")), "job": record(delivery("3"))})
    put(records, [(("b", "j"), record(delivery("4")))])
    records.put({"allium": own(delivery("5"), delivery("6")), "b": own(delivery("7"))}, {})
    seen: list[str] = []
    page = list_deliveries(Catalogue(records), limit=limit)
    while page.next_cursor is not None:
        seen += (item.id for item in page.items)
        page = list_deliveries(Catalogue(records), limit=limit, cursor=page.next_cursor)
    seen += (item.id for item in page.items)
    assert sorted(seen) == [f"dlv_{number}" for number in range(1, 8)]


def test_deliveries_about_no_job_count_for_their_target() -> None:
    records = of({"j": record(delivery("1"))})
    letters = [delivery("2", state="dead", ended_at=at(5), last_error="no"), delivery("3", state="pending")]
    records.put({"allium": own(*letters)}, {})
    assert list_targets(Catalogue(records)) == [
        TargetView(name="ops", delivered=1, dead=1, pending=1, oldest_pending=at(0), last_error="no")
    ]


def waits(*deliveries: Delivery) -> dict[str, str]:
    """Return what waits for what, of a job as of a source."""
    by_job = list_deliveries(Catalogue(of({"j": record(*deliveries)}))).items
    records = Records()
    records.put({"allium": own(*deliveries)}, {})
    by_source = list_deliveries(Catalogue(records)).items
    assert [item.waits_for for item in by_job] == [item.waits_for for item in by_source]
    return {item.id.removeprefix("dlv_"): item.waits_for for item in by_job if item.waits_for is not None}


@pytest.mark.parametrize(
    ("deliveries", "waiting"),
    [
        ([delivery("1", state="pending")], {}),
        ([delivery("1", state="pending"), delivery("2", state="pending")], {"2": "dlv_1"}),
        ([delivery(n, state="pending") for n in "123"], {"2": "dlv_1", "3": "dlv_1"}),
        ([delivery("1", state="dead"), delivery("2", state="pending")], {}),
        ([delivery("1", state="pending", target="data"), delivery("2", state="pending")], {}),
        pytest.param(
            [delivery("1", state="pending", replay=True), delivery("2", state="pending")],
            {},
            id="none waits for a replay",
        ),
        pytest.param(
            [delivery("1", state="pending"), delivery("2", state="pending", replay=True)],
            {},
            id="a replay waits for none",
        ),
        pytest.param(
            [
                delivery("1", state="pending", replay=True),
                delivery("2", state="pending"),
                delivery("3", state="pending", replay=True),
                delivery("4", state="pending"),
            ],
            {"4": "dlv_2"},
            id="the others wait for each other",
        ),
        pytest.param(
            [delivery("1", state="dead", replay=True), delivery("2", state="delivered", replay=True)],
            {},
            id="what was a replay",
        ),
    ],
)
def test_what_a_delivery_waits_for_is_the_first_of_its_job_and_target_that_is_in_order(
    deliveries: list[Delivery], waiting: dict[str, str]
) -> None:
    assert waits(*deliveries) == waiting


_HISTORY = (
    Attempt(at=at(1), outcome="unknown", duration_ms=15000, error="no answer in time"),
    Attempt(at=at(2), outcome="failed", duration_ms=12, status=503, error="answered 503"),
    Attempt(at=at(3), outcome="refused", duration_ms=7, status=400, error="answered 400: no"),
)


@pytest.mark.parametrize(
    ("history", "status"), [((), None), (_HISTORY[:1], None), (_HISTORY[:2], 503), (_HISTORY, 400)]
)
def test_attempts_are_shown_with_the_last_answer_s_status(
    history: tuple[Attempt, ...], status: int | None
) -> None:
    dead = delivery("1", state="dead", attempts=len(history), history=history, answer="no\nlonger")
    [item] = list_deliveries(Catalogue(of({"j": record(dead)}))).items
    assert (item.status, item.answer, item.history) == (status, "no\nlonger", history)


def test_attempts_are_told_to_programs_with_each_of_their_fields() -> None:
    dead = delivery("1", state="dead", history=_HISTORY, answer="é\x00")
    [item] = json.loads(msgspec.json.encode(list_deliveries(Catalogue(of({"j": record(dead)}))).items))
    assert (item["status"], item["answer"]) == (400, "é\x00")
    assert item["history"][1:] == [
        {
            "at": "2026-01-31T10:32:00Z",
            "outcome": "failed",
            "duration_ms": 12,
            "status": 503,
            "error": "answered 503",
        },
        {
            "at": "2026-01-31T10:33:00Z",
            "outcome": "refused",
            "duration_ms": 7,
            "status": 400,
            "error": "answered 400: no",
        },
    ]
    assert item["history"][0]["error"] == "no answer in time"


# ----------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_a_page_has_as_many_items_as_asked_for_and_the_last_one_leads_nowhere(limit: int) -> None:
    records = of({str(number): record(seen=number) for number in range(4)})
    page = list_jobs(Catalogue(records), limit=limit, now=NOW)
    assert ids(page) == ["3", "2", "1", "0"][:limit]
    assert (page.next_cursor is None) == (limit >= 4)


def test_a_list_without_anything_in_it_is_one_empty_page() -> None:
    assert list_jobs(Catalogue(Records()), now=NOW) == Page([], None)
    assert list_deliveries(Catalogue(Records())) == Page([], None)
    assert list_deliveries(Catalogue(of({"j": record(delivery("1"))})), state="dead") == Page([], None)


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "!!!", "é", "\udcff", "W10=", "bnVsbA==", "WyJhIiwiYiJ", "W10=" * 10_000),
        "WyJhIl0=",  # ["a"]
        "WyJhIiwxXQ==",  # ["a",1]
        "WyJhIiwiYiIsImMiXQ==",  # ["a","b","c"]
        "/////w==",
    ],
)
@pytest.mark.parametrize(
    "lists",
    [
        lambda records, cursor: list_jobs(Catalogue(records), now=NOW, cursor=cursor),
        lambda records, cursor: list_deliveries(Catalogue(records), cursor=cursor),
        functools.partial(list_mutes, now=NOW),
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(lists: Callable[..., Any], cursor: str) -> None:
    with pytest.raises(BadCursorError, match="not a cursor that a page gave"):
        lists(Records(), cursor=cursor)


_KEYS = st.tuples(st.sampled_from(["a", "ab", "b"]), st.text("ab/😀", max_size=3))
_TIMES = st.integers(0, 3)
_JOBS = st.dictionaries(_KEYS, _TIMES, max_size=12)


@given(before=_JOBS, meanwhile=st.lists(_JOBS, max_size=6), limit=st.integers(1, 5))
def test_pages_hold_each_job_once_while_others_are_added(
    before: dict[JobKey, int], meanwhile: list[dict[JobKey, int]], limit: int
) -> None:
    records = Records()
    put(records, ((key, record(seen=time)) for key, time in before.items()))
    known, seen = set(before), list[JobKey]()
    additions = iter(meanwhile)
    page = list_jobs(Catalogue(records), limit=limit, now=NOW)
    while True:
        assert len(page.items) <= limit
        seen += ((item.source, item.job_id) for item in page.items)
        if page.next_cursor is None:
            break
        new = {key: time for key, time in next(additions, {}).items() if key not in known}
        put(records, ((key, record(seen=time)) for key, time in new.items()))
        known |= new.keys()
        page = list_jobs(Catalogue(records), limit=limit, cursor=page.next_cursor, now=NOW)
    assert len(seen) == len(set(seen)), "none twice"
    assert set(before) <= set(seen) <= known


_STATES = st.sampled_from(["pending", "delivered", "dead"])


@given(
    before=st.dictionaries(_KEYS, st.lists(st.tuples(_STATES, _TIMES), max_size=4), max_size=5),
    meanwhile=st.lists(st.lists(_KEYS, max_size=3), max_size=6),
    state=st.none() | _STATES,
    limit=st.integers(1, 4),
)
def test_pages_hold_each_delivery_once_while_jobs_have_further_events(
    before: dict[JobKey, list[tuple[DeliveryState, int]]],
    meanwhile: list[list[JobKey]],
    state: DeliveryState | None,
    limit: int,
) -> None:
    numbers = iter(range(1000))
    jobs = {
        key: [delivery(str(next(numbers)), state=state_, created=created) for state_, created in each]
        for key, each in before.items()
    }
    records = Records()
    put(records, ((key, record(*each)) for key, each in jobs.items()))
    expected = {d.id for each in jobs.values() for d in each if state in (None, d.state)}
    seen: list[str] = []
    additions = iter(meanwhile)
    page = list_deliveries(Catalogue(records), state=state, limit=limit)
    while True:
        seen += (item.id for item in page.items)
        if page.next_cursor is None:
            break
        for key in next(additions, []):
            jobs.setdefault(key, []).append(delivery(str(next(numbers)), state="pending", created=9))
        put(records, ((key, record(*each)) for key, each in jobs.items()))
        page = list_deliveries(Catalogue(records), state=state, limit=limit, cursor=page.next_cursor)
    assert sorted(seen) == sorted(expected), "what came later is newer than every cursor"


# -------------------------------------------------------------------------------------- overview


def test_a_source_is_shown_with_its_jobs_by_status_the_most_frequent_first() -> None:
    statuses = ["staging", "completed", "completed", "completed", "paused", "paused", "failed"]
    records = of({str(number): record(status=status) for number, status in enumerate(statuses)})
    records.put({"allium": SourceRecord(id="x", baseline_at=at(-5))}, {})
    [source] = list_sources(Catalogue(records))
    assert source == SourceView(
        name="allium",
        jobs={"completed": 3, "paused": 2, "staging": 1, "failed": 1},
        active=3,
        stalled=0,
        baseline_at=at(-5),
        failing_since=None,
        polls=None,
    )
    assert list(source.jobs) == ["completed", "paused", "staging", "failed"]


def test_of_the_active_jobs_of_a_source_those_that_are_stalled_are_counted() -> None:
    stalled: dict[str, Any] = {"stalled_at": at(9)}
    records = of(
        {
            "moves": seen(),
            "stalled": seen(**stalled),
            "staging": seen("staging", **stalled),
            "gone": seen(missing_since=at(1), missing_polls=3, **stalled),
            "missing": seen(missing_since=at(1), missing_polls=2, **stalled),
            "ended": seen("completed"),
        }
    )
    records.put({"allium": SourceRecord(id="x")}, {})
    [source] = list_sources(Catalogue(records))
    assert (source.active, source.stalled, sum(source.jobs.values())) == (4, 3, 6)


@pytest.mark.parametrize("told_at", [None, at(5)])
def test_a_source_is_shown_with_the_time_since_which_it_fails_told_or_not(told_at: datetime | None) -> None:
    outage = Outage(since=at(-3), reason="answered 503", told_at=told_at)
    records = Records()
    of_target = {"ops": Outage(since=at(-9), reason="no")}
    records.put({"a": SourceRecord(id="a", outage=outage), "b": SourceRecord(id="b", outages=of_target)}, {})
    assert [view.failing_since for view in list_sources(Catalogue(records), {"c": PollReport()})] == [
        *(at(-3), None, None),
    ]


def test_sources_are_those_that_are_stored_and_those_that_are_polled() -> None:
    records = Records()
    records.put({name: SourceRecord(id=name, baseline_at=NOW) for name in ("gone", "both")}, {})
    polls = {name: PollReport(last_poll=at(1), failures=2, last_error="no") for name in ("new", "both")}
    views = {view.name: view for view in list_sources(Catalogue(records), polls)}
    assert list(views) == ["both", "gone", "new"]
    assert (views["gone"].baseline_at, views["gone"].polls) == (NOW, None)
    assert (views["new"].baseline_at, views["new"].polls) == (None, polls["new"])
    assert (views["new"].jobs, views["new"].active) == ({}, 0)
    assert [view.configured for view in views.values()] == [True, False, True]


def test_jobs_of_a_source_that_is_no_longer_configured_are_not_active() -> None:
    stalled = seen(stalled_at=at(9))
    records = of({"moves": record(), "stalled": stalled})
    records.put({"allium": SourceRecord(id="x")}, {})
    for polls, counted in (
        (None, (2, 1)),
        ({"allium": PollReport()}, (2, 1)),
        ({"beam": PollReport()}, (0, 0)),
    ):
        view = list_sources(Catalogue(records), polls)[0]
        assert (view.name, view.active, view.stalled) == ("allium", *counted)
        assert sum(view.jobs.values()) == 2
        assert view.configured is (None if polls is None else "allium" in polls)


def test_targets_are_those_that_are_configured_and_those_with_deliveries() -> None:
    records = of({"j": record(delivery("1", target="gone"))})
    assert list_targets(Catalogue(records), ["ops", "data"]) == [
        TargetView(name="data", configured=True),
        TargetView(name="gone", delivered=1, configured=False),
        TargetView(name="ops", configured=True),
    ]


def test_the_deliveries_of_a_target_are_counted_by_state() -> None:
    records = of(
        {
            "a": record(
                delivery("1"), delivery("2", state="dead", ended_at=NOW), delivery("3", state="pending")
            ),
            "b": record(delivery("4"), delivery("5"), delivery("6", target="data")),
        }
    )
    views = {view.name: view for view in list_targets(Catalogue(records))}
    assert (views["ops"].pending, views["ops"].delivered, views["ops"].dead) == (1, 3, 1)
    assert (views["data"].pending, views["data"].delivered, views["data"].dead) == (0, 1, 0)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("deliveries", "oldest", "error"),
    [
        ([], None, None),
        ([delivery("1")], None, None),
        (
            [
                delivery("1", state="pending", created=1, last_error="the oldest"),
                delivery("2", state="pending", created=2, last_error="a newer one"),
                delivery("3", state="dead", created=0, ended_at=at(9), last_error="dead"),
            ],
            at(1),
            "a newer one",
        ),
        (
            [
                delivery("1", state="pending", created=1),
                delivery("2", state="pending", created=2, last_error="a newer one"),
            ],
            at(1),
            "a newer one",
        ),
        (
            [
                delivery("1", state="dead", created=1, ended_at=at(9), last_error="the last that ended"),
                delivery("2", state="dead", created=2, ended_at=at(8), last_error="given up before"),
            ],
            None,
            "the last that ended",
        ),
    ],
)
def test_a_target_s_error_is_the_last_of_what_waits_or_else_of_the_last_dead_letter(
    deliveries: list[Delivery], oldest: datetime | None, error: str | None, *, turned: bool
) -> None:
    jobs = {each.id: record(each) for each in deliveries}
    records = of(dict(reversed(jobs.items())) if turned else jobs)
    [view] = list_targets(Catalogue(records), ["ops"])
    assert (view.oldest_pending, view.last_error) == (oldest, error)


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ([], "the token was revoked"),
        (
            [delivery("1", state="dead", created=1, ended_at=at(9), last_error="long ago")],
            "the token was revoked",
        ),
        ([delivery("1", state="pending", created=1, last_error="answered 500")], "answered 500"),
    ],
    ids=["nothing", "a dead letter", "what waits"],
)
def test_why_a_target_fails_is_told_also_when_nothing_waits_for_it(last: list[Delivery], error: str) -> None:
    records = of({each.id: record(each) for each in last})
    outage = Outage(since=at(2), reason="the token was revoked")
    records.put({"allium": SourceRecord(id="0" * 32, baseline_at=NOW, outages={"ops": outage})}, {})
    [view] = list_targets(Catalogue(records), ["ops"])
    assert (view.last_error, view.failing_since) == (error, at(2))
