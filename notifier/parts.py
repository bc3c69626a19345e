"""What a process works with, made from a config and joined."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime, timedelta
from functools import partial

import msgspec

from notifier.assembly import make_reach, make_sources, make_targets, open_session
from notifier.dispatcher import Dispatcher
from notifier.model import RecordKey, utc_now
from notifier.muting import Muting
from notifier.notices import Notices
from notifier.outages import Party, Terms
from notifier.pace import Pace
from notifier.pipeline import Pipeline
from notifier.quiet import quiet_until, quiet_within
from notifier.refresher import Refresher
from notifier.replays import Replays
from notifier.retry import RetryPolicy
from notifier.route import route
from notifier.sending import InspectableTarget, SendError
from notifier.settings import Settings
from notifier.source import SourceError
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.upkeep import Upkeep
from notifier.wallclock import uptime
from notifier.watcher import Watcher

_log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 60.0


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a process works with."""

    state: State
    watchers: list[Watcher]
    dispatchers: list[Dispatcher]
    refreshers: list[Refresher]
    targets: list[InspectableTarget]
    notices: Notices
    upkeep: Upkeep
    replays: Replays
    muting: Muting

    async def tell_caveats(self) -> None:
        """Log what the credentials of targets are too few for, each as soon as it can be asked."""
        await asyncio.gather(*(_tell_caveat(target) for target in self.targets))


async def _tell_caveat(target: InspectableTarget) -> None:
    while True:
        try:
            words = await target.caveat()
        except SendError:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        except Exception:  # noqa: BLE001 - a caveat must not stop the service
            return
        else:
            if words is not None:
                _log.warning("%s: %s", target.name, words)
            return


@contextlib.asynccontextmanager
async def open_parts(
    settings: Settings, *, once: bool, polled: Callable[[str, SourceError | None], None] = lambda *_: None
) -> AsyncIterator[Parts]:
    """Open the state, take up what it owes, and yield all parts, which end with the context.

    `polled` is told how each poll of each source ended. Raises StoreError when the state cannot be used.
    """
    async with (
        State(partial(SqliteStore, settings.store.path)) as state,
        open_session() as source_session,
        open_session() as target_session,
    ):
        retry = RetryPolicy(
            first_retry=settings.delivery.first_retry,
            max_retry=settings.delivery.max_retry,
            give_up_after=settings.delivery.give_up_after,
        )
        targets = make_targets(settings, target_session)
        routed = partial(route, routes=settings.routes, targets=tuple(targets))
        dispatchers: dict[str, Dispatcher] = {}
        pipeline = Pipeline(state, dispatchers)
        notices = Notices(
            state=state,
            sources=[source.name for source in settings.sources],
            route=routed,
            passed_on=pipeline.pass_on,
            terms=partial(_terms, settings),
            is_offline=make_reach(settings).is_offline,
            uptime=uptime,
            resting=partial(_resting, settings),
        )
        refreshers = {
            name: Refresher(name, target.cards, state=state, heard=notices.heard)
            for name, target in targets.items()
            if target.cards is not None
        }

        def heard(source: str, target: str, error: SendError | None) -> None:
            notices.heard(source, target, error)
            if error is None and target in refreshers:
                refreshers[target].works()

        for name, target in targets.items():
            dispatchers[name] = Dispatcher(
                target,
                state=state,
                retry=retry,
                quiet=settings.targets[name].quiet,
                once=once,
                died=notices.look,
                heard=heard,
                settled=refreshers[name].sent if name in refreshers else lambda _: None,
            )

        def changed(keys: Collection[RecordKey]) -> None:
            for refresher in refreshers.values():
                refresher.look(keys)

        def heard_of_source(source: str, error: SourceError | None) -> None:
            notices.heard_of_source(source, error)
            polled(source, error)

        watchers = [
            Watcher(
                allium,
                state=state,
                pace=Pace(poll_every=source.poll_every, poll_idle_every=source.poll_idle_every),
                announce_first=source.first_poll == "announce",
                route=routed,
                passed_on=pipeline.pass_on,
                changed=changed,
                rules=source.rules,
                polled=heard_of_source,
                resting=partial(_resting, settings),
            )
            for source, allium in zip(settings.sources, make_sources(settings, source_session), strict=True)
        ]
        await pipeline.resume([watcher.name for watcher in watchers])
        upkeep = Upkeep(
            state=state,
            keep=settings.store.keep,
            listing=lambda: {watcher.name for watcher in watchers if watcher.is_current},
        )
        muting = Muting(
            state,
            sources=[watcher.name for watcher in watchers],
            ended=partial(_end_mutes, watchers, notices),
        )
        replays = Replays(state, resume=pipeline.resume_one, targets=tuple(dispatchers))
        for refresher in refreshers.values():
            await refresher.resume([watcher.name for watcher in watchers])
        yield Parts(
            state=state,
            watchers=watchers,
            dispatchers=list(dispatchers.values()),
            refreshers=list(refreshers.values()),
            targets=list(targets.values()),
            notices=notices,
            upkeep=upkeep,
            replays=replays,
            muting=muting,
        )


async def _end_mutes(watchers: list[Watcher], notices: Notices, sources: Collection[str]) -> None:
    """Have told what mutes that these sources held kept from people."""
    for watcher in watchers:
        if watcher.name in sources:
            await watcher.end_mutes()
    notices.look()


def _resting(settings: Settings) -> list[str]:
    """Return the targets that are quiet just now."""
    now = utc_now()
    return [
        name
        for name, target in settings.targets.items()
        if target.quiet is not None and quiet_until(target.quiet, now) is not None
    ]


def _terms(settings: Settings, party: Party, since: datetime, now: datetime) -> Terms:
    """Return when a party that has failed since a time is told."""
    if not party.is_target:
        source = next(each for each in settings.sources if each.name == party.name)
        return Terms(down_after=source.down_after, remind_every=source.remind_every)
    delivery = settings.delivery
    quiet = settings.targets[party.name].quiet if party.name in settings.targets else None
    return Terms(
        down_after=delivery.down_after,
        remind_every=delivery.remind_every,
        rests=quiet is not None and quiet_until(quiet, now) is not None,
        rested=timedelta(0) if quiet is None else quiet_within(quiet, since, now),
    )
