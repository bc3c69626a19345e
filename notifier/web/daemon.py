"""What a daemon is asked about over HTTP."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path

import msgspec

from notifier.catalogue import Catalogue
from notifier.difference import Reloaded
from notifier.hours import QuietNow
from notifier.meter import Meter
from notifier.model import PollReport, utc_now
from notifier.muting import Muting
from notifier.quiet import QuietSettings
from notifier.records import Records
from notifier.replays import Order


class Daemon(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is asked about."""

    records: Records
    targets: Collection[str]
    """The names of the targets that are configured."""
    retry: Callable[[Order], Awaitable[list[str]]]
    """Makes dead letters pending again. Raises RefusedOrderError."""
    muting: Muting
    polls: Callable[[], Mapping[str, PollReport]]
    """Returns how the polls of each source are going."""
    state_path: Path
    started_at: datetime
    quiet: Callable[[], Mapping[str, QuietSettings]] = dict
    """Returns the quiet hours of the targets that have some."""
    reload: Callable[[], Awaitable[Reloaded]] | None = None
    """Has the config read again and followed; None where that cannot be done. Raises ConfigError."""
    meter: Meter = msgspec.field(default_factory=Meter)
    """What counts for Prometheus."""
    vitals: Callable[[], list[str]] = list
    """Returns what of the process is dead, a reason each."""

    @cached_property
    def catalogue(self) -> Catalogue:
        """Of its records: one for all that asks."""
        return Catalogue(self.records)

    @property
    def quiet_now(self) -> QuietNow:
        """Which targets are quiet just now."""
        return QuietNow(hours=self.quiet(), now=utc_now())
