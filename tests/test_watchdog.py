"""What stands still is noticed, in processes that really stand still; what only waits is left alone."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Hashable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

import notifier
from notifier.dispatcher import _SPARE, Dispatcher
from notifier.model import Delivery, RecordKey
from notifier.retry import RetryPolicy
from notifier.sending import Receipt, SendError, Shipment
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.watchdog import StuckError, UnderWay, Watchdog
from tests.daemon import Daemon, write_config
from tests.records import delivery, record, write_state
from tests.servers import ScriptedServer, job
from tests.targets import FakeTarget

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(notifier.__file__).parent.parent)}
LAST_WORDS = "the process is ended, nothing is lost\n"


def _ended(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Return what became of a program that is to end by itself."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=ENVIRONMENT,
    )


# --------------------------------------------------------------------------------- the loop itself

_LOOP = """
import asyncio, os, time
from notifier.watchdog import Watchdog

async def main(watchdog):
    {before}
    watching = asyncio.create_task(watchdog.run(dict))
    await asyncio.sleep(0)
    {after}
    watching.cancel()

with Watchdog(loop_seconds={limit}, looks_every_seconds=0.05, start_seconds={start}) as watchdog:
    asyncio.run(main(watchdog))
print("ended", flush=True)
time.sleep({late})
"""


def _loop(
    *, before: str = "", after: str = "", limit: float = 0.4, start: float = 60, late: float = 0
) -> str:
    return _LOOP.format(before=before or "pass", after=after or "pass", limit=limit, start=start, late=late)


def test_a_loop_that_is_blocked_ends_the_process_with_an_error() -> None:
    began = time.monotonic()
    done = _ended(_loop(after="time.sleep(600)"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"notifier: it no longer answers; {LAST_WORDS}"
    assert time.monotonic() - began < 15


def test_a_loop_that_answers_now_and_then_is_left_alone() -> None:
    done = _ended(_loop(after="[time.sleep(0.1) or await asyncio.sleep(0.06) for _ in range(5)]"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_a_start_may_take_longer_but_not_for_ever() -> None:
    done = _ended(_loop(before="time.sleep(0.8)"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
    done = _ended(_loop(before="time.sleep(600)", start=0.6))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(LAST_WORDS)


def test_once_it_is_over_nothing_is_ended() -> None:
    done = _ended(_loop(late=0.8))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


@pytest.mark.parametrize("is_open", [True, False], ids=["a full pipe", "a closed pipe"])
def test_an_error_output_that_nobody_reads_does_not_keep_the_process(is_open: bool) -> None:
    block = "os.write(2, b'x' * 1_000_000)" if is_open else "time.sleep(600)"
    theirs, ours = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", _loop(after=block)], stderr=ours, env=ENVIRONMENT
    ) as process:
        os.close(ours)
        if not is_open:
            os.close(theirs)
        try:
            assert process.wait(timeout=30) == 1
        finally:
            process.kill()
            if is_open:
                os.close(theirs)


def test_a_process_that_was_stopped_for_longer_goes_on() -> None:
    beat = """
    while True:
        print("alive", flush=True)
        await asyncio.sleep(0.05)
"""
    with subprocess.Popen(
        [sys.executable, "-c", _loop(after=beat.strip(), limit=0.8)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "alive\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.6)  # it has to stand still for longer than a loop may
            process.send_signal(signal.SIGCONT)
            assert [process.stdout.readline() for _ in range(20)] == ["alive\n"] * 20
            assert process.poll() is None
        finally:
            process.kill()
        assert process.stderr.read() == ""


# ------------------------------------------------------------------------------- what is under way


class _OverError(Exception):
    """The script has come to its end."""


def _scripted(looks: Sequence[str], longest: float = 0.005) -> UnderWay:
    """Return what says at each look that these are under way, one letter for each."""
    left = iter(looks)

    def under_way() -> Mapping[Hashable, tuple[str, float]]:
        tokens = next(left, None)
        if tokens is None:
            raise _OverError
        return {token: (f"the work {token}", longest) for token in tokens}

    return under_way


async def _watch(*watched: UnderWay) -> None:
    async with asyncio.timeout(20):
        await Watchdog(looks_every_seconds=0.001).run(
            lambda: {
                (place, token): each
                for place, under_way in enumerate(watched)
                for token, each in under_way().items()
            }
        )


@pytest.mark.parametrize(
    "looks",
    [
        ["a"] * 6,
        [chr(number) for number in range(100, 150)],
        ["a"] * 5 + ["b"] * 5 + ["c"] * 5,
        (["a"] * 5 + [""]) * 3,
        ["ab", "abc", "bc", "cd", "d"] * 5,
        [""] * 50,
    ],
    ids=["as long as allowed", "short ones", "three in a row", "again and again", "side by side", "nothing"],
)
async def test_what_ends_in_time_is_left_alone(looks: Sequence[str]) -> None:
    with pytest.raises(_OverError):
        await _watch(_scripted(looks))


@pytest.mark.parametrize(
    ("looks", "stuck"),
    [
        (["a"] * 7, "a"),
        (["", "b"] + ["a"] * 7, "a"),
        (["a", "ab", "abc", "bd", "be", "bf", "bg", "bh"], "b"),
    ],
    ids=["the only one", "after others", "beside others"],
)
async def test_what_does_not_end_in_time_is_an_error_that_names_it(looks: Sequence[str], stuck: str) -> None:
    with pytest.raises(StuckError, match=rf"^the work {stuck} has not ended for 0 s\. Nothing is lost"):
        await _watch(_scripted(looks))


async def test_each_may_take_its_own_time() -> None:
    looks = ["a"] * 30
    with pytest.raises(_OverError):
        await _watch(_scripted(looks, longest=1.0), _scripted([""] * 100))
    with pytest.raises(StuckError, match="the work b"):
        await _watch(_scripted(looks, longest=1.0), _scripted(["b"] * 30))


async def test_what_is_called_the_same_elsewhere_is_something_else() -> None:
    with pytest.raises(_OverError):
        await _watch(_scripted(["a"] * 5 + [""] * 5), _scripted([""] * 5 + ["a"] * 5))


# ------------------------------------------------------ a store that stands still, and a target

_STORE = """
import asyncio, threading
from notifier.model import SourceRecord, utc_now
from notifier.state import State
from notifier.watchdog import Watchdog

class Stuck:
    name = "stuck"

    def load(self):
        return []

    def commit(self, documents):
        if "start" not in documents:
            print("stuck", flush=True)
            threading.Event().wait()

    def close(self):
        pass

async def main(watchdog):
    async with State(Stuck) as state, asyncio.TaskGroup() as tasks:
        soon = lambda: {token: (what, 1.0) for token, (what, _) in state.under_way().items()}
        tasks.create_task(watchdog.run(soon))
        source = SourceRecord(id="s", baseline_at=utc_now())
        await state.commit(sources={"s": lambda _: source})

with Watchdog(loop_seconds=0.5, looks_every_seconds=0.05) as watchdog:
    asyncio.run(main(watchdog))
"""


def test_a_store_that_never_answers_ends_the_process_with_an_error() -> None:
    done = _ended(_STORE)
    assert (done.returncode, done.stdout) == (1, "stuck\n")
    assert done.stderr == f"notifier: a commit to the state has not ended for 1 s; {LAST_WORDS}"


_TARGET = """
import asyncio, sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from notifier.dispatcher import Dispatcher, _SPARE
from notifier.retry import RetryPolicy
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.watchdog import Watchdog

class Deaf:
    name, concurrency, spacing, grouping = "ops", 1, None, None
    longest = timedelta(milliseconds=200) - _SPARE  # ends in 200 ms what can be ended

    async def send(self, shipment):
        print("sent", flush=True)
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass

async def main(watchdog):
    policy = RetryPolicy(
        first_retry=timedelta(seconds=1), max_retry=timedelta(seconds=1), give_up_after=timedelta(days=3)
    )
    async with State(partial(SqliteStore, Path(sys.argv[1]))) as state, asyncio.TaskGroup() as tasks:
        lane = Dispatcher(Deaf(), state=state, retry=policy)
        for key, record in state.records.jobs():
            lane.resume(key, record.deliveries[0])
        soon = lambda: {token: (what, 1.0) for token, (what, _) in lane.under_way().items()}
        tasks.create_task(watchdog.run(soon))
        tasks.create_task(lane.run())

with Watchdog(loop_seconds=0.5, looks_every_seconds=0.05) as watchdog:
    asyncio.run(main(watchdog))
"""


async def test_an_attempt_that_nothing_can_end_ends_the_process_and_is_made_again_later(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    write_state(path, {("allium", "j"): record(delivery("a", state="pending"))})
    done = await asyncio.to_thread(_ended, _TARGET, str(path))
    assert (done.returncode, done.stdout) == (1, "sent\n")
    what = "an attempt of backfill.staging (evt_a) for ops has not ended for 1 s"
    assert done.stderr == f"notifier: {what}; {LAST_WORDS}"
    async with State(partial(SqliteStore, path)) as state:
        assert _delivery(state).state == "pending"


class Silent(FakeTarget):
    """A target that never answers, but can be told to give up."""

    longest = timedelta(milliseconds=100) - _SPARE  # so that there is little to wait for

    def __init__(self) -> None:
        self.attempts = 0

    async def send(self, shipment: Shipment) -> Receipt:
        assert len(shipment.events) == 1
        self.attempts += 1
        await asyncio.Event().wait()
        raise SendError("it answered")


def _delivery(state: State, key: RecordKey = ("allium", "j")) -> Delivery:
    record = state.records.outbox(key)
    assert record is not None
    return record.deliveries[0]


async def test_an_attempt_without_an_answer_is_ended_with_an_unknown_outcome_and_made_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    write_state(path, {("allium", "j"): record(delivery("a", state="pending"))})
    policy = RetryPolicy(
        first_retry=timedelta(milliseconds=1),
        max_retry=timedelta(milliseconds=1),
        give_up_after=timedelta(days=9999),
    )
    target = Silent()
    async with State(partial(SqliteStore, path)) as state:
        lane = Dispatcher(target, state=state, retry=policy)
        lane.resume(("allium", "j"), _delivery(state))
        running = asyncio.create_task(lane.run())
        async with asyncio.timeout(20):
            while target.attempts < 3:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
        [(what, seconds)] = lane.under_way().values()
        assert what == "an attempt of backfill.staging (evt_a) for ops"
        assert seconds == pytest.approx(0.1 + _SPARE.total_seconds())
        lane.stop()
        await running
        assert lane.under_way() == {}
        tried = _delivery(state)
        assert (tried.state, tried.last_error) == ("pending", "no answer in time")
        assert {attempt.outcome for attempt in tried.history} == {"unknown"}


# --------------------------------------------------------------------------- a store that is held


async def test_while_another_program_holds_the_state_nothing_is_lost_and_afterwards_all_goes_on(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    gate = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await gate.wait()
        return web.Response(status=204)

    api.answer = [job("a", "staging")]
    receiver.answer = wait
    async with Daemon(write_config(tmp_path, api, receiver)) as daemon:
        await daemon.logged("watching")
        api.answer = [job("a", "transporting")]
        await receiver.arrived(1)
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        api.answer = [job("a", "completed"), job("b", "staging")]
        await api.arrived(len(api.requests) + 1)
        gate.set()
        await asyncio.sleep(3)  # as a backup would hold it
        assert len(receiver.requests) == 1, "sent before it was durable"
        other.execute("ROLLBACK")
        other.close()
        await receiver.arrived(3)
        await api.arrived(len(api.requests) + 3)
        assert await daemon.ends(signal.SIGTERM) == 0
        assert not any("ERROR" in line or "Traceback" in line for line in daemon.lines)
    announced = [(event["data"]["job_id"], event["data"]["status"]) for event in receiver.events]
    assert announced[0] == ("a", "transporting")
    assert sorted(announced[1:]) == [("a", "completed"), ("b", "staging")]
