"""`health`: whether the daemon that runs works, for whatever starts it again when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from notifier.commands.common import EXIT_FAILED, ConfigOption, fail, refused

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_WITHIN_SECONDS = 5.0
"""Shorter than the patience of those who ask again and again: they want to be told why."""


def health(context: typer.Context, config: ConfigOption = None) -> None:
    """Say whether the daemon works. Exits with 1 when it does not, and when none runs."""
    from notifier.commands.link import Health, find_daemon
    from notifier.storage import StoreError

    state = _find_state(config or context.obj)
    try:
        daemon = find_daemon(state, within_seconds=_ANSWER_WITHIN_SECONDS)
        answer = None if daemon is None else daemon.get("/healthz", Health)
    except StoreError as error:
        fail(str(error))
    if answer is None:
        fail(f"no daemon runs on {state}")
    if not answer.healthy:
        for reason in answer.reasons:
            typer.echo(reason)
        raise typer.Exit(EXIT_FAILED)
    typer.echo("healthy")


def _find_state(config: Path | None) -> Path:
    import os
    from contextlib import suppress

    from notifier.storage import path_of

    if config is None:
        # Asked twice a minute for years: loading the config takes longer than all the rest, and is needed
        # only where this variable, which overrides it, is not set, or to say what is wrong with it.
        with suppress(ValueError):
            return path_of(os.environ.get("NOTIFIER_STATE", ""))
    from notifier.config import load_store
    from notifier.problem import ConfigError

    try:
        return load_store(config, os.environ).path
    except ConfigError as error:
        raise refused(error) from error
