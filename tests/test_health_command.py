"""`health`: what it says of a daemon that works, of one that does not, and of none."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from notifier.web.socket import served_beside
from tests.commands import beside, invoke


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the state is, for the commands of a test."""
    path = tmp_path / "state.db"
    monkeypatch.setenv("NOTIFIER_STATE", f"sqlite:///{path}")
    return path


@asynccontextmanager
async def answering(state: Path, status: int, answer: Any) -> AsyncIterator[None]:
    """Answer so, as the daemon that holds this state."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    async with served_beside(state, app):
        yield


HEALTHY = (200, {"healthy": True, "reasons": []})


async def test_a_daemon_that_works_is_healthy(state: Path) -> None:
    async with answering(state, *HEALTHY):
        assert await beside("health") == (0, "healthy\n", "")


async def test_why_a_daemon_does_not_work_is_printed(state: Path) -> None:
    reasons = ["the clock has stopped", "the lane of ops has died"]
    async with answering(state, 503, {"healthy": False, "reasons": reasons}):
        assert await beside("health") == (1, "the clock has stopped\nthe lane of ops has died\n", "")


async def test_what_a_later_version_adds_to_the_answer_is_passed_over(state: Path) -> None:
    async with answering(state, 200, {"healthy": True, "reasons": [], "since": "2026-01-31T10:30:00Z"}):
        assert (await beside("health")).code == 0


async def test_a_daemon_that_knows_no_such_question_is_not_called_healthy(state: Path) -> None:
    async with answering(state, 404, {"error": "404: Not Found"}):
        code, out, err = await beside("health")
    assert (code, out) == (1, "")
    assert f"the daemon that holds {state} answers in another form" in err


def test_no_daemon_is_not_healthy(state: Path) -> None:
    done = invoke("health")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"notifier: no daemon runs on {state}\n"


def test_a_daemon_that_was_killed_is_not_healthy(state: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(f"{state}.sock")
    done = invoke("health")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"notifier: no daemon runs on {state}\n"


def test_a_daemon_that_does_not_answer_is_not_waited_for_long(state: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{state}.sock")
        silent.listen()
        begun = time.monotonic()
        done = invoke("health")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"notifier: the daemon that holds {state} does not answer: timed out\n"
    assert time.monotonic() - begun < 9, "who asks gives up after ten seconds"


async def test_the_state_is_that_of_the_config_and_its_secrets_are_not_needed(tmp_path: Path) -> None:
    config = tmp_path / "elsewhere.toml"
    config.write_text(
        '[[sources]]\napi_key = "${UNSET_API_KEY}"\n'
        f'[store]\nurl = "sqlite:///{tmp_path}/of-the-config.db"\n'
    )
    async with answering(tmp_path / "of-the-config.db", *HEALTHY):
        assert await beside("health", "--config", str(config)) == (0, "healthy\n", "")
        assert await beside("--config", str(config), "health") == (0, "healthy\n", "")
        assert await beside("health", NOTIFIER_CONFIG=str(config)) == (0, "healthy\n", "")


async def test_the_variable_overrides_the_config(tmp_path: Path, state: Path) -> None:
    config = tmp_path / "notifier.toml"
    config.write_text('[store]\nurl = "sqlite:////of-the-config.db"\n')
    async with answering(state, *HEALTHY):
        assert await beside("health") == (0, "healthy\n", "")
        assert await beside("health", "--config", str(config)) == (0, "healthy\n", "")


@pytest.mark.parametrize("url", ["state.db", "sqlite:///", "postgresql://db/notifier"])
def test_a_variable_that_names_no_file_is_a_wrong_config(url: str) -> None:
    done = invoke("health", NOTIFIER_STATE=url)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "  NOTIFIER_STATE: " in done.stderr


@pytest.mark.usefixtures("state")
def test_a_config_that_is_named_but_missing_is_told() -> None:
    done = invoke("health", "--config", "missing.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "missing.toml" in done.stderr


async def test_what_is_asked_twice_a_minute_loads_nothing_large(state: Path) -> None:
    async with answering(state, *HEALTHY):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "importtime", "-m", "notifier", "health"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, imported = await process.communicate()
    assert out == b"healthy\n"
    assert b" notifier.commands.link\n" in imported
    for large in (b"aiohttp", b"notifier.config", b"notifier.settings", b"slack_sdk", b"rich"):
        assert b" " + large + b"\n" not in imported
