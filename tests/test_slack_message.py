import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.demo.blocks import check_message
from notifier.demo.slack import Channel, Post
from notifier.model import Event, JobRecord, Phase
from notifier.payload import Data, Payload, Progress, encode_payload, read_payload
from notifier.sample import sample_event
from notifier.targets.slack.message import Message, as_plain_text, mention_for, render
from tests.records import record
from tests.servers import job
from tests.slack import DATE, NOW, hostile_events, job_event, listed, texts
from tests.slack_rules import check_post

JOB_LINK = "https://app.allium.so/beam/{job_id}?a=1&b=2"
MENTION = "<!subteam^S0123|oncall> <@U0123>"


def sample(type_: str) -> Payload:
    event = sample_event(type_, source="allium", event_id="evt_1", now=NOW)
    return read_payload(payload_of(event))


def payload_of(event: Event) -> msgspec.Raw:
    assert isinstance(event.payload, msgspec.Raw)
    return event.payload


def observed(
    status: str = "transporting",
    type_: str = "",
    *,
    job_link: str = "",
    mention: str = "",
    now: datetime = NOW,
    **fields: Any,
) -> Message:
    """Return the message of a job as it is observed."""
    event = job_event(listed(**(job("j1", status) | fields)), type_, now=now)
    return checked(render(read_payload(payload_of(event)), job_link=job_link, mention=mention))


def other(type_: str, **fields: Any) -> Message:
    """Return the message of an event that is about no job."""
    data = Data(event_id="evt_1", source="allium", **fields)
    payload = read_payload(encode_payload(type_, NOW, data))
    return checked(render(payload, job_link=JOB_LINK, mention=""))


def checked(message: Message) -> Message:
    check_post({"channel": "C0DATA", **json.loads(json.dumps(message.arguments()))})
    return message


def title(message: Message) -> str:
    [block] = message.blocks
    return str(block["text"]["text"])


def sections(message: Message) -> list[str]:
    [attachment] = message.attachments
    return [block["text"]["text"] for block in attachment["blocks"] if block["type"] == "section"]


def foot(message: Message) -> str:
    [attachment] = message.attachments
    [element] = attachment["blocks"][-1]["elements"]
    return str(element["text"])


def facts(message: Message) -> dict[str, str]:
    """Return what the lines under the title say, by their labels."""
    lines = [line for text in sections(message) if not text.startswith("```") for line in text.split("\n")]
    pairs = [re.fullmatch(r"\*(\w+)\*  (.+)", line) for line in lines]
    return {pair[1]: pair[2] for pair in pairs if pair}


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def date(minutes: float) -> str:
    time = at(minutes)
    return f"<!date^{int(time.timestamp())}^{{date_short_pretty}} at {{time}}|{time:%Y-%m-%d %H:%M} UTC>"


# ----------------------------------------------------------------------------------- what it says

NAME = "USDC transfers Jan 2024"


@pytest.mark.parametrize(
    ("type_", "emoji", "colour", "words"),
    [
        ("backfill.staging", "📦", "#868e96", f"*{NAME}* is staging"),
        ("backfill.transporting", "🚚", "#1d9bd1", f"*{NAME}* is transporting (1000 chunks)"),
        ("backfill.completed", "✅", "#2eb67d", f"*{NAME}* completed in 3h 12m (1000 chunks)"),
        ("backfill.failed", "❌", "#e01e5a", f"*{NAME}* failed after 3h 12m at 58.3 %"),
        ("backfill.cancelled", "🚫", "#ecb22e", f"*{NAME}* was cancelled after 3h 12m at 30 %"),
        ("backfill.progress", "📈", "#1d9bd1", f"*{NAME}* is at 50 % (500 of 1000 chunks)"),
        ("backfill.stalled", "⏳", "#ecb22e", f"*{NAME}* has not moved for 30m at 42.3 %"),
        ("backfill.resumed", "▶️", "#1d9bd1", f"*{NAME}* moves again after 45m"),
        ("backfill.removed", "❓", "#ecb22e", f"*{NAME}* is no longer listed; it was transporting"),
        ("backfill.paused", "🔹", "#868e96", f"*{NAME}* is now paused"),
        ("source.down", "🚨", "#e01e5a", "*source allium has had no good poll for 5m: the API answered 503*"),
        ("source.up", "🟢", "#2eb67d", "*source allium answers again after 12m*"),
        ("target.down", "🚨", "#e01e5a", "*target ops has failed for 5m: answered 500*"),
        ("target.up", "🟢", "#2eb67d", "*target ops works again after 12m*"),
        (
            "delivery.dead",
            "📭",
            "#e01e5a",
            "*a delivery to ops was given up: answered 400: unknown field*",
        ),
    ],
)
def test_the_first_line_says_what_happened_and_a_sample_that_it_is_one(
    type_: str, emoji: str, colour: str, words: str
) -> None:
    message = checked(render(sample(type_), job_link="", mention=""))
    assert title(message) == f"{emoji} Test: {words}"
    assert message.attachments[0]["color"] == colour
    assert message.text.startswith(f"{emoji} Test: {words.replace('*', '')}")
    assert message.attachments[0]["fallback"] == message.text.removeprefix(f"{emoji} Test: ")
    assert foot(message).endswith(" · a sample: nothing happened")


def test_all_that_is_known_of_a_job_stands_under_the_title() -> None:
    message = observed(
        "failed",
        time_created="2026-01-31T07:18:00Z",
        time_completed="2026-01-31T10:30:00Z",
        error_message="Connection to\n  kafka:9092 lost",
    )
    assert message.text == "❌ Name of j1 failed after 3h 12m at 57.7 %: Connection to kafka:9092 lost"
    assert title(message) == "❌ *Name of j1* failed after 3h 12m at 57.7 %"
    known, error = sections(message)
    assert known.split("\n") == [
        "*Table*  `base.assets.erc20_token_transfers`",
        "*Window*  2024-01-01 → 2024-02-01 by `block_timestamp`",
        "*Filter*  `token_address` = `0x833589fcd6edb6e08f4c7c32d4f71b54bda02913`",
        "*To*  kafka `base-usdc`",
        "*Progress*  ▰▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱  57.7 %, 577 of 1,000 chunks",
        "*Time*  ordered <!date^1769843880^{date_short_pretty} at {time}|2026-01-31 07:18 UTC>, took 3h 12m",
    ]
    assert error == "```Connection to\n  kafka:9092 lost```"
    assert foot(message) == "allium · j1"


@pytest.mark.parametrize("nothing", [None, "", {}, [], False, "\x00", "\u202e \n"])
def test_fields_of_which_nothing_can_be_shown_are_left_out(nothing: Any) -> None:
    fields = dict.fromkeys(job().keys() - {"job_id", "status"}, nothing)
    message = observed("failed", **fields)
    assert (title(message), sections(message)) == ("❌ *job j1* failed after under 1s", [])


def test_an_error_is_shown_once_and_in_the_notification() -> None:
    message = observed("failed", error_message="out of memory")
    assert [text.count("out of memory") for text in (title(message), message.text)] == [0, 1]
    assert sections(message)[-1] == "```out of memory```"


def test_a_job_of_which_nothing_is_known_is_named_by_its_id() -> None:
    event = job_event(listed(job_id="j1", status="staging"))
    message = checked(render(read_payload(payload_of(event)), job_link="", mention=""))
    assert (title(message), sections(message), foot(message)) == (
        "📦 *job j1* is staging",
        [],
        "allium · j1",
    )


@pytest.mark.parametrize(
    ("job_id", "url"),
    [
        ("j1", "https://app.allium.so/beam/j1?a=1&amp;b=2"),
        ("a/b?c&d|e>f g", "https://app.allium.so/beam/a%2Fb%3Fc%26d%7Ce%3Ef%20g?a=1&amp;b=2"),
        ("é{job_id}", "https://app.allium.so/beam/%C3%A9%7Bjob_id%7D?a=1&amp;b=2"),
    ],
)
def test_the_name_leads_to_the_job(job_id: str, url: str) -> None:
    message = observed(job_link=JOB_LINK, job_id=job_id, job_name="a|b <c>")
    assert title(message) == f"🚚 *<{url}|a¦b &lt;c&gt;>* is transporting (1000 chunks)"
    assert "http" not in message.text


@pytest.mark.parametrize("job_link", ["", "https://a.example/" + "x" * 600 + "/{job_id}"])
def test_without_a_link_that_fits_the_name_is_bold(job_link: str) -> None:
    assert title(observed(job_link=job_link)) == "🚚 *Name of j1* is transporting (1000 chunks)"


def test_an_event_about_no_job_has_no_link() -> None:
    assert "http" not in title(other("source.up", summary="source allium answers again after 12m"))


def test_a_mention_stands_at_the_end_of_the_first_line() -> None:
    message = observed(mention=MENTION)
    assert title(message) == f"🚚 *Name of j1* is transporting (1000 chunks) {MENTION}"
    assert message.text == f"🚚 Name of j1 is transporting (1000 chunks) {MENTION}"
    assert not any("<@" in text for text in texts(message.attachments))


def test_a_job_that_is_called_like_a_sample_keeps_its_name() -> None:
    message = observed("completed", job_name="Test: USDC", time_created="2026-01-31T10:00:00Z")
    assert title(message) == "✅ *Test: USDC* completed in 30m (1000 chunks)"
    assert message.text == "✅ Test: USDC completed in 30m (1000 chunks)"
    assert "sample" not in foot(message)


@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({}, "2024-01-01 → 2024-02-01 by `block_timestamp`"),
        ({"partition_key": None}, "2024-01-01 → 2024-02-01"),
        (
            {"partition_key": "block", "backfill_start": 18_000_000, "backfill_end": 19_000_000},
            "18,000,000 → 19,000,000 by `block`",
        ),
        (
            {"partition_key": "block", "backfill_start": "0", "backfill_end": "19000000"},
            "0 → 19,000,000 by `block`",
        ),
        (
            {"backfill_start": "2024-01-01T10:30:00Z", "backfill_end": None},
            "2024-01-01 10:30:00 UTC → … by `block_timestamp`",
        ),
        ({"backfill_start": None, "backfill_end": "2024-02-01"}, "… → 2024-02-01 by `block_timestamp`"),
        ({"backfill_start": "EARLIEST", "backfill_end": "LATEST"}, "EARLIEST → LATEST by `block_timestamp`"),
        ({"backfill_start": None, "backfill_end": None}, None),
        ({"backfill_start": True, "backfill_end": ["x"]}, None),
    ],
)
def test_the_window_is_shown_as_it_was_ordered(fields: dict[str, Any], window: str | None) -> None:
    assert facts(observed(**fields)).get("Window") == window


@pytest.mark.parametrize(
    ("column", "values", "shown"),
    [
        ("token", ["a"], "`token` = `a`"),
        ("token", ["a", "b", "c"], "`token` = `a`, `b`, `c`"),
        ("token", ["a", "b", "c", "d"], "`token` = `a`, `b`, `c` and 1 more"),
        ("token", [f"{n}" for n in range(2003)], "`token` = `0`, `1`, `2` and 2,000 more"),
        ("token", [1, 2.5, True, None, {}], "`token` = `1`, `2.5`, `true`"),
        ("token", ["", "\n", "\x00", "x"], "`token` = … and 1 more"),
        ("token", [], "`token`"),
        ("token", "x", "`token`"),
        (None, ["a"], "`a`"),
        (None, None, None),
        ("to`ken", ["x" * 100], f"`toˋken` = `{'x' * 79}…`"),
    ],
)
def test_the_filter_is_shown_as_far_as_it_fits(column: Any, values: Any, shown: str | None) -> None:
    assert facts(observed(filter_column=column, filter_values=values)).get("Filter") == shown


@pytest.mark.parametrize(
    ("destinations", "shown"),
    [
        ([{"type": "kafka", "name": "base"}], "kafka `base`"),
        ([{"type": "kafka"}, {"name": "lake"}, {}, 1], "kafka, `lake`"),
        (
            [{"type": "nats_jetstream", "name": "*a*", "url": "nats://u:p@h"}],
            "nats_jetstream `*a*`",
        ),
        ([{"type": f"t{n}"} for n in range(5)], "t0, t1, t2, t3, t4"),
        ([{"type": f"t{n}"} for n in range(7)], "t0, t1, t2, t3, t4, and 2 more"),
        ([], None),
        ("kafka", None),
    ],
)
def test_destinations_are_shown_by_type_and_name(destinations: Any, shown: str | None) -> None:
    assert facts(observed(destinations=destinations)).get("To") == shown


@pytest.mark.parametrize(
    ("total", "left", "shown"),
    [
        (1000, 1000, "▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱  0 %, 0 of 1,000 chunks"),
        (1000, 423, "▰▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱  57.7 %, 577 of 1,000 chunks"),
        (1000, 1, "▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▱  99.9 %, 999 of 1,000 chunks"),
        (1000, 0, "▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰  100 %, 1,000 of 1,000 chunks"),
        (2, 5, "▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱  0 %, 0 of 2 chunks"),
        (10**400, 5 * 10**399, "▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱▱  50 %"),
        (0, 0, None),
        (None, 5, None),
        (5, None, None),
    ],
)
def test_progress_is_a_bar_and_a_figure(total: Any, left: Any, shown: str | None) -> None:
    assert facts(observed(num_chunks=total, chunks_left=left)).get("Progress") == shown


CREATED = "<!date^1769850000^{date_short_pretty} at {time}|2026-01-31 09:00 UTC>"


@pytest.mark.parametrize(
    ("status", "created", "completed", "shown"),
    [
        ("transporting", "2026-01-31T09:00:00Z", None, f"ordered {CREATED}, running for 1h 30m"),
        ("paused", "2026-01-31T09:00:00Z", None, f"ordered {CREATED}, running for 1h 30m"),
        ("completed", "2026-01-31T09:00:00Z", "2026-01-31T10:00:00Z", f"ordered {CREATED}, took 1h"),
        ("failed", "2026-01-31T10:00:00+01:00", None, f"ordered {CREATED}, took 1h 30m"),
        # A time of completion is of no use while the job is active, nor one before its beginning.
        (
            "staging",
            "2026-01-31T09:00:00Z",
            "2026-01-31T09:30:00Z",
            f"ordered {CREATED}, running for 1h 30m",
        ),
        ("completed", "2026-01-31T09:00:00Z", "2026-01-30T10:00:00Z", f"ordered {CREATED}"),
        ("completed", None, "2026-01-31T10:00:00Z", None),
        ("completed", "yesterday", None, None),
    ],
)
def test_the_time_tells_how_long_it_has_taken(
    status: str, created: Any, completed: Any, shown: str | None
) -> None:
    assert facts(observed(status, time_created=created, time_completed=completed)).get("Time") == shown


def moving(
    status: str = "transporting",
    type_: str = "backfill.progress",
    *,
    progress: Progress | None = None,
    known: JobRecord | None = None,
) -> Message:
    """Return the message of a job that moves like this, and of which this is known."""
    payload = read_payload(payload_of(job_event(listed(**job("j1", status)), type_)))
    data = msgspec.structs.replace(payload.data, progress=progress or payload.data.progress)
    payload = Payload(payload.type, payload.timestamp, data)
    return checked(render(payload, job_link="", mention="", record=known))


@pytest.mark.parametrize(
    ("rate", "eta", "shown"),
    [
        (None, None, None),
        (1.0, None, "1 chunk a minute"),
        (5.2, None, "5.2 chunks a minute"),
        (1234567.0, None, "1,234,567 chunks a minute"),
        (0.05, None, "a chunk in 20m"),
        (
            10.0,
            "2026-01-31T11:20:59.999Z",
            f"10 chunks a minute, done about {date(50)}",
        ),
    ],
)
def test_how_fast_a_job_is_and_when_it_is_done_is_told(
    rate: float | None, eta: str | None, shown: str | None
) -> None:
    progress = Progress(1000, 500, 50.0, rate, eta)
    assert facts(moving(progress=progress)).get("Pace") == shown


@pytest.mark.parametrize("status", ["staging", "paused", "completed", "failed"])
def test_a_job_that_does_not_transport_has_no_pace(status: str) -> None:
    fast = Progress(1000, 500, 50.0, 10.0, None)
    assert "Pace" not in facts(moving(status, f"backfill.{status}", progress=fast))


def seen(*phases: tuple[str, float | None]) -> JobRecord:
    """Return the record of a job that was in these statuses since these minutes."""
    times = (Phase(name, None if since is None else at(since)) for name, since in phases)
    old = record(status=phases[-1][0])
    return msgspec.structs.replace(old, snapshot=msgspec.structs.replace(old.snapshot, phases=tuple(times)))


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        (None, None),
        (seen(("transporting", -5)), None),
        (seen(("staging", -36), ("transporting", -6)), f"staging 30m → transporting since {date(-6)}"),
        (seen(("staging", None), ("transporting", -6)), f"staging → transporting since {date(-6)}"),
        # what came after the event is no part of it
        (
            seen(("staging", -36), ("transporting", 0), ("failed", 3)),
            f"staging 36m → transporting since {date(0)}",
        ),
        (seen(("staging", -36), ("transporting", 3), ("failed", 5)), None),
        (seen(("staging", -36), ("paused", -6)), None),
        (
            seen(("*x*<!here>", -36), ("transporting", -6)),
            f"∗x∗&lt;!here&gt; 30m → transporting since {date(-6)}",
        ),
    ],
)
def test_the_phases_of_a_job_until_the_event_are_told_when_its_record_knows_them(
    known: JobRecord | None, shown: str | None
) -> None:
    assert facts(moving(known=known)).get("Phases") == shown


def test_the_phases_of_a_job_that_has_ended_end_with_when_it_did() -> None:
    known = seen(("staging", -36), ("transporting", -6), ("failed", 0))
    found = facts(moving("failed", "backfill.failed", known=known))
    assert found["Phases"] == f"staging 30m → transporting 6m → failed {date(0)}"


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        ("backfill.stalled", ", running for 30m"),
        ("backfill.resumed", ", running for 30m"),
        ("backfill.progress", ", running for 30m"),
        # nobody knows whether it still runs
        ("backfill.removed", ""),
    ],
)
def test_trouble_tells_for_how_long_the_job_has_been_running(type_: str, words: str) -> None:
    message = observed("transporting", type_, time_created="2026-01-31T10:00:00Z")
    assert facts(message)["Time"] == f"ordered {date(-30)}{words}"


def test_the_duration_is_counted_to_the_observation() -> None:
    message = observed(time_created="2026-01-31T09:00:00Z", now=NOW + timedelta(days=2))
    assert facts(message)["Time"].endswith("running for 2d 1h")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("out of memory", "```out of memory```"),
        ("``` <!channel> `x`", "```ˋˋˋ &lt;!channel&gt; ˋxˋ```"),
        ("a\n\tb\r\n    c\x00d\n\n", "```a\n    b\n    c d```"),
        ("x" * 5000, "```" + "x" * 2893 + "…```"),
        ("\x00\n\u202e", None),
        (" ", None),
        ({"code": 1}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", ["failed", "transporting"])
def test_an_error_is_a_block_of_code(error: Any, shown: str | None, status: str) -> None:
    blocks = [text for text in sections(observed(status, error_message=error)) if text.startswith("```")]
    assert blocks == ([] if shown is None else [shown])


@pytest.mark.parametrize(
    "status", ["paused", "PAUSED", "on hold", "progress", "<!channel>", "✅", "\x00", ""]
)
def test_an_unknown_status_is_told_in_its_own_words(status: str) -> None:
    message = observed(status)
    shown = status.replace("<", "&lt;").replace(">", "&gt;").strip("\x00") or "of an empty status"
    assert title(message) == f"🔹 *Name of j1* is now {shown}"
    assert message.attachments[0]["color"] == "#868e96"


@pytest.mark.parametrize(
    ("type_", "fields", "line", "blocks", "under"),
    [
        (
            "delivery.dead",
            {"summary": "a delivery to ops was given up: no", "reason": "no", "delivery_id": "dlv_1"},
            "📭 *a delivery to ops was given up: no*",
            [],
            "allium · dlv_1",
        ),
        (
            "source.down",
            {"summary": "source allium has had no good poll for 5m", "reason": "answered\n503 <x>"},
            "🚨 *source allium has had no good poll for 5m*",
            ["```answered\n503 &lt;x&gt;```"],
            "allium",
        ),
        ("source.odd", {"summary": "*what* <!here>"}, "🔹 *∗what∗ &lt;!here&gt;*", [], "allium"),
    ],
)
def test_an_event_about_no_job_says_what_happened(
    type_: str, fields: dict[str, Any], line: str, blocks: list[str], under: str
) -> None:
    message = other(type_, target="ops", **fields)
    assert (title(message), sections(message), foot(message)) == (line, blocks, under)


# ------------------------------------------------------------------------------------- plain text


def test_as_plain_text_a_message_says_the_same_without_blocks() -> None:
    message = observed("failed", error_message="out of memory", mention=MENTION)
    plain = checked(as_plain_text(message))
    assert plain.arguments().keys() == {"text", "unfurl_links", "unfurl_media"}
    assert plain.text.split("\n") == [message.text, *"\n".join(sections(message)).split("\n")]


def test_as_plain_text_a_long_message_keeps_the_sections_that_fit() -> None:
    message = observed("failed", error_message="&" * 5000, job_name="&" * 500)
    facts, error = sections(message)
    assert len(message.text) + len(facts) + len(error) > 4000
    assert checked(as_plain_text(message)).text == f"{message.text}\n{facts}"


def test_links_are_not_unfolded() -> None:
    arguments = observed(job_link=JOB_LINK).arguments()
    assert (arguments["unfurl_links"], arguments["unfurl_media"]) == (False, False)


# ---------------------------------------------------------------------------------------- mentions


@pytest.mark.parametrize(
    ("mentions", "type_", "mention"),
    [
        ({"backfill.failed": "<!here>"}, "backfill.failed", "<!here>"),
        ({"backfill.failed": "<!here>"}, "backfill.completed", ""),
        ({"backfill.*": "<!here>"}, "backfill.paused", "<!here>"),
        ({"Backfill.FAILED": "<!here>"}, "backfill.failed", "<!here>"),
        ({"backfill.f*": "<@U1>", "*.failed": "<@U2>"}, "backfill.failed", "<@U1> <@U2>"),
        ({"backfill.f*": "<@U1>", "*": "<@U1>"}, "backfill.failed", "<@U1>"),
        ({"*.down": "<@U1>"}, "source.down", "<@U1>"),
        ({}, "backfill.failed", ""),
    ],
)
def test_an_event_mentions_whom_its_type_is_for(mentions: dict[str, str], type_: str, mention: str) -> None:
    assert mention_for(type_, mentions) == mention


def test_mentions_that_do_not_fit_are_left_out_whole() -> None:
    mentions = {"*" * n: f"<@U{n}{'0' * 200}>" for n in range(1, 4)} | {"backfill.*": "<@U4>"}
    first, second, _, last = mentions.values()
    assert mention_for("backfill.failed", mentions) == f"{first} {second} {last}"


# -------------------------------------------------------------------------------- hostile contents


def mrkdwn(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every text object that Slack would read as mrkdwn."""
    if isinstance(value, dict) and value.get("type") == "mrkdwn":
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mrkdwn(item)


def check_harmless(message: Message, *, mention: str, link_start: str) -> None:
    """Fail if Slack would refuse the message, or anything foreign in it means something."""
    arguments = json.loads(json.dumps({"channel": "C0DATA", **message.arguments()}))
    check_post(arguments)
    check_message(arguments)
    post = Post(channel=Channel(id="C0DATA", name="data"), ts="1.2", message=arguments)
    assert post.pings == re.findall(r"<([^|>]+)", mention)
    # Else Slack looks for names of channels and people by itself.
    assert all(text["verbatim"] is True for text in mrkdwn(arguments))
    for text in texts({key: value for key, value in arguments.items() if key != "channel"}):
        left = DATE.sub("", text.replace(f" {mention}", "", 1) if mention else text, count=1)
        starts = re.findall(rf"<(?!{re.escape(link_start)})", left) if link_start else re.findall("<", left)
        assert not starts, left
        assert not re.search(r"&(?!(?:amp|lt|gt);)", left), left


@given(
    hostile_events(),
    st.sampled_from(["", JOB_LINK, "https://a.example/" + "x" * 500 + "&{job_id}{job_id}"]),
    st.sampled_from(["", MENTION, "<@U" + "0" * 495 + ">"]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_listed_makes_a_message_that_slack_takes_and_that_pings_nobody(
    event: Event, job_link: str, mention: str
) -> None:
    message = render(read_payload(payload_of(event)), job_link=job_link, mention=mention)
    start = job_link.partition("{")[0].replace("&", "&amp;")
    check_harmless(message, mention=mention, link_start=start)
    check_harmless(as_plain_text(message), mention=mention, link_start="")


@pytest.mark.parametrize("character", ["&", "<", "😀", "é", "*", "`", "x", "{"])
@pytest.mark.parametrize("job_id", ["j1", ""])
def test_the_longest_fields_of_the_longest_characters_fit(character: str, job_id: str) -> None:
    long = character * 5000
    message = observed(
        long,
        mention="<@U" + "0" * 495 + ">",
        job_link="https://a.example/" + "x" * 540 + "/{job_id}",
        job_id=job_id or long,
        job_name=long,
        table=long,
        partition_key=long,
        backfill_start=long,
        backfill_end=long,
        filter_column=long,
        filter_values=[long] * 300,
        destinations=[{"type": long, "name": long}] * 300,
        error_message=long,
        time_created="0001-01-01T00:00:00Z",
        num_chunks=10**400,
        chunks_left=10**399,
    )
    assert title(message).endswith("0>")
    assert ("https://a.example/" in title(message)) == (job_id == "j1")
    assert sections(message)[-1].endswith("…```")
    checked(as_plain_text(message))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(), st.text())
@settings(max_examples=50, deadline=None)
def test_whatever_is_said_of_no_job_makes_a_message_that_pings_nobody(
    type_: str, summary: str, reason: str
) -> None:
    data = Data(event_id="evt_1", source="allium", summary=f"target {summary}", reason=reason, target="x")
    payload = read_payload(encode_payload(type_, datetime(1, 1, 1, tzinfo=UTC), data))
    message = render(payload, job_link=JOB_LINK, mention="")
    check_harmless(message, mention="", link_start="")
    check_harmless(as_plain_text(message), mention="", link_start="")
