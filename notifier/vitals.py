"""Whether what the process is for is alive: the scheduler, the store, the lanes."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

Check = Callable[[], str | None]
"""Returns why something is dead; None while it lives."""


class Vitals:
    """Checks by name, each made whenever it is asked for."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def watch(self, name: str, check: Check) -> None:
        """Make this check from now on, in place of an earlier one of the name."""
        self._checks[name] = check

    def rest(self) -> None:
        """Make no check any more: what ends from now on is to end."""
        self._checks.clear()

    def faults(self) -> list[str]:
        """Return what is dead, each with the reason; nothing while all is alive."""
        reasons = [(name, check()) for name, check in self._checks.items()]
        return [f"{name}: {reason}" for name, reason in reasons if reason is not None]


def ended(tasks: Iterable[asyncio.Task[Any]]) -> str | None:
    """Return which of these tasks have ended; None when none has."""
    names = [task.get_name() for task in tasks if task.done()]
    return f"{', '.join(names)} ended" if names else None
