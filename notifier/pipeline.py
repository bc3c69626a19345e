"""The flow: what the watchers observe is committed, what is committed the dispatchers deliver."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from notifier.dispatcher import Dispatcher
from notifier.model import Event, JobKey, JobRecord, utc_now
from notifier.outbox import LOST_SOURCE, LOST_TARGET, abandon, delivery_id, pending
from notifier.state import State
from notifier.summary import counted

_log = logging.getLogger(__name__)


class Pipeline:
    """Joins the parts: events of any source go to the dispatchers of their targets."""

    def __init__(
        self,
        state: State,
        dispatchers: Mapping[str, Dispatcher],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._state = state
        self._dispatchers = dispatchers
        self._now = now

    def pass_on(self, key: JobKey, event: Event, targets: Sequence[str]) -> None:
        """Queue the deliveries of an event that was just committed."""
        for target in targets:
            self._dispatchers[target].add(key, delivery_id(event.id, target))

    async def resume(self, sources: Collection[str]) -> None:
        """Queue what the stored outbox still owes.

        What it owes to a target, or for a source, that is no longer configured becomes dead.
        """
        lost: dict[JobKey, Callable[[JobRecord | None], JobRecord]] = {}
        for key, record in self._state.records.jobs():
            targets = self._dispatchers if key[0] in sources else ()
            for delivery in pending(record):
                if delivery.target in targets:
                    self._dispatchers[delivery.target].resume(key, delivery)
                else:
                    lost[key] = partial(
                        _abandon,
                        targets=tuple(targets),
                        reason=LOST_TARGET if key[0] in sources else LOST_SOURCE,
                        now=self._now(),
                    )
        if lost:
            await self._state.commit(jobs=lost)
            what = counted(len(lost), "job")
            _log.warning("gave up deliveries of %s: their source or target is no longer configured", what)
        if waiting := sum(map(len, self._dispatchers.values())):
            what = counted(waiting, "delivery", "deliveries")
            _log.info("%s from before still to be made", what)


def _abandon(record: JobRecord | None, *, targets: Sequence[str], reason: str, now: datetime) -> JobRecord:
    if record is None:
        raise LookupError("no record to give up deliveries of")
    return abandon(record, targets=targets, reason=reason, now=now)
