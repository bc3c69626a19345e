"""A webhook receiver on loopback, as a user would write one: verify, answer, remember by id."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from notifier.fields import decode_signing_secret
from notifier.targets.webhook import webhook_headers

PATH = "/hooks/backfills"


class Receiver:
    """Takes what is POSTed; `seen` is called with each event's body the first time its id comes."""

    def __init__(self, secret: str, seen: Callable[[dict[str, Any]], None]) -> None:
        self._key = decode_signing_secret(secret)
        self._seen = seen
        self.announced: dict[str, list[tuple[str | None, str]]] = {}
        """Each job's transitions in the order they arrived."""
        self.subjects: dict[str, tuple[str, str]] = {}
        """The job's id and table of each event by its id."""
        self.repeats = 0

    async def take(self, request: web.Request) -> web.Response:
        """Answer a webhook: 401 unless its signature holds, 204 when it was taken."""
        body = await request.read()
        if not self._is_genuine(request, body):
            return web.json_response({"error": "the signature does not hold"}, status=401)
        event = msgspec.json.decode(body)
        data = event["data"]
        if data["event_id"] in self.subjects:
            self.repeats += 1
            return web.Response(status=204)
        self.subjects[data["event_id"]] = (data["job_id"], data["job"]["table"])
        self.announced.setdefault(data["job_id"], []).append((data["previous_status"], data["status"]))
        self._seen(event)
        return web.Response(status=204)

    def _is_genuine(self, request: web.Request, body: bytes) -> bool:
        try:
            sent = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
            due = webhook_headers(request.headers["webhook-id"], body, [self._key], sent)
        except (KeyError, ValueError):
            return False
        signatures = request.headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(due["webhook-signature"], signature) for signature in signatures)
