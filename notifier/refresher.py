"""The cards of one target, kept true between the events that it is sent."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial

import msgspec

from notifier.edits import Edits
from notifier.fingerprint import snapshot_print
from notifier.model import Card, JobKey, JobRecord, RecordKey, is_active, utc_now
from notifier.outbox import pending
from notifier.rate import outdated_at
from notifier.report import raised_in
from notifier.sending import CardLostError, Cards, SendError
from notifier.state import State
from notifier.summary import one_line
from notifier.turn import Turn

_log = logging.getLogger(__name__)

_FIRST_REST_SECONDS = 5.0
_LONGEST_REST_SECONDS = 60.0
_LONGEST_EDIT_SECONDS = 300.0
_FIRST_BLOCK_SECONDS = 600.0
_LONGEST_BLOCK_SECONDS = 3600.0
_FORGET_FROM = 1000
_FOR_THE_LANE_SECONDS = 5.0
"""How long an event that is about to be sent may take: it brings its card up to date itself."""


class Refresher:
    """Edits each card that does not show its job as it is, the newest state only.

    Nothing is stored of what is still to be edited: what a card shows stands in the job's record, and is
    compared with the job after every change and after a start. `heard` is told of each edit that failed, and
    of the first one after that which did not, with the job's source and the target.
    """

    def __init__(
        self,
        name: str,
        cards: Cards,
        *,
        state: State,
        heard: Callable[[str, str, SendError | None], None] = lambda *_: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self._cards = cards
        self._state = state
        self._heard = heard
        self._now = now
        self._edits = Edits(cards.allowance, spare=cards.spare)
        self._jobs: set[JobKey] = set()
        """Those that have a card; some of them may be forgotten by now."""
        self._most_jobs = _FORGET_FROM
        self._for_the_lane: dict[JobKey, float] = {}
        """Until when those wait whose events are about to be sent."""
        self.failures = 0
        """Edits that failed since the start."""
        self._failures = 0
        """Of these the last ones in a row."""
        self._blocked: dict[JobKey, tuple[int, float, int]] = {}
        """How often a card was refused to be edited, until when it is left alone, and at which event."""
        self._rests = 0
        self._wake = asyncio.Event()

    async def resume(self, sources: Collection[str]) -> None:
        """Look at all stored cards whose jobs are active, or are not what they were when last shown.

        Those of other sources than these are left as they are: nobody knows their jobs any more.
        """
        turn = Turn()
        for key, record in self._state.records.jobs():
            await turn.pass_on()
            card = record.cards.get(self.name)
            if card is None or key[0] not in sources:
                continue
            self._jobs.add(key)
            is_same = card.seq == record.seq and card.job == snapshot_print(record.snapshot)
            if is_active(record.snapshot.status) or not is_same:
                self._ask(key, record, card)

    def sent(self, keys: Collection[RecordKey]) -> None:
        """Look at the cards of jobs that something was just sent about; there may be new ones."""
        for source, job_id in keys:
            if job_id is not None:
                self._jobs.add((source, job_id))
        if len(self._jobs) > self._most_jobs:
            self._jobs = {key for key in self._jobs if key[1] in self._state.records.job_ids(key[0])}
            self._most_jobs = 2 * len(self._jobs) + _FORGET_FROM
        self.look(keys)

    def look(self, keys: Collection[RecordKey]) -> None:
        """Look at the cards of jobs that have just changed."""
        for source, job_id in keys:
            if job_id is None or (key := (source, job_id)) not in self._jobs:
                continue
            record = self._state.records.job(key)
            card = None if record is None else record.cards.get(self.name)
            if record is None or card is None:
                self._jobs.discard(key)
            else:
                self._ask(key, record, card)

    def works(self) -> None:
        """Note that the target took something: there is no reason to rest any more."""
        if self._rests:
            self._rests = 0
            self._edits.rest_no_more()
            self._wake.set()

    async def run(self) -> None:
        """Edit what is to be edited, when it may be, until cancelled.

        Raises StoreError when the state fails.
        """
        while True:
            self._wake.clear()
            await self.work_off()
            due = self._edits.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def work_off(self) -> None:
        """Edit what may be edited now."""
        turn = Turn()
        while (key := self._edits.take(time.monotonic())) is not None:
            await turn.pass_on()
            await self._bring_up_to_date(key)

    def _ask(self, key: JobKey, record: JobRecord, card: Card) -> None:
        now = time.monotonic()
        _, until, seq = self._blocked.get(key, (0, now, 0))
        if until > now and seq == record.seq:
            self._edits.put_off(key, until)
        elif card.seq == record.seq and card.shown:
            self._edits.ask(key, now + self._wait(card).total_seconds())
        elif any(delivery.target == self.name for delivery in pending(record)):
            until = self._for_the_lane.setdefault(key, now + _FOR_THE_LANE_SECONDS)
            self._edits.put_off(key, until)
        else:
            self._for_the_lane.pop(key, None)
            self._edits.ask_for_event(key)
        self._wake.set()

    def _wait(self, card: Card) -> timedelta:
        """Return how long a card whose job only progresses is to be left alone."""
        since_edit = self._now() - card.edited_at
        if since_edit < timedelta(0):  # the clock was set back: nobody is to wait for it
            return timedelta(0)
        return max(timedelta(0), self._cards.refresh - since_edit)

    async def _bring_up_to_date(self, key: JobKey) -> None:
        record = self._state.records.job(key)
        card = None if record is None else record.cards.get(self.name)
        self._for_the_lane.pop(key, None)
        if record is None or card is None:
            return
        if card.seq == record.seq and card.shown and self._wait(card):
            self._ask(key, record, card)  # it was edited since it was asked for
            return
        try:
            # An edit ends by itself: this is for one that does not.
            async with asyncio.timeout(_LONGEST_EDIT_SECONDS):
                edited = await self._cards.edit(card, record, source=key[0], job_id=key[1])
        except TimeoutError:
            self._failed(key, record, SendError("no answer in time"))
        except CardLostError as error:
            what = f"the card of job {key[1]} can no longer be edited: {error}"
            what += "; its next event makes a new one"
            _log.info("%s: %s", self.name, one_line(what, 400))
            self._end_failures(key[0])
            await self._state.commit(jobs={key: partial(_with_card, target=self.name, old=card, new=None)})
        except SendError as error:
            self._failed(key, record, error)
        except Exception as error:  # noqa: BLE001 - one bad card must not stop the service
            self.failures += 1
            self._block(key, record, f"{type(error).__name__} {raised_in(error)}")
        else:
            self._blocked.pop(key, None)
            if edited.shown != card.shown:
                self._end_failures(key[0])
            if edited is not card:
                await self._state.commit(
                    jobs={key: partial(_with_card, target=self.name, old=card, new=edited)}
                )
            self._look_when_outdated(key, record)

    def _failed(self, key: JobKey, record: JobRecord, error: SendError) -> None:
        self.failures += 1
        if error.is_final:
            self._block(key, record, error.reason)
            return
        self._failures += 1
        if self._failures == 1:
            _log.warning("%s: cards cannot be edited: %s; tried again", self.name, error.reason)
        if error.retry_after is not None or error.is_throttled:
            self.look([key])  # the allowance knows until when
            return
        self._heard(key[0], self.name, error)
        rest = min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2 ** min(self._rests, 10))
        self._rests += 1
        self._edits.rest(time.monotonic() + rest)
        self.look([key])

    def _block(self, key: JobKey, record: JobRecord, reason: str) -> None:
        """Leave a card alone until its job's next event, or for ten minutes that double to an hour.

        That says nothing of the other cards.
        """
        count, _, _ = self._blocked.get(key, (0, 0.0, 0))
        wait = min(_LONGEST_BLOCK_SECONDS, _FIRST_BLOCK_SECONDS * 2 ** min(count, 10))
        until = time.monotonic() + wait
        self._blocked[key] = (count + 1, until, record.seq)
        self._edits.put_off(key, until)
        if count == 0:
            what = f"the card of job {key[1]} was not edited: {reason}; tried again"
            _log.warning("%s: %s", self.name, one_line(what, 400))

    def _end_failures(self, source: str) -> None:
        self._rests = 0
        if self._failures:
            self._failures = 0
            self._heard(source, self.name, None)  # else it says nothing: posts may fail where edits do not
            _log.info("%s: cards are edited again", self.name)

    def _look_when_outdated(self, key: JobKey, record: JobRecord) -> None:
        at = outdated_at(record.snapshot.samples)
        if at is not None and (wait := at - self._now()) > timedelta(0):
            self._edits.ask(key, time.monotonic() + wait.total_seconds())


def _with_card(record: JobRecord | None, *, target: str, old: Card, new: Card | None) -> JobRecord | None:
    """Return the newest record with a card replaced, unless it is another message by now."""
    if record is None:
        return None
    present = record.cards.get(target)
    if present is None or present.ts != old.ts or present.channel != old.channel:
        return record
    cards = {name: card for name, card in record.cards.items() if name != target}
    return msgspec.structs.replace(record, cards=cards if new is None else cards | {target: new})
