"""`test` and `preview`: what a target would be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from notifier.commands import completion
from notifier.commands.common import EXIT_FAILED, ConfigOption, check_type, load, no_such, screen

if TYPE_CHECKING:
    from notifier.model import Event
    from notifier.sending import Preview
    from notifier.settings import Settings

TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="A target's name.", autocompletion=completion.targets)
]
EventOption = Annotated[
    str,
    typer.Option(
        "--event", metavar="TYPE", help="The type of the sample event.", autocompletion=completion.event_types
    ),
]
_DEFAULT = "backfill.completed"


def send_sample(
    context: typer.Context, target: TargetArgument, event: EventOption = _DEFAULT, config: ConfigOption = None
) -> None:
    """Send a sample event to one target and print the outcome.

    The sample is marked as a test: in a webhook's body, and in the text of a Slack message.
    """
    import asyncio
    import time

    from rich.text import Text

    from notifier.assembly import make_targets, open_session
    from notifier.sending import SendError, Shipment

    settings = load(context, config).settings
    sample = _sample(settings, target, event)

    async def send() -> None:
        async with open_session() as session:
            await make_targets(settings, session)[target].send(Shipment(events=(sample,)))

    started = time.monotonic()
    try:
        with screen(err=True).status(Text(f"sending {event} to {target} …")):
            asyncio.run(send())
    except SendError as error:
        unknown = " (it may have arrived all the same)" if error.outcome_unknown else ""
        typer.echo(f"notifier: {target}: not delivered: {error.reason}{unknown}", err=True)
        raise typer.Exit(EXIT_FAILED) from error
    took = (time.monotonic() - started) * 1000
    typer.echo(f"{target}: delivered {event} ({sample.id}) in {took:.0f} ms")


def preview(
    context: typer.Context, target: TargetArgument, event: EventOption = _DEFAULT, config: ConfigOption = None
) -> None:
    """Print what would be sent to a target; send nothing.

    The body goes to standard output, exactly as it would be sent; the request's first line and headers,
    and how Slack would show a message and what follows it, go to standard error.
    """
    import asyncio
    import sys

    from notifier.assembly import make_targets, open_session

    settings = load(context, config).settings
    sample = _sample(settings, target, event)

    async def look() -> Preview:
        async with open_session() as session:
            return make_targets(settings, session)[target].preview(sample)

    found = asyncio.run(look())
    typer.echo(found.request, err=True)
    for name, value in found.headers.items():
        typer.echo(f"{name}: {value}", err=True)
    typer.echo(err=True)
    sys.stdout.buffer.write(found.body + b"\n")
    sys.stdout.flush()
    _draw(settings, target, found)


def _draw(settings: Settings, target: str, found: Preview) -> None:
    import json

    from notifier.drawing import draw_message
    from notifier.targets.slack.settings import SlackSettings

    if not isinstance(settings.targets[target], SlackSettings):
        return
    out = screen(err=True)
    out.print()
    out.print(draw_message(json.loads(found.body)))
    if found.reply is not None:
        reply = json.loads(found.reply)
        channel = ", and shows it in the channel, too" if reply.get("reply_broadcast") else ""
        out.print()
        out.print(f"For a job that has a card it edits that one, and replies in its thread{channel}:")
        out.print()
        out.print(draw_message(reply))


def _sample(settings: Settings, target: str, type_: str) -> Event:
    import secrets

    from notifier.model import utc_now
    from notifier.sample import sample_event

    if target not in settings.targets:
        no_such("target", target, list(settings.targets))
    check_type(type_)
    return sample_event(
        type_, source=settings.sources[0].name, event_id=f"evt_{secrets.token_hex(16)}", now=utc_now()
    )
