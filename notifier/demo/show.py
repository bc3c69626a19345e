"""What the demo does and prints, from the first line to the verdict."""

import asyncio
import contextlib
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from rich.console import Console
from rich.text import Text

from notifier.demo import allium, receiver
from notifier.demo.allium import SimulatedAllium
from notifier.demo.daemon import Daemon
from notifier.demo.receiver import Receiver
from notifier.fields import new_signing_secret

_WIND_UP_SECONDS = 2.5
_CATCH_UP_SECONDS = 15.0
_LOOK_EVERY_SECONDS = 0.05
_SEED = 7
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

    Raises OSError when it cannot serve on the port.
    """
    console = Console(highlight=False, soft_wrap=True)
    show = _Show(console)
    api_key, secret = f"demo-{secrets.token_hex(8)}", new_signing_secret()
    api = SimulatedAllium(api_key, _SEED)
    hooks = Receiver(secret, show.event)
    async with _served(api, hooks, port) as url:
        with tempfile.TemporaryDirectory(prefix="notifier-demo-") as directory:
            daemon = Daemon(Path(directory), show.log)
            show.opening(url, directory, seconds)
            await daemon.start(url=url, hook=receiver.PATH, api_key=api_key, secret=secret)
            died = await _until_over(daemon, seconds)
            if not died:
                api.freeze()
                await _caught_up(api, hooks)
            code = await daemon.stop()
    return show.verdict(api, hooks, daemon, code)


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

    def opening(self, url: str, directory: str, seconds: float | None) -> None:
        title = "backfill-notifier: the real daemon between a simulated API and a receiver"
        ends = "Ctrl-C ends it" if seconds is None else f"ends after {seconds:g} s"
        self._console.print(title, style="bold")
        for what, value in (
            ("simulated API", f"{url}{allium.PATH}"),
            ("webhook receiver", f"{url}{receiver.PATH}, refuses what is not signed"),
            ("config and state", directory),
            ("what happens", f"about 20 jobs a minute, polled every second; {ends}"),
        ):
            self._console.print(f"  {what:<17} {value}", style="dim")
        self._console.print()

    def event(self, event: dict[str, Any]) -> None:
        data = event["data"]
        status = data["status"]
        line = Text.assemble(
            (event["timestamp"][11:19], "dim"),
            "  ",
            (f"● {status:<13}", _COLOURS.get(status, "magenta")),
            data["summary"],
        )
        self._console.print(line)

    def log(self, line: str) -> None:
        if " INFO " not in line or any(word in line for word in (" watching ", " stopp", "from before")):
            self._console.print(Text(f"daemon: {line.partition(' ')[2].strip()}", "dim italic"))

    def verdict(self, api: SimulatedAllium, hooks: Receiver, daemon: Daemon, code: int) -> bool:
        faults = differences(api.served, hooks.announced)
        if code != 0:
            faults.append(f"the daemon ended with exit code {code}; its last lines:")
            faults.extend(f"  {line}" for line in daemon.log)
        if not api.polls:
            faults.append("the daemon never polled")
        happened = sum(map(len, api.served.values()))
        repeated = f", {hooks.repeats} of them repeated" if hooks.repeats else ""
        self._console.print(
            f"\n{api.jobs} jobs in {api.polls} polls: {happened} transitions happened, "
            f"{hooks.events} were announced{repeated}."
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
async def _served(api: SimulatedAllium, hooks: Receiver, port: int) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get(allium.PATH, api.list_backfills)
    app.router.add_post(receiver.PATH, hooks.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


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


async def _caught_up(api: SimulatedAllium, hooks: Receiver) -> None:
    """Wait until the frozen world has been polled and announced; the verdict tells when it never is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CATCH_UP_SECONDS):
            while (  # noqa: ASYNC110 - one look at two parties
                not api.polls_since_frozen or differences(api.served, hooks.announced)
            ):
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
