"""What runs for each source and target: started, and made to follow another config while the rest goes on."""

import asyncio
import logging

from notifier.caveat import tell_caveat
from notifier.clock import Clock
from notifier.crew import Crew
from notifier.difference import Difference, difference, followable, same_place
from notifier.parts import Parts, retry_policy
from notifier.settings import Settings

_log = logging.getLogger(__name__)

_END_WITHIN_SECONDS = 10.0
"""How long attempts for what is gone may take to end; then they are cut off."""


class Fleet:
    """Runs the parts by a clock and a crew."""

    def __init__(self, parts: Parts, clock: Clock, crew: Crew) -> None:
        self._parts = parts
        self._clock = clock
        self._crew = crew

    def start(self) -> None:
        """Have every source polled and every target delivered to."""
        for name in self._parts.watchers:
            self._watch(name)
        for name in self._parts.dispatchers:
            self._crew.start(_lane(name), self._parts.dispatchers[name].run())
            self._accompany(name)

    @property
    def lanes(self) -> list[asyncio.Task[None]]:
        """What delivers, a task for each target."""
        return [task for name, task in self._crew.running.items() if name.startswith(_lane(""))]

    async def follow(self, new: Settings) -> Difference:
        """Go by other settings from now on; return what is another.

        Sources and targets that are the same go on as if nothing had happened. What is still to be delivered
        to a target, or of a source, that is gone becomes dead, durably on return.
        Raises StoreError when the state fails.
        """
        parts, old = self._parts, self._parts.settings
        found, new = difference(old, new), followable(old, new)
        targets, alliums = parts.make_targets(new), parts.make_sources(new)
        parts.settings = new.model_copy(update={"routes": old.routes, "targets": old.targets | new.targets})
        for name in found.targets.added:
            parts.put_target(targets[name])
            self._crew.start(_lane(name), parts.dispatchers[name].run())
            self._accompany(name)
        for name in parts.dispatchers.keys() - {*found.targets.added, *found.targets.removed}:
            is_changed = name in found.targets.changed
            if is_changed or "delivery" in found.tables:
                target = targets[name] if is_changed else parts.targets[name]
                parts.dispatchers[name].change(
                    target,
                    retry=retry_policy(new),
                    quiet=new.targets[name].quiet,
                    same_place=same_place(old, new, name),
                )
            if is_changed:
                await self._leave(name)
                parts.put_cards(targets[name])
                self._accompany(name)
        parts.settings = new  # whoever is routed to from now on is there
        for name in found.sources.gone:
            await parts.watchers[name].end()
            await self._clock.forget(name)
        for name in found.sources.removed:
            del parts.watchers[name]
        await self._drop(found)
        settings = {source.name: source for source in new.sources}
        for name in found.sources.new:
            report = parts.watchers[name].report if name in parts.watchers else None
            parts.put_source(settings[name], alliums[name], report)
            self._watch(name)
        for name in (*found.targets.new, *(parts.refreshers if found.sources.added else ())):
            if name in parts.refreshers:
                await parts.refreshers[name].resume(parts.watchers)
        parts.notices.look()
        return found

    async def _drop(self, found: Difference) -> None:
        """Give up what is owed to whom is gone, once nothing can be added to it and nothing is under way."""
        parts = self._parts
        for watcher in list(parts.watchers.values()):
            await watcher.settled()
        for name in found.targets.removed:
            parts.dispatchers[name].stop()
        ending = [
            self._crew.end(_lane(name), within_seconds=_END_WITHIN_SECONDS) for name in found.targets.removed
        ]
        for name, ended in zip(found.targets.removed, await asyncio.gather(*ending), strict=True):
            if not ended:
                _log.warning("%s: attempts were cut off: it is no longer configured", name)
            await self._leave(name)
            del parts.dispatchers[name], parts.targets[name]
            parts.refreshers.pop(name, None)
        for source in found.sources.removed:
            dropping = [dispatcher.forget(source) for dispatcher in parts.dispatchers.values()]
            try:
                async with asyncio.timeout(_END_WITHIN_SECONDS):
                    await asyncio.gather(*dropping)
            except TimeoutError:
                _log.warning("%s: attempts are still under way: it is no longer configured", source)
        for source in found.sources.added:
            for dispatcher in parts.dispatchers.values():
                dispatcher.know(source)
        await parts.notices.keep_to(parts.parties)
        await parts.pipeline.give_up_lost(parts.watchers)

    def _watch(self, name: str) -> None:
        self._clock.repeat(name, self._parts.watchers[name].observe)

    def _accompany(self, name: str) -> None:
        """Start what a target needs beside its lane."""
        if name in self._parts.refreshers:
            self._crew.start(_cards(name), self._parts.refreshers[name].run())
        self._crew.start(_caveat(name), tell_caveat(self._parts.targets[name]))

    async def _leave(self, name: str) -> None:
        await self._crew.end(_cards(name))
        await self._crew.end(_caveat(name))


def _lane(name: str) -> str:
    return f"lane {name}"


def _cards(name: str) -> str:
    return f"cards {name}"


def _caveat(name: str) -> str:
    return f"caveat {name}"
