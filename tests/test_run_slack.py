"""`notifier run` as a process, between a scripted API and a Slack that checks what it takes."""

import itertools
import signal
import time
from pathlib import Path

from aiohttp import web

from tests.daemon import Daemon
from tests.servers import ScriptedServer, job
from tests.slack import TOKEN, CheckedSlack

CONFIG = """
[[sources]]
api_key = "key-for-tests"
base_url = "{api}"
poll_every = "1s"
poll_idle_every = "1s"

[targets.data-team]
type = "slack"
token = "{token}"
channel = "#data-backfills"
api_url = "{slack}/api/"

[store]
url = "sqlite:///{state}"
"""
ASKED_SECONDS = 3


def said(slack: CheckedSlack) -> list[str]:
    return [post.message["text"] for post in slack.posts]


async def test_what_slack_asked_for_holds_over_a_restart_and_each_job_is_told_in_order(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    config = tmp_path / "notifier.toml"
    config.write_text(CONFIG.format(api=api.url, slack=slack.url, token=TOKEN, state=tmp_path / "state.db"))
    refusals: list[float] = []

    async def slow_down(_: web.Request) -> web.Response:
        refusals.append(time.monotonic())
        return web.Response(status=429, headers={"Retry-After": str(ASKED_SECONDS)})

    slack.script = [slow_down]
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a"), job("b")]
        await daemon.logged("Slack asks to slow down (429); next in")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(slack.calls) == 1

    api.answer = [job("a", "failed"), job("b")]
    async with Daemon(config) as daemon:
        await daemon.logged("data-team: delivered backfill.failed")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(slack.posts) == 3
    assert [text for text in said(slack) if "Name of a" in text] == [
        "📦 Name of a is staging",
        next(text for text in said(slack) if "Name of a failed" in text),
    ]
    arrived = [at for at in slack.arrivals if at > refusals[0]]
    assert arrived[0] - refusals[0] >= ASKED_SECONDS
    assert all(later - earlier >= 0.95 for earlier, later in itertools.pairwise(arrived))
