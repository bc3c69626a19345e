"""What goes to a target and what comes back: attempts as targets see them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, Protocol

import msgspec

from notifier.model import Event


class SendError(Exception):
    """An attempt failed.

    `refused`: this message, or whatever goes to this endpoint, was refused for good: a repeat is pointless.
    `retry_after`: how long the receiver asked to be left alone.
    `outcome_unknown`: the receiver may have taken the message all the same.
    `status` is that of the HTTP answer, `answer` how its body begins, secrets redacted; None without one.
    """

    def __init__(
        self,
        reason: str,
        *,
        refused: Literal["message", "endpoint"] | None = None,
        retry_after: timedelta | None = None,
        outcome_unknown: bool = False,
        status: int | None = None,
        answer: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown
        self.status = status
        self.answer = answer


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a target would send for an event, secrets redacted."""

    request: str
    """Method and URL; of a secret URL only what may be shown."""
    headers: dict[str, str]
    body: bytes
    """Exactly as it would be sent."""


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """When a target is sent several events in one attempt."""

    over: int
    """More than this many waiting go together."""
    limit: int
    """The most that go in one attempt."""


class Target(Protocol):
    """Where messages go."""

    name: str
    concurrency: int
    """How many attempts may be under way side by side."""
    interval: timedelta
    """The least time from the end of one attempt to the start of the next."""
    timeout: timedelta
    """How long one request of an attempt may take."""

    @property
    def grouping(self) -> Grouping | None:
        """When events go together; None for a target that takes one at a time."""

    async def send(self, events: Sequence[Event]) -> None:
        """Make one attempt; on return the receiver has acknowledged all of the events.

        Raises SendError when it has not, or not all of them. Without a grouping there is one event.
        """


class InspectableTarget(Target, Protocol):
    """A target that can say what it would send, and whether its credentials are good."""

    def preview(self, event: Event) -> Preview:
        """Return what `send` would send."""

    async def probe(self) -> str | None:
        """Return, for people, what its credentials are good for; None when only sending could tell.

        Raises SendError when they are refused.
        """
