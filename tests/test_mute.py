from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.announcement import Change, Origin
from notifier.element import Details
from notifier.model import JobRecord, Known, Mute, SourceRecord
from notifier.mute import (
    catch_up,
    is_of,
    is_of_all,
    is_transition_told,
    known_of,
    muting,
    with_suppressed,
    without_mutes,
)
from notifier.patience import as_stored, lapse
from notifier.rules import Rules
from tests.records import NOW, at, record

_ORIGIN = Origin("allium", "s1", "j")
_DETAILS = Details(table="base.transfers", job_name="USDC daily")


def _mute(id_: str = "m", minutes: float = 60, **fields: Any) -> Mute:
    return Mute(id=id_, created_at=NOW, until=at(minutes), **fields)


@pytest.mark.parametrize(
    ("fields", "details", "is_about"),
    [
        ({"job_id": "j"}, Details(), True),
        ({"job_id": "J"}, _DETAILS, False),
        ({"job_id": "j*"}, _DETAILS, False),
        ({"table": "BASE.*"}, _DETAILS, True),
        ({"table": "base"}, _DETAILS, False),
        ({"table": "*"}, Details(), False),
        ({"name": "usdc*"}, _DETAILS, True),
        ({"name": "*"}, Details(), False),
        ({"job_id": "j", "table": "eth.*"}, _DETAILS, False),
        ({"table": "base.*", "name": "usdt*"}, _DETAILS, False),
        ({"job_id": "j", "table": "base.*", "name": "USDC daily"}, _DETAILS, True),
        ({"source": "allium"}, Details(), True),
        ({}, Details(), True),
    ],
)
def test_a_mute_is_about_the_jobs_that_match_all_that_it_names(
    fields: dict[str, Any], details: Details, is_about: bool
) -> None:
    assert is_of(_mute(**fields), "j", details) == is_about


@pytest.mark.parametrize(("now", "ids"), [(at(0), "abc"), (at(9.99), "abc"), (at(10), "bc"), (at(20), "")])
def test_a_mute_holds_until_its_time_and_not_then(now: datetime, ids: str) -> None:
    mutes = [_mute("a", 10), _mute("b", 20), _mute("c", 20, job_id="j"), _mute("d", job_id="k")]
    assert "".join(mute.id for mute in muting(mutes, "j", _DETAILS, now)) == ids


@pytest.mark.parametrize(
    ("fields", "is_all"),
    [
        ({}, True),
        ({"source": "allium"}, True),
        ({"job_id": "j"}, False),
        ({"table": "*"}, False),
        ({"name": "*", "source": "allium"}, False),
    ],
)
def test_a_mute_of_a_whole_source_names_no_jobs(fields: dict[str, Any], is_all: bool) -> None:
    assert is_of_all(_mute(**fields)) == is_all


def test_what_was_suppressed_is_counted_for_each_mute_that_kept_it() -> None:
    source = SourceRecord(id="s1", mutes=(_mute("a", suppressed=2), _mute("b")))
    counted = with_suppressed(source, {"a": 3, "gone": 1})
    assert [(mute.id, mute.suppressed) for mute in counted.mutes] == [("a", 5), ("b", 0)]
    assert without_mutes(counted, {"a", "gone"}).mutes == source.mutes[1:]


# ------------------------------------------------------------------- when it has ended


def _job(status: str = "transporting", *, known: Known | None = None, **fields: Any) -> JobRecord:
    old = record(status=status, num_chunks=1000, chunks_left=577)
    return msgspec.structs.replace(
        old, snapshot=msgspec.structs.replace(old.snapshot, **fields), seq=4, known=known
    )


def _caught_up(job: JobRecord, known: Known) -> Change:
    return catch_up(as_stored(job.snapshot, job.seq), known, origin=_ORIGIN, now=at(99))


def test_what_people_know_is_what_was_told_before_the_mute_or_nothing() -> None:
    assert known_of(None) == Known(status=None)
    assert known_of(_job()) == Known(status="transporting")
    assert known_of(_job(stalled_at=NOW)) == Known(status="transporting", stalled=True)
    assert known_of(_job(missing_polls=3)) == Known(status="transporting", removed=True)
    assert known_of(_job(missing_polls=2)) == Known(status="transporting")
    before = Known(status="staging")
    assert known_of(_job(known=before, stalled_at=NOW)) == before


_STALLED = {"stalled_at": NOW, "told_at": NOW}
_REMOVED = {"missing_since": NOW, "missing_polls": 3}


@pytest.mark.parametrize(
    ("known", "status", "fields", "told"),
    [
        (Known(status="transporting"), "transporting", {}, []),
        (Known(status="staging"), "transporting", {}, [("transporting", "staging")]),
        (Known(status="transporting"), "completed", {}, [("completed", "transporting")]),
        (Known(status=None), "failed", {}, [("failed", None)]),
        (Known(status="transporting"), "transporting", _STALLED, [("stalled", "transporting")]),
        (Known(status="transporting", stalled=True), "transporting", _STALLED, []),
        (Known(status="transporting", stalled=True), "transporting", {}, [("resumed", "transporting")]),
        (Known(status="transporting", stalled=True), "completed", {}, [("completed", "transporting")]),
        (
            Known(status="staging", stalled=True),
            "transporting",
            _STALLED,
            [("transporting", "staging"), ("stalled", "transporting")],
        ),
        (Known(status="transporting"), "transporting", _REMOVED, [("removed", "transporting")]),
        (Known(status="transporting", removed=True), "transporting", _REMOVED, []),
        (Known(status="transporting", removed=True), "transporting", {}, [("transporting", "transporting")]),
        (Known(status="transporting", removed=True), "failed", {}, [("failed", "transporting")]),
        (
            Known(status="staging"),
            "transporting",
            _REMOVED,
            [("transporting", "staging"), ("removed", "transporting")],
        ),
        (
            Known(status="transporting"),
            "transporting",
            _STALLED | _REMOVED,
            [("stalled", "transporting"), ("removed", "transporting")],
        ),
        (
            Known(status="staging", removed=True),
            "transporting",
            _REMOVED,
            [("transporting", "staging"), ("removed", "transporting")],
        ),
        (
            Known(status="transporting", stalled=True, removed=True),
            "transporting",
            {},
            [("transporting", "transporting")],
        ),
        (
            Known(status="transporting", stalled=True, removed=True),
            "transporting",
            _STALLED,
            [("transporting", "transporting"), ("stalled", "transporting")],
        ),
    ],
)
def test_the_difference_to_what_people_know_is_told(
    known: Known, status: str, fields: dict[str, Any], told: list[tuple[str, str | None]]
) -> None:
    change = _caught_up(_job(status, **fields), known)
    assert [(event.type.removeprefix("backfill."), event.previous_status) for event in change.events] == told
    assert [event.seq for event in change.events] == list(range(5, 5 + len(told)))
    assert change.seq == 4 + len(told)
    assert all((event.status, event.observed_at) == (status, at(99)) for event in change.events)


@pytest.mark.parametrize("status", ["failed", "transporting"])
def test_trouble_that_was_just_told_is_not_told_again_at_once(status: str) -> None:
    stalled_at = NOW if status == "transporting" else None
    job = _job(status, told_at=NOW, stalled_at=stalled_at, moved_at=NOW)
    change = _caught_up(job, Known(status="staging"))
    assert change.snapshot.told_at == at(99)
    rules = Rules(remind_every=timedelta(minutes=30))
    assert lapse(change, origin=_ORIGIN, rules=rules, now=at(99)) is None
    assert lapse(change, origin=_ORIGIN, rules=rules, now=at(129)) is not None


_KNOWN = st.builds(
    Known,
    status=st.sampled_from([None, "staging", "transporting", "failed"]),
    stalled=st.booleans(),
    removed=st.booleans(),
)


@given(
    _KNOWN, st.sampled_from(["staging", "transporting", "failed"]), st.sampled_from([{}, _STALLED, _REMOVED])
)
def test_who_was_told_the_difference_is_told_nothing_more(
    known: Known, status: str, fields: dict[str, Any]
) -> None:
    change = _caught_up(_job(status, **fields), known)
    job = msgspec.structs.replace(_job(status, **fields), snapshot=change.snapshot, seq=change.seq)
    assert _caught_up(job, known_of(job)).events == ()
    if known.status != status:
        assert is_transition_told(change)
