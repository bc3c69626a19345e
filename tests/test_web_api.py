"""What a running daemon tells programs, asked over a real Unix socket."""

import asyncio
import io
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from notifier import __version__
from notifier.catalogue import Catalogue
from notifier.deliveries import DeliveryItem, list_deliveries
from notifier.items import JobItem, list_jobs
from notifier.model import JobKey, JobRecord, PollReport, SourceRecord
from notifier.muting import Muting
from notifier.page import Page
from notifier.records import Records
from notifier.replays import Order, RefusedOrderError, Replays
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.unix import socket_path
from notifier.views import list_sources, list_targets
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.socket import served_beside
from tests.records import NOW, at, delivery, no_muting, nothing_to_retry, of, put, record, write_state


class Client:
    """Asks a daemon over its socket."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(
        self, path: str, method: str = "GET", data: bytes | None = None
    ) -> tuple[int, CIMultiDictProxy[str], dict[str, Any] | None]:
        headers = {} if data is None else {"Content-Type": "application/json"}
        url = URL(f"http://localhost{path}", encoded=True)
        body = None if data is None else io.BytesIO(data)
        async with self._session.request(method, url, data=body, headers=headers) as response:
            assert response.content_type == "application/json"
            answer = await response.read()
            return response.status, response.headers, json.loads(answer) if answer else None

    async def get(self, path: str, type_: Any = dict[str, Any]) -> Any:
        async with self._session.get(f"http://localhost{path}") as response:
            assert (response.status, response.content_type) == (200, "application/json")
            return msgspec.json.decode(await response.read(), type=type_)


@asynccontextmanager
async def asked(
    records: Records,
    directory: Path,
    *,
    targets: list[str] | None = None,
    retry: Callable[[Order], Awaitable[list[str]]] = nothing_to_retry,
    muting: Muting | None = None,
    **polls: PollReport,
) -> AsyncIterator[Client]:
    """Serve these records as a daemon does; yields who asks."""
    state = directory / "state.db"
    daemon = Daemon(
        records=records,
        targets=targets or [],
        retry=retry,
        muting=muting or no_muting(),
        polls=lambda: polls,
        state_path=state,
        started_at=NOW,
    )
    async with (
        served_beside(state, make_application(daemon)),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket_path(state)))) as session,
    ):
        yield Client(session)


def some_records() -> Records:
    """Return three jobs with deliveries of each state."""
    return of(
        {
            "a": record(delivery("1", created=1), delivery("2", state="dead", created=2, ended_at=at(3))),
            "b": record(delivery("3", state="pending", created=3), seen=1, status="completed"),
            "c": record(delivery("4", state="pending", created=4), seen=2),
        }
    )


async def test_the_status_is_that_of_this_process(tmp_path: Path) -> None:
    records = some_records()
    records.put({"allium": SourceRecord(id="x", baseline_at=at(-1))}, {})
    polls = PollReport(last_poll=at(5), last_good_poll=at(4), next_poll=at(6), failures=1, last_error="503")
    async with asked(records, tmp_path, targets=["data"], allium=polls) as client:
        status = await client.get("/api/v1/status")
    assert {key: value for key, value in status.items() if key not in ("sources", "targets")} == {
        "running": True,
        "version": __version__,
        "pid": os.getpid(),
        "started_at": "2026-01-31T10:30:00Z",
        "state": f"{tmp_path}/state.db",
        "mutes": 0,
    }
    assert status["sources"] == msgspec.to_builtins(list_sources(Catalogue(records), {"allium": polls}))
    assert status["targets"] == msgspec.to_builtins(list_targets(Catalogue(records), ["data"]))
    assert [target["name"] for target in status["targets"]] == ["data", "ops"]


async def test_polls_are_told_as_they_are_when_asked(tmp_path: Path) -> None:
    reports = {"allium": PollReport()}
    daemon = Daemon(
        records=Records(),
        targets=[],
        retry=nothing_to_retry,
        muting=no_muting(),
        polls=lambda: reports,
        state_path=tmp_path / "state.db",
        started_at=NOW,
    )
    async with (
        served_beside(daemon.state_path, make_application(daemon)),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{tmp_path}/state.db.sock")) as session,
    ):
        for failures in (0, 1):
            reports["allium"] = PollReport(failures=failures)
            [source] = (await Client(session).get("/api/v1/status"))["sources"]
            assert source["polls"]["failures"] == failures


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/v1/jobs", ["c", "b", "a"]),
        ("/api/v1/jobs?limit=2", ["c", "b"]),
        ("/api/v1/jobs?limit=2500&unknown=1", ["c", "b", "a"]),
        ("/api/v1/deliveries", ["dlv_4", "dlv_3", "dlv_2", "dlv_1"]),
        ("/api/v1/deliveries?limit=1", ["dlv_4"]),
        ("/api/v1/deliveries?state=pending", ["dlv_4", "dlv_3"]),
        ("/api/v1/deliveries?state=dead", ["dlv_2"]),
        ("/api/v1/deliveries?state=delivered&limit=1", ["dlv_1"]),
    ],
)
async def test_lists_are_newest_first(tmp_path: Path, path: str, names: list[str]) -> None:
    async with asked(some_records(), tmp_path) as client:
        page = await client.get(path)
    assert page.keys() == {"items", "next_cursor"}
    assert [item.get("id") or item["job_id"] for item in page["items"]] == names


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "dcba"),
        ("status=&source=&table=&q=", "dcba"),
        ("status=failed", "b"),
        ("status=active", "ca"),
        ("status=paused", ""),
        ("source=beam", "d"),
        ("source=allium&status=completed", ""),
        ("table=BASE.*", "ba"),
        ("table=base", ""),
        ("q=%E2%82%AC", "c"),
        ("q=dex&table=base.*&status=failed&source=allium", "b"),
        ("limit=1&status=active", "c"),
    ],
)
async def test_jobs_are_found_by_status_source_table_and_text(
    tmp_path: Path, query: str, expected: str
) -> None:
    records = of(
        {
            "a": record(table="base.raw.logs", job_name="Raw logs"),
            "b": record(table="base.dex.trades", status="failed", seen=1),
            "c": record(table="eth.dex.trades", job_name="1 000 €", seen=2),
        }
    )
    put(records, [(("beam", "d"), record(status="completed", seen=3))])
    async with asked(records, tmp_path) as client:
        page = await client.get(f"/api/v1/jobs?{query}")
    assert [item["job_id"] for item in page["items"]] == list(expected)


async def test_pages_lead_from_one_to_the_next(tmp_path: Path) -> None:
    records = some_records()
    async with asked(records, tmp_path) as client:
        for path, type_, all_of_it in (
            ("/api/v1/jobs?limit=2", Page[JobItem], list_jobs(Catalogue(records), now=NOW)),
            ("/api/v1/deliveries?limit=1", Page[DeliveryItem], list_deliveries(Catalogue(records))),
            (
                "/api/v1/deliveries?limit=1&state=pending",
                Page[DeliveryItem],
                list_deliveries(Catalogue(records), state="pending"),
            ),
        ):
            items: list[Any] = []
            page = await client.get(path, type_)
            items += page.items
            while page.next_cursor is not None:
                page = await client.get(f"{path}&cursor={page.next_cursor}", type_)
                items += page.items
            assert items == all_of_it.items


async def test_a_page_has_a_hundred_items_unless_told_otherwise(tmp_path: Path) -> None:
    records = of({f"{number:03}": record(delivery(str(number))) for number in range(101)})
    async with asked(records, tmp_path) as client:
        for path in ("/api/v1/jobs", "/api/v1/deliveries"):
            page = await client.get(path)
            assert len(page["items"]) == 100
            rest = await client.get(f"{path}?cursor={page['next_cursor']}")
            assert (len(rest["items"]), rest["next_cursor"]) == (1, None)


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/deliveries", "/api/v1/mutes"])
@pytest.mark.parametrize(
    ("query", "message"),
    [
        *(
            (f"limit={limit}", "limit must be a number from 1 to 2500")
            for limit in ("", "0", "-1", "2501", "1.5", "x", "%C2%B2", "1_0", "+1", "9" * 3000, "1000000001")
        ),
        *(
            (f"cursor={cursor}", "cursor: not a cursor that a page gave")
            for cursor in ("", "x", "%FF", "W10=")
        ),
    ],
)
async def test_a_wrong_limit_or_cursor_is_told(tmp_path: Path, path: str, query: str, message: str) -> None:
    async with asked(some_records(), tmp_path) as client:
        status, _, body = await client.ask(f"{path}?{query}")
    assert (status, body) == (400, {"error": message})


@pytest.mark.parametrize("state", ["", "DEAD", "x"])
async def test_a_wrong_state_is_told(tmp_path: Path, state: str) -> None:
    async with asked(some_records(), tmp_path) as client:
        status, _, body = await client.ask(f"/api/v1/deliveries?state={state}")
    assert (status, body) == (400, {"error": "state must be one of pending, delivered, dead"})


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v1/job", "/api/v2/jobs", "/api/v1/jobs/x"])
async def test_an_unknown_path_is_told(tmp_path: Path, path: str) -> None:
    async with asked(Records(), tmp_path) as client:
        status, _, body = await client.ask(path)
    assert (status, body) == (404, {"error": "404: Not Found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/jobs", "/api/v1/deliveries"])
async def test_a_wrong_method_is_told_with_those_that_are_right(
    tmp_path: Path, path: str, method: str
) -> None:
    async with asked(Records(), tmp_path) as client:
        status, headers, body = await client.ask(path, method)
    assert (status, body) == (405, {"error": "405: Method Not Allowed"})
    assert headers["Allow"] == "GET,HEAD"


class _GatedRecords(Records):
    """Records that are read only while a gate is open."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self._gate = gate

    def jobs(self) -> Iterator[tuple[JobKey, JobRecord]]:
        assert self._gate.wait(10), "the loop did not go on"
        return super().jobs()


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/jobs", "/api/v1/deliveries"])
async def test_the_loop_goes_on_while_a_list_is_made(tmp_path: Path, path: str) -> None:
    gate = threading.Event()
    async with asked(_GatedRecords(gate), tmp_path) as client:
        asking = asyncio.create_task(client.get(path))
        assert (await client.ask("/other"))[0] == 404, "another request is answered meanwhile"
        gate.set()
        await asking


async def test_lists_can_be_had_while_jobs_are_added(tmp_path: Path) -> None:
    records, done = Records(), asyncio.Event()

    async def add() -> None:
        for number in range(2000):
            records.put({}, {(f"source-{number % 7}", str(number)): msgspec.json.encode(record())})
            if number % 50 == 0:
                await asyncio.sleep(0)
        done.set()

    async with asked(records, tmp_path) as client:
        adding = asyncio.create_task(add())
        counts: list[int] = []
        while not done.is_set():
            counts.append(len((await client.get("/api/v1/jobs?limit=2500"))["items"]))
            await client.get("/api/v1/status")
        await adding
        counts.append(len((await client.get("/api/v1/jobs?limit=2500"))["items"]))
    assert counts == sorted(counts)
    assert counts[-1] == 2000


async def test_times_are_told_in_utc(tmp_path: Path) -> None:
    async with asked(some_records(), tmp_path) as client:
        [item, *_] = (await client.get("/api/v1/deliveries"))["items"]
    assert item["created_at"] == "2026-01-31T10:34:00Z"
    assert datetime.fromisoformat(item["created_at"]) == at(4)


# ------------------------------------------------------------------------------------------ changes


class Orders:
    """Takes down what is ordered; answers as told."""

    def __init__(self, answer: list[str] | RefusedOrderError) -> None:
        self.answer = answer
        self.taken: list[Order] = []

    async def __call__(self, order: Order) -> list[str]:
        self.taken.append(order)
        if isinstance(self.answer, RefusedOrderError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("path", "body", "order"),
    [
        ("/api/v1/deliveries/dlv_1/retry", b"{}", Order(id="dlv_1")),
        ("/api/v1/deliveries/dlv_1/retry", None, Order(id="dlv_1")),
        ("/api/v1/deliveries/a%2Fb%20%C3%A9/retry", b"{}", Order(id="a/b é")),
        ("/api/v1/deliveries/retry", b"{}", Order()),
        ("/api/v1/deliveries/retry", None, Order()),
        ("/api/v1/deliveries/retry", b'{"target": null}', Order()),
        ("/api/v1/deliveries/retry", b'{"target": "ops"}', Order(target="ops")),
    ],
)
async def test_an_order_is_carried_out_and_answered_with_the_ids(
    tmp_path: Path, path: str, body: bytes | None, order: Order
) -> None:
    orders = Orders(["dlv_1", "dlv_2"])
    async with asked(Records(), tmp_path, targets=["ops"], retry=orders) as client:
        status, _, answer = await client.ask(path, "POST", body)
    assert (status, answer) == (200, {"retried": ["dlv_1", "dlv_2"]})
    assert orders.taken == [order]


@pytest.mark.parametrize(("unknown", "status"), [(True, 404), (False, 409)])
async def test_an_order_that_is_refused_is_told_with_the_reason(
    tmp_path: Path, status: int, *, unknown: bool
) -> None:
    orders = Orders(RefusedOrderError("not that one", unknown=unknown))
    async with asked(Records(), tmp_path, retry=orders) as client:
        for path in ("/api/v1/deliveries/dlv_1/retry", "/api/v1/deliveries/retry"):
            assert (await client.ask(path, "POST", b"{}"))[::2] == (status, {"error": "not that one"})


async def test_an_order_for_a_target_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    orders = Orders([])
    async with asked(Records(), tmp_path, targets=["ops"], retry=orders) as client:
        status, _, answer = await client.ask("/api/v1/deliveries/retry", "POST", b'{"target": "gone"}')
    assert (status, answer) == (404, {"error": "there is no target gone"})
    assert orders.taken == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"x", b"[", b"[]", b"null", b'"ops"', b"1", b"\xff", b"[" * 50_000),
        *(
            b'{"target": 1}',
            b'{"target": ["ops"]}',
            b'{"targets": "ops"}',
            b'{"target": "ops"',
            b'{"id": "x"}',
        ),
        pytest.param(b'{"target": "\xff"}', id="no UTF-8"),
        pytest.param(b'{"\xff": 1}', id="no UTF-8 in a key"),
        pytest.param(b'{"target": "\\ud800"}', id="half a character"),
    ],
)
async def test_a_body_that_is_no_order_is_told_and_nothing_is_done(tmp_path: Path, body: bytes) -> None:
    orders = Orders([])
    async with asked(Records(), tmp_path, targets=["ops"], retry=orders) as client:
        status, _, answer = await client.ask("/api/v1/deliveries/retry", "POST", body)
    assert status == 400
    assert answer is not None
    assert answer.keys() == {"error"}
    assert answer["error"]
    assert orders.taken == []


async def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    orders = Orders([])
    async with asked(Records(), tmp_path, targets=["ops"], retry=orders) as client:
        body = json.dumps({"target": "x" * 2**20}).encode()
        status, _, answer = await client.ask("/api/v1/deliveries/retry", "POST", body)
    assert status == 413
    assert answer is not None
    assert answer["error"]
    assert orders.taken == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/api/v1/deliveries/dlv_1/retry", "/api/v1/deliveries/retry"])
async def test_nothing_but_a_post_is_an_order(tmp_path: Path, path: str, method: str) -> None:
    orders = Orders([])
    async with asked(Records(), tmp_path, retry=orders) as client:
        status, headers, answer = await client.ask(path, method)
    assert (status, answer) == (405, {"error": "405: Method Not Allowed"})
    assert headers["Allow"] == "POST"
    assert orders.taken == []


@pytest.mark.parametrize("path", ["/api/v1/deliveries//retry", "/api/v1/deliveries/a/b/retry"])
async def test_an_order_without_a_usable_id_is_told(tmp_path: Path, path: str) -> None:
    orders = Orders([])
    async with asked(Records(), tmp_path, retry=orders) as client:
        status, _, answer = await client.ask(path, "POST", b"{}")
    assert (status, answer) == (404, {"error": "404: Not Found"})
    assert orders.taken == []


async def test_dead_letters_are_made_pending_again_over_the_socket(tmp_path: Path) -> None:
    letters = [delivery(name, state="dead", ended_at=at(1)) for name in ("1", "2", "3")]
    gone = delivery("4", state="dead", target="gone", ended_at=at(1))
    path = tmp_path / "of-the-daemon.db"
    write_state(path, {("allium", "a"): record(*letters, gone, delivery("5"))})
    async with State(partial(SqliteStore, path)) as state:
        replays = Replays(state, targets=["ops"])
        async with asked(state.records, tmp_path, targets=["ops"], retry=replays.carry_out) as client:

            async def post(path: str, body: bytes = b"{}") -> tuple[int, Any]:
                return (await client.ask(f"/api/v1/deliveries/{path}", "POST", body))[::2]

            async def dead() -> list[str]:
                items = (await client.get("/api/v1/deliveries?state=dead"))["items"]
                return [item["id"] for item in items]

            assert await post("dlv_2/retry") == (200, {"retried": ["dlv_2"]})
            assert await dead() == ["dlv_4", "dlv_3", "dlv_1"]
            again = "dlv_2 is pending; only a dead letter is made pending again"
            assert await post("dlv_2/retry") == (409, {"error": again})
            delivered = "dlv_5 is delivered; only a dead letter is made pending again"
            assert await post("dlv_5/retry") == (409, {"error": delivered})
            of_gone = "dlv_4 is for the target gone, which is no longer configured"
            assert await post("dlv_4/retry") == (409, {"error": of_gone})
            assert await post("dlv_6/retry") == (404, {"error": "there is no delivery dlv_6"})
            assert await post("retry", b'{"target": "ops"}') == (200, {"retried": ["dlv_1", "dlv_3"]})
            lost = "1 dead letter is of sources or for targets that are no longer configured: allium → gone"
            assert await post("retry") == (409, {"error": lost})
            assert await dead() == ["dlv_4"]


# -------------------------------------------------------------------------------------------- mutes


@asynccontextmanager
async def muting_over(directory: Path, *job_ids: str) -> AsyncIterator[tuple[Client, State]]:
    """Serve a state in which two sources list these jobs, the second one none of them."""
    path = directory / "of-the-daemon.db"
    write_state(path, {("allium", job_id): record() for job_id in job_ids} | {("test", "other"): record()})
    async with State(partial(SqliteStore, path)) as state:
        muting = Muting(state, sources=["allium", "test"])
        async with asked(state.records, directory, muting=muting) as client:
            yield client, state


async def mute(client: Client, **order: str) -> dict[str, Any]:
    status, _, made = await client.ask("/api/v1/mutes", "POST", json.dumps({"for": "2h"} | order).encode())
    assert status == 201
    assert made is not None
    return made


async def test_a_mute_is_answered_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    async with muting_over(tmp_path, "a") as (client, state):
        made = await mute(client, table="base.*", name="*usdc*", reason="known trouble")
        listed = await client.get("/api/v1/mutes")
        held = {
            name: [each.id for each in each_source.mutes]
            for name, each_source in state.records.sources().items()
        }
    length = datetime.fromisoformat(made["until"]) - datetime.fromisoformat(made["created_at"])
    assert length.total_seconds() == 7200
    known = {"table": "base.*", "name": "*usdc*", "reason": "known trouble", "job_id": None, "source": None}
    assert {key: made[key] for key in known} == known
    assert (made["sources"], made["suppressed"]) == (["allium", "test"], 0)
    assert [item["id"] for item in listed["items"]] == [made["id"]]
    assert held == {"allium": [made["id"]], "test": [made["id"]]}, "durable before it was answered"


async def test_mutes_are_listed_a_page_at_a_time_the_newest_first(tmp_path: Path) -> None:
    async with muting_over(tmp_path, "a") as (client, _):
        made = []
        for number in range(5):
            made.append((await mute(client, table=f"t{number}"))["id"])
            await asyncio.sleep(0.002)  # so that the clock has gone on
        found, path = list[str](), "/api/v1/mutes?limit=2"
        while True:
            page = await client.get(path)
            assert 0 < len(page["items"]) <= 2
            found += (item["id"] for item in page["items"])
            if page["next_cursor"] is None:
                break
            path = f"/api/v1/mutes?limit=2&cursor={page['next_cursor']}"
    assert found == made[::-1]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"for": "1h", "job_id": "x"}, 404, "there is no job x"),
        ({"for": "1h", "job_id": "a", "source": "test"}, 404, "there is no job a of source test"),
        ({"for": "1h", "source": "gone"}, 404, "there is no source gone"),
        ({"for": "1h"}, 400, "nothing is named: a job_id, a table, a name or a source"),
        ({"for": "1h", "job_id": ""}, 400, "nothing is named: a job_id, a table, a name or a source"),
        ({"for": "1h", "table": "x", "name": " "}, 400, "name is empty"),
        ({"for": "1h", "job_id": "a", "reason": "\t"}, 400, "reason is empty"),
        ({"for": "0s", "job_id": "a"}, 400, "it must last longer than 0s, and 3,650 days at most"),
        (
            {"for": "two hours", "job_id": "a"},
            400,
            'not a duration; write it like "15s", "2m", "1h30m" or "3d"',
        ),
        ({"for": "-1h", "job_id": "a"}, 400, 'not a duration; write it like "15s", "2m", "1h30m" or "3d"'),
        ({"for": "99999999d", "job_id": "a"}, 400, "longer than ten years"),
        ({"for": 3600, "job_id": "a"}, 400, "Expected `str`, got `int` - at `$.for`"),
        ({"for": "1h", "job_id": ["a"]}, 400, "Expected `str | null`, got `array` - at `$.job_id`"),
        ({"job_id": "a"}, 400, "Object missing required field `for`"),
        ({"for": "1h", "job_id": "a", "length": "1h"}, 400, "Object contains unknown field `length`"),
        ({"for": "1h", "job": "a"}, 400, "Object contains unknown field `job`"),
    ],
)
async def test_an_order_to_mute_that_cannot_be_carried_out_is_told_in_words(
    tmp_path: Path, body: dict[str, Any], status: int, error: str
) -> None:
    async with muting_over(tmp_path, "a") as (client, _):
        answer = (await client.ask("/api/v1/mutes", "POST", json.dumps(body).encode()))[::2]
        listed = await client.get("/api/v1/mutes")
    assert answer == (status, {"error": error})
    assert listed["items"] == []


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"null", b'{"for": "1h", "table": "\xff"}', b'{"for": "1h", "table": "\\ud800"}'],
)
async def test_a_body_that_is_no_order_to_mute_is_told_and_nothing_is_muted(
    tmp_path: Path, body: bytes
) -> None:
    async with muting_over(tmp_path, "a") as (client, _):
        status, _, answer = await client.ask("/api/v1/mutes", "POST", body)
        listed = await client.get("/api/v1/mutes")
    assert (status, listed["items"]) == (400, [])
    assert answer is not None
    assert answer["error"]


@pytest.mark.parametrize("job_id", ["a", "a/b é", "..", "%2F", "?x=1#y", "mut_1"])
async def test_the_mutes_of_a_job_are_ended_by_its_id_whatever_that_is(tmp_path: Path, job_id: str) -> None:
    async with muting_over(tmp_path, job_id) as (client, _):
        first = await mute(client, job_id=job_id)
        second = await mute(client, job_id=job_id, source="allium", table="*")
        other = await mute(client, table="*")
        path = f"/api/v1/mutes/{quote(job_id, safe='')}"
        status, _, answer = await client.ask(path, "DELETE")
        assert status == 200
        assert answer is not None
        assert sorted(answer["unmuted"]) == sorted([first["id"], second["id"]])
        assert [item["id"] for item in (await client.get("/api/v1/mutes"))["items"]] == [other["id"]]
        none = f"there is no mute {job_id}, and no job {job_id} that is muted by its id"
        assert (await client.ask(path, "DELETE"))[::2] == (404, {"error": none})


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/api/v1/mutes", "PUT", "GET,HEAD,POST"),
        ("/api/v1/mutes", "DELETE", "GET,HEAD,POST"),
        ("/api/v1/mutes/mut_1", "GET", "DELETE"),
        ("/api/v1/mutes/mut_1", "POST", "DELETE"),
    ],
)
async def test_mutes_are_made_ended_and_listed_in_no_other_way(
    tmp_path: Path, path: str, method: str, allowed: str
) -> None:
    async with muting_over(tmp_path, "a") as (client, _):
        status, headers, answer = await client.ask(path, method)
    assert (status, headers["Allow"]) == (405, allowed)
    assert answer == {"error": "405: Method Not Allowed"}
