"""The socket beside the state: who may use it, where it can be, what becomes of it."""

import asyncio
import signal
import socket
import stat
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from notifier import __version__
from notifier.unix import short_path, socket_path
from notifier.web.socket import served_beside
from tests.commands import notifier
from tests.daemon import Daemon, write_config
from tests.servers import ScriptedServer, job


def application(word: str = "here") -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=word)

    app = web.Application()
    app.router.add_get("/", answer)
    return app


async def ask(state: Path) -> str:
    """Return what answers beside this state; raises OSError when nothing does."""
    with short_path(socket_path(state)) as address:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(address)) as session,
            session.get("http://localhost/") as response,
        ):
            return await response.text()


async def test_only_its_owner_may_use_it(tmp_path: Path) -> None:
    async with served_beside(tmp_path / "state.db", application()):
        mode = (tmp_path / "state.db.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert await ask(tmp_path / "state.db") == "here"


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_it_is_gone_when_it_is_no_longer_served(tmp_path: Path) -> None:
    async with served_beside(tmp_path / "state.db", application()):
        pass
    assert names_in(tmp_path) == []
    with pytest.raises(OSError, match="No such file"):
        await ask(tmp_path / "state.db")


async def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with served_beside(tmp_path / "state.db", application()):
            raise KeyError
    assert names_in(tmp_path) == []


async def test_one_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.db.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    path.chmod(0o666)
    with pytest.raises(OSError, match="Connect"):
        await ask(tmp_path / "state.db")
    async with served_beside(tmp_path / "state.db", application()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await ask(tmp_path / "state.db") == "here"


async def test_a_link_in_its_place_is_replaced_and_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "state.db.sock").symlink_to(tmp_path / "precious")
    async with served_beside(tmp_path / "state.db", application()):
        assert await ask(tmp_path / "state.db") == "here"
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("length", [90, 107, 108, 109, 180, 1000])
async def test_the_path_may_be_longer_than_a_socket_s_address(tmp_path: Path, length: int) -> None:
    directory = tmp_path
    while (missing := length - len(f"{directory}/s.db.sock")) > 1:
        directory /= "d" * min(200, missing - 1)
    directory.mkdir(parents=True, exist_ok=True)
    async with served_beside(directory / "s.db", application()):
        assert (directory / "s.db.sock").is_socket()
        assert await ask(directory / "s.db") == "here"
    assert names_in(directory) == []


async def test_a_name_that_is_longer_than_any_address_is_an_error(tmp_path: Path) -> None:
    state = tmp_path / ("s" * 120)
    with pytest.raises(OSError, match="File name too long"):
        async with served_beside(state, application()):
            pass
    assert names_in(tmp_path) == []


async def test_a_directory_in_its_place_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "state.db.sock").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        async with served_beside(tmp_path / "state.db", application()):
            pass
    assert (tmp_path / "state.db.sock").is_dir()


async def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with served_beside(tmp_path / "missing" / "state.db", application()):
            pass


async def test_that_it_cannot_be_removed_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    async with served_beside(tmp_path / "state" / "state.db", application()):
        (tmp_path / "state").rename(tmp_path / "moved")
        (tmp_path / "state").touch()
    assert (tmp_path / "moved" / "state.db.sock").is_socket()


async def test_a_request_that_would_never_end_is_cut_off(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/", hang)
    async with served_beside(tmp_path / "state.db", app):
        asking = asyncio.create_task(ask(tmp_path / "state.db"))
        await arrived.wait()
    with pytest.raises(aiohttp.ClientError):
        await asking


# ------------------------------------------------------------------------------------ of a daemon


async def test_a_daemon_whose_state_has_a_long_path_can_be_asked(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    config = write_config(directory, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        assert (directory / "state.db.sock").is_socket()
        done = await notifier("status", "--config", str(config))
        assert done.code == 0
        assert f"● running  notifier {__version__}, process {daemon.process.pid}," in done.out
        assert await daemon.ends(signal.SIGTERM) == 0
        assert not any("commands cannot reach" in line for line in daemon.lines)
    assert not (directory / "state.db.sock").exists()


async def test_a_daemon_without_a_socket_warns_and_goes_on_and_its_state_is_read(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    (tmp_path / "state.db.sock").mkdir()
    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged(
            f"WARNING commands cannot reach this daemon: {tmp_path}/state.db.sock: is a directory"
        )
        await daemon.logged("watching")
        api.answer = [job("j1")]
        await daemon.logged("ops: delivered backfill.staging")
        done = await notifier("jobs", "--json", "--config", str(config))
        assert done.code == 0
        assert '"job_id": "j1"' in done.out
        assert await daemon.ends(signal.SIGTERM) == 0
    assert (tmp_path / "state.db.sock").is_dir()


async def test_the_next_daemon_replaces_the_socket_of_one_that_was_killed(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver)
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        await daemon.ends(signal.SIGKILL)
    assert (tmp_path / "state.db.sock").is_socket()
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        done = await notifier("status", "--config", str(config))
        assert f"process {daemon.process.pid}," in done.out
        assert await daemon.ends(signal.SIGTERM) == 0
    assert not (tmp_path / "state.db.sock").exists()
