"""`mute` and `unmute`: through the daemon or, when none runs, in its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from notifier.commands import completion
from notifier.commands.common import ConfigOption, check_state, fail, fail_usage, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from notifier.commands.link import Link
    from notifier.items import MuteItem
    from notifier.muting import MuteOrder
    from notifier.state import State

_Answer = TypeVar("_Answer")


def mute(  # noqa: PLR0917 - the options of the command
    context: typer.Context,
    length: Annotated[str, typer.Option("--for", metavar="TIME", help='For how long, such as "2h" or "3d".')],
    job_id: Annotated[str | None, typer.Argument(metavar="JOB_ID", help="A job, as `jobs` lists it.")] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="GLOB", help='Jobs of such tables: "base.*".')
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="GLOB", help='Jobs of such names: "*usdc*".')
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Jobs of this source; alone: all of them, and its own failing.",
            autocompletion=completion.sources,
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for others.")] = None,
    config: ConfigOption = None,
) -> None:
    """Do not notify about some jobs until a time. What is named must all match.

    What happens meanwhile is kept and counted, not sent; cards stay true. When the mute ends, what is
    different from what was last announced is announced.
    """
    from notifier.duration import parse_duration, spell_duration
    from notifier.muting import MuteOrder
    from notifier.summary import counted

    if not any((job_id, table, name, source)):
        fail_usage("mute wants a JOB_ID, --table, --name or --source; see notifier jobs")
    try:
        lasting = parse_duration(length)
    except ValueError as error:
        fail_usage(f"--for: {error}")
    order = MuteOrder(job_id=job_id, table=table, name=name, source=source, length=lasting, reason=reason)
    made = _carry_out(
        context,
        config,
        lambda link: _mute_by(link, order, length),
        lambda state, sources: _mute_in(state, sources, order),
    )
    number = None if job_id is not None else made.matching
    jobs = "" if number is None else f", {counted(number, 'known job')} so far"
    typer.echo(f"muted for {spell_duration(lasting)}{jobs}: {made.id}")


def unmute(
    context: typer.Context,
    id_: Annotated[
        str, typer.Argument(metavar="JOB_ID_OR_MUTE_ID", help="A job that is muted, or a mute of `mutes`.")
    ],
    config: ConfigOption = None,
) -> None:
    """End mutes, and tell what they kept from people."""
    from urllib.parse import quote

    from notifier.muting import Muting, Unmuted

    path = f"/api/v1/mutes/{quote(id_, safe='', errors='surrogateescape')}"
    ended = _carry_out(
        context,
        config,
        lambda link: link.delete(path, Unmuted).unmuted,
        lambda state, _: Muting(state).unmute(id_),
    )
    typer.echo(f"unmuted: {', '.join(ended)}")


def _mute_by(link: Link, order: MuteOrder, length: str) -> MuteItem:
    from notifier.items import MuteItem
    from notifier.muting import check_mute

    check_mute(order)
    body = {
        "job_id": order.job_id,
        "table": order.table,
        "name": order.name,
        "source": order.source,
        "reason": order.reason,
        "for": length,
    }
    return link.post("/api/v1/mutes", body, MuteItem)


async def _mute_in(state: State, sources: list[str], order: MuteOrder) -> MuteItem:
    from notifier.items import show_mute
    from notifier.muting import Muting

    return show_mute(state.records, await Muting(state, sources=sources or None).mute(order))


def _carry_out(
    context: typer.Context,
    config: Path | None,
    by_daemon: Callable[[Link], _Answer],
    in_state: Callable[[State, list[str]], Coroutine[Any, Any, _Answer]],
) -> _Answer:
    import os

    from notifier.commands.link import RefusedError, find_daemon
    from notifier.config import load_store, read_names
    from notifier.muting import RefusedMuteError
    from notifier.problem import ConfigError
    from notifier.storage import StoreError

    try:
        state = load_store(config or context.obj, os.environ).path
        link = find_daemon(state)
        if link is not None:
            return by_daemon(link)
        return _in_state(state, read_names(config or context.obj, os.environ)["sources"], in_state)
    except ConfigError as error:
        raise refused(error) from error
    except (StoreError, RefusedError, RefusedMuteError) as error:
        fail(str(error))


def _in_state(
    path: Path, sources: list[str], order: Callable[[State, list[str]], Coroutine[Any, Any, _Answer]]
) -> _Answer:
    import asyncio
    from functools import partial

    from notifier.state import State
    from notifier.store.sqlite import SqliteStore

    check_state(path)

    async def carry_out() -> _Answer:
        async with State(partial(SqliteStore, path)) as state:
            return await order(state, sources)

    return asyncio.run(carry_out())
