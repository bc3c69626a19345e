"""What a good poll found out about jobs."""

from datetime import datetime

import msgspec

from notifier.announcement import Change
from notifier.model import Known, Mute


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What is new about a job."""

    change: Change
    known: Known | None
    """What people know of it from now on; None when that is all."""
    mutes: tuple[Mute, ...] = ()
    """Those that keep its events from everybody."""


class Findings(msgspec.Struct, kw_only=True):
    """What a poll found, as far as it was looked at."""

    source_id: str
    mutes: tuple[Mute, ...]
    now: datetime
    clock_was_set: bool
    news: dict[str, News] = {}
    digests: dict[str, int] = {}
    look_again: dict[str, datetime | None] = {}
    """When each job that was looked at says something new by staying as it is."""
    withheld: dict[str, bool] = {}
    """Whether a mute has kept something of each job that was looked at."""
    listed: frozenset[str] = frozenset()
    """The jobs that the poll found; none when there was no poll."""
    missed: set[str] = set()
    """The jobs that were not listed, while it is counted how often."""
    settled: set[str] = set()
    """The jobs that were not listed, and of which that says nothing new any more."""

    def holding(self) -> frozenset[str]:
        """Return the ids of the mutes that hold."""
        return frozenset(mute.id for mute in self.mutes if self.now < mute.until)
