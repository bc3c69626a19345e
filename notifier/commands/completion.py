"""What the shell offers for an argument; a config that cannot be read offers nothing."""

from __future__ import annotations

import os

import typer  # noqa: TC002 - typer evaluates the annotations


def targets(context: typer.Context) -> list[str]:
    """Return the names of the configured targets."""
    return _names(context, "targets")


def sources(context: typer.Context) -> list[str]:
    """Return the names of the configured sources."""
    return _names(context, "sources")


def event_types() -> list[str]:
    """Return the types of events."""
    from notifier.model import ALL_TYPES

    return list(ALL_TYPES)


def delivery_states() -> list[str]:
    """Return the states of deliveries."""
    from notifier.model import DELIVERY_STATES

    return list(DELIVERY_STATES)


def _names(context: typer.Context, what: str) -> list[str]:
    from notifier.config import read_names

    top = context.find_root()
    return read_names(context.params.get("config") or top.params.get("config"), os.environ)[what]
