"""`check`, `explain`, `schema` and `keygen`: what helps to write a config."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from notifier.commands import completion
from notifier.commands.common import EXIT_FAILED, ConfigOption, check_type, load, no_such, screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifier.settings import Settings


def check(
    context: typer.Context,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also try each API key and each Slack token; posts nothing.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Check the config and print what it means."""
    import asyncio

    from notifier.connection import try_connections
    from notifier.explanation import explain_config
    from notifier.silence import unheard

    loaded = load(context, config, warn=True)
    warnings = [*unheard(loaded.settings), *_lost(loaded.settings)]
    for line in warnings:
        typer.echo(f"notifier: warning: {line}", err=True)
    typer.echo(explain_config(loaded, len(warnings) + len(loaded.warnings)), nl=False)
    if not connect:
        return
    with screen(err=True).status("trying the connections …"):
        results = asyncio.run(try_connections(loaded.settings))
    out = screen()
    out.print("\nconnections", style="bold")
    for result in results:
        sign, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[result.good]
        out.print(f"  {sign} ", style=style, end="")
        out.print(f"{result.name}: {result.words}")
    if any(result.good is False for result in results):
        raise typer.Exit(EXIT_FAILED)


def _lost(settings: Settings) -> Iterator[str]:
    """Yield what would be given up if the notifier were started on this config."""
    from notifier.commands.knowledge import find_knowledge
    from notifier.outbox import LOST_SOURCE, LOST_TARGET
    from notifier.storage import StoreError
    from notifier.summary import counted

    found: Counter[str] = Counter()
    sources = {source.name for source in settings.sources}
    try:
        for item in find_knowledge(settings.store.path).deliveries("pending", None):
            if item.source not in sources:
                found[f"source {item.source}: {LOST_SOURCE}"] += 1
            elif item.target not in settings.targets:
                found[f"target {item.target}: {LOST_TARGET}"] += 1
    except StoreError:
        return  # there is no state yet, or whoever starts the notifier is told what is wrong with it
    for why, count in sorted(found.items()):
        yield f"a start would give up {counted(count, 'pending delivery', 'pending deliveries')} ({why})"


def explain(  # noqa: PLR0917 - typer passes all of them by name
    context: typer.Context,
    type_: Annotated[
        str,
        typer.Argument(metavar="TYPE", help="A type of event.", autocompletion=completion.event_types),
    ],
    table: Annotated[str | None, typer.Option(metavar="T", help="The job's table.")] = None,
    name: Annotated[str | None, typer.Option(metavar="N", help="The job's name.")] = None,
    destination: Annotated[
        list[str] | None, typer.Option(metavar="D", help="A name or type of the job's destinations.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="S", help="The source.", autocompletion=completion.sources),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Say which targets get an event by which routes, and why."""
    from notifier.explanation import explain_event
    from notifier.route import Subject

    loaded = load(context, config)
    check_type(type_)
    names = [each.name for each in loaded.settings.sources]
    if source is not None and source not in names:
        no_such("source", source, names)
    for each in [source] if source is not None else names:
        subject = Subject(
            type=type_,
            source=each,
            tables=None if table is None else (table,),
            names=None if name is None else (name,),
            destinations=None if destination is None else tuple(destination),
        )
        typer.echo(explain_event(subject, loaded.settings), nl=False)


def keygen() -> None:
    """Print a new signing secret for a webhook."""
    from notifier.fields import new_signing_secret

    typer.echo(new_signing_secret())


def schema() -> None:
    """Print the JSON Schema of the config file, for editors."""
    import json

    from notifier.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
