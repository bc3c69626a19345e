import itertools
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier.demo.slack import Channel, Post
from notifier.model import Event, Place, utc_now
from notifier.outbox import batch_id
from notifier.sample import sample_event
from notifier.sending import Receipt, SendError
from notifier.targets.slack.past import metadata
from notifier.targets.slack.refusal import _UNREADABLE
from tests.followed import Followed, methods, too_many
from tests.servers import job
from tests.slack import NOW, CheckedSlack, job_event, listed
from tests.wire import closed_port

UNTOLD = "whether an earlier attempt arrived cannot be told: "
LOOKS = ("conversations.history", "conversations.replies", "conversations.list", "auth.test")

Follow = Callable[..., Followed]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def follow(slack: CheckedSlack, session: aiohttp.ClientSession) -> Follow:
    """Make a target whose token may read public channels, and jobs to tell it of."""
    slack.scopes |= {"channels:history"}
    return partial(Followed, slack, session, channel="C0DATA")


def ids(posts: list[Post]) -> list[str]:
    return [post.message["metadata"]["event_payload"]["event_id"] for post in posts]


def several(number: int = 0) -> list[Event]:
    """Return events that go together, others for each number."""
    return [job_event(listed(**job(f"j{number}-{place}", "failed"))) for place in range(11)]


def source_down() -> Event:
    return sample_event("source.down", source="allium", event_id="evt_1", now=NOW)


async def lost(jobs: Followed, slack: CheckedSlack, *events: Event) -> datetime:
    """Send what arrives and of which the answer is lost; return since when that is in doubt."""
    since = utc_now()
    slack.losing = lambda method, _: method == "chat.postMessage"
    with pytest.raises(SendError) as caught:
        await jobs.send(*events)
    assert caught.value.outcome_unknown
    slack.losing = lambda _method, _arguments: False
    slack.calls.clear()
    return since


async def untold(jobs: Followed, *events: Event, since: datetime) -> SendError:
    """Return the error of an attempt that must not send as it cannot look."""
    with pytest.raises(SendError) as caught:
        await jobs.send(*events, in_doubt_since=since)
    error = caught.value
    assert error.reason.startswith(UNTOLD)
    assert (error.outcome_unknown, error.refused, error.retry_after) == (True, None, None)
    return error


async def deliver(jobs: Followed, *events: Event, job_id: str = "j1") -> tuple[Receipt, int]:
    """Send until it has arrived, as a dispatcher does; return the receipt and the number of attempts."""
    since: datetime | None = None
    for attempt in range(1, 10):
        started = utc_now()
        try:
            return await jobs.send(*events, job_id=job_id, in_doubt_since=since), attempt
        except SendError as error:
            if error.outcome_unknown:
                since = since or started
    raise AssertionError("it was never told that it has arrived")


# --------------------------------------------------------------------------------- what is found


async def test_a_first_card_whose_answer_was_lost_is_found_and_adopted(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    receipt = await jobs.send(event, in_doubt_since=await lost(jobs, slack, event))
    assert methods(slack) == ["conversations.history"]
    [post] = slack.posts
    assert (receipt.was_there, receipt.place) == (True, None)
    card = jobs.card()
    assert (card.configured, card.channel, card.ts, card.event_id) == ("C0DATA", "C0DATA", post.ts, event.id)
    assert (card.seq, card.shown, card.edited_at) == (0, "", jobs.now)

    assert (await jobs.edit()).seq == 1
    assert [edit["ts"] for edit in post.edits] == [post.ts]
    await jobs.tell("transporting")
    assert [each.thread_ts for each in slack.posts] == [None, post.ts]


async def test_a_reply_whose_answer_was_lost_is_found_in_the_thread(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    event = jobs.happen("transporting")
    since = await lost(jobs, slack, event)
    assert await jobs.send(event, in_doubt_since=since) == Receipt(was_there=True)
    [(method, arguments)] = slack.calls
    assert method == "conversations.replies"
    assert (arguments["channel"], arguments["ts"]) == ("C0DATA", slack.posts[0].ts)
    assert len(slack.posts) == 2


@pytest.mark.parametrize("style", ["card", "message"])
async def test_what_is_no_reply_is_found_in_the_channel(
    slack: CheckedSlack, follow: Follow, style: str
) -> None:
    jobs = follow(style=style)
    for events in ([source_down()], several(), several(1)[:2]):
        since = await lost(jobs, slack, *events)
        assert await jobs.send(*events, in_doubt_since=since) == Receipt(was_there=True)
        assert methods(slack) == ["conversations.history"]
    assert ids(slack.posts)[1] == batch_id([event.id for event in several()])
    assert len(slack.posts) == 3


async def test_a_message_whose_answer_was_lost_is_found(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(style="message")
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    assert await jobs.send(event, in_doubt_since=since) == Receipt(was_there=True)
    assert len(slack.posts) == 1


async def test_a_message_of_the_other_style_is_found_and_becomes_the_card(
    slack: CheckedSlack, follow: Follow
) -> None:
    before = follow(style="message")
    event = before.happen("staging")
    since = await lost(before, slack, event)
    jobs = follow()
    jobs.records, jobs.now = before.records, before.now
    receipt = await jobs.send(event, in_doubt_since=since)
    assert receipt.was_there
    await jobs.edit()
    await jobs.tell("transporting")
    assert [post.thread_ts for post in slack.posts] == [None, slack.posts[0].ts]
    assert len(slack.posts[0].edits) == 2


async def test_the_new_card_of_a_job_whose_card_is_gone_is_found(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    slack.delete(slack.posts[0])
    event = jobs.happen("transporting")
    since = await lost(jobs, slack, event)
    receipt = await jobs.send(event, in_doubt_since=since)
    assert receipt.was_there
    assert methods(slack) == ["conversations.replies", "conversations.history"]
    assert (jobs.card().ts, jobs.card().event_id) == (slack.posts[1].ts, event.id)
    assert len(slack.posts) == 2


async def test_a_reply_is_found_also_when_its_card_was_deleted_since(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    event = jobs.happen("transporting")
    since = await lost(jobs, slack, event)
    slack.delete(slack.posts[0])
    assert await jobs.send(event, in_doubt_since=since) == Receipt(was_there=True)
    await jobs.tell("completed")
    assert [post.thread_ts for post in slack.posts] == [None, slack.posts[0].ts, None]


async def test_a_reply_that_became_a_message_of_the_channel_is_found(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    await jobs.tell("staging")
    event = jobs.happen("transporting")
    await jobs.edit()
    slack.delete(slack.posts[0])  # and nobody has noticed: what follows finds no thread
    since = await lost(jobs, slack, event)
    assert slack.posts[1].thread_ts is None
    receipt = await jobs.send(event, in_doubt_since=since)
    assert receipt.was_there
    assert jobs.card().ts == slack.posts[1].ts
    assert (await jobs.edit()).seq == 2
    assert len(slack.posts) == 2


async def test_in_another_channel_of_the_config_only_that_one_is_looked_into(
    slack: CheckedSlack, follow: Follow
) -> None:
    slack.scopes |= {"groups:history"}
    jobs = follow()
    await jobs.tell("staging")
    moved = follow(channel="C0PRIVATE")
    moved.records, moved.now = jobs.records, jobs.now
    event = moved.happen("transporting")
    since = await lost(moved, slack, event)
    assert (await moved.send(event, in_doubt_since=since)).was_there
    [(method, arguments)] = slack.calls
    assert (method, arguments["channel"]) == ("conversations.history", "C0PRIVATE")
    assert (moved.card().channel, moved.card().ts) == ("C0PRIVATE", slack.posts[1].ts)


async def test_what_was_certainly_not_sent_is_not_looked_for(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    await jobs.tell("transporting")
    await jobs.send(*several())
    assert not set(methods(slack)) & set(LOOKS)


async def test_what_is_not_there_is_posted(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    since = utc_now()
    assert not (await jobs.send(jobs.happen("staging"), in_doubt_since=since)).was_there
    receipt = await jobs.send(jobs.happen("transporting"), in_doubt_since=since)
    assert (receipt.was_there, jobs.card().seq) == (False, 2)
    await jobs.send(*several(), in_doubt_since=since)
    assert [post.thread_ts for post in slack.posts] == [None, slack.posts[0].ts, None]
    assert methods(slack) == [
        *("conversations.history", "chat.postMessage"),
        *("conversations.replies", "conversations.history", "chat.update", "chat.postMessage"),
        *("conversations.history", "chat.postMessage"),
    ]


async def test_what_a_person_deleted_is_posted_again(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    slack.delete(slack.posts[0])
    assert not (await jobs.send(event, in_doubt_since=since)).was_there
    assert len(slack.posts) == 2


@pytest.mark.parametrize(("minutes", "pages"), [(59, 3), (61, 1)])
async def test_nobody_looks_further_back_than_to_an_hour_before_the_attempt_but_for_a_page(
    slack: CheckedSlack, follow: Follow, minutes: int, pages: int
) -> None:
    """The clocks may be an hour apart."""
    jobs = follow(style="message")
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    for number in range(450):
        slack.say(slack.channels[0], f"{number}")
    jobs.now = since + timedelta(days=1)
    receipt = await jobs.send(event, in_doubt_since=since + timedelta(minutes=minutes))
    assert receipt.was_there == (pages == 3)
    assert methods(slack).count("conversations.history") == pages


@pytest.mark.parametrize(
    ("now", "until", "latest"),
    [
        (0, None, None),
        (100, None, None),
        (100, 2, 3),
        (3.01, 2, 3),
        (2.99, 2, None),  # it may still arrive
        (-5, None, None),  # the clock was set back since
        (-5, 2, None),
    ],
)
@pytest.mark.parametrize("has_card", [False, True])
async def test_nobody_looks_at_what_was_posted_more_than_an_hour_after_the_attempt(
    slack: CheckedSlack,
    follow: Follow,
    *,
    has_card: bool,
    now: float,
    until: float | None,
    latest: float | None,
) -> None:
    def at(hours: float) -> datetime:
        return NOW + timedelta(hours=hours)

    jobs = follow()
    if has_card:
        await jobs.tell("staging")
    event = jobs.happen("transporting")
    slack.calls.clear()
    jobs.now = at(now)
    end = None if until is None else at(until)
    await jobs.send(event, in_doubt_since=NOW, in_doubt_until=end)
    assert len([method for method in methods(slack) if method in LOOKS]) == 1 + has_card
    [arguments] = [arguments for method, arguments in slack.calls if method == "conversations.history"]
    assert ("latest" in arguments) == (latest is not None)
    if latest is not None:
        assert float(arguments["latest"]) == at(latest).timestamp()


# -------------------------------------------------------------------------- half of the answers lost


def every_second(slack: CheckedSlack) -> None:
    """Lose the answer to every second post, the first one included."""
    posts = itertools.count()
    slack.losing = lambda method, _: method == "chat.postMessage" and next(posts) % 2 == 0


@pytest.mark.parametrize("style", ["card", "message"])
async def test_of_a_hundred_events_of_which_half_the_answers_are_lost_none_is_posted_twice(
    slack: CheckedSlack, follow: Follow, style: str
) -> None:
    jobs = follow(style=style)
    every_second(slack)
    events, attempts = [], 0
    for number in range(20):
        for status in ("staging", "transporting", "failed", "staging", "completed"):
            events.append(jobs.happen(status, f"j{number}"))
            _, tried = await deliver(jobs, events[-1], job_id=f"j{number}")
            attempts += tried
    assert ids(slack.posts) == [event.id for event in events]
    assert attempts == 150
    tops = [post for post in slack.posts if post.thread_ts is None]
    assert len(tops) == (20 if style == "card" else 100)
    for number in range(20 if style == "card" else 0):
        card, *replies = slack.posts[5 * number : 5 * number + 5]
        assert {reply.thread_ts for reply in replies} == {card.ts}
        assert (await jobs.edit(f"j{number}")).seq == 5


async def test_of_a_hundred_digests_of_which_half_the_answers_are_lost_none_is_posted_twice(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    every_second(slack)
    digests = [several(number)[:2] for number in range(100)]
    attempts = sum([(await deliver(jobs, *events))[1] for events in digests])
    assert ids(slack.posts) == [batch_id([event.id for event in events]) for events in digests]
    assert attempts == 150


async def test_when_the_answers_of_looks_are_lost_too_nothing_is_posted_twice(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    calls = itertools.count()
    slack.losing = lambda _method, _arguments: next(calls) % 3 < 2
    events = [jobs.happen(status) for status in ("staging",)]
    await deliver(jobs, events[0])
    for status in ("transporting", "failed", "staging", "transporting", "completed"):
        events.append(jobs.happen(status))
        await deliver(jobs, events[-1])
    assert ids(slack.posts) == [event.id for event in events]


# --------------------------------------------------------------------------- what is not taken for ours


@pytest.mark.parametrize("style", ["card", "message"])
async def test_what_others_say_is_not_taken_for_ours(slack: CheckedSlack, follow: Follow, style: str) -> None:
    jobs = follow(style=style)
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    posted = slack.posts[0].message
    slack.delete(slack.posts[0])
    for theirs in (
        None,
        {},
        {"event_type": "another_app", "event_payload": {"event_id": event.id}},
        {"event_type": "backfill_notifier_event", "event_payload": {"event_id": "evt_another"}},
        {"event_type": "backfill_notifier_event", "event_payload": {"id": event.id}},
        {"event_type": "backfill_notifier_event", "event_payload": {}},
        {"event_type": "backfill_notifier_event", "event_payload": {"event_id": [event.id]}},
        {"event_type": "backfill_notifier_event", "event_payload": [event.id]},
        {"event_type": "backfill_notifier_event", "event_payload": event.id},
        {"event_type": "backfill_notifier_event"},
        {"event_type": "other", "event_id": event.id},
    ):
        said = {key: posted[key] for key in ("blocks", "attachments")} | {"metadata": theirs}
        slack.say(slack.channels[0], posted["text"], **said)
    assert not (await jobs.send(event, in_doubt_since=since)).was_there
    assert methods(slack)[-1] == "chat.postMessage"
    assert len(slack.posts) == 2


async def test_the_card_itself_is_not_taken_for_a_reply(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    await jobs.send(event)
    # A card is known by the event that it was posted for, whatever happened since.
    second = jobs.happen("transporting")
    assert not (await jobs.send(second, in_doubt_since=utc_now())).was_there
    assert ids(slack.posts) == [event.id, second.id]


@pytest.mark.parametrize(
    "answer",
    [
        {"messages": None},
        {"messages": {}},
        {"messages": [None, 1, "x", [], {}, {"metadata": None}, {"metadata": []}, {"ts": "1.2"}]},
        {"messages": [], "response_metadata": None},
        {"messages": [], "response_metadata": {"next_cursor": None}},
        {"messages": [], "response_metadata": ["next_cursor"]},
        {},
    ],
)
async def test_an_answer_of_an_odd_shape_holds_nothing_of_ours(
    slack: CheckedSlack, follow: Follow, answer: dict[str, Any]
) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    slack.script = [web.json_response({"ok": True} | answer)]
    slack.unscripted = {"chat.postMessage"}
    assert not (await jobs.send(event, in_doubt_since=utc_now())).was_there
    assert len(slack.posts) == 1


# ------------------------------------------------------------------------------------------- pages


async def test_a_message_is_found_behind_what_was_said_since(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    for number in range(450):
        slack.say(slack.channels[0], f"{number}")
    assert (await jobs.send(event, in_doubt_since=since)).was_there
    assert methods(slack) == ["conversations.history"] * 3
    asked = [arguments.get("cursor") for _, arguments in slack.calls]
    assert asked[0] is None
    assert len(set(asked)) == 3


async def test_a_reply_is_found_in_a_long_thread(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    await jobs.tell("staging")
    for number in range(450):
        slack.say(slack.channels[0], f"{number}", thread_ts=slack.posts[0].ts)
    event = jobs.happen("transporting")
    since = await lost(jobs, slack, event)
    assert (await jobs.send(event, in_doubt_since=since)).was_there
    assert methods(slack) == ["conversations.replies"] * 3


async def test_a_channel_is_found_on_a_later_page(slack: CheckedSlack, follow: Follow) -> None:
    slack.scopes |= {"channels:read"}
    slack.channels[:0] = [Channel(id=f"C1{number}", name=f"other-{number}") for number in range(1200)]
    jobs = follow(channel="#data-backfills")
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    receipt = await jobs.send(event, in_doubt_since=since)
    assert (receipt.was_there, receipt.place) == (True, Place(configured="#data-backfills", id="C0DATA"))
    assert methods(slack).count("conversations.list") > 1
    assert len(slack.posts) == 1


class Pages:
    """Pages of what others say; the cursor of each is its number. `told` are the messages of some of them."""

    def __init__(self, slack: CheckedSlack, count: int, **told: Any) -> None:
        self.slack = slack
        self.count = count
        self.told = told
        slack.script, slack.unscripted = [self], {"chat.postMessage", "chat.update"}

    async def __call__(self, _: web.Request) -> web.Response:
        self.slack.script.append(self)
        method, arguments = self.slack.calls[-1]
        number = int(arguments.get("cursor", 1))
        following = str(number + 1) if number < self.count else ""
        key = "channels" if method == "conversations.list" else "messages"
        items = {key: self.told.get(f"page_{number}", [])}
        return web.json_response({"ok": True, **items, "response_metadata": {"next_cursor": following}})


def cursors(slack: CheckedSlack, method: str) -> list[int]:
    """Return which pages were asked for since the last look, and forget the calls."""
    asked = [int(arguments.get("cursor", 1)) for name, arguments in slack.calls if name == method]
    slack.calls.clear()
    return asked


def ours(event: Event, **fields: Any) -> dict[str, Any]:
    """Return a message as Slack tells it that was posted for an event."""
    return {"ts": "1.2", "metadata": metadata(event.id, "data-team")} | fields


@pytest.mark.parametrize("has_card", [False, True])
async def test_a_look_at_too_many_messages_goes_on_with_the_next_attempt(
    slack: CheckedSlack, follow: Follow, has_card: bool
) -> None:
    jobs = follow()
    if has_card:
        await jobs.tell("staging")
        slack.calls.clear()
    event = jobs.happen("transporting")
    method = "conversations.replies" if has_card else "conversations.history"
    Pages(slack, 120, page_110=[ours(event, thread_ts="1.1")])
    for first in (1, 51):
        with pytest.raises(SendError) as caught:
            await jobs.send(event, in_doubt_since=NOW)
        error = caught.value
        assert error.reason == "whether an earlier attempt arrived cannot be told yet: too many messages"
        assert (error.outcome_unknown, error.refused, error.not_before) == (True, None, None)
        assert methods(slack) == [method] * 50
        assert cursors(slack, method) == list(range(first, first + 50))
    assert (await jobs.send(event, in_doubt_since=NOW)).was_there
    assert cursors(slack, method) == list(range(101, 111))
    assert len(slack.posts) == has_card


async def test_what_is_not_there_at_the_end_of_a_long_look_is_posted(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(style="message")
    event = jobs.happen("staging")
    Pages(slack, 60)
    with pytest.raises(SendError):
        await jobs.send(event, in_doubt_since=NOW)
    assert slack.posts == []
    assert not (await jobs.send(event, in_doubt_since=NOW)).was_there
    assert len(slack.posts) == 1
    assert cursors(slack, "conversations.history") == list(range(1, 61))
    with pytest.raises(SendError):
        await jobs.send(event, in_doubt_since=NOW)
    assert cursors(slack, "conversations.history") == list(range(1, 51)), "another look begins anew"


async def test_the_long_looks_of_two_messages_do_not_get_mixed_up(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    one, other = jobs.happen("staging"), jobs.happen("staging", "j2")
    Pages(slack, 55)
    for event, job_id in ((one, "j1"), (other, "j2")):
        with pytest.raises(SendError):
            await jobs.send(event, job_id=job_id, in_doubt_since=NOW)
        assert cursors(slack, "conversations.history") == list(range(1, 51))
    for event, job_id in ((one, "j1"), (other, "j2")):
        await jobs.send(event, job_id=job_id, in_doubt_since=NOW)
        assert cursors(slack, "conversations.history") == list(range(51, 56))


@pytest.mark.parametrize("error", [lambda: too_many(**{"Retry-After": "60"}), lambda: "internal_error"])
async def test_a_look_that_is_broken_off_goes_on_where_it_stopped(
    slack: CheckedSlack, follow: Follow, error: Callable[[], Any]
) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    pages = Pages(slack, 9, page_8=[ours(event)])
    broken = error()

    async def breaking(request: web.Request) -> Any:
        if slack.calls[-1][1].get("cursor") == "5":
            slack.script.append(pages)
            return broken
        slack.script.append(breaking)
        answer = await pages(request)
        slack.script.remove(pages)
        return answer

    slack.script = [breaking]
    await untold(jobs, event, since=NOW)
    assert cursors(slack, "conversations.history") == [1, 2, 3, 4, 5]
    assert (await jobs.send(event, in_doubt_since=NOW)).was_there
    assert cursors(slack, "conversations.history") == [5, 6, 7, 8]


@pytest.mark.parametrize("status", [200, 400])
async def test_a_cursor_that_slack_does_not_take_any_more_is_forgotten(
    slack: CheckedSlack, follow: Follow, status: int
) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    pages = Pages(slack, 60, page_3=[ours(jobs.happen("staging", "j2"))])
    with pytest.raises(SendError):
        await jobs.send(event, in_doubt_since=NOW)
    slack.script = [web.json_response({"ok": False, "error": "invalid_cursor"}, status=status)]
    await untold(jobs, event, since=NOW)
    assert slack.calls[-1][1]["cursor"] == "51"
    slack.calls.clear()
    pages.told = {"page_3": [ours(event)]}
    slack.script = [pages]
    assert (await jobs.send(event, in_doubt_since=NOW)).was_there
    assert cursors(slack, "conversations.history") == [1, 2, 3]


async def test_a_name_is_looked_for_on_where_a_list_that_is_too_long_stopped(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(**NAMED)
    slack.scopes |= {"channels:read"}
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    Pages(slack, 70, page_60=[{"name": "data-backfills", "id": "C0DATA"}])
    slack.unscripted |= {"auth.test", "conversations.history"}
    with pytest.raises(SendError):
        await jobs.send(event, in_doubt_since=since)
    assert cursors(slack, "conversations.list") == list(range(1, 51))
    assert (await jobs.send(event, in_doubt_since=since)).was_there
    assert cursors(slack, "conversations.list") == list(range(51, 61))


# -------------------------------------------------------------------------------- channels by name


NAMED = {"channel": "#data-backfills"}


@pytest.mark.parametrize("style", ["card", "message"])
async def test_a_name_is_looked_into_where_it_was_found_before(
    slack: CheckedSlack, follow: Follow, style: str
) -> None:
    jobs = follow(**NAMED, style=style)
    await jobs.send(source_down())
    assert jobs.place == Place(configured="#data-backfills", id="C0DATA")
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    receipt = await jobs.send(event, in_doubt_since=since)
    assert (receipt.was_there, receipt.place) == (True, None)
    [(method, arguments)] = slack.calls
    assert (method, arguments["channel"]) == ("conversations.history", "C0DATA")


@pytest.mark.parametrize(
    ("place", "scopes", "types"),
    [
        (("#data-backfills", "C0DATA"), {"channels:read"}, "public_channel"),
        (("#private", "C0PRIVATE"), {"groups:read", "groups:history"}, "private_channel"),
        (
            ("#private", "C0PRIVATE"),
            {"channels:read", "groups:read", "groups:history"},
            "public_channel,private_channel",
        ),
    ],
)
async def test_a_name_that_was_never_found_is_looked_for_among_the_channels(
    slack: CheckedSlack, follow: Follow, place: tuple[str, str], scopes: set[str], types: str
) -> None:
    channel, id_ = place
    jobs = follow(channel=channel)
    slack.scopes |= scopes
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    receipt = await jobs.send(event, in_doubt_since=since)
    assert (receipt.was_there, receipt.place) == (True, Place(configured=channel, id=id_))
    assert jobs.card().channel == id_
    assert methods(slack) == ["auth.test", "conversations.list", "conversations.history"]
    assert slack.calls[1][1]["types"] == types
    assert len(slack.posts) == 1


async def test_a_place_of_another_name_is_of_no_use(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(**NAMED)
    slack.scopes |= {"channels:read"}
    jobs.place = Place(configured="#elsewhere", id="C0ELSE")
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    receipt = await jobs.send(event, in_doubt_since=since)
    assert (receipt.was_there, receipt.place) == (True, Place(configured="#data-backfills", id="C0DATA"))


async def test_a_name_that_cannot_be_looked_for_is_posted_to_again(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(**NAMED)
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    receipt = await jobs.send(event, in_doubt_since=since)
    assert (receipt.was_there, receipt.place) == (False, Place(configured="#data-backfills", id="C0DATA"))
    assert methods(slack) == ["auth.test", "chat.postMessage"]
    assert len(slack.posts) == 2


async def test_a_name_that_is_not_among_the_channels_is_posted_to(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(channel="#private")  # with a scope for public ones only
    slack.scopes |= {"channels:read"}
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    assert not (await jobs.send(event, in_doubt_since=since)).was_there
    assert methods(slack) == ["auth.test", "conversations.list", "chat.postMessage"]


async def test_a_card_tells_where_its_channel_is(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(**NAMED)
    await jobs.tell("staging")
    jobs.place = None
    event = jobs.happen("transporting")
    since = await lost(jobs, slack, event)
    assert (await jobs.send(event, in_doubt_since=since)).was_there
    assert methods(slack) == ["conversations.replies"]


async def test_a_person_is_not_looked_for_among_the_channels(slack: CheckedSlack, follow: Follow) -> None:
    slack.scopes |= {"channels:read"}
    slack.channels.append(Channel(id="D0PERSON", name="U0123456789"))
    jobs = follow(channel="U0123456789")
    await jobs.send(jobs.happen("staging"), in_doubt_since=utc_now())
    assert "conversations.list" not in methods(slack)
    assert jobs.place == Place(configured="U0123456789", id="D0PERSON")


# -------------------------------------------------------------------------------- what one may not


async def test_without_a_scope_for_it_nothing_is_asked_and_it_is_posted_again(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    slack.scopes = {"chat:write", "channels:read"}
    await jobs.send(source_down())
    for number in range(3):
        event = jobs.happen("staging", f"j{number}")
        since = await lost(jobs, slack, event)
        assert not (await jobs.send(event, job_id=f"j{number}", in_doubt_since=since)).was_there
        assert methods(slack) == ["chat.postMessage"]
    assert len(slack.posts) == 7


async def test_a_token_that_turns_out_not_to_read_is_not_asked_again(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    slack.scopes = {"chat:write"}
    event, second = jobs.happen("staging"), jobs.happen("transporting")
    await jobs.send(event, in_doubt_since=utc_now())
    assert methods(slack) == ["conversations.history", "chat.postMessage"]
    slack.calls.clear()
    await jobs.send(second, in_doubt_since=utc_now())
    assert not set(methods(slack)) & set(LOOKS)


async def test_a_scope_that_was_added_since_is_noticed(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    slack.scopes = {"chat:write"}
    await jobs.tell("staging")
    slack.scopes |= {"channels:history"}
    await jobs.tell("transporting")
    event = jobs.happen("completed")
    since = await lost(jobs, slack, event)
    assert (await jobs.send(event, in_doubt_since=since)).was_there


async def test_with_a_scope_for_other_channels_it_is_posted_again(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(channel="C0PRIVATE")
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    assert not (await jobs.send(event, in_doubt_since=since)).was_there
    assert methods(slack) == ["conversations.history", "chat.postMessage"]


async def test_who_is_not_in_the_channel_posts_and_is_told_so(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow(channel="C0ELSE")
    with pytest.raises(SendError) as caught:
        await jobs.send(jobs.happen("staging"), in_doubt_since=utc_now())
    assert (caught.value.code, caught.value.outcome_unknown) == ("not_in_channel", False)
    assert methods(slack) == ["conversations.history", "chat.postMessage"]


async def test_a_server_that_tells_no_scopes_is_asked(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    slack.script = [web.json_response({"ok": True, "messages": [ours(event)]})]
    assert (await jobs.send(event, in_doubt_since=utc_now())).was_there
    assert jobs.card().ts == "1.2"


# ----------------------------------------------------------------------------- when Slack does not tell


async def test_when_slack_wants_fewer_looks_only_this_message_waits(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    slack.history_a_minute = 1
    event, other = jobs.happen("staging"), jobs.happen("staging", "j2")
    since = await lost(jobs, slack, event)
    assert (await jobs.send(event, in_doubt_since=since)).was_there
    error = await untold(jobs, other, since=utc_now())
    assert error.not_before is not None
    assert timedelta(seconds=50) < error.not_before <= timedelta(seconds=60)
    assert (error.status, error.reason) == (429, f"{UNTOLD}Slack asks to slow down (429)")
    await jobs.tell("transporting")
    assert len(slack.posts) == 2


async def test_a_429_without_a_time_is_unknown_too(slack: CheckedSlack, follow: Follow) -> None:
    jobs = follow()
    slack.script = [web.json_response({"ok": False, "error": "ratelimited"}, status=429)]
    error = await untold(jobs, jobs.happen("staging"), since=utc_now())
    assert error.not_before is None
    assert slack.posts == []


@pytest.mark.parametrize(
    "answer",
    [
        "fatal_error",
        "internal_error",
        lambda: web.Response(status=500),
        lambda: web.Response(status=502, text="<html>"),
        lambda: web.json_response({"ok": False, "error": "service_unavailable"}, status=503),
        lambda: web.Response(text="<html>"),
        lambda: web.Response(status=404),
        lambda: web.json_response([]),
        # errors that will pass, as Slack's methods tell them with status 200
        "ratelimited",
        "rate_limited",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "org_login_required",
        # and what nobody foresaw
        "something_new",
        "account_suspended_for_now",
        # a look that Slack does not take as it is written
        "invalid_arguments",
        "invalid_arg_name",
        lambda: web.json_response({"ok": False, "error": "invalid_ts_oldest"}, status=400),
        lambda: web.Response(status=413),
    ],
)
@pytest.mark.parametrize("has_card", [False, True])
async def test_without_a_usable_answer_the_outcome_stays_unknown(
    slack: CheckedSlack, follow: Follow, answer: Any, has_card: bool
) -> None:
    jobs = follow()
    if has_card:
        await jobs.tell("staging")
    event = jobs.happen("transporting")
    since = await lost(jobs, slack, event)
    slack.script = [answer() if callable(answer) else answer]
    await untold(jobs, event, since=since)
    assert len(slack.calls) == 1
    assert (await jobs.send(event, in_doubt_since=since)).was_there
    assert len(slack.posts) == 1 + has_card


async def test_with_an_answer_that_is_lost_the_outcome_stays_unknown(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow()
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    slack.losing = lambda _method, _arguments: True
    error = await untold(jobs, event, since=since)
    assert error.reason == f"{UNTOLD}the connection was closed before an answer came"
    assert len(slack.posts) == 1


async def test_without_a_connection_the_outcome_stays_unknown(slack: CheckedSlack, follow: Follow) -> None:
    with closed_port() as port:
        jobs = follow(api_url=f"http://127.0.0.1:{port}/api/")
        await untold(jobs, jobs.happen("staging"), since=utc_now())
        named = follow(api_url=f"http://127.0.0.1:{port}/api/", **NAMED)
        await untold(named, named.happen("staging"), since=utc_now())
    assert slack.calls == []


@pytest.mark.parametrize("where", [{}, NAMED])
@pytest.mark.parametrize("code", ["token_revoked", "invalid_auth", "account_inactive"])
async def test_credentials_that_are_refused_say_so(
    slack: CheckedSlack, follow: Follow, where: dict[str, str], code: str
) -> None:
    jobs = follow(**where)
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    slack.revoked = code
    error = await untold(jobs, event, since=since)
    assert (error.credentials, error.code) == (True, code)
    slack.revoked = None
    slack.scopes |= {"channels:read"}
    assert (await jobs.send(event, in_doubt_since=since)).was_there


async def test_while_channels_cannot_be_listed_the_outcome_stays_unknown(
    slack: CheckedSlack, follow: Follow
) -> None:
    jobs = follow(**NAMED)
    slack.scopes |= {"channels:read"}
    event = jobs.happen("staging")
    since = await lost(jobs, slack, event)
    slack.script, slack.unscripted = [web.Response(status=503)], {"auth.test"}
    await untold(jobs, event, since=since)
    assert methods(slack) == ["auth.test", "conversations.list"]
    assert (await jobs.send(event, in_doubt_since=since)).was_there


@pytest.mark.parametrize("code", sorted(_UNREADABLE))
async def test_what_cannot_be_read_at_all_is_posted(slack: CheckedSlack, follow: Follow, code: str) -> None:
    jobs = follow()
    slack.script, slack.unscripted = [code], {"chat.postMessage"}
    await jobs.send(jobs.happen("staging"), in_doubt_since=utc_now())
    assert len(slack.posts) == 1


# ------------------------------------------------------------------ whose it is, and which one is the card


async def test_what_another_target_posted_to_the_channel_is_not_taken_for_ours(
    slack: CheckedSlack, follow: Follow
) -> None:
    slack.scopes = {"chat:write", "channels:history"}
    jobs, theirs = follow(channel="C0DATA"), follow(channel="C0DATA", name="another")
    event = theirs.happen("staging")
    jobs.records = dict(theirs.records)
    await theirs.send(event)
    assert not (await jobs.send(event, in_doubt_since=utc_now())).was_there
    assert len(slack.posts) == 2
    assert jobs.card().ts != theirs.card().ts


async def test_an_older_card_that_is_found_does_not_take_the_place_of_the_newer_one(
    slack: CheckedSlack, follow: Follow
) -> None:
    slack.scopes = {"chat:write", "channels:history"}
    jobs = follow(channel="C0DATA")
    first = jobs.happen("staging")
    await jobs.send(first)
    jobs.records["j1"] = msgspec.structs.replace(jobs.records["j1"], cards={})  # its answer was lost
    await jobs.tell("transporting")
    newer = jobs.card()
    assert (await jobs.send(first, in_doubt_since=utc_now())).was_there
    assert jobs.card() == newer
    assert len(slack.posts) == 2
