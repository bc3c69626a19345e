"""What a daemon is doing, in one line that a service manager shows. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from notifier.duration import spell_duration
from notifier.outages import Party, outages_of
from notifier.records import Records
from notifier.summary import counted

_MINUTE = timedelta(minutes=1)


def overview(
    records: Records,
    *,
    listed: Mapping[str, tuple[int, int] | None],
    waiting: Mapping[str, int],
    now: datetime,
) -> str:
    """Return the line. It costs the same however many jobs there are.

    `listed` has for each source how many jobs its last listing had, and how many of them were active;
    `waiting` for each target how many deliveries wait.
    """
    known = [each for each in listed.values() if each is not None]
    jobs = counted(sum(jobs for jobs, _ in known), "job")
    watched = (
        f"watching {jobs}, {sum(active for _, active in known):,} active" if known else "no good poll yet"
    )
    pending = counted(sum(waiting.values()), "delivery", "deliveries")
    failing = [
        _failing(party, now - outage.since)
        for source in listed
        if (record := records.source(source)) is not None
        for party, outage in outages_of(source, record).items()
        if party.name in waiting or not party.is_target
    ]
    return "; ".join([watched, f"{pending} pending, {records.dead:,} dead", *failing])


def _failing(party: Party, length: timedelta) -> str:
    if length < _MINUTE:
        return f"{party} fails"
    # In whole minutes: a line that says something else each second would have to be told each second.
    return f"{party} has failed for {spell_duration(length // _MINUTE * _MINUTE)}"
