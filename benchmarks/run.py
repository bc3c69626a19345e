"""What the README promises, measured: `make bench`. Peers run in turns in the same run; ratios count."""

import asyncio
import json
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
from datetime import datetime
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
STORMS = 5


def main() -> None:
    """Run all rows."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; medians of {ROUNDS} rounds (min to max)\n")
    asyncio.run(unchanged_poll())
    asyncio.run(commit())
    storm()
    isolation()
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


def storm() -> None:
    """500 transitions in one poll, each a webhook: from the poll's reply to the last arrival."""
    took = []
    for _ in range(STORMS):
        with _server(500, 500) as url, _receivers("take") as receivers, _run(url, receivers.urls) as log:
            _wait_for(log, "watching")
            changed = time.time()
            _change(url)
            [arrivals] = receivers.arrivals([500])
            took.append(arrivals[-1] - changed)
    print(f"{'500 transitions, changed to last arrival':<44}{_spread(took)}, a poll each second included")


def isolation() -> None:
    """Twenty transitions a second to a target, beside one that works and beside one that hangs."""
    latencies: dict[str, list[float]] = {}
    for _ in range(2):
        for other in ("take", "hang"):
            with (
                _server(200, 20) as url,
                _receivers("take", other) as receivers,
                _run(url, receivers.urls) as log,
            ):
                _wait_for(log, "watching")
                for _ in range(12):
                    _change(url)
                    lines = [_wait_for(log, "allium: backfill.") for _ in range(20)]
                    observed = datetime.fromisoformat(lines[0].split()[0]).timestamp()
                    arrivals, _ = receivers.arrivals([20, 0])
                    latencies.setdefault(other, []).append(arrivals[-1] - observed)
    _row("latency beside a stuck target / beside a good one", latencies["hang"], latencies["take"])


class _Receivers:
    def __init__(self, process: subprocess.Popen[str], count: int) -> None:
        self._process = process
        assert process.stdout is not None
        self.urls = [f"http://127.0.0.1:{int(process.stdout.readline())}/" for _ in range(count)]

    def arrivals(self, least: list[int]) -> list[list[float]]:
        """Return when requests arrived at each, once there are as many since the last time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        found: list[list[float]] = [[] for _ in least]
        while any(len(times) < wanted for times, wanted in zip(found, least, strict=True)):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            for times, more in zip(found, json.loads(self._process.stdout.readline()), strict=True):
                times.extend(more)
            time.sleep(0.01)
        return found


@contextmanager
def _receivers(*modes: str) -> Iterator[_Receivers]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "receivers.py"), *modes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield _Receivers(process, len(modes))
        process.kill()


@contextmanager
def _run(url: str, targets: list[str]) -> Iterator[IO[str]]:
    """Run a daemon with these webhook targets; yields its log."""
    tables = "".join(
        f'[targets.t{n}]\ntype = "webhook"\nurl = "{target}"\n' for n, target in enumerate(targets)
    )
    with tempfile.TemporaryDirectory(dir=HERE.parent) as directory:
        environment = os.environ | {
            "ALLIUM_API_KEY": "k",
            "ALLIUM_BASE_URL": url,
            "NOTIFIER_STATE": f"sqlite:///{directory}/state.db",
        }
        with _daemon(environment, directory, tables) as (process, log):
            yield log
            process.kill()


def _change(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method="POST"))  # noqa: S310


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
                    _change(url)
                    for _ in range(changed):
                        _wait_for(log, "allium: backfill.")
                time.sleep(1)
                status = Path(f"/proc/{process.pid}/status").read_text()
                now, peak = (
                    int(status.split(f"{name}:")[1].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")
                )
                name = f"memory, {jobs:,} jobs, {changed:,} changing"
                print(f"{name:<44}{now} MiB, {peak} MiB at most")
    print()


@contextmanager
def _daemon(
    environment: dict[str, str], directory: str, tables: str = ""
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    config = Path(directory) / "notifier.toml"
    config.write_text(
        '[[sources]]\napi_key = "${ALLIUM_API_KEY}"\nbase_url = "${ALLIUM_BASE_URL}"\n'
        f'poll_every = "1s"\npoll_idle_every = "1s"\n{tables}'
    )
    path = Path(directory) / "log"  # a pipe that nobody empties would stop it
    with (
        path.open("w") as written,
        path.open() as log,
        subprocess.Popen(
            [sys.executable, "-m", "notifier", "run", "--config", str(config)],
            env=environment,
            cwd=directory,
            stderr=written,
            text=True,
        ) as process,
    ):
        yield process, log
        process.terminate()


def _wait_for(log: IO[str], text: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        line = log.readline()
        if text in line:
            return line
        if not line:
            time.sleep(0.001)
    raise RuntimeError(f"the daemon has not logged {text!r} in a minute")


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
