"""The OpenAPI document: true of what is answered, and of what is refused."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import schemathesis
from aiohttp import web
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from notifier.model import PollReport
from notifier.muting import Muting
from notifier.page import make_page
from notifier.records import Records
from notifier.replays import Replays
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.web.api import make_application
from notifier.web.guard import STATIC, Guard
from notifier.web.openapi import Door, document, paths
from notifier.web.operations import OPERATIONS
from tests.records import at, delivery, of, record, write_state
from tests.web import TOKEN, daemon_of, web_of

DOORS: list[tuple[Guard | None, Door]] = [
    (None, "open"),
    (Guard(None), "this machine"),
    (Guard(TOKEN), "token"),
]
FOR_BROWSERS = ("/sign-", STATIC, "/jobs/", "/deliveries", "/changes")
"""How the addresses begin that are no part of the API, beside the page's own."""


def application(guard: Guard | None = None) -> web.Application:
    async def reload() -> Any:
        raise AssertionError

    return make_application(daemon_of(Records(), reload=reload), guard)


def of_the_api(guard: Guard | None = None) -> set[tuple[str, str]]:
    """Return the methods and paths of the API."""
    found = paths(application(guard))
    return {each for each in found if each[1] != "/" and not each[1].startswith(FOR_BROWSERS)}


def documented(door: Door = "open", guard: Guard | None = None) -> dict[str, Any]:
    return document(paths(application(guard)), door)


@pytest.mark.parametrize(("guard", "door"), DOORS)
def test_all_that_is_answered_is_documented_and_nothing_else(guard: Guard | None, door: Door) -> None:
    told = {
        (method.upper(), path)
        for path, operations in documented(door, guard)["paths"].items()
        for method in operations
    }
    assert told == of_the_api(guard)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (each.path, parameter["name"])
        for each in OPERATIONS
        for parameter in each.parameters
        if parameter["in"] == "query"
    ],
)
async def test_each_parameter_makes_a_difference(path: str, name: str) -> None:
    records = of({"a": record(delivery("1"))})
    async with web_of(daemon_of(records)) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}{path}?{name}=nothing-of-this") as response:
            assert response.status == 400 or (await response.json())["items"] == []
        async with session.get(f"{url}{path}") as response:
            assert len((await response.json())["items"]) == (0 if path == "/api/v1/mutes" else 1)


def test_each_operation_is_answered_somewhere() -> None:
    assert {(each.method.upper(), each.path) for each in OPERATIONS} <= paths(application())


def test_names_of_operations_are_unique() -> None:
    assert max(Counter(each.id for each in OPERATIONS).values()) == 1


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.id)
def test_examples_are_what_the_schemas_say(each: Any) -> None:
    told = documented()
    operation = told["paths"][each.path][each.method]
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    contents = [content for body in bodies for content in body.get("content", {}).values()]
    examples = [content for content in contents if "example" in content]
    assert examples or each.answer is dict or isinstance(each.answer, tuple)
    for content in examples:
        jsonschema.validate(content["example"], content["schema"] | {"components": told["components"]})


def test_fields_are_described_in_the_words_of_the_code() -> None:
    schemas = documented()["components"]["schemas"]
    assert schemas["DeliveryItem"]["properties"]["next_attempt"] == {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
        "description": "When it is tried again; null for at once, and when it has ended.",
    }
    assert schemas["WantedMute"]["properties"]["for"]["description"].startswith("A duration such as")
    assert schemas["JobPage"]["properties"]["items"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/JobItem"},
    }


@pytest.mark.parametrize(("guard", "door"), DOORS)
def test_only_what_can_refuse_is_told_to(guard: Guard | None, door: Door) -> None:
    told = documented(door, guard)
    refusals = {
        (method, path): set(operation["responses"]) & {"401", "403", "415"}
        for path, operations in told["paths"].items()
        for method, operation in operations.items()
    }
    assert refusals["get", "/healthz"] == ({"403"} if door == "this machine" else set())
    assert refusals["get", "/api/v1/jobs"] == {"open": set(), "this machine": {"403"}, "token": {"401"}}[door]
    expected = {"open": set[str](), "this machine": {"403", "415"}, "token": {"401", "403", "415"}}
    assert refusals["post", "/api/v1/mutes"] == expected[door]
    assert ("security" in told) == (door == "token")
    assert told["paths"]["/healthz"]["get"].get("security") == ([] if door == "token" else None)
    assert ("/api/v1/reload" in told["paths"]) == (door == "open")


async def test_it_is_served() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        web_of(daemon_of(Records()), TOKEN) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/openapi.json", headers=headers) as response,
    ):
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == documented("token", Guard(TOKEN))


# ----------------------------------------------------------------------------------- what is so, too


async def test_the_page_about_it_asks_for_what_there_is(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    commands = re.findall(
        r"^\$ curl -s ?(?:-X (\w+))?.*?(?:-d '([^']+)' )?'?https?://[\w.:]+(/[^\s']+)", page, re.MULTILINE
    )
    assert {command[0] for command in commands} == {"", "POST", "DELETE"}
    headers = {"Content-Type": "application/json"}
    async with served(tmp_path, None) as url, aiohttp.ClientSession(headers=headers) as session:
        for method, body, path in commands:
            async with session.request(method or "GET", url + path, data=body or None) as response:
                answer = await response.json()
                assert response.status in (200, 201) or answer["error"].startswith("there is no "), answer


@asynccontextmanager
async def served(directory: Path, token: str | None) -> AsyncIterator[str]:
    """Serve a state with jobs, deliveries of each kind and dead letters, which can be changed."""
    letters = [delivery(name, state="dead", ended_at=at(1)) for name in ("1", "2", "3")]
    jobs = {
        ("allium", "a"): record(*letters, delivery("4"), name="USDC"),
        ("allium", "b/é"): record(delivery("5", state="pending"), status="failed"),
    }
    write_state(directory / "state.db", jobs)
    polls = {"allium": PollReport(last_poll=at(1), last_good_poll=at(1), took_seconds=0.2)}
    async with State(partial(SqliteStore, directory / "state.db")) as state:
        daemon = daemon_of(
            state.records,
            targets=["ops"],
            retry=Replays(state, targets=["ops"]).carry_out,
            muting=Muting(state, sources=["allium"]),
            polls=polls,
        )
        async with web_of(daemon, token) as url:
            yield url


def cursor(first: str, second: str) -> str:
    """Return the cursor that leads on from an item."""
    page = make_page([((first, second), None, None), (("", ""), None, None)], 1, None, lambda *_: None)
    return page.next_cursor or ""


schemathesis.openapi.format("cursor", st.builds(cursor, st.text(min_size=1), st.text()))
schemathesis.openapi.format("duration-of-a-mute", st.integers(1, 3650).map("{}d".format))


def faults(url: str, token: str | None, examples: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how often each check was made, and what is wrong with the answers, after so many examples each."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    settings = {"max-examples": examples, "database": "none"}
    config = SchemathesisConfig.from_dict(
        {"base-url": url, "generation": settings, "headers": headers, "seed": seed}
    )
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", config=config, headers=headers)
    made: Counter[str] = Counter()
    found: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(str(event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case_id, checks in event.recorder.checks.items():
            made.update(check.name for check in checks)
            found += [
                f"{check.failure_info.failure}\n{event.recorder.cases[case_id].value.as_curl_command()}"
                for check in checks
                if check.failure_info is not None
            ]
    return made, found


CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "positive_data_acceptance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
}


@pytest.mark.parametrize(
    ("examples", "seed"),
    [
        (15, 1),
        *(pytest.param(400, seed, marks=[pytest.mark.soak, pytest.mark.timeout(1200)]) for seed in (2, 3)),
    ],
)
@pytest.mark.parametrize("token", [None, TOKEN])
async def test_schemathesis_finds_no_fault(
    tmp_path: Path, token: str | None, examples: int, seed: int
) -> None:
    async with served(tmp_path, token) as url:
        made, found = await asyncio.to_thread(faults, url, token, examples, seed)
    assert not found, "\n\n".join(found)
    assert set(made) >= CHECKS | ({"ignored_auth"} if token else set())


# ------------------------------------------------------------------------------------ other methods


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_what_is_answered_to_no_method_says_which_there_are(token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answered: dict[str, set[str]] = {}
    for method, path in of_the_api(Guard(token)):
        answered.setdefault(path.replace("{id}", "x"), set()).update(
            {"GET", "HEAD"} if method == "GET" else {method}
        )
    async with (
        web_of(daemon_of(Records()), token) as url,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        for path, methods in answered.items():
            for method in {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
                async with session.request(method, url + path) as response:
                    assert response.status == 405, (method, path)
                    assert set(response.headers["Allow"].split(",")) == methods
        async with session.post(f"{url}/nowhere") as response:
            assert response.status == 404
    async with web_of(daemon_of(Records()), TOKEN) as url, aiohttp.ClientSession() as session:
        for method, path in (("PUT", "/api/v1/jobs"), ("POST", "/nowhere"), ("TRACE", "/healthz")):
            async with session.request(method, url + path) as response:
                assert response.status == (405 if path == "/healthz" else 401)


async def test_a_head_is_a_get_without_its_body() -> None:
    async with (
        web_of(daemon_of(of({"a": record(delivery("1"))}))) as url,
        aiohttp.ClientSession() as session,
    ):
        for method, path in of_the_api(Guard(None)):
            if method == "GET":
                async with session.head(url + path) as response:
                    assert (response.status, await response.read()) == (200, b"")
                    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/deliveries/dlv_1/retry"), ("DELETE", "/api/v1/mutes/mut_1")]
)
@pytest.mark.parametrize("body", [b'{"target": "ops"}', b"[]", b"null", b"{", b"\xff"])
async def test_a_body_that_says_more_than_the_address_is_refused(
    tmp_path: Path, method: str, path: str, body: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    async with served(tmp_path, None) as url, aiohttp.ClientSession(headers=headers) as session:
        async with session.request(method, url + path, data=body) as response:
            assert response.status == 400
            assert (await response.json())["error"]
        async with session.get(f"{url}/api/v1/deliveries?state=dead") as response:
            assert len((await response.json())["items"]) == 3
