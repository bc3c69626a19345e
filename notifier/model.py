"""The values everything else speaks of: snapshots, events, deliveries, records, targets.

All of them are frozen, all times are aware UTC with millisecond precision. The structs
are also the stored format: a record is written as the JSON of its struct.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, TypeGuard, TypeVar, get_args

import msgspec

TERMINAL = frozenset({"completed", "failed", "cancelled"})

STATUS_TYPES = tuple(f"backfill.{s}" for s in ("staging", "transporting", "completed", "failed", "cancelled"))
JOB_TYPES = (*STATUS_TYPES, "backfill.progress", "backfill.stalled", "backfill.resumed", "backfill.removed")
OTHER_TYPES = ("source.down", "source.up", "target.down", "target.up", "delivery.dead")
ALL_TYPES = JOB_TYPES + OTHER_TYPES
"""But for those of statuses that nobody knows yet."""
TYPES_TO_COME = (*JOB_TYPES[len(STATUS_TYPES) :], *OTHER_TYPES[:-1])
"""Those that routes may name already, and that this version never observes."""

JobKey = tuple[str, str]
"""(source name, job id)."""
RecordKey = tuple[str, str | None]
"""That of a job, or (source name, None) for what is stored about the source itself."""


def utc_now() -> datetime:
    """Return the present, aware UTC, cut to milliseconds: the precision that is stored and sent."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def rfc3339(time: datetime) -> str:
    """Return a UTC time as `2026-01-31T10:30:00.123Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def is_active(status: str) -> bool:
    """Return whether a job of this status can still change by itself; unknown statuses can."""
    return status not in TERMINAL


def is_job_event(type_: str) -> bool:
    """Return whether events of this type are about a job."""
    return type_.startswith("backfill.")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A job as last seen."""

    status: str
    first_seen: datetime
    status_since: datetime
    element: msgspec.Raw
    """The element as received, credentials of its destinations redacted."""
    missing_since: datetime | None = None
    """Since when it is missing from every good poll; None while it is listed."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One observed change."""

    id: str
    seq: int
    type: str
    status: str
    previous_status: str | None
    observed_at: datetime
    summary: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The webhook payload, fixed when the change was observed; dropped once nobody needs it any more."""


DeliveryState = Literal["pending", "delivered", "dead"]
DELIVERY_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)


def is_delivery_state(text: str) -> TypeGuard[DeliveryState]:
    """Return whether this is the name of a state that deliveries have."""
    return text in DELIVERY_STATES


AttemptOutcome = Literal["delivered", "failed", "unknown", "refused"]
"""`unknown`: it failed, and the receiver may have taken the message all the same; `refused`: for good."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One try of a delivery."""

    at: datetime
    outcome: AttemptOutcome
    duration_ms: int
    status: int | None = None
    """Of the HTTP answer to an attempt that failed; None when there was none."""
    error: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One event for one target."""

    id: str
    event_id: str
    target: str
    state: DeliveryState = "pending"
    created_at: datetime
    attempts: int = 0
    """Since it was made, or made pending again."""
    history: tuple[Attempt, ...] = ()
    """The last attempts, the newest last, those before a replay included."""
    first_attempt_at: datetime | None = None
    next_attempt_at: datetime | None = None
    """Not before this time; None is at once."""
    held_until: datetime | None = None
    """Until when the target asked to be left alone, with all that waits for it."""
    held: timedelta = timedelta(0)
    """How long it asked for since the first attempt, in all: that does not count as trying."""
    ended_at: datetime | None = None
    last_error: str | None = None
    answer: str | None = None
    """How the receiver's last answer began, unless it was delivered; secrets redacted."""
    replay: bool = False
    """A dead letter made pending again: it waits for no other delivery, and no other waits for it."""


class OpenBatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a target that groups is about to be sent in one attempt: always the same, until it has ended."""

    target: str
    members: tuple[tuple[str | None, str], ...]
    """The job id (None for what is about the source) and the delivery id of each, in their order."""


class Deaths(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Deliveries for one target that became dead letters."""

    count: int = 0
    """How many nobody was told of yet."""
    delivery_id: str = ""
    """The last one of them."""
    reason: str = ""
    """Why that one was given up."""
    summary: str = ""
    """What that one would have told."""
    told_at: datetime | None = None
    """When others were last told."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All that is stored about one job."""

    snapshot: Snapshot
    seq: int = 0
    """How many events were ever observed of this job: part of an event's id."""
    events: tuple[Event, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    """In the order of their events."""


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All that is stored about one source; written by its first good poll."""

    id: str
    """Random, made with the record: events of a wiped state never reuse an id."""
    baseline_at: datetime
    organization_id: str | None = None
    seq: int = 0
    """How many events were ever observed that are about no job."""
    forgotten_seq: int = 0
    """The highest number of an event of any job that was forgotten: one listed again counts on from it."""
    events: tuple[Event, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    """In the order of their events."""
    batches: tuple[OpenBatch, ...] = ()
    deaths: dict[str, Deaths] = {}
    """By the target that the deliveries were for."""


Outbox = TypeVar("Outbox", bound=JobRecord | SourceRecord)
"""A record with events and their deliveries."""


class PollReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the polls of a source are going, since the start of the process."""

    last_poll: datetime | None = None
    last_good_poll: datetime | None = None
    next_poll: datetime | None = None
    failures: int = 0
    """Polls in a row that were no observation."""
    last_error: str | None = None
    """Why the last poll was no observation; None when it was one."""


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


class Store(Protocol):
    """A small document store: one document a key, one atomic commit for many keys.

    All methods block and are called from one worker thread, never from the event loop.
    Each raises StoreError; after one the store refuses every further call.
    """

    name: str
    """What errors call it, such as the path of its file."""

    def load(self) -> Iterable[tuple[str, bytes]]:
        """Yield every key with its document."""

    def commit(self, documents: Mapping[str, bytes | None]) -> None:
        """Write (or with None delete) the documents: all of them are durable on return, or none is."""

    def close(self) -> None:
        """Release the store; what is not committed is gone."""


class StoreError(Exception):
    """The state cannot be read or written: the process must stop, nothing may be sent."""
