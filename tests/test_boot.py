"""The service on a real systemd: its start, its end by violence and by order, its user, its secrets."""

import asyncio
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from yarl import URL

from notifier.process import STOP_WITHIN_SECONDS
from tests.machine import Machine, booted, missing
from tests.servers import ScriptedServer, served
from tests.world import World, event_ids, faults

pytestmark = [pytest.mark.boot, pytest.mark.timeout(300)]

CHECKOUT = Path(__file__).parent.parent
KEY, SECRET = "allium-key-for-tests", "whsec_c2lnbmluZyBrZXkgdGhhdCBpcyBzZWNyZXQ="
CONFIG = """
[[sources]]
api_key_file = "${{CREDENTIALS_DIRECTORY}}/allium-api-key"
base_url = "http://localhost:{api}"
poll_every = "200ms"
poll_idle_every = "200ms"

[targets.ops]
type = "webhook"
url = "http://localhost:{receiver}/hooks/ops"
secret_file = "${{CREDENTIALS_DIRECTORY}}/webhook-secret"

[delivery]
first_retry = "100ms"

[store]
url = "sqlite:////var/lib/notifier/state.db"
"""
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
FILES = {
    "etc/systemd/system/notifier.service.d/test.conf": "[Service]\nWatchdogSec=6s\n",
    "etc/systemd/system/notifier-once.timer.d/test.conf": "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\n",
    "etc/notifier/credentials/allium-api-key": f"{KEY}\n",
    "etc/notifier/credentials/webhook-secret": f"{SECRET}\n",
    # As `pip install` would have it, but that the packages are those of this test.
    "opt/notifier/pyvenv.cfg": "home = /opt/python/bin\n",
    "opt/notifier/bin/notifier": "#!/bin/sh\n"
    'LD_LIBRARY_PATH=/opt/python/lib exec /opt/notifier/bin/python -m notifier "$@"\n',
    f"opt/notifier/lib/{PYTHON}/site-packages/test.pth": "/opt/notifier/packages\n/opt/notifier/checkout\n"
    "import signal, time; signal.signal(signal.SIGUSR2, lambda *_: time.sleep(3600))\n",
}
BINDS = {
    Path(sys.base_prefix): "/opt/python",
    Path(sysconfig.get_path("purelib")): "/opt/notifier/packages",
    CHECKOUT / "notifier": "/opt/notifier/checkout/notifier",
}
DYNAMIC_USERS = range(61184, 65520)
"""Those that last as long as their service (systemd's documentation, "Users, Groups, UIDs")."""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine on which the service was installed as its unit says."""
    if (why := missing()) is not None:
        pytest.fail(why)  # who has it run wants to know
    layer = tmp_path / "layer"
    for name, text in FILES.items():
        (layer / name).parent.mkdir(parents=True, exist_ok=True)
        (layer / name).write_text(text)
    for unit in (CHECKOUT / "systemd").iterdir():
        shutil.copy(unit, layer / "etc/systemd/system")
    (layer / "opt/notifier/bin/notifier").chmod(0o755)
    (layer / "opt/notifier/bin/python").symlink_to(f"/opt/python/bin/{PYTHON}")
    (layer / "usr/local/bin").mkdir(parents=True)
    (layer / "usr/local/bin/notifier").symlink_to("/opt/notifier/bin/notifier")
    (layer / "etc/notifier/credentials").chmod(0o700)
    async with booted(tmp_path, layer, binds=BINDS) as machine:
        yield machine


class Unit:
    """A service on the machine."""

    def __init__(self, machine: Machine, name: str = "notifier") -> None:
        self._machine = machine
        self._name = name

    async def systemctl(self, *command: str) -> str:
        return await self._machine.does("systemctl", *command, self._name)

    async def show(self, name: str) -> str:
        return await self.systemctl("show", "--value", f"--property={name}")

    async def becomes(self, name: str, holds: Callable[[str], bool]) -> str:
        """Wait until a property is so; return it."""
        async with asyncio.timeout(40):
            while not holds(value := await self.show(name)):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)
        return value

    async def comes_back(self, ends: Callable[[], Awaitable[object]]) -> float:
        """Have it ended, and wait until it was started again; return after how many seconds that was."""
        before, began = int(await self.show("NRestarts")), asyncio.get_running_loop().time()
        await ends()
        await self.becomes("NRestarts", lambda value: int(value) == before + 1)
        await self.becomes("ActiveState", lambda value: value == "active")
        return asyncio.get_running_loop().time() - began

    async def journal(self) -> str:
        await self._machine.does("journalctl", "--sync")
        return await self._machine.does("journalctl", "--quiet", "--output=cat", f"--unit={self._name}")


class Peers:
    """What the service talks to: backfills that change with each poll, and who is told of them."""

    def __init__(self, api: ScriptedServer, receiver: ScriptedServer) -> None:
        self.api = api
        self.receiver = receiver
        self.world = World(jobs=20, seed=1, changes=2)

    async def go_on(self) -> None:
        """Let the world go on until so much has been told of it that something is always under way."""
        await self.receiver.arrived(len(self.receiver.requests) + 20)

    async def settled(self) -> None:
        """Wait until all that has happened has been told."""
        self.world.frozen = True
        async with asyncio.timeout(20):
            while faults(self.world, self.receiver):  # noqa: ASYNC110 - several things may be late
                await asyncio.sleep(0.1)
        self.world.frozen = False

    def repeated(self) -> int:
        """Return how many messages arrived more than once."""
        return len(self.receiver.requests) - len(event_ids(self.receiver))


@asynccontextmanager
async def peers(machine: Machine) -> AsyncIterator[Peers]:
    async with (
        served(ScriptedServer(), listening=machine.listen()) as api,
        served(ScriptedServer(), listening=machine.listen()) as receiver,
    ):
        # By name: to look one up must be among what the service may do.
        config = CONFIG.format(api=URL(api.url).port, receiver=URL(receiver.url).port)
        machine.path("/etc/notifier/notifier.toml").write_text(config)
        yield Peers(api, receiver)


async def test_the_service_outlives_what_ends_it_and_ends_when_it_is_told_to(machine: Machine) -> None:
    service = Unit(machine)
    async with peers(machine) as there:
        there.api.answer = web.Response(status=503)
        await service.systemctl("enable", "--now")
        assert await service.show("ActiveState") == "active", "it was not ready"
        await service.becomes("StatusText", lambda text: text.startswith("no good poll yet; "))

        there.api.answer = there.world.listing
        await there.go_on()
        assert (await service.show("StatusText")).startswith("watching ")
        await _has_its_own_user_and_secrets(machine, service, there)

        killed = await service.comes_back(lambda: service.systemctl("kill", "--signal=KILL"))
        assert 5 < killed < 15
        await there.go_on()
        frozen = await service.comes_back(lambda: service.systemctl("kill", "--signal=USR2"))
        assert 5 + 3 < frozen < 5 + 6 + 10
        journal = await service.journal()
        assert "Watchdog timeout (limit 6s)!" in journal
        assert "Current thread" in journal, "it did not say where it hung"
        await there.go_on()

        await _follows_its_config(machine, service)
        await there.settled()
        assert there.repeated() <= 2 * 16, "more than what was under way when it was ended"
        await _answers_root(machine)
        before = there.repeated()
        began = asyncio.get_running_loop().time()
        await service.systemctl("stop")
        assert asyncio.get_running_loop().time() - began < STOP_WITHIN_SECONDS
        assert await service.show("Result") == "success"
        assert await service.show("ExecMainStatus") == "0"
        await _answers_root(machine)
        await _takes_a_backup_back(machine)

        await service.systemctl("start")
        await there.go_on()
        await there.settled()
        assert there.repeated() == before
        assert not faults(there.world, there.receiver)
        assert int(await service.show("NRestarts")) == 0, "it did not stay"


async def _has_its_own_user_and_secrets(machine: Machine, service: Unit, there: Peers) -> None:
    status = machine.path(f"/proc/{await service.show('MainPID')}/status").read_text()
    [uid] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:")]
    assert uid in DYNAMIC_USERS
    owned = machine.path("/var/lib/private/notifier/state.db").stat()
    assert (owned.st_uid, owned.st_mode & 0o077) == (uid, 0)
    assert there.api.requests[-1][0].headers["X-API-Key"] == KEY
    request, body = there.receiver.requests[-1]
    Webhook(SECRET).verify(body.decode(), dict(request.headers))


async def _follows_its_config(machine: Machine, service: Unit) -> None:
    """Make sure that `systemctl reload` says what came of it, and that SIGHUP leaves the service as it was."""
    config, pid = machine.path("/etc/notifier/notifier.toml"), await service.show("MainPID")
    good = config.read_text()
    config.write_text(good.replace('first_retry = "100ms"', 'first_retry = "200ms"'))
    await service.systemctl("reload")
    assert "config: reloaded, [delivery]" in await service.journal()
    config.write_text("nonsense")
    assert (await machine.run("systemctl", "reload", "notifier")).code != 0
    config.write_text(good)
    await service.systemctl("kill", "--signal=HUP", "--kill-who=main")
    await service.becomes("ActiveState", lambda value: value == "active")
    assert await service.show("MainPID") == pid


async def _answers_root(machine: Machine) -> None:
    """Make sure that commands work for root, and leave nothing behind that the service cannot use."""
    assert "allium" in await machine.does("notifier", "status")
    assert "muted for 1h" in await machine.does("notifier", "mute", "--name", "nobody*", "--for", "1h")
    assert "nobody*" in await machine.does("notifier", "mutes")
    assert "no dead letters" in await machine.does("notifier", "retry", "--dead")
    secrets = "CREDENTIALS_DIRECTORY=/etc/notifier/credentials"
    await machine.does("env", secrets, "notifier", "check", "--connect")


async def _takes_a_backup_back(machine: Machine) -> None:
    """Back the state up and restore it, as docs/operating.md has it."""
    await machine.does("notifier", "backup", "/var/backups/copy.db")
    restore = (
        "cd /var/lib/notifier && mv state.db state.db.damaged && rm -f state.db-wal state.db-shm",
        "cp /var/backups/copy.db state.db && chown --reference=state.db.damaged state.db",
    )
    await machine.does("sh", "-c", " && ".join(restore))


async def test_a_config_that_is_wrong_is_told_once(machine: Machine) -> None:
    service = Unit(machine)
    async with peers(machine) as there:
        there.api.answer = there.world.listing
        machine.path("/etc/notifier/credentials/allium-api-key").unlink()
        assert (await machine.run("systemctl", "start", "notifier")).code != 0
        assert await service.show("ActiveState") == "failed", "it is to be started again"
        assert await service.show("ExecMainStatus") == "2"
        assert await service.show("NRestarts") == "0"
        assert "allium-api-key is empty" in await service.journal()
        assert not there.api.requests

        machine.path("/etc/notifier/credentials/allium-api-key").write_text(KEY)
        await service.systemctl("start")
        await there.go_on()
        await there.settled()


async def test_the_timer_does_the_same_without_a_daemon(machine: Machine) -> None:
    once = Unit(machine, "notifier-once.service")
    async with peers(machine) as there:
        there.api.answer = there.world.listing
        await machine.does("systemctl", "enable", "--now", "notifier-once.timer")
        await there.receiver.arrived(6)
        await there.settled()
        await machine.does("systemctl", "stop", "notifier-once.timer")
        await once.becomes("ActiveState", lambda value: value == "inactive")
        assert await once.show("Result") == "success"
        assert not there.repeated()
        owner = machine.path("/var/lib/private/notifier/state.db").stat().st_uid
        assert owner in DYNAMIC_USERS

        polls = len(there.api.requests)
        await machine.does("systemctl", "start", "notifier")
        await there.api.arrived(polls + 2)
        await there.settled()
        assert not there.repeated()
        assert machine.path("/var/lib/private/notifier/state.db").stat().st_uid == owner
