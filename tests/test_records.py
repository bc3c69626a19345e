import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import JobRecord, SourceRecord
from notifier.records import Records, job_key, source_key
from notifier.storage import StoreError
from tests.records import NOW, delivery, of, record

SOURCE = SourceRecord(id="s", baseline_at=NOW)


def document(record: JobRecord | SourceRecord) -> bytes:
    return msgspec.json.encode(record)


def test_what_was_put_is_there_and_what_was_taken_out_is_not() -> None:
    records = of({"a": record(status="staging"), "b": record(status="failed")})
    records.put({}, {("allium", "a"): None, ("allium", "c"): document(record(status="paused"))})
    assert records.job(("allium", "a")) is None
    assert records.outbox(("allium", "a")) is None
    assert {key: each.snapshot.status for key, each in records.jobs()} == {
        ("allium", "b"): "failed",
        ("allium", "c"): "paused",
    }
    assert records.job_ids("allium") == {"b", "c"}


def test_taking_out_what_is_not_there_is_no_error() -> None:
    records = of({"a": record()})
    records.put({}, {("allium", "x"): None, ("other", "a"): None})
    assert records.job_ids("allium") == {"a"}
    assert records.job_ids("other") == set()


def test_a_job_can_come_back_after_it_was_taken_out() -> None:
    records = of({"a": record(status="staging")})
    records.put({}, {("allium", "a"): None})
    records.put({}, {("allium", "a"): document(record(status="failed"))})
    again = records.job(("allium", "a"))
    assert again is not None
    assert again.snapshot.status == "failed"


def test_job_ids_are_those_of_one_source() -> None:
    records = of({"a": record()})
    records.put({"allium": SOURCE, "other": SOURCE}, {("other", "b"): document(record())})
    assert records.job_ids("allium") == {"a"}
    assert records.job_ids("other") == {"b"}
    assert records.job_ids("unknown") == set()
    assert list(records.sources()) == ["allium", "other"]


def test_outboxes_are_those_of_sources_and_then_those_of_jobs() -> None:
    records = of({"a": record(delivery("1"))})
    records.put({"allium": SOURCE}, {})
    assert list(records.outboxes()) == [(("allium", None), SOURCE), (("allium", "a"), record(delivery("1")))]
    assert records.outbox(("allium", None)) == SOURCE
    assert records.outbox(("allium", "a")) == record(delivery("1"))
    assert records.outbox(("other", None)) is None


def test_whoever_goes_through_all_jobs_sees_them_as_they_were_when_it_began() -> None:
    records = of({"a": record(status="staging"), "b": record(status="staging")})
    seen = []
    for (_, job_id), each in records.jobs():
        seen.append((job_id, each.snapshot.status))
        records.put({}, {("allium", "b"): None, ("new", "c"): document(record())})
    assert seen == [("a", "staging"), ("b", "staging")]
    assert [key for key, _ in records.jobs()] == [("allium", "a"), ("new", "c")]


@given(st.text(st.characters(codec="utf-8")), st.from_regex(r"[a-z0-9._-]{1,20}", fullmatch=True))
def test_a_document_is_found_under_its_key_whatever_the_job_is_called(job_id: str, source: str) -> None:
    records = Records()
    documents = [(source_key(source), document(SOURCE)), (job_key((source, job_id)), document(record()))]
    records.load(documents, "a state")
    assert records.job((source, job_id)) == record()
    assert records.job_ids(source) == {job_id}
    assert records.source(source) == SOURCE


def test_a_job_that_is_missing_is_so_after_loading() -> None:
    missing = msgspec.structs.replace(
        record(), snapshot=msgspec.structs.replace(record().snapshot, missing_since=NOW)
    )
    records = Records()
    records.load([("job/s/j", document(missing)), ("job/s/k", document(record()))], "a state")
    assert records.job(("s", "j")) == missing
    assert b"missing_since" not in document(record()), "records of earlier versions are equal"


@pytest.mark.parametrize("key", ["job/s/j", "source/s"])
def test_a_document_that_cannot_be_read_is_named(key: str) -> None:
    with pytest.raises(StoreError, match=f"the state x.db is damaged: its record {key} cannot be read"):
        Records().load([(key, b"{}")], "x.db")


def test_documents_of_other_kinds_are_passed_over() -> None:
    records = Records()
    records.load([("start", b"{}"), ("later/s/j", b"?")], "a state")
    assert list(records.outboxes()) == []
