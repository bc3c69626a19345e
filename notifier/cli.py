"""The command line: which commands there are (contract, section 7)."""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from notifier import __version__
from notifier.commands import backup, change, daemon, health, look, message, mute, setup
from notifier.commands.common import EXIT_FAILED, ConfigOption

app = typer.Typer(
    name="notifier",
    help="Tells Slack and webhooks what happens to your Allium Beam backfills, and never loses an event.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "run": daemon.run,
    "once": daemon.once,
    "reload": daemon.reload,
    "check": setup.check,
    "test": message.send_sample,
    "preview": message.preview,
    "explain": setup.explain,
    "health": health.health,
    "status": look.status,
    "jobs": look.jobs,
    "deliveries": look.deliveries,
    "demo": daemon.demo,
    "retry": change.retry,
    "mute": mute.mute,
    "unmute": mute.unmute,
    "mutes": look.mutes,
    "backup": backup.backup,
    "keygen": setup.keygen,
    "schema": setup.schema,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)


def main() -> None:
    """Run the command line. What standard output cannot take is an error like any other."""
    # One that is closed from the start is None.
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            for stream in streams:
                stream.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EPIPE):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again as it ends
        typer.echo(f"notifier: cannot write: {os.strerror(error.errno).lower()}", err=True)
        sys.exit(EXIT_FAILED)


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
