"""What can be asked and ordered over HTTP, in words: what the OpenAPI document is made of."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from notifier.deliveries import DeliveryItem
from notifier.difference import Reloaded
from notifier.items import JobItem, MuteItem
from notifier.model import DELIVERY_STATES
from notifier.muting import Unmuted
from notifier.page import DEFAULT_LIMIT, LARGEST_LIMIT, Page
from notifier.replays import Retried
from notifier.timeline import EventItem
from notifier.views import Status
from notifier.web.mutes import WantedMute
from notifier.web.probes import Health, Readiness
from notifier.web.reply import Nothing
from notifier.web.retries import RetryAll


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: Literal["get", "post", "delete"] = "get"
    path: str
    id: str
    summary: str
    description: str = ""
    parameters: tuple[Mapping[str, Any], ...] = ()
    body: Any = None
    """The struct that it is sent, if any."""
    body_rule: Mapping[str, Any] = {}
    """What holds of it beside the struct's own schema."""
    status: int = 200
    """When it was done."""
    answer: Any
    """The struct that it then answers, or the media types of a text."""
    words: str
    """What that answer is."""
    errors: tuple[int, ...] = ()
    """The further statuses that only this operation answers; of all with an Error."""
    unwell: Any = None
    """The struct that it answers with 503."""
    public: bool = False
    """Whether it needs no token."""


def _query(name: str, words: str, **schema: Any) -> Mapping[str, Any]:
    return {"name": name, "in": "query", "description": words, "schema": {"type": "string"} | schema}


def _id(words: str) -> Mapping[str, Any]:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": words,
        "schema": {"type": "string", "minLength": 1},
    }


PAGING = (
    _query(
        "limit",
        "How many items at most.",
        type="integer",
        minimum=1,
        maximum=LARGEST_LIMIT,
        default=DEFAULT_LIMIT,
    ),
    _query("cursor", "The `next_cursor` of the page before; without it the first page.", format="cursor"),
)
"""What every list takes."""

OPERATIONS = (
    Operation(
        path="/healthz",
        id="health",
        summary="Whether the process works",
        description="For whoever starts it again if not. An API or a target that fails is no reason.",
        answer=Health,
        words="It works.",
        unwell=Health,
        public=True,
    ),
    Operation(
        path="/readyz",
        id="readiness",
        summary="Whether it does what it is for",
        description="It does when the state is open and the last poll of each source was good.",
        answer=Readiness,
        words="It does.",
        unwell=Readiness,
        public=True,
    ),
    Operation(
        path="/metrics",
        id="metrics",
        summary="Metrics for Prometheus",
        description="As text, or as OpenMetrics when `Accept` asks for it.",
        answer=("text/plain", "application/openmetrics-text"),
        words="All metrics.",
    ),
    Operation(
        path="/api/v1/openapi.json",
        id="document",
        summary="This document",
        answer=dict,
        words="This document.",
    ),
    Operation(
        path="/api/v1/status",
        id="status",
        summary="What it is doing",
        description="Sources with their polls and jobs, targets with what waits for them.",
        answer=Status,
        words="An overview.",
    ),
    Operation(
        path="/api/v1/jobs",
        id="jobs",
        summary="The jobs as last seen",
        description="The one ordered last comes first. All filters must match; an empty one is none.",
        parameters=(
            _query("status", "Only those of this status."),
            _query("source", "Only those of this source."),
            _query("table", "A glob: only those of these tables."),
            _query("q", "Only those with this in their id, name or table, in upper or lower case."),
            *PAGING,
        ),
        answer=Page[JobItem],
        words="Some jobs.",
        errors=(400,),
    ),
    Operation(
        path="/api/v1/events",
        id="events",
        summary="The events observed",
        description="The newest first, those included that went to nobody, with what became of each.",
        parameters=(
            _query("source", "Only those of this source."),
            _query("job_id", "Only those of the job with this id."),
            *PAGING,
        ),
        answer=Page[EventItem],
        words="Some events.",
        errors=(400,),
    ),
    Operation(
        path="/api/v1/deliveries",
        id="deliveries",
        summary="What was sent, what waits, what was given up",
        description="Those of the newest events first.",
        parameters=(
            _query("state", "Only those in this state.", enum=list(DELIVERY_STATES)),
            _query("target", "Only those for this target."),
            *PAGING,
        ),
        answer=Page[DeliveryItem],
        words="Some deliveries.",
        errors=(400,),
    ),
    Operation(
        method="post",
        path="/api/v1/deliveries/{id}/retry",
        id="retry",
        summary="Have one dead letter sent again",
        parameters=(_id("The id of the delivery."),),
        body=Nothing,
        answer=Retried,
        words="It is pending again, durably.",
        errors=(400, 404, 409),
    ),
    Operation(
        method="post",
        path="/api/v1/deliveries/retry",
        id="retryAll",
        summary="Have all dead letters sent again",
        description="All, or all for one target.",
        body=RetryAll,
        answer=Retried,
        words="These are pending again, durably; none when there was no dead letter.",
        errors=(400, 404, 409),
    ),
    Operation(
        path="/api/v1/mutes",
        id="mutes",
        summary="The mutes that hold",
        description="The newest first.",
        parameters=PAGING,
        answer=Page[MuteItem],
        words="Some mutes.",
        errors=(400,),
    ),
    Operation(
        method="post",
        path="/api/v1/mutes",
        id="mute",
        summary="Have nobody notified about some jobs for a while",
        description="Of `job_id`, `table`, `name` and `source` at least one is named; all must match.",
        body=WantedMute,
        body_rule={
            "anyOf": [
                {"required": [key], "properties": {key: {"type": "string"}}}
                for key in ("job_id", "table", "name", "source")
            ]
        },
        status=201,
        answer=MuteItem,
        words="The mute holds, durably.",
        errors=(400, 404),
    ),
    Operation(
        method="delete",
        path="/api/v1/mutes/{id}",
        id="unmute",
        summary="End a mute, or all mutes of a job",
        description="What it kept back and still matters is told before the answer.",
        parameters=(_id("The id of the mute, or of a job that is muted by its id."),),
        body=Nothing,
        answer=Unmuted,
        words="These have ended, durably.",
        errors=(400, 404),
    ),
    Operation(
        method="post",
        path="/api/v1/reload",
        id="reload",
        summary="Have the config read again",
        description="Only on the socket beside the state: it is for who may read the config.",
        answer=Reloaded,
        words="It is followed; this is what is another.",
        errors=(422,),
    ),
)
