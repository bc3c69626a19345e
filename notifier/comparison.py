"""Good polls of one source, compared with what is known of its jobs: what they say that is new."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import msgspec
import xxhash

from notifier.absence import found, is_counted, missed
from notifier.agenda import Agenda
from notifier.announcement import Change, Origin
from notifier.diff import diff
from notifier.element import Details, read_details
from notifier.findings import Findings, News
from notifier.listing import Element, Listing
from notifier.model import JobRecord, Known, Mute
from notifier.mute import catch_up, is_transition_told, known_of, muting
from notifier.outbox import present
from notifier.patience import as_stored, lapse, look_again_at, restart
from notifier.records import Records
from notifier.rules import RuleBook, Rules
from notifier.turn import Turn

_LOOK_AGAIN = timedelta(minutes=1)


class Comparison:
    """Finds what is new, a poll after the other.

    What it remembers itself need not survive. It is given what was found to `remember` once that is durable.
    """

    def __init__(self, source: str, records: Records, *, rules: RuleBook) -> None:
        self._source = source
        self._records = records
        self._rules = rules
        self._digests: dict[str, int] = {}
        """Of each job's element as last received: one that is the same is not looked into."""
        self._missing: set[str] = set()
        """The jobs whose records say all that can be said of a job that is not listed."""
        self._listed_ids: frozenset[str] = frozenset()
        """The jobs of the last listing."""
        self._counted: set[str] = set()
        """The jobs that are not listed, while it is counted how often."""
        self._agenda = Agenda()
        self._withheld: set[str] = set()
        self._mutes: frozenset[str] = frozenset()
        """Those that held when it was last looked for what they have kept."""

    async def take_in(
        self, listing: Listing, *, source_id: str, announce: bool, now: datetime, clock_was_set: bool
    ) -> Findings:
        """Return what is new by a listing."""
        findings = self._begin(source_id, now, clock_was_set=clock_was_set)
        self._listed_ids = findings.listed = frozenset(element.job_id for element in listing.elements)
        source = self._records.source(self._source)
        forgotten_seq = 0 if source is None else source.forgotten_seq
        turn = Turn()
        for element in listing.elements:
            await turn.pass_on()
            digest = xxhash.xxh3_64_intdigest(element.raw)
            if self._digests.get(element.job_id) == digest:
                continue
            findings.digests[element.job_id] = digest
            self._look(
                findings,
                element.job_id,
                partial(self._listed, findings, element, announce=announce, forgotten_seq=forgotten_seq),
            )
        await self._call_the_roll(findings, listing)
        await self._look_at_the_rest(findings)
        return findings

    async def pass_time(
        self, *, source_id: str, now: datetime, proves_absence: bool, clock_was_set: bool
    ) -> Findings:
        """Return what is new although the listing is the same as before: that it still is."""
        findings = self._begin(source_id, now, clock_was_set=clock_was_set)
        findings.listed = self._listed_ids
        if proves_absence:
            await self._miss(findings, sorted(self._counted))
        await self._look_at_the_rest(findings)
        return findings

    async def end_mutes(self, *, source_id: str, now: datetime) -> Findings:
        """Return what is to be told without a poll: what a mute that has ended kept from people."""
        findings = self._begin(source_id, now, clock_was_set=False)
        await self._look_at_withheld(findings, Turn())
        return findings

    def remember(self, findings: Findings) -> None:
        """Take what was found, and is durable now, for known."""
        self._digests.update(findings.digests)
        for job_id, due in findings.look_again.items():
            self._agenda.put(job_id, due)
        for job_id, is_withheld in findings.withheld.items():
            (self._withheld.add if is_withheld else self._withheld.discard)(job_id)
        for job_id in findings.missed:
            self._digests.pop(job_id, None)  # when it is listed again that is news
        self._missing |= findings.settled
        self._counted = (self._counted | findings.missed) - findings.settled
        self._mutes = findings.holding()

    def _begin(self, source_id: str, now: datetime, *, clock_was_set: bool) -> Findings:
        record = self._records.source(self._source)
        mutes = () if record is None else record.mutes
        return Findings(source_id=source_id, mutes=mutes, now=now, clock_was_set=clock_was_set)

    async def _call_the_roll(self, findings: Findings, listing: Listing) -> None:
        """Look at the jobs that are not listed, but for those of which that says nothing new."""
        listed = findings.listed
        known = self._records.job_ids(self._source)
        for job_id in listing.rejected_ids - listed:
            record = self._records.job((self._source, job_id))
            if record is not None and record.snapshot.missing_since is not None:
                self._look(findings, job_id, lambda record: found(_stored(present(record))))
        self._missing &= known - listed - listing.rejected_ids
        self._counted &= known - listed - listing.rejected_ids
        if listing.proves_absence:
            await self._miss(findings, known - listed - self._missing - listing.rejected_ids)

    async def _miss(self, findings: Findings, job_ids: Iterable[str]) -> None:
        turn = Turn()
        for job_id in list(job_ids):
            await turn.pass_on()
            record = self._records.job((self._source, job_id))
            if record is not None and is_counted(record.snapshot):
                findings.missed.add(job_id)
                self._look(findings, job_id, partial(self._missed, findings, job_id))
                continue
            findings.settled.add(job_id)
            if record is not None and record.known is not None:
                self._look(findings, job_id)

    async def _look_at_the_rest(self, findings: Findings) -> None:
        """Look at the jobs of which nothing has changed, and something is to be said all the same."""
        turn = Turn()
        due = self._agenda.due(findings.now)
        if findings.clock_was_set:
            due += [*self._agenda, *sorted(self._counted)]
        for job_id in due:
            await turn.pass_on()
            if self._is_to_be_looked_at(findings, job_id):
                self._look(findings, job_id)
        await self._look_at_withheld(findings, turn)

    async def _look_at_withheld(self, findings: Findings, turn: Turn) -> None:
        if self._mutes <= findings.holding():
            return  # none has ended
        for job_id in sorted(self._withheld):
            await turn.pass_on()
            if self._is_to_be_looked_at(findings, job_id):
                self._look(findings, job_id)

    def _is_to_be_looked_at(self, findings: Findings, job_id: str) -> bool:
        return job_id not in findings.look_again and job_id in self._records.job_ids(self._source)

    def _listed(
        self,
        findings: Findings,
        element: Element,
        record: JobRecord | None,
        *,
        announce: bool,
        forgotten_seq: int,
    ) -> Change | None:
        return diff(
            record,
            element,
            origin=Origin(self._source, findings.source_id, element.job_id),
            announce=announce,
            rules=self._rules_of(element.raw),
            now=findings.now,
            forgotten_seq=forgotten_seq,
        )

    def _missed(self, findings: Findings, job_id: str, record: JobRecord | None) -> Change:
        origin = Origin(self._source, findings.source_id, job_id)
        return missed(_stored(present(record)), origin=origin, now=findings.now)

    def _look(
        self,
        findings: Findings,
        job_id: str,
        observe: Callable[[JobRecord | None], Change | None] = lambda _: None,
    ) -> None:
        """Note what is new about a job: what is observed of it, what it means that time has passed.

        Of what a mute that has ended kept from people that comes first, unless its status is told anyway.
        """
        origin = Origin(self._source, findings.source_id, job_id)
        record = self._records.job((self._source, job_id))
        change = self._lapsed(findings, record, observe(record), origin)
        if record is not None and record.known is not None:
            of_now = change or _stored(record)
            is_muted = muting(findings.mutes, job_id, of_now.details, findings.now)
            if not is_muted and not (change is not None and is_transition_told(change)):
                told = catch_up(_stored(record), record.known, origin=origin, now=findings.now)
                newest = msgspec.structs.replace(record, snapshot=told.snapshot, seq=told.seq, known=None)
                since = self._lapsed(findings, newest, observe(newest), origin)
                change = told if since is None else _joined(told, since)
        self._note(findings, job_id, record, change)

    def _lapsed(
        self, findings: Findings, record: JobRecord | None, change: Change | None, origin: Origin
    ) -> Change | None:
        """Return the change, if any, with what it means that time has passed."""
        if change is None:
            stored = present(record)
            due = look_again_at(stored.snapshot, self._rules_of(stored.snapshot.element), findings.now)
            if not findings.clock_was_set and (due is None or due > findings.now):
                return None
        base = change or _stored(present(record))
        restarted = restart(base, findings.now) if findings.clock_was_set else None
        if origin.job_id not in findings.listed:
            return restarted or change  # nobody has seen how it is now
        rules = self._rules_of(base.snapshot.element)
        is_muted = muting(findings.mutes, origin.job_id, base.details, findings.now)
        if is_muted or (record is not None and record.known is not None):
            # Nobody can be reminded of what nobody heard of.
            rules = msgspec.structs.replace(rules, remind_every=timedelta(0))
        lapsed = lapse(restarted or base, origin=origin, rules=rules, now=findings.now)
        return lapsed or restarted or change

    def _note(self, findings: Findings, job_id: str, record: JobRecord | None, change: Change | None) -> None:
        """Note a job that was looked at, and what is new about it, if that is anything."""
        before = None if record is None else record.known
        of_now = change
        if of_now is None and before is not None:
            of_now = _stored(present(record))
        known: Known | None = None
        mutes: tuple[Mute, ...] = ()
        if of_now is not None and findings.mutes and (of_now.events or before is not None):
            mutes = muting(findings.mutes, job_id, of_now.details, findings.now)
            if mutes:
                known = known_of(record) if of_now.events else before
                of_now = _muted(of_now, mutes[0])
        if of_now is not None and (change is not None or known != before):
            findings.news[job_id] = News(change=of_now, known=known, mutes=mutes)
        snapshot = of_now.snapshot if of_now is not None else present(record).snapshot
        due = look_again_at(snapshot, self._rules_of(snapshot.element), findings.now)
        if due is not None and due <= findings.now:  # a reminder that a mute holds back
            due = findings.now + _LOOK_AGAIN
        findings.look_again[job_id] = due
        findings.withheld[job_id] = known is not None

    def _rules_of(self, element: msgspec.Raw) -> Rules:
        return self._rules.of(Details() if self._rules.is_same_for_all else read_details(element))


def _stored(record: JobRecord) -> Change:
    return as_stored(record.snapshot, record.seq)


def _muted(change: Change, mute: Mute) -> Change:
    events = tuple(msgspec.structs.replace(event, mute=mute.id) for event in change.events)
    return msgspec.structs.replace(change, events=events)


def _joined(first: Change, second: Change) -> Change:
    return msgspec.structs.replace(second, events=(*first.events, *second.events))
