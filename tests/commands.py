"""Commands run as a user runs them: in this process, as one of their own, on a terminal."""

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from typing import NamedTuple

from typer.testing import CliRunner, Result

from notifier.cli import app

KEY = "allium-key-that-is-secret"
WHSEC = "whsec_c2lnbmluZyBrZXkgdGhhdCBpcyBzZWNyZXQ="
_COLOURS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS")


class Done(NamedTuple):
    code: int
    out: str
    err: str


def invoke(*arguments: str, **environment: str) -> Result:
    """Run a command in this process; whatever happens must end in an exit code, never in a traceback."""
    result = CliRunner().invoke(app, arguments, env={**dict.fromkeys(_COLOURS), **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    _check(result.output)
    return result


async def beside(*arguments: str, **environment: str) -> Done:
    """Run a command in this process while the servers of the test go on answering."""
    result = await asyncio.to_thread(invoke, *arguments, **environment)
    return Done(result.exit_code, result.stdout, result.stderr)


async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "notifier", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "NOTIFIER_LISTEN": ""} | environment,
    )


async def ended(process: asyncio.subprocess.Process) -> Done:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    _check(out.decode() + err.decode())
    return Done(process.returncode, out.decode(), err.decode())


async def notifier(*arguments: str, **environment: str) -> Done:
    """Run a command as a process of its own."""
    return await ended(await start(*arguments, **environment))


async def on_terminal(*arguments: str, columns: int = 80, **environment: str) -> Done:
    """Run a command on a terminal of its own; `out` is all that the terminal is given."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "notifier", *arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color"} | environment,
        )
    finally:
        os.close(theirs)
    try:
        async with asyncio.timeout(30):
            out = await asyncio.to_thread(_read_all, ours)
            code = await process.wait()
    finally:
        os.close(ours)
    _check(out)
    return Done(code, out, "")


def _read_all(terminal: int) -> str:
    read = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has it open any more
            part = b""
        if not part:
            return read.decode().replace("\r\n", "\n")
        read += part


def _check(output: str) -> None:
    assert "Traceback" not in output, output
    assert "that-is-secret" not in output, output
    assert WHSEC.removeprefix("whsec_") not in output, output
