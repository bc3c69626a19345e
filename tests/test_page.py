"""The pages that people look at, read without a browser."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp
import msgspec
import pytest
from yarl import URL

from notifier.model import Attempt, JobRecord, Mute, Outage, Phase, PollReport, SourceRecord, utc_now
from notifier.records import Records
from notifier.unix import socket_path
from notifier.web.api import make_application
from notifier.web.socket import served_beside
from tests.html import Element, read_html
from tests.records import NOW, at, delivery, of, put, record
from tests.web import daemon_of, web_of

HOSTILE = [
    "<script>window.hit = 1</script>",
    '"><img src=x onerror="window.hit=1">',
    "' onmouseover='window.hit=1",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.hit=1",
    "</table></main><iframe srcdoc='<script>parent.hit=1</script>'>",
    "\u202eevil\u2066\u0000\u0007\x1b[31m\n\tname",
    "n" * 100_000,
    "&amp;&#60;b&#62;",
]


async def fetch(url: str, path: str = "/", **headers: str) -> tuple[int, Any, str]:
    async with (
        aiohttp.ClientSession(headers={"Accept": "text/html", **headers}) as session,
        session.get(URL(url + path, encoded=True), allow_redirects=False) as answer,
    ):
        return answer.status, answer.headers, await answer.text()


async def show(records: Records, path: str = "/", **fields: Any) -> Element:
    """Return the page of a daemon with these records."""
    async with web_of(daemon_of(records, **fields)) as url:
        status, _, text = await fetch(url, path)
    assert status == 200
    return read_html(text)


def names(page: Element) -> list[str]:
    return [each.text for each in page.all("span", kind="name")]


def row(page: Element, key: str) -> dict[str, str]:
    """Return what the cells of a row say by their label."""
    [found] = page.all("tr", data_key=key)
    return {
        cell.attributes.get("data-label", ""): cell.text
        for cell in found.all("td")
        if "data-label" in cell.attributes
    }


async def test_everything_is_in_the_html_itself() -> None:
    records = of(
        {
            "a": record(delivery("1"), status="staging", job_name="USDC Jan", table="base.raw.logs"),
            "b": record(
                delivery("2", state="dead", last_error="answered 413"),
                status="failed",
                seen=1,
                job_name="DEX trades",
                error_message="no memory",
                num_chunks=1000,
                chunks_left=423,
            ),
        }
    )
    page = await show(records, targets=["ops"])
    assert names(page) == ["DEX trades", "USDC Jan"]
    assert row(page, "allium/b") == {"Status": "failed", "Progress": "57.7 % 57.7 % of 1,000", "Phases": ""}
    assert "no memory" in page.one("span", kind="error").text
    assert "summary of evt_2" in page.one("tr", data_key="allium/b").one("ol", kind="timeline").text
    assert "ops given up" in page.one("tr", data_key="allium/b").one("ol", kind="timeline").text
    assert page.one("progress").attributes["value"] == "57.7"
    assert page.one("progress").attributes["aria-label"] == "Delivered of DEX trades"


async def test_the_answer_is_html_that_runs_nothing_inline_and_leads_nowhere_else() -> None:
    records = of({"a": record(delivery("1", state="dead", last_error="x"), job_name="A"), "b/c": record()})
    async with web_of(daemon_of(records, targets=["ops"])) as url:
        for path in ("/", "/jobs/allium/a", "/jobs/allium/b%2Fc", "/deliveries", "/jobs/allium/none"):
            _, headers, text = await fetch(url, path)
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert "script-src 'self'" in headers["Content-Security-Policy"]
            page = read_html(text)
            assert not page.all("style")
            for element in page.all():
                assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
                for name in ("href", "src", "action"):
                    where = element.attributes.get(name, "./")
                    assert not where.startswith("/"), "a proxy may serve it elsewhere"
                    assert not urlsplit(where).scheme
                if element.tag == "script":
                    assert element.text == ""


@pytest.mark.parametrize("path", ["/", "/jobs/allium/a", "/deliveries"])
async def test_without_scripts_it_loads_itself_anew(path: str) -> None:
    page = await show(of({"a": record()}), path)
    refresh = page.one("noscript").one("meta").attributes
    assert refresh == {"http-equiv": "refresh", "content": "15"}


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_text(text: str) -> None:
    hostile = record(
        delivery("1", state="dead", last_error=text, answer=text, target="ops"),
        status=text,
        job_name=text,
        table=text,
        error_message=text,
        filter_column=text,
        filter_values=[text],
        destinations=[{"type": text, "name": text}],
    )
    event = msgspec.structs.replace(hostile.events[0], summary=text, type=f"backfill.{text}")
    hostile = msgspec.structs.replace(hostile, events=(event,))
    plain = msgspec.structs.replace(
        record(delivery("1", state="dead", last_error="x", answer="y"), status="failed", job_name="A"),
    )
    poll = PollReport(last_poll=NOW, failures=1, last_error=text)
    counts = {}
    for kind, each in (("hostile", hostile), ("plain", plain)):
        records = of({"id": each})
        mute = Mute(id="mut_1", created_at=NOW, until=utc_now() + timedelta(hours=1), table="x", reason=text)
        records.put({"allium": SourceRecord(id="x", mutes=(mute,))}, {})
        async with web_of(daemon_of(records, targets=["ops"], polls={"allium": poll})) as url:
            for path in ("/", "/jobs/allium/id", "/deliveries"):
                status, _, html = await fetch(url, path)
                assert status == 200
                page = read_html(html)
                counts[kind, path] = [
                    len(page.all(tag)) for tag in ("script", "img", "iframe", "table", "main")
                ]
                assert not [
                    each
                    for each in page.all()
                    if {"onerror", "onmouseover", "srcdoc"} & each.attributes.keys()
                ]
                spoken = [
                    each.attributes.get(name, "") for each in page.all() for name in ("aria-label", "title")
                ]
                assert not set(page.text.join(spoken)) & set("\u202e\u2066\u0000\u0007\x1b")
                assert len(html) < 150_000, "what is too long is cut"
    for path in ("/", "/jobs/allium/id", "/deliveries"):
        assert counts["hostile", path] == counts["plain", path]


ODD_IDS = [
    "a/b",
    "{x}",
    "{{ y }}",
    "<b>",
    "x\ny",
    "100%",
    "%2F",
    "a b?c=d#e",
    "é",
    "a+b",
    "a;b",
    "..a",
    "n" * 3000,
]


@pytest.mark.parametrize("job_id", ODD_IDS)
async def test_whatever_its_id_is_a_job_has_a_page_that_its_name_leads_to(job_id: str) -> None:
    async with web_of(daemon_of(of({job_id: record(job_name="Found")}))) as url:
        _, _, text = await fetch(url)
        [link] = read_html(text).one("span", kind="name").all("a")
        where = urljoin(f"{url}/", link.attributes["href"])
        assert not urlsplit(where).query
        status, _, text = await fetch(url, where.removeprefix(url))
        page = read_html(text)
        assert (status, page.one("h1").text) == (200, "Found")
        home = page.one("a", kind="brand").attributes["href"]
        assert urljoin(where, home) == f"{url}/"


@pytest.mark.parametrize("job_id", ["", ".", ".."])
async def test_an_id_that_no_url_can_name_has_no_link(job_id: str) -> None:
    page = await show(of({job_id: record(job_name="Odd")}))
    assert names(page) == ["Odd"]
    assert not page.one("span", kind="name").all("a")


async def test_a_job_that_is_not_known_is_not_found() -> None:
    async with web_of(daemon_of(of({"a": record()}))) as url:
        for path in ("/jobs/allium/b", "/jobs/beam/a", "/jobs/beam/%3Cscript%3E"):
            status, _, text = await fetch(url, path)
            assert status == 404
            assert read_html(text).one("h1").text == "There is no such job"


def many(count: int) -> dict[str, JobRecord]:
    statuses = ("completed", "failed", "transporting")
    tables = ("base.raw.logs", "eth.dex.trades")
    return {
        f"{number:03}": record(
            status=statuses[number % 3], seen=number, job_name=f"Job {number}", table=tables[number % 2]
        )
        for number in range(count)
    }


@pytest.mark.parametrize(
    ("query", "count", "first"),
    [
        ("", 40, "Job 39"),
        ("?status=failed", 13, "Job 37"),
        ("?status=active", 13, "Job 38"),
        ("?status=failed&table=eth.*", 7, "Job 37"),
        ("?q=+job+7+", 1, "Job 7"),
        ("?q=+&table=+&status=", 40, "Job 39"),
        ("?source=allium&q=JOB+1", 11, "Job 19"),
    ],
)
async def test_jobs_are_filtered(query: str, count: int, first: str) -> None:
    page = await show(of(many(40)), f"/{query}")
    assert len(names(page)) == count
    assert names(page)[0] == first
    assert page.one("p", id="jobs-place").text.startswith(f"1–{count} of {count} job")


async def test_filters_stay_in_the_form_and_in_links() -> None:
    page = await show(of(many(300)), "/?status=failed&table=b*&q=%22j")
    form = page.one("form", kind="filters")
    assert {each.attributes["name"]: each.attributes["value"] for each in form.all("input")} == {
        "status": "failed",
        "table": "b*",
        "q": '"j',
    }
    assert "No job is like that" in page.text
    chosen = page.one("a", aria_current="true")
    assert chosen.text == "failed 0"
    other = next(each for each in page.all("a") if each.text.startswith("active"))
    assert parse_qs(urlsplit(other.attributes["href"]).query) == {
        "status": ["active"],
        "table": ["b*"],
        "q": ['"j'],
    }


async def test_what_is_active_stalled_or_failed_is_counted_and_one_click_away() -> None:
    jobs = many(40)
    stalled = jobs["038"]
    jobs["038"] = msgspec.structs.replace(
        stalled, snapshot=msgspec.structs.replace(stalled.snapshot, stalled_at=at(40))
    )
    page = await show(of(jobs))
    chips = {each.text: each.attributes["href"] for each in page.one("nav", kind="chips").all("a")}
    assert list(chips) == [
        *("all 40", "active 13", "stalled 1", "failed 13", "transporting 13", "completed 14"),
    ]
    found = await show(of(jobs), "/?" + urlsplit(chips["stalled 1"]).query)
    assert names(found) == ["Job 38"]
    assert "stalled for" in row(found, "allium/038")["Status"]


async def test_pages_lead_through_all_jobs_and_back() -> None:
    async with web_of(daemon_of(of(many(120)))) as url:
        seen, places, path = [], [], "/?table=*"
        back = ""
        while path:
            page = read_html((await fetch(url, path))[2])
            seen += names(page)
            places.append(page.one("p", id="jobs-place").text)
            [*older] = page.all("a", rel="next")
            [*newer] = page.all("a", rel="prev")
            back = newer[0].attributes["href"].partition("#")[0] if newer else ""
            path = "/" + older[0].attributes["href"].removeprefix("./").partition("#")[0] if older else ""
        assert seen == [f"Job {number}" for number in reversed(range(120))]
        assert places == [f"{part} of 120 jobs, newest first" for part in ("1–50", "51–100", "101–120")]
        middle = read_html((await fetch(url, back.removeprefix(".")))[2])
        assert names(middle) == seen[50:100]
        back = middle.one("a", rel="prev").attributes["href"].removeprefix(".").partition("#")[0]
        first = read_html((await fetch(url, back))[2])
        assert names(first) == seen[:50]


@pytest.mark.parametrize("path", ["/", "/deliveries"])
async def test_a_cursor_that_means_nothing_is_refused(path: str) -> None:
    async with web_of(daemon_of(of({"a": record(delivery("1"), job_name="A")}))) as url:
        status, _, text = await fetch(url, f"{path}?cursor=nonsense")
    page = read_html(text)
    assert (status, page.one("h1").text) == (400, "That cannot be shown")
    assert "cursor" in page.one("main").text
    assert not page.all("tr")


@pytest.mark.parametrize(
    ("path", "headers", "status", "title", "words"),
    [
        ("/nowhere", {}, 404, "There is no such page", "Nothing is at this address."),
        ("/job/allium/%3Cscript%3E", {}, 404, "There is no such page", "Nothing is at this address."),
        (
            "/deliveries?state=zzz",
            {},
            400,
            "That cannot be shown",
            "state must be one of pending, delivered, dead",
        ),
        (
            "/",
            {"Host": "evil.example"},
            403,
            "That is not allowed",
            "without a token ([web] token) only this machine is answered: ask for localhost or 127.0.0.1",
        ),
    ],
)
async def test_what_cannot_be_shown_is_said_on_a_page_with_a_way_back_and_to_programs_in_json(
    path: str, headers: dict[str, str], status: int, title: str, words: str
) -> None:
    async with web_of(daemon_of(Records())) as url:
        answered, told, text = await fetch(url, path, **headers)
        assert (answered, told["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert "script-src 'self'" in told["Content-Security-Policy"]
        page = read_html(text)
        assert page.one("title").text == f"{title} · backfill-notifier"
        assert page.one("h1").text == title
        assert page.one("main").one("bdi").text == words
        ways = [urljoin(url + path, each.attributes["href"]) for each in page.one("main").all("a")]
        assert ways == [f"{url}/", f"{url}/deliveries"]
        answered, told, text = await fetch(url, path, **headers | {"Accept": "application/json, */*"})
        assert (answered, told["Content-Type"]) == (status, "application/json")
        said = msgspec.json.decode(text)["error"]
        assert said == (words if status != 404 else "404: Not Found")


async def test_a_page_that_takes_too_long_offers_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifier.web.api._ANSWER_WITHIN_SECONDS", 0)
    async with web_of(daemon_of(Records())) as url:
        status, _, text = await fetch(url, "/deliveries")
    page = read_html(text)
    assert (status, page.one("h1").text) == (503, "No answer just now")
    assert [each.text for each in page.one("main").all("a")] == ["Try again", "All jobs", "Deliveries"]


@pytest.mark.parametrize("path", ["/api/v1/nowhere", "/api/v1/jobs?cursor=x", "/metrics/x"])
async def test_what_is_for_programs_refuses_in_json_whoever_asks(path: str) -> None:
    async with web_of(daemon_of(Records())) as url:
        status, headers, _ = await fetch(url, path)
    assert status in (400, 404)
    assert headers["Content-Type"] == "application/json"


async def test_sources_and_targets_say_how_they_do_and_why() -> None:
    records = of(
        {
            "a": record(
                delivery("1", state="pending", last_error="no answer in time"),
                delivery("2", state="dead", target="data", last_error="answered 410"),
                delivery("3", state="delivered", target="well"),
            )
        }
    )
    failing = Outage(since=utc_now() - timedelta(minutes=12), reason="answered 503")
    records.put({"allium": SourceRecord(id="x", outage=failing, outages={"ops": failing})}, {})
    now = utc_now()
    polls = {
        "allium": PollReport(last_poll=now, failures=3, last_error="answered 503: busy", next_poll=at(10**6)),
        "beam": PollReport(last_poll=now - timedelta(seconds=4), last_good_poll=now),
        "new": PollReport(),
    }
    page = await show(
        records, targets=["ops", "data", "well"], polls=polls, vitals=lambda: ["the clock died"]
    )
    assert row(page, "allium")["Last poll"].startswith("failed ")
    assert row(page, "beam")["Last poll"].startswith("good, ")
    assert row(page, "new")["Last poll"] == "none yet"
    assert row(page, "ops") == {
        "State": "failing for 12m no answer in time",
        "Pending": row(page, "ops")["Pending"],
        "Dead": "0",
        "Delivered": "0",
    }
    assert row(page, "ops")["Pending"].startswith("1 pending for ops oldest")
    assert row(page, "data")["State"] == "works answered 410"
    assert row(page, "data")["Dead"] == "1 dead for data Retry"
    assert row(page, "well")["State"] == "works"
    troubles = [each.text for each in page.one("section", id="troubles").all("li")]
    assert troubles[0] == "The process: the clock died"
    assert troubles[1] == "Source allium has had no good poll for 12m: answered 503: busy"
    assert troubles[2] == "Target ops has failed for 12m: no answer in time"
    assert troubles[3] == "1 dead letter: given up, and kept: show"
    assert page.one("title").text == "3 failing, 1 dead · backfill-notifier"


async def test_what_is_no_longer_configured_is_said_to_be_and_nothing_is_offered() -> None:
    dead = delivery("1", state="dead", target="old", last_error="answered 503", ended_at=at(1))
    records = of({"a": record(dead, delivery("2", target="ops"), job_name="Left")}, source="gone")
    put(records, [(("allium", "b"), record(delivery("3", state="dead", ended_at=at(1)), job_name="Here"))])
    outage = Outage(since=at(0), reason="answered 503")
    gone = SourceRecord(id="x", outage=outage, outages={"old": outage})
    records.put({"gone": gone, "allium": SourceRecord(id="y")}, {})
    polls = {"allium": PollReport(last_poll=NOW, last_good_poll=NOW)}
    async with web_of(daemon_of(records, targets=["ops"], polls=polls)) as url:
        page, of_job, sent = [
            read_html((await fetch(url, path))[2]) for path in ("/", "/jobs/gone/a", "/deliveries")
        ]
        active = read_html((await fetch(url, "/?status=active"))[2])
    assert row(page, "gone") == {
        "Last poll": "no longer configured",
        "Next poll": "–",
        "Active": "0",
        "Jobs": "1",
    }
    assert row(page, "old")["State"] == "no longer configured answered 503"
    assert row(page, "old")["Dead"] == "1 dead for old"
    assert row(page, "allium")["Active"] == "1"
    assert "source no longer configured" in row(page, "gone/a")["Status"]
    assert "source no longer configured" in of_job.one("p", kind="badges").text
    chips = [each.text for each in page.one("nav", kind="chips").all("a")]
    assert chips[:2] == ["all 2", "active 1"]
    assert names(active) == ["Here"]
    assert page.one("title").text == "1 dead · backfill-notifier", "of what is configured"
    assert [
        name + each.attributes[name]
        for shown in (page, of_job, sent)
        for each in shown.all("button")
        for name in ("data-mute", "data-retry", "data-retry-target")
        if name in each.attributes
    ] == ["data-retry-targetops", "data-muteb", "data-retrydlv_3"]


async def test_without_trouble_there_is_none() -> None:
    page = await show(of({"a": record()}), polls={"allium": PollReport(last_poll=utc_now())})
    assert "hidden" in page.one("section", id="troubles").attributes
    assert page.one("title").text == "Backfills · backfill-notifier"


async def test_before_the_first_poll_it_says_so() -> None:
    page = await show(Records())
    assert "No source was polled yet." in page.text
    assert "There is no target." in page.text
    assert "No job is known yet." in page.text


async def test_mutes_are_shown_and_can_be_ended() -> None:
    until = utc_now() + timedelta(hours=2, minutes=30, seconds=30)
    mute = Mute(id="mut_1", created_at=NOW, until=until, job_id="a", reason="known", suppressed=2)
    records = of({"a": record(job_name="A"), "b": record(job_name="B")})
    records.put({"allium": SourceRecord(id="x", mutes=(mute,))}, {})
    page = await show(records)
    assert row(page, "mut_1") == {"Ends": "in 2h 30m", "Kept back": "2 events", "Why": "known"}
    ends = [each.attributes["data-unmute"] for each in page.all("button") if "data-unmute" in each.attributes]
    assert ends == ["mut_1", "a"]
    assert [
        each.attributes["data-mute"] for each in page.all("button") if "data-mute" in each.attributes
    ] == ["b"]
    assert "muted, ends in 2h 30m" in row(page, "allium/a")["Status"]


async def test_a_job_has_all_that_is_known_about_it() -> None:
    made = record(
        delivery(
            "1",
            state="dead",
            attempts=2,
            last_error="answered 400: no",
            answer="the field x is missing",
            ended_at=at(3),
            history=(
                Attempt(at=at(1), outcome="failed", duration_ms=30_000, error="no answer in time"),
                Attempt(at=at(2), outcome="refused", duration_ms=7, status=400, error="answered 400: no"),
            ),
        ),
        delivery("2", created=5),
        status="failed",
        job_name="Raw logs",
        table="base.raw.logs",
        error_message="line one\n  line two",
        partition_key="block",
        backfill_start=24_000_000,
        backfill_end=31_500_000,
        filter_column="topic",
        filter_values=[f"0x{number}" for number in range(12)],
        destinations=[{"type": "kafka", "name": "lake"}, {"type": "sns"}],
        num_chunks=1200,
        chunks_left=600,
        odd_field={"kept": True},
    )
    snapshot = msgspec.structs.replace(made.snapshot, phases=(Phase("staging", NOW), Phase("failed", at(90))))
    page = await show(of({"j": msgspec.structs.replace(made, snapshot=snapshot)}), "/jobs/allium/j")
    facts = {each.one("dt").text: each.one("dd").text for each in page.one("dl").all("div")}
    assert facts["Window"] == "24000000 → 31500000 by block"
    assert facts["Filter"] == f"topic in {', '.join(f'0x{number}' for number in range(10))} and 2 more"
    assert facts["Destinations"] == "kafka lake, sns"
    assert facts["Chunks"] == "1,200"
    assert facts["Phases"].startswith("staging 1h 30m → failed ")
    assert page.one("title").text == "failed: Raw logs · backfill-notifier"
    error, element = page.all("pre")
    assert error.text == "line one line two"
    assert '"odd_field": { "kept": true }' in element.text
    events = page.one("ol", kind="long").all("li")
    assert "summary of evt_2" in events[0].text
    first = page.one("li", data_key="dlv_1").text
    assert "ops given up" in first
    assert "answer: the field x is missing" in first
    assert "refused in 7 ms: answered 400: no" in first
    assert "failed in 30,000 ms: no answer in time" in first
    assert page.one("button", data_retry="dlv_1").text == "Retry"
    ids = [each.text for each in page.all("code") if each.text.startswith("dlv_")]
    assert ids == ["dlv_2", "dlv_1"], "for `notifier retry`"


async def test_deliveries_are_listed_by_state_and_target() -> None:
    records = of(
        {
            "a": record(
                delivery(
                    "1", state="dead", last_error="answered 410", answer="gone for good", ended_at=at(1)
                ),
                delivery("2", state="pending", target="data", next_attempt_at=at(10**6)),
                delivery("3", target="data"),
            )
        }
    )
    states = {}
    for query in ("", "?state=dead", "?state=pending&target=data", "?state=dead&target=data"):
        page = await show(records, f"/deliveries{query}", targets=["ops", "data"])
        states[query] = [
            each.attributes["data-key"] for each in page.all("tr") if "data-key" in each.attributes
        ]
    everything = ["dlv_3", "dlv_2", "dlv_1"]
    assert states == {
        "": everything,
        "?state=dead": ["dlv_1"],
        "?state=pending&target=data": ["dlv_2"],
        "?state=dead&target=data": [],
    }
    page = await show(records, "/deliveries", targets=["ops", "data"])
    assert row(page, "dlv_1")["Why not"] == "answered 410 answer: gone for good"
    assert page.one("tr", data_key="dlv_1").one("button").attributes["data-retry"] == "dlv_1"
    assert row(page, "dlv_2")["When"].startswith("again in ")


async def test_each_delivery_has_its_id_and_attempts_also_that_of_an_event_about_no_job() -> None:
    failed = Attempt(at=at(1), outcome="failed", duration_ms=30_000, error="no answer in time")
    refused = Attempt(at=at(2), outcome="refused", duration_ms=7, status=400, error="answered 400: no")
    dead = delivery("1", state="dead", attempts=2, last_error="answered 400: no", history=(failed, refused))
    made = record(dead)
    event = msgspec.structs.replace(made.events[0], type="source.down", summary="allium is down")
    records = of({"a": record(delivery("2", created=-1))})
    records.put({"allium": SourceRecord(id="x", seq=1, events=(event,), deliveries=(dead,))}, {})
    page = await show(records, "/deliveries")
    told = page.one("tr", data_key="dlv_1")
    assert told.one("code").text == "dlv_1"
    assert row(page, "dlv_1")["What it tells"] == "allium is down dlv_1"
    assert [each.text for each in told.one("details").one("ol").all("li")] == [
        "2026-01-31 10:32:00 UTC refused in 7 ms: answered 400: no",
        "2026-01-31 10:31:00 UTC failed in 30,000 ms: no answer in time",
    ]
    assert page.one("tr", data_key="dlv_2").one("code").text == "dlv_2"
    assert not page.one("tr", data_key="dlv_2").all("details"), "nothing is kept of its attempts"


async def test_deliveries_are_paged() -> None:
    records = of({f"{number:03}": record(delivery(str(number), created=number)) for number in range(70)})
    page = await show(records, "/deliveries")
    [older] = page.all("a", rel="next")
    rest = await show(records, "/" + older.attributes["href"])
    assert [len(each.all("tr")) - 1 for each in (page, rest)] == [50, 20]
    assert not rest.all("a", rel="next")


async def test_what_it_looks_like_is_in_the_package() -> None:
    async with web_of(daemon_of(Records()), "token") as url:
        for name, kind in (
            ("page.css", "text/css"),
            ("still.css", "text/css"),
            ("page.js", "text/javascript"),
            ("favicon.svg", "image/svg+xml"),
        ):
            status, headers, text = await fetch(url, f"/static/{name}")
            assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
            assert text
        for odd in ("none.css", "../page.py", "%2e%2e/page.py", ""):
            assert (await fetch(url, f"/static/{odd}"))[0] in (401, 404)


async def test_the_socket_serves_the_page_too(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    records = of({"a": record(job_name="USDC Jan")})
    async with (
        served_beside(state, make_application(daemon_of(records))),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket_path(state)))) as session,
        session.get("http://localhost/") as answer,
    ):
        assert "USDC Jan" in await answer.text()
