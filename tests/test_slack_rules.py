import copy
import json
from typing import Any

import pytest

from tests.slack_rules import check_post, check_update, check_webhook

_Message = dict[str, Any]


def _plain(text: str) -> _Message:
    return {"type": "plain_text", "text": text}


def _mrkdwn(text: str) -> _Message:
    return {"type": "mrkdwn", "text": text}


def _header(text: str) -> _Message:
    return {"type": "header", "text": _plain(text)}


def _section(text: str) -> _Message:
    return {"type": "section", "text": _mrkdwn(text)}


def _fields(*texts: str) -> _Message:
    return {"type": "section", "fields": [_mrkdwn(text) for text in texts]}


def _context(*texts: str) -> _Message:
    return {"type": "context", "elements": [_mrkdwn(text) for text in texts]}


def _text(text: str, **more: Any) -> _Message:
    return {"type": "text", "text": text, **more}


def _link(url: str, **more: Any) -> _Message:
    return {"type": "link", "url": url, **more}


def _rich(*elements: _Message, type_: str = "rich_text_section") -> _Message:
    return {"type": "rich_text", "elements": [{"type": type_, "elements": list(elements)}]}


def _button(text: str, **more: Any) -> _Message:
    return {"type": "button", "text": _plain(text), **more}


def _blocks(*blocks: _Message) -> _Message:
    return {"blocks": list(blocks)}


def _attachment(**changes: Any) -> _Message:
    return {"fallback": "Backfill failed", "color": "#d72b3f", "blocks": [_section("Failed")]} | changes


def _attachments(*attachments: _Message) -> _Message:
    return {"attachments": list(attachments)}


def _metadata(payload: Any, event_type: str = "backfill_failed") -> _Message:
    return {"metadata": {"event_type": event_type, "event_payload": payload}}


_DIVIDER = {"type": "divider"}

_GOOD: dict[str, _Message] = {
    "text alone": {},
    "line breaks, emoji and accents in the text": {"text": "Fehlgeschlagen …\n👩‍💻 né"},
    "the longest text": {"text": "x" * 4000},
    "a header": _blocks(_header("x" * 150)),
    "a section": _blocks(_section("x" * 3000)),
    "a section's fields": _blocks(_fields(*["x" * 2000] * 10)),
    "a section's button": _blocks(
        _section("Failed") | {"accessory": _button("Open", url="https://a.example/")}
    ),
    "a context": _blocks(_context(*["x" * 2000] * 10)),
    "a context's image": _blocks(
        {
            "type": "context",
            "elements": [{"type": "image", "image_url": "https://a.example/i.png", "alt_text": "failed"}],
        }
    ),
    "rich text": _blocks(
        _rich(
            {"type": "emoji", "name": "x"},
            _text("Failed", style={"bold": True}),
            _link("https://a.example/", text="the job"),
            _link("http://a.example/", style={"code": True}),
            {"type": "usergroup", "usergroup_id": "S0123456789"},
            {"type": "user", "user_id": "U0123456789"},
            {"type": "channel", "channel_id": "C0123456789"},
            {"type": "broadcast", "range": "here"},
            {"type": "date", "timestamp": 1_770_000_000, "format": "{time}", "fallback": "10:30"},
        )
    ),
    "preformatted rich text": _blocks(
        _rich(_text("x" * 2999), _text("\n"), type_="rich_text_preformatted"),
        _rich(_text("x" * 3000), type_="rich_text_quote"),
    ),
    "a list in rich text": _blocks(
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_list",
                    "style": "bullet",
                    "elements": [{"type": "rich_text_section", "elements": [_text("one")]}],
                }
            ],
        }
    ),
    "a block the library does not know": _blocks(
        {"type": "data_table", "caption": "jobs", "rows": [[{"type": "raw_text", "text": "one"}]]}
    ),
    "as many blocks as there may be": _blocks(*[_DIVIDER] * 50),
    "a coloured attachment": _attachments(_attachment()),
    "an attachment without a colour": _attachments({"fallback": "x" * 4000, "blocks": [_DIVIDER]}),
    "as many attachments as there may be": _attachments(*[_attachment()] * 20),
    "metadata": _metadata({"id": "evt_1", "n": 1, "ok": True, "job": {"id": "j"}, "jobs": [{"id": "j"}]}),
    "the largest metadata": _metadata({"x": "é" * 3996}),
    "all at once": _blocks(_DIVIDER)
    | _attachments(_attachment())
    | _metadata({})
    | {"unfurl_links": False, "unfurl_media": False},
}

# Each with a part of what the check says, so that no case is refused for a reason it is not about.
_BAD: dict[str, tuple[_Message, str]] = {
    "no text": ({"text": None}, "$.text"),
    "an empty text": ({"text": ""}, "$.text: missing or empty"),
    "a long text": ({"text": "x" * 4001}, "$.text: 4001 characters"),
    "an unknown key": ({"colour": "red"}, "'colour' was unexpected"),
    "the token": ({"token": "xoxb-1"}, "'token' was unexpected"),
    "text in markdown beside the text": ({"markdown_text": "x"}, "'markdown_text' was unexpected"),
    "an unknown block": (_blocks({"type": "nope"}), "$.blocks[0]: the type 'nope' is none of ['actions',"),
    "a block without a type": (_blocks({"block_id": "x"}), "$.blocks[0]: "),
    "a misspelled key in a block": (
        _blocks({"type": "section", "txt": _mrkdwn("x")}),
        "$.blocks[0]: Additional properties are not allowed ('txt' was unexpected)",
    ),
    "a missing key in a block": (_blocks({"type": "header"}), "$.blocks[0]: 'text' is a required property"),
    "an element as a block": (_blocks(_button("x")), "$.blocks[0]: the type 'button' is none of"),
    "a button in a context": (
        _blocks({"type": "context", "elements": [_button("x")]}),
        "$.blocks[0].elements[0]: the type 'button' is none of ['image', 'mrkdwn', 'plain_text']",
    ),
    "text at the top of rich text": (
        _blocks({"type": "rich_text", "elements": [_text("x")]}),
        "$.blocks[0].elements[0]: the type 'text' is none of",
    ),
    "an unknown element of rich text": (
        _blocks(_rich({"type": "bogus"})),
        "$.blocks[0].elements[0].elements[0]: the type 'bogus' is none of",
    ),
    "mrkdwn in rich text": (_blocks(_rich(_mrkdwn("x"))), "the type 'mrkdwn' is none of"),
    "an emoji in preformatted text": (
        _blocks(_rich({"type": "emoji", "name": "x"}, type_="rich_text_preformatted")),
        "the type 'emoji' is none of ['link', 'text']",
    ),
    "a misspelled style": (_blocks(_rich(_text("x", style={"blod": True}))), "'blod' was unexpected"),
    "a broadcast to nobody": (_blocks(_rich({"type": "broadcast", "range": "all"})), "'all' is not one of"),
    "mrkdwn in a header": (
        _blocks({"type": "header", "text": _mrkdwn("x")}),
        "$.blocks[0].text.type: 'plain_text' was expected",
    ),
    "an image of two sources": (
        _blocks(
            {"type": "image", "alt_text": "x", "image_url": "https://a.example/", "slack_file": {"id": "x"}}
        ),
        "$.blocks[0]: Additional properties are not allowed",
    ),
    "anything as a plan's task": (_blocks({"type": "plan", "title": "x", "tasks": [{"a": 1}]}), "tasks[0]: "),
    "many blocks": (_blocks(*[_DIVIDER] * 51), "51 blocks"),
    "many blocks with those of attachments": (
        _blocks(*[_DIVIDER] * 50) | _attachments(_attachment()),
        "51 blocks",
    ),
    "a long header": (_blocks(_header("x" * 151)), "$.blocks[0].text: 151 characters"),
    "an empty header": (_blocks(_header("")), "$.blocks[0].text: missing or empty"),
    "a section without anything": (
        _blocks({"type": "section"}),
        "text or fields attribute must be specified",
    ),
    "an empty section": (_blocks(_section("")), "$.blocks[0].text: missing or empty"),
    "a long section": (_blocks(_DIVIDER, _section("x" * 3001)), "$.blocks[1].text: 3001 characters"),
    "no fields": (_blocks(_section("x") | _fields()), "$.blocks[0].fields: 0 items"),
    "many fields": (_blocks(_fields(*["x"] * 11)), "$.blocks[0].fields: 11 items"),
    "an empty field": (_blocks(_fields("x", "")), "$.blocks[0].fields[1]: missing or empty"),
    "a long field": (_blocks(_fields("x" * 2001)), "$.blocks[0].fields[0]: 2001 characters"),
    "an empty context": (_blocks(_context()), "$.blocks[0].elements: 0 items"),
    "a large context": (_blocks(_context(*["x"] * 11)), "$.blocks[0].elements: 11 items"),
    "a long text in a context": (_blocks(_context("x" * 2001)), "$.blocks[0].elements[0]: 2001 characters"),
    "an empty text in a context": (_blocks(_context("")), "$.blocks[0].elements[0]: missing or empty"),
    "long rich text": (_blocks(_rich(_text("x" * 2000), _text("x" * 1001))), "$.blocks[0]: 3001 characters"),
    "rich text that bare links make long": (
        _blocks(_rich(_link("https://a.example/" + "x" * 2000), _text("x" * 1000))),
        "$.blocks[0]: 3018 characters",
    ),
    "an empty text in rich text": (_blocks(_rich(_text("x"), _text(""))), "elements[1].text: empty"),
    "a long link": (
        _blocks(_rich(_link("https://a.example/" + "x" * 3000, text="x"))),
        ".url: 3018 characters",
    ),
    "a link to no web address": (_blocks(_rich(_link("javascript:x", text="x"))), "is no web address"),
    "a button's link to no web address": (
        _blocks({"type": "actions", "elements": [_button("x", url="file:///x")]}),
        "$.blocks[0].elements[0].url: 'file:///x' is no web address",
    ),
    "a long section inside a container": (
        _blocks({"type": "container", "title": _plain("x"), "child_blocks": [_section("x" * 3001)]}),
        "$.blocks[0].child_blocks[0].text: 3001 characters",
    ),
    "a long text on a button": (
        _blocks({"type": "actions", "elements": [_button("x" * 76)]}),
        "$.blocks[0]: text attribute cannot exceed 75 characters",
    ),
    "a long id of a block": (_blocks(_DIVIDER | {"block_id": "x" * 256}), "block_id cannot exceed 255"),
    "many attachments": (_attachments(*[_attachment()] * 21), "$.attachments: 21 items"),
    "an attachment without a fallback": (
        _attachments({"color": "#d72b3f", "blocks": [_DIVIDER]}),
        "$.attachments[0].fallback: missing or empty",
    ),
    "an empty fallback": (
        _attachments(_attachment(fallback="")),
        "$.attachments[0].fallback: missing or empty",
    ),
    "a long fallback": (
        _attachments(_attachment(fallback="x" * 4001)),
        "$.attachments[0].fallback: 4001 characters",
    ),
    "a named colour": (_attachments(_attachment(color="danger")), "$.attachments[0].color: 'danger'"),
    "a short colour": (_attachments(_attachment(color="#d23")), "$.attachments[0].color: '#d23'"),
    "a colour and a line break": (_attachments(_attachment(color="#d72b3f\n")), "$.attachments[0].color"),
    "an attachment's own text": (_attachments(_attachment(text="x")), "'text' was unexpected"),
    "an unknown block in an attachment": (
        _attachments(_attachment(blocks=[{"type": "nope"}])),
        "$.attachments[0].blocks[0]: the type 'nope' is none of",
    ),
    "a long header in an attachment": (
        _attachments(_attachment(), _attachment(blocks=[_header("x" * 151)])),
        "$.attachments[1].blocks[0].text: 151 characters",
    ),
    "metadata without a payload": ({"metadata": {"event_type": "x"}}, "'event_payload' is a required"),
    "metadata with a list for a payload": (_metadata([]), "$.metadata.event_payload: [] is not of type"),
    "metadata with null": (_metadata({"id": None}), "$.metadata.event_payload.id: None is not valid"),
    "metadata with another key": (
        {"metadata": {"event_type": "x", "event_payload": {}, "id": "x"}},
        "'id' was unexpected",
    ),
    "large metadata": (_metadata({"x": "é" * 3997}), "$.metadata.event_payload: 8002 bytes"),
    "a dot in the type of metadata": (_metadata({}, "backfill.failed"), "$.metadata.event_type"),
    "a line break after the type of metadata": (_metadata({}, "backfill\n"), "$.metadata.event_type"),
    "a tab": ({"text": "a\tb"}, r"$.text: the character '\t'"),
    "a carriage return": ({"text": "a\r\nb"}, r"$.text: the character '\r'"),
    "a zero byte in a block": (_blocks(_rich(_text("a\0"))), r"$.blocks[0].elements[0].elements[0].text: "),
    "an override of the direction": (_blocks(_section("a\u202eb")), r"the character '\u202e'"),
    "an isolate of the direction": (_attachments(_attachment(fallback="\u2066")), r"the character '\u2066'"),
    "a mark of the direction": (_metadata({"x": "\u200f"}), r"$.metadata.event_payload.x: the character"),
    "a mark of the direction in a key": (_metadata({"\u200e": 1}), r"the character '\u200e'"),
    "half of a surrogate pair": ({"text": "\ud83d"}, r"the character '\ud83d'"),
}


def _refusal(check: Any, message: _Message) -> str:
    with pytest.raises(AssertionError) as caught:
        check(message)
    return str(caught.value)


_CHECKS = [
    pytest.param(check_post, {"channel": "C0123456789", "text": "Failed"}, id="post"),
    pytest.param(check_update, {"channel": "C0123456789", "ts": "1.2", "text": "Failed"}, id="update"),
    pytest.param(check_webhook, {"text": "Failed"}, id="webhook"),
]


@pytest.mark.parametrize(("check", "base"), _CHECKS)
@pytest.mark.parametrize("case", _GOOD)
def test_what_slack_takes_is_accepted_and_left_as_it_was(check: Any, base: _Message, case: str) -> None:
    message = copy.deepcopy(base | _GOOD[case])
    if check is check_update:
        # An update shows no previews that it could suppress.
        message = {key: value for key, value in message.items() if not key.startswith("unfurl_")}
    before = json.dumps(message)
    check(message)
    assert json.dumps(message) == before


@pytest.mark.parametrize(("check", "base"), _CHECKS)
@pytest.mark.parametrize("case", _BAD)
def test_what_slack_refuses_is_refused_with_the_place(check: Any, base: _Message, case: str) -> None:
    changes, expected = _BAD[case]
    assert expected in _refusal(check, base | changes)


@pytest.mark.parametrize(("check", "base"), _CHECKS)
def test_a_message_without_a_text_is_refused_whatever_else_it_has(check: Any, base: _Message) -> None:
    message = {key: value for key, value in base.items() if key != "text"}
    assert "$.text: missing" in _refusal(check, message | _blocks(_section("x")))


@pytest.mark.parametrize(
    ("check", "message", "expected"),
    [
        (check_post, {"text": "x"}, "'channel' is a required property"),
        (check_post, {"text": "x", "channel": "C1", "ts": "1.2"}, "'ts' was unexpected"),
        (check_update, {"text": "x", "channel": "C1"}, "'ts' is a required property"),
        (check_update, {"text": "x", "ts": "1.2"}, "'channel' is a required property"),
        (check_update, {"text": "x", "ts": "1.2", "channel": "C1", "thread_ts": "1.1"}, "'thread_ts' was"),
        (
            check_update,
            {"text": "x", "ts": "1.2", "channel": "C1", "unfurl_links": False},
            "'unfurl_links' was",
        ),
        (check_webhook, {"text": "x", "thread_ts": "1.2"}, "'thread_ts' was unexpected"),
        (check_webhook, {"text": "x", "timeout": 1}, "'timeout' was unexpected"),
    ],
)
def test_each_way_to_send_has_its_own_keys(check: Any, message: _Message, expected: str) -> None:
    assert expected in _refusal(check, message)


def test_a_reply_in_a_thread_may_be_shown_to_the_channel_too() -> None:
    check_post({"channel": "C1", "text": "x", "thread_ts": "1.2", "reply_broadcast": True})


def test_all_that_breaks_the_schema_is_told_at_once() -> None:
    refusal = _refusal(check_webhook, {"text": "x", "blocks": [{"type": "nope"}, {"type": "header"}]})
    assert "$.blocks[0]" in refusal
    assert "$.blocks[1]" in refusal
