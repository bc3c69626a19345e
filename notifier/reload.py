"""The config, read again while the daemon runs: a good one is followed, a bad one changes nothing."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from notifier.config import ENVIRONMENT, Config
from notifier.difference import Difference, Reloaded
from notifier.fleet import Fleet
from notifier.problem import ConfigError
from notifier.spelling import spell_difference, spell_restart

_log = logging.getLogger(__name__)


class Reload:
    """Reads the config by `load` when `asked` is set, and has the fleet follow it, once for all who asked.

    `followed` is told of each config that is followed and how it differs, `ended` whether a reload was good.
    The context that `told` returns lasts as long as a reload.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        fleet: Fleet,
        *,
        asked: asyncio.Event,
        followed: Callable[[Config, Difference], None],
        ended: Callable[[bool], None] = lambda _: None,
        told: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._load = load
        self._fleet = fleet
        self._followed = followed
        self._ended = ended
        self._told = told
        self._asked = asked
        self._waiting: list[asyncio.Future[Reloaded]] = []

    async def carry_out(self) -> Reloaded:
        """Have the config read again; return what is another, once that is followed.

        Raises ConfigError when the config is wrong: then nothing has changed.
        """
        waiting: asyncio.Future[Reloaded] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._asked.set()
        return await waiting

    async def run(self) -> None:
        """Reload whenever that is asked for, until cancelled. Raises StoreError when the state fails."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            waiting, self._waiting = self._waiting, []
            try:
                with self._told():
                    found = await self._reload()
            except ConfigError as error:
                what = f"{error.origin}: {error}"
                _log.error("config: not reloaded, the one before stays in force: %s", what)
                self._ended(False)
                for each in waiting:
                    if not each.done():
                        each.set_exception(error)
            else:
                self._ended(True)
                for each in waiting:
                    if not each.done():
                        each.set_result(found)

    async def _reload(self) -> Reloaded:
        loaded = await asyncio.to_thread(self._load)
        found = await self._fleet.follow(loaded.settings)
        self._followed(loaded, found)
        _log.info("config: reloaded, %s", "; ".join(spell_difference(found)) or "nothing has changed")
        if found.restart_needed:
            _log.warning("config: restart needed: %s", spell_restart(found))
        return Reloaded(config=_absolute(loaded.origin), difference=found)


def _absolute(origin: str) -> str:
    return origin if origin == ENVIRONMENT else str(Path(origin).absolute())
