"""The embedded store: one SQLite file behind sqlitedict, one table, one row a document.

sqlitedict 2.1.0 is used for the connection's thread, the table and the reading; the commit
protocol is spelled out here, because its own loses batches: it runs with `synchronous=OFF`, commits
what a failed statement left, and a failure inside its commit kills its thread for ever.
"""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any, TypeVar

import msgspec
import sqlitedict

from notifier.model import StoreError

_Item = TypeVar("_Item")

VERSION = 1
_FORMAT = "backfill-notifier state"
_META = "meta"
_ROOM = "room"
_ROOM_BYTES = 256 * 1024
_TABLE = "records"
_ROWS_PER_STATEMENT = 500
_ANSWER_WITHIN_SECONDS = 60.0
_ALIVE_EVERY_SECONDS = 1.0
_NO_MORE = sqlitedict._RESPONSE_NO_MORE  # noqa: SLF001 - the marker its thread ends every answer with

# What it logs is a stack of its own; the error itself is raised here and told once.
logging.getLogger("sqlitedict").setLevel(logging.CRITICAL + 1)


class SqliteStore:
    """A store in one file, held by one process at a time.

    Opening raises StoreError, naming the file, when another process holds it, when it is empty,
    damaged, of a newer version or no state file at all, or when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._broken: StoreError | None = None
        self._lock = _lock(path)
        try:
            if not path.exists():
                _create(path)
            _inspect(path)
            self._dict = sqlitedict.SqliteDict(
                str(path),
                tablename=_TABLE,
                journal_mode="WAL",
                autocommit=False,
                outer_stack=False,
                encode=sqlitedict.identity,
                decode=sqlitedict.identity,
            )
            self._ask("PRAGMA synchronous=FULL")
        except StoreError:
            self._lock.close()
            raise
        except Exception as error:
            self._lock.close()
            raise _unusable(path, error) from error
        try:
            self._make_room()
        except StoreError:
            self.close()
            raise

    def load(self) -> Iterator[tuple[str, bytes]]:
        """Yield every key with its document."""
        self._refuse_if_broken()
        # As bytes: text that is no UTF-8 would end sqlitedict's thread.
        columns = "CAST(key AS BLOB), CAST(value AS BLOB)"
        statement = f'SELECT {columns} FROM "{_TABLE}" WHERE key NOT IN (?, ?)'  # noqa: S608
        try:
            for key, value in self._ask(statement, (_META, _ROOM)):
                yield key.decode(), value
        except Exception as error:
            self._broken = _damaged(self._path, _words(error))
            raise self._broken from error

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        """Write or delete the documents: all of them are on the disk on return, or none is."""
        self._refuse_if_broken()
        written = ((key, value.decode()) for key, value in documents.items() if value is not None)
        deleted = (key for key, value in documents.items() if value is None)
        try:
            self._ask("BEGIN IMMEDIATE")
            for rows in _batched(written, _ROWS_PER_STATEMENT):
                # The answer keeps the queue short: a large batch is never all in memory once more.
                self._ask(_upsert(len(rows)), [item for row in rows for item in row])
            for keys in _batched(deleted, _ROWS_PER_STATEMENT):
                self._ask(_delete(len(keys)), keys)
            self._ask("COMMIT")
        except Exception as error:
            self._broken = _unusable(self._path, error)
            raise self._broken from error

    def close(self) -> None:
        """Release the file; what is not committed is gone."""
        if self._broken is not None or not self._dict.conn.is_alive():
            self._dict.conn.close(force=True)
        else:
            self._dict.close()
        self._lock.close()

    def _make_room(self) -> None:
        """Make sure that the next outcomes will fit, in the file and in its log, before anything is sent.

        On a disk with room for next to nothing each restart would else send what it cannot record.
        """
        self.commit({_ROOM: b"x" * _ROOM_BYTES})
        self.commit({_ROOM: None})

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise StoreError(str(self._broken))

    def _ask(self, statement: str, arguments: Iterable[Any] = ()) -> list[Any]:
        """Return the rows of a statement; raises what any statement since the last answer raised."""
        connection = self._dict.conn
        answers: Queue[Any] = Queue()
        connection.execute(statement, tuple(arguments), answers)
        rows: list[Any] = []
        deadline = time.monotonic() + _ANSWER_WITHIN_SECONDS
        while True:
            try:
                row = answers.get(timeout=_ALIVE_EVERY_SECONDS)
            except Empty:
                if not connection.is_alive():
                    raise StoreError("its thread has died") from None
                if time.monotonic() > deadline:
                    raise StoreError("it did not answer for a minute") from None
                continue
            connection.check_raise_error()
            if row == _NO_MORE:
                return rows
            rows.append(row)


def _lock(path: Path) -> IO[str]:
    """Hold `<state file>.lock` for as long as the returned file is open.

    A file of its own: closing any descriptor of the state file itself would drop SQLite's locks.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        file = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the state {path} cannot be opened: {_words(error)}. Is its directory there and writable?"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(20).strip()
        file.close()
        by = f" (process {holder})" if holder.isdigit() else ""
        raise StoreError(
            f"the state {path} is in use by another notifier{by}. Only one can use it at a time: "
            "stop that one, or give this one another [store].url"
        ) from error
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError as error:
        file.close()
        raise StoreError(f"the state {path} cannot be written: {_words(error)}") from error
    return file


def _create(path: Path) -> None:
    """Make an empty state under another name, then rename it: a crash leaves none or a whole one."""
    for leftover in ("-wal", "-journal"):
        if path.with_name(path.name + leftover).exists():
            raise StoreError(
                f"the state {path} is missing, but {path.name}{leftover} is there. "
                f"Put the state file back, or remove {path.name}{leftover} to start anew with a baseline"
            )
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        connection = sqlite3.connect(new)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f'CREATE TABLE "{_TABLE}" (key TEXT PRIMARY KEY, value BLOB)')
            meta = msgspec.json.encode({"format": _FORMAT, "version": VERSION}).decode()
            connection.execute(f'INSERT INTO "{_TABLE}" VALUES (?, ?)', (_META, meta))  # noqa: S608
            connection.commit()
        finally:
            connection.close()
        new.rename(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the state {path} cannot be created: {_words(error)}") from error


def _inspect(path: Path) -> None:
    """Refuse a file that is not a whole state of this version, before anything is written to it."""
    if not path.is_file():
        raise StoreError(f"the state {path} is not a file")
    if path.stat().st_size == 0:
        raise _damaged(path, "it is empty")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            faults = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            if faults != ["ok"]:
                raise _damaged(path, str(faults[0]) if faults else "no answer to its check")
            meta = connection.execute(f'SELECT value FROM "{_TABLE}" WHERE key = ?', (_META,)).fetchone()  # noqa: S608
            # Here a full or read-only disk is an error like any other; in its thread it is a traceback.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise _damaged(path, "it holds no state of this program") from error
        raise _unusable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, _words(error)) from error
    _check_meta(path, meta[0] if meta else None)


def _check_meta(path: Path, meta: Any) -> None:
    try:
        value = msgspec.json.decode(meta)
        format_, version = value["format"], value["version"]
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise _damaged(path, "it holds no state of this program") from error
    if format_ != _FORMAT or not isinstance(version, int):
        raise _damaged(path, "it holds no state of this program")
    if version > VERSION:
        raise StoreError(
            f"the state {path} is of version {version}, newer than version {VERSION}, which this program "
            "knows. Install the newer program again, or restore the state from before the upgrade"
        )


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"the state {path} is damaged: {reason}. Nothing was changed. Restore it from a backup; "
        "or, to start anew with a baseline (what changed meanwhile is then not announced), move it away"
    )


def _unusable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"the state {path} cannot be used: {_words(error)}")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _upsert(rows: int) -> str:
    # One statement for many rows is a little faster than executemany, and is one queued request.
    values = ",".join(["(?,?)"] * rows)
    return (
        f'INSERT INTO "{_TABLE}" (key, value) VALUES {values} '  # noqa: S608
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )


def _delete(keys: int) -> str:
    return f'DELETE FROM "{_TABLE}" WHERE key IN ({",".join("?" * keys)})'  # noqa: S608


def _batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
