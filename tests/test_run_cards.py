"""Cards, by `notifier run` as a process between a scripted API and a Slack that checks what it takes."""

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from notifier.demo.slack import Post
from tests.commands import notifier
from tests.daemon import Daemon
from tests.servers import ScriptedServer, job
from tests.slack import TOKEN, CheckedSlack, known_by

CONFIG = """
[[sources]]
api_key = "key-for-tests"
base_url = "{api}"
poll_every = "50ms"
poll_idle_every = "50ms"

[targets.data-team]
type = "slack"
token = "{token}"
channel = "{channel}"
card_refresh = "{card_refresh}"
broadcast = ["backfill.failed"]
mentions = {{ "backfill.failed" = "<!here>" }}
api_url = "{slack}/api/"

[delivery]
first_retry = "100ms"
max_retry = "1s"
digest_over = {digest_over}
down_after = "{down_after}"

[store]
url = "sqlite:///{state}"
{more}
"""
HISTORY = {"chat:write", "channels:history"}


def write_config(
    directory: Path,
    api: ScriptedServer,
    slack: CheckedSlack,
    channel: str = "#data-backfills",
    *,
    more: str = "",
    digest_over: int = 10,
    down_after: str = "5m",
    card_refresh: str = "200ms",
) -> Path:
    path = directory / "notifier.toml"
    path.write_text(
        CONFIG.format(
            api=api.url,
            slack=slack.url,
            token=TOKEN,
            state=directory / "state.db",
            channel=channel,
            more=more,
            digest_over=digest_over,
            down_after=down_after,
            card_refresh=card_refresh,
        )
    )
    return path


def transporting(job_id: str = "a", left: int = 1000, **fields: Any) -> dict[str, Any]:
    return job(job_id, "transporting", num_chunks=1000, chunks_left=left, **fields)


def replies(slack: CheckedSlack, card: Post) -> list[str]:
    """Return the texts in a card's thread."""
    return [post.message["text"] for post in slack.posts if post.thread_ts == card.ts]


def body(message: dict[str, Any]) -> str:
    return json.dumps([message["blocks"], message["attachments"]], ensure_ascii=False)


async def test_a_job_s_life_is_one_card_that_follows_it_with_its_events_in_the_thread(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.scopes = HISTORY
    async with Daemon(write_config(tmp_path, api, slack)) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a")]
        await slack.until(lambda: slack.posts)
        api.answer = [transporting()]
        await slack.until(lambda: len(slack.posts) == 2)
        api.answer = [transporting(left=580)]
        await slack.until(lambda: "42 %, 420 of 1,000 chunks" in body(slack.posts[0].shown))
        api.answer = [transporting(left=500)]
        await slack.until(lambda: "50 %, 500 of 1,000 chunks" in body(slack.posts[0].shown))
        api.answer = [job("a", "failed", num_chunks=1000, chunks_left=500, error_message="no space left")]
        await slack.until(lambda: len(slack.posts) == 3)
        assert await daemon.ends(signal.SIGTERM) == 0
    [card] = slack.cards
    assert card.message["text"].startswith("📦 Name of a is staging")
    assert card.shown["text"].startswith("❌ Name of a failed after ")
    assert "no space left" in body(card.shown)
    assert "chunks a minute" in body(card.edits[-2]), "the pace, while it moved"
    assert "chunks a minute" not in body(card.shown)
    assert [text[:20] for text in replies(slack, card)] == ["🚚 Name of a is trans", "❌ Name of a failed a"]
    assert [post.broadcast for post in slack.posts] == [False, False, True]
    assert [post.pings for post in slack.posts] == [[], [], ["!here"]]
    assert len(card.edits) <= 5


@pytest.mark.timeout(180)
async def test_a_job_has_one_card_over_twelve_restarts_and_kills(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.scopes = HISTORY | {"channels:read"}
    config = write_config(tmp_path, api, slack, card_refresh="10ms")
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a")]
        await slack.until(lambda: slack.posts)
        daemon.process.kill()
        await daemon.process.wait()
    for number in range(12):
        # While it is off something happens; while it runs the job moves; then it ends one way or another.
        status = "failed" if number % 2 else "transporting"
        api.answer = [transporting(left=900 - number) | {"status": status}]
        async with Daemon(config) as daemon:
            await slack.until(lambda number=number: len(slack.posts) == number + 2)  # type: ignore[misc]
            api.answer = [transporting(left=500 - number) | {"status": status}]
            expected = f"{500 + number:,} of 1,000 chunks"
            await slack.until(lambda expected=expected: expected in body(slack.posts[0].shown))  # type: ignore[misc]
            if number % 3:
                daemon.process.kill()
                await daemon.process.wait()
            else:
                assert await daemon.ends(signal.SIGTERM) == 0
    [card] = slack.cards
    assert len(replies(slack, card)) == 12
    assert len({known_by(post) for post in slack.posts}) == 13, "nothing was posted twice"


async def test_a_card_that_was_deleted_is_replaced_with_the_next_event(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    config = write_config(tmp_path, api, slack)
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [transporting()]
        await slack.until(lambda: slack.posts)
        slack.delete(slack.posts[0])
        api.answer = [transporting(left=400)]
        await daemon.logged(
            "the card of job a can no longer be edited: Slack refused it: message_not_found; its next event"
        )
        assert len(slack.posts) == 1, "what a person deleted does not come back by itself"
        api.answer = [job("a", "failed")]
        await slack.until(lambda: len(slack.posts) == 2)
        slack.delete(slack.posts[1])
        api.answer = [job("a", "staging")]
        await slack.until(lambda: len(slack.posts) == 3)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [post.thread_ts for post in slack.posts] == [None] * 3
    assert slack.posts[1].pings == ["!here"]
    assert slack.posts[2].shown["text"].startswith("📦 Name of a is staging again")
    assert len({known_by(post) for post in slack.posts}) == 3
    done = await notifier("deliveries", "--config", str(config), "--state", "dead", "--json")
    assert json.loads(done.out) == []


async def test_another_channel_in_the_config_gets_cards_of_its_own(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    async with Daemon(write_config(tmp_path, api, slack)) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [transporting()]
        await slack.until(lambda: slack.posts)
        assert await daemon.ends(signal.SIGTERM) == 0
    api.answer = [job("a", "completed")]
    async with Daemon(write_config(tmp_path, api, slack, channel="C0PRIVATE")) as daemon:
        await slack.until(lambda: slack.posts[0].edits)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [post.channel.id for post in slack.posts] == ["C0DATA", "C0PRIVATE"]
    assert slack.posts[1].thread_ts is None
    [edit] = slack.posts[0].edits
    assert "not kept up to date any more: this backfill goes on in <#C0PRIVATE>" in body(edit)


async def test_a_card_follows_its_job_also_when_an_event_goes_elsewhere(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    more = '[[routes]]\nevents = ["backfill.staging"]\nto = ["data-team"]\n'
    async with Daemon(write_config(tmp_path, api, slack, more=more)) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("a")]
        await slack.until(lambda: slack.posts)
        api.answer = [job("a", "completed")]
        await slack.until(lambda: slack.posts[0].shown["text"].startswith("✅ Name of a completed"))
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(slack.posts) == 1


async def test_while_a_token_is_refused_nothing_is_spent_and_it_goes_on_by_itself_when_it_works_again(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer, slack: CheckedSlack
) -> None:
    more = f"""
[targets.ops]
type = "webhook"
url = "{receiver.url}/hooks/ops"

[[routes]]
events = ["backfill.*"]
to = ["data-team"]

[[routes]]
events = ["target.*"]
to = ["data-team", "ops"]
"""
    config = write_config(tmp_path, api, slack, more=more, down_after="1s")
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        slack.revoked = "token_revoked"
        api.answer = [job("a"), job("b"), job("c")]
        await daemon.logged("token_revoked")
        await slack.until(lambda: sum(method == "auth.test" for method, _ in slack.calls) >= 4)
        done = await notifier("deliveries", "--config", str(config), "--json")
        rows = json.loads(done.out)
        assert sorted(row["attempts"] for row in rows)[:2] == [0, 0], "the others were not even tried"
        await receiver.arrived(1)
        slack.revoked = None
        await slack.until(lambda: len(slack.posts) == 3)
        await receiver.arrived(2)
        assert await daemon.ends(signal.SIGTERM) == 0
    told = [json.loads(body)["data"]["summary"] for _, body in receiver.requests]
    assert told[0].startswith("target data-team has failed for 1s: Slack refused it: token_revoked; ")
    assert told[1].startswith("target data-team works again after ")
    assert "or as soon as it works again; nothing else is sent until then" in "\n".join(daemon.lines)


@pytest.mark.parametrize("count", [2, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
async def test_posts_of_which_every_second_one_loses_its_answer_are_posted_once(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack, count: int
) -> None:
    slack.scopes = HISTORY
    performed = 0

    def every_second(method: str, _: dict[str, Any]) -> bool:
        nonlocal performed
        performed += method == "chat.postMessage"
        return method == "chat.postMessage" and performed % 2 == 0

    slack.losing = every_second
    jobs = [job(f"j{number}") for number in range(count)]
    async with Daemon(write_config(tmp_path, api, slack, digest_over=100)) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = jobs
        await slack.until(lambda: len(slack.posts) == count, within=300)
        api.answer = [each | {"status": "failed"} for each in jobs]
        await slack.until(lambda: len(slack.posts) == 2 * count, within=300)
        await daemon.logged("was there: an earlier attempt had arrived")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(slack.cards) == count
    assert len({known_by(post) for post in slack.posts}) == 2 * count


@pytest.mark.timeout(120)
async def test_a_storm_is_told_within_thirty_seconds_and_a_job_that_changes_later_gets_its_card(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.posts_a_second = 1.0
    slack.edits_a_minute = 50.0
    async with Daemon(write_config(tmp_path, api, slack)) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [job("before")]
        await slack.until(lambda: slack.posts)
        storm = [
            job(f"j{n}", "failed" if n % 50 == 7 else "completed") for n in range(999)
        ]  # a digest holds 1,000
        began = time.monotonic()
        api.answer = [job("before", "failed"), *storm]
        await slack.until(lambda: sum(map(told, slack.posts)) == 1001, within=30)
        assert time.monotonic() - began < 30
        await slack.until(lambda: slack.posts[0].shown["text"].startswith("❌ Name of before failed"))
        api.answer = [
            job("before", "failed"),
            job("j7", "staging"),
            *(s for s in storm if s["job_id"] != "j7"),
        ]
        await slack.until(lambda: sum(map(told, slack.posts)) == 1002)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [card.message["text"] for card in slack.cards] == [
        "📦 Name of before is staging",
        "📦 Name of j7 is staging again",
    ]
    assert not [line for line in daemon.lines if "slow down" in line]


def told(post: Post) -> int:
    """Return of how many events a post tells."""
    if not known_by(post).startswith("bat_"):
        return 1
    return int(post.message["text"].split()[1].replace(",", ""))


async def test_a_token_without_history_is_told_once_at_the_start(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    config = write_config(tmp_path, api, slack)
    async with Daemon(config) as daemon:
        await daemon.logged("without the scope channels:history")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert "\n".join(daemon.lines).count("channels:history") == 1
    slack.scopes = HISTORY
    async with Daemon(config) as daemon:
        await slack.until(lambda: [method for method, _ in slack.calls] == ["auth.test"] * 2)
        await daemon.logged("watching 0 jobs")
        assert await daemon.ends(signal.SIGTERM) == 0
    assert "channels:history" not in "\n".join(daemon.lines)


async def test_once_keeps_cards_true_as_far_as_it_may_edit_at_once(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.scopes = HISTORY
    config = write_config(tmp_path, api, slack)
    api.answer = []
    assert (await notifier("once", "--config", str(config))).code == 0
    api.answer = [transporting()]
    assert (await notifier("once", "--config", str(config))).code == 0
    api.answer = [transporting(left=250)]
    assert (await notifier("once", "--config", str(config))).code == 0
    [card] = slack.posts
    assert "75 %, 750 of 1,000 chunks" in body(card.shown)


async def test_once_says_by_its_exit_code_that_a_card_could_not_be_edited(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    slack.scopes = HISTORY
    config = write_config(tmp_path, api, slack, card_refresh="1ms")
    api.answer = []
    assert (await notifier("once", "--config", str(config))).code == 0
    api.answer = [transporting()]
    assert (await notifier("once", "--config", str(config))).code == 0
    slack.script, slack.unscripted = ["fatal_error"], {"auth.test", "chat.postMessage"}
    api.answer = [transporting(left=250)]
    done = await notifier("once", "--config", str(config))
    assert (done.code, slack.script) == (1, [])
    assert "data-team: cards cannot be edited: Slack refused it: fatal_error; tried again" in done.err
    assert (await notifier("once", "--config", str(config))).code == 0
    [card] = slack.posts
    assert "75 %, 750 of 1,000 chunks" in body(card.shown)


async def test_cards_are_kept_true_by_a_target_that_a_reload_has_changed(
    tmp_path: Path, api: ScriptedServer, slack: CheckedSlack
) -> None:
    config = write_config(tmp_path, api, slack, card_refresh="10ms")
    async with Daemon(config) as daemon:
        await daemon.logged("watching 0 jobs")
        api.answer = [transporting(left=900)]
        await slack.until(lambda: slack.posts)
        for left, refresh in ((500, "20ms"), (300, "30ms")):
            config.write_text(
                re.sub('card_refresh = ".*"', f'card_refresh = "{refresh}"', config.read_text())
            )
            done = await notifier("reload", "--config", str(config))
            assert re.fullmatch("reloaded: target [a-z-]+ changed\n", done.out), done
            api.answer = [transporting(left=left)]
            expected = f"{1000 - left:,} of 1,000 chunks"
            await slack.until(lambda expected=expected: expected in body(slack.posts[0].shown))  # type: ignore[misc]
        api.answer = [transporting(left=0) | {"status": "completed"}]
        await slack.until(lambda: len(replies(slack, slack.cards[0])) == 1)
        assert await daemon.ends(signal.SIGTERM) == 0
    assert len(slack.cards) == 1
    assert slack.faults == []
