"""Backfills that change with every poll, and whether what was announced of them is true."""

import json
import random
from typing import Any

from aiohttp import web

from tests.servers import ScriptedServer, job

STATUSES = ("staging", "transporting", "completed", "failed", "cancelled", "paused")


class World:
    """Jobs of which some change with every poll until it is frozen; it keeps what it served."""

    def __init__(self, jobs: int, seed: int, changes: int = 15) -> None:
        self._lots = random.Random(seed)
        self._changes = changes
        self.statuses = {f"job-{number}": "staging" for number in range(jobs)}
        self.served: dict[str, list[str | None]] = {}
        """The statuses of each job in their order; None before one that was not in the baseline."""
        self.frozen = False

    def listing(self, _: web.Request) -> list[dict[str, Any]]:
        first = not self.served
        if not first and not self.frozen:
            self.change(self._changes)
        for job_id, status in self.statuses.items():
            history = self.served.setdefault(job_id, [] if first else [None])
            if not history or history[-1] != status:
                history.append(status)
        return [job(job_id, status) for job_id, status in self.statuses.items()]

    def change(self, count: int) -> None:
        """Change so many jobs, and add one."""
        for job_id in self._lots.sample(sorted(self.statuses), count):
            self.statuses[job_id] = self._lots.choice(STATUSES)
        self.statuses[f"job-{len(self.statuses)}"] = "staging"


def faults(world: World, receiver: ScriptedServer) -> list[str]:
    """Return what is wrong with what arrived: each job's events must be an unbroken chain, repeats equal."""
    bodies: dict[str, bytes] = {}
    chains: dict[str, list[dict[str, Any]]] = {}
    for request, body in list(receiver.requests):
        id_ = request.headers["webhook-id"]
        if id_ not in bodies:
            event = json.loads(body)
            chains.setdefault(event["data"]["job_id"], []).append(event)
        assert bodies.setdefault(id_, body) == body, "a repeat says something else"
    return [
        f"{job_id}: {fault}"
        for job_id, served in world.served.items()
        if (fault := _fault(chains.get(job_id, []), served)) is not None
    ]


def event_ids(receiver: ScriptedServer) -> set[str]:
    """Return the ids of all events that arrived."""
    return {request.headers["webhook-id"] for request, _ in receiver.requests}


def _fault(chain: list[dict[str, Any]], served: list[str | None]) -> str | None:
    last = served[0]
    remaining = iter(served[1:])
    for event in chain:
        if event["data"]["previous_status"] != last:
            return f"announced from {event['data']['previous_status']}, but it was {last}"
        last = event["data"]["status"]
        if last not in remaining:
            return f"announced {last}, which was not served then"
    return None if last == served[-1] else f"ended as {last}, but is {served[-1]}"
