"""How often Slack is asked for what: kept beforehand, so that it need not refuse."""

from notifier.spacing import Allowance, Spacing

# https://docs.slack.dev/apis/web-api/rate-limits: one message a second for a channel, "several hundred" a
# minute for a workspace; chat.update is of tier 3, about fifty a minute.
_BETWEEN_POSTS_SECONDS = 1.0
_POSTS_A_MINUTE = 240.0
_EDITS_A_MINUTE = 40.0
_BURST = 10

LEFT_FOR_EVENTS = 5
"""How many edits refreshes leave for events."""


class Limits:
    """What the targets of one token share."""

    def __init__(self) -> None:
        self.edits = Allowance(per_minute=_EDITS_A_MINUTE, burst=_BURST)
        self._posts = Allowance(per_minute=_POSTS_A_MINUTE, burst=_BURST)
        self._channels: dict[str, Spacing] = {}

    def spacing(self, channel: str) -> Spacing:
        """Return when the next message may be posted to a channel."""
        return self._channels.setdefault(channel, Spacing(_BETWEEN_POSTS_SECONDS, shared=self._posts))
