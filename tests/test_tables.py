"""What the tables of jobs and mutes say, drawn as for a pipe."""

import io
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from notifier.commands.tables import jobs_table, mutes_table, status_tables
from notifier.items import JobItem, MuteItem, PhaseItem
from notifier.model import rfc3339, utc_now
from notifier.payload import Progress
from notifier.views import SourceView, Status, TargetView
from tests.test_look import HOSTILE, is_harmless, rows

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def drawn(table: RenderableType) -> str:
    file = io.StringIO()
    Console(file=file, width=1000, highlight=False, emoji=False, markup=False).print(table)
    return file.getvalue()


def cells(text: str) -> dict[str, str]:
    """Return the one row of a table by its columns; what stands on lines of its own is joined."""
    head, _, body = text.partition("\n")
    names = [name for name in head.split("   ") if name.strip()]
    places = [head.index(name.strip()) for name in names]
    lines = [line.ljust(1000) for line in body.splitlines()[1:-1]]
    spans = zip(places, [*places[1:], 1000], strict=True)
    return {
        name.strip(): " / ".join(part for line in lines if (part := line[start:end].strip()))
        for name, (start, end) in zip(names, spans, strict=True)
    }


def ago(time: timedelta) -> datetime:
    return utc_now() - time - SECOND / 2


def until(time: timedelta) -> datetime:
    """Return when this time from now will be; what is told of it has no seconds when it is hours."""
    return utc_now() + time + SECOND * 50


def an_item(**fields: Any) -> JobItem:
    usual: dict[str, Any] = {
        "source": "allium",
        "job_id": "j1",
        "status": "transporting",
        "job_name": "USDC",
        "table": "base.raw.logs",
        "progress": Progress(None, None, None),
        "error_message": None,
        "time_created": None,
        "time_completed": None,
        "first_seen": ago(HOUR),
        "status_since": ago(HOUR),
        "phases": [],
        "stalled_since": None,
        "removed": False,
        "muted_until": None,
        "events": 0,
        "pending": 0,
        "dead": 0,
        "job": msgspec.Raw(b"{}"),
    }
    return JobItem(**usual | fields)


def a_mute(**fields: Any) -> MuteItem:
    usual: dict[str, Any] = {
        "id": "mut_1",
        "job_id": None,
        "table": None,
        "name": None,
        "source": None,
        "sources": ["allium"],
        "reason": None,
        "created_at": ago(2 * HOUR),
        "until": until(HOUR),
        "suppressed": 0,
    }
    return MuteItem(**usual | fields)


def phase(status: str, seconds: float | None = None) -> PhaseItem:
    return PhaseItem(status=status, since=None if seconds is None else ago(HOUR), seconds=seconds)


# ------------------------------------------------------------------------------------------- jobs


@pytest.mark.parametrize(
    ("stalled", "removed", "muted", "said"),
    [
        (None, False, None, ""),
        (2 * HOUR, False, None, " / stalled 2h"),
        (None, True, None, " / not listed"),
        (None, False, 3 * HOUR, " / muted for 3h more"),
        (2 * HOUR, True, HOUR, " / stalled 2h / not listed / muted for 1h more"),
        (None, False, -HOUR, " / muted for under 1s more"),
    ],
)
def test_what_no_status_tells_stands_under_it(
    stalled: timedelta | None, removed: bool, muted: timedelta | None, said: str
) -> None:
    item = an_item(
        stalled_since=None if stalled is None else ago(stalled),
        removed=removed,
        muted_until=None if muted is None else until(muted),
    )
    assert cells(drawn(jobs_table([item])))["status"] == f"transporting{said}"


@pytest.mark.parametrize(
    ("rate", "eta", "said"),
    [
        (None, None, ""),
        (5.2, None, "5.2/min"),
        (1000.0, None, "1,000/min"),
        (0.05, None, "0.05/min"),
        (12.0, 3 * HOUR, "12/min, done in 3h"),
        (12.0, -HOUR, "12/min, done now"),
    ],
)
def test_the_pace_of_a_job_is_told_with_when_it_is_done(
    rate: float | None, eta: timedelta | None, said: str
) -> None:
    end = None if eta is None else rfc3339(until(eta))
    progress = Progress(1000, 500, 50.0, rate, end)
    found = cells(drawn(jobs_table([an_item(progress=progress)])))
    assert found["pace"] == said
    assert found["progress"].endswith("50 % of 1,000")


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ([], ""),
        ([phase("staging", 720.4)], "staging 12m"),
        ([phase("staging", 720), phase("transporting", 3661)], "staging 12m → transporting 1h 1m"),
        ([phase("staging"), phase("transporting", 0.2)], "staging → transporting under 1s"),
        (
            [phase("staging", 60), phase("transporting", 60), phase("completed")],
            "staging 1m → transporting 1m → completed, over 1h ago",
        ),
        (
            [phase(f"p{n}", 60) for n in range(5)],
            "p2 1m → p3 1m → p4 1m",
        ),
        ([phase("x" * 99, 60), phase("two\nlines", 5)], f"{'x' * 29}… 1m → two lines 5s"),
    ],
)
def test_the_last_phases_of_a_job_are_told_with_how_long_each_took(
    phases: list[PhaseItem], said: str
) -> None:
    status = "completed" if phases and phases[-1].status == "completed" else "transporting"
    assert cells(drawn(jobs_table([an_item(phases=phases, status=status)])))["phases"] == said


def test_the_columns_of_jobs_are_always_the_same_but_for_the_source() -> None:
    one, other = an_item(), an_item(source="test", job_id="j2")
    columns = ["status", "progress", "pace", "job", "table", "phases", "id"]
    assert list(cells(drawn(jobs_table([one])))) == columns
    assert list(cells(drawn(jobs_table([one, other])))) == [*columns[:-1], "source", "id"]
    assert drawn(jobs_table([one, other])).splitlines()[-1].strip() == "2 jobs"
    assert drawn(jobs_table([])).strip() == "no jobs"


def test_hostile_words_about_a_job_are_harmless() -> None:
    items = [
        an_item(
            source=text,
            job_id=text,
            status=text,
            job_name=text,
            table=text,
            phases=[phase(text, 1), phase(text)],
        )
        for text in HOSTILE
    ]
    text = drawn(jobs_table(items))
    assert is_harmless(text)
    assert len(rows(text)) == len(HOSTILE) + 1, "each on a line of its own"
    assert text.count("[red]red[/red] [/] [link=http://evil.example]x[/link] :boom:") == 4


# ------------------------------------------------------------------------------------------ mutes


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"job_id": "f47a"}, "job f47a"),
        ({"table": "base.*"}, "table base.*"),
        ({"name": "*usdc*", "table": "base.*"}, "table base.* and name *usdc*"),
        ({"source": "allium"}, "source allium"),
        ({"source": "allium", "job_id": "f47a"}, "job f47a of source allium"),
        ({"name": "two\nlines"}, "name two lines"),
        ({"name": "x" * 300}, f"name {'x' * 194}…"),
    ],
)
def test_which_jobs_a_mute_is_about_is_told(fields: dict[str, Any], said: str) -> None:
    assert cells(drawn(mutes_table([a_mute(**fields)])))["muted"] == said


def test_a_mute_is_told_with_its_end_what_it_kept_and_why() -> None:
    item = a_mute(table="base.*", suppressed=1200, reason="known\ntrouble", until=until(2 * HOUR))
    found = cells(drawn(mutes_table([item])))
    assert found.pop("ends").startswith("in 2h")
    assert found.pop("made").startswith("2h")
    assert found == {
        "muted": "table base.*",
        "suppressed": "1,200 events",
        "reason": "known trouble",
        "id": "mut_1",
    }


@pytest.mark.parametrize(("count", "last"), [(0, "no mutes"), (1, "1 mute"), (2, "2 mutes")])
def test_how_many_mutes_there_are_is_told(count: int, last: str) -> None:
    table = drawn(mutes_table([a_mute(id=f"mut_{n}", table="*") for n in range(count)]))
    assert table.splitlines()[-1].strip() == last


def test_a_mute_whose_time_has_come_ends_now() -> None:
    assert cells(drawn(mutes_table([a_mute(table="*", until=ago(HOUR), suppressed=1)]))).items() >= {
        ("ends", "now"),
        ("suppressed", "1 event"),
    }


def test_hostile_words_about_a_mute_are_harmless() -> None:
    items = [a_mute(job_id=text, table=text, name=text, source=text, reason=text) for text in HOSTILE]
    text = drawn(mutes_table(items))
    assert is_harmless(text)
    assert len(rows(text)) == len(HOSTILE) + 1, "each on a line of its own"


def test_why_something_is_muted_is_cut_where_it_is_long() -> None:
    said = cells(drawn(mutes_table([a_mute(job_id="j", reason="because " * 60)])))["reason"]
    assert said.startswith("because because")
    assert said.endswith("…")
    assert len(said) <= 100


# ---------------------------------------------------------------------------------------- status


@pytest.mark.parametrize("configured", [True, False, None])
def test_what_is_no_longer_configured_is_said_to_be(configured: bool | None) -> None:
    counts: dict[str, Any] = {"jobs": {"staging": 1}, "active": 0, "stalled": 0}
    source = SourceView(
        name="old", **counts, baseline_at=None, failing_since=None, polls=None, configured=configured
    )
    target = TargetView(name="gone", dead=1, last_error="answered 503", configured=configured)
    said = drawn(
        status_tables(
            Status(running=True, version="1", state="/s", sources=[source], targets=[target], mutes=0)
        )
    )
    assert said.count("no longer configured") == (2 if configured is False else 0)
    assert ("none yet" in said) == (configured is not False)
