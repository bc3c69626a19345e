"""`status`, `jobs`, `deliveries` and `mutes`: what is known, asked of the daemon or read from the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from notifier.commands import completion
from notifier.commands.common import ConfigOption, JsonOption, fail, refused, screen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import RenderableType

    from notifier.commands.knowledge import Knowledge
    from notifier.items import JobItem

_Answer = TypeVar("_Answer")

LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Only the newest N.", show_default=False)
]


def status(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Say how polls are going, what waits and what failed."""
    from notifier.commands.tables import status_tables

    found = _ask(context, config, lambda known: known.status())
    _show(found, json, status_tables)


def jobs(
    context: typer.Context,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only jobs of this status.")
    ] = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the jobs as last seen, the newest first."""
    from itertools import islice

    from notifier.commands.tables import jobs_table

    def question(known: Knowledge) -> list[JobItem]:
        found = known.jobs(limit if status is None else None)
        return list(islice((item for item in found if status in (None, item.status)), limit))

    items = _ask(context, config, question)
    _show(items, json, jobs_table)


def deliveries(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only those that are pending, delivered or dead.",
            autocompletion=completion.delivery_states,
        ),
    ] = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List deliveries and what became of them, the newest first."""
    from itertools import islice

    from notifier.commands.tables import deliveries_table
    from notifier.model import DELIVERY_STATES, is_delivery_state

    if state is not None and not is_delivery_state(state):
        raise typer.BadParameter(f"must be one of {', '.join(DELIVERY_STATES)}", param_hint="--state")
    items = _ask(context, config, lambda known: list(islice(known.deliveries(state, limit), limit)))
    _show(items, json, deliveries_table)


def mutes(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the mutes that hold, the newest first."""
    from notifier.commands.tables import mutes_table

    _show(_ask(context, config, lambda known: list(known.mutes())), json, mutes_table)


def _ask(context: typer.Context, config: Path | None, question: Callable[[Knowledge], _Answer]) -> _Answer:
    import os

    from notifier.commands.knowledge import find_knowledge
    from notifier.config import load_store
    from notifier.problem import ConfigError
    from notifier.storage import StoreError

    try:
        return question(find_knowledge(load_store(config or context.obj, os.environ).path))
    except ConfigError as error:
        raise refused(error) from error
    except StoreError as error:
        fail(str(error))


def _show(found: _Answer, json: bool, draw: Callable[[_Answer], RenderableType]) -> None:
    if json:
        _print_json(found)
    else:
        screen().print(draw(found))


def _print_json(value: Any) -> None:
    import re

    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    # JSON leaves these as they are; to a terminal the first are commands, the others turn text around.
    odd = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
    typer.echo(odd.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
