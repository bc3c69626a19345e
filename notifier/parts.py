"""What a process works with, made from a config and joined."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import aiohttp
import msgspec

from notifier.assembly import SlackLimits, Turnstiles, make_reach, make_sources, make_targets, open_session
from notifier.difference import place_of
from notifier.dispatcher import Dispatcher
from notifier.meter import Meter
from notifier.model import PollReport, RecordKey, utc_now
from notifier.muting import Muting
from notifier.notices import Notices
from notifier.outages import Party, Terms
from notifier.pace import Pace
from notifier.pipeline import Pipeline
from notifier.quiet import QuietSettings, quiet_until, quiet_within
from notifier.refresher import Refresher
from notifier.replays import Replays
from notifier.retry import RetryPolicy
from notifier.route import Subject, route
from notifier.sending import InspectableTarget, SendError
from notifier.settings import Settings
from notifier.source import AlliumSource, SourceError, SourceSettings
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.upkeep import Upkeep
from notifier.wallclock import uptime
from notifier.watcher import Watcher


class Sessions(msgspec.Struct, frozen=True):
    """The connections to both sides of the world."""

    sources: aiohttp.ClientSession
    targets: aiohttp.ClientSession


class Parts:
    """What a process works with: for each source a watcher, for each target a dispatcher.

    They come and go with the config; what is joined to them finds the present ones. All of it goes by
    `settings`, which may be exchanged. `polled` is told how each poll of each source ended.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        state: State,
        sessions: Sessions,
        once: bool,
        polled: Callable[[str, SourceError | None], None],
    ) -> None:
        self.settings = settings
        self.state = state
        self.watchers: dict[str, Watcher] = {}
        self.dispatchers: dict[str, Dispatcher] = {}
        self.refreshers: dict[str, Refresher] = {}
        self.targets: dict[str, InspectableTarget] = {}
        self._sessions = sessions
        self._once = once
        self._polled = polled
        self._limits = SlackLimits()
        self._turnstiles: Turnstiles = {}
        self.meter = Meter([source.name for source in settings.sources], settings.targets)
        self.pipeline = Pipeline(
            state, self.dispatchers, observed=self.meter.observed, became=self.meter.became
        )
        alliums = self.make_sources(settings)
        for source in settings.sources:
            self.put_source(source, alliums[source.name])
        # After the sources: it takes up only what an earlier process left of those that there are.
        self.notices = Notices(
            state=state,
            sources=self.watchers.keys(),
            route=self.route,
            passed_on=self.pipeline.pass_on,
            terms=self._terms,
            is_offline=self._is_offline,
            uptime=uptime,
            resting=self._resting,
        )
        self.upkeep = Upkeep(state=state, keep=settings.store.keep, listing=self._listing)
        self.muting = Muting(state, sources=self.watchers.keys(), ended=self._end_mutes)
        self.replays = Replays(
            state,
            resume=self.pipeline.resume_one,
            targets=self.dispatchers.keys(),
            sources=self.watchers.keys(),
        )
        for target in self.make_targets(settings).values():
            self.put_target(target)

    def make_sources(self, settings: Settings) -> Mapping[str, AlliumSource]:
        """Return the sources of these settings, by name, over the connections there are."""
        return {
            source.name: source for source in make_sources(settings, self._sessions.sources, self._turnstiles)
        }

    def make_targets(self, settings: Settings) -> Mapping[str, InspectableTarget]:
        """Return the targets of these settings, by name, over the connections there are."""
        return make_targets(settings, self._sessions.targets, self._limits)

    def put_target(self, target: InspectableTarget) -> None:
        """Have a new target delivered to; what is stored for it is not queued yet."""
        name = target.name
        self.put_cards(target)
        self.dispatchers[name] = Dispatcher(
            target,
            state=self.state,
            retry=retry_policy(self.settings),
            quiet=self.settings.targets[name].quiet,
            place=place_of(self.settings, name),
            once=self._once,
            died=self.notices.look,
            heard=self._heard,
            attempted=self.meter.attempted,
            settled=self._settled(name),
        )

    def put_cards(self, target: InspectableTarget) -> None:
        """Have the cards of a target kept true by what the target is now."""
        self.targets[target.name] = target
        self.refreshers.pop(target.name, None)
        if target.cards is not None:
            self.refreshers[target.name] = Refresher(
                target.name, target.cards, state=self.state, heard=self._told
            )

    def put_source(
        self, settings: SourceSettings, allium: AlliumSource, report: PollReport | None = None
    ) -> Watcher:
        """Have a source watched; return what watches it. `report` is how its polls went before."""
        self.watchers[settings.name] = Watcher(
            allium,
            state=self.state,
            pace=Pace(poll_every=settings.poll_every, poll_idle_every=settings.poll_idle_every),
            announce_first=settings.first_poll == "announce",
            route=self.route,
            passed_on=self.pipeline.pass_on,
            changed=self._changed,
            rules=settings.rules,
            polled=self._heard_of_source,
            resting=self._resting,
            report=report,
        )
        return self.watchers[settings.name]

    async def resume(self) -> None:
        """Queue what an earlier process left, and have its cards brought up to date."""
        await self.pipeline.resume(self.watchers)
        for refresher in self.refreshers.values():
            await refresher.resume(self.watchers)
        await self.notices.keep_to(self.parties)

    @property
    def parties(self) -> Collection[Party]:
        """All sources and targets."""
        return {
            *(Party(name, is_target=False) for name in self.watchers),
            *(Party(name, is_target=True) for name in self.dispatchers),
        }

    @property
    def quiet(self) -> Mapping[str, QuietSettings]:
        """The quiet hours of the targets that have some."""
        dispatchers = list(self.dispatchers.items())  # it is asked for from threads, too
        return {name: each.quiet for name, each in dispatchers if each.quiet is not None}

    @property
    def reports(self) -> Mapping[str, PollReport]:
        """How the polls of each source are going."""
        return {name: watcher.report for name, watcher in list(self.watchers.items())}

    def route(self, subject: Subject) -> Sequence[str]:
        """Return the targets that an event goes to."""
        return route(subject, routes=self.settings.routes, targets=tuple(self.settings.targets))

    def _told(self, source: str, target: str, error: SendError | None) -> None:
        if source in self.watchers:  # else nobody could be told under its name
            self.notices.heard(source, target, error)

    def _heard(self, source: str, target: str, error: SendError | None) -> None:
        self._told(source, target, error)
        if error is None and target in self.refreshers:
            self.refreshers[target].works()

    def _settled(self, target: str) -> Callable[[Sequence[RecordKey]], None]:
        def settled(keys: Sequence[RecordKey]) -> None:
            if target in self.refreshers:
                self.refreshers[target].sent(keys)

        return settled

    def _changed(self, keys: Collection[RecordKey]) -> None:
        for refresher in self.refreshers.values():
            refresher.look(keys)

    def _heard_of_source(self, source: str, report: PollReport, error: SourceError | None) -> None:
        self.meter.polled(source, report)
        self.notices.heard_of_source(source, error)
        self._polled(source, error)

    def _listing(self) -> Collection[str]:
        return {name for name, watcher in self.watchers.items() if watcher.is_current}

    async def _is_offline(self) -> bool:
        return await make_reach(self.settings).is_offline()

    async def _end_mutes(self, sources: Collection[str]) -> None:
        """Have told what mutes that these sources held kept from people."""
        for name in sources:
            if (watcher := self.watchers.get(name)) is not None:
                await watcher.end_mutes()
        self.notices.look()

    def _resting(self) -> list[str]:
        """Return the targets that are quiet just now."""
        now = utc_now()
        return [name for name, quiet in self.quiet.items() if quiet_until(quiet, now) is not None]

    def _terms(self, party: Party, since: datetime, now: datetime) -> Terms:
        """Return when a party that has failed since a time is told."""
        if not party.is_target:
            for source in self.settings.sources:
                if source.name == party.name:
                    return Terms(down_after=source.down_after, remind_every=source.remind_every)
            return Terms()  # it is just being taken out
        delivery, quiet = self.settings.delivery, self.quiet.get(party.name)
        return Terms(
            down_after=delivery.down_after,
            remind_every=delivery.remind_every,
            rests=quiet is not None and quiet_until(quiet, now) is not None,
            rested=timedelta(0) if quiet is None else quiet_within(quiet, since, now),
        )


def retry_policy(settings: Settings) -> RetryPolicy:
    """Return when failed deliveries are tried again."""
    return RetryPolicy(
        first_retry=settings.delivery.first_retry,
        max_retry=settings.delivery.max_retry,
        give_up_after=settings.delivery.give_up_after,
    )


@contextlib.asynccontextmanager
async def open_parts(
    settings: Settings, *, once: bool, polled: Callable[[str, SourceError | None], None] = lambda *_: None
) -> AsyncIterator[Parts]:
    """Open the state, take up what it owes, and yield all parts, which end with the context.

    Raises StoreError when the state cannot be used.
    """
    async with (
        State(partial(SqliteStore, settings.store.path)) as state,
        open_session() as sources,
        open_session() as targets,
    ):
        parts = Parts(settings, state=state, sessions=Sessions(sources, targets), once=once, polled=polled)
        await parts.resume()
        yield parts
