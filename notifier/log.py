"""What the process writes to standard error: lines for people or JSON for machines."""

import json
import logging
import sys
import time
from typing import TextIO

_QUIET = ("apscheduler", "aiohttp", "asyncio")


class _TextFormatter(logging.Formatter):
    """`2026-01-31T10:30:00.123Z INFO    allium: watching 12 jobs, 3 active`."""

    converter = staticmethod(time.gmtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time of a line, UTC, in milliseconds."""
        return super().formatTime(record, datefmt or "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"


class _JsonFormatter(_TextFormatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and its tags (docs/logs.md)."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(getattr(record, "tags", {}) | line, ensure_ascii=False)


def set_up_log(*, level: str, format: str, stream: TextIO | None = None) -> None:  # noqa: A002
    """Send everything from this level up to the stream, standard error unless given."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        _JsonFormatter() if format == "json" else _TextFormatter("%(asctime)s %(levelname)-7s %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
