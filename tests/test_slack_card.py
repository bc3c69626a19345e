import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.announcement import Origin
from notifier.demo.blocks import check_message
from notifier.demo.slack import Channel, Post
from notifier.diff import diff
from notifier.listing import Element
from notifier.model import Event, JobRecord
from notifier.outbox import absorb
from notifier.payload import Payload, read_payload
from notifier.rate import outdated_at
from notifier.rules import Rules
from notifier.sample import sample_event
from notifier.targets.slack.card import card_of, card_of_event, left_for, look_print, reply_to, with_mention
from notifier.targets.slack.message import Message, as_plain_text
from notifier.targets.slack.past import metadata
from tests.servers import job
from tests.slack import NOW, hostile_events, job_event, listed, texts
from tests.slack_rules import check_post, check_update
from tests.test_slack_message import facts, foot, mrkdwn, sections, title

JOB_LINK = "https://app.allium.so/beam/{job_id}?a=1&b=2"
LONG_LINK = "https://a.example/" + "x" * 500 + "&{job_id}{job_id}"
MENTION = "<!subteam^S0123|oncall> <@U0123>"
LONG_MENTION = "<@U" + "0" * 495 + ">"
ORDERED = "2026-01-31T10:00:00Z"

Step = tuple[float, dict[str, Any]]

_DATE = re.compile(r"<!date\^-?\d+\^\{date_short_pretty\} at \{time\}\|[\d: UTC-]+>")
_LINK = re.compile(r"<https://[^<>|]+\|[^<>|]+>")


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def date(minutes: float) -> str:
    time = at(minutes)
    return f"<!date^{int(time.timestamp())}^{{date_short_pretty}} at {{time}}|{time:%Y-%m-%d %H:%M} UTC>"


def absorbed(*steps: tuple[datetime, Element], announce: bool = True) -> JobRecord:
    """Return the record of a job that was listed like this; without `announce` it was in the baseline."""
    record: JobRecord | None = None
    for now, element in steps:
        is_new = announce or record is not None
        change = diff(
            record,
            element,
            origin=Origin("allium", "s", element.job_id),
            rules=Rules(),
            announce=is_new,
            now=now,
        )
        if change is not None:
            to = {event.id: ["data-team"] for event in change.events}
            record = absorb(
                record, snapshot=change.snapshot, seq=change.seq, events=change.events, targets=to
            )
    assert record is not None
    return record


def followed(*steps: Step, announce: bool = True) -> JobRecord:
    """Return the record of a job with these fields, over the usual ones, at these minutes."""
    return absorbed(
        *((at(minutes), listed(**job("j1", **fields))) for minutes, fields in steps), announce=announce
    )


def transporting(*left: tuple[float, int], total: int = 1000, **fields: Any) -> JobRecord:
    """Return the record of a job that had so many chunks left at these minutes."""
    usual = {"status": "transporting", "num_chunks": total} | fields
    return followed(*((minutes, usual | {"chunks_left": chunks}) for minutes, chunks in left))


def card(record: JobRecord, *, minutes: float = 0, job_link: str = "", job_id: str = "j1") -> Message:
    return checked(card_of(record, source="allium", job_id=job_id, job_link=job_link, now=at(minutes)))


def bar(message: Message) -> str | None:
    """Return the line that begins with a bar."""
    return next((line for line in lines(message) if line.startswith(("▰", "▱"))), None)


def pace(message: Message) -> str | None:
    """Return the line that says how fast the job is."""
    return next((line for line in lines(message) if re.match(r"\S+ chunks? (a|in) ", line)), None)


def lines(message: Message) -> list[str]:
    return [line for text in sections(message) if not text.startswith("```") for line in text.split("\n")]


def told(event: Event) -> Payload:
    assert isinstance(event.payload, msgspec.Raw)
    return read_payload(event.payload)


def arguments_of(message: Message, *, is_edit: bool) -> dict[str, Any]:
    """Return what is sent of it."""
    if is_edit:
        parts = {"text": message.text, "blocks": message.blocks, "attachments": message.attachments}
        arguments = {"channel": "C0DATA", "ts": "1.2", **parts}
    else:
        arguments = {"channel": "C0DATA", **message.arguments()}
    sent: dict[str, Any] = json.loads(json.dumps(arguments | {"metadata": metadata("evt_1", "data-team")}))
    return sent


def checked(message: Message) -> Message:
    """Return the message if Slack takes it as a post, as a reply and as an edit."""
    post, edit = (arguments_of(message, is_edit=is_edit) for is_edit in (False, True))
    check_post(post | {"thread_ts": "1.2", "reply_broadcast": True})
    check_update(edit)
    check_message(post)
    check_message(edit, is_edit=True)
    return message


# ------------------------------------------------------------------------------ what a card says


@pytest.mark.parametrize(
    ("status", "emoji", "colour", "words"),
    [
        ("staging", "📦", "#868e96", "is staging"),
        ("transporting", "🚚", "#1d9bd1", "is transporting"),
        ("completed", "✅", "#2eb67d", "completed in 30m"),
        ("failed", "❌", "#e01e5a", "failed after 30m at 57.7 %"),
        ("cancelled", "🚫", "#ecb22e", "was cancelled after 30m at 57.7 %"),
        ("canceled", "🚫", "#ecb22e", "was cancelled after 30m at 57.7 %"),
        ("paused", "🔹", "#868e96", "is now paused"),
        # statuses that are called like events of another kind
        ("progress", "🔹", "#868e96", "is now progress"),
        ("stalled", "🔹", "#868e96", "is now stalled"),
        ("<!channel>", "🔹", "#868e96", "is now &lt;!channel&gt;"),
        ("", "🔹", "#868e96", "is now of an empty status"),
    ],
)
def test_a_card_says_what_its_job_does(status: str, emoji: str, colour: str, words: str) -> None:
    message = card(followed((0, {"status": status, "time_created": ORDERED})))
    assert title(message) == f"{emoji} *Name of j1* {words}"
    # The bar is not in the text: it says how many chunks there are.
    chunks = " (1000 chunks)" if status in ("transporting", "completed") else ""
    assert message.text == f"{emoji} Name of j1 {words}{chunks}"
    assert message.attachments[0]["color"] == colour
    assert message.attachments[0]["fallback"] == f"Name of j1 {words}{chunks}"
    assert foot(message) == f"ordered {date(-30)} · allium · j1"


def test_all_that_is_known_of_a_job_that_transports_stands_under_the_title() -> None:
    steps: list[Step] = [
        (0, {"status": "staging"}),
        (6, {"status": "transporting", "chunks_left": 1000}),
        (11, {"status": "transporting", "chunks_left": 950}),
    ]
    fields = {"time_created": ORDERED, "num_chunks": 1000}
    message = card(followed(*((minutes, more | fields) for minutes, more in steps)), minutes=12)
    assert title(message) == "🚚 *Name of j1* is transporting"
    assert lines(message) == [
        "▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱  5 %, 50 of 1,000 chunks",
        f"10 chunks a minute, done about {date(106)}",
        "*Table*  `base.assets.erc20_token_transfers`",
        "*Window*  2024-01-01 → 2024-02-01 by `block_timestamp`",
        "*Filter*  `token_address` = `0x833589fcd6edb6e08f4c7c32d4f71b54bda02913`",
        "*To*  kafka `base-usdc`",
        f"*Phases*  staging 36m → transporting since {date(6)}",
    ]
    assert foot(message) == f"ordered {date(-30)} · allium · j1"


def test_all_that_is_known_of_a_job_that_failed_stands_under_the_title() -> None:
    fields = {"time_created": ORDERED, "num_chunks": 1000}
    ended = {"time_completed": "2026-01-31T11:35:00Z", "error_message": "Connection to\n  kafka:9092 lost"}
    message = card(
        followed(
            (0, {"status": "transporting", "chunks_left": 1000} | fields),
            (60, {"status": "transporting", "chunks_left": 400} | fields),
            (66, {"status": "failed", "chunks_left": 300} | fields | ended),
        ),
        minutes=67,
    )
    # When it completed counts, and not when that was seen.
    assert message.text == "❌ Name of j1 failed after 1h 35m at 70 %: Connection to kafka:9092 lost"
    assert title(message) == "❌ *Name of j1* failed after 1h 35m at 70 %"
    known, error = sections(message)
    assert known.split("\n") == [
        "▰▰▰▰▰▰▰▰▰▰▰▱▱▱▱▱  70 %, 700 of 1,000 chunks",
        "*Table*  `base.assets.erc20_token_transfers`",
        "*Window*  2024-01-01 → 2024-02-01 by `block_timestamp`",
        "*Filter*  `token_address` = `0x833589fcd6edb6e08f4c7c32d4f71b54bda02913`",
        "*To*  kafka `base-usdc`",
        f"*Phases*  transporting 1h 6m → failed {date(66)}",
    ]
    assert foot(message) == f"ordered {date(-30)} · allium · j1"
    assert error == "```Connection to\n  kafka:9092 lost```"


@pytest.mark.parametrize("nothing", [None, "", {}, [], False, "\x00", "\u202e \n"])
@pytest.mark.parametrize("status", ["staging", "transporting", "completed", "paused"])
def test_what_is_not_known_of_a_job_is_left_out(nothing: Any, status: str) -> None:
    fields = dict.fromkeys(job().keys() - {"job_id", "status"}, nothing)
    message = card(followed((0, {"status": status} | fields)))
    assert title(message).partition("*job j1* ")[2]
    assert (sections(message), foot(message)) == ([], "allium · j1")


def test_a_job_of_which_only_id_and_status_are_listed_has_a_card() -> None:
    message = card(absorbed((NOW, listed(job_id="j1", status="transporting"))))
    assert (title(message), sections(message)) == ("🚚 *job j1* is transporting", [])


def test_the_title_leads_to_the_job() -> None:
    message = card(followed((0, {"job_name": "a|b <c>"})), job_link=JOB_LINK, job_id="j/1")
    assert title(message) == "📦 *<https://app.allium.so/beam/j%2F1?a=1&amp;b=2|a¦b &lt;c&gt;>* is staging"
    assert "http" not in message.text


@pytest.mark.parametrize(
    ("total", "left", "shown"),
    [
        (1000, 1000, "▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱  0 %, 0 of 1,000 chunks"),
        (1000, 423, "▰▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱  57.7 %, 577 of 1,000 chunks"),
        (1000, 1, "▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▱  99.9 %, 999 of 1,000 chunks"),
        (1000, 0, "▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰  100 %, 1,000 of 1,000 chunks"),
        (2, 5, "▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱  0 %, 0 of 2 chunks"),
        (1, 0, "▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰  100 %, 1 of 1 chunk"),
        (10**400, 5 * 10**399, "▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱▱  50 %"),
        (0, 0, None),
        (None, 5, None),
        (5, None, None),
    ],
    ids=lambda value: f"{value}"[:20],
)
def test_progress_is_a_bar_and_a_figure(total: Any, left: Any, shown: str | None) -> None:
    fields = {"status": "transporting", "num_chunks": total, "chunks_left": left}
    assert bar(card(followed((0, fields)))) == shown


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        ([(0, 1000)], None),
        ([(0, 1000), (5, 1000)], None),
        ([(0, 500), (5, 450)], f"10 chunks a minute, done about {date(50)}"),
        ([(0, 500), (5, 430), (7, 486)], None),
        ([(0, 500), (4, 433)], f"16.8 chunks a minute, done about {date(29)}"),
        ([(0, 20), (20, 19)], f"a chunk in 20m, done about {date(400)}"),
        ([(0, 20), (300, 19)], f"a chunk in 5h 3m, done about {date(6000)}"),
        ([(0, 10_000), (10, 0)], f"1,000 chunks a minute, done about {date(10)}"),
        # no end before two percent
        ([(0, 1000), (5, 981)], "3.8 chunks a minute"),
        ([(0, 1000), (5, 980)], f"4 chunks a minute, done about {date(250)}"),
    ],
)
def test_the_pace_is_that_of_the_last_minutes(left: list[tuple[float, int]], shown: str | None) -> None:
    assert pace(card(transporting(*left), minutes=left[-1][0])) == shown


@pytest.mark.parametrize("delivered", [999_999, 10**6, 12_345_678, 10**12])
def test_a_fast_pace_is_written_in_full(delivered: int) -> None:
    record = transporting((0, 2 * 10**12), (1, 2 * 10**12 - delivered), total=2 * 10**12)
    assert (pace(card(record, minutes=1)) or "").startswith(f"{delivered:,} chunks a minute")


def test_a_pace_beyond_all_numbers_does_no_harm() -> None:
    record = transporting((0, 10**400), (1, 1), total=10**400)
    assert facts(card(record, minutes=1))["Table"] == "`base.assets.erc20_token_transfers`"


def test_without_a_total_there_is_a_pace_and_no_end() -> None:
    fields = {"status": "transporting", "num_chunks": None}
    record = followed((0, fields | {"chunks_left": 900}), (5, fields | {"chunks_left": 800}))
    assert pace(card(record, minutes=5)) == "20 chunks a minute"


@pytest.mark.parametrize("status", ["staging", "paused", "completed", "failed", "cancelled"])
def test_a_job_that_does_not_transport_has_no_pace(status: str) -> None:
    fields = {"num_chunks": 1000}
    record = followed(
        (0, {"status": "transporting", "chunks_left": 900} | fields),
        (5, {"status": "transporting", "chunks_left": 800} | fields),
        (6, {"status": status, "chunks_left": 790} | fields),
    )
    assert pace(card(record, minutes=6)) is None


def test_a_pace_of_long_ago_is_not_shown() -> None:
    record = transporting((0, 1000), (5, 900))
    assert pace(card(record, minutes=14.9)) == f"20 chunks a minute, done about {date(50)}"
    assert pace(card(record, minutes=15)) is None
    assert (bar(card(record, minutes=15)) or "").endswith("100 of 1,000 chunks")


@pytest.mark.parametrize(
    ("status", "created", "completed", "words"),
    [
        ("staging", ORDERED, None, "is staging"),
        ("paused", ORDERED, "2026-01-31T10:20:00Z", "is now paused"),
        ("completed", ORDERED, "2026-01-31T10:20:00Z", "completed in 20m"),
        ("completed", ORDERED, None, "completed in 30m"),
        ("failed", ORDERED, "2026-01-31T10:20:00Z", "failed after 20m at 57.7 %"),
        ("completed", ORDERED, "2026-01-30T10:20:00Z", "completed in under 1s"),
        ("completed", None, None, "completed in under 1s"),
        ("completed", "yesterday", None, "completed in under 1s"),
    ],
)
def test_a_card_tells_when_its_job_was_ordered_and_how_long_it_took(
    status: str, created: Any, completed: Any, words: str
) -> None:
    fields = {"status": status, "time_created": created, "time_completed": completed}
    message = card(followed((0, fields)), minutes=500)
    assert title(message).endswith(f"*Name of j1* {words}")
    ordered = f"ordered {date(-30)} · " if created == ORDERED else ""
    assert foot(message) == f"{ordered}allium · j1"


@pytest.mark.parametrize("status", ["transporting", "completed"])
@pytest.mark.parametrize(("left", "said"), [(1000, 0), (None, 1)])
def test_how_many_chunks_there_are_is_said_once(status: str, left: int | None, said: int) -> None:
    message = card(followed((0, {"status": status, "num_chunks": 1000, "chunks_left": left})))
    assert title(message).count("(1000 chunks)") == said
    assert (bar(message) is None) == (said == 1)


def test_a_status_of_a_foreign_kind_is_told_in_all_its_words() -> None:
    message = card(followed((0, {"status": "waiting (5 chunks)", "num_chunks": 10, "chunks_left": 5})))
    assert title(message) == "🔹 *Name of j1* is now waiting (5 chunks)"


STAGING, TRANSPORTING = {"status": "staging"}, {"status": "transporting"}


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([(0, "staging")], None),
        ([(0, "staging"), (5, "transporting")], f"staging 5m → transporting since {date(5)}"),
        ([(0, "staging"), (0, "transporting")], f"staging under 1s → transporting since {date(0)}"),
        (
            [(0, "staging"), (5, "transporting"), (65, "completed")],
            f"staging 5m → transporting 1h → completed {date(65)}",
        ),
        (
            [(0, "staging"), (5, "transporting"), (9, "staging")],
            f"staging 5m → transporting 4m → staging since {date(9)}",
        ),
        (
            [(0, "failed"), (5, "staging"), (6, "cancelled")],
            f"failed 5m → staging 1m → cancelled {date(6)}",
        ),
        ([(0, "<b>*x*"), (5, "on hold")], f"&lt;b&gt;∗x∗ 5m → on hold since {date(5)}"),
        ([(0, "x" * 99), (5, "failed")], f"{'x' * 29}… 5m → failed {date(5)}"),
        # The clock was set back.
        (
            [(0, "staging"), (-5, "transporting"), (10, "completed")],
            f"staging → transporting 15m → completed {date(10)}",
        ),
        (
            [(n, "staging" if n % 2 else "transporting") for n in range(6)],
            (
                "transporting 1m → staging 1m → transporting 1m → staging 1m → transporting 1m → "
                f"staging since {date(5)}"
            ),
        ),
        (
            [(n, "staging" if n % 2 else "transporting") for n in range(7)],
            (
                "… → staging 1m → transporting 1m → staging 1m → transporting 1m → staging 1m → "
                f"transporting since {date(6)}"
            ),
        ),
        (
            [(n, "staging" if n % 2 else "transporting") for n in range(30)],
            (
                "… → transporting 1m → staging 1m → transporting 1m → staging 1m → transporting 1m → "
                f"staging since {date(29)}"
            ),
        ),
    ],
)
def test_the_last_phases_are_shown_with_how_long_they_took(
    steps: list[tuple[float, str]], shown: str | None
) -> None:
    record = followed(*((minutes, {"status": status, "time_created": None}) for minutes, status in steps))
    assert facts(card(record, minutes=400)).get("Phases") == shown


def test_staging_is_counted_from_the_order() -> None:
    record = followed(
        *((n, each | {"time_created": ORDERED}) for n, each in ((0, STAGING), (5, TRANSPORTING)))
    )
    assert facts(card(record))["Phases"] == f"staging 35m → transporting since {date(5)}"


def test_how_long_a_phase_of_the_baseline_took_nobody_knows() -> None:
    steps = [(0, STAGING), (5, TRANSPORTING), (65, {"status": "completed"})]
    record = followed(*((n, each | {"time_created": None}) for n, each in steps), announce=False)
    assert facts(card(record))["Phases"] == f"staging → transporting 1h → completed {date(65)}"


def troubled(record: JobRecord, **fields: Any) -> JobRecord:
    """Return the record with what was found of its job beside its status."""
    return msgspec.structs.replace(record, snapshot=msgspec.structs.replace(record.snapshot, **fields))


def gone(polls: int, since: float | None = 9) -> dict[str, Any]:
    return {"missing_since": None if since is None else at(since), "missing_polls": polls}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({}, None),
        ({"moved_at": at(8)}, None),
        (
            {"moved_at": at(8), "stalled_at": at(38)},
            f"⏳ *stalled*: nothing has moved since {date(8)}",
        ),
        ({"moved_at": None, "stalled_at": at(38)}, f"⏳ *stalled*: nothing has moved since {date(0)}"),
        (gone(1), None),
        (gone(2), None),
        (gone(3), f"❓ *no longer listed* since {date(9)}"),
        (gone(3, since=None), "❓ *no longer listed*"),
        # that it is gone says more
        ({"moved_at": at(8), "stalled_at": at(38)} | gone(3), f"❓ *no longer listed* since {date(9)}"),
        (
            {"moved_at": at(8), "stalled_at": at(38)} | gone(2),
            f"⏳ *stalled*: nothing has moved since {date(8)}",
        ),
    ],
)
def test_what_no_status_tells_stands_above_all_else(found: dict[str, Any], line: str | None) -> None:
    message = card(troubled(transporting((0, 1000), (8, 950)), **found), minutes=9)
    first, second = lines(message)[:2]
    if line is None:
        assert first.startswith("▱")
        assert not {"stalled", "listed"} & set(re.findall(r"\w+", first + second))
    else:
        assert first == line
        assert second.startswith("▱")
    assert title(message) == "🚚 *Name of j1* is transporting"


def test_a_stalled_job_has_no_pace() -> None:
    record = transporting((0, 1000), (5, 950))
    assert pace(card(record, minutes=6)) is not None
    assert pace(card(troubled(record, stalled_at=at(6)), minutes=6)) is None


@pytest.mark.parametrize("found", [{"stalled_at": at(30)}, gone(3)], ids=["stalled", "gone"])
def test_trouble_changes_the_card_once_and_its_end_makes_it_what_it_was(found: dict[str, Any]) -> None:
    record = transporting((0, 1000), (5, 950))
    usual, in_trouble = card(record, minutes=60), card(troubled(record, **found), minutes=60)
    assert look_print(usual) != look_print(in_trouble)
    assert card(troubled(record, **found), minutes=6000) == in_trouble
    end = {name: getattr(record.snapshot, name) for name in found}
    assert card(troubled(troubled(record, **found), **end), minutes=60) == usual


@pytest.mark.parametrize("status", ["staging", "paused"])
def test_a_job_that_stalls_without_transporting_says_so(status: str) -> None:
    record = followed((0, {"status": status, "num_chunks": None, "time_created": None}))
    message = card(troubled(record, stalled_at=at(360)))
    assert lines(message)[0] == f"⏳ *stalled*: nothing has moved since {date(0)}"


def test_the_trouble_of_a_job_is_in_its_plain_text_too() -> None:
    text = as_plain_text(card(troubled(transporting((0, 1000)), **gone(3)))).text
    assert f"❓ *no longer listed* since {date(9)}" in text.split("\n")


@pytest.mark.parametrize(
    ("type_", "line"),
    [
        ("backfill.stalled", "⏳ *Name of j1* has not moved for 30m at 42.3 %"),
        ("backfill.resumed", "▶️ *Name of j1* moves again after 45m"),
        ("backfill.removed", "❓ *Name of j1* is no longer listed; it was transporting"),
        ("backfill.progress", "📈 *Name of j1* is at 50 % (500 of 1000 chunks)"),
    ],
)
def test_trouble_and_its_end_are_replies_in_the_thread_of_a_card(type_: str, line: str) -> None:
    event = job_event(listed(**job("j1", "transporting")), type_)
    words = line.partition(" ")[2].replace("*", "")
    payload = told(event)
    payload = Payload(payload.type, payload.timestamp, msgspec.structs.replace(payload.data, summary=words))
    reply = checked(reply_to(payload, job_link="", mention=MENTION))
    assert (title(reply), reply.text) == (f"{line} {MENTION}", f"{line.replace('*', '')} {MENTION}")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("out of memory", "```out of memory```"),
        ("``` <!channel> `x`", "```ˋˋˋ &lt;!channel&gt; ˋxˋ```"),
        ("a\n\tb\r\n    c\x00d\n\n", "```a\n    b\n    c d```"),
        ("x" * 5000, "```" + "x" * 2893 + "…```"),
        ("\x00\n\u202e", None),
        ({"code": 1}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", ["failed", "transporting"])
def test_an_error_is_a_block_of_code(error: Any, shown: str | None, status: str) -> None:
    message = card(followed((0, {"status": status, "error_message": error})))
    blocks = [text for text in sections(message) if text.startswith("```")]
    assert blocks == ([] if shown is None else [shown])


# -------------------------------------------------------------------- what changes a card, and what not


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_as_time_passes_a_card_stays_as_it_is(first: float, second: float) -> None:
    steps: list[Step] = [
        (0, {"status": "staging"}),
        (5, {"status": "transporting", "num_chunks": 1000, "chunks_left": 1000}),
        (9, {"status": "transporting", "num_chunks": 1000, "chunks_left": 900}),
    ]
    record = followed(*steps)
    end = outdated_at(record.snapshot.samples)
    assert end is not None
    life = (end - at(9)) / timedelta(minutes=1)
    one, other = (card(record, minutes=9 + 0.999 * life * part) for part in (first, second))
    assert one == other
    assert look_print(one) == look_print(other)
    late = card(record, minutes=9 + life)
    assert look_print(late) != look_print(one)
    assert late == card(record, minutes=9 + life + 10**6 * first)


@pytest.mark.parametrize("status", ["staging", "paused", "completed", "failed"])
def test_a_job_that_does_not_transport_has_the_same_card_for_ever(status: str) -> None:
    record = followed((0, TRANSPORTING | {"chunks_left": 500}), (5, {"status": status, "chunks_left": 400}))
    assert card(record, minutes=5) == card(record, minutes=10**7)


BASE = {
    "status": "transporting",
    "num_chunks": 1000,
    "chunks_left": 423,
    "time_created": ORDERED,
    "error_message": "out of memory",
}


@pytest.mark.parametrize(
    "change",
    [
        {"job_name": "Another"},
        {"table": "base.raw.logs"},
        {"partition_key": "block"},
        {"backfill_start": "2024-01-02T00:00:00"},
        {"backfill_end": None},
        {"filter_column": "from_address"},
        {"filter_values": ["0x1"]},
        {"destinations": []},
        {"destinations": [{"type": "sns", "name": "base-usdc"}]},
        {"num_chunks": 1001},
        {"chunks_left": 422},
        {"error_message": "out of disk"},
        {"error_message": "out of memory\n at line 5"},
        {"error_message": None},
        {"time_created": "2026-01-31T10:01:00Z"},
        {"status": "paused"},
    ],
    ids=str,
)
def test_whatever_is_seen_to_change_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert look_print(card(followed((0, BASE | change)))) != look_print(card(followed((0, BASE))))


@pytest.mark.parametrize(
    "change",
    [
        {"organization_id": "org456"},
        {"workflow_id": "other"},
        {"static_egress_ip": True},
        {"something_new": {"a": [1]}},
        {"time_completed": "2026-01-31T10:31:00Z"},
        {"destinations": [{"type": "kafka", "name": "base-usdc", "uid": "u2", "url": "https://u:p@h"}]},
        {"filter_values": ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913", None, {}]},
    ],
    ids=str,
)
def test_what_nobody_sees_leaves_the_fingerprint(change: dict[str, Any]) -> None:
    record = followed((0, BASE), (1, BASE | change))
    assert record.snapshot.element != followed((0, BASE)).snapshot.element
    assert look_print(card(record)) == look_print(card(followed((0, BASE))))


def test_a_phase_changes_the_fingerprint_also_when_the_status_is_the_same_again() -> None:
    once = followed((0, BASE))
    again = followed((0, BASE), (1, BASE | {"status": "staging"}), (2, BASE))
    assert look_print(card(once)) != look_print(card(again))


def test_a_fingerprint_is_of_text_blocks_and_attachments() -> None:
    message = card(followed((0, BASE)))
    parts: list[dict[str, Any]] = [
        {"text": "x"},
        {"blocks": ()},
        {"attachments": ()},
        {"blocks": message.blocks * 2},
    ]
    others = [look_print(msgspec.structs.replace(message, **part)) for part in parts]
    assert len({look_print(message), *others}) == 5
    assert look_print(message) == look_print(card(followed((0, BASE))))
    assert re.fullmatch("[0-9a-f]{16}", look_print(message))


# -------------------------------------------------------------------------------- a card of an event


def test_the_card_of_an_event_shows_its_job_as_it_was_then() -> None:
    fields = {"time_created": ORDERED, "num_chunks": 1000}
    record = followed(
        (0, {"status": "staging", "chunks_left": 1000} | fields),
        (5, {"status": "transporting", "chunks_left": 1000} | fields),
        (20, {"status": "failed", "chunks_left": 10, "error_message": "out of memory"} | fields),
    )
    cards = [checked(card_of_event(told(event), record=record, job_link=JOB_LINK)) for event in record.events]
    link = "<https://app.allium.so/beam/j1?a=1&amp;b=2|Name of j1>"
    assert [title(each) for each in cards] == [
        f"📦 *{link}* is staging",
        f"🚚 *{link}* is transporting",
        f"❌ *{link}* failed after 50m at 99 %",
    ]
    assert [facts(each).get("Phases") for each in cards] == [
        None,
        f"staging 35m → transporting since {date(5)}",
        f"staging 35m → transporting 15m → failed {date(20)}",
    ]
    assert ["out of memory" in each.text for each in cards] == [False, False, True]
    assert {foot(each) for each in cards} == {f"ordered {date(-30)} · allium · j1"}


@pytest.mark.parametrize(
    "status", ["staging", "transporting", "completed", "failed", "cancelled", "progress"]
)
def test_the_card_of_an_event_that_was_just_observed_is_the_card_of_its_job(status: str) -> None:
    moving = {"status": "transporting", "num_chunks": 1000}
    record = followed(
        (0, {"status": "staging"}),
        (5, moving | {"chunks_left": 1000}),
        (9, moving | {"chunks_left": 900}),
        (10, moving | {"status": "paused", "chunks_left": 880}),
        (11, moving | {"status": status, "chunks_left": 870}),
    )
    payload = told(record.events[-1])
    then = checked(card_of_event(payload, record=record, job_link=JOB_LINK))
    assert then == card(record, minutes=11, job_link=JOB_LINK)


def test_a_status_nobody_knows_has_no_pace_in_the_card_of_its_event_either() -> None:
    moving = {"status": "transporting", "num_chunks": 1000}
    record = followed(
        (0, moving | {"chunks_left": 1000}),
        (4, moving | {"chunks_left": 900}),
        (5, {"status": "paused", "num_chunks": 1000, "chunks_left": 880}),
    )
    then = checked(card_of_event(told(record.events[-1]), record=record, job_link=""))
    assert then == card(record, minutes=5)


def test_without_a_record_a_card_knows_no_phases() -> None:
    record = followed((0, STAGING), (5, TRANSPORTING))
    assert "Phases" not in facts(checked(card_of_event(told(record.events[-1]), record=None, job_link="")))


def test_phases_that_do_not_fit_the_event_are_left_out() -> None:
    event = job_event(listed(**job("j1", "failed")), now=at(30))
    record = followed((0, STAGING), (5, TRANSPORTING))
    assert "Phases" not in facts(checked(card_of_event(told(event), record=record, job_link="")))


@pytest.mark.parametrize(
    "type_",
    ["backfill.staging", "backfill.failed", "backfill.progress", "backfill.stalled", "backfill.paused"],
)
def test_a_sample_says_that_it_is_one(type_: str) -> None:
    payload = told(sample_event(type_, source="allium", event_id="evt_1", now=NOW))
    message = checked(card_of_event(payload, record=None, job_link=""))
    for text in (message.text, title(message)):
        assert text.count("Test: ") == 1
    assert "USDC transfers Jan 2024" in title(message)
    assert foot(message).endswith(" · a sample: nothing happened")
    reply = checked(reply_to(payload, job_link="", mention=""))
    for text in (reply.text, title(reply)):
        assert text.count("Test: ") == 1


def test_a_job_that_is_called_like_a_sample_is_none() -> None:
    record = followed((0, {"job_name": "Test: USDC"}))
    then = checked(card_of_event(told(record.events[-1]), record=record, job_link=""))
    assert then == card(record)
    assert title(then) == "📦 *Test: USDC* is staging"
    assert "sample" not in foot(then)


# ------------------------------------------------------------------------------------------ replies


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("staging", "📦 *Name of j1* is staging"),
        ("transporting", "🚚 *Name of j1* is transporting (1000 chunks)"),
        ("completed", "✅ *Name of j1* completed in 30m (1000 chunks)"),
        ("cancelled", "🚫 *Name of j1* was cancelled after 30m at 57.7 %"),
        ("paused", "🔹 *Name of j1* is now paused"),
    ],
)
def test_a_reply_is_one_line_that_stands_for_itself(status: str, line: str) -> None:
    [event] = followed((0, {"status": status, "time_created": ORDERED})).events
    reply = checked(reply_to(told(event), job_link="", mention=""))
    assert (title(reply), reply.text, reply.attachments) == (line, line.replace("*", ""), ())


def test_a_reply_has_the_error_in_full() -> None:
    error = "Connection to\n  kafka:9092 lost" + "\nat x" * 100
    [event] = followed((0, {"status": "failed", "error_message": error, "time_created": ORDERED})).events
    reply = checked(reply_to(told(event), job_link="", mention=""))
    assert title(reply) == "❌ *Name of j1* failed after 30m at 57.7 %"
    assert reply.text.startswith(
        "❌ Name of j1 failed after 30m at 57.7 %: Connection to kafka:9092 lost at x"
    )
    assert sections(reply) == [f"```{error}```"]
    assert reply.attachments[0]["color"] == "#e01e5a"
    assert "```" not in checked(as_plain_text(reply)).text.replace(f"\n```{error}```", "")


def test_a_reply_mentions_at_the_end_of_its_line_and_leads_to_the_job() -> None:
    [event] = followed((0, {"status": "failed", "error_message": "x"})).events
    reply = checked(reply_to(told(event), job_link=JOB_LINK, mention=MENTION))
    assert title(reply).endswith(f" {MENTION}")
    assert reply.text.endswith(f" {MENTION}")
    assert "*<https://app.allium.so/beam/j1?a=1&amp;b=2|Name of j1>*" in title(reply)
    assert not any("<@" in text for text in texts(reply.attachments))


# ----------------------------------------------------------------------------------------- mentions


def test_a_card_mentions_at_the_end_of_its_first_line() -> None:
    plain = card(followed((0, BASE)))
    message = checked(with_mention(plain, MENTION))
    assert title(message) == f"{title(plain)} {MENTION}"
    assert message.text == f"{plain.text} {MENTION}"
    assert message.attachments == plain.attachments
    assert len(message.blocks) == len(plain.blocks)
    assert not any("subteam" in text for text in texts([plain.text, plain.blocks]))


def test_a_card_that_mentions_nobody_stays_as_it_is() -> None:
    message = card(followed((0, BASE)))
    assert with_mention(message, "") is message


@pytest.mark.parametrize(
    ("channel", "named"),
    [
        ("C0123456789", "<#C0123456789>"),
        ("#data", "#data"),
        ("G0123456789", "G0123456789"),
        ("#<!here>&*x*", "#&lt;!here&gt;&amp;∗x∗"),
    ],
)
def test_a_card_that_is_left_says_in_a_line_of_its_own_where_its_job_goes_on(
    channel: str, named: str
) -> None:
    plain = card(followed((0, BASE), (3, BASE | {"status": "failed", "error_message": "x"})))
    message = checked(left_for(plain, channel))
    assert (message.text, message.blocks) == (plain.text, plain.blocks)
    [before], [attachment] = plain.attachments, message.attachments
    *blocks, note = attachment["blocks"]
    assert attachment | {"blocks": tuple(blocks)} == before
    said = note["elements"][0]["text"]
    assert said.replace("\u200b", "") == f"not kept up to date any more: this backfill goes on in {named}"
    assert look_print(message) != look_print(plain)


def test_as_plain_text_a_card_says_the_same() -> None:
    message = with_mention(card(followed((0, BASE), (3, BASE | {"status": "failed"}))), MENTION)
    plain = checked(as_plain_text(message))
    assert plain.text.split("\n") == [message.text, *"\n".join(sections(message)).split("\n")]


# -------------------------------------------------------------------------------- hostile contents


def check_harmless(message: Message, *, mention: str = "", has_link: bool = False) -> None:
    """Fail if Slack would refuse the message, or anything foreign in it means something."""
    checked(message)
    arguments = arguments_of(message, is_edit=False)
    post = Post(channel=Channel(id="C0DATA", name="data"), ts="1.2", message=arguments)
    assert post.pings == re.findall(r"<([^|>]+)", mention)
    # Else Slack looks for names of channels and people by itself.
    assert all(text["verbatim"] is True for text in mrkdwn(arguments))
    for text in texts([arguments["text"], *(arguments.get(key) for key in ("blocks", "attachments"))]):
        left = _DATE.sub("", text.replace(f" {mention}", "", 1) if mention else text)
        left = _LINK.sub("", left, count=1) if has_link else left
        assert not re.search("[<>]", left), left
        assert not re.search(r"&(?!(?:amp|lt|gt);)", left), left


def element_of(event: Event) -> Element:
    data = told(event).data
    return Element(job_id=data.job_id or "", status=data.status or "", raw=data.job)


@st.composite
def hostile_records(draw: st.DrawFn) -> Iterator[tuple[str, JobRecord]]:
    """Return a job's id and record after some polls that listed whatever they liked of it."""
    events = draw(st.lists(hostile_events(), min_size=1, max_size=3))
    now, steps = NOW, []
    for event in events:
        steps.append((now, element_of(event)))
        now += timedelta(minutes=draw(st.sampled_from([0, 0.5, 1, 7, 10**5, -3])))
    return steps[-1][1].job_id, absorbed(*steps, announce=draw(st.booleans()))  # type: ignore[return-value]


LINKS = st.sampled_from(["", JOB_LINK, LONG_LINK])
MENTIONS = st.sampled_from(["", MENTION, LONG_MENTION])


@given(hostile_records(), LINKS, MENTIONS, st.sampled_from([0, 5, 10**6]))
@settings(max_examples=30, deadline=None)
def test_whatever_is_listed_makes_a_card_that_slack_takes_and_that_pings_nobody(
    job_and_record: tuple[str, JobRecord], job_link: str, mention: str, minutes: float
) -> None:
    job_id, record = job_and_record
    now, has_link = at(minutes), bool(job_link)
    message = card_of(record, source="allium", job_id=job_id, job_link=job_link, now=now)
    check_harmless(message, has_link=has_link)
    check_harmless(with_mention(message, mention), mention=mention, has_link=has_link)
    check_harmless(as_plain_text(message))
    check_harmless(as_plain_text(with_mention(message, mention)), mention=mention)
    again = card_of(record, source="allium", job_id=job_id, job_link=job_link, now=now)
    assert look_print(message) == look_print(again)


@given(hostile_events(), hostile_records() | st.none(), LINKS, MENTIONS)
@settings(max_examples=30, deadline=None)
def test_whatever_happens_makes_cards_and_replies_that_slack_takes_and_that_ping_nobody(
    event: Event, job_and_record: tuple[str, JobRecord] | None, job_link: str, mention: str
) -> None:
    payload, has_link = told(event), bool(job_link)
    record = None if job_and_record is None else job_and_record[1]
    message = card_of_event(payload, record=record, job_link=job_link)
    check_harmless(message, has_link=has_link)
    check_harmless(with_mention(message, mention), mention=mention, has_link=has_link)
    check_harmless(as_plain_text(with_mention(message, mention)), mention=mention)
    reply = reply_to(payload, job_link=job_link, mention=mention)
    check_harmless(reply, mention=mention, has_link=has_link)
    check_harmless(as_plain_text(reply), mention=mention)


@pytest.mark.parametrize("character", ["&", "<", "😀", "*", "`", "x", "\u202e", "א"])
def test_the_longest_fields_of_the_longest_characters_fit(character: str) -> None:
    long = character * 5000
    fields = {
        **dict.fromkeys(["job_name", "table", "partition_key", "backfill_start", "backfill_end"], long),
        "filter_column": long,
        "filter_values": [character * 200] * 300,
        "destinations": [{"type": character * 200, "name": character * 200}] * 300,
        "error_message": long,
        "time_created": "0001-01-01T00:00:00Z",
        "num_chunks": 10**20,
    }
    for status in (long, "transporting", "failed"):
        record = followed(
            *((n, {"status": f"{n}{long}"}) for n in range(10)),
            (10, {"status": "transporting", "chunks_left": 10**19}),
            (12, fields | {"status": status, "chunks_left": 10**19 - 3}),
        )
        link = "https://a.example/" + "x" * 540 + "/{job_id}"
        message = card(record, minutes=12, job_link=link)
        assert facts(message)["Phases"].startswith("… → ")
        mentioning = checked(with_mention(message, LONG_MENTION))
        checked(as_plain_text(mentioning))
        payload = told(record.events[-1])
        then = checked(card_of_event(payload, record=record, job_link=link))
        checked(as_plain_text(with_mention(then, LONG_MENTION)))
        reply = checked(reply_to(payload, job_link=link, mention=LONG_MENTION))
        assert title(reply).endswith("0>")
        checked(as_plain_text(reply))
