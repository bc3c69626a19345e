"""A dispatcher whose target becomes another, or whose source goes, while it works."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from notifier.outbox import LOST_SOURCE
from notifier.sending import Grouping, Receipt, SendError, Shipment
from tests.simulated import at, simulated
from tests.test_dispatcher import BROKEN, REVOKED, SLOW, Told, at_work, desk

GROUPING = Grouping(over=2, limit=10)
UNKNOWN = SendError("no answer in time", outcome_unknown=True)


class Slow(Told):
    """A target each of whose attempts takes forty seconds."""

    async def send(self, shipment: Shipment) -> Receipt:
        self.shipments.append(shipment)
        answer = self.answers.pop(0) if self.answers else Receipt()
        await asyncio.sleep(40)
        if isinstance(answer, SendError):
            raise answer
        return answer


@simulated
@pytest.mark.parametrize("error", [BROKEN, UNKNOWN])
async def test_what_was_attempted_is_not_grouped_anew(tmp_path: Path, error: SendError) -> None:
    before, after = Told(error, grouping=GROUPING), Told(grouping=GROUPING)
    async with desk(tmp_path, before) as d:
        async with at_work(d):
            [first] = await d.observe("a")
            await at(1)
            assert len(d.source().batches) == 1
            others = await d.observe("b", "c", "d")
            d.dispatcher.change(after, retry=SLOW, quiet=None)
            await at(100)
        assert before.sent == [[first]]
        assert sorted(after.sent, key=len) == [[first], others]
        assert d.source().batches == ()
        d.target = Told(grouping=GROUPING)
        await d.restart()
        async with at_work(d):
            await at(1000)
        assert d.target.sent == []


@simulated
async def test_what_is_stored_of_a_batch_that_has_ended_stops_no_start(tmp_path: Path) -> None:
    async with desk(tmp_path, Told(BROKEN, grouping=GROUPING)) as d:
        async with at_work(d):
            await d.observe("a")
            await at(1)
            stored = d.source().batches
            d.dispatcher.change(Told(), retry=SLOW, quiet=None)
            await at(2)
        source = msgspec.structs.replace(d.source(), batches=stored)
        await d.state.commit(sources={"s": lambda _: source}, jobs={("s", "a"): lambda _: None})
        await d.restart()
        assert (len(d.dispatcher), d.source().batches) == (0, ())


@simulated
@pytest.mark.parametrize(("place", "due"), [("here", 3600), ("elsewhere", 10)])
async def test_a_pause_is_of_the_place_that_asked_for_it(tmp_path: Path, place: str, due: int) -> None:
    busy = SendError("answered 429", retry_after=timedelta(hours=1))
    between, after = Told(), Told()
    async with desk(tmp_path, Told(busy), place="here") as d, at_work(d):
        await d.observe("a")
        await at(5)
        d.dispatcher.change(between, retry=SLOW, quiet=None, place="never in force")
        d.dispatcher.change(after, retry=SLOW, quiet=None, place=place)
        await at(4000)
    assert between.attempts == []
    [attempt] = after.attempts
    assert due - 10 <= attempt <= due + 10


@simulated
async def test_an_attempt_under_way_ends_where_it_began(tmp_path: Path) -> None:
    before, after = Slow(), Told()
    async with desk(tmp_path, before) as d, at_work(d):
        [first] = await d.observe("a")
        await at(1)
        d.dispatcher.change(after, retry=SLOW, quiet=None)
        [second] = await d.observe("a")
        await at(39)
        assert after.sent == []
        await at(100)
    assert (before.sent, after.sent) == ([[first]], [[second]])


@simulated
@pytest.mark.parametrize(
    ("answer", "state"), [(BROKEN, "dead"), (UNKNOWN, "dead"), (REVOKED, "dead"), (Receipt(), "delivered")]
)
async def test_what_ends_after_its_source_has_gone_is_given_up_unless_it_arrived(
    tmp_path: Path, answer: SendError | Receipt, state: str
) -> None:
    target = Slow(answer)
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("a")
        await at(1)
        await d.observe("a", "b")
        forgetting = asyncio.create_task(d.dispatcher.forget("s"))
        await at(39)
        assert not forgetting.done()
        await at(100)
        assert forgetting.done()
        assert [each.state for each in d.record("a").deliveries] == [state, "pending"]
        if state == "dead":
            assert d.record("a").deliveries[0].last_error == LOST_SOURCE
        assert d.source().deaths == {}  # the config asked for it: nobody is told
        await at(10_000)
        assert len(target.sent) == 1
        d.dispatcher.know("s")
        [later] = await d.observe("c")
        await at(10_001)
        assert target.sent[1:] == [[later]]


@simulated
async def test_who_waits_for_a_token_to_be_mended_does_not_wait_for_a_source_that_goes(
    tmp_path: Path,
) -> None:
    target = Told()
    target.is_revoked = True
    async with desk(tmp_path, target) as d, at_work(d):
        await d.observe("a")
        await at(10)
        tried = len(target.sent)
        forgetting = asyncio.create_task(d.dispatcher.forget("s"))
        await at(11)
        assert forgetting.done()
        await at(10_000)
        assert len(target.sent) == tried


@simulated
async def test_a_source_that_goes_does_not_keep_a_target_from_becoming_another(tmp_path: Path) -> None:
    before, after = Slow(REVOKED), Told()
    async with desk(tmp_path, before) as d, at_work(d):
        await d.observe("a")
        await at(1)
        d.dispatcher.change(after, retry=SLOW, quiet=None)
        await d.dispatcher.forget("s")
        d.dispatcher.know("s")
        [later] = await d.observe("b")
        await at(100)
        assert after.sent == [[later]]
