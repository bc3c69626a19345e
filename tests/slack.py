"""A Slack on loopback that checks each message it takes, and what a hostile API could list."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from hypothesis import strategies as st

from notifier.announcement import Origin
from notifier.demo.slack import Channel, FakeSlack, Post
from notifier.diff import diff
from notifier.element import read_details, redact_element
from notifier.listing import Element, read_listing
from notifier.model import JOB_TYPES, Event
from notifier.payload import job_payload, progress_of
from notifier.rules import Rules
from notifier.summary import summarize
from tests.slack_rules import check_post, check_update, check_webhook

TOKEN = "xoxb-1-token-that-is-secret"
HOOK = "T0TEAM/B0HOOK/path-that-is-secret"

DATE = re.compile(r"<!date\^-?\d+\^\{date_short_pretty\} at \{time\}\|[\d: UTC-]+>")
NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)


class CheckedSlack(FakeSlack):
    """A workspace with a channel of each kind; `faults` is what Slack's own rules say against its messages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            Channel(id="C0DATA", name="data-backfills"),
            Channel(id="C0PRIVATE", name="private", is_private=True),
            Channel(id="C0OLD", name="old", is_archived=True),
            Channel(id="C0ELSE", name="elsewhere", is_member=False),
            Channel(id="C0HIDDEN", name="hidden", is_private=True, is_member=False),
            Channel(id="C0NEWS", name="news", is_read_only=True),
            token=TOKEN,
            seen=self._check,
            edited=self._check_edit,
            **options,
        )
        self.hooks = {HOOK: self.channels[0]} | {f"T0TEAM/{c.name}": c for c in self.channels}
        self.faults: list[str] = []
        self.arrivals: list[float] = []
        """When each message was taken, in seconds of the monotonic clock."""
        self.url = ""
        self._changed = asyncio.Condition()

    @property
    def cards(self) -> list[Post]:
        """What was posted to channels, but for digests: in style "card" the cards."""
        return [
            post for post in self.posts if post.thread_ts is None and not known_by(post).startswith("bat_")
        ]

    async def until(self, condition: Callable[[], object], *, within: float = 20) -> None:
        """Wait until something is so, looked at after each answer."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer a call of the API, and have `until` look."""
        try:
            return await super().call(request)
        finally:
            async with self._changed:
                self._changed.notify_all()

    def _check(self, _post: Post) -> None:
        self.arrivals.append(time.monotonic())
        _, arguments = self.calls[-1]
        self._check_by(check_post if "channel" in arguments else check_webhook)

    def _check_edit(self, _post: Post) -> None:
        self._check_by(check_update)

    def _check_by(self, check: Callable[[dict[str, Any]], None]) -> None:
        # As it was sent: the post itself has lost what Slack ignores.
        _, arguments = self.calls[-1]
        try:
            check(arguments)
        except AssertionError as error:
            self.faults.append(str(error))


def known_by(post: Post) -> str:
    """Return the id that a post is known by: of an event, or of a batch; "" when it has none."""
    metadata = post.message.get("metadata") or {}
    return str(metadata.get("event_payload", {}).get("event_id", ""))


@asynccontextmanager
async def served_slack(slack: FakeSlack) -> AsyncIterator[str]:
    """Serve on loopback; yields the origin."""
    app = web.Application(client_max_size=64 * 2**20)
    app.add_routes(slack.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, Mapping) else ():
        yield from texts(item)
    for item in value if isinstance(value, list | tuple) else ():
        yield from texts(item)


# ------------------------------------------------------------------------------- a hostile listing

_PIECES = (
    *("<!channel>", "<!here|x>", "<!everyone>", "<@U123>", "<@W1|you>", "<!subteam^S1>", "<#C123>"),
    *("<http://evil.example|click>", "<!date^0^{date}|x>", "&lt;!channel&gt;", "&amp;", "&", "<", ">", "|"),
    *("*", "_", "~", "`", "```", "*bold*", "_it_", "~no~", "> quote", "@here", "@channel", "#general", ":x:"),
    *("\x00", "\x1b[31m", "\x1b]8;;http://evil.example\x07", "\x07", "\x08", "\x7f", "\x85", "\x9b2J"),
    "\ufeff",
    *("\u202e", "\u2066", "\u2069", "\u200f", "\u200b", "\u2028", "\ud800", "\udfff", "\U000e0041"),
    *("مرحبا", "שלום", "数据", "é", "👩‍💻", "🇩🇪", "😀", "▶️", "Z̷̢a"),
    *("\n", "\r\n", "\t", " ", "Test: ", "T00:00:00", "Z", "2024-01-01T10:30:00Z", "18000000", "{job_id}"),
)
_LONG = ("&", "<", "😀", "x", "x ", "`", "*a* ", "é\n", "\n", "\u202e", "  line\n", "&amp;")


@st.composite
def _texts(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(_LONG)) * draw(st.sampled_from([1, 60, 150, 200, 5_000]))
    pieces = st.sampled_from(_PIECES) | st.text(st.characters(), max_size=6)
    return "".join(draw(st.lists(pieces, max_size=6)))


_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 1e308, 2**63, -(2**64), 10**400, -(10**400)),
    *([], {}, [None, 1, {"type": 1}], [["x"]], {"type": "kafka"}, "", " ", "2026-01-31"),
)
_TIMES = (
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-01-31T10:30:00+14:00"),
    *("1969-12-31T23:59:59Z", "2024-01-01T00:00:00", "2026-01-31T09:00:00Z"),
)
_FIELDS: dict[str, tuple[Any, ...]] = {
    "job_name": ("USDC transfers",),
    "table": ("base.assets.erc20_token_transfers",),
    "partition_key": ("block", "block_timestamp"),
    "backfill_start": (18_000_000, *_TIMES),
    "backfill_end": (19_000_000, *_TIMES),
    "filter_column": ("token_address",),
    "num_chunks": (1000, 1, 1000.0, 10**15, 10**400),
    "chunks_left": (0, 423, 2_000, 10**15, 10**399),
    "error_message": ("Connection lost\n  at kafka:9092",),
    "time_created": _TIMES,
    "time_completed": _TIMES,
}
_STATUSES = ("staging", "transporting", "completed", "failed", "cancelled", "canceled", "progress", "paused")


@st.composite
def _elements(draw: st.DrawFn) -> Element:
    def value(*usual: Any) -> Any:
        return draw(
            st.one_of(*([st.sampled_from(usual)] * 2 if usual else ()), _texts(), st.sampled_from(_ODD))
        )

    fields = {key: value(*usual) for key, usual in _FIELDS.items() if draw(st.integers(0, 2))}
    fields["filter_values"] = [value() for _ in range(draw(st.integers(0, 4)))] * draw(
        st.sampled_from([1, 75])
    )
    fields["destinations"] = [
        {
            "type": value("kafka"),
            "name": value("base-usdc"),
            "url": value("https://user:pass@a.example/?key=x"),
        }
        for _ in range(draw(st.integers(0, 7)))
    ]
    if draw(st.integers(0, 3)) == 0:
        fields[draw(st.sampled_from(["filter_values", "destinations"]))] = value()
    return listed(job_id=draw(_texts()), status=draw(st.sampled_from(_STATUSES) | _texts()), **fields)


def listed(**fields: Any) -> Element:
    """Return an element as it is read from a listing."""
    fields = {"job_id": "j1", "status": "staging"} | fields
    [element] = read_listing(json.dumps([fields]).encode()).elements
    return element


def job_event(
    element: Element, type_: str = "", *, previous_status: str | None = "transporting", now: datetime = NOW
) -> Event:
    """Return a job's event: of its status, as it is observed, or of another type."""
    change = diff(
        None, element, origin=Origin("allium", "s", element.job_id), rules=Rules(), announce=True, now=now
    )
    assert change is not None
    [event] = change.events
    if not type_:
        return event
    raw = redact_element(element.raw)
    details = read_details(raw)
    summary = summarize(
        job_id=element.job_id,
        status=element.status,
        previous_status=previous_status,
        details=details,
        first_seen=now,
        now=now,
    )
    payload = job_payload(
        event_id=event.id,
        type=type_,
        observed_at=now,
        source="allium",
        job_id=element.job_id,
        status=element.status,
        previous_status=previous_status,
        summary=summary,
        progress=progress_of(details),
        element=raw,
    )
    return msgspec.structs.replace(event, type=type_, summary=summary, payload=payload)


@st.composite
def hostile_events(draw: st.DrawFn) -> Event:
    """Return an event about a job of which no field needs to be what one would expect."""
    return job_event(
        draw(_elements()),
        draw(st.sampled_from(("", "", *JOB_TYPES))),
        previous_status=draw(st.sampled_from([None, "staging", "failed"])),
        now=draw(st.just(NOW) | st.datetimes(timezones=st.just(UTC))),
    )
