"""Whether somebody has set the clock: what it says of how long ago something was is wrong then."""

import time
from datetime import datetime, timedelta

_MAY_STRAY = timedelta(minutes=1)


def uptime() -> float:
    """Return seconds since some moment, which no setting of the clock changes; sleep counts where it can."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class WallClock:
    """Compares the wall clock with the uptime, each time it is asked. Pure."""

    def __init__(self) -> None:
        self._last: tuple[datetime, float] | None = None

    def was_set(self, now: datetime, uptime_seconds: float) -> bool:
        """Return whether it was set by more than a minute since it was last asked."""
        last, self._last = self._last, (now, uptime_seconds)
        if last is None:
            return False
        passed = timedelta(seconds=uptime_seconds - last[1])
        return abs(now - last[0] - passed) > _MAY_STRAY
