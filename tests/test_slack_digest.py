import io
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from notifier.demo.blocks import check_message
from notifier.demo.slack import Channel, Post
from notifier.drawing import draw_message
from notifier.model import ALL_TYPES, JOB_TYPES, OTHER_TYPES, Event
from notifier.sample import sample_event
from notifier.targets.slack.digest import render_digest, render_plain_digest
from notifier.targets.slack.look import look_of, rank_of, words_of
from notifier.targets.slack.message import Message
from tests.servers import job
from tests.slack import DATE, NOW, hostile_events, job_event, listed, texts
from tests.slack_rules import check_post, check_webhook

JOB_LINK = "https://app.allium.so/beam/{job_id}?a=1&b=2"
LINK_START = "https://app.allium.so/beam/"
OBSERVED = "observed <!date^1769855400^{date_short_pretty} at {time}|2026-01-31 10:30 UTC>"

Render = Callable[..., Message]
both = pytest.mark.parametrize("render", [render_digest, render_plain_digest])


def of(job_id: str, status: str = "staging", type_: str = "", **fields: Any) -> Event:
    """Return an event of a job; a given type or summary replaces what was observed."""
    summary = fields.pop("summary", None)
    event = job_event(listed(**(job(job_id, status) | {"time_created": None} | fields)), type_)
    return event if summary is None else msgspec.structs.replace(event, summary=summary)


def about_no_job(type_: str, summary: str = "something is wrong") -> Event:
    event = sample_event(type_, source="allium", event_id="evt_1", now=NOW)
    return msgspec.structs.replace(event, summary=summary)


def many(**numbers: int) -> list[Event]:
    """Return so many events of each status, mixed."""
    found = [of(f"{status}{n}", status) for status, number in numbers.items() for n in range(number)]
    random.Random(1).shuffle(found)
    return found


def drawn(
    render: Render,
    events: Sequence[Event],
    *,
    source: str = "allium",
    job_link: str = "",
    mentions: Mapping[str, str] | None = None,
) -> Message:
    """Return the digest, after a check that Slack takes it."""
    message = render(events, source=source, job_link=job_link, mentions=mentions or {})
    arguments = posted(message)
    check_webhook(arguments)
    check_post({"channel": "C0DATA", **arguments})
    check_message(arguments)
    return message


def posted(message: Message) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(json.dumps(message.arguments()))
    return arguments


def top(message: Message) -> list[str]:
    """Return what stands above the lines."""
    if not message.blocks:
        return message.text.split("\n")[:1]
    return "\n".join(block["text"]["text"] for block in message.blocks).split("\n")


def body(message: Message) -> list[str]:
    """Return the lines, the one that counts the others included, without the foot."""
    if not message.blocks:
        return message.text.split("\n")[1:-1]
    blocks = [block for each in message.attachments for block in each["blocks"] if block["type"] == "section"]
    return "\n".join(block["text"]["text"] for block in blocks).split("\n")


def foot(message: Message) -> str:
    if not message.blocks:
        return message.text.split("\n")[-1]
    [element] = message.attachments[-1]["blocks"][-1]["elements"]
    return str(element["text"])


def lines_and_rest(message: Message) -> tuple[list[str], int]:
    """Return the lines of single events, and how many the last line counts."""
    lines = body(message)
    last = re.fullmatch(r"and ([\d,]+) more: (.+)", lines[-1]) if lines else None
    if last is None:
        return lines, 0
    assert total(last[2]) == total(last[1])
    return lines[:-1], total(last[1])


def counts(line: str) -> dict[str, int]:
    """Return how many of which kind a line such as `and 3 more: 2 failed, 1 paused` counts."""
    words = line.split(" <", maxsplit=1)[0].rpartition(": ")[2]
    found = [re.fullmatch(r"(?:\S+ )?([\d,]+) (.+)", each) for each in re.split(", | · ", words)]
    return {each[2]: total(each[1]) for each in found if each}


def total(text: str) -> int:
    """Return the sum of all numbers in a text, but for those in mentions."""
    found = re.findall(r"\d+(?:,\d{3})*", re.sub("<[^>]*>", "", text))
    return sum(int(each.replace(",", "")) for each in found)


# ----------------------------------------------------------------------------------- what it says


def test_a_digest_tells_how_many_of_which_kind_and_what_matters_most_first() -> None:
    events = [
        of("a"),
        of("b", "completed", time_created="2026-01-31T07:18:00Z"),
        of("c", "failed", error_message="out\nof memory", time_created="2026-01-31T07:18:00Z"),
        about_no_job("target.down", "target ops has failed for 5m"),
        of("d", "transporting", num_chunks=40),
        of("e", "failed", time_created="2026-01-31T10:00:00Z", num_chunks=None),
    ]
    message = drawn(render_digest, events, job_link=JOB_LINK, mentions={"backfill.failed": "<!here>"})
    assert message.text == (
        "❌ 6 events of allium: 2 failed, 1 target down, 1 completed, 1 transporting, 1 staging <!here>"
    )
    assert top(message) == [
        "*6 events of allium* <!here>",
        "❌ 2 failed · 🚨 1 target down · ✅ 1 completed · 🚚 1 transporting · 📦 1 staging",
    ]

    def link(name: str) -> str:
        return f"*<{LINK_START}{name}?a=1&amp;b=2|Name of {name}>*"

    assert [(bar["color"], bar["fallback"]) for bar in message.attachments] == [
        ("#e01e5a", "2 failed, 1 target down"),
        ("#2eb67d", "1 completed"),
        ("#1d9bd1", "1 transporting"),
        ("#868e96", "1 staging"),
    ]
    assert body(message) == [
        f"❌ {link('c')} failed after 3h 12m at 57.7 %: out of memory",
        f"❌ {link('e')} failed after 30m",
        "🚨 target ops has failed for 5m",
        f"✅ {link('b')} completed in 3h 12m (1000 chunks)",
        f"🚚 {link('d')} is transporting (40 chunks)",
        f"📦 {link('a')} is staging",
    ]
    assert foot(message) == OBSERVED


def test_as_plain_text_a_digest_says_the_same_without_blocks() -> None:
    events = [*many(failed=3, completed=7, staging=60), about_no_job("source.up")]
    mentions = {"backfill.failed": "<!here>"}
    message = drawn(render_digest, events, mentions=mentions)
    plain = drawn(render_plain_digest, events, mentions=mentions)
    assert plain.arguments().keys() == {"text", "unfurl_links", "unfurl_media"}
    assert plain.text.split("\n") == [message.text, *body(message), foot(message)]


@both
def test_beyond_forty_lines_the_others_are_counted(render: Render) -> None:
    events = many(staging=900, completed=88, failed=12)
    message = drawn(render, events)
    lines, rest = lines_and_rest(message)
    shown = [line.split()[0] for line in lines]
    assert (shown, rest) == (["❌"] * 12 + ["✅"] * 28, 960)
    assert body(message)[-1] == "and 960 more: 60 completed, 900 staging"
    assert counts(top(message)[-1]) == {"failed": 12, "completed": 88, "staging": 900}


@both
def test_what_is_not_more_than_forty_lines_needs_no_rest(render: Render) -> None:
    lines, rest = lines_and_rest(drawn(render, many(staging=40)))
    assert (len(lines), rest) == (40, 0)
    assert [line.split()[0] for line in lines] == ["📦"] * 40


@both
def test_equal_ones_stand_in_the_order_observed(render: Render) -> None:
    events = many(failed=4, completed=5, staging=6, paused=3, odd=3)
    message = drawn(render, events)
    expected = [event.summary for event in sorted(events, key=lambda event: rank_of(event.type))]
    assert [line.replace("*", "").partition(" ")[2] for line in body(message)] == expected
    unknown = [event.summary for event in events if event.type in ("backfill.paused", "backfill.odd")]
    assert [summary for summary in expected if summary in unknown] == unknown


@pytest.mark.parametrize("type_", ALL_TYPES)
@both
def test_any_event_has_a_line_of_its_own(render: Render, type_: str) -> None:
    event = about_no_job(type_) if type_ in OTHER_TYPES else of("a", type_=type_, summary="Name of a moves")
    message = drawn(render, [event, of("b")])
    words = "something is wrong" if type_ in OTHER_TYPES else "*Name of a* moves"
    assert f"{look_of(type_).emoji} {words}" in body(message)
    assert counts(top(message)[-1])[words_of(type_)] == (2 if type_ == "backfill.staging" else 1)


@both
def test_several_events_of_one_job_are_as_many_lines(render: Render) -> None:
    events = [of("a", "staging"), of("a", "transporting"), of("a", "completed")]
    assert [line.split()[0] for line in body(drawn(render, events))] == ["✅", "🚚", "📦"]


@both
def test_an_event_whose_payload_is_gone_is_told_by_its_summary(render: Render) -> None:
    gone = msgspec.structs.replace(of("a", "failed"), payload=msgspec.UNSET, summary="*a* <!here>\nfailed")
    silent = msgspec.structs.replace(gone, summary="\n")
    message = drawn(render, [of("b"), gone, silent])
    assert body(message) == [
        "❌ ∗a∗ &lt;!here&gt; failed",
        "❌ backfill.failed",
        "📦 *Name of b* is staging",
    ]


@both
def test_a_job_without_a_name_is_named_by_its_id(render: Render) -> None:
    message = drawn(render, [of("a", job_name=None), of("b", job_name="\n")], job_link=JOB_LINK)
    assert body(message) == [
        f"📦 *<{LINK_START}{each}?a=1&amp;b=2|job {each}>* is staging" for each in ("a", "b")
    ]


@both
def test_a_summary_that_begins_with_another_name_is_shown_whole(render: Render) -> None:
    message = drawn(render, [of("a", summary="what happened"), of("b")])
    assert body(message)[0] == "📦 *Name of a* what happened"


@both
def test_statuses_nobody_knows_are_counted_together_beyond_the_fifth(render: Render) -> None:
    odd = [of(f"{status}{n}", f"odd-{status}") for n in range(7) for status in "abcdefghi"]
    message = drawn(render, [*odd, of("s"), of("f", "failed")])
    named = {f"odd-{status}": 7 for status in "abcde"}
    assert counts(top(message)[-1]) == {"failed": 1, "staging": 1, **named, "of other kinds": 28}
    lines, rest = lines_and_rest(message)
    assert (len(lines), rest) == (40, 25)
    assert counts(body(message)[-1]).keys() <= {
        "staging",
        "of other kinds",
        *(f"odd-{x}" for x in "abcdefghi"),
    }


@both
def test_every_kind_that_is_known_is_counted_by_itself(render: Render) -> None:
    events = [about_no_job(type_) for type_ in OTHER_TYPES] + [of("a", type_=type_) for type_ in JOB_TYPES]
    message = drawn(render, events * 3)
    assert counts(top(message)[-1]) == {words_of(type_): 3 for type_ in ALL_TYPES}


@both
def test_a_status_of_which_nothing_can_be_shown_is_counted_in_words(render: Render) -> None:
    message = drawn(render, [of("a", ""), of("b", "\x00\u202e"), of("c", "x" * 100)])
    assert "1 of an empty status, 1 of an empty status, 1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" in message.text


@both
def test_the_time_of_observation_is_told_in_the_reader_s_own(render: Render) -> None:
    first, same, last = (
        msgspec.structs.replace(of("a"), observed_at=NOW + wait)
        for wait in (timedelta(0), timedelta(seconds=59.9), timedelta(minutes=95))
    )
    assert foot(drawn(render, [same, first])) == OBSERVED
    later = OBSERVED.replace("1769855400", "1769861100").replace("10:30", "12:05").removeprefix("observed ")
    between = f"{OBSERVED.replace('observed', 'observed from')} to {later}"
    assert foot(drawn(render, [last, first, same])) == between


def test_a_terminal_shows_all_of_it() -> None:
    events = many(failed=2, completed=50, staging=8)
    message = drawn(render_digest, events, job_link=JOB_LINK, mentions={"*": "<!here>"})
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(draw_message(message.arguments()))
    shown = [line.rstrip() for line in capture.get().splitlines()]
    assert shown[:2] == [
        "60 events of allium @here",
        "❌ 2 failed · ✅ 50 completed · 📦 8 staging",
    ]
    assert [line[:3] for line in shown[2:-2]] == ["▌ ❌"] * 2 + ["▌ ✅"] * 38
    assert shown[-2] == "▌ and 20 more: 12 completed, 8 staging"
    assert shown[-1].startswith("▌ observed Jan 31 at ")


# ---------------------------------------------------------------------------------------- mentions


@pytest.mark.parametrize(
    ("mentions", "mention"),
    [
        ({}, ""),
        ({"backfill.stalled": "<!here>"}, ""),
        ({"backfill.failed": "<@U1>", "backfill.completed": "<@U2>"}, "<@U1> <@U2>"),
        ({"backfill.completed": "<@U2>", "backfill.failed": "<@U1>"}, "<@U1> <@U2>"),
        ({"backfill.failed": "<!here>", "backfill.completed": "<!here>"}, "<!here>"),
        ({"backfill.*": "<@U1>", "*": "<@U1>"}, "<@U1>"),
        ({"backfill.failed": "<@U1> <@U2>", "backfill.completed": "<@U2> <!here>"}, "<@U1> <@U2> <!here>"),
        ({"backfill.failed": "<@U1> <@U2>", "backfill.completed": "<@U2|bob> <@U1>"}, "<@U1> <@U2>"),
        ({"backfill.failed": "on call: <@U1>", "*": "all of <!here>"}, "on call: <@U1> all of <!here>"),
        ({"backfill.failed": "<@U1>", "backfill.completed": "nobody"}, "<@U1> nobody"),
        ({"backfill.staging": "<!subteam^S1|data team>"}, "<!subteam^S1|data team>"),
    ],
)
@both
def test_whom_any_of_the_events_mentions_is_mentioned_once(
    render: Render, mentions: dict[str, str], mention: str
) -> None:
    events = many(completed=80, staging=20, failed=2)  # no line is left for what is staging
    message = drawn(render, events, mentions=mentions)
    first = [message.text.split("\n")[0], *top(message)[:1]]
    assert [line.partition("staging")[2].strip() for line in first[:1]] == [mention]
    assert first[1].endswith(mention)
    post = Post(channel=Channel(id="C0DATA", name="data"), ts="1.2", message=posted(message))
    assert post.pings == re.findall(r"<([^<>|]+)", mention)
    assert sum(text.count("<!here>") for text in body(message)) == 0


@both
def test_mentions_that_do_not_fit_are_left_out_whole_and_those_of_what_matters_less(render: Render) -> None:
    mentions = {
        f"backfill.{status}": f"<@U{number}{'0' * 300}>"
        for number, status in enumerate(["staging", "completed", "failed", "cancelled"])
    }
    events = many(staging=1, completed=1, failed=1, cancelled=1)
    post = Post(
        channel=Channel(id="C0DATA", name="data"),
        ts="1.2",
        message=posted(drawn(render, events, mentions=mentions)),
    )
    assert [ping[:3] for ping in post.pings] == ["@U2", "@U3", "@U1"]


# -------------------------------------------------------------------------------- hostile contents


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"job_name": "<!channel> <@U123|you>"},
            "❌ *&lt;!channel&gt; &lt;@U123|you&gt;* failed after under 1s",
        ),
        ({"job_name": "*a* _b_ ~c~ `d`"}, "❌ *∗a∗ ＿b＿ ∼c∼ ˋdˋ* failed after under 1s"),
        ({"job_name": "a\nb\r\n\tc\u202ed"}, "❌ *a b c d* failed after under 1s"),
        ({"job_name": "and 5 more: 5 failed"}, "❌ *and 5 more: 5 failed* failed after under 1s"),
        ({"job_name": "x" * 500}, f"❌ *{'x' * 99}…* failed after under 1s"),
        (
            {"error_message": "```\n<!here>\n*x* &amp;"},
            "❌ *Name of a* failed after under 1s: ˋˋˋ &lt;!here&gt; ∗x∗ &amp;amp;",
        ),
        ({"error_message": "y" * 500}, f"❌ *Name of a* failed after under 1s: {'y' * 136}…"),
    ],
)
@both
def test_foreign_text_stays_on_its_line_and_means_nothing(
    render: Render, fields: dict[str, Any], line: str
) -> None:
    message = drawn(render, [of("a", "failed", num_chunks=None, **fields), of("b")])
    assert body(message) == [line, "📦 *Name of b* is staging"]


@both
def test_a_long_link_leaves_fewer_lines_and_the_others_are_counted(render: Render) -> None:
    events = many(failed=30, staging=30)
    link = "https://a.example/" + "x" * 560 + "/{job_id}"
    message = drawn(render, events, job_link=link)
    lines, rest = lines_and_rest(message)
    assert 2 <= len(lines) < 30
    assert rest == 60 - len(lines)
    assert counts(body(message)[-1]) == {"failed": 30 - len(lines), "staging": 30}


@both
def test_a_link_that_is_too_long_is_left_out(render: Render) -> None:
    message = drawn(render, many(failed=2), job_link="https://a.example/" + "x" * 600 + "/{job_id}")
    assert len(body(message)) == 2
    assert "http" not in "".join(texts(posted(message)))


@pytest.mark.parametrize("character", ["&", "<", "😀", "é", "*", "`", "x"])
@both
def test_the_longest_fields_of_the_longest_characters_fit(render: Render, character: str) -> None:
    long = character * 5000
    events = [
        of(f"{n}", ("abcdefghijklmnop"[n % 16]) + long, job_name=long, error_message=long) for n in range(50)
    ]
    message = drawn(
        render,
        events,
        source=long,
        job_link="https://a.example/" + "x" * 560 + "/{job_id}",
        mentions={f"*{n}*": f"<@U{n}{'0' * 480}>" for n in range(9)},
    )
    assert total(top(message)[-1]) == (100 if render is render_plain_digest else 50)
    lines, rest = lines_and_rest(message)
    # As plain text what stands above them may leave no room: it counts them all.
    assert len(lines) + rest == 50 or (not lines and render is render_plain_digest)


@st.composite
def _storms(draw: st.DrawFn) -> list[Event]:
    """Return 2 to 1000 events, made of a few."""
    others = st.builds(about_no_job, st.sampled_from(OTHER_TYPES), st.text(max_size=20))
    pool = draw(st.lists(hostile_events() | others, min_size=1, max_size=6))
    # Without digits, or a status such as "failed, 5 paused" would look like two counts.
    foreign = st.text(st.characters(exclude_categories=["Cs", "Nd"]), max_size=50)
    types = st.sampled_from(ALL_TYPES) | foreign.map("backfill.{}".format)
    pool = [
        msgspec.structs.replace(draw(st.sampled_from(pool)), type=type_)
        for type_ in draw(st.lists(types, min_size=1, max_size=14))
    ]
    pool.append(msgspec.structs.replace(draw(st.sampled_from(pool)), payload=msgspec.UNSET))
    number = draw(st.integers(2, 60) | st.integers(61, 1000))
    return random.Random(draw(st.integers(0, 2**32))).choices(pool, k=number)


@given(
    _storms(),
    st.sampled_from(["", JOB_LINK, "https://a.example/" + "x" * 500 + "&{job_id}{job_id}"]),
    st.sampled_from([{}, {"*": "<!subteam^S0123|oncall> <@U0123>", "backfill.failed": "<@U0123>"}]),
    st.sampled_from([render_digest, render_plain_digest]),
)
@example(many(staging=1000), JOB_LINK, {}, render_digest)
@example(many(staging=2), "", {}, render_plain_digest)
@settings(max_examples=120, deadline=None)
def test_whatever_happens_each_event_is_a_line_or_counted_and_means_nothing(
    events: list[Event], job_link: str, mentions: dict[str, str], render: Render
) -> None:
    message = drawn(render, events, job_link=job_link, mentions=mentions)
    lines, rest = lines_and_rest(message)
    assert 0 < len(lines) <= 40
    assert len(lines) + rest == len(events)
    ranked = sorted(events, key=lambda event: rank_of(event.type))
    for event, line in zip(ranked, lines, strict=False):
        assert line.split(" ")[0] == look_of(event.type).emoji
    assert total(top(message)[-1]) == (2 if render is render_plain_digest else 1) * len(events)

    post = Post(channel=Channel(id="C0DATA", name="data"), ts="1.2", message=posted(message))
    mention = mentions.get("*", "")
    assert post.pings == re.findall(r"<([^|>]+)", mention)
    start = re.escape(job_link.partition("{")[0].replace("&", "&amp;")) if job_link else "$"
    for text in texts(posted(message)):
        left = DATE.sub("", text.replace(f" {mention}", "", 1) if mention else text, count=2)
        assert not re.search(rf"<(?!{start})", left), left
        assert not re.search(r"&(?!(?:amp|lt|gt);)", left), left

    stored = msgspec.json.decode(msgspec.json.encode(events), type=list[Event])
    again = render(stored, source="allium", job_link=job_link, mentions=mentions)
    assert msgspec.json.encode(again) == msgspec.json.encode(message)
