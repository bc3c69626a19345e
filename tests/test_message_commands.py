"""`test` and `preview`, against real receivers."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook as Verifier

from notifier.demo.slack import API, HOOKS
from notifier.model import ALL_TYPES
from tests.commands import KEY, WHSEC, beside, invoke, notifier, on_terminal
from tests.servers import ScriptedServer
from tests.slack import HOOK, TOKEN, CheckedSlack
from tests.wire import closed_port, wired

DELIVERED = r"{target}: delivered {type} \(evt_[0-9a-f]{{32}}\) in \d+ ms\n"

HEAD = f"""
[[sources]]
api_key = "{KEY}"
job_link = "https://jobs.example.com/{{job_id}}"
"""


def write_webhook(url: str, more: str = "") -> None:
    Path("notifier.toml").write_text(
        f"""{HEAD}
        [targets.ops]
        type = "webhook"
        url = "{url}/hooks/path-that-is-secret?key=query-that-is-secret"
        secret = "{WHSEC}"
        headers = {{ Authorization = "Bearer token-that-is-secret", X-Team = "team-that-is-secret" }}
        {more}
        """
    )


def write_slack(slack: CheckedSlack, *, channel: str = "#data-backfills", more: str = "") -> None:
    Path("notifier.toml").write_text(
        f"""{HEAD}
        [targets.team]
        type = "slack"
        token = "{slack.token}"
        channel = "{channel}"
        api_url = "{slack.url}{API}"
        {more}
        [targets.hook]
        type = "slack"
        webhook_url = "{slack.url}{HOOKS}{HOOK}"
        """
    )


def without_what_changes(body: bytes | str) -> str:
    """Return a body without ids and times: they are new for each sample."""
    text = body if isinstance(body, str) else body.decode()
    text = re.sub(r"evt_[0-9a-f]{32}", "evt", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\.\d{3})?", "time", text)
    return re.sub(r"<!date\^\d+", "<!date", text)


# ------------------------------------------------------------------------------ test: a webhook


@pytest.mark.parametrize("type_", [*ALL_TYPES, "backfill.paused"])
async def test_a_webhook_gets_a_signed_sample_that_says_so(receiver: ScriptedServer, type_: str) -> None:
    write_webhook(receiver.url)
    done = await beside("test", "ops", "--event", type_)
    assert done.code == 0
    assert re.fullmatch(DELIVERED.format(target="ops", type=re.escape(type_)), done.out)
    [(request, body)] = receiver.requests
    event = Verifier(WHSEC).verify(body, dict(request.headers))
    assert (event["type"], event["data"]["test"]) == (type_, True)
    assert event["data"]["summary"].startswith("Test: ")
    assert event["data"]["event_id"] == request.headers["webhook-id"]
    assert f"({event['data']['event_id']})" in done.out
    assert request.path_qs == "/hooks/path-that-is-secret?key=query-that-is-secret"
    assert request.headers["Authorization"] == "Bearer token-that-is-secret"


async def test_a_sample_is_of_a_completed_job_unless_told_otherwise(receiver: ScriptedServer) -> None:
    write_webhook(receiver.url)
    assert (await beside("test", "ops")).err == ""
    assert [event["type"] for event in receiver.events] == ["backfill.completed"]


async def test_each_sample_has_an_id_of_its_own(receiver: ScriptedServer) -> None:
    write_webhook(receiver.url)
    for _ in range(2):
        await beside("test", "ops")
    assert len({request.headers["webhook-id"] for request, _ in receiver.requests}) == 2


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (400, "unknown field", "answered 400: unknown field"),
        (401, "Bearer token-that-is-secret", "answered 401: REDACTED"),
        (404, "/hooks/path-that-is-secret", "answered 404: REDACTED"),
        (410, "", "answered 410"),
        (429, "slow down", "answered 429: slow down"),
        (302, "", "answered 302, a redirect, which is not followed"),
        (503, "\x1b[31mdown", "answered 503: [31mdown (it may have arrived all the same)"),
    ],
)
async def test_a_webhook_that_refuses_is_told(
    receiver: ScriptedServer, status: int, text: str, told: str
) -> None:
    receiver.answer = web.Response(status=status, text=text, headers={"Location": "/elsewhere"})
    write_webhook(receiver.url)
    done = await beside("test", "ops")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"notifier: ops: not delivered: {told}\n"
    assert len(receiver.requests) == 1, "a sample is tried once"


async def test_a_webhook_that_breaks_off_may_have_got_it() -> None:
    async with wired(b"") as url:
        write_webhook(url)
        done = await beside("test", "ops")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "notifier: ops: not delivered: the connection was closed before an answer came "
        "(it may have arrived all the same)\n"
    )


async def test_a_webhook_that_is_not_there_is_told() -> None:
    with closed_port() as port:
        write_webhook(f"http://127.0.0.1:{port}")
        done = await beside("test", "ops")
    assert (done.code, done.out) == (1, "")
    assert (
        done.err == f"notifier: ops: not delivered: no connection to 127.0.0.1:{port}: connection refused\n"
    )


async def test_a_webhook_that_does_not_answer_is_told(receiver: ScriptedServer) -> None:
    receiver.answer = lambda _: asyncio.Event().wait()
    write_webhook(receiver.url, 'timeout = "200ms"')
    done = await beside("test", "ops")
    assert (done.code, done.out) == (1, "")
    assert done.err == "notifier: ops: not delivered: no answer in time (it may have arrived all the same)\n"


async def test_only_the_target_that_is_named_gets_it(receiver: ScriptedServer) -> None:
    more = f'[targets.other]\ntype = "webhook"\nurl = "{receiver.url}/other"\n[[routes]]\nto = ["other"]'
    write_webhook(receiver.url, more)
    assert (await beside("test", "ops")).code == 0
    assert [request.path for request, _ in receiver.requests] == ["/hooks/path-that-is-secret"]


# --------------------------------------------------------------------------------- test: Slack


@pytest.mark.parametrize("target", ["team", "hook"])
@pytest.mark.parametrize("type_", ["backfill.completed", "backfill.failed", "source.down", "delivery.dead"])
async def test_slack_gets_a_message_that_says_it_is_a_test(
    slack: CheckedSlack, target: str, type_: str
) -> None:
    write_slack(slack)
    done = await beside("test", target, "--event", type_)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(DELIVERED.format(target=target, type=type_), done.out)
    [post] = slack.posts
    assert post.channel.name == "data-backfills"
    assert " Test: " in post.message["text"]
    assert "a sample: nothing happened" in json.dumps(post.message["attachments"])


async def test_a_sample_of_a_failure_mentions_whom_a_failure_would(slack: CheckedSlack) -> None:
    write_slack(slack, more='mentions = { "backfill.failed" = "<!subteam^S123>" }')
    await beside("test", "team", "--event", "backfill.failed")
    assert [post.pings for post in slack.posts] == [["!subteam^S123"]]


@pytest.mark.parametrize(
    ("channel", "told"),
    [
        ("#elsewhere", "not_in_channel; .*/invite"),
        ("#unheard-of", "channel_not_found; there is no such channel, or .*/invite"),
        ("#hidden", "channel_not_found; "),
        ("#old", "is_archived; unarchive the channel, or name another one"),
        ("#news", "restricted_action_read_only_channel; the channel is read-only; name another one"),
    ],
)
async def test_a_channel_that_takes_nothing_is_told_with_what_to_do(
    slack: CheckedSlack, channel: str, told: str
) -> None:
    write_slack(slack, channel=channel)
    done = await beside("test", "team")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(f"notifier: team: not delivered: Slack refused it: {told}.*\n", done.err)


async def test_a_token_that_is_wrong_is_told_with_what_to_do(slack: CheckedSlack) -> None:
    write_slack(slack)
    slack.token = "another"
    done = await beside("test", "team")
    assert (done.code, done.out) == (1, "")
    assert "Slack refused it: invalid_auth; the token is wrong or was revoked; " in done.err


async def test_a_token_that_may_not_post_is_told_which_scope_is_missing(slack: CheckedSlack) -> None:
    write_slack(slack)
    slack.scopes = {"channels:read"}
    done = await beside("test", "team")
    assert (done.code, done.out) == (1, "")
    assert "Slack refused it: missing_scope; " in done.err
    assert "chat:write" in done.err


async def test_a_webhook_of_slack_that_was_removed_is_told_with_what_to_do(slack: CheckedSlack) -> None:
    write_slack(slack)
    slack.hooks.clear()
    done = await beside("test", "hook")
    assert (done.code, done.out) == (1, "")
    assert "no_service; the webhook was removed or its URL is wrong; " in done.err


@pytest.mark.parametrize("target", ["team", "hook"])
async def test_slack_that_fails_may_have_got_it(slack: CheckedSlack, target: str) -> None:
    write_slack(slack)
    slack.script = ["internal_error" if target == "team" else web.Response(status=503)]
    done = await beside("test", target)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(" (it may have arrived all the same)\n")


async def test_slack_that_asks_to_slow_down_is_told(slack: CheckedSlack) -> None:
    write_slack(slack)
    slack.script = [web.json_response({"ok": False, "error": "ratelimited"}, status=429)]
    done = await beside("test", "team")
    assert (done.code, done.err) == (1, "notifier: team: not delivered: Slack asks to slow down (429)\n")


# ------------------------------------------------------------------------------- both commands


@pytest.mark.parametrize("command", ["test", "preview"])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["opps"], 'there is no target "opps"; did you mean "ops"?'),
        (["OPS"], 'there is no target "OPS"; did you mean "ops"?'),
        (["zzz"], 'there is no target "zzz"; there is ops'),
        (["ops", "--event", "backfill"], 'there is no type of event "backfill"'),
        (["ops", "--event", "backfill."], 'there is no type of event "backfill."'),
        (
            ["ops", "--event", "source.dwn"],
            'there is no type of event "source.dwn"; did you mean "source.down"?',
        ),
        (["ops", "--event", "backfill.\udcff"], 'there is no type of event "backfill.'),
        (["ops", "--event", "backfill.a\x1b[31m"], 'there is no type of event "backfill.a'),
        (["ops", "--event", ""], 'there is no type of event ""'),
    ],
)
def test_an_unknown_target_or_type_exits_with_2(command: str, arguments: list[str], told: str) -> None:
    write_webhook("http://127.0.0.1:9")
    result = invoke(command, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"notifier: {told}")
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("command", ["test", "preview"])
def test_that_there_is_no_target_at_all_exits_with_2(command: str) -> None:
    result = invoke(command, "ops", ALLIUM_API_KEY=KEY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == 'notifier: there is no target "ops"; there is none at all\n'


@pytest.mark.parametrize("command", ["test", "preview"])
async def test_a_status_that_nobody_knows_yet_is_hinted_at(receiver: ScriptedServer, command: str) -> None:
    write_webhook(receiver.url)
    done = await beside(command, "ops", "--event", "backfill.faild")
    assert done.code == 0
    assert done.err.startswith(
        'notifier: "backfill.faild" is of a status that nobody knows yet; did you mean "backfill.failed"?\n'
    )


async def test_a_type_is_not_markup(receiver: ScriptedServer) -> None:
    write_webhook(receiver.url)
    done = await beside("test", "ops", "--event", "backfill.[/x]")
    assert done.code == 0
    assert done.out.startswith("ops: delivered backfill.[/x] (")


async def test_a_sample_does_not_touch_the_state(receiver: ScriptedServer, tmp_path: Path) -> None:
    write_webhook(receiver.url)
    for command in ("test", "preview"):
        assert (await beside(command, "ops")).code == 0
    assert names_in(tmp_path) == ["notifier.toml"]


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize("command", ["test", "preview"])
async def test_on_a_terminal_no_secret_is_shown_either(receiver: ScriptedServer, command: str) -> None:
    write_webhook(receiver.url)
    done = await on_terminal(command, "ops")
    assert done.code == 0
    assert "ops: delivered backfill.completed" in done.out or "POST http://127.0.0.1" in done.out


# ------------------------------------------------------------------------------------- preview


@pytest.mark.parametrize("type_", ALL_TYPES)
async def test_the_preview_of_a_webhook_is_what_it_would_get(receiver: ScriptedServer, type_: str) -> None:
    write_webhook(receiver.url)
    shown = await beside("preview", "ops", "--event", type_)
    assert shown.code == 0
    assert receiver.requests == [], "nothing was sent"
    await beside("test", "ops", "--event", type_)
    [(request, body)] = receiver.requests
    assert without_what_changes(shown.out) == without_what_changes(body) + "\n"

    first, *lines, empty = shown.err.splitlines()
    assert first == f"POST {receiver.url}/…"
    assert empty == ""
    headers = dict(line.split(": ", 1) for line in lines)
    assert (headers["Authorization"], headers["X-Team"]) == ("REDACTED", "REDACTED")
    assert headers["webhook-id"] == json.loads(shown.out)["data"]["event_id"]
    Verifier(WHSEC).verify(shown.out.removesuffix("\n").encode(), headers)
    for name in ("Content-Type", "User-Agent", "Accept-Encoding"):
        assert request.headers[name] == headers[name]
    assert {name.lower() for name in request.headers} - {name.lower() for name in headers} == {
        *("host", "accept", "content-length")
    }


@pytest.mark.parametrize("target", ["team", "hook"])
@pytest.mark.parametrize("type_", ["backfill.completed", "backfill.failed", "target.down"])
async def test_the_preview_of_slack_is_what_it_would_get_and_how_it_would_look(
    slack: CheckedSlack, target: str, type_: str
) -> None:
    write_slack(slack)
    shown = await beside("preview", target, "--event", type_)
    assert shown.code == 0
    assert slack.calls == [], "nothing was sent"
    await beside("test", target, "--event", type_)
    [(_, arguments)] = slack.calls
    assert _message(shown.out) == _message(json.dumps(arguments))
    assert shown.out.count("\n") == 1

    first, *lines = shown.err.splitlines()
    head, drawing = lines[: lines.index("")], lines[lines.index("") :]
    headers = dict(line.split(": ", 1) for line in head)
    assert headers["Content-Type"] == "application/json;charset=utf-8"
    if target == "team":
        assert first == f"POST {slack.url}{API}chat.postMessage"
        assert headers["Authorization"] == "Bearer REDACTED"
    else:
        assert first == f"POST {slack.url}/…"
        assert "Authorization" not in headers
    assert TOKEN not in shown.out + shown.err
    assert any(" Test: " in line for line in drawing)
    assert any("a sample: nothing happened" in line for line in drawing)
    follows = "For a job that has a card it edits that one, and replies in its thread:" in drawing
    assert follows == (target == "team" and type_ != "target.down")
    assert "\x1b" not in shown.err


async def test_the_preview_of_a_reply_says_when_the_channel_is_shown_it_too(slack: CheckedSlack) -> None:
    write_slack(slack, more='broadcast = ["*.failed"]')
    shown = await beside("preview", "team", "--event", "backfill.failed")
    *_, reply = shown.err.partition("replies in its thread, and shows it in the channel, too:\n")
    assert "❌ Test: USDC transfers Jan 2024 failed after" in reply
    assert "Snowflake query exceeded" in reply
    assert "Table" not in reply


def _message(text: str) -> Any:
    return json.loads(without_what_changes(json.dumps(json.loads(text))))


@pytest.mark.parametrize("target", ["team", "hook"])
async def test_the_preview_of_slack_is_what_goes_over_the_wire(receiver: ScriptedServer, target: str) -> None:
    slack = CheckedSlack()
    slack.url = receiver.url
    write_slack(slack)
    receiver.answer = {"ok": True, "channel": "C0DATA", "ts": "1.000001"}
    shown = await beside("preview", target)
    assert (await beside("test", target)).code == 0
    [(request, body)] = receiver.requests
    assert without_what_changes(shown.out) == without_what_changes(body) + "\n"
    assert f"Content-Type: {request.headers['Content-Type']}\n" in shown.err


async def test_a_preview_needs_no_network_and_can_be_piped() -> None:
    with closed_port() as port:
        write_webhook(f"http://127.0.0.1:{port}")
        done = await notifier("preview", "ops", FORCE_COLOR="1")
    assert done.code == 0
    assert json.loads(done.out)["data"]["test"] is True
