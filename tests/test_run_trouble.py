"""What no status shows, told by a real daemon: jobs that stand still or vanish, sources that fail, mutes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.commands import Done, notifier
from tests.daemon import Daemon
from tests.servers import ScriptedServer, job, served

CONFIG = """
[[sources]]
name = "{name}"
api_key = "key-of-{name}"
base_url = "{api}"
poll_every = "100ms"
poll_idle_every = "100ms"
{more}
"""
TARGET = """
[targets.ops]
type = "webhook"
url = "{receiver}/hooks/ops"
[[routes]]
events = ["*"]
to = ["ops"]
[delivery]
first_retry = "50ms"
max_retry = "100ms"
[store]
url = "sqlite:///{state}"
"""


def write_config(
    directory: Path, receiver: ScriptedServer, sources: dict[str, ScriptedServer], more: str = ""
) -> Path:
    path = directory / "notifier.toml"
    texts = [CONFIG.format(name=name, api=api.url, more=more) for name, api in sources.items()]
    path.write_text("".join(texts) + TARGET.format(receiver=receiver.url, state=directory / "state.db"))
    return path


def told(receiver: ScriptedServer) -> list[str]:
    return [event["type"] for event in receiver.events]


async def polled(api: ScriptedServer, times: int = 2) -> None:
    """Wait until what the API answers now has been taken in."""
    await api.arrived(len(api.requests) + times)


@asynccontextmanager
async def running(
    directory: Path, api: ScriptedServer, receiver: ScriptedServer, more: str = ""
) -> AsyncIterator[Callable[..., Awaitable[Done]]]:
    config = write_config(directory, receiver, {"allium": api}, more)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")

        async def ask(*arguments: str) -> Done:
            return await notifier("--config", str(config), *arguments)

        yield ask


def transporting(left: int, **fields: Any) -> dict[str, Any]:
    return job("a", "transporting", num_chunks=1000, chunks_left=left, **fields)


async def test_progress_a_stall_its_end_and_a_job_that_vanishes_are_told_in_order(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = [transporting(1000)]
    async with running(tmp_path, api, receiver, 'stalled_after = "500ms"'):
        api.answer = [transporting(240)]
        await receiver.arrived(2)
        api.answer = [transporting(230)]
        await receiver.arrived(3)
        api.answer = []
        await receiver.arrived(4)
        api.answer = [transporting(230)]
        await receiver.arrived(5)
    assert told(receiver)[:5] == [
        "backfill.progress",
        "backfill.stalled",
        "backfill.resumed",
        "backfill.removed",
        "backfill.transporting",
    ]
    data = [event["data"] for event in receiver.events]
    assert data[0]["summary"] == "Name of a is at 76 % (760 of 1000 chunks)"
    assert [each["previous_status"] for each in data[:5]] == ["transporting"] * 5
    assert len({each["event_id"] for each in data}) == len(data)


async def test_a_source_that_is_down_is_told_once_with_the_reason_and_when_it_answers_again(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = [transporting(1000)]
    async with running(tmp_path, api, receiver, 'down_after = "300ms"') as ask:
        api.answer = web.json_response({"message": "no such key"}, status=401)
        await receiver.arrived(1)
        await polled(api, 4)
        status = json.loads((await ask("status", "--json")).out)
        assert status["sources"][0]["failing_since"] is not None
        api.answer = [transporting(900)]
        await receiver.arrived(2)
    down, up = receiver.events
    assert (down["type"], up["type"]) == ("source.down", "source.up")
    assert down["data"]["reason"] == "the API key of source allium was refused (401); is api_key right?"
    assert (down["data"]["job_id"], down["data"]["target"]) == (None, None)


async def test_a_source_without_any_good_poll_is_told_and_its_first_one_is_still_a_baseline(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = web.Response(status=503, text="sorry")
    config = write_config(tmp_path, receiver, {"allium": api}, 'down_after = "200ms"')
    async with Daemon(config) as daemon:
        await receiver.arrived(1)
        api.answer = [job("old", "completed"), transporting(1000)]
        await receiver.arrived(2)
        await daemon.logged("a first poll announces nothing")
        api.answer = [job("old", "completed"), job("a", "completed")]
        await receiver.arrived(3)
    assert told(receiver) == ["source.down", "source.up", "backfill.completed"]


async def test_when_nothing_can_be_reached_that_is_one_event_and_not_one_for_each(tmp_path: Path) -> None:
    apis = {name: ScriptedServer() for name in ("one", "two", "three")}
    receiver = ScriptedServer()
    ports: dict[str, int] = {}
    async with served(receiver):
        ports["receiver"] = int(receiver.url.rsplit(":", 1)[1])
        async with served(apis["one"]), served(apis["two"]), served(apis["three"]):
            for name, each in apis.items():
                each.answer = [job(f"job-{name}", "staging")]
                ports[name] = int(each.url.rsplit(":", 1)[1])
            config = write_config(tmp_path, receiver, apis, 'down_after = "1500ms"')
            async with Daemon(config) as daemon:
                for name in apis:
                    await daemon.logged(f"{name}: a first poll announces nothing")
                daemon.process.send_signal(15)
                await daemon.process.wait()
    async with Daemon(config) as daemon:
        await daemon.logged("this machine seems to be offline")
        await asyncio.gather(*(daemon.logged(f"{name}: no connection") for name in apis))
        async with (
            served(receiver, ports["receiver"]),
            served(apis["one"], ports["one"]),
            served(apis["two"], ports["two"]),
            served(apis["three"], ports["three"]),
        ):
            await receiver.arrived(2)
            for each in apis.values():
                await polled(each, 5)
    assert sorted(told(receiver)) == ["source.down", "source.up"]
    assert "this machine seems to be offline" in receiver.events[0]["data"]["reason"]


async def test_a_muted_job_is_told_of_when_the_mute_ends_and_only_if_it_is_another_than_was_told(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = [transporting(1000), job("b", "staging")]
    async with running(tmp_path, api, receiver) as ask:
        muted = await ask("mute", "a", "--for", "1h", "--reason", "known trouble")
        assert (muted.code, muted.err) == (0, "")
        api.answer = [transporting(1000, error_message="x") | {"status": "failed"}, job("b", "transporting")]
        await receiver.arrived(1)
        assert told(receiver) == ["backfill.transporting"]
        [item] = json.loads((await ask("mutes", "--json")).out)
        assert (item["job_id"], item["suppressed"], item["reason"]) == ("a", 1, "known trouble")
        [a] = [each for each in json.loads((await ask("jobs", "--json")).out) if each["job_id"] == "a"]
        assert (a["status"], a["muted_until"]) == ("failed", item["until"])
        assert item["id"] in muted.out
        unmuted = await ask("unmute", "a")
        assert (unmuted.code, unmuted.out) == (0, f"unmuted: {item['id']}\n")
        await receiver.arrived(2)
        assert receiver.events[1]["type"] == "backfill.failed"
        assert receiver.events[1]["data"]["previous_status"] == "transporting"
        assert json.loads((await ask("mutes", "--json")).out) == []


async def test_a_mute_outlives_kills_and_ends_by_itself(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = [transporting(1000)]
    config = write_config(tmp_path, receiver, {"allium": api})
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        assert (await notifier("--config", str(config), "mute", "--table", "BASE.*", "--for", "4s")).code == 0
        api.answer = [job("a", "failed", num_chunks=1000, chunks_left=10)]
        await daemon.logged("muted by mut_")
    assert told(receiver) == []
    async with Daemon(config) as daemon:
        await daemon.logged("the mute of table BASE.* ended, 1 event suppressed")
        await receiver.arrived(1)
    assert told(receiver) == ["backfill.failed"]


async def test_without_a_daemon_mutes_are_made_and_ended_in_the_state(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = [transporting(1000)]
    config = str(write_config(tmp_path, receiver, {"allium": api}))
    assert (await notifier("--config", config, "once")).code == 0
    assert (await notifier("--config", config, "mute", "--source", "allium", "--for", "1h")).code == 0
    api.answer = [job("a", "failed")]
    assert (await notifier("--config", config, "once")).code == 0
    assert told(receiver) == []
    [item] = json.loads((await notifier("--config", config, "mutes", "--json")).out)
    assert (item["source"], item["sources"], item["suppressed"]) == ("allium", ["allium"], 1)
    assert (await notifier("--config", config, "unmute", item["id"])).code == 0
    assert (await notifier("--config", config, "once")).code == 0
    assert told(receiver) == ["backfill.failed"]


async def test_once_tells_of_an_api_that_never_answers(
    api: ScriptedServer, receiver: ScriptedServer, tmp_path: Path
) -> None:
    api.answer = _never
    config = str(write_config(tmp_path, receiver, {"allium": api}, 'down_after = "1s"'))
    for _ in range(2):
        assert (await notifier("--config", config, "once", "--timeout", "2s")).code == 1
    assert told(receiver) == ["source.down"]
    assert receiver.events[0]["data"]["reason"] == "no answer in time"


async def _never(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()
