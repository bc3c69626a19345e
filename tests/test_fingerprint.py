import re
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.fingerprint import fingerprint, snapshot_print
from notifier.model import Phase, Sample, Snapshot
from tests.records import NOW

ELEMENT = b'{"job_id":"j","status":"failed","error_message":null}'


def snapshot(*, status: str = "failed", element: bytes = ELEMENT) -> Snapshot:
    return Snapshot(status=status, first_seen=NOW, status_since=NOW, element=msgspec.Raw(element))


@given(st.lists(st.binary(max_size=8), max_size=4))
def test_a_fingerprint_is_sixteen_digits_and_always_the_same(parts: list[bytes]) -> None:
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(*parts))
    assert fingerprint(*parts) == fingerprint(*(bytes(bytearray(part)) for part in parts))


def test_a_fingerprint_is_stored_and_stays_the_same_over_releases() -> None:
    assert fingerprint(b"failed", ELEMENT) == "acf7e2e712a29ca2"


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_other_parts_have_another_fingerprint(parts: list[bytes], others: list[bytes]) -> None:
    assert (fingerprint(*parts) == fingerprint(*others)) == (parts == others)


@pytest.mark.parametrize(
    "others", [(b"abc",), (b"", b"abc"), (b"a", b"bc"), (b"ab", b"c", b""), (b"c", b"ab")]
)
def test_what_parts_begin_and_end_with_matters(others: tuple[bytes, ...]) -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(*others)


@pytest.mark.parametrize(
    "other",
    [
        snapshot(status="completed"),
        snapshot(element=ELEMENT.replace(b"null", b'"no space left"')),
        snapshot(element=ELEMENT[:-1] + b',"something_new":1}'),
    ],
)
def test_whatever_a_job_is_listed_with_changes_its_fingerprint(other: Snapshot) -> None:
    assert snapshot_print(other) != snapshot_print(snapshot())


def test_what_is_only_remembered_of_a_job_leaves_its_fingerprint() -> None:
    later = msgspec.structs.replace(
        snapshot(),
        first_seen=NOW - timedelta(days=1),
        status_since=NOW - timedelta(hours=1),
        missing_since=NOW,
        phases=(Phase(status="failed", since=NOW),),
        samples=(Sample(NOW, 100),),
    )
    assert snapshot_print(later) == snapshot_print(snapshot())


def test_a_job_that_was_stored_and_read_again_has_the_same_fingerprint() -> None:
    read = msgspec.json.decode(msgspec.json.encode(snapshot()), type=Snapshot)
    assert snapshot_print(read) == snapshot_print(snapshot())
