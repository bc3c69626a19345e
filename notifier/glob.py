"""Globs: * stands for any characters, ? for one, [abc] for one of these."""

import fnmatch
import re
from collections.abc import Callable
from functools import cache


def matches(glob: str, value: str) -> bool:
    """Return whether a glob matches the whole of a value, case ignored."""
    return _pattern(glob)(value.casefold()) is not None


@cache
def _pattern(glob: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(fnmatch.translate(glob.casefold())).match
