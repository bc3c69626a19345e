"""How configs differ, in words. Pure."""

from collections.abc import Iterator

from notifier.difference import Difference, Names


def spell_difference(found: Difference) -> Iterator[str]:
    """Yield what is followed, in words."""
    for kind, names in (("source", found.sources), ("target", found.targets)):
        yield from _spell_names(kind, names)
    if found.tables:
        yield f"{' and '.join(f'[{name}]' for name in found.tables)} changed"


def spell_restart(found: Difference) -> str:
    """Return which changes are not followed."""
    tables = " and ".join(f"[{name}]" for name in found.restart_needed)
    return f"{tables} changed, which is followed by a restart only"


def _spell_names(kind: str, names: Names) -> Iterator[str]:
    for what in ("added", "changed", "removed"):
        found = getattr(names, what)
        if found:
            yield f"{kind}{'s' * (len(found) > 1)} {', '.join(found)} {what}"
