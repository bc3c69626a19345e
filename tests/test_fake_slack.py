import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from notifier.demo.slack import Channel, FakeSlack, Post
from tests.slack import HOOK, TOKEN, CheckedSlack, served_slack

_OK = {"channel": "C0DATA", "text": "Failed"}


class Workspace:
    """What a client sees of a fake Slack."""

    def __init__(self, slack: FakeSlack, url: str, session: aiohttp.ClientSession) -> None:
        self.slack = slack
        self._url = url
        self._session = session

    async def ask(
        self, method: str, arguments: Any = None, *, token: str = f"Bearer {TOKEN}", body: bytes | None = None
    ) -> tuple[int, dict[str, Any], str | None]:
        """Return status, body and Retry-After of a call of the API."""
        async with self._session.post(
            f"{self._url}/api/{method}",
            data=json.dumps(arguments or {}).encode() if body is None else body,
            headers={"Content-Type": "application/json; charset=utf-8", "Authorization": token},
        ) as response:
            return response.status, await response.json(), response.headers.get("Retry-After")

    async def post(self, arguments: Any, **how: Any) -> Any:
        """Return the error of a post, or None."""
        status, answer, _ = await self.ask("chat.postMessage", arguments, **how)
        assert status == 200
        assert answer["ok"] == ("error" not in answer)
        return answer.get("error")

    async def hook(self, arguments: Any, path: str = HOOK, body: bytes | None = None) -> tuple[int, str]:
        """Return status and body of a post to an incoming webhook."""
        async with self._session.post(
            f"{self._url}/services/{path}",
            data=json.dumps(arguments).encode() if body is None else body,
            headers={"Content-Type": "application/json"},
        ) as response:
            return response.status, await response.text()


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    # Not the fixture that checks messages: some of these are odd on purpose.
    slack = CheckedSlack()
    async with served_slack(slack) as url, aiohttp.ClientSession() as session:
        yield Workspace(slack, url, session)


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def section(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": mrkdwn(text)} | more


# ----------------------------------------------------------------------------------------- the API


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("#data-backfills", None),
        ("data-backfills", None),
        ("C0DATA", None),
        ("#private", None),
        ("C0PRIVATE", None),
        ("##data-backfills", "channel_not_found"),
        ("#C0DATA", "channel_not_found"),
        ("c0data", "channel_not_found"),
        ("#nowhere", "channel_not_found"),
        ("", "channel_not_found"),
        (None, "channel_not_found"),
        (["C0DATA"], "channel_not_found"),
        ("#old", "is_archived"),
        ("#elsewhere", "not_in_channel"),
        ("C0ELSE", "not_in_channel"),
        ("#hidden", "channel_not_found"),
        ("C0HIDDEN", "channel_not_found"),
        ("#news", "restricted_action_read_only_channel"),
    ],
)
async def test_a_channel_takes_what_slack_lets_it_take(
    workspace: Workspace, where: Any, error: str | None
) -> None:
    assert await workspace.post({"channel": where, "text": "x"}) == error
    assert len(workspace.slack.posts) == (error is None)


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (f"Bearer {TOKEN}", None),
        ("Bearer xoxb-wrong", "invalid_auth"),
        (f"Bearer {TOKEN}x", "invalid_auth"),
        (TOKEN, "not_authed"),
        ("", "not_authed"),
        ("Basic eDp4", "not_authed"),
    ],
)
@pytest.mark.parametrize("method", ["chat.postMessage", "auth.test"])
async def test_a_token_must_be_the_right_one(
    workspace: Workspace, method: str, token: str, error: str | None
) -> None:
    _, answer, _ = await workspace.ask(method, _OK, token=token)
    assert answer.get("error") == error


async def test_a_post_needs_its_scope_and_the_answer_names_it(workspace: Workspace) -> None:
    workspace.slack.scopes = {"users:read", "channels:read"}
    _, answer, _ = await workspace.ask("chat.postMessage", _OK)
    assert answer == {
        "ok": False,
        "error": "missing_scope",
        "needed": "chat:write",
        "provided": "channels:read,users:read",
    }


async def test_an_answer_repeats_the_message_and_says_where_it_is(workspace: Workspace) -> None:
    blocks = [section("*Failed*")]
    _, first, _ = await workspace.ask(
        "chat.postMessage", _OK | {"channel": "#data-backfills", "blocks": blocks}
    )
    _, second, _ = await workspace.ask("chat.postMessage", _OK)
    assert first["channel"] == second["channel"] == "C0DATA"
    assert (first["message"]["text"], first["message"]["blocks"]) == ("Failed", blocks)
    assert first["ts"] == first["message"]["ts"] != second["ts"]
    assert [post.ts for post in workspace.slack.posts] == [first["ts"], second["ts"]]


async def test_the_identity_of_a_token_is_told_with_its_scopes(workspace: Workspace) -> None:
    workspace.slack.scopes = {"chat:write", "channels:read"}
    async with workspace._session.post(
        f"{workspace._url}/api/auth.test", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as response:
        assert response.headers["X-OAuth-Scopes"] == "channels:read,chat:write"
        answer = await response.json()
    assert (answer["ok"], answer["team"], answer["user"]) == (True, "Demo", "backfill_notifier")


@pytest.mark.parametrize("method", ["chat.update", "conversations.history", "nope"])
async def test_a_method_that_is_not_there_is_unknown(workspace: Workspace, method: str) -> None:
    _, answer, _ = await workspace.ask(method)
    assert answer == {"ok": False, "error": "unknown_method"}


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b'"x"', b"", b"\xff", b"null"])
async def test_what_is_no_json_object_is_refused(workspace: Workspace, body: bytes) -> None:
    assert await workspace.post(None, body=body) == "invalid_json"


async def test_a_form_will_do_too(workspace: Workspace) -> None:
    async with workspace._session.post(
        f"{workspace._url}/api/chat.postMessage",
        data={"channel": "#data-backfills", "text": "Failed & more"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as response:
        assert (await response.json())["ok"]
    assert workspace.slack.posts[0].message["text"] == "Failed & more"


# ----------------------------------------------------------------------------------------- messages

_GOOD: dict[str, dict[str, Any]] = {
    "text": {"text": "x"},
    "the longest text": {"text": "x" * 40_000},
    "blocks alone": {"blocks": [section()]},
    "attachments alone": {"attachments": [{"blocks": [section()]}]},
    "an attachment of old": {"attachments": [{"text": "x"}]},
    "as many blocks as there may be": {"blocks": [{"type": "divider"}] * 50},
    "the longest section": {"blocks": [section("x" * 3000)]},
    "plain text": {"blocks": [{"type": "section", "text": {"type": "plain_text", "text": "x"}}]},
    "fields": {"blocks": [{"type": "section", "fields": [mrkdwn("x" * 2000)] * 10}]},
    "a header": {"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}]},
    "a context": {"blocks": [{"type": "context", "elements": [mrkdwn("x" * 2000)] * 10}]},
}
_BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "no_text"),
    "an empty text": ({"text": ""}, "no_text"),
    "empty lists": ({"text": "", "blocks": [], "attachments": []}, "no_text"),
    "a number": ({"text": 1}, "invalid_arguments"),
    "a long text": ({"text": "x" * 40_001}, "msg_too_long"),
    "attachments in a dict": ({"attachments": {"a": 1}}, "invalid_attachments"),
    "a word as an attachment": ({"attachments": ["x"]}, "invalid_attachments"),
    "many attachments": ({"attachments": [{"text": "x"}] * 101}, "too_many_attachments"),
    "large metadata": (
        {"text": "x", "metadata": {"event_type": "x", "event_payload": {"x": "x" * 8000}}},
        "metadata_too_large",
    ),
}
_BAD_BLOCKS: dict[str, tuple[Any, str]] = {
    "a word": ("x", "must be a list [json-pointer:/blocks]"),
    "many blocks": ([{"type": "divider"}] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
    "no type": ([{}], "unsupported type: None [json-pointer:/blocks/0/type]"),
    "no block": (["x"], "unsupported type: None [json-pointer:/blocks/0/type]"),
    "an unknown type": (
        [section(), {"type": "nope"}],
        "unsupported type: nope [json-pointer:/blocks/1/type]",
    ),
    "a section of nothing": ([{"type": "section"}], "missing required field: text [json-pointer:/blocks/0]"),
    "an empty section": ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    "a long section": (
        [section("x" * 3001)],
        "must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
    ),
    "a bare text": (
        [{"type": "section", "text": "x"}],
        "unsupported type: None [json-pointer:/blocks/0/text/type]",
    ),
    "markdown": (
        [{"type": "section", "text": {"type": "markdown", "text": "x"}}],
        "unsupported type: markdown [json-pointer:/blocks/0/text/type]",
    ),
    "mrkdwn in a header": (
        [{"type": "header", "text": mrkdwn("x")}],
        "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
    ),
    "a long header": (
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
    ),
    "many fields": (
        [section(fields=[mrkdwn("x")] * 11)],
        "must have 0 to 10 items [json-pointer:/blocks/0/fields]",
    ),
    "a long field": (
        [section(fields=[mrkdwn("x"), mrkdwn("x" * 2001)])],
        "must be less than 2001 characters [json-pointer:/blocks/0/fields/1/text]",
    ),
    "an empty context": (
        [{"type": "context", "elements": []}],
        "must have 1 to 10 items [json-pointer:/blocks/0/elements]",
    ),
    "a context of nothing": (
        [{"type": "context"}],
        "must have 1 to 10 items [json-pointer:/blocks/0/elements]",
    ),
}


@pytest.mark.parametrize("case", _GOOD)
async def test_what_slack_takes_is_taken_and_kept(workspace: Workspace, case: str) -> None:
    message = {"channel": "C0DATA"} | _GOOD[case]
    assert await workspace.post(message) is None
    assert await workspace.hook(_GOOD[case]) == (200, "ok")
    assert [post.message for post in workspace.slack.posts] == [message, _GOOD[case]]


@pytest.mark.parametrize("case", _BAD)
async def test_what_slack_refuses_is_refused(workspace: Workspace, case: str) -> None:
    message, error = _BAD[case]
    assert await workspace.post({"channel": "C0DATA"} | message) == error
    assert await workspace.hook(message) == (400, error)
    assert workspace.slack.posts == []
    assert len(workspace.slack.calls) == 2


@pytest.mark.parametrize("case", _BAD_BLOCKS)
async def test_blocks_that_slack_refuses_are_refused_with_the_place(workspace: Workspace, case: str) -> None:
    blocks, fault = _BAD_BLOCKS[case]
    _, answer, _ = await workspace.ask("chat.postMessage", _OK | {"blocks": blocks})
    assert answer == {
        "ok": False,
        "error": "invalid_blocks",
        "response_metadata": {"messages": [f"[ERROR] {fault}"]},
    }
    attachments = [{"blocks": [section()]}, {"blocks": blocks}]
    _, answer, _ = await workspace.ask("chat.postMessage", _OK | {"attachments": attachments})
    [told] = answer["response_metadata"]["messages"]
    assert told == f"[ERROR] {fault}".replace(":/blocks", ":/attachments/1/blocks")
    assert await workspace.hook({"text": "x", "blocks": blocks}) == (400, "invalid_blocks")
    assert workspace.slack.posts == []


@pytest.mark.parametrize(
    ("metadata", "is_kept"),
    [
        ({"event_type": "backfill_notifier_event", "event_payload": {"event_id": "evt_1"}}, True),
        ({"event_type": "a-b_C1", "event_payload": {}}, True),
        ({"event_type": "backfill.failed", "event_payload": {}}, False),
        ({"event_type": "", "event_payload": {}}, False),
        ({"event_type": None}, False),
        ({}, False),
        ("x", False),
    ],
)
async def test_metadata_of_an_odd_type_is_ignored(workspace: Workspace, metadata: Any, is_kept: bool) -> None:
    assert await workspace.post(_OK | {"metadata": metadata}) is None
    [post] = workspace.slack.posts
    assert post.message.get("metadata") == (metadata if is_kept else None)


@pytest.mark.parametrize(
    ("message", "pings"),
    [
        ({"text": "<!channel> <@U1> <!here|here>"}, ["!channel", "@U1", "!here"]),
        ({"text": "<!subteam^S1|oncall> <!everyone> <@W1|you>"}, ["!subteam^S1", "!everyone", "@W1"]),
        ({"text": "&lt;!channel&gt; @here #general <#C1> <!date^1^{date}|x> <https://a.example|@here>"}, []),
        ({"text": "<!here>", "blocks": [section("x")]}, []),
        ({"text": "x", "blocks": [section("<!here> <!here>")]}, ["!here", "!here"]),
        ({"text": "x", "blocks": [{"type": "context", "elements": [mrkdwn("<@U1>")]}]}, ["@U1"]),
        ({"text": "x", "attachments": [{"blocks": [section("<@U1>")]}]}, ["@U1"]),
        ({"text": "x", "blocks": [{"type": "section", "fields": [mrkdwn("<@U1>")]}]}, ["@U1"]),
        ({"text": "x", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "<@U1>"}}]}, []),
        ({"blocks": [section("x")]}, []),
    ],
)
async def test_pings_are_those_of_what_is_shown(
    workspace: Workspace, message: dict[str, Any], pings: list[str]
) -> None:
    assert await workspace.post({"channel": "C0DATA"} | message) is None
    assert [post.pings for post in workspace.slack.posts] == [pings]


# -------------------------------------------------------------------------------------- the pace


async def test_more_than_a_burst_must_wait_as_long_as_it_is_told() -> None:
    slack = CheckedSlack(posts_a_second=1 / 60)
    async with served_slack(slack) as url, aiohttp.ClientSession() as session:
        workspace = Workspace(slack, url, session)
        assert [await workspace.post(_OK) for _ in range(2)] == [None, None]
        status, answer, wait = await workspace.ask("chat.postMessage", _OK)
        assert (status, answer) == (429, {"ok": False, "error": "ratelimited"})
        assert wait in ("59", "60")
        # Each channel by itself, and no other method.
        assert await workspace.post(_OK | {"channel": "#private"}) is None
        status, _, _ = await workspace.ask("auth.test")
        assert status == 200
        assert await workspace.hook({"text": "x"}) == (429, "rate_limited")
    assert [post.channel.id for post in slack.posts] == ["C0DATA", "C0DATA", "C0PRIVATE"]


async def test_without_a_pace_any_number_is_taken(workspace: Workspace) -> None:
    assert [await workspace.post(_OK) for _ in range(10)] == [None] * 10


async def test_a_webhook_is_told_how_long_to_wait() -> None:
    slack = CheckedSlack(posts_a_second=1)
    async with served_slack(slack) as url, aiohttp.ClientSession() as session:
        answers = []
        for _ in range(3):
            async with session.post(f"{url}/services/{HOOK}", json={"text": "x"}) as response:
                answers.append((response.status, response.headers.get("Retry-After")))
    assert answers == [(200, None), (200, None), (429, "1")]


# ------------------------------------------------------------------------------- incoming webhooks


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (HOOK, (200, "ok")),
        ("T0TEAM/private", (200, "ok")),
        ("T0TEAM/nowhere", (404, "no_service")),
        ("T0TEAM/old", (410, "channel_is_archived")),
        ("T0TEAM/elsewhere", (404, "channel_not_found")),
        ("T0TEAM/hidden", (404, "channel_not_found")),
        ("T0TEAM/news", (403, "action_prohibited")),
    ],
)
async def test_a_webhook_answers_in_plain_text(
    workspace: Workspace, path: str, answer: tuple[int, str]
) -> None:
    assert await workspace.hook({"text": "x"}, path) == answer
    assert workspace.slack.calls == [(path, {"text": "x"})]
    assert len(workspace.slack.posts) == (answer[0] == 200)


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff"])
async def test_what_is_no_json_object_is_no_payload(workspace: Workspace, body: bytes) -> None:
    assert await workspace.hook(None, body=body) == (400, "invalid_payload")


# -------------------------------------------------------------------------------- for those who test


async def test_a_script_goes_first_and_answers_once_each(workspace: Workspace) -> None:
    async def by_request(request: web.Request) -> web.Response:
        return web.json_response({"ok": False, "error": request.path.rpartition(".")[2].lower()})

    async def code(_: web.Request) -> str:
        return "internal_error"

    workspace.slack.script = ["invalid_auth", by_request, code, web.json_response({"ok": True})]
    answers = [await workspace.post(_OK) for _ in range(5)]
    assert answers == ["invalid_auth", "postmessage", "internal_error", None, None]
    assert len(workspace.slack.calls) == 5
    assert len(workspace.slack.posts) == 1


async def test_a_script_answers_a_webhook_as_webhooks_do(workspace: Workspace) -> None:
    workspace.slack.script = ["invalid_blocks", "no_service"]
    answers = [await workspace.hook({"text": "x"}) for _ in range(3)]
    assert answers == [(400, "invalid_blocks"), (404, "no_service"), (200, "ok")]


async def test_each_message_that_is_taken_is_shown_once() -> None:
    seen: list[Post] = []
    slack = FakeSlack(Channel(id="C0DATA", name="data"), token=TOKEN, seen=seen.append)
    async with served_slack(slack) as url, aiohttp.ClientSession() as session:
        workspace = Workspace(slack, url, session)
        for message in (_OK, {"channel": "#nowhere", "text": "x"}, _OK | {"text": ""}, _OK):
            await workspace.post(message)
    assert seen == slack.posts
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (_OK | {"text": "a\tb"}, "$.text: the character '\\t' must not be in"),
        (_OK | {"colour": "red"}, "'colour' was unexpected"),
        (_OK | {"metadata": {"event_type": "a.b", "event_payload": {}}}, "$.metadata.event_type"),
    ],
)
async def test_a_message_against_the_rules_is_found_though_the_fake_takes_it(
    workspace: Workspace, message: dict[str, Any], fault: str
) -> None:
    assert isinstance(workspace.slack, CheckedSlack)
    assert await workspace.post(_OK) is None
    assert workspace.slack.faults == []
    assert await workspace.post(message) is None
    assert (await workspace.hook({"text": "x", "thread_ts": "1"}))[0] == 200
    first, second = workspace.slack.faults
    assert fault in first
    assert "'thread_ts' was unexpected" in second
