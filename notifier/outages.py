"""Sources and targets that fail for long, told to people: pure (contract, section 3, `*.down` and `*.up`)."""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from notifier.duration import spell_duration
from notifier.model import Event, Outage, SourceRecord
from notifier.notice import make_notice
from notifier.summary import one_line

_REASON = 300
_REST = timedelta(minutes=1)
_OFFLINE = "nothing can be reached, no source and no target: this machine seems to be offline"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """When a party that fails is told."""

    down_after: timedelta = timedelta(minutes=5)
    remind_every: timedelta = timedelta(0)
    """Zero is never."""
    rests: bool = False
    """Whether it is left alone just now: then only another failure says that it still fails."""
    rested: timedelta = timedelta(0)
    """How long it was left alone since it fails."""


class Party(NamedTuple):
    """A source or a target: what may fail."""

    name: str
    is_target: bool

    @property
    def target(self) -> str | None:
        """The target that it is."""
        return self.name if self.is_target else None

    def __str__(self) -> str:
        """Return what it is called in messages."""
        return f"{'target' if self.is_target else 'source'} {self.name}"


def outages_of(source: str, record: SourceRecord) -> dict[Party, Outage]:
    """Return what is stored of parties that fail."""
    found = {Party(name, is_target=True): outage for name, outage in record.outages.items()}
    return found if record.outage is None else {Party(source, is_target=False): record.outage, **found}


def with_outage(record: SourceRecord, party: Party, outage: Outage | None) -> SourceRecord:
    """Return the record with what is known of a party that fails; with None without it."""
    if not party.is_target:
        return msgspec.structs.replace(record, outage=outage)
    others = {name: each for name, each in record.outages.items() if name != party.name}
    return msgspec.structs.replace(
        record, outages=others if outage is None else others | {party.name: outage}
    )


def wait_until_told(outage: Outage, *, failed_at: datetime, terms: Terms, now: datetime) -> timedelta | None:
    """Return how long it is until something is to be told of a party that fails; None when nothing is.

    `failed_at` is when it last failed. What was told as this machine reaching nobody is told anew when it
    still fails so long after the machine was back.
    """
    if outage.told_at is None:
        if failed_at - outage.since >= terms.down_after:
            return timedelta(0)
        return _REST if terms.rests else outage.since + terms.down_after + terms.rested - now
    waits = []
    if outage.offline == "over":
        waits.append(outage.told_at + terms.down_after - now)
    if terms.remind_every:
        waits.append(min(outage.told_at, now) + terms.remind_every - now)
    if waits and terms.rests and failed_at <= outage.told_at:
        return _REST
    return min(waits, default=None)


def came_back(outage: Outage, now: datetime) -> Outage:
    """Return what is known of a party that fails, as this machine has just reached somebody again.

    What nobody was told of begins anew: it had no chance before.
    """
    if outage.offline == "now":
        return msgspec.structs.replace(outage, offline="over", told_at=now)
    return outage if outage.told_at is not None else msgspec.structs.replace(outage, since=now)


def tell_down(
    record: SourceRecord, *, outage: Outage, source: str, party: Party, now: datetime, offline: bool = False
) -> tuple[SourceRecord, Event]:
    """Return the event that says that a party fails, and the record that knows that it was told.

    It may have been told before. `offline` says that it is this machine that reaches nobody.
    """
    reason = one_line(outage.reason, _REASON)
    if offline:
        reason = one_line(f"{_OFFLINE} ({reason})", _REASON)
    what = "has failed for" if party.is_target else "has had no good poll for"
    still = "" if outage.told_at is None else "still "
    summary = f"{party} {still}{what} {_length(outage, now)}: {reason}"
    told = with_outage(record, party, told_down(outage, now, offline=offline))
    return make_notice(
        told,
        _type(party, "down"),
        source=source,
        target=party.target,
        summary=summary,
        reason=reason,
        again=outage.told_at is not None and outage.offline != "over",  # that has a reason nobody knows yet
        now=now,
    )


def told_down(outage: Outage, now: datetime, *, offline: bool) -> Outage:
    """Return what is known of a party that fails, once that was told."""
    return msgspec.structs.replace(
        outage,
        told_at=now,
        offline="now" if offline else "",
        told_all=offline or outage.told_all,
    )


def tell_up(
    record: SourceRecord, *, outage: Outage, source: str, party: Party, now: datetime
) -> tuple[SourceRecord, Event]:
    """Return the event that says that a party works again, and the record without its outage."""
    words = "works again" if party.is_target else "answers again"
    summary = f"{party} {words} after {_length(outage, now)}"
    over = with_outage(record, party, None)
    return make_notice(
        over, _type(party, "up"), source=source, target=party.target, summary=summary, reason=None, now=now
    )


def _type(party: Party, way: str) -> str:
    return f"{'target' if party.is_target else 'source'}.{way}"


def _length(outage: Outage, now: datetime) -> str:
    return spell_duration(max(timedelta(0), now - outage.since))
