import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from notifier.demo.slack import Channel, FakeSlack, Post
from tests.slack import HOOK, TOKEN, CheckedSlack, served_slack

_OK: dict[str, Any] = {"channel": "C0DATA", "text": "Failed"}


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


@pytest.fixture
def client(workspace: Workspace) -> AsyncWebClient:
    """Slack's own client, with all the scopes that it may want."""
    workspace.slack.scopes = {"chat:write", "channels:history", "groups:history"}
    return client_of(workspace._url)


def client_of(url: str) -> AsyncWebClient:
    return AsyncWebClient(TOKEN, base_url=f"{url}/api/", retry_handlers=[])


async def error_of(call: Awaitable[Any]) -> Any:
    """Return the code of the error that a call is answered with."""
    with pytest.raises(SlackApiError) as raised:
        await call
    return raised.value.response["error"]


def times(messages: list[dict[str, Any]]) -> list[str]:
    return [message["ts"] for message in messages]


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
    assert answer == {
        "ok": True,
        "url": "https://demo.slack.com/",
        "team": "Demo",
        "user": "backfill_notifier",
        "team_id": "T0DEMO",
        "user_id": "U0BOT",
        "bot_id": "B0BOT",
    }


async def test_whoever_has_the_token_is_told_its_scopes_with_errors_too(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    for call in (client.api_call("nope"), client.chat_postMessage(channel="#nowhere", text="x")):
        with pytest.raises(SlackApiError) as raised:
            await call
        headers: Any = raised.value.response.headers
        assert headers["x-oauth-scopes"] == "channels:history,chat:write,groups:history"
    workspace.slack.token = "another"
    with pytest.raises(SlackApiError) as raised:
        await client.auth_test()
    assert "x-oauth-scopes" not in raised.value.response.headers


@pytest.mark.parametrize("code", ["token_revoked", "account_inactive"])
async def test_a_token_that_was_revoked_can_do_nothing_until_it_is_given_back(
    workspace: Workspace, client: AsyncWebClient, code: str
) -> None:
    workspace.slack.revoked = code
    assert await error_of(client.auth_test()) == code
    assert await error_of(client.chat_postMessage(**_OK)) == code
    assert await error_of(client.conversations_history(channel="C0DATA")) == code
    assert (await workspace.ask("auth.test", token="Bearer x"))[1]["error"] == "invalid_auth"
    assert await workspace.hook({"text": "x"}) == (200, "ok"), "a webhook has its own secret"
    workspace.slack.revoked = None
    assert (await client.chat_postMessage(**_OK))["ok"]


@pytest.mark.parametrize("method", ["chat.delete", "nope"])
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


# ----------------------------------------------------------------------------------------- threads


async def test_a_reply_belongs_to_its_thread_and_the_answer_says_so(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    metadata = {"event_type": "x", "event_payload": {"id": "1"}}
    parent = await client.chat_postMessage(**_OK)
    answer = await client.chat_postMessage(**_OK, thread_ts=parent["ts"], metadata=metadata)
    assert answer["channel"] == "C0DATA"
    assert answer["message"] == {
        "type": "message",
        "ts": answer["ts"],
        "thread_ts": parent["ts"],
        "user": "U0BOT",
        "bot_id": "B0BOT",
        "text": "Failed",
        "metadata": metadata,
    }
    assert "thread_ts" not in parent["message"]
    assert [(post.thread_ts, post.broadcast) for post in workspace.slack.posts] == [
        (None, False),
        (parent["ts"], False),
    ]
    [only] = (await client.conversations_history(channel="C0DATA"))["messages"]
    assert only == parent["message"] | {
        "thread_ts": parent["ts"],
        "reply_count": 1,
        "latest_reply": answer["ts"],
    }


async def test_a_broadcast_reply_stands_in_its_channel_too(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    parent = (await client.chat_postMessage(**_OK))["ts"]
    reply = (await client.chat_postMessage(**_OK, thread_ts=parent, reply_broadcast=True))["ts"]
    told, _ = (await client.conversations_history(channel="C0DATA"))["messages"]
    assert (told["ts"], told["thread_ts"], told["subtype"]) == (reply, parent, "thread_broadcast")
    assert workspace.slack.posts[1].broadcast
    thread = (await client.conversations_replies(channel="C0DATA", ts=parent))["messages"]
    assert times(thread) == [parent, reply]
    workspace.slack.delete(workspace.slack.posts[1])
    assert times((await client.conversations_history(channel="C0DATA"))["messages"]) == [parent]


async def test_only_a_reply_can_be_broadcast(workspace: Workspace, client: AsyncWebClient) -> None:
    await client.chat_postMessage(**_OK, reply_broadcast=True)
    await client.chat_postMessage(**_OK, reply_broadcast=True, thread_ts="1.000001")
    assert [post.broadcast for post in workspace.slack.posts] == [False, False]


async def test_a_reply_to_a_reply_joins_its_thread(client: AsyncWebClient) -> None:
    parent = (await client.chat_postMessage(**_OK))["ts"]
    reply = (await client.chat_postMessage(**_OK, thread_ts=parent))["ts"]
    answer = await client.chat_postMessage(**_OK, thread_ts=reply)
    assert answer["message"]["thread_ts"] == parent


@pytest.mark.parametrize(
    "where", ["deleted", "deleted with all replies", "a deleted reply", "elsewhere", "1.000001", "x"]
)
async def test_a_reply_to_what_is_not_there_becomes_a_message_of_the_channel(
    workspace: Workspace, client: AsyncWebClient, where: str
) -> None:
    slack = workspace.slack
    data, private, *_ = slack.channels
    gone = slack.say(data, "x")
    reply = slack.say(data, "x", thread_ts=gone.ts)
    slack.delete(reply)
    if where != "a deleted reply":
        slack.delete(gone)
    alone = slack.say(data, "x")
    slack.delete(alone)
    ts = {
        "deleted": alone.ts,
        "deleted with all replies": gone.ts,
        "a deleted reply": reply.ts,
        "elsewhere": slack.say(private, "x").ts,
    }.get(where, where)
    answer = await client.chat_postMessage(**_OK, thread_ts=ts)
    assert "thread_ts" not in answer["message"]
    [post] = slack.posts
    assert post.thread_ts is None
    history = (await client.conversations_history(channel="C0DATA"))["messages"]
    assert times(history)[0] == post.ts


async def test_a_thread_goes_on_under_the_tombstone_of_its_parent(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    parent = await client.chat_postMessage(**_OK, metadata={"event_type": "x", "event_payload": {}})
    first = await client.chat_postMessage(**_OK, thread_ts=parent["ts"])
    workspace.slack.delete(workspace.slack.posts[0])
    second = await client.chat_postMessage(**_OK, thread_ts=parent["ts"])
    assert second["message"]["thread_ts"] == parent["ts"]
    tombstone = {
        "type": "message",
        "subtype": "tombstone",
        "hidden": True,
        "user": "USLACKBOT",
        "text": "This message was deleted.",
        "ts": parent["ts"],
        "thread_ts": parent["ts"],
        "reply_count": 2,
        "latest_reply": second["ts"],
    }
    history = await client.conversations_history(channel="C0DATA", include_all_metadata=True)
    assert history["messages"] == [tombstone]
    thread = await client.conversations_replies(channel="C0DATA", ts=parent["ts"])
    assert thread["messages"] == [tombstone, first["message"], second["message"]]


async def test_what_was_deleted_stays_among_the_posts_and_is_told_no_more(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    ts = (await client.chat_postMessage(**_OK))["ts"]
    [post] = workspace.slack.posts
    workspace.slack.delete(post)
    assert post.deleted
    assert (await client.conversations_history(channel="C0DATA"))["messages"] == []
    assert await error_of(client.conversations_replies(channel="C0DATA", ts=ts)) == "thread_not_found"


async def test_a_webhook_can_reply_too(workspace: Workspace, client: AsyncWebClient) -> None:
    parent = (await client.chat_postMessage(**_OK))["ts"]
    assert await workspace.hook({"text": "x", "thread_ts": parent}) == (200, "ok")
    _, reply = (await client.conversations_replies(channel="C0DATA", ts=parent))["messages"]
    assert (reply["thread_ts"], reply["subtype"], reply["bot_id"]) == (parent, "bot_message", "B0HOOK")


# ------------------------------------------------------------------------------------------- edits

_NOTE = {"event_type": "x", "event_payload": {"id": "1"}}
_OTHER = {"event_type": "y", "event_payload": {}}
_BARS = [{"color": "#ffffff", "fallback": "x", "blocks": [section("bar")]}]
_FULL = _OK | {"blocks": [section("old")], "attachments": _BARS, "metadata": _NOTE}


@pytest.mark.parametrize(
    ("edits", "shown"),
    [
        ([], _FULL),
        ([{"blocks": [section("new")]}], _FULL | {"blocks": [section("new")]}),
        ([{"text": "y", "blocks": [section("new")]}], _FULL | {"text": "y", "blocks": [section("new")]}),
        # A text by itself takes the blocks' place, but leaves the attachments.
        ([{"text": "y"}], {**_OK, "text": "y", "attachments": _BARS, "metadata": _NOTE}),
        ([{"text": "y", "attachments": []}], {**_OK, "text": "y", "metadata": _NOTE}),
        ([{"attachments": _BARS * 2, "blocks": []}], _OK | {"attachments": _BARS * 2, "metadata": _NOTE}),
        ([{"text": "y", "metadata": _OTHER}], {**_OK, "text": "y", "attachments": _BARS, "metadata": _OTHER}),
        ([{"text": "y", "metadata": {}}], {**_OK, "text": "y", "attachments": _BARS}),
        (
            [{"text": "y", "metadata": {"event_type": "a.b"}}],
            {**_OK, "text": "y", "attachments": _BARS, "metadata": _NOTE},
        ),
        (
            [{"text": "y"}, {"blocks": [section("newest")]}, {"text": "z", "blocks": [section("z")]}],
            _FULL | {"text": "z", "blocks": [section("z")]},
        ),
    ],
)
async def test_an_edit_retains_what_it_leaves_out_and_removes_what_it_empties(
    workspace: Workspace, edits: list[dict[str, Any]], shown: dict[str, Any]
) -> None:
    assert await workspace.post(_FULL) is None
    [post] = workspace.slack.posts
    for edit in edits:
        _, answer, _ = await workspace.ask("chat.update", {"channel": "C0DATA", "ts": post.ts} | edit)
        assert answer["ok"], answer
    assert post.shown == shown
    assert post.message == _FULL, "what was sent is kept"
    assert len(post.edits) == len(edits)


async def test_an_edit_is_answered_with_the_message_as_it_is_now(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    post = await client.chat_postMessage(channel="C0DATA", text="Staging", metadata=_NOTE)
    edit = {"channel": "C0DATA", "ts": post["ts"], "text": "Failed <!here>", "blocks": [section("*Failed*")]}
    answer = await client.chat_update(**edit)
    assert (answer["channel"], answer["ts"], answer["text"]) == ("C0DATA", post["ts"], "Failed <!here>")
    assert answer["message"]["blocks"] == [section("*Failed*")]
    assert answer["message"]["metadata"] == _NOTE
    [told] = (await client.conversations_history(channel="C0DATA", include_all_metadata=True))["messages"]
    assert told == answer["message"]
    assert workspace.slack.posts[0].edits == [edit]
    assert workspace.slack.posts[0].pings == [], "an edit notifies nobody"
    assert isinstance(workspace.slack, CheckedSlack)
    assert workspace.slack.faults == []


async def test_an_edit_needs_the_scope_to_write(workspace: Workspace) -> None:
    workspace.slack.scopes = {"channels:history"}
    _, answer, _ = await workspace.ask("chat.update", {"channel": "C0DATA", "ts": "1.000001", "text": "x"})
    assert (answer["error"], answer["needed"]) == ("missing_scope", "chat:write")


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        ({"channel": "#data-backfills"}, "channel_not_found"),
        ({"channel": "data-backfills"}, "channel_not_found"),
        ({"channel": "C0HIDDEN"}, "channel_not_found"),
        ({"channel": None}, "channel_not_found"),
        ({"channel": "C0PRIVATE"}, "message_not_found"),
        ({"ts": "1.000001"}, "message_not_found"),
        ({"ts": None}, "message_not_found"),
        ({"ts": ["x"]}, "message_not_found"),
        ({"channel": "C0OLD"}, "is_inactive"),
        ({"text": ""}, "no_text"),
        ({"text": "", "blocks": [], "attachments": []}, "no_text"),
        ({"text": "x" * 4_001}, "msg_too_long"),
        ({"text": "x" * 4_000}, None),
        ({"blocks": [{"type": "nope"}]}, "invalid_blocks"),
        ({"attachments": "x"}, "invalid_attachments"),
        (
            {"metadata": {"event_type": "x", "event_payload": {"x": "x" * 8_000}}},
            "metadata_too_large",
        ),
    ],
)
async def test_an_edit_that_slack_refuses_changes_nothing(
    workspace: Workspace, edit: dict[str, Any], error: str | None
) -> None:
    assert await workspace.post(_OK) is None
    [post] = workspace.slack.posts
    _, answer, _ = await workspace.ask("chat.update", _OK | {"ts": post.ts} | edit)
    assert answer.get("error") == error
    assert len(post.edits) == (error is None)


async def test_what_is_deleted_can_be_edited_no_more(workspace: Workspace, client: AsyncWebClient) -> None:
    parent = await client.chat_postMessage(**_OK)
    await client.chat_postMessage(**_OK, thread_ts=parent["ts"])
    workspace.slack.delete(workspace.slack.posts[0])
    edit = client.chat_update(channel="C0DATA", ts=parent["ts"], text="x")
    assert await error_of(edit) == "message_not_found", "its tombstone is no message"


async def test_the_app_edits_its_own_messages_only(workspace: Workspace, client: AsyncWebClient) -> None:
    foreign = workspace.slack.say(workspace.slack.channels[0], "I was here first")
    assert workspace.slack.posts == []
    assert await workspace.hook({"text": "x"}) == (200, "ok")
    for post in (foreign, *workspace.slack.posts):
        edit = client.chat_update(channel="C0DATA", ts=post.ts, text="x")
        assert await error_of(edit) == "cant_update_message"
        assert post.edits == []
    said = (await client.conversations_history(channel="C0DATA"))["messages"][-1]
    assert said == {"type": "message", "user": "U0PERSON", "text": "I was here first", "ts": foreign.ts}


async def test_a_workspace_can_close_its_messages_for_edits(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    ts = (await client.chat_postMessage(**_OK))["ts"]
    workspace.slack.edits_closed = True
    assert await error_of(client.chat_update(**_OK, ts=ts)) == "edit_window_closed"
    assert await error_of(client.chat_update(**_OK, ts="1.000001")) == "message_not_found"
    workspace.slack.edits_closed = False
    assert (await client.chat_update(**_OK, ts=ts))["ok"]


async def test_a_reply_can_be_edited_and_stays_one(client: AsyncWebClient) -> None:
    parent = (await client.chat_postMessage(**_OK))["ts"]
    reply = (await client.chat_postMessage(**_OK, thread_ts=parent))["ts"]
    answer = await client.chat_update(channel="C0DATA", ts=reply, text="x")
    assert answer["message"]["thread_ts"] == parent


# ---------------------------------------------------------------------------------- reading a channel


async def test_a_channel_is_read_newest_first_page_by_page(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    data, private, *_ = workspace.slack.channels
    said = [workspace.slack.say(data, f"{number}").ts for number in range(5)]
    workspace.slack.say(private, "x")
    first = await client.conversations_history(channel="C0DATA", limit=2)
    assert (times(first["messages"]), first["has_more"]) == ([said[4], said[3]], True)
    # What comes between two pages belongs before the first, and what goes leaves no gap.
    workspace.slack.say(data, "late")
    [third] = (await client.conversations_history(channel="C0DATA", oldest=said[1], latest=said[3]))[
        "messages"
    ]
    assert third["ts"] == said[2]
    cursor = first["response_metadata"]["next_cursor"]
    second = await client.conversations_history(channel="C0DATA", limit=2, cursor=cursor)
    assert (times(second["messages"]), second["has_more"]) == ([said[2], said[1]], True)
    cursor = second["response_metadata"]["next_cursor"]
    third = await client.conversations_history(channel="C0DATA", limit=2, cursor=cursor)
    assert (times(third["messages"]), third["has_more"]) == ([said[0]], False)
    assert third.get("response_metadata") is None


async def test_a_page_begins_after_what_was_deleted_meanwhile(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    said = [workspace.slack.say(workspace.slack.channels[0], "x") for _ in range(3)]
    page = await client.conversations_history(channel="C0DATA", limit=1)
    workspace.slack.delete(said[1])
    cursor = page["response_metadata"]["next_cursor"]
    page = await client.conversations_history(channel="C0DATA", limit=1, cursor=cursor)
    assert (times(page["messages"]), page["has_more"]) == ([said[0].ts], False)


async def test_a_page_has_a_hundred_messages_unless_told_otherwise(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    for _ in range(1_000):
        workspace.slack.say(workspace.slack.channels[0], "x")
    for limit, count in ((None, 100), (999, 999), (1, 1)):
        answer = await client.conversations_history(channel="C0DATA", limit=limit)
        assert (len(answer["messages"]), answer["has_more"]) == (count, True)


@pytest.mark.parametrize(
    ("bounds", "inclusive", "found"),
    [
        ({}, True, [0, 1, 2, 3]),
        ({"oldest": 1}, False, [2, 3]),
        ({"oldest": 1}, True, [1, 2, 3]),
        ({"latest": 2}, False, [0, 1]),
        ({"latest": 2}, True, [0, 1, 2]),
        ({"oldest": 1, "latest": 2}, False, []),
        ({"oldest": 1, "latest": 2}, True, [1, 2]),
        ({"oldest": 1, "latest": 1}, True, [1]),
        ({"oldest": 1, "latest": 1}, False, []),
        ({"oldest": 2, "latest": 1}, True, []),
    ],
)
async def test_times_bound_what_is_read(
    workspace: Workspace, client: AsyncWebClient, bounds: dict[str, int], inclusive: bool, found: list[int]
) -> None:
    said = [workspace.slack.say(workspace.slack.channels[0], "x").ts for _ in range(4)]
    query: dict[str, Any] = {name: said[number] for name, number in bounds.items()}
    answer = await client.conversations_history(channel="C0DATA", inclusive=inclusive, **query)
    assert times(answer["messages"]) == [said[number] for number in reversed(found)]


async def test_whole_seconds_are_times_too(workspace: Workspace, client: AsyncWebClient) -> None:
    second, _, _ = workspace.slack.say(workspace.slack.channels[0], "x").ts.partition(".")
    for oldest, count in ((second, 1), (str(int(second) + 1), 0), ("0", 1)):
        answer = await client.conversations_history(channel="C0DATA", oldest=oldest)
        assert len(answer["messages"]) == count


@pytest.mark.parametrize(
    "how",
    [
        {"http_verb": "GET", "params": {"include_all_metadata": True}},
        {"http_verb": "GET", "params": {"include_all_metadata": "true"}},
        {"http_verb": "POST", "params": {"include_all_metadata": 1}},
        {"http_verb": "POST", "data": {"include_all_metadata": "1"}},
        {"http_verb": "POST", "json": {"include_all_metadata": True}},
        {"http_verb": "GET", "params": {"include_all_metadata": False}},
        {"http_verb": "POST", "json": {"include_all_metadata": False}},
        {"http_verb": "POST", "data": {"include_all_metadata": "false"}},
        {"http_verb": "GET", "params": {}},
    ],
)
async def test_metadata_is_told_only_when_it_is_asked_for_in_whatever_way(
    client: AsyncWebClient, how: dict[str, Any]
) -> None:
    await client.chat_postMessage(**_OK, metadata=_NOTE)
    [given] = [value for value in how.values() if isinstance(value, dict)]
    asked = str(given.get("include_all_metadata")).lower() in ("1", "true")
    how = {key: value | {"channel": "C0DATA"} if value is given else value for key, value in how.items()}
    [message] = (await client.api_call("conversations.history", **how))["messages"]
    assert message.get("metadata") == (_NOTE if asked else None)


@pytest.mark.parametrize(
    ("scope", "channel", "error", "needed"),
    [
        ("channels:history", "C0DATA", None, None),
        ("channels:history", "C0OLD", None, None),
        ("channels:history", "C0PRIVATE", "missing_scope", "groups:history"),
        ("channels:history", "C0ELSE", "not_in_channel", None),
        ("channels:history", "C0HIDDEN", "channel_not_found", None),
        ("channels:history", "#data-backfills", "channel_not_found", None),
        ("channels:history", "data-backfills", "channel_not_found", None),
        ("groups:history", "C0PRIVATE", None, None),
        ("groups:history", "C0DATA", "missing_scope", "channels:history"),
        ("groups:history", "C0HIDDEN", "channel_not_found", None),
        ("chat:write", "C0DATA", "missing_scope", "channels:history"),
        ("chat:write", "C0NOWHERE", "missing_scope", "channels:history"),
    ],
)
async def test_a_channel_can_be_read_by_its_id_with_its_scope_from_inside(
    workspace: Workspace, scope: str, channel: str, error: str | None, needed: str | None
) -> None:
    workspace.slack.scopes = {scope}
    _, answer, _ = await workspace.ask("conversations.history", {"channel": channel})
    assert (answer.get("error"), answer.get("needed")) == (error, needed)
    assert answer.get("provided") == (scope if needed else None)
    _, thread, _ = await workspace.ask("conversations.replies", {"channel": channel, "ts": "1.000001"})
    assert thread["error"] == (error or "thread_not_found")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"limit": 1_000}, "invalid_limit"),
        ({"limit": 0}, "invalid_limit"),
        ({"limit": -1}, "invalid_limit"),
        ({"limit": "x"}, "invalid_limit"),
        ({"cursor": "x"}, "invalid_cursor"),
        ({"cursor": "bmV4dDo="}, "invalid_cursor"),
        ({"oldest": "yesterday"}, "invalid_ts_oldest"),
        ({"latest": "-1"}, "invalid_ts_latest"),
        ({"latest": "NaN"}, "invalid_ts_latest"),
        ({"limit": "", "cursor": "", "oldest": "", "latest": ""}, None),
        ({"limit": None, "cursor": None, "oldest": None, "latest": None}, None),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    workspace: Workspace, arguments: dict[str, Any], error: str | None
) -> None:
    workspace.slack.scopes = {"channels:history"}
    _, answer, _ = await workspace.ask("conversations.history", {"channel": "C0DATA"} | arguments)
    assert answer.get("error") == error


# ----------------------------------------------------------------------------------- reading a thread


async def test_a_thread_is_read_from_its_parent_on_page_by_page(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    data = workspace.slack.channels[0]
    parent = workspace.slack.say(data, "x").ts
    said = [parent, *(workspace.slack.say(data, "x", thread_ts=parent).ts for _ in range(4))]
    workspace.slack.say(data, "x")
    whole = await client.conversations_replies(channel="C0DATA", ts=parent)
    assert (times(whole["messages"]), whole["has_more"]) == (said, False)
    found: list[str] = []
    cursor = None
    while cursor != "":
        page = await client.conversations_replies(channel="C0DATA", ts=parent, limit=2, cursor=cursor)
        found += times(page["messages"])
        cursor = (page.get("response_metadata") or {}).get("next_cursor", "")
    assert found == said


async def test_the_parent_is_told_whatever_time_is_asked_for(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    data = workspace.slack.channels[0]
    parent = workspace.slack.say(data, "x").ts
    said = [workspace.slack.say(data, "x", thread_ts=parent).ts for _ in range(3)]
    answer = await client.conversations_replies(channel="C0DATA", ts=parent, oldest=said[1])
    assert times(answer["messages"]) == [parent, said[2]]


async def test_a_message_without_replies_is_a_thread_of_itself(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    data = workspace.slack.channels[0]
    alone = workspace.slack.say(data, "x").ts
    reply = workspace.slack.say(data, "x", thread_ts=workspace.slack.say(data, "x").ts).ts
    for ts in (alone, reply):
        answer = await client.conversations_replies(channel="C0DATA", ts=ts)
        assert times(answer["messages"]) == [ts]


@pytest.mark.parametrize("ts", ["1.000001", "x", ""])
async def test_a_thread_that_never_was_is_not_found(client: AsyncWebClient, ts: str) -> None:
    assert await error_of(client.conversations_replies(channel="C0DATA", ts=ts)) == "thread_not_found"


async def test_metadata_of_a_thread_is_told_only_when_it_is_asked_for(client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(**_OK, metadata=_NOTE))["ts"]
    for asked in (True, False):
        answer = await client.conversations_replies(channel="C0DATA", ts=ts, include_all_metadata=asked)
        assert answer["messages"][0].get("metadata") == (_NOTE if asked else None)


# --------------------------------------------------------------------------------- listing channels


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ({}, ["C0DATA", "C0OLD", "C0ELSE", "C0NEWS"]),
        ({"exclude_archived": True}, ["C0DATA", "C0ELSE", "C0NEWS"]),
        ({"types": "private_channel"}, ["C0PRIVATE"]),
        ({"types": "public_channel, private_channel"}, ["C0DATA", "C0PRIVATE", "C0OLD", "C0ELSE", "C0NEWS"]),
    ],
)
async def test_channels_that_the_app_can_know_of_are_listed(
    workspace: Workspace, client: AsyncWebClient, arguments: dict[str, Any], ids: list[str]
) -> None:
    workspace.slack.scopes = {"channels:read", "groups:read"}
    answer = await client.conversations_list(**arguments)
    assert [channel["id"] for channel in answer["channels"]] == ids
    assert answer["response_metadata"] == {"next_cursor": ""}


async def test_a_listed_channel_says_what_it_is(workspace: Workspace, client: AsyncWebClient) -> None:
    workspace.slack.scopes = {"groups:read"}
    [private] = (await client.conversations_list(types=["private_channel"]))["channels"]
    assert private == {
        "id": "C0PRIVATE",
        "name": "private",
        "is_archived": False,
        "is_private": True,
        "is_member": True,
    }


async def test_a_page_of_channels_is_cut_before_it_is_filtered(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    workspace.slack.scopes = {"channels:read"}
    pages: list[list[str]] = []
    cursor = None
    while cursor != "":
        page = await client.conversations_list(limit=1, cursor=cursor, exclude_archived=True)
        pages.append([channel["name"] for channel in page["channels"]])
        cursor = page["response_metadata"]["next_cursor"]
    assert pages == [["data-backfills"], [], [], ["elsewhere"], [], ["news"]]


@pytest.mark.parametrize(
    ("scope", "types", "error", "needed"),
    [
        ("groups:read", None, "missing_scope", "channels:read"),
        ("channels:read", "private_channel", "missing_scope", "groups:read"),
        ("channels:read", "public_channel,private_channel", "missing_scope", "groups:read"),
        ("channels:read", "public_channel,im", "missing_scope", "im:read"),
        ("channels:read", "nope", "invalid_types", None),
    ],
)
async def test_each_type_of_channel_needs_its_scope(
    workspace: Workspace, scope: str, types: str | None, error: str, needed: str | None
) -> None:
    workspace.slack.scopes = {scope}
    _, answer, _ = await workspace.ask("conversations.list", {"types": types})
    assert (answer["error"], answer.get("needed")) == (error, needed)


@pytest.mark.parametrize(
    ("arguments", "error"), [({"limit": 1_000}, "invalid_limit"), ({"cursor": "x"}, "invalid_cursor")]
)
async def test_a_list_of_channels_has_its_limits(
    workspace: Workspace, arguments: dict[str, Any], error: str
) -> None:
    workspace.slack.scopes = {"channels:read"}
    _, answer, _ = await workspace.ask("conversations.list", arguments)
    assert answer["error"] == error


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


async def test_more_edits_than_a_burst_must_wait_whichever_message_they_mean() -> None:
    slack = CheckedSlack(edits_a_minute=1)
    async with served_slack(slack) as url:
        client = client_of(url)
        for channel in ("C0DATA", "C0PRIVATE"):
            await client.chat_postMessage(channel=channel, text="x")
        for number, post in zip(range(20), itertools.cycle(slack.posts), strict=False):
            await client.chat_update(channel=post.channel.id, ts=post.ts, text=f"{number}")
        for post in slack.posts:
            with pytest.raises(SlackApiError) as raised:
                await client.chat_update(channel=post.channel.id, ts=post.ts, text="late")
            answer: Any = raised.value.response
            assert (answer.status_code, answer.data) == (429, {"ok": False, "error": "ratelimited"})
            assert answer.headers["Retry-After"] in ("59", "60")
        assert (await client.chat_postMessage(**_OK))["ok"], "posts are counted by themselves"
    assert [len(post.edits) for post in slack.posts] == [10, 10, 0]


async def test_reading_is_limited_by_method_and_channel() -> None:
    slack = CheckedSlack(history_a_minute=1)
    slack.scopes |= {"channels:history", "groups:history"}
    post = slack.say(slack.channels[0], "x")
    async with served_slack(slack) as url:
        client = client_of(url)
        assert (await client.conversations_history(channel="C0DATA"))["ok"]
        assert await error_of(client.conversations_history(channel="C0DATA")) == "ratelimited"
        assert (await client.conversations_history(channel="C0PRIVATE"))["ok"]
        assert (await client.conversations_replies(channel="C0DATA", ts=post.ts))["ok"]


async def test_reading_has_a_burst_of_twenty_where_it_may_be_that_often() -> None:
    slack = CheckedSlack(history_a_minute=50)
    slack.scopes.add("channels:history")
    async with served_slack(slack) as url:
        client = client_of(url)
        for _ in range(20):
            await client.conversations_history(channel="C0DATA")
        with contextlib.suppress(SlackApiError):
            while True:
                await client.conversations_history(channel="C0DATA")
    assert len(slack.calls) > 20


async def test_a_pace_can_be_set_at_any_time(workspace: Workspace) -> None:
    assert [await workspace.post(_OK) for _ in range(3)] == [None] * 3
    workspace.slack.posts_a_second = 1 / 3600
    assert [await workspace.post(_OK) for _ in range(2)] == [None] * 2
    status, _, _ = await workspace.ask("chat.postMessage", _OK)
    assert status == 429


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


async def test_an_answer_can_be_lost_though_the_call_was_performed(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def lose(method: str, arguments: dict[str, Any]) -> bool:
        asked.append((method, arguments))
        return True

    slack = workspace.slack
    slack.losing = lose
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(**_OK)
    [post] = slack.posts
    with pytest.raises(aiohttp.ClientError):
        await client.chat_update(channel="C0DATA", ts=post.ts, text="x")
    assert post.shown["text"] == "x"
    with pytest.raises(aiohttp.ClientError):
        await client.conversations_history(channel="C0DATA")
    with pytest.raises(aiohttp.ClientError):
        await workspace.hook({"text": "x"})
    assert len(slack.posts) == 2
    assert asked == slack.calls
    # aiohttp's client repeats a GET by itself, but nothing that changes anything.
    methods = [method for method, _ in asked if method != "conversations.history"]
    assert methods == ["chat.postMessage", "chat.update", HOOK]


async def test_an_answer_is_lost_only_when_something_was_performed(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    workspace.slack.losing = lambda _method, _arguments: True
    workspace.slack.script = [web.json_response({"ok": True})]
    assert (await client.auth_test())["ok"]
    assert await error_of(client.chat_postMessage(channel="#nowhere", text="x")) == "channel_not_found"
    assert await workspace.hook({}) == (400, "no_text")


async def test_the_calls_to_lose_are_chosen(workspace: Workspace, client: AsyncWebClient) -> None:
    workspace.slack.losing = lambda method, arguments: (
        (method, arguments.get("text"))
        == (
            "chat.postMessage",
            "lost",
        )
    )
    assert (await client.chat_postMessage(**_OK))["ok"]
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="C0DATA", text="lost")
    assert [post.message["text"] for post in workspace.slack.posts] == ["Failed", "lost"]


async def test_each_edit_that_is_taken_is_shown_once() -> None:
    edited: list[tuple[str, str]] = []
    slack = FakeSlack(
        Channel(id="C0DATA", name="data"),
        token=TOKEN,
        edited=lambda post: edited.append((post.ts, post.shown["text"])),
    )
    async with served_slack(slack) as url:
        client = client_of(url)
        ts = (await client.chat_postMessage(**_OK))["ts"]
        await client.chat_update(channel="C0DATA", ts=ts, text="x")
        await error_of(client.chat_update(channel="C0DATA", ts=ts, text="x" * 5_000))
        await client.chat_update(channel="C0DATA", ts=ts, text="y")
    assert edited == [(ts, "x"), (ts, "y")]


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


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        ({"text": "a\tb"}, "$.text: the character '\\t' must not be in"),
        ({"text": "x", "unfurl_links": False}, "'unfurl_links' was unexpected"),
        ({"text": "x", "metadata": {}}, "$.metadata"),
    ],
)
async def test_an_edit_against_the_rules_is_found_though_the_fake_takes_it(
    workspace: Workspace, edit: dict[str, Any], fault: str
) -> None:
    assert isinstance(workspace.slack, CheckedSlack)
    assert await workspace.post(_OK) is None
    ts = workspace.slack.posts[0].ts
    _, answer, _ = await workspace.ask("chat.update", {"channel": "C0DATA", "ts": ts, "text": "x"})
    assert answer["ok"]
    assert workspace.slack.faults == []
    _, answer, _ = await workspace.ask("chat.update", {"channel": "C0DATA", "ts": ts} | edit)
    assert answer["ok"]
    [found] = workspace.slack.faults
    assert fault in found


async def test_a_reply_is_checked_against_the_rules_of_a_post(
    workspace: Workspace, client: AsyncWebClient
) -> None:
    assert isinstance(workspace.slack, CheckedSlack)
    ts = (await client.chat_postMessage(**_OK))["ts"]
    await client.chat_postMessage(**_OK, thread_ts=ts, reply_broadcast=True)
    assert workspace.slack.faults == []
    assert await workspace.post(_OK | {"thread_ts": ts, "reply_broadcast": "yes"}) is None
    [fault] = workspace.slack.faults
    assert "$.reply_broadcast" in fault
