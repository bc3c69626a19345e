"""Draws the pictures in docs/pictures: real messages of the notifier, shown as Slack shows them.

    make picture      # needs chromium, and the fonts Lato and Noto Color Emoji

The events come from the daemon's own comparison of listings, the messages from its own renderers; only the
page around them imitates Slack.
"""

import html
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from notifier.announcement import Origin
from notifier.diff import diff
from notifier.drawing import TOKEN
from notifier.listing import read_listing
from notifier.model import Event, JobRecord
from notifier.outbox import absorb
from notifier.patience import as_stored, lapse
from notifier.payload import read_payload
from notifier.rules import Rules
from notifier.targets.slack.card import card_of, reply_to, with_mention
from notifier.targets.slack.digest import render_digest
from notifier.targets.slack.message import Message, mention_for

PICTURES = Path(__file__).parent / "pictures"
WIDTH, SCALE = 860, 2
BEGAN = datetime(2026, 1, 31, 6, 0, tzinfo=UTC)
MENTIONS = {"backfill.failed": "<!subteam^S0DATA|data-oncall>"}
JOB_LINK = "https://app.allium.so/beam/{job_id}"


def job(job_id: str, status: str, **fields: Any) -> dict[str, Any]:
    """Return an element as the API lists it."""
    return {
        "job_id": job_id,
        "status": status,
        "partition_key": "block_timestamp",
        "filter_column": None,
        "filter_values": None,
        "error_message": None,
        "time_created": BEGAN.isoformat(),
        "time_completed": None,
        "num_chunks": None,
        "chunks_left": None,
    } | fields


USDC: dict[str, Any] = {
    "job_name": "USDC transfers Jan 2026",
    "table": "base.assets.erc20_token_transfers",
    "backfill_start": "2026-01-01T00:00:00",
    "backfill_end": "2026-02-01T00:00:00",
    "filter_column": "token_address",
    "filter_values": ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"],
    "destinations": [{"type": "kafka", "name": "base-usdc"}],
}
TRADES: dict[str, Any] = {
    "job_name": "Aerodrome trades, Q4",
    "table": "base.dex.trades",
    "backfill_start": "2025-10-01T00:00:00",
    "backfill_end": "2026-01-01T00:00:00",
    "filter_column": "project",
    "filter_values": ["aerodrome", "aerodrome-slipstream", "velodrome", "baseswap", "alienbase"],
    "destinations": [{"type": "webhook", "name": "lake"}, {"type": "kafka", "name": "base-trades"}],
}
LOGS: dict[str, Any] = {
    "job_name": "Raw logs 2025",
    "table": "base.raw.logs",
    "partition_key": "block",
    "backfill_start": 24_000_000,
    "backfill_end": 31_500_000,
    "destinations": [{"type": "kafka", "name": "base-raw"}],
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STORM = [(f"USDC transfers {month} 2025", "base.assets.erc20_token_transfers") for month in MONTHS]


class Backfill:
    """A job that goes through what it is shown with, as the daemon would see it."""

    def __init__(self, job_id: str, *, began: datetime = BEGAN, **fields: Any) -> None:
        self.job_id = job_id
        self.began = began
        self.events: list[Event] = []
        self.record: JobRecord | None = None
        self.seen = began
        self._fields = {"time_created": began.isoformat()} | fields

    def at(self, hours: float, status: str, **fields: Any) -> "Backfill":
        """Return it as it is listed so many hours after the beginning."""
        self.seen = self.began + timedelta(hours=hours)
        listed = job(self.job_id, status, **(self._fields | fields))
        [element] = read_listing(json.dumps([listed]).encode()).elements
        origin, rules = Origin("allium", "picture", element.job_id), Rules()
        change = diff(self.record, element, origin=origin, rules=rules, announce=True, now=self.seen)
        if change is None and self.record is not None:
            known = as_stored(self.record.snapshot, self.record.seq)
            change = lapse(known, origin=origin, rules=rules, now=self.seen)
        if change is not None:
            self.record = absorb(
                self.record,
                snapshot=change.snapshot,
                seq=change.seq,
                events=change.events,
                targets={event.id: ("slack",) for event in change.events},
            )
            self.events += change.events
        return self

    def card(self) -> Message:
        """Return its card."""
        if self.record is None:
            raise LookupError("a job that was never listed has no card")
        card = card_of(self.record, source="allium", job_id=self.job_id, job_link=JOB_LINK, now=self.seen)
        return with_mention(
            card, mention_for(self.events[-1].type, MENTIONS) if len(self.events) == 1 else ""
        )

    def replies(self) -> list[tuple[datetime, Message]]:
        """Return what its thread says, with when."""
        payloads = [(event, read_payload(_bytes(event))) for event in self.events[1:]]
        return [
            (
                event.observed_at,
                reply_to(payload, job_link=JOB_LINK, mention=mention_for(payload.type, MENTIONS)),
            )
            for event, payload in payloads
        ]


def _bytes(event: Event) -> bytes:
    if isinstance(event.payload, msgspec.UnsetType):
        raise TypeError("an event that was just observed has its payload")
    return bytes(event.payload)


def usdc() -> Backfill:
    """Return a job that transports."""
    found = Backfill("0f3c7a52-8f0e-4a5d-9b1c-2d60c3f1a7e4", **USDC).at(0, "staging")
    for minute in range(8):
        found.at(0.7 + minute / 60, "transporting", num_chunks=1000, chunks_left=1000 - 53 * minute)
    return found


def trades() -> Backfill:
    """Return a job that failed."""
    found = Backfill("b81d04c9-55a7-4a0a-8d2b-71c9fe3306aa", **TRADES).at(0.02, "staging")
    found.at(0.4, "transporting", num_chunks=1000, chunks_left=1000)
    return found.at(
        3.6,
        "failed",
        num_chunks=1000,
        chunks_left=417,
        error_message="Snowflake query exceeded its time limit of 3600 s\n"
        "statement 01b2c3d4, warehouse BEAM_XL",
    )


def logs() -> Backfill:
    """Return a job that completed."""
    found = Backfill("5f1de7a0-31c9-4d21-a6c1-09d2c11c8f1b", **LOGS).at(0, "staging")
    found.at(0.5, "transporting", num_chunks=480, chunks_left=480)
    return found.at(3.2, "completed", num_chunks=480, chunks_left=0, time_completed=_after(3.2))


def storm() -> list[Event]:
    """Return what happens when a destination goes away under many jobs."""
    events: list[Event] = []
    for number, (name, table) in enumerate(STORM):
        each = Backfill(
            f"a1b2c3d4-{number:04}", job_name=name, table=table, destinations=USDC["destinations"]
        )
        each.at(0, "transporting", num_chunks=100, chunks_left=100)
        failed = number % 3 == 0
        each.at(
            2 + number / 600,
            "failed" if failed else "completed",
            num_chunks=100,
            chunks_left=60 if failed else 0,
            error_message="destination kafka://base: broker not available" if failed else None,
        )
        events.append(each.events[-1])
    return events


def pictures() -> dict[str, str]:
    """Return the HTML of each picture by its name."""
    digest = render_digest(storm(), source="allium", job_link=JOB_LINK, mentions=MENTIONS)
    running, failed, done = usdc(), trades(), logs()
    card = _message(BEGAN + timedelta(minutes=1), failed.card(), edited=True)
    return {
        "slack-cards": "".join(
            _message(BEGAN + timedelta(minutes=number), each.card(), edited=True)
            for number, each in enumerate((running, failed, done))
        ),
        "slack-thread": card + "".join(_message(at, message) for at, message in failed.replies()),
        "slack-digest": _message(BEGAN + timedelta(hours=2), digest),
    }


def _after(hours: float) -> str:
    return (BEGAN + timedelta(hours=hours)).isoformat()


def _message(at: datetime, message: Message, *, edited: bool = False) -> str:
    mark = "<span class=edited> (edited)</span>" if edited else ""
    body = "".join(_block(block, mark) for block in message.blocks)
    for attachment in message.attachments:
        inner = "".join(_block(block) for block in attachment["blocks"])
        body += f'<div class=attachment style="border-color:{attachment["color"]}">{inner}</div>'
    return (
        "<article><div class=avatar>⛲</div><div><b class=who>Backfill Notifier</b><span class=app>APP</span>"
        f"<time>{at:%-I:%M %p}</time>{body}</div></article>"
    )


def _block(block: dict[str, Any], mark: str = "") -> str:
    if block["type"] == "context":
        return f"<div class=context>{' '.join(_mrkdwn(e['text']) for e in block['elements'])}</div>"
    return f"<div class=section>{_mrkdwn(block['text']['text'])}{mark}</div>"


def _mrkdwn(source: str) -> str:
    text, position = "", 0
    for match in TOKEN.finditer(source):
        text += _plain(source[position : match.start()])
        position = match.end()
        if match["block"] is not None:
            text += f"<pre>{match['block']}</pre>"
        elif match["code"] is not None:
            text += f"<code>{match['code']}</code>"
        elif match["bold"] is not None:
            text += f"<b>{_mrkdwn(match['bold'])}</b>"
        else:
            text += _angle(match["angle"])
    return text + _plain(source[position:])


def _plain(text: str) -> str:
    return text.replace("\n", "<br>")  # & < > are escaped already, as Slack wants it


def _angle(inner: str) -> str:
    what, _, label = inner.partition("|")
    if what.startswith("!date^"):
        time = datetime.fromtimestamp(int(what.split("^")[1]), UTC)
        return f"{time:%b %-d} at {time:%-I:%M %p}"
    if what.startswith(("!", "@")):
        return f"<span class=mention>@{html.escape(label)}</span>"
    return f"<a>{label}</a>"


_STYLE = """
* { box-sizing: border-box }
body { margin: 0; background: #fff; font: 15px/1.466 Lato, sans-serif; color: #1d1c1d }
main { width: 860px; padding: 14px 20px 16px }
article { display: flex; gap: 10px; padding: 8px 0 }
.avatar { width: 36px; height: 36px; border-radius: 8px; background: #e8f0fe; font-size: 22px; flex: none;
  display: grid; place-items: center }
.who { font-weight: 900 }
.app { font-size: 10px; font-weight: 700; color: #616061; background: #ececec; border-radius: 2px;
  padding: 1px 3px; margin: 0 8px 0 5px; vertical-align: 1px }
time { font-size: 12px; color: #616061 }
.section { margin: 1px 0 4px }
.attachment { border-left: 4px solid; border-radius: 3px; padding: 2px 0 2px 12px; margin: 4px 0 2px }
.edited { font-size: 13px; color: #616061 }
.context { font-size: 13px; color: #616061; margin-top: 4px }
code { font: 12px/1.5 'DejaVu Sans Mono', monospace; color: #e01e5a; background: #f8f8f8;
  border: 1px solid #dcdcdc; border-radius: 3px; padding: 1px 3px }
pre { font: 12px/1.5 'DejaVu Sans Mono', monospace; background: #f8f8f8; border: 1px solid #dcdcdc;
  border-radius: 4px; padding: 8px; margin: 4px 0 }
a { color: #1264a3 }
.mention { color: #1264a3; background: #e8f5fa; border-radius: 3px; padding: 0 2px 1px }
"""


def main() -> None:
    """Draw the pictures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("chromium is needed to draw the pictures")
    for name, shown in pictures().items():
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "page.html"
            style = f"<style>{_STYLE}</style>"
            file.write_text(
                f"<!doctype html><meta charset=utf-8>{style}<main>{shown}</main>", encoding="utf-8"
            )
            command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            command += [f"--user-data-dir={directory}/profile", f"--force-device-scale-factor={SCALE}"]
            height = _height(command, file)
            command += [
                f"--window-size={WIDTH},{height}",
                f"--screenshot={PICTURES / name}.png",
                file.as_uri(),
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=60)


def _height(command: list[str], file: Path) -> int:
    """Return how high the page is, in CSS pixels."""
    probe = file.with_name("probe.html")
    script = "<script>document.title = document.querySelector('main').offsetHeight</script>"
    probe.write_text(file.read_text(encoding="utf-8") + script, encoding="utf-8")
    dump = [*command, f"--window-size={WIDTH},400", "--dump-dom", probe.as_uri()]
    found = subprocess.run(dump, check=True, capture_output=True, timeout=60, text=True).stdout
    return int(found.partition("<title>")[2].partition("</title>")[0])


if __name__ == "__main__":
    main()
