import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier import __version__
from notifier.model import Event, utc_now
from notifier.outbox import batch_id
from notifier.sample import sample_event
from notifier.sending import Grouping, SendError, Shipment
from notifier.targets.slack.channel import SlackChannel
from notifier.targets.slack.hook import SlackHook
from notifier.targets.slack.limits import Limits
from notifier.targets.slack.settings import SlackSettings
from notifier.transport import tls_context
from tests.servers import ScriptedServer, job, served
from tests.slack import HOOK, NOW, TOKEN, CheckedSlack, job_event, listed
from tests.wire import closed_port, reply, tls_files, wired

EVENT_ID = "evt_0123456789abcdef0123456789abcdef"
MENTION = "<!subteam^S0123>"
SECRETS = ("token-that-is-secret", "path-that-is-secret")

Build = Callable[..., SlackChannel | SlackHook]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(autouse=True)
def _no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        line = caplog.handler.format(record)
        assert not record.name.startswith(("slack_sdk", "notifier.slack_sdk")), line
        assert not any(secret in line for secret in SECRETS), line


def channel(
    session: aiohttp.ClientSession,
    *,
    job_link: str = "",
    now: Callable[[], datetime] = utc_now,
    **settings: Any,
) -> SlackChannel | SlackHook:
    parsed = SlackSettings.model_validate({"type": "slack"} | settings)
    terms: dict[str, Any] = {
        "session": session,
        "tls": tls_context(parsed.ca_file),
        "job_links": {"allium": job_link},
        "digest_over": 10,
        "now": now,
    }
    if parsed.token is None:
        return SlackHook("data-team", parsed, **terms)
    return SlackChannel("data-team", parsed, limits=Limits(), **terms)


@pytest.fixture
def bot(session: aiohttp.ClientSession) -> Build:
    """Make a target with a bot token; `url` is the server's."""

    def build(url: str, **settings: Any) -> SlackChannel | SlackHook:
        given = {"token": TOKEN, "channel": "#data-backfills", "api_url": f"{url}/api/", "style": "message"}
        return channel(session, **(given | settings))

    return build


@pytest.fixture
def hook(session: aiohttp.ClientSession) -> Build:
    """Make a target with an incoming webhook; `url` is the server's."""

    def build(url: str, **settings: Any) -> SlackChannel | SlackHook:
        return channel(session, **({"webhook_url": f"{url}/services/{HOOK}"} | settings))

    return build


@pytest.fixture(params=["bot", "hook"])
def either(request: pytest.FixtureRequest) -> Build:
    build: Build = request.getfixturevalue(request.param)
    return build


def event(type_: str = "backfill.completed") -> Event:
    return sample_event(type_, source="allium", event_id=EVENT_ID, now=NOW)


async def failed(
    target: SlackChannel | SlackHook, attempt: Callable[[], Awaitable[Any]] | None = None
) -> SendError:
    with pytest.raises(SendError) as caught:
        await (attempt() if attempt else target.send(Shipment(events=(event(),))))
    assert str(caught.value) == caught.value.reason
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.answer)
    assert not any(secret in shown for secret in SECRETS), shown
    assert len((caught.value.answer or "").encode()) <= 500
    return caught.value


def several(count: int = 12, **fields: Any) -> list[Event]:
    """Return events of as many jobs; the last one failed."""
    statuses = ["staging"] * (count - 1) + ["failed"]
    return [
        job_event(listed(**(job(f"j{number}", status) | fields))) for number, status in enumerate(statuses)
    ]


def flags(error: SendError) -> tuple[bool, bool]:
    return bool(error.refused), error.outcome_unknown


# ------------------------------------------------------------------------------------ what is sent


@pytest.mark.parametrize("where", ["#data-backfills", "C0DATA"])
async def test_an_event_is_posted_once_with_all_that_a_message_needs(
    slack: CheckedSlack, bot: Build, where: str
) -> None:
    await bot(slack.url, channel=where).send(Shipment(events=(event(),)))
    [(method, arguments)] = slack.calls
    assert method == "chat.postMessage"
    assert arguments.keys() == {
        *("channel", "text", "blocks", "attachments", "metadata", "unfurl_links", "unfurl_media")
    }
    assert arguments["channel"] == where
    assert arguments["text"] == "✅ Test: USDC transfers Jan 2024 completed in 3h 12m (1000 chunks)"
    assert arguments["metadata"] == {
        "event_type": "backfill_notifier_event",
        "event_payload": {"event_id": EVENT_ID, "target": "data-team"},
    }
    [post] = slack.posts
    assert (post.channel.name, post.message, post.pings) == ("data-backfills", arguments, [])


async def test_the_request_is_as_slack_wants_it(receiver: ScriptedServer, bot: Build) -> None:
    receiver.answer = {"ok": True}
    await bot(receiver.url).send(Shipment(events=(event(),)))
    [(request, _)] = receiver.requests
    assert (request.method, request.path_qs) == ("POST", "/api/chat.postMessage")
    assert request.headers.getall("Authorization") == [f"Bearer {TOKEN}"]
    assert request.headers.getall("Content-Type") == ["application/json;charset=utf-8"]
    assert request.headers["User-Agent"].startswith(f"backfill-notifier/{__version__} ")


async def test_a_webhook_gets_the_same_message_without_what_only_the_api_knows(
    slack: CheckedSlack, bot: Build, hook: Build
) -> None:
    await hook(slack.url).send(Shipment(events=(event("backfill.failed"),)))
    await bot(slack.url).send(Shipment(events=(event("backfill.failed"),)))
    [(path, by_hook), (_, by_bot)] = slack.calls
    assert path == HOOK
    assert by_hook == {k: v for k, v in by_bot.items() if k not in ("channel", "metadata")}
    assert [post.channel.name for post in slack.posts] == ["data-backfills"] * 2


@pytest.mark.parametrize(
    ("type_", "pings"),
    [("backfill.failed", ["!subteam^S0123"]), ("backfill.completed", []), ("source.down", ["!here"])],
)
async def test_an_event_mentions_whom_the_config_says(
    slack: CheckedSlack, either: Build, type_: str, pings: list[str]
) -> None:
    mentions = {"backfill.fail*": MENTION, "source.down": "<!here>"}
    await either(slack.url, mentions=mentions).send(Shipment(events=(event(type_),)))
    assert [post.pings for post in slack.posts] == [pings]


@pytest.mark.parametrize("type_", ["backfill.completed", "source.down"])
async def test_the_name_of_a_job_leads_to_it(slack: CheckedSlack, either: Build, type_: str) -> None:
    await either(slack.url, job_link="https://app.allium.so/beam/{job_id}").send(
        Shipment(events=(event(type_),))
    )
    [post] = slack.posts
    url = "https://app.allium.so/beam/f47ac10b-58cc-4372-a567-0e02b2c3d479"
    assert (f"*<{url}|" in post.message["blocks"][0]["text"]["text"]) == (type_ == "backfill.completed")


async def test_what_a_hostile_job_says_pings_nobody(slack: CheckedSlack, either: Build) -> None:
    fields = {"job_name": "<!channel> <@U123>\n*x*\u202e", "error_message": "```<!here>``` " * 500}
    await either(slack.url).send(Shipment(events=(job_event(listed(**(job("j1", "failed") | fields))),)))
    assert [post.pings for post in slack.posts] == [[]]


async def test_an_answer_that_repeats_a_long_message_is_read_to_its_end(
    slack: CheckedSlack, bot: Build
) -> None:
    # Slack's does, with twelve characters for an emoji: a message can come back as 70 kB.
    slack.script = [web.json_response({"message": {"text": "😀" * 20_000}, "ok": True})]
    await bot(slack.url).send(Shipment(events=(event(),)))


async def test_one_message_at_a_time_starts_a_second_apart(slack: CheckedSlack, bot: Build) -> None:
    target = bot(slack.url)
    assert (target.name, target.concurrency) == ("data-team", 1)
    assert target.spacing is not None
    target.spacing.started(100.0)
    assert target.spacing.next_at() == 101.0
    target.spacing.ended(100.5)
    assert target.spacing.next_at() == 101.5


async def test_an_event_without_its_payload_cannot_be_sent(slack: CheckedSlack, either: Build) -> None:
    target = either(slack.url)
    gone = msgspec.structs.replace(event(), payload=msgspec.UNSET)
    error = await failed(target, lambda: target.send(Shipment(events=(gone,))))
    assert flags(error) == (True, False)
    with pytest.raises(SendError):
        target.preview(gone)
    assert slack.calls == []


# --------------------------------------------------------------------------------------- digests


def test_more_than_so_many_that_wait_go_together(session: aiohttp.ClientSession) -> None:
    target = channel(session, token=TOKEN, channel="#data-backfills")
    assert target.grouping == Grouping(over=10, limit=1000)


@pytest.mark.parametrize("count", [2, 1000])
async def test_several_events_are_one_post_that_is_known_by_an_id_of_them_all(
    slack: CheckedSlack, bot: Build, count: int
) -> None:
    events = several(count)
    target = bot(
        slack.url,
        mentions={"backfill.failed": MENTION, "backfill.completed": "<!here>"},
        job_link="https://app.allium.so/beam/{job_id}",
    )
    await target.send(Shipment(events=tuple(events)))
    [(method, arguments)] = slack.calls
    assert method == "chat.postMessage"
    known_by = batch_id([event.id for event in events])
    assert known_by.startswith("bat_")
    assert arguments["metadata"] == {
        "event_type": "backfill_notifier_event",
        "event_payload": {"event_id": known_by, "target": "data-team"},
    }
    assert arguments["channel"] == "#data-backfills"
    assert arguments["text"].startswith(f"❌ {count:,} events of allium: 1 failed, {count - 1} staging <!")
    [first, *_] = arguments["attachments"][0]["blocks"]
    assert f"*<https://app.allium.so/beam/j{count - 1}|Name of j{count - 1}>*" in first["text"]["text"]
    assert (arguments["unfurl_links"], arguments["unfurl_media"]) == (False, False)
    [post] = slack.posts
    assert (post.message, post.pings) == (arguments, ["!subteam^S0123"])


async def test_the_same_events_are_the_same_post_whenever_they_are_sent(
    slack: CheckedSlack, either: Build
) -> None:
    for later in (timedelta(0), timedelta(days=2)):
        await either(slack.url, now=lambda wait=later: NOW + wait).send(Shipment(events=tuple(several())))
    [first, second] = slack.calls
    assert first == second


async def test_a_webhook_gets_the_same_digest_without_what_only_the_api_knows(
    slack: CheckedSlack, bot: Build, hook: Build
) -> None:
    await hook(slack.url).send(Shipment(events=tuple(several())))
    await bot(slack.url).send(Shipment(events=tuple(several())))
    [(_, by_hook), (_, by_bot)] = slack.calls
    assert by_hook == {k: v for k, v in by_bot.items() if k not in ("channel", "metadata")}
    assert len(slack.posts) == 2


async def test_what_hostile_jobs_say_pings_nobody_in_a_digest(slack: CheckedSlack, either: Build) -> None:
    fields = {"job_name": "<!channel> <@U123>\n*x*\u202e", "error_message": "```<!here>``` " * 500}
    await either(slack.url).send(Shipment(events=tuple(several(60, **fields))))
    assert [post.pings for post in slack.posts] == [[]]


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long", "invalid_attachments"])
async def test_a_digest_that_is_refused_is_sent_once_more_as_plain_text(
    slack: CheckedSlack, either: Build, code: str
) -> None:
    slack.script = [code]
    await either(slack.url, mentions={"backfill.failed": MENTION}).send(Shipment(events=tuple(several(60))))
    [(_, first), (_, second)] = slack.calls
    assert second.keys() == first.keys() - {"blocks", "attachments"}
    assert second.get("metadata") == first.get("metadata")
    assert second["text"].startswith(f"{first['text']}\n❌ *Name of j59* failed after ")
    assert "\nand 20 more: 20 staging\n" in second["text"]
    [post] = slack.posts
    assert (post.message, post.pings) == (second, ["!subteam^S0123"])


async def test_a_digest_that_is_refused_for_its_metadata_is_sent_without(
    slack: CheckedSlack, bot: Build
) -> None:
    slack.script = ["invalid_metadata_format"]
    await bot(slack.url).send(Shipment(events=tuple(several())))
    assert ["metadata" in arguments for _, arguments in slack.calls] == [True, False]
    assert len(slack.posts) == 1


async def test_a_digest_that_is_refused_as_plain_text_too_is_a_refused_message(
    slack: CheckedSlack, either: Build
) -> None:
    slack.script = ["invalid_blocks", "msg_too_long"]
    target = either(slack.url)
    error = await failed(target, lambda: target.send(Shipment(events=tuple(several()))))
    assert error.reason.startswith("Slack refused it: msg_too_long")
    assert error.reason.endswith(", also as plain text")
    assert (error.refused, error.outcome_unknown) == ("message", False)
    assert "msg_too_long" in (error.answer or "")
    assert len(slack.calls) == 2


async def test_a_digest_for_a_channel_that_is_gone_is_refused_with_all_that_goes_there(
    slack: CheckedSlack, bot: Build, hook: Build
) -> None:
    for target in (
        bot(slack.url, channel="#old"),
        hook(slack.url, webhook_url=f"{slack.url}/services/T0TEAM/old"),
    ):
        error = await failed(target, lambda target=target: target.send(Shipment(events=tuple(several()))))  # type: ignore[misc]
        assert (error.refused, error.outcome_unknown) == ("endpoint", False)
    assert len(slack.calls) == 2


async def test_a_digest_of_which_an_event_has_lost_its_payload_tells_it_all_the_same(
    slack: CheckedSlack, bot: Build
) -> None:
    events = several()
    events[5] = msgspec.structs.replace(events[5], payload=msgspec.UNSET)
    await bot(slack.url).send(Shipment(events=tuple(events)))
    assert [post.message["text"] for post in slack.posts] == ["❌ 12 events of allium: 1 failed, 11 staging"]


async def test_a_digest_that_cannot_be_drawn_is_a_refused_message_and_no_request(
    slack: CheckedSlack, either: Build
) -> None:
    events = several()
    events[0] = msgspec.structs.replace(events[0], payload=msgspec.UNSET)
    target = either(slack.url)
    error = await failed(target, lambda: target.send(Shipment(events=tuple(events))))
    assert (error.refused, error.outcome_unknown) == ("message", False)
    assert slack.calls == []


# ------------------------------------------------------------------------- what Slack answers with


async def test_a_message_that_is_refused_is_sent_once_more_as_plain_text(
    slack: CheckedSlack, either: Build
) -> None:
    slack.script = ["invalid_blocks"]
    await either(slack.url, mentions={"backfill.failed": MENTION}).send(
        Shipment(events=(event("backfill.failed"),))
    )
    [(_, first), (_, second)] = slack.calls
    assert second.keys() == first.keys() - {"blocks", "attachments"}
    assert second["text"].startswith(first["text"])
    assert "Snowflake query exceeded" in second["text"]
    [post] = slack.posts
    assert (post.message, post.pings) == (second, ["!subteam^S0123"])


async def test_what_is_refused_for_its_metadata_is_sent_without(slack: CheckedSlack, bot: Build) -> None:
    slack.script = ["metadata_must_be_sent_from_app"]
    await bot(slack.url).send(Shipment(events=(event(),)))
    assert ["metadata" in arguments for _, arguments in slack.calls] == [True, False]
    assert len(slack.posts) == 1


async def test_any_2xx_that_says_ok_is_a_success(slack: CheckedSlack, bot: Build) -> None:
    slack.script = [web.json_response({"ok": True}, status=201)]
    await bot(slack.url).send(Shipment(events=(event(),)))
    assert len(slack.calls) == 1


async def test_a_webhook_s_2xx_is_a_success_however_its_body_is_encoded(
    slack: CheckedSlack, hook: Build
) -> None:
    slack.script = [web.Response(body=b"no brotli", headers={"Content-Encoding": "br"})]
    await hook(slack.url).send(Shipment(events=(event(),)))
    assert len(slack.calls) == 1


async def test_an_error_that_holds_the_webhook_s_key_is_no_code(slack: CheckedSlack, hook: Build) -> None:
    key = "xrnq7o3a1b8d9f2g4h6j8k1m2n"
    slack.script = [web.Response(status=404, text=f"no_such_hook_{key}")]
    error = await failed(hook(slack.url, webhook_url=f"{slack.url}/services/{key}"))
    assert error.reason == "answered 404: no_such_hook_REDACTED"


async def test_a_message_that_is_refused_as_plain_text_too_is_refused_for_good(
    slack: CheckedSlack, bot: Build
) -> None:
    fault = "[ERROR] must be more than 0 characters [json-pointer:/blocks/0/text/text]"
    answer = {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [fault]}}
    slack.script = [web.json_response(answer), web.json_response(answer)]
    error = await failed(bot(slack.url))
    assert error.reason == f"Slack refused it: invalid_blocks ({fault}), also as plain text"
    assert (error.refused, error.outcome_unknown) == ("message", False)
    assert len(slack.calls) == 2


async def test_a_webhook_refused_twice_is_refused_for_good(slack: CheckedSlack, hook: Build) -> None:
    slack.script = [web.Response(status=400, text="no such shape") for _ in range(2)]
    error = await failed(hook(slack.url))
    assert error.reason == "answered 400: no such shape, also as plain text"
    assert (error.refused, error.outcome_unknown) == ("message", False)
    assert len(slack.calls) == 2


async def test_the_second_try_can_fail_for_another_reason(slack: CheckedSlack, either: Build) -> None:
    slack.script = ["invalid_blocks", web.Response(status=503)]
    error = await failed(either(slack.url))
    assert error.reason == "answered 503"
    assert flags(error) == (False, True)


@pytest.mark.parametrize(
    ("settings", "reason", "permanent"),
    [
        ({"channel": "#elsewhere"}, "not_in_channel; invite the app there", False),
        ({"channel": "#news"}, "restricted_action_read_only_channel; ", False),
        ({"channel": "#nowhere"}, "channel_not_found; there is no such channel, or it is private", True),
        ({"channel": "#hidden"}, "channel_not_found; there is no such channel, or it is private", True),
        ({"channel": "#old"}, "is_archived; unarchive the channel", True),
        ({"token": "xoxb-wrong"}, "invalid_auth; the token is wrong or was revoked", False),
    ],
)
async def test_what_is_refused_says_what_to_do(
    slack: CheckedSlack, bot: Build, settings: dict[str, str], reason: str, permanent: bool
) -> None:
    error = await failed(bot(slack.url, **settings))
    assert error.reason.startswith(f"Slack refused it: {reason}")
    assert (error.refused, error.outcome_unknown) == ("endpoint" if permanent else None, False)
    assert len(slack.calls) == 1


async def test_a_missing_scope_is_named(slack: CheckedSlack, bot: Build) -> None:
    slack.scopes = {"channels:read"}
    error = await failed(bot(slack.url))
    assert "missing_scope; add the scope chat:write under OAuth & Permissions" in error.reason
    assert flags(error) == (False, False)


@pytest.mark.parametrize(
    ("path", "reason", "permanent"),
    [
        ("T0TEAM/old", "channel_is_archived; unarchive the channel", True),
        ("T0TEAM/elsewhere", "channel_not_found; the webhook's channel is gone", True),
        ("T0TEAM/news", "action_prohibited; an admin of the workspace forbids this", False),
        ("T0TEAM/gone", "no_service; the webhook was removed or its URL is wrong", False),
    ],
)
async def test_what_a_webhook_refuses_says_what_to_do(
    slack: CheckedSlack, hook: Build, path: str, reason: str, permanent: bool
) -> None:
    error = await failed(hook(slack.url, webhook_url=f"{slack.url}/services/{path}"))
    assert error.reason.startswith(f"Slack refused it: {reason}")
    assert (error.refused, error.outcome_unknown) == ("endpoint" if permanent else None, False)
    assert len(slack.calls) == 1


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("30", timedelta(seconds=30)),
        ("Sat, 31 Jan 2026 10:31:30 GMT", timedelta(seconds=90)),
        ("soon", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_is_asked_for_is_told(
    slack: CheckedSlack, either: Build, status: int, header: str, wait: timedelta | None
) -> None:
    headers = {"Retry-After": header}
    slack.script = [
        web.json_response({"ok": False, "error": "ratelimited"}, status=status, headers=headers)
        if status == 429
        else web.Response(status=status, headers=headers)
    ]
    error = await failed(either(slack.url, now=lambda: NOW))
    assert error.retry_after == wait
    assert flags(error) == (False, status == 503)
    assert len(slack.calls) == 1


async def test_more_than_a_message_a_second_is_held_back(bot: Build, slack: CheckedSlack) -> None:
    slack.posts_a_second = 1 / 3600
    target = bot(slack.url)
    await target.send(Shipment(events=(event(),)))
    await target.send(Shipment(events=(event(),)))
    error = await failed(target)
    assert error.reason == "Slack asks to slow down (429)"
    assert error.retry_after is not None
    assert timedelta(minutes=59) < error.retry_after <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            lambda: web.Response(text="<html>sign in</html>", content_type="text/html"),
            "answered 200, but not as Slack does; is api_url right?",
            id="HTML",
        ),
        pytest.param(
            lambda: web.json_response(["ok"]),
            "answered 200, but not as Slack does; is api_url right?",
            id="list",
        ),
        pytest.param(
            lambda: web.json_response(None),
            "answered 200, but not as Slack does; is api_url right?",
            id="null",
        ),
        pytest.param(
            lambda: web.json_response({}),
            "answered 200, but not as Slack does; is api_url right?",
            id="empty",
        ),
        pytest.param(
            lambda: web.json_response({"ok": False, "error": ["odd"]}),
            "answered 200, but not as Slack does; is api_url right?",
            id="odd error",
        ),
        pytest.param(
            lambda: web.Response(text="ok"),
            "answered 200, but not as Slack does; is api_url right?",
            id="text/plain",
        ),
        pytest.param(
            lambda: web.Response(body=b"\xff\xfe{", content_type="application/gzip"),
            "answered 200, but not as Slack does; is api_url right?",
            id="gzip",
        ),
        pytest.param(
            lambda: web.Response(body=b"[" * 100_000, content_type="application/json"),
            "answered 200, but not as Slack does; is api_url right?",
            id="deeply nested",
        ),
        pytest.param(
            lambda: web.Response(status=204),
            "answered 204, but not as Slack does; is api_url right?",
            id="no content",
        ),
        pytest.param(lambda: web.Response(status=500, text="<h1>oops"), "answered 500", id="500"),
        pytest.param(
            lambda: web.json_response({"ok": False, "error": "fatal_error"}),
            "Slack refused it: fatal_error",
            id="fatal_error",
        ),
        pytest.param(
            lambda: web.json_response({"ok": False, "error": "internal_error"}),
            "Slack refused it: internal_error",
            id="internal_error",
        ),
    ],
)
async def test_after_an_answer_that_proves_nothing_the_outcome_is_unknown(
    slack: CheckedSlack, bot: Build, answer: Callable[[], web.Response], reason: str
) -> None:
    slack.script = [answer()]
    error = await failed(bot(slack.url))
    assert error.reason == reason
    assert flags(error) == (False, True)
    assert len(slack.calls) == 1


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/octet-stream"])
async def test_what_slack_says_counts_and_not_how_it_labels_it(
    slack: CheckedSlack, bot: Build, content_type: str
) -> None:
    slack.script = [web.Response(text='{"ok": true}', content_type=content_type)]
    await bot(slack.url).send(Shipment(events=(event(),)))
    slack.script = [web.Response(text='{"ok": false, "error": "is_archived"}', content_type=content_type)]
    assert (await failed(bot(slack.url))).refused


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_a_webhook_may_answer_a_success_with_anything(
    slack: CheckedSlack, hook: Build, status: int
) -> None:
    slack.script = [web.Response(status=status, body=None if status == 204 else b"<html>\xff")]
    await hook(slack.url).send(Shipment(events=(event(),)))
    assert len(slack.calls) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(
    slack: CheckedSlack, either: Build, status: int
) -> None:
    async with served(ScriptedServer()) as elsewhere:
        slack.script = [web.Response(status=status, headers={"Location": f"{elsewhere.url}/x"})]
        error = await failed(either(slack.url))
    assert elsewhere.requests == []
    assert len(slack.calls) == 1
    assert error.reason == f"answered {status}, a redirect, which is not followed"
    assert flags(error) == (False, False)


@pytest.mark.parametrize("status", [200, 404])
async def test_a_huge_answer_is_not_read_to_its_end(slack: CheckedSlack, bot: Build, status: int) -> None:
    written = 0
    over = asyncio.Event()

    async def huge(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            for _ in range(50):
                await response.write(b"word " * 200_000)
                written += 1_000_000
        finally:
            over.set()
        return response

    slack.script = [huge]
    async with asyncio.timeout(10):
        error = await failed(bot(slack.url))
        await over.wait()
    assert written < 20_000_000
    assert len(error.reason) < 250
    assert flags(error) == (False, status == 200)


# ------------------------------------------------------------------- what is kept of an answer


@pytest.mark.parametrize("status", [200, 403, 500])
async def test_status_and_answer_of_the_api_are_kept(slack: CheckedSlack, bot: Build, status: int) -> None:
    answer = {"ok": False, "error": "not_in_channel", "warning": "größer"}
    slack.script = [web.json_response(answer, status=status)]
    error = await failed(bot(slack.url))
    assert error.status == status
    assert json.loads(error.answer or "") == answer
    assert "größer" in (error.answer or "")


@pytest.mark.parametrize("status", [302, 403, 404, 410, 429, 500])
async def test_status_and_answer_of_a_webhook_are_kept(slack: CheckedSlack, hook: Build, status: int) -> None:
    slack.script = [web.Response(status=status, text="no\nsuch größe")]
    error = await failed(hook(slack.url))
    assert (error.status, error.answer) == (status, "no\nsuch größe")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_status_and_answer_to_the_plain_text_are_kept(
    slack: CheckedSlack, hook: Build, status: int
) -> None:
    slack.script = [web.Response(status=400, text="first"), web.Response(status=status, text="second")]
    error = await failed(hook(slack.url))
    assert (error.refused, error.status, error.answer) == ("message", status, "second")


async def test_of_a_long_answer_500_bytes_are_kept(slack: CheckedSlack, bot: Build, hook: Build) -> None:
    slack.script = [web.Response(status=503, text="ü" * 5000)]
    assert (await failed(hook(slack.url))).answer == "ü" * 250
    slack.script = [web.Response(status=503, text="x" + "ü" * 5000)]
    assert (await failed(hook(slack.url))).answer == "x" + "ü" * 249
    slack.script = [web.json_response({"ok": False, "error": "not_authed", "more": "y" * 5000})]
    assert len((await failed(bot(slack.url))).answer or "") == 500


async def test_without_an_answer_nothing_is_kept_of_it(either: Build) -> None:
    with closed_port() as port:
        error = await failed(either(f"http://127.0.0.1:{port}"))
    assert (error.status, error.answer) == (None, None)


# --------------------------------------------------------------------------------- no answer at all


@pytest.mark.parametrize(
    ("answer", "read", "reset"),
    [
        pytest.param(b"", True, False, id="closed after the request"),
        pytest.param(b"", True, True, id="reset after the request"),
        pytest.param(b"", False, True, id="reset before the request"),
    ],
)
async def test_after_a_connection_that_breaks_the_outcome_is_unknown(
    either: Build, answer: bytes, read: bool, reset: bool
) -> None:
    async with wired(answer, read=read, reset=reset) as url:
        error = await failed(either(url))
    assert error.reason == "the connection was closed before an answer came"
    assert flags(error) == (False, True)


@pytest.mark.parametrize("before", [0, 1])
async def test_a_dropped_connection_is_one_attempt(slack: CheckedSlack, either: Build, before: int) -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    target = either(slack.url)
    for _ in range(before):  # over a connection that is kept alive, HTTP libraries like to try again
        await target.send(Shipment(events=(event(),)))
    slack.script = [drop]
    error = await failed(target)
    assert flags(error) == (False, True)
    assert len(slack.calls) == before + 1


async def test_a_truncated_answer_of_the_api_proves_nothing(bot: Build) -> None:
    async with wired(reply(b'{"ok": tr', "Content-Length: 100", "Content-Type: application/json")) as url:
        error = await failed(bot(url))
    assert error.reason == "answered 200, but not as Slack does; is api_url right?"
    assert flags(error) == (False, True)


async def test_a_truncated_answer_of_a_webhook_is_a_success(hook: Build) -> None:
    async with wired(reply(b"o", "Content-Length: 2")) as url:
        await hook(url).send(Shipment(events=(event(),)))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(None, "no answer in time", id="silence"),
        pytest.param(b"EHLO\r\n", "the answer was not HTTP", id="not HTTP"),
    ],
)
async def test_the_outcome_is_unknown_when_no_answer_comes(
    either: Build, answer: bytes | None, reason: str
) -> None:
    async with wired(answer) as url, asyncio.timeout(5):
        error = await failed(either(url, timeout="200ms"))
    assert error.reason == reason
    assert flags(error) == (False, True)


async def test_an_answer_that_does_not_end_proves_nothing(slack: CheckedSlack, bot: Build) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"ok": true,')
        await asyncio.Event().wait()
        return response

    slack.script = [endless]
    async with asyncio.timeout(5):
        error = await failed(bot(slack.url, timeout="200ms"))
    assert flags(error) == (False, True)


async def test_a_refused_connection_was_certainly_not_sent(either: Build) -> None:
    with closed_port() as port:
        error = await failed(either(f"http://127.0.0.1:{port}"))
    assert error.reason == f"no connection to 127.0.0.1:{port}: connection refused"
    assert flags(error) == (False, False)


async def test_a_host_that_does_not_exist_is_named(either: Build) -> None:
    error = await failed(either("https://slack.invalid"))
    assert error.reason == "the host name slack.invalid could not be resolved"
    assert flags(error) == (False, False)


async def test_an_untrusted_certificate_gets_nothing(either: Build, tmp_path: Path) -> None:
    server, file = tls_files(tmp_path)
    async with wired(reply(b'{"ok": true}'), tls=server) as url:
        error = await failed(either(url))
        await either(url, ca_file=str(file)).send(Shipment(events=(event(),)))
    assert error.reason == "its TLS certificate could not be verified"
    assert flags(error) == (False, False)


# ----------------------------------------------------------------------------------------- proxies


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_used(
    slack: CheckedSlack,
    receiver: ScriptedServer,
    either: Build,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, receiver.url)
    await either(slack.url).send(Shipment(events=(event(),)))
    assert len(slack.posts) == 1
    assert receiver.requests == []


async def test_a_proxy_of_the_config_is_given_the_request(receiver: ScriptedServer, either: Build) -> None:
    receiver.answer = {"ok": True}
    await either("http://slack.invalid", proxy=receiver.url).send(Shipment(events=(event(),)))
    [(request, _)] = receiver.requests
    assert request.host == "slack.invalid"


# ----------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "body",
    [
        {"ok": False, "error": TOKEN},
        {"ok": False, "error": "invalid_auth", "needed": TOKEN, "token": TOKEN},
        {"ok": False, "error": "missing_scope", "needed": f"Bearer {TOKEN}"},
        {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [f"[ERROR] {TOKEN}"]}},
        {"ok": False, "error": "no_text", "response_metadata": {"messages": [{"at": TOKEN}, 1, None]}},
        {"ok": False, "error": "fatal_error", "response_metadata": TOKEN},
        [TOKEN],
        TOKEN,
    ],
)
@pytest.mark.parametrize("status", [200, 400, 403, 500])
async def test_a_token_that_the_server_repeats_is_not_shown(
    slack: CheckedSlack, bot: Build, body: Any, status: int
) -> None:
    slack.script = [web.json_response(body, status=status) for _ in range(2)]
    await failed(bot(slack.url))
    slack.script = [web.json_response(body, status=status)]
    target = bot(slack.url)
    await failed(target, target.probe)


async def test_a_token_that_looks_like_an_error_of_slack_is_not_shown(
    slack: CheckedSlack, bot: Build
) -> None:
    token = "token_of_a_stand_in"
    slack.script = [web.json_response({"ok": False, "error": token})]
    error = await failed(bot(slack.url, token=token))
    assert token not in error.reason


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(lambda request: str(request.url), id="URL"),
        pytest.param(lambda request: request.path, id="path"),
        pytest.param(lambda request: f"no {request.path.split('/')[-1]} here", id="segment"),
        pytest.param(lambda request: json.dumps(request.path).replace("/", "\\/"), id="escaped path"),
    ],
)
@pytest.mark.parametrize("status", [302, 400, 403, 404, 410, 429, 500])
async def test_a_path_that_the_server_repeats_is_not_shown(
    slack: CheckedSlack, hook: Build, echo: Callable[[web.Request], str], status: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=f"refused: {echo(request)}")

    slack.script = [answer, answer]
    error = await failed(hook(slack.url))
    assert status in (302, 429) or "REDACTED" in error.reason


async def test_a_path_that_looks_like_an_error_of_slack_is_not_shown(
    slack: CheckedSlack, hook: Build
) -> None:
    slack.script = [web.Response(status=404, text="abcdefgh12345678")]
    url = f"{slack.url}/services/abcdefgh12345678"  # as Mattermost makes them
    error = await failed(hook(slack.url, webhook_url=url))
    assert error.reason == "answered 404: REDACTED"


async def test_a_password_in_the_url_of_a_webhook_is_sent_and_not_shown(
    receiver: ScriptedServer, hook: Build
) -> None:
    receiver.answer = lambda request: web.Response(status=401, text=request.headers["Authorization"])
    error = await failed(hook(receiver.url.replace("//", "//user:pass%2Fword@")))
    assert error.reason == "answered 401: Basic REDACTED"
    with closed_port() as port:
        error = await failed(hook(f"http://user:path-that-is-secret@127.0.0.1:{port}"))
    assert error.reason == f"no connection to 127.0.0.1:{port}: connection refused"


# ----------------------------------------------------------------------------------------- preview


@pytest.mark.parametrize("type_", ["backfill.failed", "delivery.dead"])
async def test_a_preview_is_what_is_sent(slack: CheckedSlack, either: Build, type_: str) -> None:
    target = either(slack.url, mentions={"*": MENTION}, job_link="https://app.allium.so/{job_id}")
    preview = target.preview(event(type_))
    assert slack.calls == []
    await target.send(Shipment(events=(event(type_),)))
    [(_, arguments)] = slack.calls
    assert json.loads(preview.body) == arguments


async def test_a_preview_shows_where_and_no_secret(bot: Build, hook: Build) -> None:
    preview = bot("http://slack.example").preview(event())
    assert preview.request == "POST http://slack.example/api/chat.postMessage"
    assert preview.headers["Authorization"] == "Bearer REDACTED"
    by_hook = hook("http://user:path-that-is-secret@slack.example").preview(event())
    assert by_hook.request == "POST http://slack.example/…"
    assert "Authorization" not in by_hook.headers
    assert not any(secret in f"{preview!r} {by_hook!r}" for secret in SECRETS)


async def test_headers_of_a_preview_are_sent(receiver: ScriptedServer, either: Build) -> None:
    receiver.answer = {"ok": True}
    target = either(receiver.url)
    await target.send(Shipment(events=(event(),)))
    [(request, _)] = receiver.requests
    shown = {key: request.headers[key] for key in target.preview(event()).headers}
    if "Authorization" in shown:
        shown["Authorization"] = "Bearer REDACTED"
    assert target.preview(event()).headers == shown


# ------------------------------------------------------------------------------------------- probe


WITHOUT_HISTORY = [{"chat:write"}, {"chat:write", "channels:read"}, {"bot"}]


@pytest.mark.parametrize("scopes", WITHOUT_HISTORY)
async def test_a_probe_tells_that_lost_answers_cannot_be_looked_for(
    slack: CheckedSlack, bot: Build, scopes: set[str]
) -> None:
    slack.scopes = scopes
    target = bot(slack.url)
    words, caveat = await target.probe(), await target.caveat()
    assert words is not None
    assert words.endswith(
        "notifier test data-team. Without the scope channels:history (groups:history for a private channel) "
        "a message whose answer is lost may be posted twice; add it under OAuth & Permissions and install the "
        "app again"
    )
    assert caveat is not None
    assert words.endswith(caveat[1:])


@pytest.mark.parametrize("scope", ["channels:history", "groups:history", "im:history", "mpim:history"])
async def test_a_probe_tells_whose_the_token_is(slack: CheckedSlack, bot: Build, scope: str) -> None:
    slack.scopes = {"chat:write", scope}
    words = await bot(slack.url).probe()
    assert words == (
        "the token works: backfill_notifier in the workspace Demo. Whether it may post to #data-backfills "
        "only a message tells: notifier test data-team"
    )
    assert [method for method, _ in slack.calls] == ["auth.test"]


async def test_a_probe_without_scopes_in_the_answer_takes_it_at_its_word(
    slack: CheckedSlack, bot: Build
) -> None:
    slack.script = [web.json_response({"ok": True, "team": "A\nB\x1b", "user": None})]
    words = await bot(slack.url).probe()
    assert words is not None
    assert words.startswith("the token works: ? in the workspace A B. ")


@pytest.mark.parametrize("scopes", [set(), {"channels:read"}, {"chat:write.public"}])
async def test_a_probe_finds_that_the_token_may_not_post(
    slack: CheckedSlack, bot: Build, scopes: set[str]
) -> None:
    slack.scopes = scopes
    target = bot(slack.url)
    error = await failed(target, target.probe)
    assert "missing_scope; add the scope chat:write" in error.reason


async def test_a_probe_of_a_webhook_asks_nothing(slack: CheckedSlack, hook: Build) -> None:
    assert await hook(slack.url).probe() is None
    assert slack.calls == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("invalid_auth", "Slack refused it: invalid_auth; the token is wrong"),
        ("account_inactive", "Slack refused it: account_inactive; "),
        ("invalid_arguments", "Slack refused it: invalid_arguments"),
        (lambda: web.Response(status=400, text="no"), "answered 400"),
        (lambda: web.Response(text="<html>"), "answered 200, but not as Slack does"),
        (lambda: web.Response(status=404), "answered 404"),
        (lambda: web.Response(status=503), "answered 503"),
        (lambda: web.Response(status=302, headers={"Location": "/x"}), "answered 302, a redirect"),
    ],
)
async def test_a_probe_that_is_refused_says_why(
    slack: CheckedSlack, bot: Build, answer: Any, reason: str
) -> None:
    slack.script = [answer() if callable(answer) else answer]
    target = bot(slack.url)
    error = await failed(target, target.probe)
    assert error.reason.startswith(reason)
    assert len(slack.calls) == 1


async def test_a_probe_of_nobody_says_so(bot: Build) -> None:
    with closed_port() as port:
        target = bot(f"http://127.0.0.1:{port}")
        error = await failed(target, target.probe)
    assert error.reason == f"no connection to 127.0.0.1:{port}: connection refused"


async def test_a_token_that_a_probe_is_told_is_not_shown(slack: CheckedSlack, bot: Build) -> None:
    slack.script = [web.json_response({"ok": True, "team": TOKEN, "user": f"me {TOKEN}"})]
    words = await bot(slack.url).probe()
    assert words is not None
    assert words.startswith("the token works: me REDACTED in the workspace REDACTED. ")
