"""Globs: * stands for any characters, ? for one, [abc] for one of these."""

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache


def matches(glob: str, value: str) -> bool:
    """Return whether a glob matches the whole of a value, case ignored."""
    return _pattern(glob)(value.casefold()) is not None


@lru_cache(1000)  # people may ask for any, for as long as the process runs
def _pattern(glob: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(fnmatch.translate(glob.casefold())).match
