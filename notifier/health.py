"""Which targets fail, since when, and what others are told of it."""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from functools import partial

import msgspec

from notifier.model import Event, Outage, SourceRecord
from notifier.outages import tell_down, tell_up, with_outage
from notifier.outbox import present
from notifier.sending import SendError
from notifier.state import State

Telling = Callable[[SourceRecord], tuple[SourceRecord, Event]]
"""Makes an event of what a record holds."""
Tell = Callable[[str, str, Telling], Awaitable[None]]
"""Given a source, a target that is not to hear of it, and the event to be made."""


class Health:
    """Has a target that failed for `down_after` told to the others, and when it works again.

    What it knows is stored with the source whose delivery failed first, so that it outlives a restart; what
    an earlier process left is told only once the target fails again.
    """

    def __init__(
        self,
        state: State,
        *,
        sources: Collection[str],
        down_after: timedelta,
        tell: Tell,
        now: Callable[[], datetime],
    ) -> None:
        self._state = state
        self._down_after = down_after
        self._tell = tell
        self._now = now
        self._failing = {
            target: (source, outage)
            for source, record in state.records.sources().items()
            for target, outage in record.outages.items()
            if source in sources
        }
        self._heard: set[str] = set()
        """The targets that failed in this process, and have not worked since."""
        self._over: list[tuple[str, str, Outage]] = []

    def heard(self, source: str, target: str, error: SendError | None) -> bool:
        """Note how an attempt ended; return whether `tell_due` has something to do because of it.

        A refusal is an answer: it ends what nobody was told of yet, and says nothing of more. So is that too
        much is sent, which says nothing at all.
        """
        is_told = target in self._failing and self._failing[target][1].told
        if error is None or (error.refused is not None and not is_told):
            self._heard.discard(target)
            if (failing := self._failing.pop(target, None)) is None:
                return False
            self._over.append((failing[0], target, failing[1]))
            return True
        if error.is_answer:
            return False
        is_new = target not in self._heard
        self._heard.add(target)
        first, outage = self._failing.get(target, (source, Outage(since=self._now(), reason="")))
        self._failing[target] = (first, msgspec.structs.replace(outage, reason=error.reason))
        return is_new

    async def tell_due(self) -> timedelta | None:
        """Tell what is to be told now, and store the rest; return how long to wait until the next is due."""
        while self._over:
            source, target, outage = self._over.pop(0)
            if outage.told:
                up = partial(tell_up, outage=outage, source=source, target=target, now=self._now())
                await self._tell(source, target, up)
            else:
                await self._store(source, target, None)
        waits = [await self._look(target) for target in sorted(self._heard)]
        return min((wait for wait in waits if wait is not None), default=None)

    async def _look(self, target: str) -> timedelta | None:
        """Tell or store what a target's failing is now: it may have worked while others were told."""
        if target not in self._failing or (found := self._failing[target])[1].told:
            return None
        (source, outage), now = found, self._now()
        if outage.since > now:  # the clock was set back: nobody is to wait for it
            outage = msgspec.structs.replace(outage, since=now)
        wait = outage.since + self._down_after - now
        if wait <= timedelta(0):
            outage = msgspec.structs.replace(outage, told=True)
        self._failing[target] = (source, outage)
        if outage.told:
            await self._tell(
                source, target, partial(tell_down, outage=outage, source=source, target=target, now=now)
            )
            return None
        stored = present(self._state.records.source(source)).outages.get(target)
        if stored is None or stored.since != outage.since:
            await self._store(source, target, outage)
        return wait

    async def _store(self, source: str, target: str, outage: Outage | None) -> None:
        await self._state.commit(sources={source: partial(_with, target=target, outage=outage)})


def _with(record: SourceRecord | None, *, target: str, outage: Outage | None) -> SourceRecord:
    return with_outage(present(record), target, outage)
