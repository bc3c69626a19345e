"""Looks whether refused credentials work again, in a time that passes only while all wait for it."""

import asyncio
import functools
import selectors
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple

import pytest

from notifier.recovery import Recovery
from notifier.sending import Receipt, SendError, Shipment
from tests.targets import FakeTarget

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

REFUSED = SendError("invalid_auth", credentials=True)
SILENT = SendError("no connection")
HOUR = timedelta(hours=1)
TO_A_MINUTE = [5.0, 15.0, 35.0, 75.0, 135.0, 195.0, 255.0]
"""When is looked, at distances that double from five seconds to a minute."""


class Simulated(asyncio.SelectorEventLoop):
    """An event loop whose clock stands while anything happens, and then goes on to what is due next."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._in_threads = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Arguments], _Result], *args: *_Arguments
    ) -> asyncio.Future[_Result]:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._is_back)
        return future

    def _is_back(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: Simulated) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (timeout > 0 and self._loop._in_threads):
            return super().select()  # until a thread is done
        ready = super().select(0)
        if not ready:
            self._loop._seconds += timeout
        return ready


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Have a test run in simulated time, which begins at 0; it must leave no task behind."""

    async def alone(coroutine: Coroutine[Any, Any, None]) -> None:
        lost: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        await coroutine
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        assert not lost, f"exceptions nobody looked at: {lost}"

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=Simulated) as runner, pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "monotonic", runner.get_loop().time)
            runner.run(alone(test(*arguments, **named)))

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


async def at(seconds: float) -> None:
    """Wait until this time; all that was due before has then happened."""
    await asyncio.sleep(seconds - now())


class Asked(FakeTarget):
    """A target whose credentials are as the script says, one entry a look; good when it has ended."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.looks: list[float] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def send(self, shipment: Shipment) -> Receipt:
        raise AssertionError(shipment)

    async def probe(self) -> str | None:
        self.looks.append(now())
        error = self.script.pop(0) if self.script else None
        await self.answers.wait()
        if error is not None:
            raise error
        return "good"


def of(target: Asked, *, first: float = 5.0) -> Recovery:
    return Recovery(target, first=timedelta(seconds=first))


@asynccontextmanager
async def waiting(recovery: Recovery, longest: timedelta = HOUR) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(recovery.wait(longest))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@simulated
async def test_it_waits_until_credentials_that_were_refused_work_again() -> None:
    target = Asked(REFUSED, REFUSED, None)
    await of(target).wait(HOUR)
    assert target.looks == TO_A_MINUTE[:3]
    assert now() == TO_A_MINUTE[2]


@simulated
async def test_the_distances_double_from_the_first_to_a_minute() -> None:
    target = Asked(*[REFUSED] * 1000)
    async with waiting(of(target)):
        await at(TO_A_MINUTE[-1] + 1)
        assert target.looks == TO_A_MINUTE


@pytest.mark.parametrize(
    ("first", "looks"), [(0.25, [0.25, 0.75, 1.75, 3.75]), (40, [40, 100, 160]), (90, [90, 150, 210])]
)
@simulated
async def test_the_first_distance_is_the_one_it_is_given(first: float, looks: list[float]) -> None:
    target = Asked(*[REFUSED] * 1000)
    async with waiting(of(target, first=first)):
        await at(looks[-1] + 1)
        assert target.looks == looks


@simulated
async def test_it_waits_no_longer_than_it_is_told_and_looks_once_more_then() -> None:
    target = Asked(*[REFUSED] * 1000)
    await of(target).wait(timedelta(seconds=100))
    assert now() == 100.0
    assert target.looks == [5.0, 15.0, 35.0, 75.0, 100.0]


@pytest.mark.parametrize("seconds", [0, -3600])
@simulated
async def test_without_a_time_to_wait_it_looks_at_nothing(seconds: float) -> None:
    target = Asked(REFUSED)
    await of(target).wait(timedelta(seconds=seconds))
    assert (target.looks, now()) == ([], 0.0)


@simulated
async def test_when_the_credentials_were_good_all_along_only_time_ends_it() -> None:
    """What was refused is something else: an attempt at once would be refused as well."""
    target = Asked()
    await of(target).wait(timedelta(seconds=100))
    assert now() == 100.0
    assert len(target.looks) == 5


@simulated
async def test_a_look_that_gets_no_answer_says_nothing() -> None:
    target = Asked(SILENT, None, SILENT, REFUSED, SILENT, None)
    await of(target).wait(HOUR)
    assert target.looks == TO_A_MINUTE[:6]


@simulated
async def test_each_wait_begins_anew() -> None:
    target = Asked(REFUSED, REFUSED, None, None, REFUSED, None)
    recovery = of(target)
    await recovery.wait(HOUR)
    began = now()
    await recovery.wait(HOUR)
    assert [each - began for each in target.looks[3:]] == TO_A_MINUTE[:3], (
        "that it was refused before is over"
    )


# ---------------------------------------------------------------------------------------- hurried


@simulated
async def test_urged_it_looks_at_once() -> None:
    target = Asked(REFUSED, REFUSED, None)
    recovery = of(target)
    async with waiting(recovery) as task:
        await at(16)
        assert target.looks == [5.0, 15.0]
        recovery.urge()
        await task
        assert (target.looks, now()) == ([5.0, 15.0, 16.0], 16.0)


@simulated
async def test_urged_in_vain_it_looks_again_at_the_next_distance() -> None:
    target = Asked(REFUSED, REFUSED, None)
    recovery = of(target)
    async with waiting(recovery) as task:
        await at(1)
        recovery.urge()
        await task
        assert target.looks == [1.0, 11.0, 31.0]


@simulated
async def test_urging_many_times_at_once_is_one_look() -> None:
    target = Asked(*[REFUSED] * 1000)
    recovery = of(target)
    async with waiting(recovery):
        await at(1)
        for _ in range(10):
            recovery.urge()
        await at(10)
        assert target.looks == [1.0]


@simulated
async def test_an_urge_from_before_the_refusal_is_over() -> None:
    target = Asked(*[REFUSED] * 1000)
    recovery = of(target)
    recovery.urge()
    async with waiting(recovery):
        await at(4.9)
        assert target.looks == []


@pytest.mark.xfail(strict=True, reason="an urge that comes while a look is under way is forgotten")
@simulated
async def test_urged_while_a_look_is_under_way_it_looks_once_more_at_once() -> None:
    """The look under way may have been answered before the credentials were mended."""
    target = Asked(REFUSED, None)
    recovery = of(target)
    async with waiting(recovery) as task:
        target.answers.clear()
        await at(6)
        recovery.urge()
        target.answers.set()
        await task
        assert target.looks == [5.0, 6.0]


# ---------------------------------------------------------------------------------------- its end


@simulated
async def test_stopping_ends_it_without_another_look() -> None:
    target = Asked(*[REFUSED] * 1000)
    recovery = of(target)
    async with waiting(recovery) as task:
        await at(6)
        recovery.stop()
        await task
        assert (target.looks, now()) == ([5.0], 6.0)


@simulated
async def test_once_stopped_it_never_waits() -> None:
    target = Asked(REFUSED)
    recovery = of(target)
    recovery.stop()
    await recovery.wait(HOUR)
    assert (target.looks, now()) == ([], 0.0)


@simulated
async def test_stopped_during_a_look_it_ends_with_it() -> None:
    target = Asked(*[REFUSED] * 1000)
    recovery = of(target)
    async with waiting(recovery) as task:
        target.answers.clear()
        await at(6)
        recovery.stop()
        target.answers.set()
        await task
        assert (target.looks, now()) == ([5.0], 6.0)


@pytest.mark.xfail(strict=True, reason="a look that gets no answer delays the stop by its whole timeout")
@simulated
async def test_stopping_waits_for_no_look() -> None:
    target = Asked()
    recovery = of(target)
    async with waiting(recovery) as task:
        target.answers.clear()
        await at(6)
        recovery.stop()
        await at(7)
        assert task.done()


@pytest.mark.xfail(
    strict=True, raises=ZeroDivisionError, reason="a look that fails unforeseen ends the daemon"
)
@simulated
async def test_a_look_that_fails_unforeseen_says_nothing() -> None:
    target = Asked(REFUSED, ZeroDivisionError("https://slack.example.com/secret"), None)
    await of(target).wait(HOUR)
    assert target.looks == TO_A_MINUTE[:3]
