"""The image, built and run for real: as nobody in particular, on a file system that is read only."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier import __version__
from tests.containers import IMAGE, LITTLE, Container, Engine, engine_with_image
from tests.daemon import write_config
from tests.deployed import compose
from tests.servers import ScriptedServer, job

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

_EVERY_MODULE = """
import importlib, pkgutil, notifier
for module in pkgutil.walk_packages(notifier.__path__, "notifier."):
    if module.name != "notifier.__main__":
        importlib.import_module(module.name)
"""
_NEVER_COMPILED = """
import pathlib, sys, sysconfig
sources = set(pathlib.Path(sysconfig.get_path("purelib")).rglob("*.py"))
cached = {path for path in sources if list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))}
print(sorted(sources - cached))
"""
_ASK = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(f"http://127.0.0.1:8080/{sys.argv[1]}")
if sys.argv[2:]:
    request.add_header("Authorization", f"Bearer {sys.argv[2]}")
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """What has built the image and runs it."""
    with engine_with_image() as engine:
        yield engine


def test_the_image_says_what_it_is_and_how_to_run_it(engine: Engine) -> None:
    config = engine.inspect()["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["notifier"], ["run"])
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert config["Volumes"] == {"/var/lib/notifier": {}}
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert engine.inspect()["Healthcheck"]["Test"] == ["CMD", "notifier", "health"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__


def test_it_is_small(engine: Engine) -> None:
    assert engine.size() < 50e6


async def test_it_has_all_that_is_imported_and_compiles_nothing_as_it_starts(engine: Engine) -> None:
    run = ("run", "--rm", "--no-healthcheck", "--network=none", *LITTLE, "--entrypoint=python", IMAGE, "-c")
    assert (await engine.podman(*run, _EVERY_MODULE)).code == 0
    assert (await engine.podman(*run, _NEVER_COMPILED)).out == "[]\n"


async def test_without_a_config_it_says_what_is_missing(engine: Engine) -> None:
    done = await engine.podman("run", "--rm", "--network=none", *LITTLE, IMAGE)
    assert done.code == 2
    assert "ALLIUM_API_KEY" in done.err


async def test_it_delivers_stops_when_told_to_and_goes_on_in_another_container_of_the_same_volume(
    engine: Engine, tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver, state=Path("/var/lib/notifier/state.db"))
    options = (
        *("--network=host", "--env=NOTIFIER_LISTEN="),
        f"--volume={config}:/etc/notifier/notifier.toml:ro",
        "--volume=state:/var/lib/notifier",
    )
    api.answer = [job("j1")]
    async with Container(engine, "first", *options) as container:
        await container.logged("watching 1 job")
        assert (await container.health()).code == 0
        api.answer = [job("j1", "transporting"), job("j2")]
        await receiver.arrived(2)
        await container.logged("ops: delivered backfill.staging")
        await container.logged("ops: delivered backfill.transporting")

        process = (await container.runs("cat", "/proc/1/status")).out
        assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", process, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0{16}$", process, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", process, re.MULTILINE)
        written = await container.runs("sh", "-c", "touch /x; touch /tmp/x; touch /opt/notifier/x")
        assert written.err.count("Read-only file system") == 3

        assert await container.stopped() == 0
        assert any("stopped" in line for line in container.lines)

    api.answer = [job("j1", "completed"), job("j2")]
    async with Container(engine, "second", *options) as container:
        await container.logged("ops: delivered backfill.completed")
        deliveries = await container.runs("notifier", "deliveries", "--json")
        assert [item["state"] for item in json.loads(deliveries.out)] == ["delivered"] * 3
        assert await container.stopped() == 0
    happened = sorted((event["data"]["job_id"], event["data"]["status"]) for event in receiver.events)
    assert happened == [("j1", "completed"), ("j1", "transporting"), ("j2", "staging")]


async def test_it_stops_when_told_to_before_it_has_read_its_config(engine: Engine, tmp_path: Path) -> None:
    config = tmp_path / "notifier.toml"
    os.mkfifo(config)
    volume = f"--volume={config}:/etc/notifier/notifier.toml:ro"
    async with Container(engine, "early", "--network=none", volume) as container:
        with await asyncio.to_thread(config.open, "wb"):  # opened when the daemon opens it, and has to wait
            assert await container.stopped() == 0


async def test_as_compose_sets_it_the_page_is_served_to_who_has_the_token(
    engine: Engine, tmp_path: Path
) -> None:
    service = compose()["services"]["notifier"]
    options = [f"--env={name}={value}" for name, value in service["environment"].items()]
    for secret in service["secrets"]:
        file = tmp_path / secret
        file.write_text("token-for-tests")
        file.chmod(0o400)
        os.chown(file, 10001, 10001)
        options.append(f"--volume={file}:/run/secrets/{secret}:ro")
    async with Container(engine, "composed", "--network=none", *options) as container:
        await container.logged("allium: ")
        assert [
            (await container.runs("python", "-c", _ASK, *question)).out
            for question in (["healthz"], ["readyz"], ["api/v1/status"], ["api/v1/status", "token-for-tests"])
        ] == ["200\n", "503\n", "401\n", "200\n"]
        assert await container.stopped() == 0
