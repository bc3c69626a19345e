"""The parts that talk to the world, made from what the config says."""

from collections import defaultdict
from datetime import timedelta
from typing import Any

import aiohttp

from notifier.heartbeat import Heartbeat
from notifier.reach import Reach, needed_places
from notifier.resolver import Resolver
from notifier.sending import InspectableTarget
from notifier.settings import Settings
from notifier.source import AlliumSource, SourceSettings
from notifier.targets.slack.limits import Limits
from notifier.targets.slack.settings import SlackSettings
from notifier.targets.webhook import Webhook
from notifier.transport import tls_context
from notifier.turnstile import Turnstile

_APART = timedelta(seconds=1)
"""How often the API wants to be asked with one key at most; who polls more often chose to."""


def open_session() -> aiohttp.ClientSession:
    """Return a session without cookies, and without proxies from the environment."""
    # Each lane bounds its own concurrency; one pool's bound would let a stuck target delay the others.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=Resolver()),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


Turnstiles = dict[tuple[tuple[str, str], float], Turnstile]
"""What lets the requests of one account through in turn, by the account and how far they are apart."""


def make_sources(
    settings: Settings, session: aiohttp.ClientSession, turnstiles: Turnstiles | None = None
) -> list[AlliumSource]:
    """Return all sources, in the config's order; they ask over this session, those of one key in turn.

    The turnstiles that there are, are used again: what the API asked for still holds.
    """
    kept = {} if turnstiles is None else turnstiles
    sharing: defaultdict[tuple[str, str], list[SourceSettings]] = defaultdict(list)
    for source in settings.sources:
        sharing[source.account].append(source)
    shared: dict[tuple[str, str], Turnstile] = {}
    for account, sources in sharing.items():
        if len(sources) > 1:
            apart = _apart_seconds(sources)
            shared[account] = kept.setdefault((account, apart), Turnstile(apart))
    return [
        AlliumSource(
            source,
            session=session,
            tls=tls_context(source.ca_file),
            turnstile=shared.get(source.account),
        )
        for source in settings.sources
    ]


def _apart_seconds(sources: list[SourceSettings]) -> float:
    chosen = [wait for source in sources for wait in (source.poll_every, source.poll_idle_every)]
    return min(_APART, *chosen).total_seconds()


class SlackLimits(defaultdict[tuple[str, str], Limits]):
    """The limits of Slack's API, by where it is and the token: all targets of a token keep them together."""

    def __init__(self) -> None:
        super().__init__(Limits)


def make_targets(
    settings: Settings, session: aiohttp.ClientSession, limits: SlackLimits | None = None
) -> dict[str, InspectableTarget]:
    """Return all targets, by name, in the config's order; they send over this session, within the limits."""
    slack = _Slack(settings, session, SlackLimits() if limits is None else limits)
    return {
        name: slack.target(name, each)
        if isinstance(each, SlackSettings)
        else Webhook(name, each, session=session, tls=tls_context(each.ca_file))
        for name, each in settings.targets.items()
    }


def make_heartbeat(settings: Settings, session: aiohttp.ClientSession) -> Heartbeat:
    """Return the heartbeat of all sources, over this session; it does nothing when the config has none."""
    return Heartbeat(settings.heartbeat, down_after=down_after(settings), session=session)


def down_after(settings: Settings) -> dict[str, timedelta]:
    """Return how long no poll of each source may be good."""
    return {source.name: source.down_after for source in settings.sources}


def make_reach(settings: Settings) -> Reach:
    """Return what tells whether none of the places that sources and targets need can be reached."""
    return Reach(needed_places(settings))


class _Slack:
    """Makes Slack targets."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, limits: SlackLimits) -> None:
        self._terms: dict[str, Any] = {
            "session": session,
            "job_links": {source.name: source.job_link for source in settings.sources},
            "digest_over": settings.delivery.digest_over,
        }
        self._limits = limits

    def target(self, name: str, settings: SlackSettings) -> InspectableTarget:
        # Imported only when there is one: slack-sdk costs 6 MB.
        from notifier.targets.slack.channel import SlackChannel  # noqa: PLC0415
        from notifier.targets.slack.hook import SlackHook  # noqa: PLC0415

        terms = self._terms | {"tls": tls_context(settings.ca_file)}
        if settings.token is None:
            return SlackHook(name, settings, **terms)
        limits = self._limits[settings.api_url, settings.token.get_secret_value()]
        return SlackChannel(name, settings, limits=limits, **terms)
