"""A daemon that follows a changed config while it runs."""

import asyncio
import json
import random
import re
import signal
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.commands import notifier
from tests.daemon import Daemon
from tests.servers import ScriptedServer, job, served

SOURCE = """
[[sources]]
name = "{name}"
api_key_file = "{key}"
base_url = "{api}"
poll_every = "50ms"
poll_idle_every = "50ms"
"""
TARGET = """
[targets.{name}]
type = "webhook"
url = "{url}/hooks/{name}"
timeout = "{timeout}"
"""
REST = """
[delivery]
first_retry = "{first_retry}"
max_retry = "1h"

[store]
url = "sqlite:///{state}"
"""


class Configured:
    """A config file that is written anew for each change."""

    def __init__(self, directory: Path, api: ScriptedServer) -> None:
        self.path = directory / "notifier.toml"
        self.state = directory / "state.db"
        self.key = directory / "key"
        self.key.write_text("first-key")
        self.sources = {"allium": api.url}
        self.targets: dict[str, tuple[str, str]] = {}
        self.first_retry = "50ms"
        self.more = ""

    def to(self, name: str, receiver: ScriptedServer, timeout: str = "20s") -> "Configured":
        self.targets[name] = (receiver.url, timeout)
        return self

    def write(self) -> Path:
        parts = [SOURCE.format(name=name, api=url, key=self.key) for name, url in self.sources.items()]
        parts += [
            TARGET.format(name=name, url=url, timeout=timeout)
            for name, (url, timeout) in self.targets.items()
        ]
        parts.append(REST.format(state=self.state, first_retry=self.first_retry))
        self.path.write_text("".join(parts) + self.more)
        return self.path

    async def reload(self, code: int = 0) -> tuple[str, str]:
        self.write()
        done = await notifier("reload", "--config", str(self.path))
        assert done.code == code, done
        return done.out, done.err

    async def deliveries(self, state: str) -> list[dict[str, Any]]:
        done = await notifier("deliveries", "--state", state, "--json", "--config", str(self.path))
        found: list[dict[str, Any]] = json.loads(done.out)
        return found


@pytest.fixture
def configured(tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer) -> Configured:
    api.answer = []
    return Configured(tmp_path, api).to("ops", receiver)


def failing(_: web.Request) -> web.Response:
    return web.Response(status=503)


async def test_a_hang_up_of_a_config_that_is_the_same_changes_nothing(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        before = {
            request.transport.get_extra_info("peername") for request, _ in api.requests if request.transport
        }
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("config: reloaded, nothing has changed")
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        after = api.requests[-1][0].transport
        assert after is not None
        assert before == {after.get_extra_info("peername")}  # the connection was kept
        assert await daemon.ends(signal.SIGTERM) == 0
    assert sum("watching" in line for line in daemon.lines) == 1


async def test_a_bad_config_is_refused_and_the_old_one_goes_on(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        configured.more = '[webb]\n[log]\nlevel = "loud"\n'
        out, err = await configured.reload(code=2)
        assert out == ""
        first, *rest = err.splitlines()
        assert first == (
            f"notifier: not reloaded, the config before stays in force: 2 problems in {configured.path}:"
        )
        assert sorted(rest) == [
            '  log.level: must be one of "debug", "info", "warning" or "error"',
            '  webb: unknown key; did you mean "web"?',
        ]
        configured.path.write_text("[[")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("not reloaded, the one before stays in force")
        await daemon.logged("is not valid TOML")
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert "first-key" not in "".join(daemon.lines)


async def test_what_waits_for_a_target_goes_to_its_new_place_at_once_and_in_order(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    receiver.answer = failing
    configured.first_retry = "1h"
    async with served(ScriptedServer()) as mended, Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        api.answer = [job("j", "transporting")]
        await daemon.logged("backfill.transporting")
        out, err = await configured.to("ops", mended).reload()
        assert (out, err) == ("reloaded: target ops changed\n", "")
        await mended.arrived(2)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [event["data"]["status"] for event in mended.events] == ["staging", "transporting"]
    assert len(receiver.requests) == 1


async def test_an_attempt_under_way_ends_before_the_target_is_another(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    gate = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await gate.wait()
        return web.Response(status=204)

    receiver.answer = slow
    async with served(ScriptedServer()) as other, Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        await configured.to("ops", other).reload()
        api.answer = [job("j", "transporting")]
        await daemon.logged("backfill.transporting")
        gate.set()
        await other.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [event["data"]["status"] for event in receiver.events] == ["staging"]
    assert [event["data"]["status"] for event in other.events] == ["transporting"]


async def test_a_target_that_is_removed_is_given_up_and_the_others_go_on(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with served(ScriptedServer()) as broken:
        broken.answer = failing
        configured.to("broken", broken)
        async with Daemon(configured.write()) as daemon:
            await daemon.logged("watching")
            api.answer = [job("j", "staging")]
            await broken.arrived(2)
            await receiver.arrived(1)
            del configured.targets["broken"]
            assert (await configured.reload())[0] == "reloaded: target broken removed\n"
            [dead] = await configured.deliveries("dead")
            assert (dead["target"], dead["last_error"]) == ("broken", "the target is no longer configured")
            await daemon.logged(
                f"broken: gave up backfill.staging ({dead['event_id']}): the target is no longer"
            )
            tried = len(broken.requests)
            api.answer = [job("j", "transporting")]
            await receiver.arrived(2)
            assert await daemon.ends(signal.SIGTERM) == 0
        assert len(broken.requests) == tried
    assert [event["type"] for event in receiver.events] == ["backfill.staging", "backfill.transporting"]


async def test_sources_and_targets_come_and_go(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with (
        served(ScriptedServer()) as api_too,
        served(ScriptedServer()) as hook_too,
        Daemon(configured.write()) as daemon,
    ):
        api_too.answer = [job("x", "staging")]
        await daemon.logged("watching")
        configured.sources["second"] = api_too.url
        out, _ = await configured.to("second-hook", hook_too).reload()
        assert out == "reloaded: source second added; target second-hook added\n"
        await daemon.logged("second: a first poll announces nothing; watching 1 job, 1 active")
        hook_too.answer = failing
        api_too.answer = [job("x", "transporting")]
        await receiver.arrived(1)
        await hook_too.arrived(1)
        del configured.sources["second"]
        assert (await configured.reload())[0] == "reloaded: source second removed\n"
        [dead] = await configured.deliveries("dead")
        assert (dead["target"], dead["last_error"]) == ("second-hook", "the source is no longer configured")
        polls, tried = len(api_too.requests), len(hook_too.requests)
        hook_too.answer = web.Response(status=204)
        api.answer = [job("j", "staging")]
        await receiver.arrived(2)
        await hook_too.arrived(tried + 1)
        assert await daemon.ends(signal.SIGTERM) == 0
        assert len(api_too.requests) == polls
        assert [event["data"]["source"] for event in hook_too.events[tried:]] == ["allium"]


async def test_a_secret_in_a_file_is_read_again(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        configured.key.write_text("second-key\n")
        assert (await configured.reload())[0] == "reloaded: source allium changed\n"
        polls = len(api.requests)
        api.answer = [job("j", "staging")]
        await receiver.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0
    keys = [request.headers["X-API-Key"] for request, _ in api.requests]
    assert keys[0] == "first-key"
    assert set(keys[polls:]) == {"second-key"}


async def test_routes_are_followed(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        configured.more = '[[routes]]\nevents = ["backfill.failed"]\nto = ["ops"]\n'
        assert (await configured.reload())[0] == "reloaded: [routes] changed\n"
        api.answer = [job("j", "staging")]
        await daemon.logged("backfill.staging")
        api.answer = [job("j", "failed")]
        await receiver.arrived(1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [event["type"] for event in receiver.events] == ["backfill.failed"]


async def test_what_only_a_restart_can_follow_is_said(configured: Configured) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        configured.more = '[web]\ntoken = "web-token-that-is-secret"\n[log]\nformat = "json"\n'
        out, err = await configured.reload()
        assert out == "reloaded: [log] changed\n"
        assert err == "notifier: restart needed: [web] changed, which is followed by a restart only\n"
        await daemon.logged('"message": "config: restart needed: [web] changed')
        assert await daemon.ends(signal.SIGTERM) == 0
    assert "that-is-secret" not in "".join(daemon.lines)


async def test_without_a_daemon_there_is_nothing_to_reload(configured: Configured) -> None:
    _, err = await configured.reload(code=1)
    assert err == (
        f"notifier: no daemon runs on {configured.state}: there is nothing to reload. One whose config named "
        "another [store] has to be restarted to follow that\n"
    )


async def test_who_means_another_config_than_the_daemon_s_is_told(
    configured: Configured, tmp_path: Path
) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        other = tmp_path / "other.toml"
        other.write_text(configured.path.read_text() + '[log]\nlevel = "debug"\n')
        done = await notifier("reload", "--config", str(other))
        assert (done.code, done.out) == (1, "reloaded: nothing has changed\n")
        assert done.err == (
            f"notifier: the daemon has read its own config, {configured.path}, and not {other}\n"
        )
        assert await daemon.ends(signal.SIGTERM) == 0


async def test_nothing_is_lost_or_repeated_while_the_config_changes_all_the_time(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    chance = random.Random(7)
    steps = ["staging", "transporting", "failed", "staging", "completed"]
    rounds, jobs = 8, 40

    async def now_and_then(_: web.Request) -> web.Response:
        await asyncio.sleep(chance.random() / 50)
        return web.Response(status=503 if chance.random() < 0.2 else 204)

    taken: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        answer = await now_and_then(request)
        if answer.status == 204:
            taken.append(json.loads(await request.read()))
        return answer

    receiver.answer = take
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        for step in range(rounds):
            api.answer = [job(f"j{number}", steps[step % len(steps)]) for number in range(jobs)]
            polls = len(api.requests)
            configured.first_retry = f"{chance.randint(1, 20)}ms"
            configured.to("ops", receiver, f"{chance.randint(10, 90)}s")
            await configured.reload()
            if chance.random() < 0.5:
                configured.key.write_text(f"key-{step}")
                await configured.reload()
            await api.arrived(polls + 3)
        async with asyncio.timeout(60):
            while len(taken) < rounds * jobs:
                await receiver.arrived(len(receiver.requests) + 1)
        assert await configured.deliveries("pending") == []
        assert await daemon.ends(signal.SIGTERM) == 0
    assert max(Counter(event["data"]["event_id"] for event in taken).values()) == 1
    told: defaultdict[str, list[str]] = defaultdict(list)
    for event in taken:
        told[event["data"]["job_id"]].append(event["data"]["status"])
    assert set(map(tuple, told.values())) == {tuple(steps[step % len(steps)] for step in range(rounds))}
    assert len(told) == jobs
    assert not [line for line in daemon.lines if re.search("Traceback|CRITICAL", line)]


async def test_a_digest_that_slack_did_not_take_goes_one_by_one_to_a_webhook_in_its_place(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    count = 25
    configured.targets = {}
    configured.first_retry = "1h"
    async with served(ScriptedServer()) as slack:
        slack.answer = failing
        configured.more = f'[targets.team]\ntype = "slack"\nwebhook_url = "{slack.url}/hook"\n'
        async with Daemon(configured.write()) as daemon:
            await daemon.logged("watching")
            api.answer = [job(f"j{number}", "staging") for number in range(count)]
            await daemon.logged("25 events")
            configured.more = ""
            assert (await configured.to("team", receiver).reload())[0] == "reloaded: target team changed\n"
            await receiver.arrived(count)
            assert await configured.deliveries("pending") == []
            daemon.process.kill()
        async with Daemon(configured.write()) as daemon:
            await daemon.logged("watching")
            api.answer = [job("last", "staging")]
            await receiver.arrived(count + 1)
            assert await daemon.ends(signal.SIGTERM) == 0
    told = [event["data"]["job_id"] for event in receiver.events]
    assert sorted(told) == sorted([*(f"j{number}" for number in range(count)), "last"])


async def test_what_the_api_asked_for_still_holds(configured: Configured, api: ScriptedServer) -> None:
    configured.sources["second"] = api.url.replace("127.0.0.1", "localhost")
    async with served(ScriptedServer()) as other, Daemon(configured.write()) as daemon:
        other.answer = []
        await daemon.logged("second: a first poll")
        api.answer = web.Response(status=429, headers={"Retry-After": "3600"})
        await daemon.logged("allium: the API answered 429")
        await daemon.logged("second: the API answered 429")
        polls = len(api.requests)
        api.answer = []
        text = configured.write().read_text()
        configured.path.write_text(text.replace('poll_every = "50ms"', 'poll_every = "60ms"'))
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("config: reloaded, sources allium, second changed")
        configured.sources |= {"third": api.url, "fourth": other.url}
        await configured.reload()
        await daemon.logged("fourth: a first poll")  # nobody asked that one to wait
        assert len(api.requests) == polls
        configured.key.write_text("another-key")
        await configured.reload()
        await api.arrived(polls + 3)  # nor to wait with another key
        assert await daemon.ends(signal.SIGTERM) == 0


async def test_a_target_that_hangs_as_it_is_removed_delays_no_poll_and_no_stop(
    configured: Configured, api: ScriptedServer
) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(ScriptedServer()) as stuck:
        stuck.answer = hang
        configured.to("stuck", stuck, "90s")
        async with Daemon(configured.write()) as daemon:
            await daemon.logged("watching")
            api.answer = [job("j", "staging")]
            await stuck.arrived(1)
            del configured.targets["stuck"]
            configured.key.write_text("second-key")
            configured.write()
            daemon.process.send_signal(signal.SIGHUP)
            await api.arrived(len(api.requests) + 20)
            assert api.requests[-1][0].headers["X-API-Key"] == "second-key"
            assert not any("config: reloaded" in line for line in daemon.lines)
            daemon.process.send_signal(signal.SIGTERM)
            await daemon.logged("stopping: no further polls")
            assert await daemon.ends(signal.SIGTERM, within=5) == 0


async def test_what_is_of_a_source_that_is_gone_is_not_sent_again(
    configured: Configured, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    receiver.answer = failing
    configured.sources["second"] = api.url
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("second: a first poll")
        api.answer = [job("j", "staging")]
        await receiver.arrived(2)
        del configured.sources["second"]
        await configured.reload()
        [dead] = await configured.deliveries("dead")
        done = await notifier("retry", dead["id"], "--config", str(configured.path))
        assert (done.code, done.err) == (
            1,
            f"notifier: {dead['id']} is of the source second, which is no longer configured\n",
        )
        assert await daemon.ends(signal.SIGTERM) == 0


async def test_a_config_that_no_parser_takes_is_refused_like_any_other(configured: Configured) -> None:
    async with Daemon(configured.write()) as daemon:
        await daemon.logged("watching")
        configured.more = f"x = {'[' * 5000}{']' * 5000}\n"
        _, err = await configured.reload(code=2)
        assert err.endswith("  file: has tables or lists nested too deeply\n")
        assert await daemon.ends(signal.SIGTERM) == 0
