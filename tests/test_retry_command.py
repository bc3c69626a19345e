"""`retry`, and all that becomes of a dead letter: beside a real daemon, and without one."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier.model import Delivery, Event, utc_now
from notifier.sending import SendError, Shipment
from notifier.store.reading import read_state
from notifier.store.sqlite import SqliteStore
from notifier.targets.webhook import Webhook, WebhookSettings
from notifier.web.socket import served_beside
from tests.commands import WHSEC, Done, beside, invoke, notifier
from tests.daemon import Daemon, write_config
from tests.records import at, delivery, record, write_state
from tests.servers import ScriptedServer, job, served
from tests.wire import reply, wired

OK = web.Response(status=204)
AUDIT = """
[targets.audit]
type = "webhook"
url = "{url}/hooks/audit"
"""


@pytest.fixture
async def audit() -> AsyncIterator[ScriptedServer]:
    """A second webhook receiver, which is told of the dead letters of the first."""
    async with served(ScriptedServer()) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, audit: ScriptedServer) -> Path:
    """A config for these servers: ops is the receiver."""
    path = write_config(tmp_path, api, receiver)
    path.write_text(path.read_text() + AUDIT.format(url=audit.url))
    return path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the state is, for the commands of a test."""
    path = tmp_path / "state.db"
    monkeypatch.setenv("NOTIFIER_STATE", f"sqlite:///{path}")
    return path


def of_type(server: ScriptedServer, type_: str) -> list[dict[str, Any]]:
    return [event for event in server.events if event["type"] == type_]


async def listed(config: Path, *arguments: str) -> list[dict[str, Any]]:
    done = await beside("deliveries", "--json", "--config", str(config), *arguments)
    assert (done.code, done.err) == (0, "")
    items: list[dict[str, Any]] = json.loads(done.out)
    return items


async def retry(config: Path, *arguments: str) -> Done:
    return await beside("retry", *arguments, "--config", str(config))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the daemon is another process
            await asyncio.sleep(0.02)


# -------------------------------------------------------------------------------- beside a daemon


async def test_a_dead_letter_is_told_listed_and_replayed_while_the_daemon_runs(
    config: Path, api: ScriptedServer, receiver: ScriptedServer, audit: ScriptedServer
) -> None:
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.answer = web.Response(status=400, text="unknown field:\njob_name " + "é" * 300)
        before = utc_now()
        api.answer = [job("j1", "completed")]
        await daemon.logged("ops: gave up backfill.completed")
        await audit.arrived(2)

        [item] = await listed(config, "--state", "dead")
        assert (item["target"], item["job_id"], item["type"]) == ("ops", "j1", "backfill.completed")
        assert (item["state"], item["attempts"], item["next_attempt"]) == ("dead", 1, None)
        assert item["status"] == 400
        assert item["answer"] == ("unknown field:\njob_name " + "é" * 300).encode()[:500].decode(
            errors="ignore"
        )
        assert item["last_error"].startswith("answered 400: unknown field: job_name éé")
        [attempt] = item["history"]
        assert (attempt["outcome"], attempt["status"], attempt["error"]) == (
            "refused",
            400,
            item["last_error"],
        )
        assert before <= datetime.fromisoformat(attempt["at"]) <= datetime.fromisoformat(item["ended_at"])
        assert 0 <= attempt["duration_ms"] < 20_000

        [told] = of_type(audit, "delivery.dead")
        assert of_type(receiver, "delivery.dead") == [], "never to the target itself"
        assert told["data"] == {
            "event_id": told["data"]["event_id"],
            "source": "allium",
            **dict.fromkeys(["job_id", "status", "previous_status", "progress", "job"]),
            "summary": f"a delivery to ops was given up: {item['last_error']} ({item['summary']})",
            "target": "ops",
            "delivery_id": item["id"],
            "reason": item["last_error"],
            "test": False,
        }

        receiver.answer = OK
        done = await retry(config, item["id"])
        assert done == Done(0, "1 dead letter is pending again\n", "")
        await daemon.logged("ops: delivered backfill.completed")
        (first, first_body), (again, again_body) = receiver.requests
        assert again_body == first_body
        assert again.headers["webhook-id"] == first.headers["webhook-id"] == item["event_id"]
        assert await listed(config, "--state", "dead") == []
        [item] = [each for each in await listed(config) if each["target"] == "ops"]
        assert (item["state"], item["attempts"], item["last_error"], item["answer"]) == (
            ("delivered", 1, None, None)
        )
        assert [each["outcome"] for each in item["history"]] == ["refused", "delivered"]

        done = await retry(config, item["id"])
        assert (done.code, done.out) == (1, "")
        assert done.err == f"notifier: {item['id']} is delivered; only a dead letter is made pending again\n"
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(of_type(audit, "delivery.dead")) == 1


async def test_all_dead_letters_or_those_of_one_target_are_replayed_while_the_daemon_runs(
    config: Path, api: ScriptedServer, receiver: ScriptedServer, audit: ScriptedServer
) -> None:
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.answer = audit.answer = web.Response(status=410)
        api.answer = [job("j1", "completed")]
        for target in ("ops", "audit"):
            await daemon.logged(f"{target}: gave up backfill.completed")
            await daemon.logged(f"{target}: gave up delivery.dead")
        dead = await listed(config, "--state", "dead")
        assert sorted((each["target"], each["type"], each["job_id"]) for each in dead) == [
            ("audit", "backfill.completed", "j1"),
            ("audit", "delivery.dead", None),
            ("ops", "backfill.completed", "j1"),
            ("ops", "delivery.dead", None),
        ]

        receiver.answer = audit.answer = OK
        done = await retry(config, "--dead", "--target", "ops")
        assert done == Done(0, "2 dead letters are pending again\n", "")
        await receiver.arrived(4)
        await daemon.logged("ops: delivered delivery.dead")
        await daemon.logged("ops: delivered backfill.completed")
        assert {each["target"] for each in await listed(config, "--state", "dead")} == {"audit"}

        assert await retry(config, "--dead") == Done(0, "2 dead letters are pending again\n", "")
        await daemon.logged("audit: delivered delivery.dead")
        await daemon.logged("audit: delivered backfill.completed")
        assert await listed(config, "--state", "dead") == []
        for arguments in (["--dead"], ["--dead", "--target", "audit"]):
            done = await retry(config, *arguments)
            which = " for audit" if "audit" in arguments else ""
            assert done == Done(0, f"there are no dead letters{which} to retry\n", "")
        assert await daemon.ends(signal.SIGTERM) == 0
    for server, other in ((receiver, "audit"), (audit, "ops")):
        ids = [request.headers["webhook-id"] for request, _ in server.requests]
        assert sorted(ids) == sorted([*set(ids), *set(ids)]), "each twice, and nothing came of it"
        assert {event["data"]["target"] for event in of_type(server, "delivery.dead")} == {other}


async def test_a_replay_passes_by_what_waits_for_its_target_and_holds_nothing_up(
    config: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    release = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(status=204)

    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.script = [web.Response(status=400), wait]
        api.answer = [job("j1", "staging")]
        await daemon.logged("ops: gave up backfill.staging")
        api.answer = [job("j1", "transporting")]
        await receiver.arrived(2)
        api.answer = [job("j1", "completed")]
        await until(lambda: _observed(config, "backfill.completed"))
        [item] = await listed(config, "--state", "dead")
        assert (await retry(config, item["id"])).code == 0
        await daemon.logged("ops: delivered backfill.staging")
        assert [event["type"] for event in receiver.events[2:]] == ["backfill.staging"]
        release.set()
        await daemon.logged("ops: delivered backfill.completed")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [event["data"]["status"] for event in receiver.events] == [
        *("staging", "transporting", "staging", "completed")
    ]


async def _observed(config: Path, type_: str) -> bool:
    return any(item["type"] == type_ for item in await listed(config))


async def test_after_a_kill_a_replay_is_made_all_the_same(
    config: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.script = [web.Response(status=400), hang, hang]
        api.answer = [job("j1", "staging")]
        await daemon.logged("ops: gave up backfill.staging")
        api.answer = [job("j1", "transporting")]
        await receiver.arrived(2)
        assert (await retry(config, "--dead")).code == 0
        await receiver.arrived(3)
        daemon.process.kill()
        await daemon.process.wait()
    async with Daemon(config) as daemon:
        await daemon.logged("ops: delivered backfill.staging")
        await daemon.logged("ops: delivered backfill.transporting")
        [first, *_] = (each for each in await listed(config) if each["type"] == "backfill.staging")
        assert first["waits_for"] is None
        assert await listed(config, "--state", "dead") == []
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len({body for _, body in receiver.requests}) == 2


async def test_what_a_running_daemon_refuses_is_told(config: Path) -> None:
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        for arguments, reason in {
            ("dlv_x",): "there is no delivery dlv_x",
            ("a/b é?c#d",): "there is no delivery a/b é?c#d",
            ("--dead", "--target", "gone"): "there is no target gone",
        }.items():
            assert await retry(config, *arguments) == Done(1, "", f"notifier: {reason}\n")
        assert await daemon.ends(signal.SIGTERM) == 0


# -------------------------------------------------------------------------------- without a daemon


async def test_without_a_daemon_it_is_pending_again_and_sent_by_the_next_once(
    config: Path, api: ScriptedServer, receiver: ScriptedServer, audit: ScriptedServer
) -> None:
    async def once() -> int:
        return (await notifier("once", "--config", str(config))).code

    assert await once() == 0
    receiver.answer = web.Response(status=422, text="no")
    api.answer = [job("j1", "completed")]
    assert await once() == 1
    assert sorted(event["type"] for event in audit.events) == ["backfill.completed", "delivery.dead"], (
        "told by the same run"
    )
    [item] = await listed(config, "--state", "dead")
    assert (item["status"], item["answer"], len(item["history"])) == (422, "no", 1)

    done = await retry(config, item["id"])
    assert done == Done(0, "1 dead letter is pending again; sent by the next `notifier run` or `once`\n", "")
    [pending] = await listed(config, "--state", "pending")
    assert (pending["id"], pending["attempts"], pending["history"]) == (item["id"], 0, item["history"])
    assert len(receiver.requests) == 1

    receiver.answer = OK
    assert await once() == 0
    [(first, first_body), (again, again_body)] = receiver.requests
    assert again_body == first_body
    assert again.headers["webhook-id"] == first.headers["webhook-id"]
    assert await listed(config, "--state", "dead") == await listed(config, "--state", "pending") == []
    assert len(audit.requests) == 2


def letters() -> list[Delivery]:
    return [
        delivery("1", state="dead", ended_at=at(1), last_error="answered 400"),
        delivery("2", state="dead", target="data", ended_at=at(1)),
        delivery("3", state="pending"),
        delivery("4", state="delivered"),
    ]


def stored(state: Path) -> dict[str, str]:
    items = json.loads(invoke("deliveries", "--json").stdout)
    assert state.exists()
    return {item["id"]: item["state"] for item in items}


BEFORE = {"dlv_1": "dead", "dlv_2": "dead", "dlv_3": "pending", "dlv_4": "delivered"}


@pytest.mark.parametrize(
    ("arguments", "retried", "words"),
    [
        (["dlv_1"], ["dlv_1"], "1 dead letter is"),
        (["dlv_2"], ["dlv_2"], "1 dead letter is"),
        (["--dead"], ["dlv_1", "dlv_2"], "2 dead letters are"),
        (["--dead", "--target", "data"], ["dlv_2"], "1 dead letter is"),
    ],
)
def test_without_a_daemon_the_state_is_changed(
    state: Path, arguments: list[str], retried: list[str], words: str
) -> None:
    write_state(state, {("allium", "j"): record(*letters())})
    done = invoke("retry", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{words} pending again; sent by the next `notifier run` or `once`\n"
    assert stored(state) == BEFORE | dict.fromkeys(retried, "pending")


def test_without_a_dead_letter_there_is_nothing_to_do(state: Path) -> None:
    write_state(state, {("allium", "j"): record(*letters()[2:])})
    done = invoke("retry", "--dead")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "there are no dead letters to retry\n", "")


@pytest.mark.parametrize(
    ("id_", "reason"),
    [
        ("dlv_9", "there is no delivery dlv_9"),
        ("evt_1", "there is no delivery evt_1"),
        ("dlv_3", "dlv_3 is pending; only a dead letter is made pending again"),
        ("dlv_4", "dlv_4 is delivered; only a dead letter is made pending again"),
    ],
)
def test_what_is_no_dead_letter_fails_and_changes_nothing(state: Path, id_: str, reason: str) -> None:
    write_state(state, {("allium", "j"): record(*letters())})
    done = invoke("retry", id_)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"notifier: {reason}\n")
    assert stored(state) == BEFORE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "retry wants a DELIVERY_ID or --dead, one of them"),
        (["dlv_1", "--dead"], "retry wants a DELIVERY_ID or --dead, one of them"),
        (["--target", "ops"], "retry wants a DELIVERY_ID or --dead, one of them"),
        (["dlv_1", "--target", "ops"], "--target goes with --dead"),
        ([""], "retry wants a DELIVERY_ID or --dead, one of them"),
        (["dlv_1", "dlv_2"], "unexpected extra argument"),
        (["--dead", "--target"], "requires an argument"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_usage_is_told_and_changes_nothing(state: Path, arguments: list[str], words: str) -> None:
    write_state(state, {("allium", "j"): record(*letters())})
    done = invoke("retry", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert stored(state) == BEFORE


def test_a_bad_config_is_told() -> None:
    Path("notifier.toml").write_text('[store]\nurl = "nonsense://x"\n')
    done = invoke("retry", "--dead")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "store.url" in done.stderr


@pytest.mark.parametrize("arguments", [["dlv_1"], ["--dead"]])
def test_without_a_state_it_fails_and_makes_none(state: Path, arguments: list[str]) -> None:
    done = invoke("retry", *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"notifier: there is no state at {state}")
    assert list(state.parent.iterdir()) == []


def test_it_needs_no_secret(state: Path) -> None:
    Path("notifier.toml").write_text(f"""
[[sources]]
api_key = "${{NOT_SET_HERE}}"
[store]
url = "sqlite:///{state}"
""")
    write_state(state, {("allium", "j"): record(*letters())})
    assert invoke("retry", "--dead").exit_code == 0


# ------------------------------------------------------------------------ a state that is held


@pytest.fixture
def unread(state: Path) -> Path:
    """Leave a state that would be changed if nobody held it."""
    write_state(state, {("allium", "j"): record(*letters())})
    return state


def documents(state: Path) -> dict[str, bytes]:
    return dict(read_state(state))


@pytest.mark.parametrize("arguments", [["dlv_1"], ["--dead"]])
def test_a_state_that_is_held_by_one_without_a_socket_is_left_alone(
    unread: Path, arguments: list[str]
) -> None:
    store = SqliteStore(unread)
    try:
        before = documents(unread)
        done = invoke("retry", *arguments)
        assert documents(unread) == before
    finally:
        store.close()
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"the state {unread} is in use by another notifier (process {os.getpid()})" in done.stderr


@pytest.mark.parametrize("arguments", [["dlv_1"], ["--dead"]])
def test_a_socket_that_a_killed_daemon_left_is_no_daemon(unread: Path, arguments: list[str]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(f"{unread}.sock")
    assert invoke("retry", *arguments).exit_code == 0
    assert stored(unread)["dlv_1"] == "pending"


@pytest.mark.parametrize("arguments", [["dlv_1"], ["--dead"]])
async def test_a_daemon_that_does_not_answer_is_told_and_its_state_left_alone(
    unread: Path, arguments: list[str]
) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    before = documents(unread)
    async with await asyncio.start_unix_server(handle, f"{unread}.sock"):
        done = await beside("retry", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"notifier: the daemon that holds {unread} does not answer: ")
    assert documents(unread) == before


@asynccontextmanager
async def answering(state: Path, answer: web.Response) -> AsyncIterator[None]:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with served_beside(state, app):
        yield


@pytest.mark.parametrize("arguments", [["dlv_1"], ["--dead"]])
@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500, text="500 Internal Server Error"),
        web.json_response({}, status=500),
        web.json_response({"error": None}, status=500),
        web.json_response(["dlv_1"]),
        web.json_response({"retried": "dlv_1"}),
        web.json_response({"error": "a success that is none"}),
        web.Response(body=b"\xff"),
        web.Response(body=b""),
    ],
)
async def test_a_daemon_that_answers_otherwise_is_told(
    unread: Path, arguments: list[str], answer: web.Response
) -> None:
    before = documents(unread)
    async with answering(unread, answer):
        done = await beside("retry", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("notifier: ")
    assert done.err.count("\n") == 1
    assert documents(unread) == before


async def test_why_a_daemon_refuses_is_told_in_its_words(unread: Path) -> None:
    async with answering(unread, web.json_response({"error": "not today"}, status=409)):
        assert await beside("retry", "--dead") == Done(1, "", "notifier: not today\n")


async def test_a_word_that_is_no_text_is_told(unread: Path) -> None:
    async with answering(unread, web.json_response({"error": "there is none"}, status=404)):
        done = await beside("retry", os.fsdecode(b"\xff"))
    assert done == Done(1, "", "notifier: there is none\n")


# ------------------------------------------------------------------------------------------ secrets

TOKEN = "tok-Zq8Xw2Vb7Nm4Lp9Rt5Yk"
PATH = "/hooks/Hs6Gd1Fa9Jk2Qw7Er3Ty?sig=Ui5Op8As4Df0Gh6Jk1"
HIDDEN = [TOKEN, *PATH.removeprefix("/hooks/").split("?sig="), WHSEC.removeprefix("whsec_")]


def leaks(text: bytes) -> list[str]:
    """Return whatever six characters of a secret in a row the text holds."""
    parts = (each[start : start + 6] for each in HIDDEN for start in range(len(each) - 5))
    return sorted({part for part in parts if part.encode() in text})


def files(state: Path) -> list[bytes]:
    """Return the bytes of all files of a state."""
    found = [path.read_bytes() for path in state.parent.glob(f"{state.name}*") if path.is_file()]
    assert any(b"REDAC" in each for each in found)
    return found


def answers(url: str) -> dict[str, str]:
    """Return what a receiver may answer, by the job: each secret anywhere, also across where it is cut."""
    said = {
        "token": TOKEN,
        "header": f"Bearer {TOKEN}",
        "secret": WHSEC,
        "key": WHSEC.removeprefix("whsec_"),
        "path": PATH,
        "url": url + PATH,
    }
    found = {name: f"you sent {each}, {each}" for name, each in said.items()}
    for name, each in said.items():
        for limit in (200, 500):
            for inside in (6, len(each) // 2, len(each) - 1):
                filler = "x" * (limit - inside)
                found[f"{name}-{limit}-{inside}"] = f"{filler}{each} and more"
    found["many"] = " ".join([*said.values()] * 40)
    return found


@pytest.fixture
def secretive(config: Path) -> Path:
    """The config with a secret in each place of ops that may hold one."""
    target = f'{PATH}"\nsecret = "{WHSEC}"\nheaders = {{ Authorization = "Bearer {TOKEN}" }}\nproxy = "'
    config.write_text(config.read_text().replace("/hooks/ops", target))
    return config


async def test_no_secret_that_a_receiver_repeats_is_kept_listed_logged_or_told(
    secretive: Path, api: ScriptedServer, receiver: ScriptedServer, audit: ScriptedServer
) -> None:
    wrong = answers(receiver.url)

    async def repeat(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        event = json.loads(await request.read())
        return web.Response(status=400, text=wrong.get(event["data"]["job_id"], "no"))

    receiver.answer = repeat
    state = secretive.parent / "state.db"
    async with Daemon(secretive) as daemon:
        await daemon.logged("watching")
        api.answer = [job(name, "completed") for name in wrong]
        await receiver.arrived(len(wrong))
        await until(lambda: _all_dead(secretive, len(wrong)))
        await audit.arrived(len(wrong) + 1)
        items = await listed(secretive, "--state", "dead")
        shown = [
            (await beside(*command, "--secretive", str(secretive))).out
            for command in (["deliveries", "--state", "dead"], ["status"], ["status", "--json"])
        ]
        written = files(state)
        assert await daemon.ends(signal.SIGTERM) == 0
    for item in items:
        assert item["status"] == 400
        assert "REDACTED" in item["answer"] or "-500-" in item["job_id"], "cut off there"
        assert len(item["answer"].encode()) <= 500
    assert len(of_type(audit, "delivery.dead")) == 1
    told = b"".join(body for _, body in audit.requests)
    for text in (json.dumps(items), *shown, *daemon.lines):
        assert leaks(text.encode()) == []
    for raw in (*written, *files(state), told):
        assert leaks(raw) == []


async def _all_dead(config: Path, count: int) -> bool:
    return len(await listed(config, "--state", "dead")) == count


async def refusal(url: str, **settings: Any) -> SendError:
    """Return what becomes of an answer that a webhook is given."""
    parsed = WebhookSettings.model_validate({"type": "webhook", "url": url} | settings)
    event = Event(
        id="evt_1",
        seq=1,
        type="backfill.failed",
        status="failed",
        previous_status=None,
        observed_at=utc_now(),
        summary="j failed",
        payload=msgspec.Raw(b"{}"),
    )
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SendError) as caught:
            await Webhook("ops", parsed, session=session, tls=True).send(Shipment(events=(event,)))
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"", ""),
        (b"no\r\nreason", "no\r\nreason"),
        (b"x" * 501, "x" * 500),
        ("é".encode() * 251, "é" * 250),
        (b"x" + "é".encode() * 250, "x" + "é" * 249),
        (b"\xff" * 400, "\ufffd" * 166),
        (b"\x00\x1b[31m", "\x00\x1b[31m"),
    ],
)
async def test_the_first_500_bytes_of_an_answer_are_kept(
    receiver: ScriptedServer, answer: bytes, kept: str
) -> None:
    receiver.answer = web.Response(status=400, body=answer)
    error = await refusal(receiver.url)
    assert (error.status, error.answer) == (400, kept)


async def test_a_secret_across_the_end_of_what_is_read_is_not_kept(receiver: ScriptedServer) -> None:
    token = TOKEN * 80
    receiver.answer = web.Response(status=400, text=token * 40)
    error = await refusal(receiver.url, headers={"Authorization": f"Bearer {token}"})
    assert leaks(f"{error.reason} {error.answer}".encode()) == []


async def test_a_secret_in_an_answer_that_breaks_off_is_not_kept() -> None:
    body = f"bad token {TOKEN[:-1]}".encode()
    async with wired(reply(body, "Content-Length: 9999", status="400 Bad Request")) as url:
        error = await refusal(url, headers={"Authorization": f"Bearer {TOKEN}"})
    assert error.status == 400
    assert leaks(f"{error.reason} {error.answer}".encode()) == []


async def test_a_secret_that_is_repeated_in_json_is_not_kept(receiver: ScriptedServer) -> None:
    """PHP's json_encode writes each slash with a backslash before it."""
    token = "/".join([TOKEN, TOKEN[::-1]])
    receiver.answer = web.Response(status=400, text=json.dumps({"token": token}).replace("/", "\\/"))
    error = await refusal(receiver.url, headers={"Authorization": f"Bearer {token}"})
    assert leaks(f"{error.reason} {error.answer}".encode()) == []
