"""A look at a state from outside: it changes nothing, also while a daemon writes."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from notifier.storage import StoreError
from notifier.store.file import META, ROOM, TABLE, check_meta, damaged, words


def read_state(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every key with its document, as of one instant.

    Raises StoreError, naming the file, when it is missing, damaged, of a newer version or unreadable.
    """
    try:
        rows = _read(path)
    except FileNotFoundError as error:
        raise StoreError(
            f"there is no state at {path}: nothing was polled yet, or the config names another place"
        ) from error
    except (OSError, sqlite3.OperationalError) as error:
        if "no such table" in str(error):
            raise damaged(path, "it holds no state of this program") from error
        raise StoreError(
            f"the state {path} cannot be read: {words(error)}. Is this the user that the notifier runs as?"
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, words(error)) from error
    check_meta(path, rows.pop(META, None))
    rows.pop(ROOM, None)
    yield from rows.items()


def _read(path: Path) -> dict[str, bytes]:
    before = path.stat()
    if before.st_size == 0:
        raise damaged(path, "it is empty")
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        # Nobody writes: a plain reader would leave files behind that the daemon may not be able to open.
        rows = _query(path, "mode=ro&immutable=1")
        after = path.stat()
        if not log.exists() and (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            return rows
    return _query(path, "mode=ro")


def _query(path: Path, how: str) -> dict[str, bytes]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    try:
        columns = "CAST(key AS BLOB), CAST(value AS BLOB)"
        rows = connection.execute(f'SELECT {columns} FROM "{TABLE}"')  # noqa: S608
        return {(key or b"").decode(errors="replace"): value for key, value in rows}
    finally:
        connection.close()
