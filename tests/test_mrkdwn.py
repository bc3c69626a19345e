import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.targets.slack.mrkdwn import code, code_block, escape, link, local_time, plain
from tests.slack import DATE

_ENTITY = re.compile(r"&(?:amp|lt|gt);")


def _is_escaped(text: str) -> bool:
    return not re.search(r"[<>]|&(?!(?:amp|lt|gt);)", text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("as it is", "as it is"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("a & b", "a &amp; b"),
        ("&lt;", "&amp;lt;"),
        ("\"'|", "\"'|"),
        ("", ""),
    ],
)
def test_what_begins_mentions_and_links_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text())
def test_escaped_text_reads_as_what_it_was(text: str) -> None:
    assert _is_escaped(escape(text))
    assert escape(text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("USDC transfers Jan 2024", "USDC transfers Jan 2024"),
        ("snake_case_name and 2*3*4", "snake_case_name and 2*3*4"),
        ("*bold* _italic_ ~gone~ `code`", "∗bold∗ ＿italic＿ ∼gone∼ ˋcodeˋ"),
        ("```block```", "ˋˋˋblockˋˋˋ"),
        ("* _ ~ `", "∗ ＿ ∼ ˋ"),
        ("(*a*), *b*.", "(∗a∗), ∗b∗."),
        ("数*据", "数*据"),
        ("<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@U1&gt;"),
        ("two\nlines\tand\x00more\u202e", "two lines and more"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        ("&" * 101, "&amp;" * 99 + "…"),
        ("\x00", ""),
    ],
)
def test_foreign_text_means_nothing(text: str, shown: str) -> None:
    assert plain(text, 100) == shown


@given(st.text(st.characters() | st.sampled_from("*_~`&<> a\n")), st.integers(1, 40))
def test_foreign_text_is_one_escaped_line_without_marks_at_the_edge_of_a_word(text: str, length: int) -> None:
    shown = plain(text, length)
    assert _is_escaped(shown)
    assert re.sub("[\u200c\u200d]", "", shown).isprintable()
    assert len(_ENTITY.sub("x", shown)) <= length
    assert not re.search(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])", _ENTITY.sub("&", shown))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token_address", "`token_address`"),
        ("*a* _b_", "`*a* _b_`"),
        ("a`b", "`aˋb`"),
        ("`", "`ˋ`"),
        ("<a & b>", "`&lt;a &amp; b&gt;`"),
        (" two\nlines ", "`two lines`"),
        ("&" * 101, "`" + "&amp;" * 99 + "…`"),
        ("", ""),
        (" \n\x00", ""),
    ],
)
def test_inline_code_is_one_line_that_nothing_ends(text: str, shown: str) -> None:
    assert code(text, 100) == shown


@given(st.text(st.characters() | st.sampled_from("`&<> a\n")), st.integers(1, 40))
def test_inline_code_has_its_own_backticks_only(text: str, length: int) -> None:
    shown = code(text, length)
    assert shown.count("`") == (2 if shown else 0)
    assert _is_escaped(shown)
    assert len(_ENTITY.sub("x", shown.strip("`"))) <= length
    assert shown != "``"


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("one", 100, "```one```"),
        ("one\ntwo\r\nthree\x85four", 100, "```one\ntwo\nthree\nfour```"),
        ("Traceback:\n  File x\n\tline 1\n", 100, "```Traceback:\n  File x\n    line 1```"),
        ("\n\n  first\n\n last\n\n", 100, "```  first\n\n last```"),
        (" " * 100 + "far", 100, "```" + " " * 40 + "far```"),
        ("```end``` <!here>", 100, "```ˋˋˋendˋˋˋ &lt;!here&gt;```"),
        ("a\x1b[31mb\x00", 100, "```a [31mb```"),
        ("x" * 20, 16, "```" + "x" * 9 + "…```"),
        ("x" * 10, 16, "```" + "x" * 10 + "```"),
        # Five characters each: one of them and the sign that there is more are six.
        ("&&&", 16, "```&amp;…```"),
        ("&&", 16, "```&amp;&amp;```"),
        ("a b cd", 10, "```a b…```"),
        ("ab cd", 10, "```ab…```"),
        ("", 100, ""),
        ("\x00 \n\t\u202e", 100, ""),
    ],
)
def test_a_block_of_code_holds_the_lines_that_fit(text: str, length: int, shown: str) -> None:
    assert code_block(text, length) == shown
    assert len(shown) <= length


@given(st.text(st.characters() | st.sampled_from("`&<> a\n\t"), max_size=80), st.integers(7, 60))
@example("&" * 80, 7)
@example("<" * 80, 60)
def test_a_block_of_code_is_never_longer_and_never_cut_inside_of_an_escape(text: str, length: int) -> None:
    shown = code_block(text, length)
    assert len(shown) <= length
    assert _is_escaped(shown)
    assert shown.count("`") == (6 if shown else 0)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert not any("\ud800" <= character <= "\udfff" for character in shown)


@pytest.mark.parametrize(
    ("url", "label", "shown"),
    [
        ("https://a.example/1", "one", "<https://a.example/1|one>"),
        ("https://a.example/1|2", "a|b", "<https://a.example/1%7C2|a¦b>"),
        ("https://a.example/?a=1&amp;b=2", "&lt;b&gt;", "<https://a.example/?a=1&amp;b=2|&lt;b&gt;>"),
    ],
)
def test_a_link_has_one_bar(url: str, label: str, shown: str) -> None:
    assert link(url, label) == shown


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (
            datetime(2026, 1, 31, 10, 30, tzinfo=UTC),
            "<!date^1769855400^{date_short_pretty} at {time}|2026-01-31 10:30 UTC>",
        ),
        (
            datetime(2026, 1, 31, 10, 30, 59, 999_999, tzinfo=UTC),
            "<!date^1769855459^{date_short_pretty} at {time}|2026-01-31 10:30 UTC>",
        ),
    ],
)
def test_a_time_is_shown_in_the_zone_of_the_reader(time: datetime, shown: str) -> None:
    assert local_time(time) == shown
    assert DATE.fullmatch(shown)


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_time_can_be_shown(time: datetime) -> None:
    assert DATE.fullmatch(local_time(time))
