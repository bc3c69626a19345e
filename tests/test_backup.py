"""A copy of the state that was made while the daemon ran takes its place."""

import asyncio
import shutil
import signal
import stat
from pathlib import Path

import pytest

from notifier.storage import StoreError
from notifier.store.backup import back_up
from notifier.store.reading import read_state
from tests.commands import beside, invoke
from tests.daemon import Daemon, write_config
from tests.records import delivery, record, write_state
from tests.servers import ScriptedServer, job


async def test_a_copy_made_in_a_storm_is_whole_and_takes_the_place_of_the_state(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver, poll_every="20ms")
    steps = ["staging", "transporting"]
    api.answer = [job("first", "staging")]
    async with Daemon(config) as daemon:
        await daemon.logged("watching 1 job")
        for step in range(8):
            api.answer = [job(f"j{number}", steps[step % 2]) for number in range(100)]
            polls = len(api.requests)
            done = await beside("backup", f"copy{step}.db", "--config", str(config))
            assert done.code == 0, done
            await api.arrived(polls + 2)
        await receiver.arrived(8 * 100)
        assert await daemon.ends(signal.SIGTERM) == 0
    told = {event["data"]["event_id"] for event in receiver.events}
    for step in range(8):
        assert list(read_state(Path(f"copy{step}.db")))
    state = tmp_path / "state.db"
    state.unlink()
    shutil.copy("copy4.db", state)
    async with Daemon(config) as daemon:
        await daemon.logged("watching 100 jobs")
        before = len(receiver.requests)
        api.answer = [job(f"j{number}", "completed") for number in range(100)]
        async with asyncio.timeout(30):
            while sum(event["type"] == "backfill.completed" for event in receiver.events) < 100:
                await receiver.arrived(len(receiver.requests) + 1)
        assert await daemon.ends(signal.SIGTERM) == 0
    again = [event["data"]["event_id"] for event in receiver.events[before:]]
    assert len(again) == len(set(again))  # what is told again has the id that it had
    assert {event["data"]["event_id"] for event in receiver.events} >= told


def test_it_is_for_its_owner_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    state, copy = tmp_path / "state.db", tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    write_state(state, {("allium", "a"): record(delivery("1"))})
    back_up(state, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [each.name for each in copy.parent.iterdir()] == ["copy.db"]
    assert dict(read_state(copy)) == dict(read_state(state))


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    state, copy = tmp_path / "state.db", tmp_path / "copy.db"
    write_state(state, {})
    copy.write_text("precious")
    result = invoke("backup", str(copy), NOTIFIER_STATE=f"sqlite:///{state}")
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"notifier: there is already something at {copy}; name a file that does not exist yet\n"
    )
    assert copy.read_text() == "precious"


def test_a_state_that_cannot_be_trusted_is_not_copied(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    result = invoke("backup", "copy.db", NOTIFIER_STATE=f"sqlite:///{state}")
    assert (result.exit_code, "there is no state at" in result.stderr) == (1, True)
    state.write_bytes(b"no database, " * 100)
    with pytest.raises(StoreError, match="damaged"):
        back_up(state, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    write_state(state, {})
    with pytest.raises(StoreError, match=r"cannot be made: no such file or directory"):
        back_up(state, tmp_path / "nowhere" / "copy.db")
