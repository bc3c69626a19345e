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


async def test_a_task_that_dies_ends_all() -> None:
    async def die() -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with asyncio.TaskGroup() as group:
            crew = Crew(group)
            crew.start("a", die())
            crew.start("b", asyncio.Event().wait())  # type: ignore[arg-type]
