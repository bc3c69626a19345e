"""What of failed requests belongs into the log: only what is our own fault."""

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_FOREIGN = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


def is_ours(record: logging.LogRecord) -> bool:
    """Return whether a line is about a fault of ours.

    Whoever sends what is no HTTP could fill the log otherwise; and its text has what was sent, secrets, too.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], _FOREIGN)


requests_log = logging.getLogger(__name__)
"""Where servers write."""
requests_log.addFilter(is_ours)
