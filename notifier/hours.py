"""The quiet hours of targets that may have none: what they mean for lanes and deliveries. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec

from notifier.model import Delivery
from notifier.quiet import QuietSettings, is_excepted, quiet_until, quiet_within
from notifier.summary import counted

_LOOK = timedelta(minutes=1)
"""How often it is looked whether it is still quiet: clocks are set, and machines sleep."""
_NONE = timedelta(0)


class QuietNow(msgspec.Struct, frozen=True, kw_only=True):
    """Which targets are quiet at a time."""

    hours: Mapping[str, QuietSettings]
    """Of the targets that have some, by name."""
    now: datetime

    def until(self, target: str) -> datetime | None:
        """Return until when a target is quiet; None when it is not."""
        return quiet_until(self.hours[target], self.now) if target in self.hours else None

    def holds(self, delivery: Delivery, type_: str) -> datetime | None:
        """Return until when a delivery, of an event of this type, is held; None when it is not."""
        if delivery.state != "pending" or delivery.replay or delivery.target not in self.hours:
            return None
        return None if is_excepted(self.hours[delivery.target], type_) else self.until(delivery.target)


NEVER_QUIET = QuietNow(hours=MappingProxyType({}), now=datetime.min.replace(tzinfo=UTC))
"""No target has quiet hours, or nobody knows of them."""


class QuietHours:
    """When a target is left in peace, what goes all the same, and what is told of it."""

    def __init__(self, settings: QuietSettings | None) -> None:
        self._settings = settings
        self._told = False

    @property
    def excepts_any(self) -> bool:
        """Whether some type of event goes also when it is quiet."""
        return self._settings is not None and bool(self._settings.excepted)

    def excepts(self, type_: str) -> bool:
        """Return whether events of a type go also when it is quiet."""
        return self._settings is not None and is_excepted(self._settings, type_)

    def until(self, now: datetime) -> datetime | None:
        """Return until when it is quiet; None when it is not."""
        return None if self._settings is None else quiet_until(self._settings, now)

    def look_after(self, now: datetime) -> timedelta | None:
        """Return when to look again whether it is quiet; None when it is not."""
        until = self.until(now)
        return None if until is None else min(until - now, _LOOK)

    def held(self, delivery: Delivery) -> bool:
        """Return whether a delivery was held, unless its event is excepted."""
        return not delivery.attempts and not delivery.replay and self.until(delivery.created_at) is not None

    def within(
        self, since: datetime, until: datetime, *, pauses: Iterable[tuple[datetime, datetime]]
    ) -> timedelta:
        """Return how much of a time was quiet, but for the pauses in it."""
        if self._settings is None:
            return _NONE
        paused = sum((quiet_within(self._settings, *pause) for pause in pauses), _NONE)
        return quiet_within(self._settings, since, until) - paused

    def news(self, until: datetime | None, asleep: Callable[[], int]) -> str | None:
        """Return what is to be told: once that it is quiet and something sleeps, then once that it is over.

        It is quiet until `until`; `asleep` counts the deliveries that sleep, or did until now.
        """
        is_quiet = until is not None
        if self._settings is None or self._told == is_quiet or (count := asleep()) == 0 == self._told:
            return None
        self._told = is_quiet
        if until is None:
            return f"no longer quiet, {counted(count, 'delivery was', 'deliveries were')} held"
        held = counted(count, "delivery is", "deliveries are")
        return f"quiet until {self._settings.spell(until)}, {held} held"
