"""What keeps records over restarts: a small document store, and how it fails."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """A small document store: one document a key, one atomic commit for many keys.

    All methods block and are called from one worker thread, never from the event loop.
    Each raises StoreError; after one the store refuses every further call.
    """

    name: str
    """What errors call it, such as the path of its file."""

    def load(self) -> Iterable[tuple[str, bytes]]:
        """Yield every key with its document."""

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        """Write (or with None delete) the documents: all of them are durable on return, or none is."""

    def close(self) -> None:
        """Release the store; what is not committed is gone."""


class StoreError(Exception):
    """The state cannot be read or written: the process must stop, nothing may be sent."""


class StateInUseError(StoreError):
    """Another process has the state."""


def path_of(url: str) -> Path:
    """Return the absolute path of the file that the URL of an embedded state names.

    Raises ValueError, with what such a URL must be.
    """
    path = url.removeprefix("sqlite:///")
    if path in ("", url):
        hint = f"; for that file write sqlite:///{url}" if "://" not in url and url else ""
        raise ValueError(f"must be sqlite:///relative/path or sqlite:////absolute/path{hint}")
    return Path(path).absolute()
