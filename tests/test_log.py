"""What machines read of the log: one event can be followed from the poll to the receiver."""

import io
import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from notifier.log import set_up_log
from notifier.tags import tags
from tests.daemon import Daemon, write_config
from tests.servers import ScriptedServer, job


@pytest.fixture
def root() -> Any:
    """Leave logging as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


def test_tags_stand_beside_the_text_and_never_hide_it(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up_log(level="info", format="json", stream=stream)
    root.info("told %s", "all", extra=tags(event_id="evt_1", message="x", job_id=None, targets=["a"]))
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "event_id": "evt_1",
        "targets": ["a"],
        "level": "info",
        "logger": "root",
        "message": "told all",
    }


def test_a_line_for_people_has_no_tags(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up_log(level="info", format="text", stream=stream)
    root.info("told", extra=tags(event_id="evt_1"))
    assert stream.getvalue().endswith("INFO    told\n")


def test_an_error_that_nobody_expected_stays_on_its_line(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up_log(level="info", format="json", stream=stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        root.exception("failed")
    line = json.loads(stream.getvalue())
    assert (line["message"], "ZeroDivisionError" in line["exception"]) == ("failed", True)


async def test_one_event_is_followed_from_the_poll_to_the_receiver(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config = write_config(tmp_path, api, receiver)
    config.write_text(config.read_text() + '[log]\nformat = "json"\n')
    api.answer = [job("a", "staging"), job("b", "staging")]
    receiver.script = [web.Response(status=503)]
    async with Daemon(config) as daemon:
        await daemon.logged("watching 2 jobs")
        api.answer = [job("a", "failed"), job("b", "staging")]
        await receiver.arrived(2)
        await daemon.logged("delivered")
        api.answer = web.Response(status=500)
        await daemon.logged("answered 500")
        assert await daemon.ends(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in daemon.lines]
    [poll] = [line for line in lines if line["message"] == "allium: 1 event: 1 backfill.failed"]
    assert (poll["source"], poll["events"]) == ("allium", 1)
    [event] = receiver.events[:1]
    told = [line for line in lines if line.get("event_id") == event["data"]["event_id"]]
    found, failed, delivered = told
    assert (found["source"], found["job_id"], found["type"]) == ("allium", "a", "backfill.failed")
    assert found["targets"] == ["ops"]
    assert (failed["attempt"], failed["outcome"], failed["status"]) == (1, "unknown", 503)
    assert (delivered["attempt"], delivered["outcome"]) == (2, "delivered")
    for line in (failed, delivered):
        assert (line["target"], line["source"], line["job_id"]) == ("ops", "allium", "a")
        assert line["delivery_id"].startswith("dlv_")
        assert line["took_ms"] >= 0
    assert failed["wait_s"] > 0
    [fault] = [line for line in lines if "answered 500" in line["message"]][:1]
    assert (fault["source"], fault["outcome"], fault["failures"]) == ("allium", "failed", 1)
