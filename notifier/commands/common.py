"""What the commands share: options, loading the config, how a command fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

# Everything else is imported by the command that needs it: `notifier --version` answers at once.
if TYPE_CHECKING:
    from rich.console import Console

    from notifier.config import Config
    from notifier.problem import ConfigError

EXIT_FAILED = 1
EXIT_USAGE = 2

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The config file; else $NOTIFIER_CONFIG, ./notifier.toml or /etc/notifier/notifier.toml; "
        "else the environment alone.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def load(context: typer.Context, config: Path | None, *, warn: bool = False) -> Config:
    """Return the config, with `warn` after telling what is odd about it. Exits with 2 when it is wrong."""
    import os

    from notifier.config import load_config
    from notifier.problem import ConfigError

    try:
        loaded = load_config(config or context.obj, os.environ)
    except ConfigError as error:
        raise refused(error) from error
    for warning in loaded.warnings if warn else ():
        typer.echo(f"notifier: warning: {warning}", err=True)
    return loaded


def check_state(path: Path) -> None:
    """Raise StoreError when there is no state: to open it would make a new one."""
    from notifier.storage import StoreError

    if not path.exists():
        raise StoreError(
            f"there is no state at {path}: nothing was polled yet, or the config names another place"
        )


def refused(error: ConfigError) -> typer.Exit:
    """Tell all that is wrong with a config; return what ends the command."""
    from notifier.config import ENVIRONMENT, USUAL_PLACES

    count = len(error.problems)
    typer.echo(f"notifier: {count} problem{'s' * (count > 1)} in {error.origin}:", err=True)
    for problem in error.problems:
        typer.echo(f"  {problem.where}: {problem.message}", err=True)
    if error.origin == ENVIRONMENT:
        places = " or ".join(map(str, USUAL_PLACES))
        typer.echo(f"  (there is no config file, {places}, and none was named by --config)", err=True)
    return typer.Exit(EXIT_USAGE)


def fail(message: str) -> NoReturn:
    """Say why the command failed and exit with 1."""
    typer.echo(f"notifier: {message}", err=True)
    raise typer.Exit(EXIT_FAILED)


def fail_usage(message: str) -> NoReturn:
    """Say what is wrong with how the command was called and exit with 2."""
    typer.echo(f"notifier: {message}", err=True)
    raise typer.Exit(EXIT_USAGE)


def no_such(what: str, name: str, known: list[str]) -> NoReturn:
    """Say that there is nothing of this name, and exit with 2."""
    from notifier.problem import did_you_mean

    hint = did_you_mean(name, known) or (
        f"; there is {', '.join(known)}" if known else "; there is none at all"
    )
    fail_usage(f'there is no {what} "{name}"{hint}')


def check_type(type_: str) -> None:
    """Exit with 2 unless there can be events of this type; say so when it is of a status nobody knows yet."""
    from notifier.model import ALL_TYPES, is_job_event
    from notifier.problem import did_you_mean

    if type_ in ALL_TYPES:
        return
    if set("*?") & set(type_):
        fail_usage(f'"{type_}" is a pattern; name one type of event')
    if f"backfill.{type_}" in ALL_TYPES:
        fail_usage(f'there is no type of event "{type_}"; did you mean "backfill.{type_}"?')
    if not is_job_event(type_) or type_ == "backfill." or not type_.isprintable():
        no_such("type of event", type_, list(ALL_TYPES))
    hint = did_you_mean(type_, ALL_TYPES)
    typer.echo(f'notifier: "{type_}" is of a status that nobody knows yet{hint}', err=True)


def screen(*, err: bool = False) -> Console:
    """Return what prints tables and colours: on a terminal as wide as it is, else never folded."""
    from rich.console import Console

    console = Console(stderr=err, highlight=False, emoji=False, markup=False)
    if not console.file.isatty():  # is_terminal would be what FORCE_COLOR says
        console.width = 1000
    return console
