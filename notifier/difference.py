"""What is another in one config than in the one before: sources, targets and whole tables. Pure."""

from collections.abc import Hashable, Mapping
from typing import Any

import msgspec

from notifier.settings import Settings
from notifier.targets.slack.settings import SlackSettings

_FIXED = ("store", "web")
"""Tables that only a restart can follow."""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Names that came, went, or stand for something else now."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def gone(self) -> tuple[str, ...]:
        """Those of which nothing of before is left."""
        return self.changed + self.removed

    @property
    def new(self) -> tuple[str, ...]:
        """Those that have to be made."""
        return self.changed + self.added


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How a config differs from the one before."""

    sources: Names
    targets: Names
    tables: tuple[str, ...]
    """Other tables that differ, but for those that only a restart can follow."""
    restart_needed: tuple[str, ...]
    """Tables that differ and that only a restart can follow."""


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What came of reading a config again."""

    config: str
    """The absolute path of the file that was read, or `the environment`."""
    difference: Difference


def difference(old: Settings, new: Settings) -> Difference:
    """Return how the new settings differ from the old ones."""
    others = set(Settings.model_fields) - {"sources", "targets"}
    tables = tuple(name for name in Settings.model_fields if name in others and _differ(old, new, name))
    return Difference(
        sources=_names(_sources(old), _sources(new)),
        targets=_names(_targets(old), _targets(new)),
        tables=tuple(name for name in tables if name not in _FIXED),
        restart_needed=tuple(name for name in tables if name in _FIXED),
    )


def followable(old: Settings, new: Settings) -> Settings:
    """Return the new settings, as far as they can be followed without a restart."""
    return new.model_copy(update={name: getattr(old, name) for name in _FIXED})


def place_of(settings: Settings, target: str) -> Hashable:
    """Return where a target is: a pause that it asked for concerns it while it is there."""
    found = settings.targets[target]
    if isinstance(found, SlackSettings):
        return found.api_url, found.token, found.webhook_url
    return found.url


def _differ(old: Settings, new: Settings, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def _sources(settings: Settings) -> dict[str, Any]:
    """Return what each source is made from: those of one key share what keeps the key's limit."""
    return {
        source.name: (source, [each for each in settings.sources if each.account == source.account])
        for source in settings.sources
    }


def _targets(settings: Settings) -> dict[str, Any]:
    """Return what each target is made from."""
    links = {source.name: source.job_link for source in settings.sources if source.job_link}
    return {
        name: (target, links, settings.delivery.digest_over) if isinstance(target, SlackSettings) else target
        for name, target in settings.targets.items()
    }


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> Names:
    return Names(
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and old[name] != new[name]),
        removed=tuple(name for name in old if name not in new),
    )
