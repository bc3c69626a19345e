"""The lives of simulated backfills: pure, the same for the same seed."""

import random
import uuid
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from notifier.model import rfc3339

Ending = Literal["completed", "failed", "cancelled"]

_GENERATION_SECONDS = 60.0
_YEAR = 2025
_JOBS_PER_GENERATION = 20


class _Subject(msgspec.Struct, frozen=True):
    name: str
    table: str
    column: str | None = None
    values: tuple[str, ...] = ()


_TOKENS = "base.assets.erc20_token_transfers"
_SUBJECTS = (
    _Subject("USDC transfers", _TOKENS, "token_address", ("0x833589fcd6edb6e08f4c7c32d4f71b54bda02913",)),
    _Subject("WETH transfers", _TOKENS, "token_address", ("0x4200000000000000000000000000000000000006",)),
    _Subject("DEX trades", "base.dex.trades"),
    _Subject("Aerodrome swaps", "base.dex.trades", "project", ("aerodrome", "aerodrome-slipstream")),
    _Subject("Raw logs", "base.raw.logs"),
    _Subject("Blocks", "base.raw.blocks"),
    _Subject("Transactions", "base.raw.transactions"),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ERRORS = (
    "Snowflake query exceeded its time limit of 3600 s",
    "destination kafka://base-usdc: topic authorization failed",
    "a staged chunk could not be read: object not found",
)


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One job from its order to its end; times in seconds since the start of the simulation."""

    job_id: str
    name: str
    table: str
    filter_column: str | None
    filter_values: tuple[str, ...]
    month: int
    destination: dict[str, str]
    chunks: int
    starts: float
    staging: float
    transporting: float
    ending: Ending
    error: str | None

    def element(self, at: float, began: datetime) -> dict[str, Any] | None:
        """Return the job as the API lists it at a time, None before it was ordered."""
        age = at - self.starts
        if age < 0:
            return None
        status, left, ended = self._progress(age)
        ordered = began + timedelta(seconds=self.starts)
        return {
            "job_id": self.job_id,
            "workflow_id": f"beam-backfill-demo-{self.job_id}",
            "organization_id": "demo",
            "status": status,
            "job_name": self.name,
            "table": self.table,
            "partition_key": "block_timestamp",
            "backfill_start": f"{_YEAR}-{self.month:02}-01T00:00:00",
            "backfill_end": f"{_YEAR + self.month // 12}-{self.month % 12 + 1:02}-01T00:00:00",
            "filter_column": self.filter_column,
            "filter_values": list(self.filter_values) or None,
            "destinations": [self.destination],
            "static_egress_ip": False,
            "num_chunks": None if status == "staging" else self.chunks,
            "chunks_left": None if status == "staging" else left,
            "error_message": self.error if status == "failed" else None,
            "time_created": rfc3339(ordered),
            "time_completed": rfc3339(ordered + timedelta(seconds=ended)) if ended is not None else None,
        }

    def _progress(self, age: float) -> tuple[str, int, float | None]:
        if age < self.staging:
            return "staging", self.chunks, None
        share = (age - self.staging) / self.transporting if self.transporting else 1.0
        if share < 1:
            return "transporting", self.chunks - int(self.chunks * share * self._reach), None
        left = self.chunks - int(self.chunks * self._reach)
        return self.ending, left, self.staging + self.transporting

    @property
    def _reach(self) -> float:
        return 1.0 if self.ending == "completed" else 0.6


def generation(number: int, seed: int) -> list[Life]:
    """Return the jobs ordered in one minute of the simulation, and before it those of the baseline."""
    lots = random.Random(f"{seed}/{number}")
    start = number * _GENERATION_SECONDS
    lives = [
        _life(lots, start + (place + lots.random()) * 1.7, place) for place in range(_JOBS_PER_GENERATION)
    ]
    if number == 0:
        lives += [_life(lots, -lots.uniform(2, 9), place) for place in range(7)]
    return lives


def _life(lots: random.Random, starts: float, place: int) -> Life:
    ending: Ending = "failed" if place % 5 == 3 else "cancelled" if place % 10 == 6 else "completed"
    skips = place % 4 == 1  # through a whole phase between two polls
    chunks = lots.choice((1, 12, 40, 250, 1000))
    destination = {"type": "kafka", "name": "base-backfill", "uid": uuid.UUID(int=lots.getrandbits(128)).hex}
    if place % 3 == 2:
        destination = {"type": "webhook", "name": "lake", "url": "https://writer:hunter2@lake.example.com/in"}
    subject, month = lots.choice(_SUBJECTS), lots.randint(1, 12)
    return Life(
        job_id=str(uuid.UUID(int=lots.getrandbits(128), version=4)),
        name=f"{subject.name} {_MONTHS[month - 1]} {_YEAR}",
        table=subject.table,
        filter_column=subject.column,
        filter_values=subject.values,
        month=month,
        destination=destination,
        chunks=chunks,
        starts=starts,
        staging=lots.uniform(1.5, 4),
        transporting=0.05 if skips else lots.uniform(4, 14),
        ending=ending,
        error=lots.choice(_ERRORS) if ending == "failed" else None,
    )
