"""A machine that boots a real systemd: a container with this machine's files below a layer of its own.

Its mounts are seen by nobody else and end with its processes, and these end with the test.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.manager import Manager, managed

NEEDED = ("systemd-nspawn", "nsenter", "setpriv", "unshare")
_CLONE_NEWNET = 0x4000_0000
_LAYERED = """
set -e
layer=$1 disk=$2 group=$3
shift 3
for tree in "" /systemd /unified; do  # one of its own, or two machines would share theirs
    if [ -w "/sys/fs/cgroup$tree/cgroup.procs" ]; then
        mkdir "/sys/fs/cgroup$tree/$group"
        echo $$ > "/sys/fs/cgroup$tree/$group/cgroup.procs"
    fi
done
mount -t tmpfs tmpfs "$disk"
mkdir "$disk/upper" "$disk/work" "$disk/root"
cp -a "$layer/." "$disk/upper"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
exec systemd-nspawn --directory="$disk/root" "$@"
"""
_TARGET = """[Unit]
Description=What a test needs
Requires=sysinit.target
After=sysinit.target
"""


class Done(NamedTuple):
    code: int
    out: str


class Machine:
    """A running machine."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    async def run(self, *command: str) -> Done:
        """Run a command there as root; its errors are part of its output."""
        process = await asyncio.create_subprocess_exec(
            *(
                "nsenter",
                f"--target={self._leader}",
                "--mount",
                "--uts",
                "--ipc",
                "--net",
                "--pid",
                "--root",
                "--wd",
            ),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, out.decode().strip())

    async def does(self, *command: str) -> str:
        """Run a command there that must succeed; return its output."""
        done = await self.run(*command)
        assert done.code == 0, f"{' '.join(command)}: {done.out}"
        return done.out

    def path(self, path: str) -> Path:
        """Return where a file of the machine is, seen from here."""
        return Path(f"/proc/{self._leader}/root{path}")

    def listen(self, port: int = 0) -> socket.socket:
        """Return a socket that is bound to loopback there."""
        made: list[socket.socket] = []

        def make() -> None:  # in a thread of its own, which no other work can get: it stays in that network
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/proc/{self._leader}/ns/net").open() as network:
                if libc.setns(network.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server(("127.0.0.1", port)))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


@asynccontextmanager
async def booted(directory: Path, layer: Path, *, binds: dict[Path, str]) -> AsyncIterator[Machine]:
    """Yield a machine that has the files of the layer over those of this one, and `binds` beside them."""
    disk, name = directory / "disk", f"notifier-{os.getpid()}"
    disk.mkdir()
    for own in ("machine-id", "fstab"):  # what is right for this machine alone
        (layer / "etc" / own).touch()
    (layer / "etc/systemd/system/of-a-test.target").write_text(_TARGET)
    async with managed(directory) as manager:
        process = await asyncio.create_subprocess_exec(
            # When the test is killed this is told, and shuts the machine down.
            *("setpriv", "--pdeathsig=TERM", "unshare", "--mount", "--propagation=private"),
            *("sh", "-c", _LAYERED, "sh", str(layer), str(disk), name),
            *("--quiet", "--boot", "--notify-ready=yes", "--register=no", "--keep-unit", "--console=pipe"),
            *("--private-network", f"--machine={name}"),
            *(f"--bind-ro={source}:{place}" for source, place in binds.items()),
            *("--", "--unit=of-a-test.target"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | manager.environment,
        )
        console = asyncio.create_task(_read(process))
        try:
            yield Machine(await _ready(manager, console))
        finally:
            await _end(process, [int(pid) for pid in manager.values("X_NSPAWN_LEADER_PID")])
            await console
            for tree in ("", "systemd", "unified"):
                _remove(Path("/sys/fs/cgroup", tree, name))


async def _ready(manager: Manager, console: asyncio.Task[str]) -> int:
    """Wait until it has booted; return the id of its first process."""
    told = asyncio.create_task(manager.told("READY", within=60))
    await asyncio.wait({told, console}, return_when=asyncio.FIRST_COMPLETED)
    if not told.done():
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)
        raise AssertionError(f"it did not boot: {console.result()}")
    await told
    return int(manager.values("X_NSPAWN_LEADER_PID")[-1])


async def _end(process: asyncio.subprocess.Process, leaders: list[int]) -> None:
    """Kill a machine: with its first process all others there."""
    with suppress(ProcessLookupError):
        for leader in leaders:
            os.kill(leader, signal.SIGKILL)
        if not leaders:
            process.terminate()
    async with asyncio.timeout(30):
        await process.wait()


def _remove(group: Path) -> None:
    """Remove a control group, if there is one, with those within."""
    if group.is_dir():
        for each in group.iterdir():
            _remove(each)
        group.rmdir()


async def _read(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.read()).decode(errors="replace")


def missing() -> str | None:
    """Return why no machine can be booted here; None when one can."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"without {', '.join(lacking)} (packages systemd-container, util-linux)"
    return None if os.geteuid() == 0 else "only root can boot one"
