"""Long lists, a page at a time: pure."""

import base64
import heapq
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Generic, TypeVar

import msgspec

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 2500

PageKey = tuple[str, str]
"""What a list is ordered by; no two entries have the same."""

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")


class Page(msgspec.Struct, Generic[_Item], frozen=True):
    """Some items of a list, newest first; `next_cursor` leads to the following ones, if there are any."""

    items: list[_Item]
    next_cursor: str | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a list a page is."""

    total: int
    """How many items the whole list has."""
    before: int
    """How many of them are on the pages before this one."""
    after: int
    """How many are on this page and on those after it."""
    previous: str | None
    """The cursor of the page before this one; None for that of the first one."""


class BadCursorError(ValueError):
    """The cursor is none that a page gave."""


def make_page(
    found: Iterable[tuple[PageKey, _Key, Any]],
    limit: int,
    cursor: str | None,
    item: Callable[[_Key, Any], _Item],
) -> Page[_Item]:
    """Return the entries with the largest keys, below the cursor's, as `item` makes them.

    Raises BadCursorError.
    """
    after = None if cursor is None else _read_cursor(cursor)
    rest = (entry for entry in found if after is None or entry[0] < after)
    # To sort all of them would take one step of a tenth of a second, in which nothing else happens.
    newest = heapq.nlargest(limit + 1, rest, key=itemgetter(0))
    shown = newest[:limit]
    items = [item(key, value) for _, key, value in shown]
    return Page(items, _cursor(shown[-1][0]) if len(newest) > limit else None)


def make_grouped_page(
    groups: Iterable[tuple[str, Callable[[], Iterable[tuple[PageKey, _Key, Any]]]]],
    limit: int,
    cursor: str | None,
    item: Callable[[_Key, Any], _Item],
) -> Page[_Item]:
    """Return what `make_page` would of the entries of all groups, and read only those that can matter.

    Each group has a text that the first parts of its entries' keys are no larger than. Raises BadCursorError.
    """
    after = None if cursor is None else _read_cursor(cursor)
    kept: list[tuple[PageKey, _Key, Any]] = []  # a heap: the one that goes first is the first
    for bound, read in sorted(groups, key=itemgetter(0), reverse=True):
        if len(kept) > limit and bound < kept[0][0][0]:
            break
        for entry in read():
            if after is not None and entry[0] >= after:
                continue
            if len(kept) <= limit:
                heapq.heappush(kept, entry)
            elif entry[0] > kept[0][0]:
                heapq.heapreplace(kept, entry)
    return make_page(kept, limit, None, item)


def find_place(keys: Iterable[PageKey], limit: int, cursor: str | None) -> Place:
    """Return where the page after a cursor is in the list with these keys. Raises BadCursorError."""
    bound = None if cursor is None else _read_cursor(cursor)
    total = 0
    above: list[PageKey] = []
    for key in keys:
        total += 1
        if bound is not None and key >= bound:
            above.append(key)
    # The page before begins below the last key that is not on it any more.
    nearest = heapq.nsmallest(limit + 1, above)
    previous = _cursor(nearest[-1]) if len(nearest) > limit else None
    return Place(total=total, before=len(above), after=total - len(above), previous=previous)


def _cursor(key: PageKey) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()


def _read_cursor(cursor: str) -> PageKey:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=tuple[str, str])
    except ValueError as error:
        raise BadCursorError("not a cursor that a page gave") from error
