"""What goes to a target and what comes back: attempts as targets see them."""

from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec

from notifier.model import Card, Event, JobRecord, Place
from notifier.spacing import Allowance, Spacing

_TOO_MANY = 429


class SendError(Exception):
    """An attempt failed.

    `refused`: this message, or whatever goes to this endpoint, was refused for good: a repeat is pointless.
    `retry_after`: how long the receiver asked to be left alone.
    `outcome_unknown`: the receiver may have taken the message all the same.
    `not_before`: how long to wait at least with this message; others may go.
    `credentials`: they were refused, as those of any other message will be.
    `throttled`: too much is sent, whatever the status says.
    `code` is what the receiver calls it, "" when it has no word for it.
    `status` is that of the HTTP answer, `answer` how its body begins, secrets redacted; None without one.
    """

    def __init__(
        self,
        reason: str,
        *,
        refused: Literal["message", "endpoint"] | None = None,
        retry_after: timedelta | None = None,
        not_before: timedelta | None = None,
        credentials: bool = False,
        throttled: bool = False,
        outcome_unknown: bool = False,
        code: str = "",
        status: int | None = None,
        answer: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.retry_after = retry_after
        self.not_before = not_before
        self.credentials = credentials
        self._throttled = throttled
        self.outcome_unknown = outcome_unknown
        self.code = code
        self.status = status
        self.answer = answer
        self.card: Card | None = None
        """The job's card as it is now, if that was changed all the same."""

    @property
    def is_answer(self) -> bool:
        """Whether it is no failure of the target: a refusal, or that too much is sent."""
        return self.refused is not None or self.is_throttled

    @property
    def is_final(self) -> bool:
        """Whether the receiver has said a plain no to just this, which says nothing of anything else."""
        waits = self.is_throttled or self.retry_after is not None
        passing = self.outcome_unknown or self.credentials or waits
        return self.refused is not None or (bool(self.code) and not passing)

    @property
    def is_throttled(self) -> bool:
        """Whether the receiver says that too much is sent."""
        return self._throttled or self.status == _TOO_MANY


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a target would send for an event, secrets redacted."""

    request: str
    """Method and URL; of a secret URL only what may be shown."""
    headers: dict[str, str]
    body: bytes
    """Exactly as it would be sent."""
    reply: bytes | None = None
    """The body of what is sent instead for a job that has a card; None when there is no such thing."""


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """When a target is sent several events in one attempt."""

    over: int
    """More than this many waiting go together."""
    limit: int
    """The most that go in one attempt."""


class CardLostError(Exception):
    """A card can no longer be edited, or replied to: it was deleted, or Slack does not let it be."""


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt is to bring to a target."""

    events: tuple[Event, ...]
    """Of one source, in their order; without a grouping there is one."""
    record: JobRecord | None = None
    """Of the job, when it is one event of a job; as it was when the attempt began."""
    place: Place | None = None
    """Where earlier attempts for the target found its channel."""
    in_doubt_since: datetime | None = None
    """When an earlier attempt was made that may have arrived all the same; None when none was."""
    in_doubt_until: datetime | None = None
    """When the last such attempt had ended; None when nobody knows."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be remembered of an attempt that succeeded."""

    card: Card | None = None
    """The job's card as it is now; None when nothing about it changed."""
    place: Place | None = None
    """Where the target's channel was found; None when that is known already."""
    was_there: bool = False
    """Nothing was sent: an earlier attempt had arrived."""


class Cards(Protocol):
    """How a target's cards are kept true between the events that it is sent."""

    refresh: timedelta
    """How often one card is edited at most while only its job's progress changes."""
    allowance: Allowance
    """How many edits there may be, shared by all who share it."""
    spare: int
    """How many edits refreshes leave for events."""

    async def edit(self, card: Card, record: JobRecord, *, source: str, job_id: str) -> Card:
        """Have a card show its job as it is; return it, the very same when nothing had to be done.

        Raises CardLostError, and SendError when it may succeed later.
        """


class Target(Protocol):
    """Where messages go."""

    name: str
    concurrency: int
    """How many attempts may be under way side by side."""
    longest: timedelta
    """How long an attempt may take."""

    @property
    def spacing(self) -> Spacing | None:
        """When the next attempt may start; None is at any time."""

    @property
    def cards(self) -> Cards | None:
        """How its cards are kept true; None for a target without cards."""

    @property
    def grouping(self) -> Grouping | None:
        """When events go together; None for a target that takes one at a time."""

    async def send(self, shipment: Shipment) -> Receipt:
        """Make one attempt; on return the receiver has acknowledged all of the events.

        Raises SendError when it has not, or not all of them.
        """

    async def probe(self) -> str | None:
        """Return, for people, what its credentials are good for; None when only sending could tell.

        Raises SendError when they are refused.
        """


class InspectableTarget(Target, Protocol):
    """A target that can say what it would send, and what it cannot do."""

    def preview(self, event: Event) -> Preview:
        """Return what `send` would send."""

    async def caveat(self) -> str | None:
        """Return, for people, what its credentials are too few for; None when for nothing.

        Raises SendError when nobody can tell.
        """
