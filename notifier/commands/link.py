"""The way to the daemon that holds a state: HTTP over the Unix socket beside it."""

import errno
import http.client
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from notifier.storage import StoreError
from notifier.unix import short_path, socket_path

_ANSWER_WITHIN_SECONDS = 30.0
_NOBODY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ECONNREFUSED})
"""Why there is no connection when no daemon runs, one was killed, or one could not make its socket."""

_Answer = TypeVar("_Answer")


class RefusedError(Exception):
    """The daemon says why it does not do what it was asked for; `status` is that of its answer."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class Health(msgspec.Struct, frozen=True):
    """Whether a daemon works, and else why not."""

    healthy: bool
    reasons: list[str]


class Link:
    """Asks the daemon. Raises StoreError when it does not answer, or in a way nobody knows."""

    def __init__(self, state: Path, within_seconds: float) -> None:
        self._state = state
        self._within_seconds = within_seconds

    def get(self, path: str, type_: type[_Answer]) -> _Answer:
        """Return what is there."""
        return self._ask("GET", path, None, type_)

    def post(self, path: str, body: Any, type_: type[_Answer]) -> _Answer:
        """Have something done; return the answer. Raises RefusedError when it is not done."""
        return self._ask("POST", path, msgspec.json.encode(body), type_)

    def delete(self, path: str, type_: type[_Answer]) -> _Answer:
        """Have something taken away; return the answer. Raises RefusedError when it is not done."""
        return self._ask("DELETE", path, b"", type_)

    def _ask(self, method: str, path: str, body: bytes | None, type_: type[_Answer]) -> _Answer:
        connection = _Connection(socket_path(self._state), self._within_seconds)
        try:
            with suppress(BrokenPipeError):  # who answers before it has read all that is sent has answered
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            answer = response.read()
            if body is not None and response.status >= 400 and (reason := _reason(answer)):
                raise RefusedError(reason, response.status)
            return msgspec.json.decode(answer, type=type_)
        except (OSError, http.client.HTTPException) as error:
            raise _silent(self._state, error) from error
        except msgspec.MsgspecError as error:
            raise StoreError(
                f"the daemon that holds {self._state} answers in another form than this version knows. "
                "Is it of another version?"
            ) from error
        finally:
            connection.close()


def find_daemon(state: Path, within_seconds: float = _ANSWER_WITHIN_SECONDS) -> Link | None:
    """Return the way to the daemon that holds a state, None when none does; it waits so long for an answer.

    Raises StoreError when there seems to be one that cannot be reached.
    """
    connection = _Connection(socket_path(state), within_seconds)
    try:
        connection.connect()
    except OSError as error:
        if error.errno in _NOBODY:
            return None
        raise _silent(state, error) from error
    finally:
        connection.close()
    return Link(state, within_seconds)


def _reason(answer: bytes) -> str | None:
    try:
        return msgspec.json.decode(answer, type=dict[str, str]).get("error")
    except msgspec.MsgspecError:
        return None


def _silent(state: Path, error: OSError | http.client.HTTPException) -> StoreError:
    if isinstance(error, PermissionError):
        return StoreError(
            f"no permission to ask the daemon about {state}. Is this the user that the notifier runs as?"
        )
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return StoreError(f"the daemon that holds {state} does not answer: {words.lower()}")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, within_seconds: float) -> None:
        super().__init__("localhost", timeout=within_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._path) as address:
            self.sock.connect(address)
