"""Whether it is this machine that reaches nobody: asked before others are blamed."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import NamedTuple

from yarl import URL

from notifier.loopback import is_loopback
from notifier.resolver import Resolver
from notifier.settings import Settings
from notifier.targets.slack.settings import SlackSettings

_FEWEST = 2
"""That one place alone cannot be reached says nothing of all others."""


class Place(NamedTuple):
    """Where connections go."""

    host: str
    port: int


def needed_places(settings: Settings) -> tuple[Place, ...]:
    """Return the places that sources and targets connect to, each once: a proxy's own where there is one.

    Those on loopback are left out, unless all are: they can be reached without any network.
    """
    urls = [source.proxy or source.base_url for source in settings.sources]
    for target in settings.targets.values():
        if not isinstance(target, SlackSettings):
            urls.append(target.proxy or target.url.get_secret_value())
        elif target.webhook_url is not None:
            urls.append(target.proxy or target.webhook_url.get_secret_value())
        else:
            urls.append(target.proxy or target.api_url)
    places = tuple(dict.fromkeys(map(_place, urls)))
    return tuple(place for place in places if not is_loopback(place.host)) or places


def _place(url: str) -> Place:
    parts = URL(url)
    return Place((parts.raw_host or "").lower().rstrip("."), parts.port or 0)


def _literal(host: str) -> socket.AddressFamily | None:
    """Return the family of a host that is an address itself; None when it is a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return socket.AF_INET if version == 4 else socket.AF_INET6


class Reach:
    """Tells whether none of these places can be reached."""

    def __init__(self, places: Sequence[Place], *, within_seconds: float = 5.0) -> None:
        self._places = tuple(dict.fromkeys(places))
        self._within = within_seconds
        self._resolver = Resolver()

    async def is_offline(self) -> bool:
        """Return whether no place takes a connection in time; False when there are less than two to ask.

        All are tried side by side; a connection that is taken is closed at once.
        """
        if len(self._places) < _FEWEST:
            return False
        trying = [asyncio.create_task(self._is_reached(place)) for place in self._places]
        try:
            async with asyncio.timeout(self._within):
                for tried in asyncio.as_completed(trying):
                    if await tried:
                        return False
        except TimeoutError:
            pass
        finally:
            for task in trying:
                task.cancel()
            await asyncio.gather(*trying, return_exceptions=True)
        return True

    async def _is_reached(self, place: Place) -> bool:
        try:
            addresses = await self._addresses(place)
        except OSError:
            return False
        connecting = [asyncio.create_task(_connects(*address, place.port)) for address in addresses]
        try:
            # Side by side, too: a first address of a family that leads nowhere must not use up the time.
            for connected in asyncio.as_completed(connecting):
                if await connected:
                    return True
        finally:
            for task in connecting:
                task.cancel()
            await asyncio.gather(*connecting, return_exceptions=True)
        return False

    async def _addresses(self, place: Place) -> list[tuple[socket.AddressFamily, str]]:
        if (family := _literal(place.host)) is not None:
            return [(family, place.host)]
        found = await self._resolver.resolve(place.host, place.port, socket.AF_UNSPEC)
        return [(socket.AddressFamily(each["family"]), each["host"]) for each in found]


async def _connects(family: socket.AddressFamily, address: str, port: int) -> bool:
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_connection(asyncio.Protocol, address, port, family=family)
    except OSError:
        return False
    transport.abort()
    return True
