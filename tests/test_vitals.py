import asyncio

from notifier.vitals import Vitals, ended


def test_nothing_is_dead_while_every_check_says_so() -> None:
    vitals = Vitals()
    assert vitals.faults() == []
    vitals.watch("scheduler", lambda: None)
    assert vitals.faults() == []


def test_what_is_dead_is_named_with_the_reason_and_may_recover() -> None:
    vitals, dead = Vitals(), ["it has not looked for 31 s"]
    vitals.watch("scheduler", lambda: dead[0] if dead else None)
    vitals.watch("store", lambda: "the disk is full")
    vitals.watch("lanes", lambda: None)
    assert vitals.faults() == ["scheduler: it has not looked for 31 s", "store: the disk is full"]
    dead.clear()
    assert vitals.faults() == ["store: the disk is full"]
    vitals.watch("store", lambda: None)
    assert vitals.faults() == []


def test_what_is_to_end_is_not_missed() -> None:
    vitals = Vitals()
    vitals.watch("store", lambda: "closed")
    vitals.rest()
    assert vitals.faults() == []


async def test_tasks_that_ended_are_named_however_they_ended() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    tasks = [
        asyncio.create_task(asyncio.Event().wait(), name="lane a"),
        asyncio.create_task(asyncio.sleep(0), name="lane b"),
        asyncio.create_task(fail(), name="lane c"),
    ]
    assert ended(tasks) is None
    await asyncio.wait(tasks[1:])
    assert ended(tasks) == "lane b, lane c ended"
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert ended(tasks) == "lane a, lane b, lane c ended"
