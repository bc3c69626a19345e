"""`notifier run` as a process of its own, for tests of what only a process can show."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tests.servers import ScriptedServer

CONFIG = """
[[sources]]
api_key = "key-for-tests"
base_url = "{api}"
poll_every = "{poll_every}"
poll_idle_every = "{poll_every}"

[targets.ops]
type = "webhook"
url = "{receiver}/hooks/ops"
timeout = "60s"

[delivery]
first_retry = "50ms"
max_retry = "200ms"

[store]
url = "sqlite:///{state}"
"""


def write_config(
    directory: Path,
    api: ScriptedServer,
    receiver: ScriptedServer,
    *,
    poll_every: str = "100ms",
    state: Path | None = None,
) -> Path:
    """Write a config for these servers, with the state beside it unless it is elsewhere; return its path."""
    path = directory / "notifier.toml"
    path.write_text(
        CONFIG.format(
            api=api.url, receiver=receiver.url, state=state or directory / "state.db", poll_every=poll_every
        )
    )
    return path


class Process:
    """A process that logs to its standard error; leaving its context kills it if it still runs."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._command = command
        self._environment = environment
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith("NOTIFIER_")}
            | {"NOTIFIER_LISTEN": ""}  # no two of them could have the default address
            | self._environment,
        )
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def logged(self, text: str) -> None:
        """Wait until a line with this text has been logged."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(
                lambda: any(text in line for line in self.lines) or self._reading.done()
            )
        assert any(text in line for line in self.lines), self.lines

    async def said_more(self) -> None:
        """Wait until another line has been logged."""
        before = len(self.lines)
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.lines) > before or self._reading.done())

    async def ends(self, number: signal.Signals | None = None, *, within: float = 20) -> int:
        """Send a signal, if one is given, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(within):
            await self._reading
            return await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._changed:
                self.lines.append(line.decode().rstrip())
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()


class Daemon(Process):
    """A running daemon."""

    def __init__(self, config: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(*(sys.executable, "-m", "notifier", "run", "--config", str(config)), **environment)
