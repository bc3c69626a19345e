import io
import json
import re
import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from rich.console import Console, RenderableType

from notifier.drawing import draw_message, draw_mrkdwn
from notifier.model import ALL_TYPES, Event
from notifier.payload import read_payload
from notifier.sample import sample_event
from notifier.targets.slack.message import Message, as_plain_text, render
from tests.servers import job
from tests.slack import NOW, hostile_events, job_event, listed


def drawn(content: RenderableType, *, width: int = 100, colours: bool = False) -> str:
    """Return what a terminal is given."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="truecolor" if colours else None,
        legacy_windows=False,
    )
    console.print(content)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def lines(content: RenderableType, width: int = 100) -> list[str]:
    return [line.rstrip() for line in drawn(content, width=width).rstrip("\n").split("\n")]


def message_of(event: Event, mention: str = "") -> Message:
    assert isinstance(event.payload, msgspec.Raw)
    return render(read_payload(event.payload), job_link="https://a.example/{job_id}", mention=mention)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("as it is", "as it is"),
        ("*bold* and plain", "bold and plain"),
        ("a*b*c 2 * 3", "abc 2 * 3"),
        ("`code` `*not bold*`", "code *not bold*"),
        ("```a\n  b```", "a\n  b"),
        ("&lt;b&gt; &amp; &amp;lt;", "<b> & &lt;"),
        ("*&lt;b&gt;* `a &amp; b`", "<b> a & b"),
        ("<https://a.example/?a=1&amp;b=2|the job>", "the job"),
        ("*<https://a.example/|the job>* failed", "the job failed"),
        ("<https://a.example/?a=1&amp;b=2>", "https://a.example/?a=1&b=2"),
        ("<!here> <!channel>", "@here @channel"),
        ("<!subteam^S0123> <!subteam^S0123|on &amp; call>", "@S0123 @on & call"),
        ("<@U0123> <@U0123|anna>", "@U0123 @anna"),
        (
            "<!date^1769855400^{date_short_pretty} at {time}|2026-01-31 10:30 UTC>",
            "Jan 31 at 10:30",
        ),
        ("<!date^x^{time}|some day>", "some day"),
        ("<!date^999999999999999^{time}|one day>", "one day"),
        ("<!date|never>", "@never"),
        ("half <b of * a ` token", "half <b of * a ` token"),
        ("", ""),
    ],
)
def test_mrkdwn_reads_as_in_slack(source: str, text: str) -> None:
    assert draw_mrkdwn(source).plain == text


def test_a_time_is_the_readers() -> None:
    source = f"<!date^{int(datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp())}^{{time}}|x>"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1")
        time.tzset()
        assert draw_mrkdwn(source).plain == "Feb 01 at 00:30"


@pytest.mark.parametrize(
    ("source", "styles"),
    [
        ("*a*", {"bold"}),
        ("`a`", {"#e8912d"}),
        ("```a```", {"#e8912d"}),
        ("<https://a.example/|a>", {"#1d9bd1 link https://a.example/"}),
        ("*<https://a.example/|a>*", {"bold", "#1d9bd1 link https://a.example/"}),
        ("a", set()),
    ],
)
def test_what_means_something_is_styled(source: str, styles: set[str]) -> None:
    assert {str(span.style) for span in draw_mrkdwn(source).spans} == styles


def test_a_message_is_drawn_as_slack_shows_it() -> None:
    message = message_of(
        job_event(
            listed(
                **(
                    job("j1", "failed")
                    | {
                        "job_name": "USDC & <co>",
                        "time_created": "2026-01-31T09:00:00Z",
                        "error_message": "Traceback:\n  File x",
                    }
                )
            )
        ),
        mention="<!subteam^S0123|oncall>",
    )
    assert lines(draw_message(message.arguments())) == [
        "❌ USDC & <co> failed after 1h 30m at 57.7 % @oncall",
        "▌ Table  base.assets.erc20_token_transfers",
        "▌ Window  2024-01-01 → 2024-02-01 by block_timestamp",
        "▌ Filter  token_address = 0x833589fcd6edb6e08f4c7c32d4f71b54bda02913",
        "▌ To  kafka base-usdc",
        "▌ Progress  ▰▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱  57.7 %, 577 of 1,000 chunks",
        "▌ Time  ordered Jan 31 at 09:00, took 1h 30m",
        "▌ Traceback:",
        "▌   File x",
        "▌ allium · j1",
    ]


def test_a_message_of_text_alone_is_its_text() -> None:
    arguments = {"text": "*Failed* &amp; <!here>"}
    assert lines(draw_message(arguments)) == ["Failed & @here"]


@pytest.mark.parametrize("type_", ALL_TYPES)
def test_every_sample_can_be_drawn(type_: str) -> None:
    message = message_of(sample_event(type_, source="allium", event_id="evt_1", now=NOW))
    first, *rest = lines(draw_message(message.arguments()))
    assert first.split(" ", 1)[1].startswith("Test: ")
    assert rest[-1].endswith("a sample: nothing happened")
    assert all(line.startswith("▌ ") for line in rest)
    assert lines(draw_message(as_plain_text(message).arguments()))[0].startswith(first)


def test_a_bar_has_the_colour_of_the_status() -> None:
    message = message_of(sample_event("backfill.failed", source="allium", event_id="evt_1", now=NOW))
    assert "\x1b[38;2;224;30;90m▌ " in drawn(draw_message(message.arguments()), colours=True)


@pytest.mark.parametrize("width", [4, 12, 40])
def test_a_narrow_terminal_shows_all_words(width: int) -> None:
    message = message_of(sample_event("backfill.staging", source="allium", event_id="evt_1", now=NOW))
    shown = re.sub(r"[▌\s]", "", drawn(draw_message(message.arguments()), width=width))
    assert "USDCtransfersJan2024isstaging" in shown
    assert "base.assets.erc20_token_transfers" in shown


# -------------------------------------------------------------------------------- hostile contents


def _controls(text: str) -> set[str]:
    """Return the characters that could steer a terminal."""
    steering = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    return steering - {"\n", "\u200c", "\u200d"}  # joiners only shape what they stand in


def test_nothing_in_a_name_can_steer_the_terminal() -> None:
    name = "a\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil.example\x1b\\b\x9b31m\r\x08\x00\u202ec"
    fields = dict.fromkeys(("job_name", "table", "filter_column", "error_message"), name)
    message = message_of(job_event(listed(**(job("j\x1b[1m", "failed") | fields))))
    assert _controls(json.dumps(message.arguments(), ensure_ascii=False)) == set()
    shown = drawn(draw_message(message.arguments()))
    assert _controls(shown) == set()
    assert "a [2J ]0;title ]8;;http://evil.example \\b 31m c" in shown


@given(hostile_events())
@settings(max_examples=50, deadline=None)
def test_whatever_is_listed_can_be_drawn_and_steers_nothing(event: Event) -> None:
    message = message_of(event, mention="<!here>")
    for each in (message, as_plain_text(message)):
        arguments: dict[str, Any] = json.loads(json.dumps(each.arguments()))
        shown = drawn(draw_message(arguments))
        assert _controls(shown) == set()
        assert "@here" in shown
