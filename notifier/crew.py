"""Background tasks by name: started, and ended one by one while the others go on."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Crew:
    """Runs tasks in a group: what one raises ends all of them."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run this under a name that no running task has."""
        self._tasks[name] = self._group.create_task(work, name=name)

    async def end(self, name: str, *, within_seconds: float = 0.0) -> bool:
        """End a task, by force after this time; return whether that was not needed. It need not exist."""
        task = self._tasks.pop(name, None)
        if task is None:
            return True
        try:
            _, late = await asyncio.wait({task}, timeout=within_seconds)
        except asyncio.CancelledError:
            self._tasks.setdefault(name, task)  # whoever ends the rest ends it, too
            raise
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return not late

    @property
    def running(self) -> dict[str, asyncio.Task[None]]:
        """The tasks that were not ended, by name."""
        return dict(self._tasks)
