"""Tasks that are ended one by one."""

import asyncio

import pytest

from notifier.crew import Crew


async def test_a_task_is_ended_and_the_others_go_on() -> None:
    going = asyncio.Event()

    async def work() -> None:
        await going.wait()

    async with asyncio.TaskGroup() as group:
        crew = Crew(group)
        crew.start("a", work())
        crew.start("b", work())
        assert not await crew.end("a")
        assert list(crew.running) == ["b"]
        going.set()
        assert await crew.end("b", within_seconds=10)
        assert await crew.end("c")


async def test_a_task_whose_end_is_not_waited_for_still_runs() -> None:
    going = asyncio.Event()

    async def work() -> None:
        await going.wait()

    async with asyncio.TaskGroup() as group:
        crew = Crew(group)
        crew.start("a", work())
        ending = asyncio.create_task(crew.end("a", within_seconds=10))
        await asyncio.sleep(0)
        assert list(crew.running) == []
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        assert list(crew.running) == ["a"]
        going.set()


async def test_a_task_that_dies_ends_all() -> None:
    async def die() -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with asyncio.TaskGroup() as group:
            crew = Crew(group)
            crew.start("a", die())
            crew.start("b", asyncio.Event().wait())  # type: ignore[arg-type]
