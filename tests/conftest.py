"""What all tests share: a directory of their own, servers on loopback, a check that nothing leaks."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ScriptedServer, served
from tests.slack import CheckedSlack, served_slack


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaks a task or loses a task's exception."""
    lost: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: lost.append(context))
    yield
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
    assert not left, f"tasks left behind: {left}"
    assert not lost, f"exceptions nobody looked at: {lost}"


@pytest.fixture(autouse=True)
def _no_config_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run each test in a directory of its own, without the variables that configure a notifier."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("NOTIFIER_", "ALLIUM_", "SLACK_", "WEBHOOK_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what a command did to logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def api() -> AsyncIterator[ScriptedServer]:
    """A scripted Allium API that lists nothing until told otherwise."""
    server = ScriptedServer()
    server.answer = []
    async with served(server):
        yield server


@pytest.fixture
async def receiver() -> AsyncIterator[ScriptedServer]:
    """A webhook receiver that takes everything until told otherwise."""
    async with served(ScriptedServer()) as server:
        yield server


@pytest.fixture
async def slack() -> AsyncIterator[CheckedSlack]:
    """A Slack that fails the test when it took a message against the real one's rules."""
    slack = CheckedSlack()
    async with served_slack(slack) as slack.url:
        yield slack
    assert not slack.faults, "\n".join(slack.faults)
