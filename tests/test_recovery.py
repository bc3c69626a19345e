"""Looks whether refused credentials work again, in a time that passes only while all wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from notifier.recovery import Recovery
from notifier.sending import Receipt, SendError, Shipment
from tests.simulated import at, now, simulated
from tests.targets import FakeTarget

REFUSED = SendError("invalid_auth", credentials=True)
SILENT = SendError("no connection")
HOUR = timedelta(hours=1)
TO_A_MINUTE = [5.0, 15.0, 35.0, 75.0, 135.0, 195.0, 255.0]
"""When is looked, at distances that double from five seconds to a minute."""


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
async def waiting(recovery: Recovery, longest: timedelta = HOUR) -> AsyncIterator[asyncio.Task[bool]]:
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


@pytest.mark.parametrize(("first", "looks"), [(0.25, [0.25, 0.75, 1.75, 3.75]), (40, [40, 100, 160])])
@simulated
async def test_the_first_distance_is_the_one_it_is_given(first: float, looks: list[float]) -> None:
    target = Asked(*[REFUSED] * 1000)
    async with waiting(of(target, first=first)):
        await at(looks[-1] + 1)
        assert target.looks == looks


@pytest.mark.parametrize("first", [60, 90, 3600])
@simulated
async def test_it_looks_every_minute_at_least_however_long_the_first_distance_is(first: float) -> None:
    target = Asked(*[REFUSED] * 1000)
    async with waiting(of(target, first=first)):
        await at(181)
        assert target.looks == [60.0, 120.0, 180.0]


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
async def test_credentials_that_are_found_good_are_trusted_once_and_then_only_time_helps() -> None:
    """They may have been mended before the look; refused again, it is something else that is refused."""
    target = Asked()
    recovery = of(target)
    assert await recovery.wait(timedelta(seconds=100))
    assert now() == 5.0
    assert not await recovery.wait(timedelta(seconds=100))
    assert now() == 105.0
    recovery.worked()
    assert await recovery.wait(timedelta(seconds=100))
    assert now() == 110.0


@simulated
async def test_a_look_that_gets_no_answer_says_nothing() -> None:
    target = Asked(SILENT, SILENT, REFUSED, SILENT, None)
    assert await of(target).wait(HOUR)
    assert target.looks == TO_A_MINUTE[:5]


@simulated
async def test_those_that_are_refused_to_the_end_are_what_was_refused() -> None:
    assert await of(Asked(*[REFUSED] * 10)).wait(timedelta(seconds=20))


@simulated
async def test_each_wait_begins_anew() -> None:
    target = Asked(REFUSED, REFUSED, None, REFUSED, None)
    recovery = of(target)
    await recovery.wait(HOUR)
    began = now()
    await recovery.wait(HOUR)
    assert [each - began for each in target.looks[3:]] == TO_A_MINUTE[:2]


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


@simulated
async def test_a_look_that_fails_unforeseen_says_nothing() -> None:
    target = Asked(REFUSED, ZeroDivisionError("https://slack.example.com/secret"), None)
    await of(target).wait(HOUR)
    assert target.looks == TO_A_MINUTE[:3]
