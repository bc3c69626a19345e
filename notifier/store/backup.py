"""A copy of a state as of one instant, also while a daemon writes to it."""

import os
import sqlite3
from collections import deque
from contextlib import closing, suppress
from pathlib import Path

from notifier.storage import StoreError
from notifier.store.file import words
from notifier.store.reading import read_state


def back_up(state: Path, copy: Path) -> None:
    """Make `copy` a whole state file that could take the place of `state`; it is durable on return.

    It can be read by its owner alone. Raises StoreError, and leaves no copy, when the state cannot be read or
    the copy cannot be written; FileExistsError when there is something at `copy`.
    """
    deque(read_state(state), maxlen=0)  # it says what is wrong with a state in words for people
    if copy.exists():
        raise FileExistsError(copy)
    unfinished = copy.with_name(f".{copy.name}.{os.getpid()}")
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"{state.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # all of it in the one file
        deque(read_state(unfinished), maxlen=0)
        _make_durable(unfinished)
        os.link(unfinished, copy)  # unlike a rename, it never takes the place of what is there
        _make_durable(copy.parent)
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the copy {copy} cannot be made: {words(error)}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _make_durable(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
