import asyncio
from datetime import timedelta

import pytest
import time_machine

from notifier.clock import Clock

ONE_MS = timedelta(milliseconds=1)


async def test_an_action_runs_at_once_and_again_after_each_wait() -> None:
    clock, seen = Clock(), asyncio.Queue[int]()
    waits = [ONE_MS, ONE_MS, timedelta(days=1)]

    async def action() -> timedelta:
        seen.put_nowait(len(waits))
        return waits.pop(0)

    clock.repeat("a", action)
    ticking = asyncio.create_task(clock.run())
    async with asyncio.timeout(10):
        assert [await seen.get() for _ in range(3)] == [3, 2, 1]
    ticking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ticking


async def test_a_slow_action_holds_up_no_other_and_never_overlaps_itself() -> None:
    clock, gate, quick = Clock(), asyncio.Event(), asyncio.Queue[None]()
    slow_runs = 0

    async def slow() -> timedelta:
        nonlocal slow_runs
        slow_runs += 1
        await gate.wait()
        return timedelta(days=1)

    async def fast() -> timedelta:
        quick.put_nowait(None)
        return ONE_MS

    clock.repeat("slow", slow)
    clock.repeat("fast", fast)
    ticking = asyncio.create_task(clock.run())
    async with asyncio.timeout(10):
        for _ in range(20):
            await quick.get()
    assert slow_runs == 1
    ticking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ticking


async def test_an_action_that_raises_ends_the_clock() -> None:
    clock = Clock()

    async def action() -> timedelta:
        raise ZeroDivisionError

    clock.repeat("a", action)
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await clock.run()


async def test_stopping_cancels_what_runs() -> None:
    clock, started, cancelled = Clock(), asyncio.Event(), asyncio.Event()

    async def action() -> timedelta:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    clock.repeat("a", action)
    ticking = asyncio.create_task(clock.run())
    async with asyncio.timeout(10):
        await started.wait()
        ticking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ticking
        await cancelled.wait()


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365])
async def test_a_wall_clock_that_jumps_does_not_stop_the_runs(hours: int) -> None:
    clock, seen = Clock(), asyncio.Queue[None]()

    async def action() -> timedelta:
        seen.put_nowait(None)
        return timedelta(milliseconds=300)

    with time_machine.travel("2026-01-31T10:30:00Z", tick=True) as traveller:
        clock.repeat("a", action)
        ticking = asyncio.create_task(clock.run())
        async with asyncio.timeout(10):
            await seen.get()
            traveller.shift(timedelta(hours=hours))
            for _ in range(2):
                await seen.get()
        ticking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ticking


async def test_what_is_forgotten_is_cut_off_and_not_repeated() -> None:
    began, ended = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    async def long() -> timedelta:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async def short() -> timedelta:
        runs.append("short")
        return timedelta(0)

    clock = Clock()
    clock.repeat("long", long)
    clock.repeat("later", short)
    running = asyncio.create_task(clock.run())
    await began.wait()
    await clock.forget("long")
    assert ended.is_set()
    await clock.forget("later")
    count = len(runs)
    again = asyncio.Event()

    async def same_name() -> timedelta:
        again.set()
        return timedelta(hours=1)

    clock.repeat("long", same_name)
    await again.wait()
    assert len(runs) == count
    await clock.forget("nothing of this name")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Hands:
    """What a monotonic clock shows."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_clock_is_alive_while_it_looks_and_what_is_due_is_done() -> None:
    hands, seen = Hands(), asyncio.Queue[None]()
    clock = Clock(hands)

    async def action() -> timedelta:
        seen.put_nowait(None)
        return timedelta(hours=1)

    clock.repeat("allium", action)
    assert clock.fault() is None
    ticking = asyncio.create_task(clock.run())
    async with asyncio.timeout(10):
        await seen.get()
    assert clock.fault() is None
    hands.seconds += 31
    assert clock.fault() == "it has not looked for 31 s what is due"
    async with asyncio.timeout(10):
        while clock.fault() is not None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    assert clock.fault() == "it ended"


async def test_a_clock_whose_scheduler_starts_nothing_any_more_is_dead() -> None:
    hands, seen = Hands(), asyncio.Queue[None]()
    clock = Clock(hands)

    async def action() -> timedelta:
        seen.put_nowait(None)
        return timedelta(hours=1)

    clock.repeat("allium", action)
    ticking = asyncio.create_task(clock.run())
    async with asyncio.timeout(10):
        await seen.get()
    clock._scheduler.pause()
    hands.seconds += 3631
    async with asyncio.timeout(10):
        while clock.fault() != "allium has been due for 31 s":  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    clock._scheduler.resume()
    async with asyncio.timeout(10):
        await seen.get()
    assert clock.fault() is None
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)


async def test_a_clock_that_was_never_run_is_dead() -> None:
    hands = Hands()
    clock = Clock(hands)
    hands.seconds += 31
    assert clock.fault() is not None
