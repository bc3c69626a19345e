import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier.demo.slack import Channel, Post
from notifier.fingerprint import snapshot_print
from notifier.model import Card, Place
from notifier.sample import sample_event
from notifier.sending import CardLostError, Receipt, SendError
from notifier.targets.slack.limits import LEFT_FOR_EVENTS
from tests.followed import Followed, methods, too_many
from tests.servers import job
from tests.slack import NOW, CheckedSlack, job_event, listed

MENTION = "<!subteam^S0123>"
PINGS = ["!subteam^S0123"]
CONTENT = ("text", "blocks", "attachments", "metadata")


Follow = Callable[..., Followed]
Moving = Callable[[str], Awaitable[tuple[Followed, Post]]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def follow(slack: CheckedSlack, session: aiohttp.ClientSession) -> Follow:
    """Make a target, in style "card" unless told otherwise, and jobs to tell it of."""
    return partial(Followed, slack, session)


def title(post: Post) -> str:
    return str(post.shown["blocks"][0]["text"]["text"]) if "blocks" in post.shown else post.shown["text"]


def id_in(arguments: dict[str, Any]) -> str:
    return str(arguments["metadata"]["event_payload"]["event_id"])


def only_edits(slack: CheckedSlack, *answers: Any) -> None:
    """Have the next edits answered like this, and everything else as usual."""
    slack.script = list(answers)
    slack.unscripted = {"chat.postMessage"}


def only_posts(slack: CheckedSlack, *answers: Any) -> None:
    """Have the next posts answered like this, and everything else as usual."""
    slack.script = list(answers)
    slack.unscripted = {"chat.update"}


# --------------------------------------------------------------------------- a job's first event


@pytest.mark.parametrize("where", ["#data-backfills", "C0DATA"])
async def test_the_first_event_of_a_job_posts_its_card(
    slack: CheckedSlack, follow: Follow, where: str
) -> None:
    jobs = follow(channel=where)
    event = jobs.happen("staging")
    receipt = await jobs.send(event)
    [(method, arguments)] = slack.calls
    assert method == "chat.postMessage"
    assert arguments.keys() == {"channel", *CONTENT, "unfurl_links", "unfurl_media"}
    assert arguments["channel"] == where
    assert id_in(arguments) == event.id
    assert arguments["metadata"]["event_type"] == "backfill_notifier_event"
    [post] = slack.posts
    assert (post.channel.id, post.thread_ts) == ("C0DATA", None)
    assert title(post) == "📦 *<https://app.allium.so/j1|Name of j1>* is staging"
    assert receipt.card == Card(
        configured=where,
        channel="C0DATA",
        ts=post.ts,
        event_id=event.id,
        seq=1,
        shown=jobs.card().shown,
        job=snapshot_print(jobs.records["j1"].snapshot),
        edited_at=jobs.now,
    )
    assert jobs.card().shown
    assert not receipt.was_there


async def test_a_card_mentions_whom_its_event_is_for(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(mentions={"backfill.failed": MENTION, "backfill.completed": "<!here>"})
    await jobs.tell("failed", error_message="out of memory")
    await jobs.tell("staging", "j2")
    assert [post.pings for post in slack.posts] == [PINGS, []]
    assert slack.posts[0].message["text"].endswith(f": out of memory {MENTION}")


async def test_a_mention_is_not_part_of_what_a_card_shows(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(mentions={"*": MENTION})
    await jobs.tell("staging")
    card = jobs.card()
    assert await jobs.edit() is card
    assert methods(slack) == ["chat.postMessage"]


async def test_each_job_has_a_card_of_its_own(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    for job_id in ("j1", "j2", "j3"):
        await jobs.tell("staging", job_id)
    await jobs.tell("transporting", "j2")
    assert [post.thread_ts for post in slack.posts] == [None, None, None, slack.posts[1].ts]
    assert [len(post.edits) for post in slack.posts] == [0, 1, 0, 0]


async def test_each_target_has_cards_of_its_own(slack: CheckedSlack, follow: Follow) -> None:
    jobs, others = follow(), follow(name="others", channel="#private")
    await jobs.tell("staging")
    others.records = dict(jobs.records)
    await others.send(others.records["j1"].events[-1])
    assert others.records["j1"].cards.keys() == {"data-team", "others"}
    await others.tell("transporting")
    assert [(post.channel.name, post.thread_ts) for post in slack.posts] == [
        ("data-backfills", None),
        ("private", None),
        ("private", slack.posts[1].ts),
    ]
    assert [len(post.edits) for post in slack.posts] == [0, 1, 0]


async def test_an_answer_that_does_not_say_where_the_card_is_counts_all_the_same(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    slack.script = [web.json_response({"ok": True, "channel": None, "ts": 1.5})]
    assert await jobs.tell("staging") == Receipt()
    receipt = await jobs.tell("transporting")
    assert receipt.card is not None
    assert [post.thread_ts for post in slack.posts] == [None]


async def test_a_hostile_job_pings_nobody(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    hostile = {"job_name": "<!channel> <@U123>\n*x*\u202e", "error_message": "```<!here>``` " * 500}
    for status in ("<!here>", "transporting", "failed"):
        await jobs.tell(status, **hostile)
    assert [post.pings for post in slack.posts] == [[], [], []]
    assert "<!" not in json.dumps(slack.posts[0].shown).replace("<!date^", "")


# ----------------------------------------------------------------------------------- later events


async def test_a_later_event_edits_the_card_and_then_replies_in_its_thread(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(mentions={"*": MENTION})
    first = jobs.happen("staging")
    await jobs.send(first)
    slack.calls.clear()
    second = jobs.happen("transporting")
    receipt = await jobs.send(second)
    [(edit, edited), (post, posted)] = slack.calls
    assert (edit, post) == ("chat.update", "chat.postMessage")

    assert edited.keys() == {"channel", "ts", *CONTENT}
    card, reply = slack.posts
    assert (edited["channel"], edited["ts"], id_in(edited)) == ("C0DATA", card.ts, first.id)
    assert title(card) == "🚚 *<https://app.allium.so/j1|Name of j1>* is transporting"
    assert all(card.shown[key] == edited[key] for key in CONTENT)
    assert MENTION not in json.dumps(edited, ensure_ascii=False)

    assert posted.keys() == {"channel", "thread_ts", *CONTENT, "unfurl_links", "unfurl_media"} - {
        "attachments"
    }
    assert (posted["channel"], posted["thread_ts"], id_in(posted)) == ("C0DATA", card.ts, second.id)
    assert (reply.thread_ts, reply.broadcast, reply.pings) == (card.ts, False, PINGS)
    assert title(reply).startswith("🚚 *<https://app.allium.so/j1|Name of j1>* is transporting")

    assert receipt.card == Card(
        configured="#data-backfills",
        channel="C0DATA",
        ts=card.ts,
        event_id=first.id,
        seq=2,
        shown=jobs.card().shown,
        job=snapshot_print(jobs.records["j1"].snapshot),
        edited_at=jobs.now,
    )


async def test_a_whole_life_of_a_job_is_one_message_and_a_thread(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(mentions={"backfill.failed": MENTION})
    statuses = ["staging", "transporting", "failed", "staging", "transporting", "completed"]
    events = [jobs.happen("staging")]
    await jobs.send(events[0])
    for status in statuses[1:]:
        events.append(jobs.happen(status))
        await jobs.send(events[-1])
    card, *replies = slack.posts
    assert [reply.thread_ts for reply in replies] == [card.ts] * 5
    assert [id_in(post.message) for post in slack.posts] == [event.id for event in events]
    assert {id_in(edit) for edit in card.edits} == {events[0].id}
    assert [post.pings for post in slack.posts] == [[], [], PINGS, [], [], []]
    assert "completed" in title(card)


@pytest.mark.parametrize(
    ("broadcast", "shown"),
    [
        ([], [False, False, False]),
        (["backfill.failed"], [False, True, False]),
        (["BACKFILL.Fail*", "*.completed"], [False, True, True]),
        (["*"], [True, True, True]),
        (["source.*", "target.down"], [False, False, False]),
    ],
)
async def test_replies_about_chosen_events_are_shown_in_the_channel_too(
    slack: CheckedSlack, follow: Follow, broadcast: list[str], shown: list[bool]
) -> None:
    jobs = follow(broadcast=broadcast)
    for status in ("staging", "transporting", "failed", "completed"):
        await jobs.tell(status)
    card, *replies = slack.posts
    assert [reply.broadcast for reply in replies] == shown
    assert "reply_broadcast" not in card.message
    assert {reply.thread_ts for reply in replies} == {card.ts}


async def test_an_event_that_changes_nothing_of_its_card_is_only_replied(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    event = jobs.happen("transporting")
    card = await jobs.edit()
    slack.calls.clear()
    assert await jobs.send(event) == Receipt()
    assert methods(slack) == ["chat.postMessage"]
    assert jobs.card() is card


async def test_an_event_that_is_over_already_posts_the_card_as_it_was(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    first = jobs.happen("staging", time_created=None)
    second = jobs.happen("transporting", minutes=5, time_created=None)
    receipt = await jobs.send(first)
    [post] = slack.posts
    assert "is staging" in title(post)
    assert "Phases" not in json.dumps(post.shown)
    assert (jobs.card().seq, jobs.card().event_id, jobs.card().job) == (1, first.id, "")
    assert receipt.card is not None

    jobs.now += timedelta(minutes=1)
    edited = await jobs.edit()
    assert (edited.seq, edited.edited_at) == (2, jobs.now)
    assert edited.job == snapshot_print(jobs.records["j1"].snapshot)
    assert "is transporting" in title(post)
    assert "staging 5m → transporting since" in json.dumps(post.shown, ensure_ascii=False)

    slack.calls.clear()
    await jobs.send(second)
    assert methods(slack) == ["chat.postMessage"]
    assert slack.posts[1].thread_ts == post.ts


async def test_a_reply_that_fails_is_an_event_that_is_not_told(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    event = jobs.happen("transporting")
    only_posts(slack, "fatal_error", too_many(), "invalid_auth")
    with pytest.raises(SendError) as unknown:
        await jobs.send(event)
    assert unknown.value.outcome_unknown
    with pytest.raises(SendError) as slowed:
        await jobs.send(event)
    assert not slowed.value.outcome_unknown
    with pytest.raises(SendError) as refused:
        await jobs.send(event)
    assert refused.value.credentials
    await jobs.send(event)
    assert [post.thread_ts for post in slack.posts] == [None, slack.posts[0].ts]
    assert "is transporting" in title(slack.posts[0])


async def test_an_event_without_its_payload_cannot_be_told(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    slack.calls.clear()
    event = msgspec.structs.replace(jobs.happen("transporting"), payload=msgspec.UNSET)
    with pytest.raises(SendError) as caught:
        await jobs.send(event)
    assert (caught.value.refused, caught.value.outcome_unknown) == ("message", False)
    assert slack.calls == []


# -------------------------------------------------------------------------------------------- places


async def test_where_a_name_leads_is_told_once(follow: Follow) -> None:
    jobs = follow()
    assert (await jobs.tell("staging")).place == Place(configured="#data-backfills", id="C0DATA")
    assert (await jobs.tell("transporting")).place is None
    assert (await jobs.tell("staging", "j2")).place is None


@pytest.mark.parametrize("style", ["card", "message"])
async def test_an_id_is_its_own_place(follow: Follow, style: str) -> None:
    jobs = follow(channel="C0DATA", style=style)
    assert (await jobs.tell("staging")).place is None


@pytest.mark.parametrize("style", ["card", "message"])
async def test_a_name_that_leads_elsewhere_is_told_again(
    slack: CheckedSlack, follow: Follow, style: str
) -> None:
    jobs = follow(style=style)
    jobs.place = Place(configured="#elsewhere", id="C0DATA")
    here = Place(configured="#data-backfills", id="C0DATA")
    assert (
        await jobs.send(sample_event("source.down", source="allium", event_id="e", now=NOW))
    ).place == here
    jobs.place = Place(configured="#data-backfills", id="C0ELSE")
    several = [job_event(listed(**job(f"j{number}"))) for number in range(3)]
    assert (await jobs.send(*several)).place == here
    jobs.place = None
    assert (await jobs.tell("staging")).place == here
    assert len(slack.posts) == 3


# --------------------------------------------------------------------------------- cards that are gone


async def followed_to_transporting(jobs: Followed, slack: CheckedSlack) -> Post:
    """Return the card of a job with a reply in its thread."""
    await jobs.tell("staging")
    await jobs.tell("transporting")
    return slack.posts[0]


def check_new_card(slack: CheckedSlack, jobs: Followed, old: Post, *, channel: str = "C0DATA") -> None:
    """Fail unless the last post is the job's new card, which mentions, and the old one was left alone."""
    new = slack.posts[-1]
    event = jobs.records["j1"].events[-1]
    assert (new.channel.id, new.thread_ts, new.pings) == (channel, None, PINGS)
    assert id_in(new.message) == event.id
    assert "completed" in title(new)
    assert "completed" not in title(old) or old.author != "app"
    card = jobs.card()
    assert (card.channel, card.ts, card.event_id, card.seq) == (channel, new.ts, event.id, 3)


@pytest.mark.parametrize("has_replies", [False, True])
async def test_a_card_that_a_person_deleted_is_posted_anew(
    slack: CheckedSlack, follow: Follow, has_replies: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier.targets.slack.cards")
    jobs = follow(mentions={"backfill.completed": MENTION}, channel="C0DATA")
    old = await followed_to_transporting(jobs, slack)
    slack.delete(old)
    if not has_replies:
        slack.delete(slack.posts[1])
    await jobs.tell("completed")
    [line] = [each.getMessage() for each in caplog.records]
    assert line.startswith("data-team: the card of job j1 can no longer be used: ")
    assert line.endswith("message_not_found; posting another")
    assert len(slack.posts) == 3
    check_new_card(slack, jobs, old)
    await jobs.tell("staging")
    assert slack.posts[-1].thread_ts == slack.posts[2].ts


async def test_in_a_workspace_without_edits_each_event_is_a_new_card(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    slack.edits_closed = True
    old = await followed_to_transporting(jobs, slack)
    await jobs.tell("completed")
    assert [post.thread_ts for post in slack.posts] == [None] * 3
    check_new_card(slack, jobs, old)


@pytest.mark.parametrize("code", ["message_not_found", "edit_window_closed", "cant_update_message"])
async def test_a_card_that_cannot_be_edited_any_more_is_posted_anew(
    slack: CheckedSlack, follow: Follow, code: str
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    old = await followed_to_transporting(jobs, slack)
    only_edits(slack, code)
    await jobs.tell("completed")
    check_new_card(slack, jobs, old)
    assert len(slack.posts) == 3


@pytest.mark.parametrize(
    "code", ["channel_not_found", "is_inactive", "is_archived", "not_in_channel", "internal_error"]
)
async def test_what_is_wrong_with_a_channel_is_for_the_reply_to_find_out(
    slack: CheckedSlack, follow: Follow, code: str
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    old = await followed_to_transporting(jobs, slack)
    only_edits(slack, code)
    await jobs.tell("completed")
    assert slack.posts[-1].thread_ts == old.ts
    assert jobs.card().ts == old.ts, "the app may be invited again"


async def test_an_edit_is_not_repeated_because_the_reply_failed(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await followed_to_transporting(jobs, slack)
    event = jobs.happen("completed")
    before = methods(slack).count("chat.update")
    only_posts(slack, "restricted_action")
    with pytest.raises(SendError) as caught:
        await jobs.send(event)
    assert caught.value.card is not None
    jobs.keep(caught.value.card)
    await jobs.send(event)
    assert methods(slack).count("chat.update") == before + 1


@pytest.mark.parametrize(
    "code",
    [
        *("thread_not_found", "cannot_reply_to_message", "message_not_found", "channel_not_found"),
        *("is_archived", "not_in_channel"),
        # admins close threads, and channels that may have none
        *("restricted_action_thread_locked", "thread_locked", "restricted_action_non_threadable_channel"),
    ],
)
async def test_when_a_thread_takes_no_reply_any_more_there_is_a_new_card(
    slack: CheckedSlack, follow: Follow, code: str
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    await followed_to_transporting(jobs, slack)
    only_posts(slack, code)
    await jobs.tell("completed")
    new = slack.posts[-1]
    assert (new.thread_ts, new.pings) == (None, PINGS)
    assert (jobs.card().ts, jobs.card().seq) == (new.ts, 3)


async def test_a_card_that_belongs_to_somebody_else_is_posted_anew(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    await followed_to_transporting(jobs, slack)
    theirs = slack.say(slack.channels[0], "what a person said")
    jobs.keep(msgspec.structs.replace(jobs.card(), ts=theirs.ts))
    await jobs.tell("completed")
    check_new_card(slack, jobs, theirs)
    assert theirs.shown == {"text": "what a person said"}


@pytest.fixture
async def moving(slack: CheckedSlack, follow: Follow) -> Moving:
    """Have a job followed in one channel and then, by another config, in the one that is given."""

    async def move(channel: str) -> tuple[Followed, Post]:
        jobs = follow(mentions={"backfill.completed": MENTION})
        old = await followed_to_transporting(jobs, slack)
        moved = follow(channel=channel, mentions={"backfill.completed": MENTION})
        moved.records, moved.now, moved.place = jobs.records, jobs.now, jobs.place
        slack.calls.clear()
        return moved, old

    return move


@pytest.mark.parametrize(
    ("channel", "id_", "named"),
    [("#private", "C0PRIVATE", "#private"), ("C0PRIVATE", "C0PRIVATE", "<#C0PRIVATE>")],
)
async def test_another_channel_in_the_config_means_new_cards_there_and_the_old_one_says_so(
    slack: CheckedSlack, moving: Moving, channel: str, id_: str, named: str
) -> None:
    moved, old = await moving(channel)
    edits = len(old.edits)
    receipt = await moved.tell("completed")
    assert methods(slack) == ["chat.postMessage", "chat.update"]
    new = slack.posts[-1]
    assert (new.channel.id, new.thread_ts, new.pings) == (id_, None, PINGS)
    card = moved.card()
    assert (card.configured, card.channel, card.ts, card.seq) == (channel, id_, new.ts, 3)
    assert receipt.place == (Place(configured=channel, id=id_) if channel[0] == "#" else None)

    assert len(old.edits) == edits + 1
    assert "completed" in title(old)
    assert MENTION not in json.dumps(old.shown)
    assert id_in(old.shown) == moved.records["j1"].events[0].id
    *_, note = old.shown["attachments"][-1]["blocks"]
    assert note["type"] == "context"
    assert note["elements"][0]["text"] == f"not kept up to date any more: this backfill goes on in {named}"
    assert "not kept up to date" not in json.dumps(new.shown)

    slack.calls.clear()
    await moved.tell("staging")
    assert slack.posts[-1].thread_ts == new.ts
    assert {arguments["channel"] for _, arguments in slack.calls} == {id_}, "that was the last edit"


async def test_a_card_in_a_channel_that_was_left_is_not_edited_when_nothing_may_be_edited_now(
    slack: CheckedSlack, moving: Moving
) -> None:
    moved, old = await moving("#private")
    moved.limits.edits.hold(time.monotonic() + 3600)
    await moved.tell("completed")
    assert methods(slack) == ["chat.postMessage"]
    assert (moved.card().channel, "completed" in title(old)) == ("C0PRIVATE", False)


@pytest.mark.parametrize(
    "answers",
    [
        ["message_not_found"],
        ["channel_not_found"],
        ["is_inactive"],
        ["fatal_error"],
        ["invalid_auth"],
        ["invalid_blocks", "msg_too_long"],
        ["ratelimited"],
    ],
    ids=lambda answers: answers[0],
)
async def test_a_card_that_was_left_and_cannot_be_edited_keeps_no_event_from_being_told(
    slack: CheckedSlack, moving: Moving, answers: list[str]
) -> None:
    moved, old = await moving("#private")
    only_edits(slack, *answers)
    receipt = await moved.tell("completed")
    assert receipt.card is not None
    assert (moved.card().channel, moved.card().ts) == ("C0PRIVATE", slack.posts[-1].ts)
    assert "completed" not in title(old)
    assert len(slack.posts) == 3


async def test_a_new_card_that_fails_leaves_the_one_in_the_other_channel_as_it_is(
    slack: CheckedSlack, moving: Moving
) -> None:
    moved, old = await moving("#private")
    only_posts(slack, "fatal_error")
    with pytest.raises(SendError):
        await moved.tell("completed")
    assert methods(slack) == ["chat.postMessage"]
    assert moved.card().ts == old.ts


async def test_a_channel_that_was_replaced_gets_the_job_s_new_card(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    old = await followed_to_transporting(jobs, slack)
    old.channel.is_archived, old.channel.name = True, "data-backfills-old"
    slack.channels.append(Channel(id="C0NEW", name="data-backfills"))
    receipt = await jobs.tell("completed")
    check_new_card(slack, jobs, old, channel="C0NEW")
    assert receipt.place == Place(configured="#data-backfills", id="C0NEW")


async def test_in_an_archived_channel_an_event_is_refused_with_all_that_goes_there(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    old = await followed_to_transporting(jobs, slack)
    old.channel.is_archived = True
    with pytest.raises(SendError) as caught:
        await jobs.tell("completed")
    assert (caught.value.code, caught.value.refused) == ("is_archived", "endpoint")
    assert len(slack.posts) == 2


async def test_a_card_goes_on_in_a_channel_that_was_renamed(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    old = await followed_to_transporting(jobs, slack)
    old.channel.name = "renamed"
    await jobs.tell("completed")
    assert slack.posts[-1].thread_ts == old.ts
    assert "completed" in title(old)
    with pytest.raises(SendError) as caught:
        await jobs.tell("staging", "j2")
    assert (caught.value.code, caught.value.refused) == ("channel_not_found", "endpoint")


async def test_who_was_put_out_of_the_channel_goes_on_in_the_thread_when_invited_again(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    old = await followed_to_transporting(jobs, slack)
    event = jobs.happen("completed")
    old.channel.is_member = False
    with pytest.raises(SendError) as caught:
        await jobs.send(event)
    assert (caught.value.code, caught.value.refused) == ("not_in_channel", None)
    old.channel.is_member = True
    await jobs.send(event)
    assert [post.thread_ts for post in slack.posts] == [None, old.ts, old.ts]


async def test_a_reply_to_a_card_that_nobody_knows_is_gone_stands_in_the_channel(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(mentions={"backfill.completed": MENTION})
    await jobs.tell("staging")
    slack.delete(slack.posts[0])
    jobs.limits.edits.hold(time.monotonic() + 3600)
    await jobs.tell("completed")
    reply = slack.posts[1]
    assert (reply.thread_ts, reply.pings) == (None, PINGS)
    with pytest.raises(CardLostError):
        await jobs.edit()


async def test_a_new_card_that_fails_is_an_event_that_is_not_told(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(mentions={"*": MENTION})
    old = await followed_to_transporting(jobs, slack)
    slack.delete(old)
    event = jobs.happen("completed")
    slack.losing = lambda method, _: method == "chat.postMessage" and len(slack.posts) == 3
    with pytest.raises(SendError) as caught:
        await jobs.send(event)
    assert caught.value.outcome_unknown
    assert jobs.card().ts == old.ts


# ----------------------------------------------------------------------- edits that have to wait


async def test_an_event_does_not_wait_for_an_edit_that_may_not_be_made_yet(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    slack.calls.clear()
    jobs.limits.edits.hold(time.monotonic() + 3600)
    assert await jobs.tell("transporting") == Receipt()
    assert methods(slack) == ["chat.postMessage"]
    assert slack.posts[1].thread_ts == slack.posts[0].ts
    assert jobs.card().seq == 1


async def test_so_many_edits_at_once_and_no_more(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    before = time.monotonic()
    for number in range(12):
        await jobs.tell(f"status {number}")
    regained = (time.monotonic() - before) / 60 * 40
    assert 10 <= methods(slack).count("chat.update") <= 10 + regained
    assert len(slack.posts) == 13
    assert jobs.target.cards is not None
    assert jobs.target.cards.allowance is jobs.limits.edits
    assert jobs.target.cards.spare == LEFT_FOR_EVENTS


async def test_when_slack_wants_fewer_edits_all_targets_of_the_token_make_none(
    slack: CheckedSlack, follow: Follow
) -> None:
    one = follow()
    other = follow(name="other", channel="#private", limits=one.limits)
    for jobs in (one, other):
        await jobs.tell("staging")
    only_edits(slack, too_many(**{"Retry-After": "3600"}))
    await one.tell("transporting")
    slack.calls.clear()
    await other.tell("transporting")
    assert methods(slack) == ["chat.postMessage"]


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (lambda: too_many(**{"Retry-After": "77"}), 77),
        (too_many, 30),
        # as Slack's older methods say it
        (lambda: web.json_response({"ok": False, "error": "ratelimited"}, headers={"Retry-After": "9"}), 9),
    ],
    ids=["429", "429 without a time", "200"],
)
async def test_when_slack_wants_fewer_edits_the_reply_goes_and_further_edits_are_held(
    slack: CheckedSlack, follow: Follow, answer: Callable[[], web.Response], seconds: int
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    only_edits(slack, answer())
    before = time.monotonic()
    assert await jobs.tell("transporting") == Receipt()
    assert before + seconds <= jobs.limits.edits.next_at() <= time.monotonic() + seconds
    assert [post.thread_ts for post in slack.posts] == [None, slack.posts[0].ts]
    slack.calls.clear()
    await jobs.tell("completed")
    assert methods(slack) == ["chat.postMessage"]
    assert "is staging" in title(slack.posts[0])


async def test_when_every_edit_is_refused_every_event_is_told(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(mentions={"backfill.failed": MENTION})
    only_edits(slack, *(too_many(**{"Retry-After": "0"}) for _ in range(30)))
    for _ in range(12):
        for status in ("staging", "failed"):
            await jobs.tell(status)
    card, *replies = slack.posts
    assert len(replies) == 23
    assert {reply.thread_ts for reply in replies} == {card.ts}
    assert sum(post.pings == PINGS for post in slack.posts) == 12
    assert card.edits == []


@pytest.mark.parametrize(
    "answer",
    [
        "fatal_error",
        "internal_error",
        "update_failed",
        "service_unavailable",
        lambda: web.Response(status=500),
        lambda: web.Response(text="<html>"),
    ],
)
async def test_an_edit_that_fails_does_not_hold_back_the_reply(
    slack: CheckedSlack, follow: Follow, answer: Any
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    card = jobs.card()
    only_edits(slack, answer() if callable(answer) else answer)
    assert await jobs.tell("transporting") == Receipt()
    assert slack.posts[1].thread_ts == slack.posts[0].ts
    assert jobs.card() is card
    assert (await jobs.edit()).seq == 2
    assert "is transporting" in title(slack.posts[0])


async def test_an_edit_whose_answer_is_lost_does_not_hold_back_the_reply(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    slack.losing = lambda method, _: method == "chat.update"
    await jobs.tell("staging")
    assert await jobs.tell("transporting") == Receipt()
    assert slack.posts[1].thread_ts == slack.posts[0].ts


# ------------------------------------------------------------------------------------ edits by themselves


async def test_a_card_is_edited_when_its_job_moves_on(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("transporting", chunks_left=900)
    jobs.observe(status="transporting", chunks_left=800)
    before = jobs.card()
    card = await jobs.edit()
    [post] = slack.posts
    assert "200 of 1,000 chunks" in json.dumps(post.shown)
    assert (card.ts, card.seq, card.event_id) == (before.ts, 1, before.event_id)
    assert card.shown != before.shown
    assert before.job != card.job == snapshot_print(jobs.records["j1"].snapshot)
    assert card.edited_at == jobs.now
    assert methods(slack) == ["chat.postMessage", "chat.update"]
    assert len(post.edits) == 1


async def test_a_card_that_shows_its_job_as_it_is_is_not_edited(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("transporting")
    slack.calls.clear()
    jobs.observe(status="transporting", something_new=1)
    card = jobs.card()
    assert await jobs.edit() is card
    # an event that changes nothing one could see
    record = jobs.records["j1"]
    jobs.records["j1"] = msgspec.structs.replace(record, seq=record.seq + 1)
    edited = await jobs.edit()
    assert (edited.seq, edited.shown) == (card.seq + 1, card.shown)
    assert await jobs.edit() is edited
    assert slack.calls == []


async def test_a_pace_of_long_ago_is_taken_off_a_card(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("transporting", chunks_left=900)
    jobs.observe(status="transporting", chunks_left=800)
    await jobs.edit()
    [post] = slack.posts
    assert "100 chunks a minute" in json.dumps(post.shown)
    card = jobs.card()
    jobs.now += timedelta(minutes=9)
    assert await jobs.edit() is card
    jobs.now += timedelta(minutes=2)
    assert await jobs.edit() is not card
    assert "a minute" not in json.dumps(post.shown)
    assert len(post.edits) == 2


async def test_a_card_of_which_nobody_knows_what_it_shows_is_edited(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.keep(msgspec.structs.replace(jobs.card(), shown="", seq=0))
    assert (await jobs.edit()).seq == 1
    assert methods(slack) == ["chat.postMessage", "chat.update"]


async def test_an_edit_of_a_card_that_is_gone_says_so(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("transporting")
    slack.delete(slack.posts[0])
    with pytest.raises(CardLostError, match="message_not_found"):
        await jobs.edit()
    slack.posts[0].deleted = False
    assert (await jobs.edit()).seq == 2


@pytest.mark.parametrize(
    ("answer", "unknown", "wait"),
    [
        ("fatal_error", True, None),
        (lambda: web.Response(status=503, headers={"Retry-After": "7"}), True, timedelta(seconds=7)),
        (lambda: too_many(**{"Retry-After": "7"}), False, timedelta(seconds=7)),
        ("invalid_auth", False, None),
    ],
)
async def test_an_edit_that_fails_may_succeed_later(
    slack: CheckedSlack, follow: Follow, answer: Any, unknown: bool, wait: timedelta | None
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("transporting")
    only_edits(slack, answer() if callable(answer) else answer)
    with pytest.raises(SendError) as caught:
        await jobs.edit()
    error = caught.value
    assert (error.refused, error.outcome_unknown, error.retry_after) == (None, unknown, wait)
    assert (await jobs.edit()).seq == 2
    assert "is transporting" in title(slack.posts[0])


async def test_how_often_cards_are_refreshed_is_what_the_config_says(follow: Follow) -> None:
    for settings, seconds in (({}, 30), ({"card_refresh": "2m"}, 120)):
        cards = follow(**settings).target.cards
        assert cards is not None
        assert cards.refresh == timedelta(seconds=seconds)


# ---------------------------------------------------------------------------------- two at one time


class Held:
    """An answer that does not come before it is let go."""

    def __init__(self, answer: web.Response) -> None:
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()
        self._answer = answer

    async def __call__(self, _: web.Request) -> web.Response:
        self.asked.set()
        await self.let_go.wait()
        return self._answer


def ok() -> Held:
    return Held(web.json_response({"ok": True}))


async def test_a_card_that_is_being_edited_is_not_edited_by_another(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("transporting")
    held, card = ok(), jobs.card()
    only_edits(slack, held)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(jobs.edit())
        await held.asked.wait()
        assert await jobs.edit() is card
        assert methods(slack) == ["chat.postMessage", "chat.update"]
        held.let_go.set()
    assert first.result().seq == 2
    jobs.happen("completed")
    assert (await jobs.edit()).seq == 3
    assert "completed" in title(slack.posts[0])


@pytest.mark.parametrize("answer", [lambda: web.Response(status=500), too_many])
async def test_after_an_edit_that_failed_the_card_can_be_edited_again(
    slack: CheckedSlack, follow: Follow, answer: Callable[[], web.Response]
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("transporting")
    only_edits(slack, answer())
    with pytest.raises(SendError):
        await jobs.edit()
    assert (await jobs.edit()).seq == 2


async def test_an_edit_that_is_broken_off_leaves_the_card_free(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("transporting")
    held = ok()
    only_edits(slack, held)
    task = asyncio.create_task(jobs.edit())
    async with asyncio.timeout(10):
        await held.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await jobs.edit()).seq == 2


async def test_an_event_does_not_wait_for_an_edit_under_way(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    event = jobs.happen("transporting")
    held = ok()
    only_edits(slack, held)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(jobs.edit())
        await held.asked.wait()
        assert await jobs.send(event) == Receipt()
        assert methods(slack) == ["chat.postMessage", "chat.update", "chat.postMessage"]
        held.let_go.set()
    assert slack.posts[1].thread_ts == slack.posts[0].ts


async def test_cards_of_two_jobs_are_edited_side_by_side(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    for job_id in ("j1", "j2"):
        await jobs.tell("staging", job_id)
        jobs.happen("transporting", job_id)
    held = ok()
    only_edits(slack, held)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(jobs.edit("j1"))
        await held.asked.wait()
        assert (await jobs.edit("j2")).seq == 2
        held.let_go.set()
    assert "is transporting" in title(slack.posts[1])


# --------------------------------------------------------------------------- what Slack will not take


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long", "invalid_attachments"])
async def test_a_card_that_is_refused_is_posted_as_plain_text(
    slack: CheckedSlack, follow: Follow, code: str
) -> None:
    jobs = follow(mentions={"*": MENTION})
    only_posts(slack, code)
    receipt = await jobs.tell("failed", error_message="out of memory")
    [(_, first), (_, second)] = slack.calls
    assert second.keys() == first.keys() - {"blocks", "attachments"}
    assert second["text"].startswith(first["text"])
    assert "```out of memory```" in second["text"]
    [post] = slack.posts
    assert post.pings == PINGS
    card = jobs.card()
    assert (receipt.card, card.ts, card.seq) == (card, post.ts, 1)
    # What is refused once is not tried again and again, but for what is new.
    assert await jobs.edit() is card
    await jobs.tell("staging")
    assert post.shown["blocks"]


async def test_a_reply_that_is_refused_is_posted_as_plain_text(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(mentions={"*": MENTION}, broadcast=["*"])
    await jobs.tell("staging")
    only_posts(slack, "invalid_blocks")
    await jobs.tell("failed", error_message="out of memory")
    (_, first), (_, second) = slack.calls[-2:]
    assert second.keys() == first.keys() - {"blocks", "attachments"}
    assert "```out of memory```" in second["text"]
    card, reply = slack.posts
    assert (reply.thread_ts, reply.broadcast, reply.pings) == (card.ts, True, PINGS)


async def test_an_edit_that_is_refused_is_made_as_plain_text(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("failed", error_message="out of memory")
    only_edits(slack, "invalid_blocks")
    card = await jobs.edit()
    (_, first), (_, second) = slack.calls[-2:]
    assert first.keys() == second.keys() == {"channel", "ts", *CONTENT}
    assert (second["blocks"], second["attachments"]) == ([], [])
    assert (second["channel"], second["ts"], second["metadata"]) == ("C0DATA", card.ts, first["metadata"])
    [post] = slack.posts
    assert post.shown.keys() == {"channel", "text", "metadata", "unfurl_links", "unfurl_media"}
    assert "```out of memory```" in post.shown["text"]
    assert await jobs.edit() is card
    jobs.happen("staging")
    await jobs.edit()
    assert post.shown["blocks"]


async def test_a_card_that_is_refused_as_plain_text_too_is_a_refused_message(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    only_posts(slack, "invalid_blocks", "msg_too_long")
    with pytest.raises(SendError) as caught:
        await jobs.tell("staging")
    assert caught.value.reason.endswith(", also as plain text")
    assert (caught.value.refused, caught.value.outcome_unknown) == ("message", False)


async def test_an_edit_that_is_refused_as_plain_text_too_does_not_hold_back_the_reply(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    only_edits(slack, "invalid_blocks", "msg_too_long")
    await jobs.tell("transporting")
    assert slack.posts[1].thread_ts == slack.posts[0].ts


async def test_an_edit_that_is_refused_for_good_is_logged_and_waits_for_the_job_to_change(
    slack: CheckedSlack, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    jobs.happen("failed")
    only_edits(slack, "invalid_blocks", "msg_too_long")
    card = await jobs.edit()
    assert (card.seq, card.job) == (2, snapshot_print(jobs.records["j1"].snapshot))
    [line] = [each.getMessage() for each in caplog.records]
    assert line.startswith("data-team: the card of job j1 was not edited: ")
    assert line.endswith(", also as plain text")
    slack.calls.clear()
    assert await jobs.edit() is card
    assert slack.calls == []
    jobs.happen("staging")
    await jobs.edit()
    assert "is staging" in title(slack.posts[0])


@pytest.mark.parametrize("code", ["metadata_must_be_sent_from_app", "invalid_metadata_format"])
async def test_what_is_refused_for_its_metadata_is_posted_and_edited_without(
    slack: CheckedSlack, follow: Follow, code: str
) -> None:
    jobs = follow()
    only_posts(slack, code)
    await jobs.tell("staging")
    jobs.happen("transporting")
    only_edits(slack, code)
    await jobs.edit()
    assert [("metadata" in arguments) for _, arguments in slack.calls] == [True, False, True, False]
    assert "is transporting" in title(slack.posts[0])


# --------------------------------------------------------------------------------- what is no card


async def test_several_events_are_one_digest_and_no_card(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(mentions={"backfill.staging": MENTION})
    events = [jobs.happen("staging", f"j{number}") for number in range(12)]
    receipt = await jobs.send(*events)
    assert receipt.card is None
    [post] = slack.posts
    assert post.message["text"].startswith("📦 12 events of allium: 12 staging")
    assert post.pings == PINGS
    message = follow(style="message", mentions={"backfill.staging": MENTION})
    await message.send(*events)
    assert slack.posts[1].message == post.message
    # The next event of such a job is its card's first.
    await jobs.tell("transporting", "j3")
    assert [each.thread_ts for each in slack.posts] == [None] * 3
    assert jobs.card("j3").seq == 2


async def test_several_events_of_a_job_with_a_card_leave_it_alone(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    events = [jobs.happen(status) for status in ("transporting", "completed")]
    receipt = await jobs.send(*events)
    assert receipt.card is None
    assert [(post.thread_ts, len(post.edits)) for post in slack.posts] == [(None, 0), (None, 0)]
    assert (await jobs.edit()).seq == 3


@pytest.mark.parametrize("type_", ["source.down", "source.up", "target.down", "delivery.dead"])
async def test_what_is_not_about_a_job_is_a_plain_message(
    slack: CheckedSlack, follow: Follow, type_: str
) -> None:
    event = sample_event(type_, source="allium", event_id="evt_1", now=NOW)
    receipt = await follow(mentions={"*": MENTION}).send(event)
    await follow(mentions={"*": MENTION}, style="message").send(event)
    assert receipt == Receipt(place=Place(configured="#data-backfills", id="C0DATA"))
    one, other = slack.posts
    assert one.message == other.message
    assert one.pings == PINGS


async def test_in_the_style_message_there_are_no_cards(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(style="message")
    assert jobs.target.cards is None
    for status in ("staging", "transporting", "failed"):
        assert (await jobs.tell(status)).card is None
    assert methods(slack) == ["chat.postMessage"] * 3
    assert [post.thread_ts for post in slack.posts] == [None] * 3


# -------------------------------------------------------------------------------- samples and previews


@pytest.mark.parametrize(
    "type_",
    ["backfill.staging", "backfill.failed", "backfill.progress", "backfill.paused", "source.down"],
)
async def test_a_preview_is_what_is_sent_of_a_sample(slack: CheckedSlack, follow: Follow, type_: str) -> None:
    jobs = follow(mentions={"*": MENTION})
    event = sample_event(type_, source="allium", event_id="evt_1", now=NOW)
    preview = jobs.target.preview(event)
    assert slack.calls == []
    assert preview.request == f"POST {slack.url}/api/chat.postMessage"
    assert preview.headers["Authorization"] == "Bearer REDACTED"
    receipt = await jobs.send(event, job_id="no such job")
    [(_, arguments)] = slack.calls
    assert json.loads(preview.body) == arguments
    [post] = slack.posts
    assert (post.pings, post.thread_ts) == (PINGS, None)
    assert "Test: " in title(post)
    assert (receipt.card is not None) == type_.startswith("backfill.")


async def test_each_sample_is_a_card_of_its_own(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    for type_ in ("backfill.staging", "backfill.failed"):
        event = sample_event(type_, source="allium", event_id=type_, now=NOW)
        await jobs.send(event, job_id="no such job")
    assert methods(slack) == ["chat.postMessage"] * 2
    assert [post.thread_ts for post in slack.posts] == [None, None]


async def test_a_preview_of_what_is_no_longer_stored_cannot_be_made(follow: Follow) -> None:
    event = sample_event("backfill.failed", source="allium", event_id="evt_1", now=NOW)
    with pytest.raises(SendError):
        follow().target.preview(msgspec.structs.replace(event, payload=msgspec.UNSET))


@pytest.mark.parametrize(("channel", "is_lost"), [("#elsewhere", True), ("#data-backfills", False)])
async def test_a_card_in_a_channel_that_was_left_is_let_go_when_it_cannot_be_edited(
    slack: CheckedSlack, follow: Follow, channel: str, *, is_lost: bool
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    later = follow(channel=channel)
    later.records, later.now = jobs.records, jobs.now
    later.observe(status="transporting", chunks_left=12)
    only_edits(slack, "is_inactive")
    with pytest.raises(CardLostError if is_lost else SendError):
        await later.edit()
