"""What the Slack stand-in understands of a query for one page of a list: pure.

https://docs.slack.dev/apis/web-api/pagination
"""

import base64
import binascii
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from notifier.demo.blocks import Refusal

_TS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_LIMIT = re.compile(r"[1-9][0-9]{0,3}")
_CURSOR = re.compile(r"next:(-?[0-9]{1,12}(?:\.[0-9]+)?)")

_Item = TypeVar("_Item")


def cut(
    arguments: dict[str, Any], items: list[tuple[Decimal, _Item]], *, default: int, most: int
) -> tuple[list[_Item], str]:
    """Return a page of items, which are in the order of their keys, and the cursor of the next page or "".

    A cursor names a key, not a place: what comes or goes between two pages moves nothing.
    """
    given = "" if arguments.get("limit") is None else str(arguments["limit"])
    if given and not (_LIMIT.fullmatch(given) and int(given) <= most):
        raise Refusal("invalid_limit")
    limit, start = int(given or default), _read_cursor(str(arguments.get("cursor") or ""))
    left = [(key, item) for key, item in items if start is None or key >= start]
    cursor = base64.b64encode(f"next:{left[limit][0]}".encode()).decode() if left[limit:] else ""
    return [item for _, item in left[:limit]], cursor


def period(arguments: dict[str, Any]) -> Callable[[str], bool]:
    """Return what tells whether a time is between `oldest` and `latest`, themselves only if `inclusive`."""
    oldest, latest = (_bound(arguments, name) for name in ("oldest", "latest"))
    before = operator.le if is_on(arguments.get("inclusive")) else operator.lt

    def holds(ts: str) -> bool:
        at = Decimal(ts)
        return (oldest is None or before(oldest, at)) and (latest is None or before(at, latest))

    return holds


def is_on(value: Any) -> bool:
    """Return whether a boolean is on: query strings and forms spell it."""
    return value is True or str(value).lower() in ("1", "true")


def _bound(arguments: dict[str, Any], name: str) -> Decimal | None:
    value = str(arguments.get(name) or "")
    if value and not _TS.fullmatch(value):
        raise Refusal(f"invalid_ts_{name}")
    return Decimal(value) if value else None


def _read_cursor(cursor: str) -> Decimal | None:
    try:
        found = _CURSOR.fullmatch(base64.b64decode(cursor, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        found = None
    if cursor and found is None:
        raise Refusal("invalid_cursor")
    return None if found is None else Decimal(found[1])
