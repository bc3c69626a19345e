"""The statuses that a job was in, and for how long, as mrkdwn: pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest

from notifier.duration import spell_duration
from notifier.model import JobRecord, Phase
from notifier.payload import Payload
from notifier.targets.slack.mrkdwn import local_time, plain

_SHOWN_PHASES = 6


def phases_at(payload: Payload, record: JobRecord | None) -> tuple[Phase, ...]:
    """Return the phases of a job until an event of it; none when the record does not know them."""
    observed = datetime.fromisoformat(payload.timestamp)
    phases = () if record is None else record.snapshot.phases
    before = tuple(phase for phase in phases if phase.since is None or phase.since <= observed)
    return before if before and before[-1].status == payload.data.status else ()


def phase_line(phases: Sequence[Phase], *, active: bool) -> str:
    """Return a line such as `staging 12m → transporting since Jan 31 at 10:30`; "" for a single phase."""
    return " → ".join(_phases(phases, active=active)) if len(phases) > 1 else ""


def _phases(phases: Sequence[Phase], *, active: bool) -> Iterator[str]:
    if len(phases) > _SHOWN_PHASES:
        yield "…"
    shown = phases[-_SHOWN_PHASES:]
    for phase, following in zip_longest(shown, shown[1:]):
        name = plain(phase.status, 30) or "no status"
        if following is None:
            since = "" if phase.since is None else local_time(phase.since)
            yield f"{name} {'since ' if active else ''}{since}" if since else name
        elif phase.since is None or following.since is None or following.since < phase.since:
            yield name
        else:
            yield f"{name} {spell_duration(following.since - phase.since)}"
