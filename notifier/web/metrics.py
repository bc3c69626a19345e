"""What Prometheus is told: what the meter counted, and how things stand when it asks."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from notifier.model import STATUS_TYPES, utc_now
from notifier.views import SourceView, Status, TargetView
from notifier.vocabulary import Vocabulary
from notifier.web.daemon import Daemon
from notifier.web.lists import Answer, overview


def metrics_routes(daemon: Daemon, answer: Answer) -> list[web.RouteDef]:
    """Return what answers `/metrics`."""
    registry = CollectorRegistry()
    for collector in (daemon.meter, _Standing(daemon)):
        registry.register(collector)
    ProcessCollector(registry=registry)

    def scrape(accept: str) -> web.Response:
        encode, content_type = choose_encoder(accept)
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def metrics(request: web.Request) -> web.Response:
        return await answer(partial(scrape, request.headers.get("Accept", "")))

    return [web.get("/metrics", metrics)]


class _Standing(Collector):
    """Gives how things stand, as `notifier status` does: one cannot say other than the other."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._statuses = Vocabulary([type_.removeprefix("backfill.") for type_ in STATUS_TYPES], "other")

    def collect(self) -> Iterator[Metric]:
        status = overview(self._daemon)
        # What is not configured any more has no series: nobody could do anything about it.
        yield from self._of_sources([each for each in status.sources if each.configured])
        yield from _of_targets([each for each in status.targets if each.configured])
        yield from self._of_process(status)

    def _of_sources(self, sources: list[SourceView]) -> Iterator[Metric]:
        up = _gauge("source_up", "1 when the source's last poll was good, else 0", "source")
        jobs = _gauge("jobs", "Jobs in the state by status, those included that vanished", "source", "status")
        active = _gauge("active_jobs", "Listed jobs that may still change", "source")
        stalled = _gauge("stalled_jobs", "Active jobs that do not move", "source")
        for source in sources:
            polls, counts = source.polls, Counter(dict.fromkeys(self._statuses.known, 0))
            is_up = polls is not None and polls.last_poll is not None and not polls.failures
            up.add_metric([source.name], is_up)
            active.add_metric([source.name], source.active)
            stalled.add_metric([source.name], source.stalled)
            for name, number in source.jobs.items():
                counts[self._statuses(name)] += number
            for name, number in counts.items():
                jobs.add_metric([source.name, name], number)
        yield from (up, jobs, active, stalled)

    def _of_process(self, status: Status) -> Iterator[Metric]:
        yield GaugeMetricFamily("notifier_mutes", "Mutes that hold", status.mutes)
        path = self._daemon.state_path
        with suppress(OSError):
            log = path.with_name(f"{path.name}-wal")
            size = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
            free = shutil.disk_usage(path.parent).free
            yield GaugeMetricFamily("notifier_state_size_bytes", "How large the state's files are", size)
            yield GaugeMetricFamily(
                "notifier_state_disk_free_bytes", "What is free on the state's disk", free
            )
        build = InfoMetricFamily("notifier_build", "Which version this is")
        build.add_metric([], {"version": status.version})
        yield build


def _of_targets(targets: list[TargetView]) -> Iterator[Metric]:
    now = utc_now()
    up = _gauge(
        "target_up", "0 from the target's first failed attempt to the next good one, else 1", "target"
    )
    quiet = _gauge("target_quiet", "1 in the target's quiet hours, else 0", "target")
    pending = _gauge("outbox_pending", "Deliveries still to be made", "target")
    oldest = _gauge(
        "outbox_oldest_seconds", "How long ago the oldest pending delivery was made, 0 without one", "target"
    )
    dead = _gauge("dead_letters", "Deliveries that were given up, and are kept", "target")
    for target in targets:
        label = [target.name]
        up.add_metric(label, target.failing_since is None)
        quiet.add_metric(label, target.quiet_until is not None)
        pending.add_metric(label, target.pending)
        oldest.add_metric(label, _age_seconds(target.oldest_pending, now))
        dead.add_metric(label, target.dead)
    yield from (up, quiet, pending, oldest, dead)


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"notifier_{name}", words, labels=labels)


def _age_seconds(time: datetime | None, now: datetime) -> float:
    return 0.0 if time is None else max(0.0, (now - time).total_seconds())
