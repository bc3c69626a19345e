"""A simulated Allium API on loopback; it keeps what it served, to compare with what was announced."""

import hashlib
import json
import time
from typing import Any

from aiohttp import web

from notifier.demo.lives import Life, generation
from notifier.model import utc_now

PATH = "/api/v1/beam/backfills"


class SimulatedAllium:
    """The listing endpoint over a world of jobs that live on until frozen."""

    def __init__(self, api_key: str, seed: int) -> None:
        self._api_key = api_key
        self._seed = seed
        self._began = utc_now()
        self._started = time.monotonic()
        self._frozen: float | None = None
        self._lives: list[list[Life]] = []
        self._last: dict[str, str] | None = None
        self.served: dict[str, list[tuple[str | None, str]]] = {}
        """Each job's transitions between one served listing and the next: what must be announced."""
        self.polls = 0
        self.polls_since_frozen = 0

    def freeze(self) -> None:
        """Have every further listing be the same."""
        self._frozen = time.monotonic() - self._started

    @property
    def jobs(self) -> int:
        """How many jobs have been listed."""
        return len(self._last or {})

    async def list_backfills(self, request: web.Request) -> web.Response:
        """Answer a poll."""
        if request.headers.get("X-API-Key") != self._api_key:
            return web.json_response({"detail": "invalid API key"}, status=401)
        listing = self._listing()
        body = json.dumps(listing).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        self._note(listing)
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=body, content_type="application/json", headers={"ETag": etag})

    async def show_job(self, request: web.Request) -> web.Response:
        """Answer a visit of the page that a message's title leads to."""
        wanted = request.match_info["job_id"]
        found = (element for element in self._listing() if element["job_id"] == wanted)
        return web.json_response(next(found, None))

    def _listing(self) -> list[dict[str, Any]]:
        at = self._frozen if self._frozen is not None else time.monotonic() - self._started
        while len(self._lives) * 60 <= at:
            self._lives.append(generation(len(self._lives), self._seed))
        lives = sorted((life for lives in self._lives for life in lives), key=lambda life: life.starts)
        elements = (life.element(at, self._began) for life in lives)
        return [element for element in elements if element is not None]

    def _note(self, listing: list[dict[str, Any]]) -> None:
        self.polls += 1
        self.polls_since_frozen += self._frozen is not None
        statuses = {element["job_id"]: element["status"] for element in listing}
        if self._last is not None:
            for job_id, status in statuses.items():
                if self._last.get(job_id) != status:
                    self.served.setdefault(job_id, []).append((self._last.get(job_id), status))
        self._last = statuses
