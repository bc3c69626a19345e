"""`/metrics`, of what is put into records and of a real daemon."""

import re
import signal
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier import __version__
from notifier.meter import Meter
from notifier.model import Mute, Outage, PollReport, SourceRecord, utc_now
from notifier.records import Records
from notifier.unix import socket_path
from tests.daemon import Daemon, write_config
from tests.promtool import promtool
from tests.records import at, delivery, of, record
from tests.scrape import Scrape, name_of
from tests.servers import ScriptedServer, job
from tests.web import daemon_of, web_of

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
POLLS = {"allium": PollReport(last_poll=at(1), last_good_poll=at(1))}


async def scraped(records: Records, **terms: object) -> Scrape:
    async with (
        web_of(daemon_of(records, **terms)) as url,  # type: ignore[arg-type]
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics") as response,
    ):
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(await response.text())


async def test_jobs_are_counted_by_status_the_usual_ones_always() -> None:
    records = of({"a": record(status="staging"), "b": record(status="staging"), "c": record(status="paused")})
    scrape = await scraped(records, polls=POLLS | {"empty": PollReport()})
    assert scrape.series("notifier_jobs", "source", "status") == {
        ("allium", "staging"): 2,
        ("allium", "transporting"): 0,
        ("allium", "completed"): 0,
        ("allium", "failed"): 0,
        ("allium", "cancelled"): 0,
        ("allium", "paused"): 1,
    } | {("empty", status): 0 for status in ("staging", "transporting", "completed", "failed", "cancelled")}
    assert scrape.series("notifier_active_jobs") == {("allium",): 3, ("empty",): 0}
    assert scrape.series("notifier_stalled_jobs") == {("allium",): 0, ("empty",): 0}
    assert scrape.series("notifier_source_up") == {("allium",): 1, ("empty",): 0}


async def test_statuses_that_nobody_knows_are_shown_up_to_a_limit() -> None:
    records = of({f"j{number}": record(status=f"status-{number}") for number in range(40)})
    jobs = (await scraped(records, polls=POLLS)).series("notifier_jobs", "source", "status")
    assert len(jobs) == 5 + 31
    assert jobs["allium", "other"] == 10


async def test_a_source_whose_last_poll_failed_is_not_up() -> None:
    report = PollReport(last_poll=at(2), last_good_poll=at(1), failures=1)
    assert (await scraped(Records(), polls={"allium": report})).series("notifier_source_up") == {
        ("allium",): 0
    }


async def test_each_configured_target_is_told_whatever_waits_for_it() -> None:
    now = utc_now()
    records = of(
        {
            "a": record(
                delivery("1", state="pending", created=0),
                delivery("2", state="dead", created=0),
                delivery("3", state="pending", created=5, target="gone"),
            )
        }
    )
    outage = Outage(since=at(0), reason="answered 503")
    records.put({"allium": SourceRecord(id="s", outages={"ops": outage})}, {})
    scrape = await scraped(records, targets=["ops", "idle"])
    assert scrape.series("notifier_outbox_pending") == {("idle",): 0, ("ops",): 1}
    assert scrape.series("notifier_dead_letters") == {("idle",): 0, ("ops",): 1}
    assert scrape.series("notifier_target_up") == {("idle",): 1, ("ops",): 0}
    assert scrape.series("notifier_target_quiet") == {("idle",): 0, ("ops",): 0}
    oldest = scrape.series("notifier_outbox_oldest_seconds")
    assert oldest["idle",] == 0
    assert (now - at(0)).total_seconds() <= oldest["ops",] <= (utc_now() - at(0)).total_seconds()


async def test_mutes_that_hold_and_the_version_are_told() -> None:
    records = Records()
    mute = Mute(id="mut_1", created_at=at(0), until=utc_now().replace(year=9000), table="x")
    records.put({name: SourceRecord(id=name, mutes=(mute,)) for name in ("a", "b")}, {})
    scrape = await scraped(records)
    assert scrape("notifier_mutes") == 1
    assert scrape("notifier_build_info", version=__version__) == 1
    assert scrape("process_start_time_seconds") > 0


async def test_what_was_counted_is_told_also_as_openmetrics_when_asked() -> None:
    meter = Meter(["allium"], ["ops"])
    async with (
        web_of(daemon_of(Records(), meter=meter)) as url,
        aiohttp.ClientSession(headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as session,
        session.get(f"{url}/metrics") as response,
    ):
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        text = await response.text()
    assert 'notifier_deliveries_total{state="dead",target="ops"} 0.0\n' in text
    assert text.endswith("# EOF\n")


async def test_labels_may_hold_whatever_a_status_holds() -> None:
    odd = 'a"b\\c\nd\x00é😀'
    scrape = await scraped(of({"a": record(status=odd)}), polls=POLLS)
    assert scrape("notifier_jobs", source="allium", status=odd) == 1


async def test_the_page_about_them_has_each_metric_that_there_is_and_no_other(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    state.write_bytes(b"x")
    meter = Meter(["allium"], ["ops"])
    scrape = await scraped(Records(), polls=POLLS, targets=["ops"], meter=meter, state_path=state)
    rows = re.findall(r"^\| `(\w+)(?:\{([\w, ]+)\})?` \|", PAGE.read_text(), re.MULTILINE)
    assert {(name, frozenset(filter(None, labels.split(", ")))) for name, labels in rows} == {
        (name_of(family), frozenset(family.samples[0].labels.keys() - {"le"})) for family in scrape.families
    }


def test_each_question_is_a_query(tmp_path: Path) -> None:
    rows = re.findall(r"^\| [^|]+\? \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    queries = [query for row in rows for query in re.findall(r"`([^`]+)`", row)]
    assert len(queries) > 10
    rules = [{"record": f"question:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "questions.yml"
    path.write_bytes(msgspec.json.encode({"groups": [{"name": "questions", "rules": rules}]}))
    code, words = promtool("check", "rules", str(path))
    assert code == 0, words


async def ask(state: Path, path: str = "/metrics") -> bytes:
    connector = aiohttp.UnixConnector(str(socket_path(state)))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://localhost{path}") as response,
    ):
        assert response.status == 200
        return await response.read()


async def test_a_daemon_counts_what_it_does_and_promtool_finds_no_fault(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config, state = write_config(tmp_path, api, receiver), tmp_path / "state.db"
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        receiver.script = [web.Response(status=503)]
        api.answer = [job("j"), {"job_id": 7}]
        await daemon.logged("delivered backfill.staging")
        receiver.script = [web.Response(status=422)]
        api.answer = [job("j", "transporting")]
        await daemon.logged("delivery.dead")
        api.answer = web.Response(status=503)
        await daemon.logged("the API answered 503")
        api.answer = web.Response(status=401)
        await daemon.logged("was refused")
        told = await ask(state)
        [letter] = msgspec.json.decode(await ask(state, "/api/v1/deliveries?state=dead"))["items"]
        assert await daemon.ends(signal.SIGTERM) == 0
    assert promtool("check", "metrics", given=told) == (0, "")
    scrape = Scrape(told.decode())
    assert letter["target"] == "ops"
    assert {
        (name, *labels): value
        for name, label in (("attempts", "outcome"), ("deliveries", "state"))
        for labels, value in scrape.series(f"notifier_{name}_total", "target", label).items()
    } == {
        ("attempts", "ops", "delivered"): 1,
        ("attempts", "ops", "failed"): 0,
        ("attempts", "ops", "unknown"): 1,  # a 503 may have taken it all the same
        ("attempts", "ops", "refused"): 1,
        ("deliveries", "ops", "pending"): 2,
        ("deliveries", "ops", "delivered"): 1,
        ("deliveries", "ops", "dead"): 1,
    }
    assert {
        type_: n for (_, type_), n in scrape.series("notifier_events_total", "source", "type").items() if n
    } == {
        "backfill.staging": 1,
        "backfill.transporting": 1,
        "delivery.dead": 1,
    }
    polls = {
        outcome: n for (_, outcome), n in scrape.series("notifier_polls_total", "source", "outcome").items()
    }
    assert polls["good"] >= 3
    assert polls["failed"] >= 1
    assert polls["refused"] >= 1
    assert scrape("notifier_rejected_elements_total", source="allium") >= 1
    assert scrape("notifier_delivery_latency_seconds_count", target="ops") == 1
    assert scrape("notifier_dead_letters", target="ops") == 1
    assert scrape("notifier_source_up", source="allium") == 0
    assert scrape("notifier_state_size_bytes") > 0
    assert scrape("notifier_state_disk_free_bytes") > 0


async def test_series_follow_the_config_that_is_reloaded(
    tmp_path: Path, api: ScriptedServer, receiver: ScriptedServer
) -> None:
    config, state = write_config(tmp_path, api, receiver), tmp_path / "state.db"
    good = config.read_text()
    renamed = good.replace("[targets.ops]", "[targets.renamed]").replace(
        "[[sources]]", '[[sources]]\nname = "renamed"'
    )
    seen: list[Scrape] = []
    async with Daemon(config) as daemon:
        await daemon.logged("watching")
        for text, words in (
            (good, "reloaded, nothing has changed"),
            ("nonsense", "not reloaded"),
            (renamed, "removed"),
        ):
            config.write_text(text)
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.logged(words)
            seen.append(Scrape((await ask(state)).decode()))
        assert await daemon.ends(signal.SIGTERM) == 0
    assert [scrape("notifier_config_last_reload_successful") for scrape in seen] == [1, 0, 1]
    times = [scrape("notifier_config_last_reload_success_timestamp_seconds") for scrape in seen]
    assert times[0] == times[1] < times[2]
    assert [scrape.labels("source") for scrape in seen] == [{"allium"}, {"allium"}, {"renamed"}]
    assert [scrape.labels("target") for scrape in seen] == [{"ops"}, {"ops"}, {"renamed"}]


@pytest.mark.parametrize(
    "wrong", [b"notifier_polls_total 1\n", b"# HELP x_seconds_total x\nx_seconds_total{"]
)
def test_promtool_does_find_faults(wrong: bytes) -> None:
    assert promtool("check", "metrics", given=wrong)[0] != 0
