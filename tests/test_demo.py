"""The demo: its verdict, its simulation, and one run of all of it."""

import asyncio
import json
import signal
import socket
import sys
from datetime import UTC, datetime

import pytest

from notifier.demo.lives import generation
from notifier.demo.show import Transitions, differences

BEGAN = datetime(2026, 1, 31, tzinfo=UTC)
S, T, C = "staging", "transporting", "completed"


@pytest.mark.parametrize(
    ("served", "announced", "told"),
    [
        ({}, {}, []),
        ({"j": [(None, S), (S, T)]}, {"j": [(None, S), (S, T)]}, []),
        ({"j": [(None, S)]}, {}, ["j: served new→staging; announced nothing"]),
        ({}, {"j": [(None, S)]}, ["j: served nothing; announced new→staging"]),
        ({"j": [(S, T), (T, C)]}, {"j": [(T, C), (S, T)]}, ["j: served staging→transporting, transporting→"]),
        (
            {"a": [(S, C)], "b": [(S, C)]},
            {"a": [(S, C)], "b": [(S, T)]},
            ["b: served staging→completed; anno"],
        ),
    ],
)
def test_the_verdict_names_each_job_that_was_announced_otherwise(
    served: Transitions, announced: Transitions, told: list[str]
) -> None:
    lines = differences(served, announced)
    assert len(lines) == len(told)
    assert all(line.startswith(start) for line, start in zip(lines, told, strict=True))


def test_a_minute_of_the_simulation_has_every_kind_of_life() -> None:
    seen: dict[str, list[str]] = {}
    for tick in range(60):
        for life in generation(0, seed=7):
            element = life.element(float(tick), BEGAN)
            if element is not None:
                history = seen.setdefault(element["job_id"], [])
                if not history or history[-1] != element["status"]:
                    history.append(element["status"])
                assert 0 <= (element["chunks_left"] or 0) <= (element["num_chunks"] or 0)
    lives = [tuple(history) for history in seen.values()]
    assert len(lives) >= 20
    for whole in [(S, T, C), (S, T, "failed"), (S, T, "cancelled"), (S, C)]:
        assert whole in lives, "a life that goes on like this within the minute"
    assert {history[-1] for history in lives} == {"completed", "failed", "cancelled"}


def test_the_simulation_is_the_same_for_the_same_seed() -> None:
    assert generation(3, seed=7) == generation(3, seed=7)
    assert generation(3, seed=7) != generation(3, seed=8)
    json.dumps([life.element(300, BEGAN) for life in generation(3, seed=7)])


async def _demo(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "notifier", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_demo_announces_exactly_what_happens_and_ends_by_itself() -> None:
    process = await _demo("--seconds", "7")
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, out.decode() + err.decode()
    assert "Everything that happened was announced, in order, once." in out.decode()
    assert "● staging" in out.decode()
    assert err == b""


async def test_ctrl_c_ends_the_demo_with_its_verdict() -> None:
    process = await _demo()
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"\xe2\x97\x8f" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert "Everything that happened was announced, in order, once." in out.decode()


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await _demo("--seconds", "5", "--port", str(port))
        async with asyncio.timeout(60):
            _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == f"notifier: cannot serve on 127.0.0.1:{port}: address already in use\n"
