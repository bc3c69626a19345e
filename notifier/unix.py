"""Where the socket of a daemon is, and how to name it to the kernel."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_PATH = 107
"""In bytes (unix(7))."""


def socket_path(state: Path) -> Path:
    """Return where the socket of the daemon that holds this state is."""
    return state.with_name(state.name + ".sock")


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a path that a socket address has room for. Raises OSError where there is no way to."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        address = f"/proc/self/fd/{directory}/{path.name}"
        if len(os.fsencode(address)) > _LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        yield address
    finally:
        os.close(directory)
