"""`check --connect`: each API key and each Slack token, tried against real servers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from notifier.config import load_config
from notifier.connection import Tried, try_connections
from notifier.demo.slack import API, HOOKS
from tests.commands import KEY, Done, beside, on_terminal
from tests.servers import ScriptedServer, job, served
from tests.slack import HOOK, TOKEN, CheckedSlack
from tests.wire import closed_port, wired

TOKEN_WORKS = (
    "the token works: backfill_notifier in the workspace Demo. Whether it may post to #data-backfills "
    "only a message tells: notifier test"
)
NO_HISTORY = (
    ". Without the scope channels:history (groups:history for a private channel) a message whose answer is "
    "lost may be posted twice; add it under OAuth & Permissions and install the app again"
)


def write(api: str, slack: str, more: str = "") -> None:
    Path("notifier.toml").write_text(
        f"""
        [[sources]]
        api_key = "{KEY}"
        base_url = "{api}"
        timeout = "2s"
        [targets.team]
        type = "slack"
        token = "{TOKEN}"
        channel = "#data-backfills"
        api_url = "{slack}{API}"
        timeout = "2s"
        [targets.hook]
        type = "slack"
        webhook_url = "{slack}{HOOKS}{HOOK}"
        [targets.ops]
        type = "webhook"
        url = "{api}/path-that-is-secret"
        {more}
        """
    )


async def checked() -> tuple[Done, list[str]]:
    """Return what `check --connect` did, and what it says of each connection."""
    done = await beside("check", "--connect")
    config, _, connections = done.out.partition("\nconnections\n")
    assert config.endswith("The config is fine.\n")
    return done, connections.splitlines()


async def test_connections_that_work_are_told_and_nothing_is_posted(
    api: ScriptedServer, slack: CheckedSlack
) -> None:
    api.answer = [job("a", "completed"), job("b", "staging"), job("c", "paused")]
    write(api.url, slack.url)
    done, lines = await checked()
    assert (done.code, done.err) == (0, "")
    assert lines == [
        "  ✓ source allium: the API key works: 3 jobs of organisation org123, 2 active",
        f"  ✓ target team: {TOKEN_WORKS} team{NO_HISTORY}",
        "  · target hook: can only be tried by sending: notifier test hook",
        "  · target ops: can only be tried by sending: notifier test ops",
    ]
    assert [(request.method, request.path) for request, _ in api.requests] == [
        ("GET", "/api/v1/beam/backfills")
    ]
    assert [method for method, _ in slack.calls] == ["auth.test"]
    assert not slack.posts


async def test_without_connect_nothing_is_tried(api: ScriptedServer, slack: CheckedSlack) -> None:
    write(api.url, slack.url)
    done = await beside("check")
    assert done.code == 0
    assert done.out.endswith("The config is fine.\n")
    assert not api.requests
    assert not slack.calls


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ([], "0 jobs, 0 active"),
        ([job("a")], "1 job of organisation org123, 1 active"),
        ([job("a"), job("b", organization_id="other")], "2 jobs, 2 active"),
        ([job("a", organization_id="\x1b[31m[red]\nx")], "1 job of organisation [31m[red] x, 1 active"),
        ([job("a", organization_id=None)], "1 job, 1 active"),
    ],
)
async def test_an_api_key_is_shown_with_what_it_lists(
    api: ScriptedServer, slack: CheckedSlack, listing: list[Any], words: str
) -> None:
    api.answer = listing
    write(api.url, slack.url)
    _, lines = await checked()
    assert lines[0] == f"  ✓ source allium: the API key works: {words}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            web.Response(status=401, text=KEY),
            "the API key of source allium was refused (401); is api_key right?",
        ),
        (web.Response(status=403), "the API key of source allium was refused (403); is api_key right?"),
        (web.json_response({"detail": f"no {KEY}"}, status=500), "the API answered 500: no REDACTED"),
        (web.Response(status=429), "the API answered 429"),
        (web.Response(status=301), "the API answered 301, a redirect; is base_url right?"),
        (
            web.Response(text="<html>", content_type="text/html"),
            "the reply is an HTML page, not JSON",
        ),
        ({"jobs": []}, "the reply is a JSON object, not an array"),
    ],
)
async def test_a_source_that_is_refused_is_told_and_fails(
    api: ScriptedServer, slack: CheckedSlack, answer: Any, words: str
) -> None:
    api.answer = answer
    write(api.url, slack.url)
    done, lines = await checked()
    assert done.code == 1
    assert lines[0] == f"  ✗ source allium: {words}"
    assert lines[1].startswith("  ✓ target team: "), "the others are tried all the same"


async def test_a_slack_token_that_is_refused_is_told_with_what_to_do_and_fails(
    api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.token = "another"
    write(api.url, slack.url)
    done, lines = await checked()
    assert done.code == 1
    assert lines[0].startswith("  ✓ source allium: ")
    assert lines[1].startswith(
        "  ✗ target team: Slack refused it: invalid_auth; the token is wrong or was revoked; "
    )


async def test_a_slack_token_that_may_not_post_is_told_which_scope_is_missing(
    api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.scopes = {"channels:read", "users:read"}
    write(api.url, slack.url)
    done, lines = await checked()
    assert done.code == 1
    assert lines[1].startswith("  ✗ target team: Slack refused it: missing_scope; ")
    assert "chat:write" in lines[1]


async def test_more_scopes_than_are_needed_are_no_fault(api: ScriptedServer, slack: CheckedSlack) -> None:
    slack.scopes = {"chat:write", "channels:read", "chat:write.public"}
    write(api.url, slack.url)
    assert (await checked())[0].code == 0


async def test_what_cannot_be_reached_is_told_and_fails() -> None:
    with closed_port() as port:
        write(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}")
        done, lines = await checked()
    assert done.code == 1
    told = f"no connection to 127.0.0.1:{port}: connection refused"
    assert lines[:2] == [f"  ✗ source allium: {told}", f"  ✗ target team: {told}"]


async def test_what_does_not_speak_as_expected_is_told_and_fails(api: ScriptedServer) -> None:
    async with wired(b"SSH-2.0-OpenSSH_9.2\r\n") as other:
        write(other, api.url)  # which answers [] as Slack never would
        done, lines = await checked()
    assert done.code == 1
    assert lines[0].startswith("  ✗ source allium: ")
    assert lines[1].startswith("  ✗ target team: ")


async def test_a_webhook_that_is_not_there_fails_nothing(api: ScriptedServer) -> None:
    with closed_port() as port:
        done = await beside(
            *("check", "--connect"),
            ALLIUM_API_KEY=KEY,
            ALLIUM_BASE_URL=api.url,
            WEBHOOK_URL=f"http://127.0.0.1:{port}/path-that-is-secret",
        )
    assert done.code == 0
    assert done.out.endswith("  · target webhook: can only be tried by sending: notifier test webhook\n")


async def test_all_are_tried_side_by_side_and_told_in_the_config_s_order(slack: CheckedSlack) -> None:
    second_came = asyncio.Event()

    async def wait_for_the_second(_: web.Request) -> web.Response:
        await second_came.wait()
        return web.json_response([])

    def come(_: web.Request) -> web.Response:
        second_came.set()
        return web.json_response([])

    async with served(ScriptedServer()) as first, served(ScriptedServer()) as second:
        first.answer, second.answer = wait_for_the_second, come
        more = f'[[sources]]\nname = "b"\napi_key = "{KEY}-b"\nbase_url = "{second.url}"'
        write(first.url, slack.url, more)
        results = await try_connections(load_config(None, {}).settings)
    assert [(result.name, result.good) for result in results] == [
        ("source allium", True),
        ("source b", True),
        ("target team", True),
        ("target hook", None),
        ("target ops", None),
    ]
    assert results[3] == Tried("target hook", None, "can only be tried by sending: notifier test hook")


async def test_a_bad_config_is_not_tried(api: ScriptedServer, slack: CheckedSlack) -> None:
    write(api.url, slack.url, "typo = 1")
    done = await beside("check", "--connect")
    assert (done.code, done.out) == (2, "")
    assert not api.requests


async def test_on_a_terminal_the_outcome_is_coloured_and_holds_no_secret(
    api: ScriptedServer, slack: CheckedSlack
) -> None:
    api.answer = web.Response(status=401)
    write(api.url, slack.url)
    done = await on_terminal("check", "--connect", columns=200)
    assert done.code == 1
    assert "\x1b[1;31m  ✗ \x1b[0msource allium: the API key of source allium was refused (401)" in done.out
    assert "\x1b[32m  ✓ \x1b[0mtarget team: " in done.out
    assert "\x1b[2m  · \x1b[0mtarget ops: " in done.out
