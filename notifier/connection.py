"""The connections of a config, tried without changing anything: each API key, each Slack token."""

import asyncio
from typing import NamedTuple

from notifier.assembly import make_sources, make_targets, open_session
from notifier.model import is_active
from notifier.sending import InspectableTarget, SendError
from notifier.settings import Settings
from notifier.source import AlliumSource, SourceError
from notifier.summary import counted, one_line


class Tried(NamedTuple):
    """What came of trying a source or target: `good` is None when it cannot be tried without sending."""

    name: str
    good: bool | None
    words: str


async def try_connections(settings: Settings) -> list[Tried]:
    """Return what came of trying all sources and targets, side by side, in the config's order."""
    async with open_session() as session:
        sources = make_sources(settings, session)
        targets = make_targets(settings, session)
        return await asyncio.gather(
            *(_try_source(source) for source in sources),
            *(_try_target(target) for target in targets.values()),
        )


async def _try_source(source: AlliumSource) -> Tried:
    name = f"source {source.name}"
    await source.turn()
    try:
        listing = (await source.fetch(None)).listing
    except SourceError as error:
        return Tried(name, good=False, words=error.reason)
    elements = listing.elements if listing is not None else ()
    active = sum(is_active(element.status) for element in elements)
    ids = listing.organization_ids if listing is not None else frozenset()
    organization = "".join(f" of organisation {one_line(id_, 100)}" for id_ in ids if len(ids) == 1)
    jobs = counted(len(elements), "job")
    return Tried(name, good=True, words=f"the API key works: {jobs}{organization}, {active:,} active")


async def _try_target(target: InspectableTarget) -> Tried:
    name = f"target {target.name}"
    try:
        words = await target.probe()
    except SendError as error:
        return Tried(name, good=False, words=error.reason)
    if words is None:
        return Tried(name, good=None, words=f"can only be tried by sending: notifier test {target.name}")
    return Tried(name, good=True, words=words)
