"""Draws docs/pictures/slack-messages.png: real messages of the notifier, shown as Slack shows them.

    make picture      # needs chromium, and the fonts Lato and Noto Color Emoji

The events come from the daemon's own comparison of two listings, the messages from its own renderer;
only the page around them imitates Slack.
"""

import html
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from notifier.diff import diff
from notifier.drawing import TOKEN
from notifier.listing import read_listing
from notifier.model import Event
from notifier.outbox import absorb
from notifier.payload import read_payload
from notifier.targets.slack.message import mention_for, render

PICTURE = Path(__file__).parent / "pictures" / "slack-messages.png"
WIDTH, HEIGHT, SCALE = 860, 745, 2
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


USDC = {
    "job_name": "USDC transfers Jan 2026",
    "table": "base.assets.erc20_token_transfers",
    "backfill_start": "2026-01-01T00:00:00",
    "backfill_end": "2026-02-01T00:00:00",
    "filter_column": "token_address",
    "filter_values": ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"],
    "destinations": [{"type": "kafka", "name": "base-usdc"}],
}
TRADES = {
    "job_name": "Aerodrome trades, Q4",
    "table": "base.dex.trades",
    "backfill_start": "2025-10-01T00:00:00",
    "backfill_end": "2026-01-01T00:00:00",
    "filter_column": "project",
    "filter_values": ["aerodrome", "aerodrome-slipstream", "velodrome", "baseswap", "alienbase"],
    "destinations": [{"type": "webhook", "name": "lake"}, {"type": "kafka", "name": "base-trades"}],
}
STEPS = [
    (timedelta(0), job("0f3c7a52-8f0e-4a5d-9b1c-2d60c3f1a7e4", "staging", **USDC)),
    (
        timedelta(hours=3, minutes=12),
        job("0f3c7a52-8f0e-4a5d-9b1c-2d60c3f1a7e4", "completed", num_chunks=1000, chunks_left=0, **USDC),
    ),
    (
        timedelta(hours=3, minutes=40),
        job(
            "b81d04c9-55a7-4a0a-8d2b-71c9fe3306aa",
            "failed",
            num_chunks=1000,
            chunks_left=417,
            error_message="Snowflake query exceeded its time limit of 3600 s\n"
            "statement 01b2c3d4, warehouse BEAM_XL",
            **TRADES,
        ),
    ),
]


def observed() -> Iterator[Event]:
    """Yield what the daemon would announce of these steps."""
    records: dict[str, Any] = {}
    for age, listed in STEPS:
        [element] = read_listing(json.dumps([listed]).encode()).elements
        change = diff(
            records.get(element.job_id),
            element,
            source="allium",
            source_id="picture",
            announce=True,
            now=BEGAN + age,
        )
        if change is not None:
            records[element.job_id] = absorb(
                records.get(element.job_id),
                snapshot=change.snapshot,
                seq=change.seq,
                events=change.events,
                targets={event.id: () for event in change.events},
            )
            yield from change.events


def page() -> str:
    """Return the page that is photographed."""
    shown = "".join(_message(event) for event in observed())
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><main>{shown}</main>"


def _message(event: Event) -> str:
    if isinstance(event.payload, msgspec.UnsetType):
        raise TypeError("an event that was just observed has its payload")
    payload = read_payload(event.payload)
    message = render(payload, job_link=JOB_LINK, mention=mention_for(payload.type, MENTIONS))
    body = "".join(_block(block) for block in message.blocks)
    for attachment in message.attachments:
        inner = "".join(_block(block) for block in attachment["blocks"])
        body += f'<div class=attachment style="border-color:{attachment["color"]}">{inner}</div>'
    return (
        "<article><div class=avatar>⛲</div><div><b class=who>Backfill Notifier</b><span class=app>APP</span>"
        f"<time>{event.observed_at:%-I:%M %p}</time>{body}</div></article>"
    )


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "context":
        return f"<div class=context>{' '.join(_mrkdwn(e['text']) for e in block['elements'])}</div>"
    return f"<div class=section>{_mrkdwn(block['text']['text'])}</div>"


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
.context { font-size: 13px; color: #616061; margin-top: 4px }
code { font: 12px/1.5 'DejaVu Sans Mono', monospace; color: #e01e5a; background: #f8f8f8;
  border: 1px solid #dcdcdc; border-radius: 3px; padding: 1px 3px }
pre { font: 12px/1.5 'DejaVu Sans Mono', monospace; background: #f8f8f8; border: 1px solid #dcdcdc;
  border-radius: 4px; padding: 8px; margin: 4px 0 }
a { color: #1264a3 }
.mention { color: #1264a3; background: #e8f5fa; border-radius: 3px; padding: 0 2px 1px }
"""


def main() -> None:
    """Draw the picture."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("chromium is needed to draw the picture")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "page.html"
        file.write_text(page(), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={directory}/profile", f"--force-device-scale-factor={SCALE}"]
        command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={PICTURE}", file.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
