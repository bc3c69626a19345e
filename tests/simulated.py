"""A time that passes only while all wait for it: tests of long waits that take none."""

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

import pytest

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


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
