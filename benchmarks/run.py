"""What the README promises, measured: `make bench`. Peers run in turns in the same run; ratios count."""

import asyncio
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import aiohttp

from notifier.pace import Pace
from notifier.route import route
from notifier.settings import Settings
from notifier.source import AlliumSource
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.watcher import Watcher

HERE = Path(__file__).parent
ROUNDS = 15


def main() -> None:
    """Run all rows."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; medians of {ROUNDS} rounds (min to max)\n")
    asyncio.run(unchanged_poll())
    asyncio.run(commit())
    memory()
    version()


async def unchanged_poll() -> None:
    """10,000 unchanged jobs against a bare GET that only reads the body."""
    async with _watched(10_000, 0) as (watcher, url, session):

        async def bare() -> None:
            async with session.get(url) as response:
                await response.read()

        for _ in range(3):
            await bare()
            await watcher.observe()
        ours, theirs, stalls = [], [], []
        for _ in range(ROUNDS):
            async with _stalls() as late:
                ours.append(await _timed(watcher.observe))
            stalls.append(max(late))
            theirs.append(await _timed(bare))
        _row("unchanged poll, 10,000 jobs / bare GET", ours, theirs)
        print(f"{'':<44}longest stall of the loop in a poll {_spread(stalls)}\n")


async def commit() -> None:
    """A poll with 1,000 transitions, its commit against raw sqlite3 writing the same rows."""
    async with _watched(10_000, 1_000) as (watcher, url, session):
        written: list[dict[str, bytes | None]] = []
        original = SqliteStore.commit
        ours: list[float] = []

        def timed(self: SqliteStore, documents: dict[str, bytes | None]) -> None:
            started = time.perf_counter()
            original(self, documents)
            ours.append(time.perf_counter() - started)
            written.append(documents)

        SqliteStore.commit = timed  # type: ignore[method-assign, assignment]
        theirs, polls, stalls = [], [], []
        with _raw_table() as raw:
            for _ in range(ROUNDS):
                async with session.post(url):
                    pass
                async with _stalls() as late:
                    polls.append(await _timed(watcher.observe))
                stalls.append(max(late))
                rows = [(key, (value or b"").decode()) for key, value in written[-1].items()]
                assert len(rows) == 1_000
                theirs.append(await asyncio.to_thread(_raw_commit, raw, rows))
        SqliteStore.commit = original  # type: ignore[method-assign]
        _row("commit of 1,000 transitions / executemany", ours, theirs)
        print(f"{'':<44}the whole poll {_spread(polls)}")
        print(f"{'':<44}longest stall of the loop in a poll {_spread(stalls)}\n")


def memory() -> None:
    """The resident memory of a daemon that watches 10,000 jobs, of which 1,000 change with each poll."""
    for jobs, changed in ((0, 0), (10_000, 0), (10_000, 1_000)):
        with _server(jobs, changed) as url, tempfile.TemporaryDirectory(dir=HERE.parent) as directory:
            environment = os.environ | {
                "ALLIUM_API_KEY": "k",
                "ALLIUM_BASE_URL": url,
                "NOTIFIER_STATE": f"sqlite:///{directory}/state.db",
                "NOTIFIER_CONFIG": "",
            }
            with _daemon(environment, directory) as (process, log):
                _wait_for(log, "watching")
                for _ in range(8 if changed else 0):
                    urllib.request.urlopen(urllib.request.Request(url, method="POST"))  # noqa: S310
                    for _ in range(changed):
                        _wait_for(log, "backfill.")
                time.sleep(1)
                status = Path(f"/proc/{process.pid}/status").read_text()
                now, peak = (
                    int(status.split(f"{name}:")[1].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")
                )
                name = f"memory, {jobs:,} jobs, {changed:,} changing"
                print(f"{name:<44}{now} MiB, {peak} MiB at most")
    print()


@contextmanager
def _daemon(environment: dict[str, str], directory: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    config = Path(directory) / "notifier.toml"
    config.write_text(
        '[[sources]]\napi_key = "${ALLIUM_API_KEY}"\nbase_url = "${ALLIUM_BASE_URL}"\n'
        'poll_every = "1s"\npoll_idle_every = "1s"\n'
    )
    with subprocess.Popen(
        [sys.executable, "-m", "notifier", "run", "--config", str(config)],
        env=environment,
        cwd=directory,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        yield process, process.stderr
        process.terminate()


def _wait_for(log: IO[str], text: str) -> None:
    for line in log:
        if text in line:
            return
    raise RuntimeError(f"the daemon ended before it logged {text!r}")


def version() -> None:
    """`notifier --version` as a whole process."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "notifier", "--version"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    print(f"{'notifier --version':<44}{_spread(times)}")


@asynccontextmanager
async def _watched(jobs: int, changed: int) -> AsyncIterator[tuple[Watcher, str, aiohttp.ClientSession]]:
    with _server(jobs, changed) as url, tempfile.TemporaryDirectory(dir=HERE.parent) as directory:
        settings = Settings.model_validate({"sources": [{"api_key": "k", "base_url": url}]})
        async with (
            State(partial(SqliteStore, Path(directory) / "state.db")) as state,
            aiohttp.ClientSession() as session,
        ):
            watcher = Watcher(
                AlliumSource(settings.sources[0], session=session, tls=True),
                state=state,
                pace=Pace(
                    poll_every=settings.sources[0].poll_every,
                    poll_idle_every=settings.sources[0].poll_idle_every,
                ),
                announce_first=False,
                route=partial(route, routes=(), targets=("ops",)),
                passed_on=lambda *_: None,
            )
            await watcher.observe()
            yield watcher, url, session


@contextmanager
def _server(jobs: int, changed: int) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), str(jobs), str(changed)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.kill()


@contextmanager
def _raw_table() -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(dir=HERE.parent) as directory:
        connection = sqlite3.connect(f"{directory}/raw.db", check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)")
        yield connection
        connection.close()


def _raw_commit(connection: sqlite3.Connection, rows: list[tuple[str, str]]) -> float:
    started = time.perf_counter()
    connection.executemany("REPLACE INTO records (key, value) VALUES (?, ?)", rows)
    connection.commit()
    return time.perf_counter() - started


@asynccontextmanager
async def _stalls() -> AsyncIterator[list[float]]:
    """Yield how late a task that wants to run each millisecond was, in seconds."""
    late: list[float] = [0.0]

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - started - 0.001)

    ticking = asyncio.create_task(tick())
    yield late
    ticking.cancel()


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


def _row(name: str, ours: list[float], theirs: list[float]) -> None:
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    print(f"{name:<44}{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"{'':<44}{_spread(ours)} / {_spread(theirs)}")


def _spread(seconds: list[float]) -> str:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{middle * 1000:.1f} ms ({low * 1000:.1f} to {high * 1000:.1f})"


if __name__ == "__main__":
    main()
