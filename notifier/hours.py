"""The quiet hours of a target that may have none: what they mean for its lane and its deliveries. Pure."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from notifier.model import Delivery
from notifier.quiet import QuietSettings, is_excepted, quiet_until, quiet_within
from notifier.summary import counted

_LOOK = timedelta(minutes=1)
"""How often it is looked whether it is still quiet: clocks are set, and machines sleep."""
_NONE = timedelta(0)


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
