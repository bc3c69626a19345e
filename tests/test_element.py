import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.element import Details, read_details, redact_element, redact_url

_NOON = datetime(2024, 4, 27, 12, tzinfo=UTC)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def _fields(element: msgspec.Raw) -> dict[str, bytes]:
    return {
        name: bytes(raw) for name, raw in msgspec.json.decode(element, type=dict[str, msgspec.Raw]).items()
    }


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("4", 4),
        ("4.0", 4),
        ("1e3", 1000),
        ("0", 0),
        ("-0.0", 0),
        ("18446744073709551616", 2**64),
        ("4.5", None),
        ("-1", None),
        ("-4.0", None),
        ("true", None),
        ("false", None),
        ('"4"', None),
        ("null", None),
        ("[4]", None),
        ('{"count": 4}', None),
        ("1e400", None),
        ("9" * 5000, None),
    ],
)
def test_a_count_is_a_whole_number_that_is_not_negative(written: str, count: int | None) -> None:
    details = read_details(_raw(f'{{"num_chunks": {written}, "chunks_left": {written}}}'.encode()))
    assert (details.num_chunks, details.chunks_left) == (count, count)
    assert not isinstance(details.num_chunks, bool | float)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("USDC", "USDC"),
        (" USDC\n", " USDC\n"),
        ("ÜSDC 😀", "ÜSDC 😀"),
        ("", None),
        (" \t\n", None),
        (None, None),
        (5, None),
        (True, None),
        (["USDC"], None),
        ({"name": "USDC"}, None),
    ],
)
@pytest.mark.parametrize("field", ["job_name", "table", "error_message"])
def test_a_text_that_says_nothing_is_absent(field: str, value: Any, text: str | None) -> None:
    assert getattr(read_details(_raw({field: value})), field) == text


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2024-04-27T12:00:00Z", _NOON),
        ("2024-04-27T12:00:00", _NOON),
        ("2024-04-27 12:00:00", _NOON),
        ("2024-04-27T14:00:00+02:00", _NOON),
        ("2024-04-27T06:30:00-05:30", _NOON),
        ("2024-04-27T12:00:00.123456789Z", _NOON.replace(microsecond=123456)),
        ("2024-04-27", _NOON.replace(hour=0)),
        ("2024-02-30T12:00:00Z", None),
        ("2024-04-27T25:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("yesterday", None),
        ("2024-04-27T12:00:00Z; drop", None),
        ("", None),
        (1714219200, None),
        (None, None),
        (True, None),
        ([2024, 4, 27], None),
    ],
)
@pytest.mark.parametrize("field", ["time_created", "time_completed"])
def test_a_time_is_utc_unless_it_says_otherwise(field: str, value: Any, time: datetime | None) -> None:
    read = getattr(read_details(_raw({field: value})), field)
    assert read == time
    assert read is None or read.tzinfo is UTC


@pytest.mark.parametrize("element", [{}, {"job_id": "j1", "status": "staging"}, {"num_chunks": None}])
def test_what_an_element_lacks_is_none(element: dict[str, Any]) -> None:
    assert read_details(_raw(element)) == Details()


def test_a_useless_field_does_not_cost_the_others() -> None:
    details = read_details(_raw({"job_name": 7, "table": "base.blocks", "num_chunks": "x", "chunks_left": 3}))
    assert details == Details(table="base.blocks", chunks_left=3)


@given(st.dictionaries(st.sampled_from(list(Details.__struct_fields__)) | st.text(), _JSON))
def test_details_are_of_their_types_whatever_an_element_holds(element: dict[str, Any]) -> None:
    details = read_details(_raw(element))
    assert msgspec.convert(msgspec.to_builtins(details), Details) == details
    for name in ("num_chunks", "chunks_left"):
        assert getattr(details, name) is None or getattr(details, name) == element[name]
    for name in ("job_name", "table", "error_message"):
        assert getattr(details, name) in (None, element.get(name))


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://user:pass@h/p", "https://REDACTED@h/p"),
        ("https://user@h", "https://REDACTED@h"),
        ("https://:pass@h", "https://REDACTED@h"),
        ("https://user:p@ss@h", "https://REDACTED@h"),
        ("https://user:pa,ss@h", "https://REDACTED@h"),
        ("https://user:pa ss@h", "https://REDACTED@h"),
        ("user:pass@h:9092", "REDACTED@h:9092"),
        ("//user:pass@h", "//REDACTED@h"),
        ("https://h/p?token=t", "https://h/p?REDACTED"),
        ("https://h?token=a,b&c=d", "https://h?REDACTED"),
        ("https://h?token=a b", "https://h?REDACTED"),
        ("https://h?a=1?b=2/3", "https://h?REDACTED"),
        ("https://h?next=https://u:p@h2", "https://h?REDACTED"),
        ("https://h?token=t#top", "https://h?REDACTED#top"),
        ("https://h/#/page?token=t", "https://h/#/page?REDACTED"),
        ("https://u:p@h/p?q", "https://REDACTED@h/p?REDACTED"),
        ("nats://a:b@h1:1,nats://c:d@h2:2", "nats://REDACTED@h1:1,nats://REDACTED@h2:2"),
        ("nats://h1, nats://c:d@h2", "nats://h1, nats://REDACTED@h2"),
        ("nats://h1?t=a,nats://h2?t=b", "nats://h1?REDACTED,nats://h2?REDACTED"),
        ("nats://h1?t=a,b, nats://u:p@h2/x?t=b", "nats://h1?REDACTED, nats://REDACTED@h2/x?REDACTED"),
        ("nats://h1/p,u:pa,ss@h2", "nats://h1/p,REDACTED@h2"),
        ("mongodb://u:p@h1,h2,h3/db", "mongodb://REDACTED@h1,h2,h3/db"),
    ],
)
def test_user_info_and_query_of_a_url_are_redacted(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kafka-1:9092,kafka-2:9092",
        "https://h:8443/p/@name/x#top",
        "s3://bucket/path,with,commas/",
        "nats://h1:4222, nats://h2:4222",
        "not a url at all",
    ],
)
def test_a_url_without_credentials_is_left_alone(url: str) -> None:
    assert redact_url(url) == url
    element = _raw({"destinations": [{"url": url}]})
    assert redact_element(element) is element


_USER_INFO = st.text("abz09-._~!$&'()*+,;=:@% ", max_size=6)
_QUERY = st.text("abz09-._~!$&'()*+,;=@%/? ", max_size=6)


@st.composite
def _urls(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["https://", "nats://", "mongodb+srv://", "//", ""]))
    before = (
        f"{draw(_USER_INFO)}:{draw(_USER_INFO)}PASSWORD{draw(_USER_INFO)}@" if draw(st.booleans()) else ""
    )
    path = draw(st.sampled_from(["", "/", "/path", "/a,b/c"]))
    query = f"?{draw(_QUERY)}key={draw(_QUERY)}TOKEN{draw(_QUERY)}" if draw(st.booleans()) else ""
    fragment = draw(st.sampled_from(["", "#top"]))
    return f"{scheme}{before}host:1{path}{query}{fragment}"


@given(st.lists(_urls(), min_size=1, max_size=3), st.sampled_from([",", ", "]))
def test_no_password_and_no_query_survives_redaction(urls: list[str], separator: str) -> None:
    url = separator.join(urls)
    redacted = bytes(redact_element(_raw({"destinations": [{"type": "nats", "url": url}]})))
    assert b"PASSWORD" not in redacted
    assert b"TOKEN" not in redacted


@given(st.text(",/?#@:ab \n"))
def test_redaction_repeated_changes_nothing_more(url: str) -> None:
    assert redact_url(redact_url(url)) == redact_url(url)


@pytest.mark.parametrize(
    "destinations",
    [
        None,
        5,
        "https://u:p@h",
        {},
        [],
        [None, 5, "kafka", [], {}],
        [{"url": None}, {"url": 5}, {"url": ["h"]}, {"type": "kafka"}],
    ],
)
def test_destinations_of_odd_shapes_are_passed_on(destinations: Any) -> None:
    element = _raw({"job_id": "j1", "destinations": destinations})
    assert redact_element(element) is element


def test_an_element_without_destinations_is_passed_on() -> None:
    element = _raw({"job_id": "j1"})
    assert redact_element(element) is element


def test_only_the_url_that_has_credentials_is_rewritten() -> None:
    element = _raw(
        b'{"big": 123456789012345678901234567890, "float" : 1.0e5, "odd": [ 1,{ } ], "name": "\\u00e9",'
        b' "destinations": [ {"url" : "kafka:1" , "n": 1.0e5}, 7, {"n": 1.0e5, "url":"https://u:p@h", "x": [ 1 ]} ]}'
    )
    before, after = _fields(element), _fields(redact_element(element))
    assert list(after) == list(before)
    assert {**after, "destinations": b""} == {**before, "destinations": b""}
    old = msgspec.json.decode(before["destinations"], type=list[msgspec.Raw])
    new = msgspec.json.decode(after["destinations"], type=list[msgspec.Raw])
    assert [bytes(raw) for raw in new[:2]] == [bytes(raw) for raw in old[:2]]
    assert _fields(new[2]) == _fields(old[2]) | {"url": b'"https://REDACTED@h"'}


def test_a_url_with_escapes_is_redacted_as_it_reads() -> None:
    element = _raw(rb'{"destinations":[{"\u0075rl":"https:\/\/u:p\u0040h\u003ftoken"}]}')
    assert bytes(redact_element(element)) == b'{"destinations":[{"url":"https://REDACTED@h?REDACTED"}]}'


@given(st.dictionaries(st.text(), _JSON), _JSON)
def test_what_is_not_a_destination_is_kept_byte_by_byte(others: dict[str, Any], more: Any) -> None:
    others.pop("destinations", None)
    destination = {"url": "https://u:p@h", "more": more}
    element = _raw({**others, "destinations": [destination]})
    before, after = _fields(element), _fields(redact_element(element))
    assert {**after, "destinations": b""} == {**before, "destinations": b""}
    assert json.loads(after["destinations"]) == [destination | {"url": "https://REDACTED@h"}]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("topic kafka://svc:PASSWORD@broker:9092/x refused", "topic kafka://REDACTED@broker:9092/x refused"),
        (
            "https://u:p@a.example, http://v:w@b.example",
            "https://REDACTED@a.example, http://REDACTED@b.example",
        ),
        ("nats+tls://TOKEN@h", "nats+tls://REDACTED@h"),
        ("https://a.example/x@y is no URL with a user", None),
        ("somebody@example.com has no access to https://a.example", None),
        ("", None),
    ],
)
def test_user_info_of_urls_in_an_error_message_is_redacted(text: str, redacted: str | None) -> None:
    element = _raw({"error_message": text, "other": text})
    if redacted is None:
        assert redact_element(element) is element
    else:
        assert json.loads(bytes(redact_element(element))) == {"error_message": redacted, "other": text}


@pytest.mark.parametrize("odd", [None, 1, ["kafka://u:p@h"], {"x": "kafka://u:p@h"}])
def test_an_error_message_that_is_no_text_is_left_as_it_is(odd: object) -> None:
    element = _raw({"error_message": odd})
    assert redact_element(element) is element
