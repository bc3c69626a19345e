"""When a job counts as stalled, what of its progress is told, and how often it is told again: pure."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import msgspec
from pydantic import AfterValidator, WithJsonSchema

from notifier.element import Details
from notifier.fields import Duration, Globs, Section, wrong
from notifier.glob import matches

_STAGING = "staging"


def _percent(value: int) -> int:
    if not 1 <= value <= 100:
        raise wrong("must be a whole percentage from 1 to 100")
    return value


Milestones = list[
    Annotated[
        int,
        AfterValidator(_percent),
        WithJsonSchema({"type": "integer", "title": "percent", "minimum": 1, "maximum": 100}),
    ]
]


class JobRules(Section):
    """What is otherwise for some of a source's jobs; of tables that match the first one with a key counts."""

    tables: Globs | None = None
    """Tables of jobs, such as "base.*"; without it all."""
    names: Globs | None = None
    """Names of jobs; without it all."""
    stalled_after: Duration | None = None
    """How long one of these jobs may show no progress; "0s" turns it off."""
    staging_stalled_after: Duration | None = None
    """How long one of these jobs may be staging, which shows no progress; "0s" turns it off."""
    milestones: Milestones | None = None
    """Percentages of delivered chunks of these jobs that are announced; [] turns it off."""
    remind_every: Duration | None = None
    """How often one of these jobs that is stalled or failed is announced again; "0s" turns it off."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a job beside its status."""

    stalled_after: timedelta = timedelta(minutes=30)
    """Zero is never, in all of these."""
    staging_stalled_after: timedelta = timedelta(hours=6)
    milestones: tuple[int, ...] = (25, 50, 75)
    """In percent, in any order."""
    remind_every: timedelta = timedelta(0)

    def patience(self, status: str) -> timedelta:
        """Return how long an active job of this status may show no change; zero is for ever."""
        return self.staging_stalled_after if status == _STAGING else self.stalled_after


class RuleBook:
    """The rules of a source and what is otherwise for some of its jobs."""

    def __init__(self, rules: Rules, others: Sequence[JobRules] = ()) -> None:
        self._rules = rules
        self._others = others

    def of(self, details: Details) -> Rules:
        """Return the rules for a job with these details."""
        changes: dict[str, object] = {}
        for other in self._others:
            if not _is_for(other, details):
                continue
            for key in Rules.__struct_fields__:
                if (value := getattr(other, key)) is not None:
                    changes.setdefault(key, tuple(value) if isinstance(value, list) else value)
        return msgspec.structs.replace(self._rules, **changes) if changes else self._rules

    @property
    def is_same_for_all(self) -> bool:
        """Whether no job has rules of its own."""
        return not self._others


def _is_for(rules: JobRules, details: Details) -> bool:
    return _matches(rules.tables, details.table) and _matches(rules.names, details.job_name)


def _matches(globs: Sequence[str] | None, value: str | None) -> bool:
    return globs is None or (value is not None and any(matches(glob, value) for glob in globs))
