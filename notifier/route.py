"""Which targets get an event: pure."""

from collections.abc import Iterable

from notifier.model import Event


def route(event: Event, targets: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the targets an event goes to, each once, in the config's order.

    Without routes that is every target, for every event but progress.
    """
    return () if event.type == "backfill.progress" else tuple(targets)
