"""`retry`: what changes the outbox, through the daemon or, when none runs, in its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from notifier.commands import completion
from notifier.commands.common import ConfigOption, check_state, fail, fail_usage, refused

if TYPE_CHECKING:
    from pathlib import Path

    from notifier.commands.link import Link
    from notifier.replays import Order


def retry(
    context: typer.Context,
    delivery_id: Annotated[
        str | None,
        typer.Argument(metavar="DELIVERY_ID", help="A dead letter, as `deliveries --state dead` lists it."),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All dead letters.")] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="With --dead: only those for this target.",
            autocompletion=completion.targets,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make dead letters pending again.

    A running daemon sends them at once, whatever else waits; else the next run does.
    """
    import os

    from notifier.commands.link import RefusedError, find_daemon
    from notifier.config import load_store, read_names
    from notifier.problem import ConfigError
    from notifier.replays import Order, RefusedOrderError
    from notifier.storage import StoreError
    from notifier.summary import counted

    if bool(delivery_id) == dead:
        fail_usage("retry wants a DELIVERY_ID or --dead, one of them; see notifier deliveries --state dead")
    if target is not None and not dead:
        fail_usage("--target goes with --dead")
    order = Order(id=delivery_id, target=target)
    try:
        state = load_store(config or context.obj, os.environ).path
        link = find_daemon(state)
        names = read_names(config or context.obj, os.environ)["targets"] or None
        retried = _in_state(state, order, names) if link is None else _by_daemon(link, order)
    except ConfigError as error:
        raise refused(error) from error
    except (StoreError, RefusedError, RefusedOrderError) as error:
        fail(str(error))
    if not retried:
        typer.echo(f"there are no dead letters{f' for {target}' if target else ''} to retry")
        return
    what = counted(len(retried), "dead letter is", "dead letters are")
    typer.echo(
        f"{what} pending again" + ("; sent by the next `notifier run` or `once`" if link is None else "")
    )


def _by_daemon(link: Link, order: Order) -> list[str]:
    from urllib.parse import quote

    from notifier.replays import Retried

    if order.id is not None:
        path = f"/api/v1/deliveries/{quote(order.id, safe='', errors='surrogateescape')}/retry"
        return link.post(path, {}, Retried).retried
    return link.post("/api/v1/deliveries/retry", {"target": order.target}, Retried).retried


def _in_state(path: Path, order: Order, targets: list[str] | None) -> list[str]:
    import asyncio
    from functools import partial

    from notifier.replays import RefusedOrderError, Replays
    from notifier.state import State
    from notifier.store.sqlite import SqliteStore

    if targets is not None and order.target is not None and order.target not in targets:
        raise RefusedOrderError(f"there is no target {order.target}")
    check_state(path)

    async def carry_out() -> list[str]:
        async with State(partial(SqliteStore, path)) as state:
            return await Replays(state, targets=targets).carry_out(order)

    return asyncio.run(carry_out())
