"""What lists are made from without decoding records: it must say what the records say, however they change."""

import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.catalogue import Catalogue, Wanted
from notifier.element import read_details
from notifier.glob import matches
from notifier.items import list_jobs
from notifier.model import DELIVERY_STATES, Delivery, JobKey, JobRecord, is_active
from notifier.records import Records
from tests.records import NOW, at, delivery, of, put, record

_STATUSES = st.sampled_from(["staging", "transporting", "completed", "failed", "paused", "active"])
_NAMES = st.sampled_from([None, "USDC Jan", "Straße", "DEX trades", "<b>"])
_TABLES = st.sampled_from([None, "base.dex.trades", "BASE.raw.logs", "eth.raw.logs"])
_KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "usdc", "x/y"]))
_STATES = st.sampled_from(DELIVERY_STATES)
_DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(["ops", "data"]),
        _STATES,
        st.integers(0, 3),
        st.sampled_from([None, "503", "no answer"]),
    ),
    max_size=4,
)


@st.composite
def _records(draw: st.DrawFn) -> JobRecord:
    deliveries = [
        delivery(str(place), target=target, state=state, created=created, last_error=error)
        for place, (target, state, created, error) in enumerate(draw(_DELIVERIES))
    ]
    made = record(
        *deliveries,
        status=draw(_STATUSES),
        seen=draw(st.integers(0, 3)),
        job_name=draw(_NAMES),
        table=draw(_TABLES),
    )
    snapshot = msgspec.structs.replace(
        made.snapshot,
        missing_polls=draw(st.sampled_from([0, 3])),
        stalled_at=draw(st.sampled_from([None, NOW])),
    )
    return msgspec.structs.replace(made, snapshot=snapshot)


_WANTED = st.builds(
    Wanted,
    status=st.none() | _STATUSES | st.sampled_from(["stalled", "removed", "nothing"]),
    source=st.none() | st.sampled_from(["a", "b", "c"]),
    table=st.none() | st.sampled_from(["base.*", "*.LOGS", "*", "eth"]),
    text=st.none() | st.sampled_from(["", "usdc", "STRASSE", "logs", "x/", "B>"]),
)


def _is_wanted(key: JobKey, each: JobRecord, wanted: Wanted) -> bool:
    snapshot, details = each.snapshot, read_details(each.snapshot.element)
    active = is_active(snapshot.status) and not snapshot.is_removed
    statuses = {
        None: True,
        "active": active,
        "stalled": active and snapshot.stalled_at is not None,
        "removed": snapshot.is_removed,
    }
    words = [key[1], details.job_name or "", details.table or ""]
    return (
        statuses.get(wanted.status, snapshot.status == wanted.status)
        and wanted.source in (None, key[0])
        and (wanted.table is None or (details.table is not None and matches(wanted.table, details.table)))
        and any((wanted.text or "").casefold() in word.casefold() for word in words)
    )


@given(
    rounds=st.lists(st.dictionaries(_KEYS, st.none() | _records(), max_size=6), min_size=1, max_size=4),
    wanted=_WANTED,
)
def test_it_says_what_the_records_say_whatever_changed_since_the_last_look(
    rounds: list[dict[JobKey, JobRecord | None]], wanted: Wanted
) -> None:
    records = Records()
    catalogue = Catalogue(records)
    for changes in rounds:
        records.put(
            {}, {key: None if each is None else msgspec.json.encode(each) for key, each in changes.items()}
        )
        known = dict(records.jobs())
        entries = {entry.job: entry for entry in catalogue.entries()}
        assert entries.keys() == known.keys()
        for key, each in known.items():
            _check_tallies(entries[key].tallies, each.deliveries)
        listed = [(item.source, item.job_id) for item in list_jobs(catalogue, now=NOW, wanted=wanted).items]
        by_age = sorted(known, key=lambda key: (known[key].snapshot.first_seen, "/".join(key)), reverse=True)
        assert listed == [key for key in by_age if _is_wanted(key, known[key], wanted)]


def _check_tallies(tallies: Any, deliveries: tuple[Delivery, ...]) -> None:
    assert {each.target for each in tallies} == {each.target for each in deliveries}
    for tally in tallies:
        mine = [each for each in deliveries if each.target == tally.target]
        for state in DELIVERY_STATES:
            assert tally.count(state) == sum(each.state == state for each in mine)
        waiting = [each.created_at for each in mine if each.state == "pending"]
        assert tally.oldest_pending == min(waiting, default=None)
        failed = [each for each in mine if each.last_error is not None]
        assert (tally.error is None) == (not failed)
        if failed:
            last = max((each.state == "pending", each.created_at) for each in failed)
            assert tally.error_weight == last
            assert tally.error in {
                each.last_error for each in failed if (each.state == "pending", each.created_at) == last
            }


def test_what_did_not_change_is_not_read_again() -> None:
    records = of({"a": record(delivery("1")), "b": record()})
    catalogue = Catalogue(records)
    before = {entry.job_id: entry for entry in catalogue.entries()}
    put(records, [(("allium", "b"), record(status="failed"))])
    after = {entry.job_id: entry for entry in catalogue.entries()}
    assert after["a"] is before["a"]
    assert (before["b"].status, after["b"].status) == ("staging", "failed")


def test_statuses_and_tables_are_kept_once_for_all_jobs() -> None:
    table = "base.assets.erc20_token_transfers"
    jobs = {str(number): record(status="transporting", table=table) for number in range(2)}
    one, other = Catalogue(of(jobs)).entries()
    assert one.status is other.status
    assert one.table is other.table


@pytest.mark.parametrize("status", ["staging", "completed"])
def test_a_removed_job_is_found_as_such_alone(status: str) -> None:
    gone = record(status=status)
    gone = msgspec.structs.replace(gone, snapshot=msgspec.structs.replace(gone.snapshot, missing_polls=3))
    catalogue = Catalogue(of({"gone": gone, "there": record(status=status)}))
    found = {
        wanted: [entry.job_id for entry in Wanted(status=wanted).select(catalogue.entries())]
        for wanted in ("removed", "active")
    }
    assert found == {"removed": ["gone"], "active": ["there"] if status == "staging" else []}


def test_it_can_be_looked_at_while_records_change() -> None:
    records = Records()
    catalogue = Catalogue(records)
    over = threading.Event()
    counts: list[list[int]] = [[], []]

    def look(seen: list[int]) -> None:
        while not over.is_set():
            seen.append(len(catalogue.entries()))

    lookers = [threading.Thread(target=look, args=(seen,)) for seen in counts]
    for each in lookers:
        each.start()
    for number in range(300):
        put(records, [(("allium", str(number)), record(seen=number))])
        put(records, [((f"s{number % 3}", "j"), record(seen=number))])
    over.set()
    for each in lookers:
        each.join()
    for seen in counts:
        assert seen == sorted(seen), "no job is missed that was there before"
    entries = {entry.job: entry for entry in catalogue.entries()}
    assert len(entries) == 303
    assert entries["s2", "j"].created == at(299).isoformat(timespec="microseconds")
