"""The parts that talk to the world, made from what the config says."""

from collections.abc import Mapping

import aiohttp

from notifier.resolver import Resolver
from notifier.sending import InspectableTarget
from notifier.settings import Settings, TargetSettings
from notifier.source import AlliumSource, SourceSettings
from notifier.targets.slack.settings import SlackSettings
from notifier.targets.webhook import Webhook
from notifier.transport import tls_context


def open_session() -> aiohttp.ClientSession:
    """Return a session without cookies, and without proxies from the environment."""
    # Each lane bounds its own concurrency; one pool's bound would let a stuck target delay the others.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=Resolver()),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def make_source(settings: SourceSettings, session: aiohttp.ClientSession) -> AlliumSource:
    """Return a source that asks over this session."""
    return AlliumSource(settings, session=session, tls=tls_context(settings.ca_file))


def make_targets(settings: Settings, session: aiohttp.ClientSession) -> dict[str, InspectableTarget]:
    """Return all targets, by name, in the config's order; they send over this session."""
    links = {source.name: source.job_link for source in settings.sources}
    over = settings.delivery.digest_over
    return {name: _target(name, each, session, links, over) for name, each in settings.targets.items()}


def _target(
    name: str,
    settings: TargetSettings,
    session: aiohttp.ClientSession,
    links: Mapping[str, str],
    digest_over: int,
) -> InspectableTarget:
    tls = tls_context(settings.ca_file)
    if isinstance(settings, SlackSettings):
        from notifier.targets.slack.channel import SlackChannel  # noqa: PLC0415 - slack-sdk costs 6 MB

        return SlackChannel(
            name, settings, session=session, tls=tls, job_links=links, digest_over=digest_over
        )
    return Webhook(name, settings, session=session, tls=tls)
