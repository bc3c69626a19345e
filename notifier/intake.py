"""What a good poll changes in the records, for one commit: pure."""

from collections.abc import Mapping, Sequence

import msgspec

from notifier.findings import News
from notifier.listing import Listing
from notifier.model import JobRecord, SourceRecord
from notifier.mute import with_suppressed
from notifier.outbox import absorb, present
from notifier.source import SourceError


def organization_of(record: SourceRecord, listing: Listing) -> str | None:
    """Return the organisation of the source, as far as it is known.

    Raises SourceError when it is another one than before: all of its jobs would look new.
    """
    ids = listing.organization_ids
    if record.organization_id is None:
        return next(iter(ids)) if len(ids) == 1 else None
    if ids and record.organization_id not in ids:
        raise SourceError(
            "refused",
            "the API key is for another organisation than the stored state of this source. "
            "Put the right key back, or give the source another name to start anew with a baseline",
        )
    return record.organization_id


def note(
    record: SourceRecord | None, *, noted: SourceRecord | None, suppressed: Mapping[str, int]
) -> SourceRecord:
    """Return the newest record, or the first one, with what a poll noted and what mutes kept."""
    newest = record or present(noted)
    if noted is not None:
        newest = msgspec.structs.replace(
            newest, baseline_at=noted.baseline_at, organization_id=noted.organization_id
        )
    return with_suppressed(newest, suppressed) if suppressed else newest


def take_in(
    record: JobRecord | None, *, news: News, targets: Mapping[str, Sequence[str]]
) -> JobRecord | None:
    """Return a job's record with what is new about it, None when the job was forgotten meanwhile.

    `targets` has the names of the targets by the event's id.
    """
    change = news.change
    if record is None and change.snapshot.missing_since is not None:
        return None
    return absorb(
        record,
        snapshot=change.snapshot,
        seq=change.seq,
        events=change.events,
        targets=targets,
        known=news.known,
    )
