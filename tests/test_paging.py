"""Pages of long lists: what is read for them, and where they are."""

from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from notifier.page import find_place, make_grouped_page, make_page

Key = tuple[str, str]

_GROUPS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=8)


def keyed(groups: list[list[str]]) -> list[list[Key]]:
    """Return the keys of all entries, by group."""
    return [
        [(first, f"{number}/{place}") for place, first in enumerate(group)]
        for number, group in enumerate(groups)
    ]


def group(keys: list[Key], read: list[str]) -> tuple[str, Callable[[], Iterator[tuple[Key, str, None]]]]:
    """Return a group; `read` is told when it was read."""
    bound = max((first for first, _ in keys), default="")

    def entries() -> Iterator[tuple[Key, str, None]]:
        read.append(bound)
        yield from ((key, "/".join(key), None) for key in keys)

    return bound, entries


@given(groups=_GROUPS, limit=st.integers(1, 5))
def test_grouped_entries_make_the_pages_that_they_make_by_themselves(
    groups: list[list[str]], limit: int
) -> None:
    everything = [(key, "/".join(key), None) for keys in keyed(groups) for key in keys]
    cursor = None
    while True:
        expected = make_page(everything, limit, cursor, lambda name, _: name)
        found = make_grouped_page(
            (group(keys, []) for keys in keyed(groups)), limit, cursor, lambda name, _: name
        )
        assert found == expected
        cursor = expected.next_cursor
        if cursor is None:
            break


def test_groups_whose_entries_are_all_too_old_are_not_read() -> None:
    read: list[str] = []
    keys = keyed([["c", "a"], ["f", "e"], ["d", "d"], ["b"]])
    page = make_grouped_page((group(each, read) for each in keys), 2, None, lambda name, _: name)
    assert page.items == ["f/1/0", "e/1/1"]
    assert read == ["f", "d"]


@given(keys=st.sets(st.tuples(st.sampled_from("abc"), st.text("xyz", max_size=2))), limit=st.integers(1, 4))
def test_a_page_knows_its_place_and_the_way_back(keys: set[Key], limit: int) -> None:
    everything = [(key, key, None) for key in keys]
    cursor, before, starts = None, 0, list[str | None]()
    while True:
        page = make_page(everything, limit, cursor, lambda key, _: key)
        place = find_place(keys, limit, cursor)
        assert (place.total, place.before, place.after) == (len(keys), before, len(keys) - before)
        if starts:
            again = make_page(everything, limit, place.previous, lambda key, _: key)
            assert again == make_page(everything, limit, starts[-1], lambda key, _: key)
        starts.append(cursor)
        before += len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
