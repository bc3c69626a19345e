"""Where the page and the API are served: an address of the config, read."""

from typing import NamedTuple

from notifier.loopback import is_loopback

_LARGEST_PORT = 65535
_EVERYWHERE = frozenset({"", "*"})


class ListenAddress(NamedTuple):
    """A host and a port to listen on; the host None is every address of this machine."""

    host: str | None
    port: int

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host is not None and is_loopback(self.host)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = "localhost" if self.host in (None, "0.0.0.0", "::") else self.host  # noqa: S104 - only compared
        return f"http://{f'[{host}]' if host and ':' in host else host}:{self.port}/"


def parse_listen(text: str) -> ListenAddress:
    """Return the address that "127.0.0.1:8080", "[::1]:8080", "localhost:8080" or ":8080" names.

    Raises ValueError, which says what is wrong.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or "/" in text or not text.isprintable() or " " in text:
        raise ValueError('must be an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"')
    if not (port.isascii() and port.isdecimal() and int(port[:6]) <= _LARGEST_PORT):
        raise ValueError(f"has no port from 0 to {_LARGEST_PORT} after the colon")
    name = host[1:-1] if bracketed else host
    return ListenAddress(None if name in _EVERYWHERE else name, int(port))
