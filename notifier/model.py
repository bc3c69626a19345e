"""The values everything else speaks of: snapshots, events, deliveries, records, targets.

All of them are frozen, all times are aware UTC with millisecond precision. The structs
are also the stored format: a record is written as the JSON of its struct.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeGuard, TypeVar, get_args

import msgspec

TERMINAL = frozenset({"completed", "failed", "cancelled"})
MISSED_POLLS = 3
"""So many good polls in a row without it, and an active job is removed (contract, section 3)."""

STATUS_TYPES = tuple(f"backfill.{s}" for s in ("staging", "transporting", "completed", "failed", "cancelled"))
JOB_TYPES = (*STATUS_TYPES, "backfill.progress", "backfill.stalled", "backfill.resumed", "backfill.removed")
OTHER_TYPES = ("source.down", "source.up", "target.down", "target.up", "delivery.dead")
ALL_TYPES = JOB_TYPES + OTHER_TYPES
"""But for those of statuses that nobody knows yet."""

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


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many chunks of a transporting job were left at a time."""

    at: datetime
    chunks_left: int


class Phase(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A status that a job was seen in."""

    status: str
    since: datetime | None
    """When it was first seen in it; None when nobody knows: it was in it in the baseline."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A job as last seen."""

    status: str
    first_seen: datetime
    status_since: datetime
    element: msgspec.Raw
    """The element as received, credentials of its destinations redacted."""
    phases: tuple[Phase, ...] = ()
    """The last statuses, the present one included, oldest first."""
    samples: tuple[Sample, ...] = ()
    """Of the last minutes, oldest first; none unless it transports."""
    missing_since: datetime | None = None
    """Since when it is missing from every good poll; None while it is listed."""
    missing_polls: int = 0
    """How many good polls in a row it was missing from while active; counted up to the last that matters."""
    chunks_left: int | None = None
    """As last listed with a number; None when it never was in this status."""
    moved_at: datetime | None = None
    """When status and chunks left were first seen as they are; None is with the status."""
    reached: int = 0
    """The highest share of delivered chunks, in whole percent, since it last began to transport."""
    stalled_at: datetime | None = None
    """When it was found not to move; None while it moves."""
    told_at: datetime | None = None
    """When it was last told that it is stalled, or failed; None when there is no such thing to tell again."""

    @property
    def is_removed(self) -> bool:
        """Whether it was active when it vanished from the listing, and that was told."""
        return self.missing_polls >= MISSED_POLLS


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
    mute: str | None = None
    """The id of the mute that kept it from everybody."""
    again: bool = False
    """Whether it says once more what was told before."""


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


class Card(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The one live message about a job in a channel."""

    configured: str
    """The channel as the config had it when the card was posted."""
    channel: str
    """The channel's id."""
    ts: str
    """What Slack knows the message by, beside its channel."""
    event_id: str
    """Of the event that it was posted for, which stands in the message's metadata."""
    seq: int = 0
    """The number of the last event of the job that it shows."""
    shown: str = ""
    """A fingerprint of what it shows; "" when nobody knows."""
    job: str = ""
    """A fingerprint of the job that it shows; "" when nobody knows."""
    edited_at: datetime
    """When it was last posted or edited."""


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which channel a name stands for."""

    configured: str
    """The channel as the config has it."""
    id: str


class Outage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A source or target that fails."""

    since: datetime
    reason: str
    """Why, the last time."""
    told_at: datetime | None = None
    """When people were last told; None before the first time."""
    offline: Literal["", "now", "over"] = ""
    """`now`: it was told as this machine reaching nobody; `over`: so it was, and this machine is back."""
    told_all: bool = False
    """Whether it was told to all who hear of any source."""


class Mute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An order not to notify about some jobs of a source until a time; all that it names must match."""

    id: str
    created_at: datetime
    until: datetime
    job_id: str | None = None
    table: str | None = None
    """A glob, as is `name`."""
    name: str | None = None
    source: str | None = None
    """When the order was for this source alone; without it each source holds the mute."""
    reason: str | None = None
    suppressed: int = 0
    """How many events nobody was notified of because of it."""


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What people were last told of a job."""

    status: str | None
    """None when they never heard of it."""
    stalled: bool = False
    removed: bool = False


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All that is stored about one job."""

    snapshot: Snapshot
    seq: int = 0
    """How many events were ever observed of this job: part of an event's id."""
    events: tuple[Event, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    """In the order of their events."""
    cards: dict[str, Card] = {}
    """By the target that they were posted for."""
    known: Known | None = None
    """What people were told before a mute kept from them what happened since; None when nothing was kept."""


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All that is stored about one source; written by its first good poll, or what is told before."""

    id: str
    """Random, made with the record: events of a wiped state never reuse an id."""
    baseline_at: datetime | None = None
    """When its first good poll was; None before it."""
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
    outage: Outage | None = None
    """Of the source itself; None while its polls are good."""
    outages: dict[str, Outage] = {}
    """By the target that fails; with the source whose delivery failed first."""
    places: dict[str, Place] = {}
    """By the target that writes there."""
    mutes: tuple[Mute, ...] = ()
    """In the order they were made."""


Outbox = TypeVar("Outbox", bound=JobRecord | SourceRecord)
"""A record with events and their deliveries."""


Fault = Literal["refused", "throttled", "failed"]
"""Why a poll was no observation: the API key was refused, too much was asked, or anything else."""


class PollReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the polls of a source are going, since the start of the process."""

    last_poll: datetime | None = None
    last_good_poll: datetime | None = None
    next_poll: datetime | None = None
    failures: int = 0
    """Polls in a row that were no observation."""
    last_error: str | None = None
    """Why the last poll was no observation; None when it was one."""
    fault: Fault | None = None
    """Of which kind that is."""
    took_seconds: float | None = None
    """How long the last poll took, until what it found was stored; None when nothing was asked."""
    rejected: int = 0
    """How many elements of the last good listing were skipped, without a usable job_id or status."""
