"""`notifier run` as a process, between a scripted API and a Slack that checks what it takes."""

import asyncio
import itertools
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from notifier.demo.slack import Post
from tests.daemon import Daemon
from tests.servers import ScriptedServer, job
from tests.slack import TOKEN, CheckedSlack, known_by

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
style = "message"
api_url = "{slack}/api/"

[store]
url = "sqlite:///{state}"
"""
ASKED_SECONDS = 3
STORM = 500
STORM_CONFIG = (
    CONFIG.replace("1s", "100ms").replace(
        "api_url", 'mentions = {{ "backfill.failed" = "<!here>" }}\napi_url'
    )
    + """
[targets.ops]
type = "webhook"
url = "{receiver}/hooks/ops"
"""
)


def posted(slack: CheckedSlack) -> list[dict[str, Any]]:
    """Return the arguments of each request to post, refused ones included."""
    return [arguments for method, arguments in slack.calls if method == "chat.postMessage"]


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

    slack.script, slack.unscripted = [slow_down], {"auth.test"}
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a"), job("b")]
        await daemon.logged("Slack asks to slow down (429); next in")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(posted(slack)) == 1

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


# ------------------------------------------------------------------------------------------ storms


async def test_a_storm_is_as_many_requests_for_a_webhook_and_a_few_posts_a_second_apart_for_slack(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.posts_a_second = 1.0  # more than a message a second, but for a second one at first, is refused
    async with Daemon(storm_config(tmp_path, api, receiver, slack)) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job(f"j{n}", "failed" if n % 50 == 7 else "completed") for n in range(STORM)]
        await receiver.arrived(STORM)
        while told(slack) < STORM:
            await daemon.said_more()
        # What happens afterwards is told by itself again.
        api.answer = [*api.answer, job("late")]
        await daemon.logged("data-team: delivered backfill.staging")
        assert await daemon.ends(signal.SIGTERM) == 0

    assert len({request.headers["webhook-id"] for request, _ in receiver.requests}) == STORM + 1
    assert len(receiver.requests) == STORM + 1
    assert told(slack) == STORM + 1
    assert len(posted(slack)) == len(slack.posts) <= 5, "and none was refused"
    gaps = [later - earlier for earlier, later in itertools.pairwise(slack.arrivals)]
    assert min(gaps) >= 0.95, gaps

    digests = [post for post in slack.posts if known_by(post).startswith("bat_")]
    assert digests
    counted = Counter({kind: sum(number_of(kind, post) for post in slack.posts) for kind in KINDS})
    assert counted == {"failed": STORM // 50, "completed": STORM - STORM // 50, "staging": 1}
    for post in digests:
        failed = number_of("failed", post)
        lines = [line for line in lines_of(post) if "*Name of" in line]
        assert [line[0] for line in lines] == ["❌"] * failed + ["✅"] * (len(lines) - failed)
    assert {post.pings == ["!here"] for post in digests if number_of("failed", post)} == {True}


async def test_a_digest_whose_answer_a_crash_cut_off_is_sent_again_as_it_was_and_then_nothing(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, slack: CheckedSlack
) -> None:
    first_may_end = asyncio.Event()
    digest_came = asyncio.Event()

    async def held_back(_: web.Request) -> web.Response:
        await first_may_end.wait()
        return web.json_response({"ok": True})

    async def never_answered(_: web.Request) -> web.Response:
        digest_came.set()
        await asyncio.Event().wait()
        raise AssertionError

    slack.script, slack.unscripted = [held_back, never_answered], {"auth.test"}
    config = storm_config(tmp_path, api, receiver, slack)
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("first")]
        await receiver.arrived(1)
        api.answer = [job("first"), *(job(f"j{n}") for n in range(30))]
        await receiver.arrived(31)
        first_may_end.set()
        async with asyncio.timeout(20):
            await digest_came.wait()
        # More happens to the same jobs and to others while it is under way.
        api.answer = [job("first", "failed"), *(job(f"j{n}", "completed") for n in range(30)), job("new")]
        await receiver.arrived(63)
        daemon.process.send_signal(signal.SIGKILL)
        await daemon.process.wait()

    async with Daemon(config) as daemon:
        await daemon.logged("still to be made")
        while told(slack) < 62:
            await daemon.said_more()
        assert await daemon.ends(signal.SIGTERM) == 0
    _, cut_off, again, *others = posted(slack)
    assert again == cut_off
    assert again["metadata"]["event_payload"]["event_id"].startswith("bat_")
    assert again["text"] == "📦 30 events of allium: 30 staging"
    assert [arguments["text"] for arguments in others] == [
        "❌ 32 events of allium: 1 failed, 30 completed, 1 staging <!here>"
    ]
    # What a webhook had acknowledged just before may have come twice; never more than that.
    assert len({request.headers["webhook-id"] for request, _ in receiver.requests}) == 63

    async with Daemon(config) as daemon:
        await daemon.logged("watching 32 jobs")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert not any("still to be made" in line for line in daemon.lines)
    assert len(posted(slack)) == 4


KINDS = ("failed", "completed", "staging")


def storm_config(directory: Path, api: ScriptedServer, receiver: ScriptedServer, slack: CheckedSlack) -> Path:
    """Write a config with a webhook and a channel; return its path."""
    path = directory / "notifier.toml"
    path.write_text(
        STORM_CONFIG.format(
            api=api.url,
            receiver=receiver.url,
            slack=slack.url,
            token=TOKEN,
            state=directory / "state.db",
        )
    )
    return path


def told(slack: CheckedSlack) -> int:
    """Return of how many events the channel was told."""
    return sum(number_of("events of allium", post) or 1 for post in slack.posts)


def number_of(what: str, post: Post) -> int:
    """Return how many of a kind a digest counts, or whether a post about one event is of that kind."""
    text = post.message["text"]
    if not known_by(post).startswith("bat_"):
        return int(f" {what}" in text)
    found = re.search(rf"([\d,]+) {what}\b", text)
    return 0 if found is None else int(found[1].replace(",", ""))


def lines_of(post: Post) -> list[str]:
    blocks = [block for bar in post.message["attachments"] for block in bar["blocks"]]
    return [line for block in blocks if "text" in block for line in block["text"]["text"].split("\n")]
