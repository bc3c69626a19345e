import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.glob import matches


@pytest.mark.parametrize(
    ("glob", "value", "matching"),
    [
        ("base.*", "base.raw.logs", True),
        ("base.*", "BASE.RAW.LOGS", True),
        ("Base.*", "base.raw.logs", True),
        ("base.*", "base", False),
        ("base", "base.raw", False),
        ("*.logs", "base.raw.logs", True),
        ("base.?aw.*", "base.raw.logs", True),
        ("base.[rs]aw.*", "base.raw.logs", True),
        ("base.[!r]aw.*", "base.raw.logs", False),
        ("a+b(c)", "a+b(c)", True),
        ("a.c", "abc", False),
        ("*", "", True),
        ("*", "two\nlines", True),
        ("STRASSE", "straße", True),
    ],
)
def test_a_glob_matches_the_whole_value_and_ignores_case(glob: str, value: str, *, matching: bool) -> None:
    assert matches(glob, value) == matching


@given(st.text(), st.text())
def test_any_text_is_a_glob_and_a_value(glob: str, value: str) -> None:
    matches(glob, value)
    assert matches("*", value)


@given(st.text(st.characters(exclude_characters="*?[")))
def test_a_glob_without_wildcards_matches_itself_in_any_case(text: str) -> None:
    assert matches(text, text)
    assert matches(text.casefold(), text)
