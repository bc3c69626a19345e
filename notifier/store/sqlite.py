"""The embedded store: one SQLite file behind sqlitedict, one table, one row a document.

sqlitedict 2.1.0 is used for the connection's thread, the table and the reading; the commit
protocol is spelled out here, because its own loses batches: it runs with `synchronous=OFF`, commits
what a failed statement left, and a failure inside its commit kills its thread for ever.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from queue import Empty, Queue
from typing import Any, TypeVar

import sqlitedict

from notifier.storage import StoreError
from notifier.store.file import (
    META,
    ROOM,
    TABLE,
    create_state,
    damaged,
    inspect_state,
    lock_state,
    unusable,
    words,
)

_Item = TypeVar("_Item")

_ROOM_BYTES = 256 * 1024
_ROWS_PER_STATEMENT = 500
_ANSWER_WITHIN_SECONDS = 60
_LOCKED_MILLISECONDS = 10_000
_LOG_BYTES = 16 * 1024 * 1024
_NO_MORE = sqlitedict._RESPONSE_NO_MORE  # noqa: SLF001 - the marker its thread ends every answer with

# What it logs is a stack of its own; the error itself is raised here and told once.
logging.getLogger("sqlitedict").setLevel(logging.CRITICAL + 1)


class SqliteStore:
    """A store in one file, held by one process at a time.

    Opening raises StoreError, naming the file, when another process holds it, when it is empty,
    damaged, of a newer version or no state file at all, or when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._broken: StoreError | None = None
        self._lock = lock_state(path)
        try:
            if not path.exists():
                create_state(path)
            inspect_state(path)
            self._dict = sqlitedict.SqliteDict(
                str(path),
                tablename=TABLE,
                journal_mode="WAL",
                autocommit=False,
                outer_stack=False,
                encode=sqlitedict.identity,
                decode=sqlitedict.identity,
            )
            self._ask("PRAGMA synchronous=FULL")
            # Another program may hold it for a while, as for a backup.
            self._ask(f"PRAGMA busy_timeout={_LOCKED_MILLISECONDS}")
            self._ask(f"PRAGMA journal_size_limit={_LOG_BYTES}")
        except StoreError:
            self._lock.close()
            raise
        except Exception as error:
            self._lock.close()
            raise unusable(path, error) from error
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
        statement = f'SELECT {columns} FROM "{TABLE}" WHERE key NOT IN (?, ?)'  # noqa: S608
        try:
            for key, value in self._ask(statement, (META, ROOM)):
                yield key.decode(), value
        except Exception as error:
            self._broken = damaged(self._path, words(error))
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
            self._broken = unusable(self._path, error)
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
        self.commit({ROOM: b"x" * _ROOM_BYTES})
        self.commit({ROOM: None})

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise StoreError(str(self._broken))

    def _ask(self, statement: str, arguments: Iterable[Any] = ()) -> list[Any]:
        """Return the rows of a statement; raises what any statement since the last answer raised."""
        connection = self._dict.conn
        answers: Queue[Any] = Queue()
        connection.execute(statement, tuple(arguments), answers)
        rows: list[Any] = []
        seconds = 0  # counted, not looked up: a process that was stopped meanwhile has not waited
        while True:
            try:
                row = answers.get(timeout=1.0)
            except Empty:
                if not connection.is_alive():
                    raise StoreError("its thread has died") from None
                seconds += 1
                if seconds > _ANSWER_WITHIN_SECONDS:
                    raise StoreError("it did not answer for a minute") from None
                continue
            connection.check_raise_error()
            if row == _NO_MORE:
                return rows
            rows.append(row)


def _upsert(rows: int) -> str:
    # One statement for many rows is a little faster than executemany, and is one queued request.
    values = ",".join(["(?,?)"] * rows)
    return (
        f'INSERT INTO "{TABLE}" (key, value) VALUES {values} '  # noqa: S608
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )


def _delete(keys: int) -> str:
    return f'DELETE FROM "{TABLE}" WHERE key IN ({",".join("?" * keys)})'  # noqa: S608


def _batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
