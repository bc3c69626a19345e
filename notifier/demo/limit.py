"""How often the Slack stand-in lets itself be called: https://docs.slack.dev/apis/web-api/rate-limits ."""

import math
import time

from notifier.demo.blocks import Refusal


class Limit:
    """What is left to each key of the calls that it may make."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, key: str, calls: float | None, seconds: float, *, at_once: float) -> None:
        """Count a call, of so many in so many seconds and at once; None is no limit.

        Raises Refusal when it comes too early, with the whole seconds to wait.
        """
        if calls is None:
            return
        a_second, now = calls / seconds, time.monotonic()
        left, at = self._left.get(key, (at_once, now))
        left = min(at_once, left + (now - at) * a_second)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise Refusal("ratelimited", retry_after=str(math.ceil((1 - left) / a_second)))
