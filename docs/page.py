"""Draws docs/pictures/page.png: the status page in a browser, over a state as a daemon would have it.

    make picture      # needs chromium, and the font Lato

The jobs come from the daemon's own comparison of listings, and the page from its own web server.
"""

import asyncio
import random
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import ViewportSize, async_playwright

from docs.picture import LOGS, MONTHS, TRADES, USDC, Backfill
from notifier.address import ListenAddress
from notifier.model import (
    Attempt,
    Delivery,
    Event,
    JobKey,
    Mute,
    Outage,
    PollReport,
    SourceRecord,
    utc_now,
)
from notifier.muting import Muting
from notifier.records import Records
from notifier.replays import Order
from notifier.state import State
from notifier.store.sqlite import SqliteStore
from notifier.web.api import make_application
from notifier.web.daemon import Daemon
from notifier.web.guard import Guard
from notifier.web.server import served_on

PICTURE = Path(__file__).parent / "pictures" / "page.png"
SIZE: ViewportSize = {"width": 1120, "height": 1130}
STYLE = "body { font-family: Lato, sans-serif }"  # every reader's system has its own font; this one is here
TARGETS = ("data-team", "ops")
WETH = USDC | {"filter_values": ["0x4200000000000000000000000000000000000006"]}
ERRORS = (
    "destination kafka://base-trades: topic authorization failed",
    "Snowflake query exceeded its time limit",
)
REFUSED = 'answered 413: {"error": "the payload is too large"}'


class World:
    """What a daemon knows after some days; `trouble` has its source and one of its targets fail."""

    def __init__(self, now: datetime, *, trouble: bool = False) -> None:
        self._now = now
        self._lots = random.Random(7)  # noqa: S311 - a picture is no secret
        self.records = Records()
        self.records.put({"allium": self._source(trouble=trouble)}, dict(map(_document, self._jobs())))
        good = now - timedelta(minutes=12 if trouble else 0, seconds=4)
        self.polls = PollReport(
            last_poll=now - timedelta(seconds=4),
            last_good_poll=good,
            next_poll=now + timedelta(seconds=11),
            failures=9 if trouble else 0,
            last_error="answered 503: upstream connect error" if trouble else None,
        )

    def _source(self, *, trouble: bool) -> SourceRecord:
        mute = Mute(
            id="mut_4c1f",
            created_at=self._ago(hours=3),
            until=self._now + timedelta(hours=21),
            table="base.raw.*",
            reason="the lake is moved to another region",
            suppressed=3,
        )
        since = self._ago(minutes=12)
        return SourceRecord(
            id="picture",
            baseline_at=self._ago(days=9),
            mutes=(mute,),
            outage=Outage(since=since, reason="answered 503") if trouble else None,
            outages={"ops": Outage(since=since, reason="answered 502: bad gateway")} if trouble else {},
        )

    def _jobs(self) -> list[Backfill]:
        """Return them from the newest to the oldest."""
        made = [
            self._begun(0.02, "Aerodrome trades, Jan 2026", TRADES, 0.015),
            self._under_way(1.1, "USDC transfers Jan 2026", USDC, chunks=1000, rate=9.5),
            self._under_way(2.4, "WETH transfers Jan 2026", WETH, chunks=640, rate=3.1),
            self._stalled(5.2, "Uniswap v4 swaps, Q4", TRADES, chunks=420),
            self._over(7.5, "failed", "Aerodrome trades, Q4", TRADES, ERRORS[0]),
            self._over(9.1, "completed", "Raw logs Jan 2026", LOGS),
            self._over(11.8, "cancelled", "USDC transfers Dec 2025", USDC),
        ]
        for number in range(61):
            subject, name = self._lots.choice(
                ((USDC, "USDC transfers"), (WETH, "WETH transfers"), (LOGS, "Raw logs"))
            )
            status = "failed" if number % 19 == 6 else "completed"
            name = f"{name} {MONTHS[-number % 12]} {2025 - number // 12}"
            made.append(self._over(14 + 3.3 * number, status, name, subject, ERRORS[1]))
        return made

    def _new(self, hours: float, name: str, subject: Mapping[str, Any]) -> Backfill:
        """Return a job that was ordered so many hours ago."""
        id_ = uuid.UUID(int=self._lots.getrandbits(128), version=4)
        return Backfill(str(id_), began=self._ago(hours=hours), **{**subject, "job_name": name})

    def _begun(self, hours: float, name: str, subject: Mapping[str, Any], after: float) -> Backfill:
        return self._new(hours, name, subject).at(after, "staging")

    def _under_way(
        self, hours: float, name: str, subject: Mapping[str, Any], *, chunks: int, rate: float
    ) -> Backfill:
        made, staging = self._begun(hours, name, subject, 0.01), self._lots.uniform(0.2, 0.6)
        minutes = int((hours - staging) * 60)
        for minute in (0, *range(max(1, minutes - 9), minutes)):
            left = chunks - round(minute * rate)
            made.at(staging + minute / 60, "transporting", num_chunks=chunks, chunks_left=left)
        return made

    def _stalled(self, hours: float, name: str, subject: Mapping[str, Any], *, chunks: int) -> Backfill:
        made = self._begun(hours, name, subject, 0.01)
        made.at(0.7, "transporting", num_chunks=chunks, chunks_left=chunks)
        for later in (hours - 1.3, hours - 1.2, hours - 0.6, hours - 0.01):
            made.at(later, "transporting", num_chunks=chunks, chunks_left=chunks - 133)
        return made

    def _over(
        self, hours: float, status: str, name: str, subject: Mapping[str, Any], error: str | None = None
    ) -> Backfill:
        took, chunks = self._lots.uniform(1.2, 4.5), self._lots.choice((120, 480, 1000))
        made = self._begun(hours, name, subject, 0.01)
        made.at(self._lots.uniform(0.2, 0.9), "transporting", num_chunks=chunks, chunks_left=chunks)
        left = 0 if status == "completed" else chunks * 3 // 8
        made.at(
            took,
            status,
            num_chunks=chunks,
            chunks_left=left,
            error_message=error if status == "failed" else None,
        )
        return made

    def _ago(self, **length: float) -> datetime:
        return self._now - timedelta(**length)


def _document(made: Backfill) -> tuple[JobKey, bytes]:
    """Return a job as the daemon would have stored it once its events were delivered."""
    record = made.record
    if record is None:
        raise LookupError("a job that was never listed has no document")
    sent = [_sent(event, target) for event in record.events for target in TARGETS]
    return ("allium", made.job_id), msgspec.json.encode(
        msgspec.structs.replace(record, deliveries=tuple(sent))
    )


def _sent(event: Event, target: str) -> Delivery:
    at = event.observed_at + timedelta(seconds=1)
    dead = target == "ops" and event.type == "backfill.failed"
    first = Attempt(at=at, outcome="delivered", duration_ms=84)
    refused = Attempt(at=at, outcome="refused", duration_ms=61, status=413, error=REFUSED)
    return Delivery(
        id=f"dlv_{event.id.removeprefix('evt_')[:20]}_{target}",
        event_id=event.id,
        target=target,
        state="dead" if dead else "delivered",
        created_at=event.observed_at,
        attempts=1,
        history=(refused if dead else first,),
        first_attempt_at=at,
        ended_at=at,
        last_error=REFUSED if dead else None,
    )


def daemon_of(world: World, now: datetime) -> Daemon:
    """Return a daemon with this world, which carries out no orders."""

    async def retry(_: Order) -> list[str]:
        return []

    return Daemon(
        records=world.records,
        targets=TARGETS,
        retry=retry,
        muting=Muting(State(lambda: SqliteStore(Path("/nonexistent")))),
        polls=lambda: {"allium": world.polls},
        state_path=Path("/var/lib/notifier/state.db"),
        started_at=now - timedelta(days=9, hours=4),
    )


async def draw() -> None:
    """Draw the picture."""
    now = utc_now()
    application = make_application(daemon_of(World(now), now), Guard(None))
    async with (
        served_on(ListenAddress("127.0.0.1", 0), application) as opening,
        async_playwright() as playwright,
    ):
        port = (await opening).sockets[0].getsockname()[1]
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            chromium_sandbox=False,
            args=["--disable-background-networking"],
        )
        page = await browser.new_page(viewport=SIZE, device_scale_factor=1, bypass_csp=True)
        await page.goto(f"http://127.0.0.1:{port}/")
        await page.add_style_tag(content=STYLE)
        await page.locator("[data-live=live]").wait_for()
        await page.locator(".jobs details").nth(3).evaluate("each => { each.open = true }")
        await page.screenshot(path=PICTURE)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(draw())
