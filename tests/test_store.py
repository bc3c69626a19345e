"""The embedded store against real files, real locks, real kills and a disk that really refuses."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from notifier.storage import StoreError
from notifier.store.file import VERSION
from notifier.store.sqlite import SqliteStore


def put(path: Path, documents: dict[str, bytes | None]) -> None:
    store = SqliteStore(path)
    store.commit(documents)
    store.close()


def read(path: Path) -> dict[str, bytes]:
    store = SqliteStore(path)
    try:
        return dict(store.load())
    finally:
        store.close()


def test_committed_documents_are_there_after_reopening(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    put(state, {"a": b'{"n":1}', "b": '{"é":"日本\\u0000"}'.encode()})
    put(state, {"a": b'{"n":2}', "b": None, "missing": None, "c": b"{}"})
    assert read(state) == {"a": b'{"n":2}', "c": b"{}"}


def test_a_large_batch_is_one_commit(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    rows = {f"k{number}": b'{"n":%d}' % number for number in range(3456)}
    put(state, dict(rows))
    put(state, dict.fromkeys(list(rows)[:2345]) | {"new": b"{}"})
    assert read(state) == {"new": b"{}"} | {key: rows[key] for key in list(rows)[2345:]}


def test_the_file_is_only_for_its_owner(tmp_path: Path) -> None:
    put(tmp_path / "state.db", {})
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


def test_it_syncs_each_commit_and_writes_ahead(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    assert store._ask("PRAGMA synchronous") == [(2,)]
    assert store._ask("PRAGMA journal_mode") == [("wal",)]
    store.close()


def test_nothing_is_committed_by_closing(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    store = SqliteStore(state)
    store._ask("BEGIN IMMEDIATE")
    store._ask("INSERT INTO records VALUES ('a', '{}')")
    store.close()
    assert read(state) == {}


def test_a_second_opener_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    first = SqliteStore(state)
    with pytest.raises(StoreError, match=rf"{state} is in use by another notifier \(process {os.getpid()}\)"):
        SqliteStore(state)
    first.commit({"a": b"{}"})
    first.close()
    assert read(state) == {"a": b"{}"}


def test_a_statement_that_fails_commits_nothing_and_ends_the_store(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    store = SqliteStore(state)
    store._ask(
        "CREATE TRIGGER no BEFORE INSERT ON records WHEN NEW.key = 'bad' BEGIN SELECT RAISE(FAIL, 'no'); END"
    )
    with pytest.raises(StoreError, match=f"the state {state} cannot be used: no"):
        store.commit({f"k{number}": b"{}" for number in range(700)} | {"bad": b"{}"})
    with pytest.raises(StoreError):
        store.commit({"good": b"{}"})
    with pytest.raises(StoreError):
        list(store.load())
    store.close()
    with sqlite3.connect(state) as connection:
        assert connection.execute("SELECT key FROM records").fetchall() == [("meta",)]
        connection.execute("DROP TRIGGER no")
    connection.close()
    put(state, {"good": b"{}"})


def test_a_file_locked_by_another_program_is_an_error_not_a_hang(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    store = SqliteStore(state)
    assert store._ask("PRAGMA busy_timeout") == [(10_000,)]
    store._ask("PRAGMA busy_timeout=100")
    other = sqlite3.connect(state, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="database is locked"):
        store.commit({"a": b"{}"})
    store.close()
    with pytest.raises(StoreError, match="database is locked"):
        SqliteStore(state)
    other.execute("ROLLBACK")
    other.close()
    assert read(state) == {}


def test_a_commit_waits_for_another_program_that_holds_the_file_for_a_moment(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    store = SqliteStore(state)
    other = sqlite3.connect(state, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, other.execute, ["ROLLBACK"])
    release.start()
    store.commit({"a": b"{}"})
    release.join()
    other.close()
    store.close()
    assert read(state) == {"a": b"{}"}


def test_the_file_and_its_log_do_not_grow_while_as_much_goes_as_comes(tmp_path: Path) -> None:
    state, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    store = SqliteStore(state)
    lots = random.Random(7)
    sizes = []
    for round_ in range(60):
        put_in = {f"k{round_}-{number}": b'"%s"' % (b"x" * lots.randint(10, 4000)) for number in range(60)}
        store.commit(put_in)
        store.commit({f"k{round_ - 5}-{number}": None for number in range(60)})
        sizes.append((state.stat().st_size, log.stat().st_size))
    store.close()
    for part in zip(*sizes, strict=True):
        assert max(part[40:]) <= 1.2 * max(part[20:40])
    assert not log.exists()


def test_the_log_of_one_large_commit_does_not_stay(tmp_path: Path) -> None:
    log = tmp_path / "state.db-wal"
    store = SqliteStore(tmp_path / "state.db")
    store.commit({f"k{number}": b'"%s"' % (b"x" * 100_000) for number in range(400)})
    assert log.stat().st_size > 32 * 2**20
    for number in range(3):
        store.commit({"k": b"%d" % number})
    assert log.stat().st_size <= 16 * 2**20
    store.close()


# ------------------------------------------------------------ files that are no whole state


def test_an_empty_file_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    state.touch()
    with pytest.raises(
        StoreError, match=f"the state {state} is damaged: it is empty.*Restore it from a backup"
    ):
        SqliteStore(state)
    assert state.read_bytes() == b""


@pytest.mark.parametrize("keep", [1, 50, 99, 100, 1000, 4095, 4096, 5000, 8191, 12288])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    state = tmp_path / "state.db"
    put(state, {f"k{number}": b'{"pad":"%s"}' % (b"x" * 200) for number in range(200)})
    whole = state.read_bytes()
    assert len(whole) > 16384
    state.write_bytes(whole[:keep])
    with pytest.raises(StoreError, match=f"the state {state} is damaged"):
        SqliteStore(state)
    assert state.read_bytes() == whole[:keep]


def test_a_file_with_overwritten_pages_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    put(state, {f"k{number}": b'{"pad":"%s"}' % (b"x" * 200) for number in range(200)})
    lots = random.Random(1)
    content = bytearray(state.read_bytes())
    content[4096:] = lots.randbytes(len(content) - 4096)
    state.write_bytes(content)
    with pytest.raises(StoreError, match=f"the state {state} is damaged"):
        SqliteStore(state)


@pytest.mark.parametrize("content", [b"not a database at all\n" * 100, b"SQLite format 3\0" + b"\0" * 4080])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "state.db"
    state.write_bytes(content)
    with pytest.raises(StoreError, match=f"the state {state} is damaged"):
        SqliteStore(state)
    assert state.read_bytes() == content


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE other (x)"],
        ["CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)"],
        [
            "CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)",
            'INSERT INTO records VALUES (\'meta\', \'{"format": "something else", "version": 1}\')',
        ],
        [
            "CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)",
            "INSERT INTO records VALUES ('meta', 'no JSON')",
        ],
    ],
)
def test_a_database_of_another_program_is_refused(tmp_path: Path, statements: list[str]) -> None:
    state = tmp_path / "state.db"
    with sqlite3.connect(state) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match="holds no state of this program"):
        SqliteStore(state)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    put(state, {"a": b"{}"})
    with sqlite3.connect(state) as connection:
        connection.execute("UPDATE records SET value = replace(value, ':1}', ':2}') WHERE key = 'meta'")
    connection.close()
    with pytest.raises(
        StoreError, match=f"version {VERSION + 1}, newer than version {VERSION}.*newer program"
    ):
        SqliteStore(state)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a file"):
        SqliteStore(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=f"{tmp_path}/missing/state.db cannot be opened.*Is its directory there"
    ):
        SqliteStore(tmp_path / "missing" / "state.db")


def test_a_log_without_its_file_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    put(state, {"a": b"{}"})
    (tmp_path / "state.db-wal").write_bytes(b"what a crash left")
    state.unlink()
    with pytest.raises(StoreError, match=r"state.db is missing, but state.db-wal is there"):
        SqliteStore(state)


def test_a_creation_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").write_bytes(b"half")
    assert read(tmp_path / "state.db") == {}
    assert not (tmp_path / "state.db.new").exists()


# ------------------------------------------------------------------------- kills and full disks

_WRITER = """
import sys
import threading
from pathlib import Path
from notifier.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
last = max((int(document) for _, document in store.load()), default=0)
for number in range(last + 1, 1_000_000):
    store.commit({f"k{row}": str(number).encode() for row in range(700)})
    print(number, flush=True)
"""


def test_a_kill_tears_no_commit_and_loses_none(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    lots = random.Random(20)
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(state)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(lots.randint(1, 6))]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout]
        numbers = {int(document) for document in read(state).values()}
        assert len(numbers) == 1, "a commit was torn"
        assert numbers.pop() >= acknowledged[-1], "an acknowledged commit was lost"


_FULL = """
import resource, sys
from pathlib import Path
from notifier.storage import StoreError
from notifier.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store.commit({"before": b"{}"})
limit = 400_000  # less than the log would need
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    store.commit({f"k{row}": b'"%s"' % (b"x" * 1000) for row in range(700)})
except StoreError as error:
    print(error)
try:
    store.commit({"after": b"{}"})
except StoreError:
    print("refused")
store.close()
"""


_ALMOST_FULL = """
import resource, sys
from pathlib import Path
from notifier.storage import StoreError
from notifier.store.sqlite import SqliteStore

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    SqliteStore(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


def test_an_almost_full_disk_is_noticed_before_anything_is_sent(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    put(state, {"before": b"{}"})
    done = subprocess.run(
        [sys.executable, "-c", _ALMOST_FULL, str(state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith(f"the state {state} cannot be used: ")
    assert (done.stderr, done.returncode) == ("", 0)
    assert read(state) == {"before": b"{}"}


def test_a_disk_that_takes_no_more_is_an_error_and_nothing_half_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    assert resource.RLIMIT_FSIZE  # a limit on the size of files makes each further write fail for real
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(state)], capture_output=True, text=True, timeout=60, check=False
    )
    assert f"the state {state} cannot be used: " in done.stdout
    assert done.stdout.splitlines()[-1] == "refused"
    assert done.stderr == ""
    assert done.returncode == 0
    assert read(state) == {"before": b"{}"}
