"""What the demo does and prints, from the first line to the verdict."""

import asyncio
import contextlib
import secrets
import signal
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from notifier.demo import allium, receiver, slack
from notifier.demo.allium import SimulatedAllium
from notifier.demo.daemon import Daemon
from notifier.demo.receiver import Receiver
from notifier.demo.slack import Channel, FakeSlack, Post
from notifier.drawing import draw_message
from notifier.fields import new_signing_secret
from notifier.glob import matches
from notifier.summary import counted
from notifier.targets.slack.look import look_of

_WIND_UP_SECONDS = 2.5
_CATCH_UP_SECONDS = 15.0
_LOOK_EVERY_SECONDS = 0.05
_SEED = 113
_CHANNEL = "data-backfills"
_TABLES = "base.dex.*"
"""Of the jobs that Slack is told of: all of them would be more than a message a second."""
_COLOURS = {
    "staging": "cyan",
    "transporting": "blue",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
}

Transitions = dict[str, list[tuple[str | None, str]]]


async def run_demo(seconds: float | None, port: int) -> bool:
    """Run until the time is over or Ctrl-C; return whether exactly what happened was announced.

    The status page is served on the port; raises OSError when it is taken.
    """
    page_port = _free(port)
    console = Console(highlight=False, soft_wrap=True)
    show = _Show(console)
    drawn = {
        "DEMO_API_KEY": f"demo-{secrets.token_hex(8)}",
        "DEMO_WEBHOOK_SECRET": new_signing_secret(),
        "DEMO_SLACK_TOKEN": f"xoxb-demo-{secrets.token_hex(8)}",
    }
    world = World(
        api=SimulatedAllium(drawn["DEMO_API_KEY"], _SEED),
        hooks=Receiver(drawn["DEMO_WEBHOOK_SECRET"], show.event),
        slack=FakeSlack(
            Channel(id="C0DEMO", name=_CHANNEL),
            token=drawn["DEMO_SLACK_TOKEN"],
            seen=show.post,
            edited=show.edit,
            posts_a_second=1.0,
        ),
    )
    world.slack.scopes = {"chat:write", "channels:history"}
    async with _served(world) as url:
        with tempfile.TemporaryDirectory(prefix="notifier-demo-") as directory:
            daemon = Daemon(Path(directory), show.log)
            show.opening(url, f"http://127.0.0.1:{page_port}/", directory, seconds)
            await daemon.start(
                url=url,
                page_port=page_port,
                hook=receiver.PATH,
                channel=_CHANNEL,
                tables=_TABLES,
                secrets=drawn,
            )
            try:
                died = await _until_over(daemon, seconds)
                if not died:
                    world.api.freeze()
                    await _caught_up(world)
                code = await daemon.stop()
            finally:
                daemon.kill()  # when nobody reads what is printed, too
    return show.verdict(world, daemon, code)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """All that the daemon talks to."""

    api: SimulatedAllium
    hooks: Receiver
    slack: FakeSlack

    def faults(self) -> list[str]:
        """Return a line for each job, message or card that is not as it happened."""
        subjects = self.hooks.subjects
        due = Counter(id_ for id_, (_, table) in subjects.items() if matches(_TABLES, table))
        posted = Counter(map(_event_id, self.slack.posts))
        lines = differences(self.api.served, self.hooks.announced)
        lines += [f"{id_}: not posted to Slack" for id_ in due - posted]
        lines += [f"{id_}: posted to Slack once too often" for id_ in posted - due]
        for card in self.cards:
            job_id, _ = subjects.get(_event_id(card), ("", ""))
            _, status = self.api.served.get(job_id, [(None, "")])[-1]
            if not card.shown["text"].startswith(look_of(f"backfill.{status}").emoji):
                lines.append(f"{job_id}: is {status}, and its card says: {card.shown['text']}")
        return lines

    @property
    def cards(self) -> list[Post]:
        """What stands in the channel itself."""
        return [post for post in self.slack.posts if post.thread_ts is None]

    @property
    def edits(self) -> int:
        """How often cards were edited."""
        return sum(len(card.edits) for card in self.cards)


def _event_id(post: Post) -> str:
    return str(post.message["metadata"]["event_payload"]["event_id"])


def differences(served: Transitions, announced: Transitions) -> list[str]:
    """Return, for each job that was not announced as it was served, a line that says how."""
    return [
        f"{job_id}: served {_chain(served.get(job_id, []))}; announced {_chain(announced.get(job_id, []))}"
        for job_id in sorted(served.keys() | announced.keys())
        if served.get(job_id, []) != announced.get(job_id, [])
    ]


def _chain(transitions: list[tuple[str | None, str]]) -> str:
    return ", ".join(f"{previous or 'new'}→{status}" for previous, status in transitions) or "nothing"


class _Show:
    """Prints the demo."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def opening(self, url: str, page: str, directory: str, seconds: float | None) -> None:
        title = "backfill-notifier: the real daemon between a simulated API, a webhook receiver and Slack"
        ends = "Ctrl-C ends it" if seconds is None else f"ends after {seconds:g} s"
        self._console.print(title, style="bold")
        for what, value in (
            ("simulated API", f"{url}{allium.PATH}"),
            ("webhook receiver", f"{url}{receiver.PATH}: every event; refuses what is not signed"),
            (
                "Slack stand-in",
                f"{url}{slack.API}: a card a job on {_TABLES}; takes one message a second",
            ),
            ("status page", f"{page}  the daemon's own, live"),
            ("config and state", directory),
            ("what happens", f"about 20 jobs a minute, polled every second; {ends}"),
        ):
            self._console.print(f"  {what:<17} {value}", style="dim")
        self._console.print()

    def event(self, event: dict[str, Any]) -> None:
        status = event["data"]["status"]
        line = Text.assemble(
            (event["timestamp"][11:19], "dim"),
            ("  webhook  ", "dim"),
            (f"● {status:<13}", _COLOURS.get(status, "magenta")),
            event["data"]["summary"],
        )
        self._console.print(line)

    def post(self, post: Post) -> None:
        where = "" if post.thread_ts is None else " in the thread of the job's card"
        self._message(post, where + (" and in the channel" if post.broadcast else ""), post.message)

    def edit(self, post: Post) -> None:
        self._message(post, " edits the card", post.shown)

    def _message(self, post: Post, where: str, message: dict[str, Any]) -> None:
        head = Text.assemble(
            (f"{datetime.now(UTC):%H:%M:%S}", "dim"),
            ("  slack    ", "dim"),
            (f"#{post.channel.name}", "bold"),
            (where, "dim"),
        )
        self._console.print(head)
        self._console.print(Padding.indent(draw_message(message), 10))

    def log(self, line: str) -> None:
        if " INFO " not in line or any(word in line for word in (" watching ", " stopp", "from before")):
            self._console.print(Text(f"daemon: {line.partition(' ')[2].strip()}", "dim italic"))

    def verdict(self, world: World, daemon: Daemon, code: int) -> bool:
        api, hooks, faults = world.api, world.hooks, world.faults()
        if code != 0:
            faults.append(f"the daemon ended with exit code {code}; its last lines:")
            faults.extend(f"  {line}" for line in daemon.log)
        if not api.polls:
            faults.append("the daemon never polled")
        happened = sum(map(len, api.served.values()))
        repeated = f", {hooks.repeats} of them repeated" if hooks.repeats else ""
        self._console.print(
            f"\n{api.jobs} jobs in {api.polls} polls: {happened} transitions happened, "
            f"{len(hooks.subjects)} were announced{repeated}, {len(world.slack.posts)} of them to Slack: "
            f"{counted(len(world.cards), 'card')}, edited {counted(world.edits, 'time')}."
        )
        if faults:
            self._console.print("What was announced is not what happened:", style="bold red")
            for fault in faults:
                self._console.print(Text(f"  {fault}", "red"))
        elif not happened:
            self._console.print("It ended before anything happened.", style="yellow")
        else:
            self._console.print("Everything that happened was announced, in order, once.", style="bold green")
        return not faults


@contextlib.asynccontextmanager
async def _served(world: World) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get(allium.PATH, world.api.list_backfills)
    app.router.add_get("/jobs/{job_id}", world.api.show_job)
    app.router.add_post(receiver.PATH, world.hooks.take)
    app.router.add_routes(world.slack.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _free(port: int) -> int:
    """Return this port of 127.0.0.1, or for 0 any that is free. Raises OSError when it is taken."""
    with socket.create_server(("127.0.0.1", port)) as probe:
        return int(probe.getsockname()[1])


async def _until_over(daemon: Daemon, seconds: float | None) -> bool:
    """Wait for the end of the time or a signal; return True when the daemon ended before."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    waiting = asyncio.create_task(over.wait())
    ending = asyncio.create_task(daemon.ended())
    timeout = None if seconds is None else max(1.0, seconds - _WIND_UP_SECONDS)
    await asyncio.wait({waiting, ending}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    died = ending.done()
    for task in (waiting, ending):
        task.cancel()
    await asyncio.gather(waiting, ending, return_exceptions=True)
    return died


async def _caught_up(world: World) -> None:
    """Wait until the frozen world has been polled and announced; the verdict tells when it never is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CATCH_UP_SECONDS):
            while not world.api.polls_since_frozen or world.faults():  # noqa: ASYNC110 - a look at all parties
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
