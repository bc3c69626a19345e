"""What runs for each source and target: started, and made to follow another config while the rest goes on."""

import asyncio
import logging
from datetime import timedelta

from notifier.caveat import tell_caveat
from notifier.clock import Clock
from notifier.crew import Crew
from notifier.difference import Difference, difference, followable, place_of
from notifier.model import utc_now
from notifier.parts import Parts, retry_policy
from notifier.sending import InspectableTarget
from notifier.settings import Settings
from notifier.source import AlliumSource, SourceSettings

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
        for name in old.targets.keys() & new.targets.keys():
            await self._exchange(name, targets[name] if name in found.targets.changed else None, old, new)
        parts.settings = new  # whoever is routed to from now on is there
        for source in new.sources:
            if source.name in found.sources.new:
                await self._observe(source, alliums[source.name], self._pause(source, old))
        for name in found.sources.removed:
            await parts.watchers[name].end()
            await self._clock.forget(name)
            del parts.watchers[name]
        await self._drop(found)
        for name in (*found.targets.new, *(parts.refreshers if found.sources.added else ())):
            if name in parts.refreshers:
                await parts.refreshers[name].resume(parts.watchers)
        parts.notices.look()
        return found

    async def _exchange(
        self, name: str, target: InspectableTarget | None, old: Settings, new: Settings
    ) -> None:
        """Have a lane follow the config; `target` is what it delivers to from now on, None for the same."""
        parts, retry = self._parts, retry_policy(new)
        if target is not None or retry != retry_policy(old):
            parts.dispatchers[name].change(
                target or parts.targets[name],
                retry=retry,
                quiet=new.targets[name].quiet,
                place=place_of(new, name),
            )
        if target is not None:
            await self._leave(name)
            parts.put_cards(target)
            self._accompany(name)

    async def _observe(self, source: SourceSettings, allium: AlliumSource, wait: timedelta) -> None:
        """Watch, after a wait, a source that is new or is another than before."""
        before = self._parts.watchers.get(source.name)
        if before is not None:
            await before.end()
            await self._clock.forget(source.name)
        for dispatcher in self._parts.dispatchers.values():
            dispatcher.know(source.name)
        self._parts.put_source(source, allium, None if before is None else before.report)
        self._watch(source.name, wait)

    def _pause(self, source: SourceSettings, old: Settings) -> timedelta:
        """Return for how long the API wants not to be asked with the key of a source, as it said before."""
        now, reports = utc_now(), self._parts.reports
        same_key = (each.name for each in old.sources if each.account == source.account)
        known = (reports[name] for name in same_key if name in reports)
        until = [each.next_poll for each in known if each.fault == "throttled" and each.next_poll is not None]
        return max(timedelta(0), max(until, default=now) - now)

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
        *ended, forgotten = await asyncio.gather(*ending, self._forget(found))
        for name, in_time in zip(found.targets.removed, ended, strict=True):
            if not in_time:
                _log.warning("%s: attempts were cut off: it is no longer configured", name)
            await self._leave(name)
            del parts.dispatchers[name], parts.targets[name]
            parts.refreshers.pop(name, None)
        if not forgotten:
            what = ", ".join(found.sources.removed)
            _log.warning("%s: attempts are still under way: it is no longer configured", what)
        await parts.notices.keep_to(parts.parties)
        await parts.pipeline.give_up_lost(parts.watchers)

    async def _forget(self, found: Difference) -> bool:
        """Take what is of sources that are gone out of the other lanes; return whether all of it ended."""
        dropping = [
            dispatcher.forget(source)
            for source in found.sources.removed
            for name, dispatcher in self._parts.dispatchers.items()
            if name not in found.targets.removed
        ]
        try:
            async with asyncio.timeout(_END_WITHIN_SECONDS):
                await asyncio.gather(*dropping)
        except TimeoutError:
            return False
        return True

    def _watch(self, name: str, wait: timedelta = timedelta(0)) -> None:
        self._clock.repeat(name, self._parts.watchers[name].observe, after=wait)

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
