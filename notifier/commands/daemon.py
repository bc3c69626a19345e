"""`run`, `once` and `demo`: what polls and sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from notifier.commands.common import EXIT_FAILED, ConfigOption, fail, fail_usage, load, refused

if TYPE_CHECKING:
    from notifier.config import Config


_BAD_CONFIG = 422


def run(context: typer.Context, config: ConfigOption = None) -> None:
    """Run the daemon, until SIGTERM or SIGINT."""
    import os
    from functools import partial
    from pathlib import Path

    _heed_early_stop()
    from notifier.app import run as run_daemon
    from notifier.config import ENVIRONMENT, load_config
    from notifier.storage import StoreError
    from notifier.watchdog import StuckError

    loaded = load(context, config)
    _set_up_log(loaded)
    try:
        file = None if loaded.origin == ENVIRONMENT else Path(loaded.origin)
        run_daemon(loaded, partial(load_config, file, os.environ))
    except (StoreError, StuckError) as error:
        _end(loaded, str(error))


def once(
    context: typer.Context,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Give up after this long, with exit code 1.")
    ] = "60s",
    config: ConfigOption = None,
) -> None:
    """Poll once, send all that is due, and exit: for cron."""
    from notifier.duration import parse_duration
    from notifier.once import run_once
    from notifier.process import StoppedError
    from notifier.storage import StoreError
    from notifier.watchdog import StuckError

    try:
        limit = parse_duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error
    loaded = load(context, config)
    _set_up_log(loaded)
    try:
        good = run_once(loaded.settings, limit=limit)
    except (StoreError, StuckError) as error:
        _end(loaded, str(error))
    except StoppedError:
        _end(loaded, "stopped; what was not sent is sent by the next run")
    except TimeoutError:
        _end(loaded, f"not finished after {timeout}; what was not sent is sent by the next run")
    if not good:
        raise typer.Exit(EXIT_FAILED)


def reload(context: typer.Context, config: ConfigOption = None) -> None:
    """Have the running daemon read its config again."""
    import os
    from pathlib import Path

    from notifier.commands.link import RefusedError, find_daemon
    from notifier.config import find_config, load_store
    from notifier.difference import Reloaded
    from notifier.problem import ConfigError
    from notifier.spelling import spell_difference, spell_restart
    from notifier.storage import StoreError

    try:
        state = load_store(config or context.obj, os.environ).path
        link = find_daemon(state)
        if link is None:
            fail(
                f"no daemon runs on {state}: there is nothing to reload. One whose config named another "
                "[store] has to be restarted to follow that"
            )
        reloaded = link.post("/api/v1/reload", {}, Reloaded)
        ours = find_config(config or context.obj, os.environ)
    except ConfigError as error:
        raise refused(error) from error
    except RefusedError as error:
        (fail_usage if error.status == _BAD_CONFIG else fail)(str(error))
    except StoreError as error:
        fail(str(error))
    found = reloaded.difference
    typer.echo(f"reloaded: {'; '.join(spell_difference(found)) or 'nothing has changed'}")
    if found.restart_needed:
        typer.echo(f"notifier: restart needed: {spell_restart(found)}", err=True)
    if Path(ours).resolve() != Path(reloaded.config).resolve():
        fail(f"the daemon has read its own config, {reloaded.config}, and not {ours}")


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=5.0, metavar="N", help="End after N seconds; else on Ctrl-C.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="P", help="Of the status page on 127.0.0.1; 0: a free one."),
    ] = 0,
) -> None:
    """Run the whole system here, with no account.

    A simulated API, the real daemon, a stand-in for Slack and a webhook receiver.
    """
    import asyncio
    import os

    from notifier.demo.show import run_demo

    try:
        good = asyncio.run(run_demo(seconds, port))
    except OSError as error:
        fail(f"cannot serve on 127.0.0.1:{port}: {os.strerror(error.errno or 0).lower()}")
    if not good:
        raise typer.Exit(EXIT_FAILED)


def _heed_early_stop() -> None:
    """Let SIGTERM end the first process of a container until the daemon handles it.

    The kernel gives that process no signal that it does not handle (pid_namespaces(7)): a stop just after the
    start would wait for a kill.
    """
    import os
    import signal
    import sys

    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _end(loaded: Config, message: str) -> NoReturn:
    """Say why it ends, to programs in the log's own format, and exit with 1."""
    import logging

    if loaded.settings.log.format == "text":
        fail(message)
    logging.getLogger(__name__).critical("%s", message)
    raise typer.Exit(EXIT_FAILED)


def _set_up_log(loaded: Config) -> None:
    import logging

    from notifier.log import set_up_log

    log = loaded.settings.log
    set_up_log(level=log.level, format=log.format)
    for warning in loaded.warnings:
        logging.getLogger(__name__).warning("config: %s", warning)
