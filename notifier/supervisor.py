"""The service manager that started this process, if one did: sd_notify(3) in a few lines."""

import os
import socket
from collections.abc import Mapping

_LONGEST_VALUE = 1000
"""In characters: the manager takes no message of more than 4096 bytes."""


class Supervisor:
    """Takes what it is told over a datagram socket that the environment names; without one nobody listens.

    Telling it never blocks and never raises: that it has gone, or is busy, is no fault of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self.listens = name.startswith(("/", "@"))
        self.feed_within_seconds = _watchdog_seconds(environment) if self.listens else None
        """How long it waits for one `WATCHDOG=1` after another; None when it does not."""

    def tell(self, message: Mapping[str, str]) -> bool:
        """Tell it all of this together; return whether it was taken."""
        lines = (f"{name}={' '.join(value.splitlines())[:_LONGEST_VALUE]}" for name, value in message.items())
        datagram = "\n".join(lines).encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
                return self.listens and sending.sendto(datagram, self._address) == len(datagram)
        except OSError:
            return False


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    # A parent may have left its own variables behind: they are not meant for this process.
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) else None
