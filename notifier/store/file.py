"""The state file itself: held by one process, made whole, and refused when it cannot be trusted."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import IO, Any

import msgspec

from notifier.storage import StateInUseError, StoreError

VERSION = 1
_FORMAT = "backfill-notifier state"
META = "meta"
ROOM = "room"
TABLE = "records"


def lock_state(path: Path) -> IO[str]:
    """Hold `<state file>.lock` for as long as the returned file is open.

    A file of its own: closing any descriptor of the state file itself would drop SQLite's locks.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        file = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the state {path} cannot be opened: {words(error)}. Is its directory there and writable?"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(20).strip()
        file.close()
        by = f" (process {holder})" if holder.isdigit() else ""
        raise StateInUseError(
            f"the state {path} is in use by another notifier{by}. Only one can use it at a time: "
            "stop that one, or give this one another [store].url"
        ) from error
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError as error:
        file.close()
        raise StoreError(f"the state {path} cannot be written: {words(error)}") from error
    return file


def create_state(path: Path) -> None:
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
            connection.execute(f'CREATE TABLE "{TABLE}" (key TEXT PRIMARY KEY, value BLOB)')
            meta = msgspec.json.encode({"format": _FORMAT, "version": VERSION}).decode()
            connection.execute(f'INSERT INTO "{TABLE}" VALUES (?, ?)', (META, meta))  # noqa: S608
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
        raise StoreError(f"the state {path} cannot be created: {words(error)}") from error


def inspect_state(path: Path) -> None:
    """Refuse a file that is not a whole state of this version, before anything is written to it."""
    if not path.is_file():
        raise StoreError(f"the state {path} is not a file")
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            faults = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            if faults != ["ok"]:
                raise damaged(path, str(faults[0]) if faults else "no answer to its check")
            meta = connection.execute(f'SELECT value FROM "{TABLE}" WHERE key = ?', (META,)).fetchone()  # noqa: S608
            # Here a full or read-only disk is an error like any other; in its thread it is a traceback.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise damaged(path, "it holds no state of this program") from error
        raise unusable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, words(error)) from error
    check_meta(path, meta[0] if meta else None)


def check_meta(path: Path, meta: Any) -> None:
    """Raise StoreError unless the record is that of a state this version can read."""
    try:
        value = msgspec.json.decode(meta)
        format_, version = value["format"], value["version"]
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise damaged(path, "it holds no state of this program") from error
    if format_ != _FORMAT or not isinstance(version, int):
        raise damaged(path, "it holds no state of this program")
    if version > VERSION:
        raise StoreError(
            f"the state {path} is of version {version}, newer than version {VERSION}, which this program "
            "knows. Install the newer program again, or restore the state from before the upgrade"
        )


def damaged(path: Path, reason: str) -> StoreError:
    """Return the error for a state whose content cannot be trusted."""
    return StoreError(
        f"the state {path} is damaged: {reason}. Nothing was changed. Restore it from a backup; "
        "or, to start anew with a baseline (what changed meanwhile is then not announced), move it away"
    )


def unusable(path: Path, error: Exception) -> StoreError:
    """Return the error for a state that cannot be read or written now."""
    why = words(error)
    if "locked" in why:
        why += "; another program, such as a backup, has held it for too long"
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        why += f"; it may be read and written by user {path.stat().st_uid}, and this is user {os.geteuid()}"
    return StoreError(f"the state {path} cannot be used: {why}")


def words(error: Exception) -> str:
    """Return what went wrong, without a type's name where there are words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
