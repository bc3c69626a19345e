"""The real daemon as a process of its own, with a config file and a state file like anybody's."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

_CONFIG = """\
# What this demo runs on: the same file you would write, with other addresses.
[[sources]]
name = "demo"
api_key = "${{DEMO_API_KEY}}"
base_url = "{url}"
job_link = "{url}/jobs/{{job_id}}"
poll_every = "1s"
poll_idle_every = "1s"

[targets.receiver]
type = "webhook"
url = "{url}{hook}"
secret = "${{DEMO_WEBHOOK_SECRET}}"

[targets.data-team]
type = "slack"
token = "${{DEMO_SLACK_TOKEN}}"
channel = "#{channel}"
style = "card"
card_refresh = "2s"
broadcast = ["backfill.failed"]
mentions = {{ "backfill.failed" = "<!subteam^S0DATA|data-oncall>" }}
api_url = "{url}/api/"

[[routes]]
to = ["receiver"]

[[routes]]
tables = ["{tables}"]
to = ["data-team"]

[web]
listen = "127.0.0.1:{page_port}"

[store]
url = "sqlite:///{state}"
"""

_STOP_WITHIN_SECONDS = 15.0


class Daemon:
    """`notifier run` in a process of its own; `told` gets each line it logs."""

    def __init__(self, directory: Path, told: Callable[[str], None]) -> None:
        self._directory = directory
        self._told = told
        self.log: deque[str] = deque(maxlen=40)

    async def start(
        self,
        *,
        url: str,
        page_port: int,
        hook: str,
        channel: str,
        tables: str,
        secrets: Mapping[str, str],
    ) -> None:
        """Start it on a config of its own; `secrets` are the variables that the config names."""
        config = self._directory / "notifier.toml"
        state = self._directory / "state.db"
        config.write_text(
            _CONFIG.format(
                url=url, page_port=page_port, hook=hook, channel=channel, tables=tables, state=state
            )
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFIER_")}
        environment |= secrets
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "notifier", "run", "--config", str(config)),
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C ends the demo, which then ends the daemon in order
        )
        self._reading = asyncio.create_task(self._read())

    async def ended(self) -> int:
        """Return its exit code, once it has ended."""
        await asyncio.shield(self._reading)
        return await self._process.wait()

    async def stop(self) -> int:
        """Stop it as a service manager would; return its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_WITHIN_SECONDS):
                return await self.ended()
        except TimeoutError:
            self._process.kill()
            return await self.ended()

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()

    async def _read(self) -> None:
        stream = self._process.stderr
        while stream is not None and (line := await stream.readline()):
            text = line.decode(errors="replace").rstrip()
            self.log.append(text)
            self._told(text)
