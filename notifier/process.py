"""What every kind of run shares: signals, its heartbeat, what ends it, one error out of many."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from functools import partial
from typing import Any

from notifier.assembly import make_heartbeat, open_session
from notifier.heartbeat import Heartbeat
from notifier.parts import Parts
from notifier.settings import Settings
from notifier.storage import StateInUseError, StoreError
from notifier.watchdog import StuckError, Watchdog

STOP_WITHIN_SECONDS = 10.0
"""How long attempts under way may take to end."""


class StoppedError(Exception):
    """A signal ended it before all was done."""


@contextlib.asynccontextmanager
async def heartbeat_of(settings: Settings) -> AsyncIterator[Heartbeat]:
    """Yield the heartbeat, which is told of an error that ends the context, for ten seconds at most."""
    async with open_session() as session:
        heartbeat = make_heartbeat(settings, session)
        try:
            yield heartbeat
        except Exception as error:
            # A stop that was asked for is no error, and whoever has the state has a heartbeat of its own.
            # What is stuck was told before.
            untold = StoppedError | StateInUseError | StuckError
            if not any(isinstance(leaf, untold) for leaf in _leaves(error)):
                await heartbeat.tell("fail", longest_seconds=STOP_WITHIN_SECONDS)
            raise


async def watch(watchdog: Watchdog, parts: Parts, heartbeat: Heartbeat) -> None:
    """Watch what is under way until cancelled; what is stuck is told. Raises StuckError."""
    try:
        await watchdog.run(partial(under_way, parts))
    except StuckError:
        # At once: what is stuck may keep all else from ending, too.
        await heartbeat.tell("fail", longest_seconds=STOP_WITHIN_SECONDS)
        raise


def under_way(parts: Parts) -> Mapping[Hashable, tuple[str, float]]:
    """Return all that is under way: a commit, polls and attempts."""
    works = [
        parts.state.under_way,
        *(watcher.under_way for watcher in parts.watchers.values()),
        *(dispatcher.under_way for dispatcher in parts.dispatchers.values()),
    ]
    return {token: each for under_way in works for token, each in under_way().items()}


async def all_end(lanes: list[asyncio.Task[None]], hurry: asyncio.Event) -> bool:
    """Wait for the lanes to end, ten seconds at most or until told to hurry; return whether they did."""
    hurried: asyncio.Future[Any] = asyncio.create_task(hurry.wait())
    ended: asyncio.Future[Any] = asyncio.gather(*lanes, return_exceptions=True)
    await asyncio.wait({hurried, ended}, timeout=STOP_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    all_ended = ended.done()
    for waiting in (hurried, ended):
        waiting.cancel()  # and with `ended` the lanes
    await asyncio.gather(hurried, ended, *lanes, return_exceptions=True)
    return all_ended


class Signals:
    """What signals set: the first SIGTERM or SIGINT, the second one, and SIGHUP."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.hung_up = asyncio.Event()


@contextlib.contextmanager
def signals() -> Iterator[Signals]:
    """Yield what signals do while the context lasts."""
    loop = asyncio.get_running_loop()
    asked = Signals()

    def arrived() -> None:
        (asked.hurry if asked.stop.is_set() else asked.stop).set()

    # By itself SIGHUP would end the process, and silence is what people rely on.
    handlers = {signal.SIGTERM: arrived, signal.SIGINT: arrived, signal.SIGHUP: asked.hung_up.set}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield asked
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def single_error() -> Iterator[None]:
    """Raise the one error that matters out of the groups that tasks raise theirs in."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        # What stood still says more than what failed because of it.
        for kind in (StuckError, StoreError, BaseException):
            for leaf in leaves:
                if isinstance(leaf, kind):
                    raise leaf from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
