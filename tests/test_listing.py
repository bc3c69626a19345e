import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.element import read_details
from notifier.listing import Listing, ListingError, read_listing
from tests.servers import job

_OTHER = b'{"job_id": "other", "status": "staging"}'

_TEXT = st.text(st.characters())  # lone surrogates included: JSON can spell them
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXT, values, max_size=3),
    max_leaves=6,
)
_FEW = st.sampled_from(["j1", "j2", "j3", "", "canceled"])


def _ids(listing: Listing) -> list[str]:
    return [element.job_id for element in listing.elements]


def _list(*elements: Any) -> Listing:
    return read_listing(json.dumps(elements).encode())


def test_each_job_is_read_in_the_order_of_the_reply() -> None:
    listing = _list(job("b", "staging"), job("a", "completed"), job("c", "paused"))
    assert [(e.job_id, e.status) for e in listing.elements] == [
        ("b", "staging"),
        ("a", "completed"),
        ("c", "paused"),
    ]
    assert listing.rejected == 0
    assert listing.organization_ids == {"org123"}


@pytest.mark.parametrize("body", [b"[]", b" \n[ ]\t", bytearray(b"[]"), b"\xef\xbb\xbf[]"])
def test_an_empty_listing_is_a_good_one(body: bytes | bytearray) -> None:
    assert read_listing(body) == Listing(
        elements=(), rejected=0, rejected_ids=frozenset(), organization_ids=frozenset()
    )


@pytest.mark.parametrize(
    "bad",
    [
        "null",
        "5",
        '"j1"',
        "[]",
        '["job_id", "j1"]',
        "{}",
        '{"status": "staging"}',
        '{"job_id": null, "status": "staging"}',
        '{"job_id": 7, "status": "staging"}',
        '{"job_id": ["j1"], "status": "staging"}',
        '{"job_id": "j1"}',
        '{"job_id": "j1", "status": null}',
        '{"job_id": "j1", "status": 1}',
        '{"job_id": "j1", "status": true}',
        '{"JOB_ID": "j1", "STATUS": "staging"}',
        '{"job_id": "j1", "status": "staging", "job_id": 7}',
    ],
)
def test_a_bad_element_is_counted_and_the_others_are_kept(bad: str) -> None:
    listing = read_listing(b"[%b, %b, %b]" % (bad.encode(), _OTHER, bad.encode()))
    assert _ids(listing) == ["other"]
    assert listing.rejected == 2


def test_of_a_job_listed_twice_the_last_one_counts() -> None:
    listing = _list(job("a", "staging"), job("b"), {"job_id": "a"}, job("a", "failed"))
    assert {e.job_id: e.status for e in listing.elements} == {"a": "failed", "b": "staging"}
    assert len(listing.elements) == 2
    assert listing.rejected == 1
    assert json.loads(bytes(listing.elements[_ids(listing).index("a")].raw))["status"] == "failed"


@pytest.mark.parametrize(
    ("listed", "status"),
    [
        ("canceled", "cancelled"),
        ("cancelled", "cancelled"),
        ("Canceled", "Canceled"),
        ("canceled ", "canceled "),
        ("some_new_state", "some_new_state"),
        ("", ""),
        ("😀", "😀"),
    ],
)
def test_a_status_is_taken_as_listed_but_for_one_spelling(listed: str, status: str) -> None:
    (element,) = _list(job(status=listed)).elements
    assert element.status == status
    assert json.loads(bytes(element.raw))["status"] == listed


@pytest.mark.parametrize(
    "value", ["null", "5", "1e400", "-1.5", "true", '"x"', "[[]]", '{"a": {}}', "9" * 5000]
)
@pytest.mark.parametrize("field", [*(name for name in job() if name not in ("job_id", "status")), "unknown"])
def test_no_other_field_can_reject_an_element(field: str, value: str) -> None:
    listing = read_listing(f'[{{"job_id": "a", "status": "staging", "{field}": {value}}}]'.encode())
    assert _ids(listing) == ["a"]
    assert listing.rejected == 0
    read_details(listing.elements[0].raw)


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["org1", "org1"], {"org1"}),
        (["org1", "org2"], {"org1", "org2"}),
        (["org1", None, "", 5, ["org2"]], {"org1"}),
        ([None], set()),
    ],
)
def test_the_organisations_of_a_listing_are_the_usable_ones(values: list[Any], ids: set[str]) -> None:
    listing = _list(*(job(f"j{i}", organization_id=value) for i, value in enumerate(values)))
    assert listing.organization_ids == ids
    assert len(listing.elements) == len(values)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"job_id": "a", "status": "staging"}',
        b'{ "job_id"\n:\t"a" ,"status" : "staging" }',
        b'{"status": "staging", "new": {"x": [1, {"y": null}]}, "job_id": "a"}',
        b'{"job_id": "a", "status": "staging", "n": 123456789012345678901234567890, "f": 1.0e5}',
        rb'{"job_id": "a", "status": "staging", "job_name": "\u00e9\/\u0041"}',
        '{"job_id": "a", "status": "staging", "job_name": "é😀"}'.encode(),
    ],
)
@pytest.mark.parametrize("before", [b"[", b"[\n  ", b"\xef\xbb\xbf[", b'["\xff", "\\ud800", '])
def test_an_element_is_kept_exactly_as_received(raw: bytes, before: bytes) -> None:
    listing = read_listing(before + raw + b" ]\n")
    assert [bytes(element.raw) for element in listing.elements] == [raw]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (rb"x\ud800", "x�"),
        (rb"\udc00x", "�x"),
        (rb"\uD800\u0041", "�A"),
        (rb"\ud800\ud83d\ude00", "�😀"),
        (b"x\xff\xfe", "x��"),
        (b"x\xed\xa0\x80", "x���"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\uD83D\uDE00", "😀"),
        (rb"\\ud800", r"\ud800"),
        (rb"\\\ud800", "\\�"),
        (rb"\\\\ud800\"", r'\\ud800"'),
        (rb"\u005cud800", r"\ud800"),
        (rb"\u00e9", "é"),
    ],
)
def test_what_cannot_be_text_hides_neither_its_job_nor_another(written: bytes, name: str) -> None:
    odd = b'{"job_id": "a", "status": "staging", "job_name": "%b"}' % written
    # The second job makes sure that the reply is one that needs repair.
    unsound = rb'{"job_id": "b", "status": "staging", "job_name": "\udfff"}'
    for body in (b"[%b, %b]" % (odd, _OTHER), b"[%b, %b, %b]" % (odd, unsound, _OTHER)):
        listing = read_listing(body)
        assert _ids(listing)[0] == "a"
        assert _ids(listing)[-1] == "other"
        assert read_details(listing.elements[0].raw).job_name == name
        assert bytes(listing.elements[-1].raw) == _OTHER


def test_an_id_or_status_that_cannot_be_text_is_still_one() -> None:
    listing = read_listing(rb'[{"job_id": "a\ud800", "status": "s\udc00", "\udfff": 1}]')
    assert [(e.job_id, e.status) for e in listing.elements] == [("a�", "s�")]
    assert listing.rejected == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"\xef\xbb\xbf", "not a JSON array"),
        (b"<!doctype html><html></html>", "HTML page, not JSON"),
        (b"\n  <html>", "HTML page, not JSON"),
        ("\ufeff<html>ü".encode(), "HTML page, not JSON"),
        (b'{"data": []}', "JSON object, not an array"),
        (b'\xef\xbb\xbf{"data": []}', "JSON object, not an array"),
        (b"{", "JSON object, not an array"),
        (b'"text"', "not a JSON array"),
        (b"5", "not a JSON array"),
        (b"null", "not a JSON array"),
        (b"Bad Gateway", "not a JSON array"),
        ("[]".encode("utf-16"), "not a JSON array"),
        (b"\x00[]", "not a JSON array"),
        (b"[", "cut off"),
        (b"[" + _OTHER, "cut off"),
        (b"[" + _OTHER + b",", "cut off"),
        (b"[" + _OTHER + b",]", "cut off"),
        (b"[" + _OTHER + b"] and more", "cut off"),
        (b"[" + _OTHER + b"][]", "cut off"),
        (b"[" + _OTHER[:-3], "cut off"),
        (b'[{"job_id": "\\ud8', "cut off"),
        (b'[{"job_id": "\xc3', "cut off"),
        (b"[NaN]", "cut off"),
        (b'["\n"]', "cut off"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"\xef\xbb\xbf" + b'[{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_one_whole_array_is_no_listing(body: bytes, message: str) -> None:
    with pytest.raises(ListingError, match=f"^the reply is .*{message}"):
        read_listing(body)


@pytest.mark.parametrize("depth", [2, 100, 300])
def test_a_job_may_be_nested_as_deep_as_any_sensible_one(depth: int) -> None:
    odd = b'{"job_id": "a", "status": "staging", "x": %b}' % (b"[" * depth + b"]" * depth)
    assert _ids(read_listing(b"[%b, %b]" % (odd, _OTHER))) == ["a", "other"]


def _deepest() -> int:
    """Return how deeply nested JSON can be and still be read: it hangs on the version of Python."""
    readable, too_deep = 1, 1_000_000
    while too_deep - readable > 1:
        depth = (readable + too_deep) // 2
        try:
            msgspec.json.decode(b"[" * depth + b"]" * depth, type=msgspec.Raw)
        except RecursionError:
            too_deep = depth
        else:
            readable = depth
    return readable


def test_what_is_nested_deeper_than_can_be_stored_counts_as_absent() -> None:
    depth = _deepest() - 100  # can be read here, but no longer inside of a record and a payload
    nested = b"[" * depth + b"]" * depth
    odd = b'{"job_id": "a", "status": "staging", "organization_id": "o", "x": %b}' % nested
    listing = read_listing(b"[%b, %b]" % (odd, _OTHER))
    assert _ids(listing) == ["a", "other"]
    assert bytes(listing.elements[0].raw) == b'{"job_id":"a","status":"staging","organization_id":"o"}'


def test_a_message_about_a_reply_repeats_nothing_of_it() -> None:
    for body in (b"<html>hunter2", b'{"key": "hunter2"}', b'["hunter2"', b"hunter2"):
        with pytest.raises(ListingError) as caught:
            read_listing(body)
        assert "hunter2" not in str(caught.value)


@given(st.lists(_JSON | st.fixed_dictionaries({"job_id": _FEW | _JSON, "status": _FEW | _JSON})))
def test_every_element_is_read_or_rejected_or_replaced(values: list[Any]) -> None:
    good: dict[str, str] = {}
    rejected = 0
    for value in values:
        match value:
            case {"job_id": str() as job_id, "status": str() as status}:
                good[_sound(job_id)] = "cancelled" if status == "canceled" else _sound(status)
            case _:
                rejected += 1
    listing = read_listing(json.dumps(values).encode())
    assert {element.job_id: element.status for element in listing.elements} == good
    assert (len(listing.elements), listing.rejected) == (len(good), rejected)


@given(_TEXT, _TEXT, st.dictionaries(st.sampled_from(list(job())) | _TEXT, _JSON, max_size=4))
def test_a_string_id_and_status_are_all_an_element_needs(
    job_id: str, status: str, others: dict[str, Any]
) -> None:
    listing = _list(others | {"job_id": job_id, "status": status})
    assert (len(listing.elements), listing.rejected) == (1, 0)


@given(st.data())
def test_no_part_of_a_reply_is_taken_for_the_whole(data: st.DataObject) -> None:
    body = json.dumps([job("a", job_name="Ünü"), job("b")], ensure_ascii=data.draw(st.booleans())).encode()
    with pytest.raises(ListingError):
        read_listing(body[: data.draw(st.integers(0, len(body) - 1))])


@given(st.binary() | st.text('[]{}",:\\ud80c1en \ufeff').map(str.encode))
def test_whatever_the_reply_it_is_a_listing_or_an_error(body: bytes) -> None:
    message = ""
    try:
        read_listing(body)
    except ListingError as error:
        message = str(error)
    is_listing = body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[") and not message
    assert is_listing or message.startswith("the reply is")


def _sound(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "�", json.loads(json.dumps(text)))


@pytest.mark.parametrize(
    ("element", "ids"),
    [
        ('{"job_id": "b", "status": 1}', {"b"}),
        ('{"job_id": "b"}', {"b"}),
        ('{"job_id": 1, "status": "staging"}', set()),
        ('{"status": "staging"}', set()),
        ("null", set()),
        ('["b"]', set()),
    ],
)
def test_only_an_element_without_a_readable_id_may_be_any_job(element: str, ids: set[str]) -> None:
    listing = read_listing(f'[{{"job_id": "a", "status": "staging"}}, {element}]'.encode())
    assert listing.rejected == 1
    assert set(listing.rejected_ids) == ids
    assert listing.proves_absence == bool(ids)
