"""The commands: arguments, what they print, exit codes (contract, section 7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from notifier import __version__

# Everything else is imported by the command that needs it: `notifier --version` answers at once.
if TYPE_CHECKING:
    from notifier.config import Config

app = typer.Typer(
    name="notifier",
    help="Tells webhooks what happens to your Allium Beam backfills, and never loses an event.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


def main() -> None:
    """Run the command line."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"notifier {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    config: ConfigOption = None,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = config


@app.command()
def run(context: typer.Context, config: ConfigOption = None) -> None:
    """Run the daemon, until SIGTERM or SIGINT."""
    import asyncio

    from notifier import app as process
    from notifier.model import StoreError

    loaded = _load(context, config)
    _set_up_log(loaded)
    try:
        asyncio.run(process.run(loaded.settings))
    except StoreError as error:
        _fail(str(error))


@app.command()
def once(
    context: typer.Context,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Give up, with exit code 1, after this long.")
    ] = "60s",
    config: ConfigOption = None,
) -> None:
    """Poll each source once, send all that is due, and exit: for cron."""
    import asyncio

    from notifier import app as process
    from notifier.duration import parse_duration
    from notifier.model import StoreError

    try:
        limit = parse_duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error
    loaded = _load(context, config)
    _set_up_log(loaded)
    try:
        good = asyncio.run(process.run_once(loaded.settings, limit=limit))
    except StoreError as error:
        _fail(str(error))
    except TimeoutError:
        _fail(f"not finished after {timeout}; what was not sent is sent by the next run")
    if not good:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def check(context: typer.Context, config: ConfigOption = None) -> None:
    """Check the config and print what it means."""
    from notifier.explanation import explain_config

    loaded = _load(context, config)
    typer.echo(explain_config(loaded), nl=False)


@app.command()
def demo(
    seconds: Annotated[
        float | None, typer.Option(min=5.0, metavar="N", help="End after N seconds; else on Ctrl-C.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="P", help="Serve on this port of 127.0.0.1; 0: a free one."),
    ] = 0,
) -> None:
    """Run the whole system here, with no account: simulated API, daemon, receiver."""
    import asyncio
    import os

    from notifier.demo.show import run_demo

    try:
        good = asyncio.run(run_demo(seconds, port))
    except OSError as error:
        _fail(f"cannot serve on 127.0.0.1:{port}: {os.strerror(error.errno or 0).lower()}")
    if not good:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def keygen() -> None:
    """Print a new signing secret for a webhook."""
    from notifier.fields import new_signing_secret

    typer.echo(new_signing_secret())


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config file, for editors."""
    import json

    from notifier.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _load(context: typer.Context, config: Path | None) -> Config:
    import os

    from notifier.config import load_config
    from notifier.problem import ConfigError

    try:
        loaded = load_config(config or context.obj, os.environ)
    except ConfigError as error:
        count = len(error.problems)
        typer.echo(f"notifier: {count} problem{'s' * (count > 1)} in {error.origin}:", err=True)
        for problem in error.problems:
            typer.echo(f"  {problem.where}: {problem.message}", err=True)
        raise typer.Exit(EXIT_USAGE) from error
    for warning in loaded.warnings:
        typer.echo(f"notifier: warning: {warning}", err=True)
    return loaded


def _set_up_log(loaded: Config) -> None:
    from notifier.log import set_up_log

    log = loaded.settings.log
    set_up_log(level=log.level, format=log.format)


def _fail(message: str) -> NoReturn:
    typer.echo(f"notifier: {message}", err=True)
    raise typer.Exit(EXIT_FAILED)
