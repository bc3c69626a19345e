"""A state looked at from outside, with real files and a store that has them open."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier.storage import StoreError
from notifier.store.reading import read_state
from notifier.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db")
    yield store
    store.close()


def test_what_a_running_daemon_committed_is_seen_at_once(store: SqliteStore, tmp_path: Path) -> None:
    store.commit({"a": b"1"})
    assert dict(read_state(tmp_path / "state.db")) == {"a": b"1"}
    store.commit({"a": b"2", "b": b"3"})
    assert dict(read_state(tmp_path / "state.db")) == {"a": b"2", "b": b"3"}


def test_a_look_leaves_no_file_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    store.commit({"a": b"1"})
    store.close()
    before = sorted(tmp_path.iterdir())
    assert dict(read_state(tmp_path / "state.db")) == {"a": b"1"}
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_killed_daemon_left_in_its_log_is_seen(store: SqliteStore, tmp_path: Path) -> None:
    store.commit({"a": b"1"})
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("state.db", "state.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    assert dict(read_state(crashed / "state.db")) == {"a": b"1"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no state at "),
        (b"", "is damaged: it is empty"),
        (b"no database at all, but quite a few bytes of text" * 20, "is damaged: file is not a database"),
    ],
)
def test_a_state_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "state.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=reason) as caught:
        list(read_state(path))
    assert str(path) in str(caught.value)


def test_another_program_s_database_is_no_state(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("CREATE TABLE other (a)")
    connection.close()
    with pytest.raises(StoreError, match="holds no state of this program"):
        list(read_state(tmp_path / "state.db"))
