"""The image, built as the Dockerfile says on a base made here, and containers of it: no registry, no daemon.

Needs root and the programs in NEEDED.
"""

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.commands import Done
from tests.daemon import Process

ROOT = Path(__file__).parents[1]
IMAGE = "localhost/backfill-notifier"
NEEDED = ("buildah", "crun", "debootstrap", "nsenter", "podman", "unshare")
_BASE = "localhost/base"
_IN_BASE = "python3-minimal,python3-venv"
_HYBRID = "/sys/fs/cgroup/unified"
_OF_INDEX = ("index-url", "extra-index-url", "trusted-host")
LITTLE = (
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"),
)
"""How little a container may do. (A machine inside another cannot limit groups, nor raise limits.)"""


class Engine:
    """Runs buildah and podman on a storage of its own."""

    def __init__(self, directory: Path, namespace: int) -> None:
        self._directory = directory
        self._enter = ("nsenter", f"--mount=/proc/{namespace}/ns/mnt", "--")

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Return how to run one of the two."""
        storage = ("--root", f"{self._directory}/root", "--runroot", f"{self._directory}/run")
        return (*self._enter, program, *storage, "--storage-driver=overlay", *arguments)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of the two to its end; return what it prints."""
        command = self.command(program, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done.stdout

    async def podman(self, *arguments: str) -> Done:
        """Run podman to its end while the servers of the test go on answering."""
        process = await asyncio.create_subprocess_exec(
            *self.command("podman", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    def inspect(self) -> dict[str, Any]:
        """Return what the image is made to do."""
        [image] = json.loads(self.run("podman", "image", "inspect", IMAGE))
        assert isinstance(image, dict)
        return image

    def size(self) -> int:
        """Return how many bytes the image has beside its base."""
        sizes = [
            json.loads(self.run("podman", "image", "inspect", name))[0]["Size"] for name in (IMAGE, _BASE)
        ]
        return int(sizes[0] - sizes[1])


@contextmanager
def engine_with_image() -> Iterator[Engine]:
    """Yield an engine that has the image, and remove all of it at the end."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.fail(f"building and running an image needs root, and {', '.join(missing or NEEDED)}")
    with TemporaryDirectory(prefix="image-") as name, _namespace() as namespace:
        directory = Path(name)
        engine = Engine(directory, namespace)
        _make_base(engine, directory / "base")
        engine.run(
            "buildah",
            *("build", "--isolation=chroot", "--pull-never", "--build-arg", f"BASE={_BASE}"),
            *("--format=docker", *_like_pip_here(directory / "pip.conf"), "--tag", IMAGE, str(ROOT)),
        )
        try:
            yield engine
        finally:
            engine.run("podman", "rm", "--all", "--force", "--time=0")


@contextmanager
def _namespace() -> Iterator[int]:
    """Yield a process whose mounts are its own: none that an engine makes outlives it."""
    # crun refuses a machine that has both versions of cgroups mounted.
    hide = f"if mountpoint -q {_HYBRID}; then umount {_HYBRID}; fi; echo ready; exec cat"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", hide], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def _make_base(engine: Engine, directory: Path) -> None:
    """Import a Debian like this machine's, with its Python, as the image that FROM names."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    sites = _output(
        "apt-get", "indextargets", "--format", "$(SITE)", f"Release: {release}", "Component: main"
    )
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={_IN_BASE}", release, directory, sites.split()[0]],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for bulk in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(directory / bulk)
    archive = directory.with_suffix(".tar")
    subprocess.run(["tar", "--directory", directory, "--create", "--file", archive, "."], check=True)
    shutil.rmtree(directory)
    engine.run("podman", "import", "--quiet", str(archive), _BASE)
    archive.unlink()


def _like_pip_here(conf: Path) -> list[str]:
    """Return the options by which a build finds packages where this machine's pip does, if over a network."""
    settings = {"cert": "", **dict.fromkeys(_OF_INDEX, "")}
    for line in _output(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = value.strip("'\"")
    values = {
        name: [url for url in settings[name].split() if not url.startswith("file:")] for name in _OF_INDEX
    }
    lines = [f"{name} = {' '.join(urls)}\n" for name, urls in values.items() if urls]
    options = ["--secret", f"id=pip,src={conf}"]
    if cert := settings["cert"]:
        lines.append(f"cert = {cert}\n")
        options += ["--volume", f"{cert}:{cert}:ro"]
    conf.write_text("[global]\n" + "".join(lines))
    return options


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Container(Process):
    """The image in a container that may do as little as it can do with."""

    def __init__(self, engine: Engine, name: str, *options: str) -> None:
        super().__init__(*engine.command("podman", "run", "--name", name, *LITTLE, *options, IMAGE))
        self._engine = engine
        self._name = name

    async def runs(self, *command: str) -> Done:
        """Run a command in it."""
        return await self._engine.podman("exec", self._name, *command)

    async def health(self) -> Done:
        """Run the check that the image has."""
        return await self._engine.podman("healthcheck", "run", self._name)

    async def stopped(self) -> int:
        """Stop it as people do; return its exit code, 137 when it had to be killed after 20 seconds."""
        done = await self._engine.podman("stop", "--time=20", self._name)
        assert done.code == 0, done.err
        return await self.ends()
