"""`mute`, `unmute` and `mutes` where no daemon runs, and what is wrong with an order."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.items import MuteItem
from notifier.model import SourceRecord
from notifier.muting import Muting
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from tests.commands import invoke
from tests.records import NOW, record, write_state
from tests.test_web_api import asked


def on(state: Path, *arguments: str) -> Any:
    return invoke(*arguments, NOTIFIER_STATE=f"sqlite:///{state}")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    write_state(path, {("allium", "j"): record(status="transporting")})
    return path


def test_a_mute_is_made_listed_and_ended_in_the_state(state: Path) -> None:
    made = on(state, "mute", "j", "--for", "1h30m", "--reason", "known\x1b[31m")
    assert made.exit_code == 0
    assert made.stdout.startswith("muted for 1h 30m: mut_")
    listed = on(state, "mutes").stdout
    assert "job j" in listed
    assert "\x1b" not in listed
    [item] = json.loads(on(state, "mutes", "--json").stdout)
    assert (item["job_id"], item["suppressed"], item["sources"]) == ("j", 0, ["allium"])
    assert "muted for 1h" in on(state, "jobs").stdout
    assert on(state, "unmute", "j").stdout == f"unmuted: {item['id']}\n"
    assert on(state, "mutes").stdout.strip() == "no mutes"


def test_a_mute_by_a_glob_says_how_many_jobs_it_is_about(state: Path) -> None:
    by_source = on(state, "mute", "--source", "allium", "--for", "1h").stdout
    by_name = on(state, "mute", "--name", "nobody*", "--for", "1h").stdout
    assert by_source.startswith("muted for 1h, 1 known job so far: mut_")
    assert by_name.startswith("muted for 1h, 0 known jobs so far: mut_")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("mute", "--for", "1h"), 2, "mute wants a JOB_ID, --table, --name or --source"),
        (("mute", "j"), 2, "Missing option '--for'"),
        *(
            (("mute", "j", "--for", length), 2, 'not a duration; write it like "15s", "2m", "1h30m" or "3d"')
            for length in ("", "soon", "2", "-1h", "1h 30m", "1.5h")
        ),
        (("mute", "j", "--for", "99999999d"), 2, "longer than ten years"),
        (("mute", "j", "k", "--for", "1h"), 2, "Got unexpected extra argument"),
        (("mute", "", "--for", "1h"), 2, "mute wants a JOB_ID, --table, --name or --source"),
        (("mute", "j", "--table", " ", "--for", "1h"), 1, "table is empty"),
        (("unmute",), 2, "Missing argument 'JOB_ID_OR_MUTE_ID'"),
        (("mutes", "extra"), 2, "Got unexpected extra argument"),
        (("mute", "j", "--for", "0s"), 1, "it must last longer than 0s"),
        (("mute", "x", "--for", "1h"), 1, "there is no job x"),
        (("mute", "--source", "x", "--for", "1h"), 1, "there is no source x"),
        (("mute", "--table", "\udcff", "--for", "1h"), 1, "table is not UTF-8 text"),
        (("unmute", "x"), 1, "there is no mute x"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    state: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = on(state, *arguments)
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("mute", "j", "--for", "1h"), ("unmute", "j"), ("mutes",)])
def test_without_a_state_there_is_nothing_to_mute(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = on(tmp_path / "state.db", *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is no state at" in done.stderr
    assert not (tmp_path / "state.db").exists()


def test_unmuting_a_mute_by_its_id_leaves_the_others(state: Path) -> None:
    first, second = (
        re.findall("mut_[0-9a-f]{24}", on(state, "mute", *named, "--for", "1h").stdout)[0]
        for named in (("j",), ("--table", "*", "--name", "x", "--source", "allium"))
    )
    assert on(state, "unmute", first).stdout == f"unmuted: {first}\n"
    [item] = json.loads(on(state, "mutes", "--json").stdout)
    assert {key: item[key] for key in ("id", "job_id", "table", "name", "source", "reason")} == {
        "id": second,
        "job_id": None,
        "table": "*",
        "name": "x",
        "source": "allium",
        "reason": None,
    }


def test_where_the_state_is_is_all_that_matters_of_the_config(state: Path) -> None:
    config = state.parent / "notifier.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{state}"\n[[sources]]\napi_key = "${{UNSET}}"\n')
    assert invoke("--config", str(config), "mute", "j", "--for", "1h").exit_code == 0
    assert len(json.loads(invoke("mutes", "--json", "--config", str(config)).stdout)) == 1
    config.write_text("[store]\nurk = 1\n")
    for arguments in (("mute", "j", "--for", "1h"), ("unmute", "j"), ("mutes",)):
        done = invoke(*arguments, "--config", str(config))
        assert (done.exit_code, done.stdout) == (2, "")
        assert "store.urk: unknown key" in done.stderr


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"job_id": "j", "for": "2h"}, 201, None),
        ({"source": "a", "for": "2h", "reason": "x"}, 201, None),
        ({"for": "2h"}, 400, "nothing is named"),
        ({"job_id": "j"}, 400, "for"),
        ({"job_id": "j", "for": "x"}, 400, "not a duration"),
        ({"job_id": "j", "for": "2h", "until": 1}, 400, "until"),
        ({"job_id": "x", "for": "2h"}, 404, "there is no job x"),
        ([], 400, "object"),
    ],
)
async def test_mutes_over_http(tmp_path: Path, body: Any, status: int, words: str | None) -> None:
    async with State(lambda: SqliteStore(tmp_path / "other.db")) as held:
        await held.commit(
            jobs={("a", "j"): lambda _: record()},
            sources={"a": lambda _: SourceRecord(id="a", baseline_at=NOW)},
        )
        async with asked(held.records, tmp_path, muting=Muting(held, sources=["a"])) as client:
            data = json.dumps(body).encode()
            answered, _, answer = await client.ask("/api/v1/mutes", "POST", data)
            found: Any = answer
            assert answered == status
            listed = await client.get("/api/v1/mutes")
            if words is not None:
                assert words in found["error"]
                assert listed == {"items": [], "next_cursor": None}
                return
            assert found["matching"] == 1
            assert listed["items"] == [found | {"matching": None}]
            msgspec.convert(found, MuteItem)
            gone, _, ended = await client.ask(f"/api/v1/mutes/{found['id']}", "DELETE")
            assert (gone, ended) == (200, {"unmuted": [found["id"]]})
            again, _, _ = await client.ask(f"/api/v1/mutes/{found['id']}", "DELETE")
            assert again == 404
