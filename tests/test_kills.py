"""A hundred ends that the daemon did not choose."""

import asyncio
import random
import re
import signal
from pathlib import Path

import pytest
from aiohttp import web

from notifier.demo.slack import Post
from notifier.targets.slack.look import look_of
from tests.daemon import Daemon
from tests.servers import ScriptedServer, served
from tests.slack import TOKEN, CheckedSlack, known_by, served_slack
from tests.world import World, event_ids, faults

CONFIG = """
[[sources]]
api_key = "key-for-tests"
base_url = "{api}"
poll_every = "20ms"
poll_idle_every = "20ms"

[targets.ops]
type = "webhook"
url = "{receiver}/hooks/ops"

[targets.data-team]
type = "slack"
token = "{token}"
channel = "#data-backfills"
api_url = "{slack}/api/"

[delivery]
first_retry = "50ms"
max_retry = "200ms"
digest_over = 3

[store]
url = "sqlite:///{state}"
"""


_SIDE_BY_SIDE = 2


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(60, marks=pytest.mark.timeout(400)),
        pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(4000)]),
    ],
)
async def test_kills_at_random_instants_under_load_break_no_chain(tmp_path: Path, rounds: int) -> None:
    async with asyncio.TaskGroup() as worlds:  # side by side: most of the time is the start of processes
        for number in range(_SIDE_BY_SIDE):
            directory = tmp_path / str(number)
            directory.mkdir()
            worlds.create_task(_one_world(directory, rounds // _SIDE_BY_SIDE, seed=50 + 10 * number))


async def _one_world(directory: Path, rounds: int, *, seed: int) -> None:
    slack = CheckedSlack()
    async with (
        served(ScriptedServer()) as api,
        served(ScriptedServer()) as receiver,
        served_slack(slack) as slack.url,
    ):
        await _killed(directory, api, receiver, slack, rounds=rounds, seed=seed)
    assert not slack.faults, "\n".join(slack.faults)


async def _killed(
    directory: Path,
    api: ScriptedServer,
    receiver: ScriptedServer,
    slack: CheckedSlack,
    *,
    rounds: int,
    seed: int,
) -> None:
    lots = random.Random(seed)
    world = World(jobs=60, seed=seed + 1)
    api.answer = world.listing

    def unreliable(_: web.Request) -> web.Response:
        return web.Response(status=lots.choices([204, 500, 429], [90, 6, 4])[0])

    receiver.answer = unreliable
    slack.scopes = {"chat:write", "channels:history", "channels:read"}
    slack.losing = lambda _method, _arguments: lots.random() < 0.1
    config = directory / "notifier.toml"
    config.write_text(
        CONFIG.format(
            api=api.url, receiver=receiver.url, slack=slack.url, token=TOKEN, state=directory / "state.db"
        )
    )
    for round_ in range(rounds):
        async with Daemon(config) as daemon:
            if round_ % 5 == 4:  # while it starts
                await asyncio.sleep(lots.uniform(0, 0.6))
            else:
                await api.arrived(len(api.requests) + lots.randint(1, 4))
                await asyncio.sleep(lots.uniform(0, 0.15))
            daemon.process.kill()
            await daemon.process.wait()

    world.frozen = True
    receiver.answer = web.Response(status=204)
    async with Daemon(config) as daemon:
        await api.arrived(len(api.requests) + 2)
        async with asyncio.timeout(60):
            while faults(world, receiver):
                await receiver.arrived(len(receiver.requests) + 1)
            while told(slack.posts) < len(event_ids(receiver)):
                await daemon.said_more()
            await slack.until(lambda: not untrue(world, slack), within=120)
        assert await daemon.ends(signal.SIGTERM) == 0

    assert len(event_ids(receiver)) > 10 * rounds, "too little happened to prove anything"
    assert not faults(world, receiver)
    assert told(slack.posts) == len(event_ids(receiver))
    assert len(slack.cards) == len({job_of(card) for card in slack.cards}), "a job has two cards"


def untrue(world: World, slack: CheckedSlack) -> list[str]:
    """Return the jobs whose cards do not show their status."""
    return [
        job_of(card)
        for card in slack.cards
        if not card.shown["text"].startswith(look_of(f"backfill.{world.statuses[job_of(card)]}").emoji)
    ]


def told(posts: list[Post]) -> int:
    """Return of how many events a channel was told, each once: what was lost or cut off is found again."""
    texts: dict[str, str] = {}
    for post in posts:
        assert texts.setdefault(known_by(post), post.message["text"]) is post.message["text"], "told twice"
    digests = [text for id_, text in texts.items() if id_.startswith("bat_")]
    counts = [re.match(r"\S+ ([\d,]+) events of allium: ", text) for text in digests]
    assert digests, "no digest was sent"
    return len(texts) - len(digests) + sum(int(c[1].replace(",", "")) for c in counts if c is not None)


def job_of(card: Post) -> str:
    """Return the id of the job that a card shows."""
    foot = card.message["attachments"][-1]["blocks"][-1]["elements"][0]["text"]
    return str(foot.split(" · ")[1])
