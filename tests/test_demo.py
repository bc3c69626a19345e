"""The demo: its verdict, its simulation, and one run of all of it."""

import asyncio
import io
import json
import re
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest
from rich.console import Console

from notifier.announcement import Origin
from notifier.demo import allium, receiver
from notifier.demo.allium import SimulatedAllium
from notifier.demo.blocks import check_message
from notifier.demo.daemon import Daemon
from notifier.demo.lives import generation
from notifier.demo.receiver import Receiver
from notifier.demo.show import Transitions, World, _served, _Show, differences
from notifier.demo.slack import API, Channel, FakeSlack, Post
from notifier.diff import diff
from notifier.fields import decode_signing_secret, new_signing_secret
from notifier.listing import read_listing
from notifier.outbox import absorb
from notifier.payload import read_payload
from notifier.rules import Rules
from notifier.targets.slack.message import render
from notifier.targets.webhook import webhook_headers
from tests.slack_rules import check_post

BEGAN = datetime(2026, 1, 31, tzinfo=UTC)
SECRET = new_signing_secret()
CHANNEL = Channel(id="C0DEMO", name="data-backfills")
S, T, C = "staging", "transporting", "completed"


@pytest.mark.parametrize(
    ("served", "announced", "told"),
    [
        ({}, {}, []),
        ({"j": [(None, S), (S, T)]}, {"j": [(None, S), (S, T)]}, []),
        ({"j": [(None, S)]}, {}, ["j: served new→staging; announced nothing"]),
        ({}, {"j": [(None, S)]}, ["j: served nothing; announced new→staging"]),
        ({"j": [(S, T), (T, C)]}, {"j": [(T, C), (S, T)]}, ["j: served staging→transporting, transporting→"]),
        (
            {"a": [(S, C)], "b": [(S, C)]},
            {"a": [(S, C)], "b": [(S, T)]},
            ["b: served staging→completed; anno"],
        ),
    ],
)
def test_the_verdict_names_each_job_that_was_announced_otherwise(
    served: Transitions, announced: Transitions, told: list[str]
) -> None:
    lines = differences(served, announced)
    assert len(lines) == len(told)
    assert all(line.startswith(start) for line, start in zip(lines, told, strict=True))


def a_world() -> World:
    """Return a world in which nothing has happened yet."""
    return World(
        api=SimulatedAllium("key", seed=7),
        hooks=Receiver(SECRET, lambda _: None),
        slack=FakeSlack(CHANNEL, token="xoxb-demo"),
    )


def posted(world: World, *event_ids: str, thread_ts: str | None = "1.0", text: str = "") -> None:
    """Have Slack hold messages; without a thread they are cards, with this text."""
    world.slack.posts += (
        Post(
            channel=CHANNEL,
            ts=f"1.{number}",
            message={
                "text": text,
                "metadata": {"event_type": "x", "event_payload": {"event_id": event_id}},
            },
            thread_ts=thread_ts,
        )
        for number, event_id in enumerate(event_ids)
    )


@pytest.mark.parametrize(
    ("posts", "faults"),
    [
        (["first", "second"], []),
        (["second", "first"], []),
        (["second"], ["first: not posted to Slack"]),
        (["first", "second", "first"], ["first: posted to Slack once too often"]),
        (["first", "second", "elsewhere"], ["elsewhere: posted to Slack once too often"]),
        (["first", "second", "unheard of"], ["unheard of: posted to Slack once too often"]),
        ([], ["first: not posted to Slack", "second: not posted to Slack"]),
    ],
)
def test_every_event_on_the_tables_of_the_channel_must_be_posted_once(
    posts: list[str], faults: list[str]
) -> None:
    world = a_world()
    world.hooks.subjects.update(
        {
            "first": ("j", "base.dex.trades"),
            "second": ("j", "base.dex.trades"),
            "elsewhere": ("k", "base.raw.logs"),
        }
    )
    posted(world, *posts)
    assert sorted(world.faults()) == faults


def test_a_card_that_does_not_show_its_job_as_it_is_is_a_fault() -> None:
    world = a_world()
    world.hooks.subjects["first"] = ("j", "base.dex.trades")
    world.api.served["j"] = world.hooks.announced["j"] = [(None, S), (S, C)]
    posted(world, "first", thread_ts=None, text="📦 DEX trades is staging")
    assert world.faults() == ["j: is completed, and its card says: 📦 DEX trades is staging"]
    world.slack.posts[0].edits.append({"text": "✅ DEX trades completed"})
    assert world.faults() == []


def test_a_job_that_was_announced_otherwise_is_a_fault_beside_those_of_slack() -> None:
    world = a_world()
    world.api.served["j"] = [(S, C)]
    world.hooks.subjects["done"] = ("j", "base.dex.trades")
    assert world.faults() == [
        "j: served staging→completed; announced nothing",
        "done: not posted to Slack",
    ]


def verdict(world: World, *, code: int = 0, log: list[str] | None = None) -> tuple[bool, str]:
    """Return whether the demo is content, and what it prints at its end."""
    out = io.StringIO()
    daemon = Daemon(Path(), lambda _: None)
    daemon.log.extend(log or [])
    good = _Show(Console(file=out, width=200, highlight=False)).verdict(world, daemon, code)
    return good, out.getvalue()


def test_a_good_end_counts_what_went_to_slack() -> None:
    world = a_world()
    world.api.polls = 9
    world.api.served["j"] = world.hooks.announced["j"] = [(None, S), (S, C)]
    world.hooks.subjects.update({"1": ("j", "base.raw.logs"), "2": ("j", "base.dex.trades")})
    posted(world, "2", thread_ts=None, text="✅")
    world.slack.posts[0].edits.append({"text": "✅ it completed"})
    good, text = verdict(world)
    assert good
    assert (
        "0 jobs in 9 polls: 2 transitions happened, 2 were announced, 1 of them to Slack: "
        "1 card, edited 1 time." in text
    )
    assert text.endswith("Everything that happened was announced, in order, once.\n")
    world.hooks.repeats = 3
    assert "2 were announced, 3 of them repeated, 1 of them to Slack: 1 card" in verdict(world)[1]


def test_a_bad_end_says_what_is_wrong() -> None:
    world = a_world()
    world.hooks.subjects["1"] = ("j", "base.dex.trades")
    good, text = verdict(world, code=1, log=["a line", "[red]the last line"])
    assert not good
    assert text.partition("What was announced is not what happened:\n")[2].splitlines() == [
        "  1: not posted to Slack",
        "  the daemon ended with exit code 1; its last lines:",
        "    a line",
        "    [red]the last line",
        "  the daemon never polled",
    ]


def test_an_end_before_anything_happened_is_no_fault() -> None:
    world = a_world()
    world.api.polls = 1
    good, text = verdict(world)
    assert good
    assert text.endswith("It ended before anything happened.\n")


def signed(event: dict[str, Any], id_: str = "evt_1") -> dict[str, Any]:
    body = json.dumps(event).encode()
    return {
        "data": body,
        "headers": webhook_headers(id_, body, [decode_signing_secret(SECRET)], datetime.now(UTC)),
    }


async def test_the_receiver_takes_what_is_signed_and_each_event_once() -> None:
    seen: list[dict[str, Any]] = []
    world = a_world()
    world = World(api=world.api, hooks=Receiver(SECRET, seen.append), slack=world.slack)
    event = {
        "type": "backfill.staging",
        "data": {
            "event_id": "evt_1",
            "job_id": "j",
            "previous_status": None,
            "status": S,
            "job": {"table": "base.dex.trades"},
        },
    }
    async with _served(world) as url, aiohttp.ClientSession() as session:
        answers = []
        for arguments in (
            signed(event),
            signed(event),
            signed(event) | {"data": json.dumps(event | {"type": "x"}).encode()},
            {"data": b"{}"},
        ):
            async with session.post(f"{url}{receiver.PATH}", **arguments) as response:
                answers.append(response.status)
    assert answers == [204, 204, 401, 401]
    assert seen == [event]
    assert (world.hooks.announced, world.hooks.repeats) == ({"j": [(None, S)]}, 1)


async def test_a_message_s_title_leads_to_the_job() -> None:
    world = a_world()
    async with _served(world) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}{allium.PATH}", headers={"X-API-Key": "key"}) as response:
            [first, *_] = await response.json()
        async with session.get(f"{url}/jobs/{first['job_id']}") as response:
            shown = await response.json()
        async with session.get(f"{url}/jobs/other") as response:
            assert await response.json() is None
        async with session.get(f"{url}{allium.PATH}", headers={"X-API-Key": "other"}) as response:
            assert response.status == 401
        async with session.post(f"{url}{API}auth.test") as response:
            assert (await response.json())["error"] == "not_authed"
    assert (shown["job_id"], shown["job_name"]) == (first["job_id"], first["job_name"])
    assert world.api.polls == 1


def test_a_minute_of_the_simulation_has_every_kind_of_life() -> None:
    seen: dict[str, list[str]] = {}
    for tick in range(60):
        for life in generation(0, seed=7):
            element = life.element(float(tick), BEGAN)
            if element is not None:
                history = seen.setdefault(element["job_id"], [])
                if not history or history[-1] != element["status"]:
                    history.append(element["status"])
                assert 0 <= (element["chunks_left"] or 0) <= (element["num_chunks"] or 0)
    lives = [tuple(history) for history in seen.values()]
    assert len(lives) >= 20
    for whole in [(S, T, C), (S, T, "failed"), (S, T, "cancelled"), (S, C)]:
        assert whole in lives, "a life that goes on like this within the minute"
    assert {history[-1] for history in lives} == {"completed", "failed", "cancelled"}


def test_the_simulation_is_the_same_for_the_same_seed() -> None:
    assert generation(3, seed=7) == generation(3, seed=7)
    assert generation(3, seed=7) != generation(3, seed=8)
    json.dumps([life.element(300, BEGAN) for life in generation(3, seed=7)])


async def _demo(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "notifier", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_demo_announces_exactly_what_happens_and_ends_by_itself() -> None:
    process = await _demo("--seconds", "10")
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, out.decode() + err.decode()
    assert err == b""
    text = out.decode()
    assert text.endswith("Everything that happened was announced, in order, once.\n")
    assert "● staging" in text
    assert "\x1b" not in text, "a pipe gets no escapes"

    messages = re.findall(
        r"^\d\d:\d\d:\d\d  slack    #data-backfills(.*)\n((?: {10}.*\n)+)", text, re.MULTILINE
    )
    edits = [message for where, message in messages if where == " edits the card"]
    cards = [message for where, message in messages if not where]
    assert cards, "something happens to a job on these tables within these seconds"
    posts = len(messages) - len(edits)
    assert f", {posts} of them to Slack: {len(cards)} card" in text
    assert f", edited {len(edits)} time" in text
    for message in (*cards, *edits):
        title, *facts = (line.strip() for line in message.splitlines())
        assert re.match(r"(📦|🚚|✅|❌|🚫) .+ (is staging|is transporting|completed in|failed|was)", title)
        assert any(fact.startswith("▌ Table  base.dex.") for fact in facts)
        assert all(fact.startswith("▌ ") for fact in facts)
        assert "hunter2" not in message
    assert all("@data-oncall" in message for message in cards if "❌" in message)


async def test_ctrl_c_ends_the_demo_with_its_verdict() -> None:
    process = await _demo()
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"\xe2\x97\x8f" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert "Everything that happened was announced, in order, once." in out.decode()


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await _demo("--seconds", "5", "--port", str(port))
        async with asyncio.timeout(60):
            _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == f"notifier: cannot serve on 127.0.0.1:{port}: address already in use\n"


def test_slack_takes_every_message_of_a_minute_of_the_simulation() -> None:
    records: dict[str, Any] = {}
    checked = 0
    for tick in range(60):
        elements = [life.element(float(tick), BEGAN) for life in generation(0, seed=7)]
        listing = read_listing(json.dumps([element for element in elements if element]).encode())
        for element in listing.elements:
            change = diff(
                records.get(element.job_id),
                element,
                origin=Origin("demo", "s", element.job_id),
                rules=Rules(),
                announce=True,
                now=BEGAN + timedelta(seconds=tick),
            )
            if change is None:
                continue
            targets: dict[str, tuple[str, ...]] = {event.id: () for event in change.events}
            records[element.job_id] = absorb(
                records.get(element.job_id),
                snapshot=change.snapshot,
                seq=change.seq,
                events=change.events,
                targets=targets,
            )
            for event in change.events:
                assert not isinstance(event.payload, msgspec.UnsetType)
                message = render(
                    read_payload(event.payload), job_link="http://127.0.0.1/{job_id}", mention=""
                )
                arguments = json.loads(json.dumps(message.arguments()))
                check_post({"channel": "#data-backfills"} | arguments)
                check_message(arguments)
                checked += 1
    assert checked > 50


async def test_the_status_page_is_served_on_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await _demo("--port", str(port))
    assert process.stdout is not None
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while b"\xe2\x97\x8f" not in await process.stdout.readline():
            pass
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert "demo" in await response.text()
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


async def test_a_demo_whose_output_nobody_reads_leaves_no_daemon_behind() -> None:
    process = await _demo("--seconds", "6")
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"watching" not in await process.stdout.readline():
            pass
        daemons = psutil.Process(process.pid).children(recursive=True)
        assert daemons
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        await process.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, daemons, timeout=10)
    assert not alive
