"""`backup`: a copy of the state."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from notifier.commands.common import ConfigOption, fail, refused


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy is made; it must not exist.")],
    config: ConfigOption = None,
) -> None:
    """Copy the state to a file, also while the daemon runs.

    To restore it: stop the daemon, put the file in the place of the state, start the daemon.
    """
    import os

    from notifier.config import load_store
    from notifier.problem import ConfigError
    from notifier.storage import StoreError
    from notifier.store.backup import back_up

    try:
        state = load_store(config or context.obj, os.environ).path
        back_up(state, file)
    except ConfigError as error:
        raise refused(error) from error
    except FileExistsError:
        fail(f"there is already something at {file}; name a file that does not exist yet")
    except StoreError as error:
        fail(str(error))
    typer.echo(f"copied {state} to {file}")
