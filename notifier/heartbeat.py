"""Tells a service that all is well, so that it can tell people when it no longer hears that."""

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from notifier.duration import format_duration
from notifier.fields import OptionalSecretUrl, OptionalUrl, PositiveDuration, Section, origin
from notifier.rounds import Rounds
from notifier.source import SourceError
from notifier.transport import USER_AGENT, describe_fault, tls_context

_log = logging.getLogger(__name__)

Signal = Literal["start", "good", "fail"]


class HeartbeatSettings(Section):
    """A URL that is requested as long as all is well, for a service that notices when it is not any more."""

    url: OptionalSecretUrl = None
    """What is requested (GET); its path counts as a secret and is never shown. "" turns it off."""
    url_file: str | None = None
    """A file that holds the URL."""
    every: PositiveDuration = timedelta(minutes=1)
    """How often at most: each time every source has had a good poll since the last time."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """The longest one request may take."""
    signals: bool = False
    """Whether starts (url/start), sources that are down and ends by an error (url/fail) are told, too."""
    insecure_http: bool = False
    """Whether the URL may go over plain http to another machine."""
    proxy: OptionalUrl = ""
    """An HTTP proxy to go through."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's, as PEM."""

    @property
    def shown(self) -> str | None:
        """Where it goes, as far as it may be shown; None when it is off."""
        if self.url is None:
            return None
        told = "" if self.signals is False else ", starts and failures told"
        return f"{origin(self.url.get_secret_value())}, every {format_duration(self.every)} at most{told}"


class Heartbeat:
    """Requests the URL, or its forms for starts and failures; without one it does nothing.

    `down_after` has each source.
    """

    def __init__(
        self,
        settings: HeartbeatSettings,
        *,
        down_after: Mapping[str, timedelta],
        session: aiohttp.ClientSession,
    ) -> None:
        self._session = session
        self._polled = asyncio.Event()
        self._fails = False
        self.follow(settings, down_after=down_after)

    def follow(self, settings: HeartbeatSettings, *, down_after: Mapping[str, timedelta]) -> None:
        """Go by these settings from now on."""
        self._url = "" if settings.url is None else settings.url.get_secret_value()
        self._signals = settings.signals
        self._timeout_seconds = settings.timeout.total_seconds()
        self._proxy = settings.proxy or None
        self._tls = tls_context(settings.ca_file)
        self._rounds = Rounds(
            {source: after.total_seconds() for source, after in down_after.items()},
            every_seconds=settings.every.total_seconds(),
        )
        self._polled.set()

    def polled(self, source: str, error: SourceError | None) -> None:
        """Note how a poll ended."""
        self._rounds.polled(source, good=error is None, now=time.monotonic())
        self._polled.set()

    async def run(self) -> None:
        """Tell the start, then all that is due, until cancelled; what fails is not told again."""
        await self.tell("start")
        while True:
            self._polled.clear()
            wait = self._rounds.next_at() - time.monotonic() if self._url else math.inf
            if wait > 0:
                try:
                    async with asyncio.timeout(None if math.isinf(wait) else wait):
                        await self._polled.wait()
                except TimeoutError:
                    pass
            if self._url and (verdict := self._rounds.take(time.monotonic())) is not None:
                await self.tell(verdict)

    async def tell(self, signal: Signal, *, longest_seconds: float = math.inf) -> None:
        """Make one request; how it fails is logged when it begins to.

        Nothing is to depend on a heartbeat: it never raises.
        """
        if not self._url or (signal != "good" and not self._signals):
            return
        try:
            fault = await self._request(signal, min(self._timeout_seconds, longest_seconds))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the service
            fault = describe_fault(error)
        if fault is not None and not self._fails:
            _log.warning("heartbeat: %s: %s; the next good polls try again", origin(self._url), fault)
        elif fault is None and self._fails:
            _log.info("heartbeat: %s works again", origin(self._url))
        self._fails = fault is not None

    async def _request(self, signal: Signal, timeout_seconds: float) -> str | None:
        """Return what was wrong with the answer; None when it was good."""
        url = self._url if signal == "good" else with_suffix(self._url, signal)
        async with self._session.get(
            URL(url, encoded=url.isascii()),  # as written: requoting could make another URL of it
            headers={"User-Agent": USER_AGENT},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ssl=self._tls,
            proxy=self._proxy,
        ) as response:
            if 200 <= response.status < 300:
                return None
            redirect = ", a redirect, which is not followed" if 300 <= response.status < 400 else ""
            return f"answered {response.status}{redirect}"


def with_suffix(url: str, suffix: str) -> str:
    """Return the URL with one more step at the end of its path, before any query."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{suffix}").geturl()
