"""What a process says to its service manager, over real sockets."""

import os
import socket
from pathlib import Path

import pytest

from notifier.supervisor import Supervisor
from tests.manager import managed


@pytest.mark.parametrize("abstract", [False, True])
async def test_what_it_is_told_arrives_as_one_message(tmp_path: Path, abstract: bool) -> None:
    async with managed(None if abstract else tmp_path) as manager:
        supervisor = Supervisor(manager.environment)
        assert supervisor.listens
        assert supervisor.tell({"READY": "1", "STATUS": "watching 12 jobs, 3 active"})
        await manager.told("READY")
        assert manager.messages == [{"READY": "1", "STATUS": "watching 12 jobs, 3 active"}]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_socket_that_it_knows_nobody_listens(environment: dict[str, str]) -> None:
    supervisor = Supervisor(environment | {"WATCHDOG_USEC": "1000000"})
    assert not supervisor.listens
    assert not supervisor.tell({"READY": "1"})
    assert supervisor.feed_within_seconds is None


async def test_a_status_is_one_line_of_text_and_never_too_long(tmp_path: Path) -> None:
    async with managed(tmp_path) as manager:
        assert Supervisor(manager.environment).tell({"STATUS": "a\nMAINPID=1\rb \udc80 " + 5000 * "é"})
        status = await manager.told("STATUS")
    assert manager.messages == [{"STATUS": status}]
    assert status.startswith("a MAINPID=1 b ? é")
    assert len(status) == 1000


def test_a_manager_that_is_gone_raises_nothing(tmp_path: Path) -> None:
    assert not Supervisor({"NOTIFY_SOCKET": f"{tmp_path}/nobody"}).tell({"READY": "1"})
    assert not Supervisor({"NOTIFY_SOCKET": f"/{'x' * 200}"}).tell({"READY": "1"})


def test_a_manager_that_is_busy_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(f"{tmp_path}/notify")
        supervisor = Supervisor({"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        taken = 0
        while supervisor.tell({"STATUS": "x"}):
            taken += 1
        assert taken > 0
        busy.recv(100)
        assert supervisor.tell({"STATUS": "x"})


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({}, None),
    ],
)
def test_it_is_fed_as_often_as_it_wants_if_it_wants_that_of_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": "/run/systemd/notify"} | environment)
    assert supervisor.feed_within_seconds == seconds
