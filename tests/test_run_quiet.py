"""`notifier run` as a process, with quiet hours around the present time."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.daemon import Daemon, write_config
from tests.servers import ScriptedServer, job


def quiet(begins: datetime, ends: datetime) -> str:
    return f'quiet = {{ from = "{begins:%H:%M}", to = "{ends:%H:%M}", except = ["backfill.failed"] }}'


def with_quiet(config: Path, line: str) -> Path:
    """Write the line into the config of the target; return its path."""
    config.write_text(config.read_text().replace('timeout = "60s"', f'timeout = "60s"\n{line}'))
    return config


def told(receiver: ScriptedServer) -> list[tuple[str, str]]:
    return [(event["data"]["job_id"], event["data"]["status"]) for event in receiver.events]


async def test_what_is_excepted_goes_at_once_and_the_rest_when_it_is_quiet_no_longer(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    now = datetime.now(UTC)
    line = quiet(now - timedelta(hours=2), now + timedelta(hours=2))
    config = with_quiet(write_config(tmp_path, api, receiver), line)
    api.answer = []
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a"), job("b")]
        await daemon.logged("2 deliveries are held")
        api.answer = [job("a", "failed"), job("b")]
        await receiver.arrived(2)
        await daemon.logged("ops: delivered backfill.failed")
        assert await daemon.ends(signal.SIGTERM) == 0
        assert "gave up" not in "".join(daemon.lines)
    assert told(receiver) == [("a", "staging"), ("a", "failed")]
    config.write_text(config.read_text().replace(line, ""))
    async with Daemon(config) as daemon:
        await receiver.arrived(3)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert told(receiver)[2:] == [("b", "staging")]


@pytest.mark.soak
async def test_what_is_held_goes_at_the_end_of_the_quiet_hours(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    """It waits for the end of a minute, as people write times: up to 80 seconds."""
    now = datetime.now(UTC)
    ends = (now + timedelta(seconds=80)).replace(second=0, microsecond=0)
    config = with_quiet(write_config(tmp_path, api, receiver), quiet(now - timedelta(hours=2), ends))
    api.answer = []
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a"), job("b")]
        await daemon.logged(f"quiet until {ends:%a %H:%M} UTC, 2 deliveries are held")
        async with asyncio.timeout((ends - datetime.now(UTC)).total_seconds() + 5):
            while not receiver.requests:  # noqa: ASYNC110 - longer than it waits otherwise
                await asyncio.sleep(0.01)
        assert datetime.now(UTC) - ends < timedelta(seconds=2)
        await receiver.arrived(2)
        await daemon.logged("no longer quiet, 2 deliveries were held")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert told(receiver) == [("a", "staging"), ("b", "staging")]
