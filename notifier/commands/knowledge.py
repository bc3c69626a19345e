"""Where commands learn what is known: from the daemon that holds the state, else from its file."""

import errno
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from notifier import __version__
from notifier.model import DeliveryState, StoreError
from notifier.page import LARGEST_LIMIT, Page
from notifier.records import Records
from notifier.store.reading import read_state
from notifier.unix import short_path, socket_path
from notifier.views import (
    DeliveryItem,
    JobItem,
    Status,
    list_deliveries,
    list_jobs,
    list_sources,
    list_targets,
)

_ANSWER_WITHIN_SECONDS = 30.0
_NOBODY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ECONNREFUSED})
"""Why there is no connection when no daemon runs, one was killed, or one could not make its socket."""

_Item = TypeVar("_Item")


class Knowledge(Protocol):
    """What commands ask for. All of it raises StoreError when there is no answer."""

    def status(self) -> Status:
        """Return what the notifier is doing."""

    def jobs(self, wanted: int | None) -> Iterator[JobItem]:
        """Yield all jobs, newest first; `wanted` is how many of them will be looked at."""

    def deliveries(self, state: DeliveryState | None, wanted: int | None) -> Iterator[DeliveryItem]:
        """Yield all deliveries (of a state), newest first."""


def find_knowledge(state: Path) -> Knowledge:
    """Return what answers for a state; it raises StoreError, as this does, when nothing does."""
    connection = _Connection(socket_path(state))
    try:
        connection.connect()
    except OSError as error:
        if error.errno in _NOBODY:
            return _File(state)
        raise _silent(state, error) from error
    finally:
        connection.close()
    return _Daemon(state)


def _silent(state: Path, error: OSError | http.client.HTTPException) -> StoreError:
    if isinstance(error, PermissionError):
        return StoreError(
            f"no permission to ask the daemon about {state}. Is this the user that the notifier runs as?"
        )
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return StoreError(f"the daemon that holds {state} does not answer: {words.lower()}")


class _Daemon:
    def __init__(self, state: Path) -> None:
        self._state = state

    def status(self) -> Status:
        return self._get("/api/v1/status", Status)

    def jobs(self, wanted: int | None) -> Iterator[JobItem]:
        return self._pages("/api/v1/jobs", {}, Page[JobItem], wanted)

    def deliveries(self, state: DeliveryState | None, wanted: int | None) -> Iterator[DeliveryItem]:
        query: dict[str, str] = {} if state is None else {"state": state}
        return self._pages("/api/v1/deliveries", query, Page[DeliveryItem], wanted)

    def _pages(
        self, path: str, query: dict[str, str], type_: type[Page[_Item]], wanted: int | None
    ) -> Iterator[_Item]:
        cursor: dict[str, str] | None = {}
        limit = LARGEST_LIMIT if wanted is None else min(wanted, LARGEST_LIMIT)
        while cursor is not None:
            words = urlencode({**query, "limit": limit, **cursor})
            page = self._get(f"{path}?{words}", type_)
            yield from page.items
            cursor = None if page.next_cursor is None else {"cursor": page.next_cursor}

    def _get(self, path: str, type_: type[_Item]) -> _Item:
        connection = _Connection(socket_path(self._state))
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return msgspec.json.decode(body, type=type_)
        except (OSError, http.client.HTTPException) as error:
            raise _silent(self._state, error) from error
        except msgspec.MsgspecError as error:
            raise StoreError(
                f"the daemon that holds {self._state} answers in another form than this version knows. "
                "Is it of another version?"
            ) from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_WITHIN_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_WITHIN_SECONDS)
        with short_path(self._path) as address:
            self.sock.connect(address)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = Records()
        self._records.load(read_state(path), str(path))

    def status(self) -> Status:
        return Status(
            running=False,
            version=__version__,
            state=str(self._path),
            sources=list_sources(self._records),
            targets=list_targets(self._records),
        )

    def jobs(self, wanted: int | None) -> Iterator[JobItem]:
        return iter(list_jobs(self._records, limit=wanted or _ALL).items)

    def deliveries(self, state: DeliveryState | None, wanted: int | None) -> Iterator[DeliveryItem]:
        return iter(list_deliveries(self._records, state=state, limit=wanted or _ALL).items)


_ALL = 10**9
