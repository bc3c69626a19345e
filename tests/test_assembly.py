"""The parts that talk to the world are made as the config says."""

from pathlib import Path

import pytest
from aiohttp import web

from notifier.assembly import make_sources, make_targets, open_session
from notifier.config import load_config
from notifier.demo.slack import API
from notifier.sample import sample_event
from notifier.sending import Shipment
from notifier.settings import Settings
from notifier.targets.slack.channel import SlackChannel
from notifier.targets.slack.hook import SlackHook
from notifier.targets.webhook import Webhook
from tests.commands import KEY
from tests.servers import ScriptedServer
from tests.slack import NOW, TOKEN, CheckedSlack


def load(text: str) -> Settings:
    Path("notifier.toml").write_text(f'[[sources]]\napi_key = "{KEY}"\n{text}')
    return load_config(None, {}).settings


async def test_targets_are_made_by_name_in_the_order_of_the_config() -> None:
    settings = load(
        '[targets.z]\ntype = "webhook"\nurl = "https://z.example.com"\n'
        f'[targets.a]\ntype = "slack"\ntoken = "{TOKEN}"\nchannel = "#x"\n'
        '[targets.m]\ntype = "slack"\nwebhook_url = "https://chat.example.com/hooks/x"\n'
    )
    async with open_session() as session:
        targets = make_targets(settings, session)
    assert [(name, target.name, type(target)) for name, target in targets.items()] == [
        ("z", "z", Webhook),
        ("a", "a", SlackChannel),
        ("m", "m", SlackHook),
    ]


async def test_a_message_s_title_leads_where_its_own_source_says(slack: CheckedSlack) -> None:
    settings = load(
        'job_link = "https://one.example.com/{job_id}"\n'
        '[[sources]]\nname = "two"\napi_key = "k"\njob_link = "https://two.example.com/{job_id}"\n'
        '[[sources]]\nname = "three"\napi_key = "l"\n'
        '[targets.team]\ntype = "slack"\n'
        f'token = "{TOKEN}"\nchannel = "#data-backfills"\napi_url = "{slack.url}{API}"\n'
    )
    async with open_session() as session:
        target = make_targets(settings, session)["team"]
        for source in ("allium", "two", "three"):
            sample = sample_event("backfill.failed", source=source, event_id=f"evt_{source}", now=NOW)
            await target.send(Shipment(events=(sample,)))
    titles = [post.message["blocks"][0]["text"]["text"] for post in slack.posts]
    assert "<https://one.example.com/" in titles[0]
    assert "<https://two.example.com/" in titles[1]
    assert "https://" not in titles[2]


async def test_a_session_keeps_no_cookies(api: ScriptedServer) -> None:
    def answer(_: web.Request) -> web.Response:
        response = web.json_response([])
        response.set_cookie("session", "1")
        return response

    api.answer = answer
    settings = load(f'base_url = "{api.url}"\n')
    async with open_session() as session:
        [source] = make_sources(settings, session)
        for _ in range(2):
            await source.fetch(None)
    assert [request.headers.get("Cookie") for request, _ in api.requests] == [None, None]


async def test_a_proxy_from_the_environment_is_not_used_for_targets(
    receiver: ScriptedServer, api: ScriptedServer, slack: CheckedSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, api.url)
    settings = load(
        f'[targets.ops]\ntype = "webhook"\nurl = "{receiver.url}/"\n'
        f'[targets.team]\ntype = "slack"\ntoken = "{TOKEN}"\nchannel = "#data-backfills"\n'
        f'api_url = "{slack.url}{API}"\n'
    )
    async with open_session() as session:
        for target in make_targets(settings, session).values():
            await target.send(
                Shipment(events=(sample_event("source.up", source="allium", event_id="evt_x", now=NOW),))
            )
    assert len(receiver.requests) == len(slack.posts) == 1
    assert not api.requests
