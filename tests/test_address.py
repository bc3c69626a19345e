"""Addresses to listen on, and which hosts are this machine."""

import pytest

from notifier.address import ListenAddress, parse_listen
from notifier.loopback import is_loopback


@pytest.mark.parametrize(
    ("text", "address", "is_private", "url"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080), True, "http://127.0.0.1:8080/"),
        ("127.1.2.3:1", ListenAddress("127.1.2.3", 1), True, "http://127.1.2.3:1/"),
        ("localhost:0", ListenAddress("localhost", 0), True, "http://localhost:0/"),
        ("[::1]:8080", ListenAddress("::1", 8080), True, "http://[::1]:8080/"),
        ("0.0.0.0:8080", ListenAddress("0.0.0.0", 8080), False, "http://localhost:8080/"),
        ("[::]:8080", ListenAddress("::", 8080), False, "http://localhost:8080/"),
        (":8080", ListenAddress(None, 8080), False, "http://localhost:8080/"),
        ("*:8080", ListenAddress(None, 8080), False, "http://localhost:8080/"),
        ("192.168.1.2:65535", ListenAddress("192.168.1.2", 65535), False, "http://192.168.1.2:65535/"),
        ("notifier.example.com:80", ListenAddress("notifier.example.com", 80), False, None),
    ],
)
def test_an_address_is_read(text: str, address: ListenAddress, is_private: bool, url: str | None) -> None:
    assert parse_listen(text) == address
    assert parse_listen(text).is_private is is_private
    assert url is None or parse_listen(text).url == url


NO_ADDRESS = 'must be an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"'
NO_PORT = "has no port from 0 to 65535 after the colon"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8080", NO_ADDRESS),
        ("127.0.0.1", NO_ADDRESS),
        ("::1:8080", NO_ADDRESS),
        ("http://127.0.0.1:8080", NO_ADDRESS),
        ("127.0.0.1:8080/", NO_ADDRESS),
        (" 127.0.0.1:8080", NO_ADDRESS),
        ("127.0.0.1:80\n", NO_ADDRESS),
        ("127.0.0.1:", NO_PORT),
        ("127.0.0.1:http", NO_PORT),
        ("127.0.0.1:65536", NO_PORT),
        ("127.0.0.1:99999999999999", NO_PORT),
        ("127.0.0.1:-1", NO_PORT),
        ("127.0.0.1:٨", NO_PORT),
    ],
)
def test_what_is_no_address_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_listen(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("127.0.0.1.example.com", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
