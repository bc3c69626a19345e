import base64
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticCustomError
from standardwebhooks.webhooks import Webhook as Verifier
from yarl import URL

from notifier.fields import (
    BaseUrl,
    Duration,
    Headers,
    HeaderSecret,
    Name,
    OptionalUrl,
    PositiveDuration,
    SecretUrl,
    Section,
    SigningSecrets,
    Size,
    check_http_url,
    decode_signing_secret,
    format_size,
    new_signing_secret,
    origin,
)
from notifier.later import later

WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
NO_URL = "must be a URL that starts with http:// or https:// and names a host"
NO_USER = "has a user name with a colon in it, or one or a password that is not ASCII"
NO_HEADER = "has spaces around it, line breaks or characters that cannot stand in an HTTP header"


def read(kind: Any, value: Any) -> Any:
    """Return the value of a key of this kind."""
    table = create_model("Table", __base__=Section, key=(kind, ...))
    return dict(table.model_validate({"key": value}))["key"]


def problem(kind: Any, value: Any) -> str:
    """Return the one thing that is wrong with a value."""
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    [detail] = caught.value.errors(include_url=False, include_input=False)
    return detail["msg"]


# --------------------------------------------------------------------------- durations and sizes


@pytest.mark.parametrize(("text", "duration"), [("0s", timedelta(0)), ("1h30m", timedelta(minutes=90))])
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert read(Duration, text) == duration


@pytest.mark.parametrize("value", [15, 1.5, True, None, ["15s"], b"15s"])
def test_a_duration_is_text(value: Any) -> None:
    assert problem(Duration, value) == 'must be a duration in quotes, like "15s", "2m", "1h30m" or "3d"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("15", 'not a duration; write it like "15s", "2m", "1h30m" or "3d"'),
        ("", 'not a duration; write it like "15s", "2m", "1h30m" or "3d"'),
        ("{reason}", 'not a duration; write it like "15s", "2m", "1h30m" or "3d"'),
        ("5000d", "longer than ten years"),
        ("0s", "must be longer than 0s"),
        ("0d0ms", "must be longer than 0s"),
    ],
)
def test_a_duration_that_cannot_be_is_refused(text: str, words: str) -> None:
    assert problem(PositiveDuration, text) == words


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1B", 1),
        ("64KiB", 65536),
        ("256MiB", 256 * 2**20),
        ("2 GiB", 2 * 2**30),
        ("5kB", 5000),
        ("1MB", 10**6),
        ("1GB", 10**9),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert read(Size, text) == size


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *((value, 'must be a size in quotes, like "256MiB" or "64KiB"') for value in (1024, 1.5, True, None)),
        *(
            (text, 'must be a size in quotes, like "256MiB" or "64KiB"')
            for text in ("", "MiB", "1.5MiB", "-1B", "1mib", "1  MiB", "1TiB", "１B", "1" * 13)
        ),
        ("0", "must be at least 1B"),
        ("0GiB", "must be at least 1B"),
    ],
)
def test_what_is_no_size_is_refused(value: Any, words: str) -> None:
    assert problem(Size, value) == words


@given(st.integers(1, 10**12 - 1))
def test_a_formatted_size_reads_as_the_same(size: int) -> None:
    assert TypeAdapter(Size).validate_python(format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"), [(1, "1B"), (1023, "1023B"), (2**20, "1MiB"), (3 * 2**29, "1536MiB")]
)
def test_a_size_is_written_in_its_largest_unit(size: int, text: str) -> None:
    assert format_size(size) == text


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["a", "9", "allium", "data-team.eu_1", "x" * 64])
def test_a_name_is_read(name: str) -> None:
    assert read(Name, name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "é", "a\n", "x" * 65, "{reason}"])
def test_what_is_no_name_is_refused(name: str) -> None:
    words = "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    assert problem(Name, name) == words


# ------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "https://api.allium.so/",
        "HTTPS://ops.example.com:8443/hooks/é?a=b#c",
        "http://user:pass%2Fword@[::1]:8080/",
        "http://10.0.0.1",
        "https://bücher.example",
    ],
)
def test_a_url_is_read(url: str) -> None:
    assert read(OptionalUrl, url) == url
    assert read(SecretUrl, url).get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        *(
            (url, NO_URL)
            for url in (
                "api.allium.so",
                "ftp://example.com",
                "file:///etc/passwd",
                "https://",
                "https:///path",
                "https://:443/",
                "https://example.com:port/",
                "https://example.com:65536/",
                "https://[::1/",
                "https://a b/",
                "https://example.com/a b",
                "https://example.com/\n",
                " https://example.com",
                "https://a..b/",
                "https://.example.com/",
                "https://" + "a" * 64 + ".com/",
                "https://a\u2100b.com/",
                "http://\\",
            )
        ),
        ("https://a%3Ab:c@example.com/", NO_USER),
        ("https://user:pässword@example.com/", NO_USER),
        ("https://%D1%8E:password@example.com/", NO_USER),
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(url: str, words: str) -> None:
    assert problem(OptionalUrl, url) == words
    assert problem(BaseUrl, url) == words
    assert problem(SecretUrl, url) == words


@given(st.text("aB.-_%019[]:@/?#ü。～$*'\\ß", max_size=25))
def test_a_url_that_is_read_can_be_requested(rest: str) -> None:
    try:
        url = URL(check_http_url(f"http://{rest}"))
    except PydanticCustomError:
        return
    assert url.raw_host
    assert url.raw_host.encode("idna")
    assert f"{url.user}:{url.password}".encode("latin-1")


def test_an_optional_url_may_be_empty() -> None:
    assert read(OptionalUrl, "") == ""
    assert problem(BaseUrl, "") == NO_URL


@pytest.mark.parametrize("url", ["https://example.com/?a=b", "https://example.com/#a"])
def test_a_base_url_ends_before_its_query(url: str) -> None:
    assert problem(BaseUrl, url) == "must end before ? and #: the API's path is added to it"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:password@ops.example.com/hooks/token?key=k#f", "https://ops.example.com"),
        ("http://OPS.example.com:8080/", "http://ops.example.com:8080"),
        ("http://token@[::1]:8080/hooks", "http://[::1]:8080"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_only_the_origin_of_a_url_is_shown(url: str, shown: str) -> None:
    assert origin(url) == shown


# ---------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (" key", NO_HEADER),
        ("key\n", NO_HEADER),
        ("ke\ry", NO_HEADER),
        ("k\u00e9y", NO_HEADER),
        ("k\x00y", NO_HEADER),
        (12345, "must be a string"),
        (None, "must be a string"),
    ],
)
def test_what_cannot_stand_in_a_header_is_refused(value: Any, words: str) -> None:
    assert problem(HeaderSecret, value) == words


def test_a_secret_is_not_in_what_it_looks_like() -> None:
    secret = read(HeaderSecret, "allium-key")
    assert secret.get_secret_value() == "allium-key"
    assert "allium-key" not in f"{secret} {secret!r}"


@pytest.mark.parametrize("value", [WHSEC, [WHSEC], [WHSEC, new_signing_secret()]])
def test_signing_secrets_are_one_or_a_list(value: Any) -> None:
    secrets = [secret.get_secret_value() for secret in read(SigningSecrets, value)]
    assert secrets == ([value] if isinstance(value, str) else value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "must start with whsec_ (make one with: notifier keygen)"),
        ("secret", "must start with whsec_ (make one with: notifier keygen)"),
        ("WHSEC_c2VjcmV0", "must start with whsec_ (make one with: notifier keygen)"),
        ("whsec_", "must start with whsec_ (make one with: notifier keygen)"),
        ("whsec_c2VjcmV", "is not valid base64 after whsec_ (make a new one with: notifier keygen)"),
        ("whsec_c2Vj cmV0", "is not valid base64 after whsec_ (make a new one with: notifier keygen)"),
        ("whsec_c2VjcmV0\n", "is not valid base64 after whsec_ (make a new one with: notifier keygen)"),
        ([WHSEC, "secret"], "must start with whsec_ (make one with: notifier keygen)"),
        ([], "must be a whsec_ secret or a list of them"),
        (7, "must be a whsec_ secret or a list of them"),
        ({"key": WHSEC}, "must be a whsec_ secret or a list of them"),
        ([7], "must be a string"),
    ],
)
def test_what_is_no_signing_secret_is_refused(value: Any, words: str) -> None:
    assert problem(SigningSecrets, value) == words


def test_a_new_signing_secret_has_32_random_bytes_and_works() -> None:
    secrets = {new_signing_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(decode_signing_secret(secret)) for secret in secrets} == {32}
    assert Verifier(secrets.pop()).sign("evt_1", datetime.now(UTC), "{}").startswith("v1,")


# ---------------------------------------------------------------------------------------- headers


def test_headers_are_read_as_secrets() -> None:
    headers = read(Headers, {"Authorization": "Bearer t", "X-Empty": "", "x!#$%&'*+.^_`|~": "~ ~"})
    assert {name: value.get_secret_value() for name, value in headers.items()} == {
        "Authorization": "Bearer t",
        "X-Empty": "",
        "x!#$%&'*+.^_`|~": "~ ~",
    }
    assert "Bearer" not in repr(headers)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"": "secret-value"}, "'' is no header name"),
        ({"X Y": "secret-value"}, "'X Y' is no header name"),
        ({"X:": "secret-value"}, "'X:' is no header name"),
        ({"X\r\nY": "secret-value"}, "'X\\r\\nY' is no header name"),
        ({"Ü": "secret-value"}, "'Ü' is no header name"),
        ({"{reason}": "secret-value"}, "'{reason}' is no header name"),
        *(
            ({name: "secret-value"}, f"{name} is set by the notifier itself")
            for name in ("Content-Type", "content-length", "User-Agent", "Transfer-Encoding", "connection")
        ),
        *(
            ({name: "secret-value"}, f"{name} is set by the notifier itself")
            for name in ("webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-other")
        ),
        *(
            ({"X": value}, "the value of X has characters that cannot stand in an HTTP header")
            for value in ("secret-value\n", "secret-\rvalue", "secret-value\x00", "secret-välue", "\t")
        ),
        ({"X": 1}, "must be a string"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, Any], words: str) -> None:
    assert problem(Headers, headers) == words
    assert "secret" not in words


# ---------------------------------------------------------------------------------------- not yet


HALF_AN_HOUR_OR_OFF = Annotated[Duration, later(timedelta(minutes=30), timedelta(0))]
QUARTERS_OR_NONE = Annotated[list[int], later([25, 50, 75], [])]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (HALF_AN_HOUR_OR_OFF, "30m"),
        (HALF_AN_HOUR_OR_OFF, "0s"),
        (QUARTERS_OR_NONE, [25, 50, 75]),
        (QUARTERS_OR_NONE, []),
    ],
)
def test_a_key_that_does_nothing_yet_takes_what_changes_nothing(kind: Any, value: Any) -> None:
    assert read(kind, value) in (timedelta(minutes=30), timedelta(0), value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (HALF_AN_HOUR_OR_OFF, "31m"),
        (QUARTERS_OR_NONE, [50]),
        (QUARTERS_OR_NONE, [75, 50, 25]),
        (Annotated[str, later("")], "https://app.example.com/{job_id}"),
    ],
)
def test_a_key_that_does_nothing_yet_takes_nothing_else(kind: Any, value: Any) -> None:
    assert problem(kind, value) == "not available yet; leave it at its default"
