"""What targets in the hands of tests have in common."""

from datetime import timedelta

from notifier.sending import Cards, Grouping
from notifier.spacing import Spacing


class FakeTarget:
    """A target but for `send`."""

    name = "ops"
    concurrency = 1
    longest = timedelta(seconds=30)
    spacing: Spacing | None = None
    grouping: Grouping | None = None
    cards: Cards | None = None

    async def probe(self) -> str | None:
        """Tell nothing."""
        return None
