import json
import re
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from notifier.announcement import event_type
from notifier.element import read_details
from notifier.listing import read_listing
from notifier.model import ALL_TYPES, JOB_TYPES, OTHER_TYPES, STATUS_TYPES, Event, is_job_event
from notifier.sample import sample_event
from tests.slack import NOW

EVENT_ID = "evt_0123456789abcdef0123456789abcdef"
TYPES = (*ALL_TYPES, "backfill.paused")


def _exactly(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_NULL = {"type": "null"}
_WORDS = {"type": "string", "minLength": 1}
_COUNT = {"type": ["integer", "null"], "minimum": 0}
_PROGRESS = _exactly(
    chunks_total=_COUNT,
    chunks_done=_COUNT,
    percent={"type": ["number", "null"], "minimum": 0, "maximum": 100},
    chunks_per_minute={"type": ["number", "null"]},
    eta={"anyOf": [_TIME, _NULL]},
)
_COMMON = {
    "event_id": {"const": EVENT_ID},
    "source": {"const": "allium"},
    "summary": {"type": "string", "pattern": "^Test: .*[^ ]$"},
    "test": {"const": True},
}
_JOB = {
    "job_id": _WORDS,
    "status": _WORDS,
    "previous_status": {"type": ["string", "null"]},
    "progress": _PROGRESS,
    "job": {
        "type": "object",
        "required": ["job_id", "status", "job_name", "table", "destinations", "time_created"],
    },
    "target": _NULL,
    "delivery_id": _NULL,
    "reason": _NULL,
}
_NO_JOB = {
    **dict.fromkeys(("job_id", "status", "previous_status", "progress", "job"), _NULL),
    "target": {"type": ["string", "null"]},
    "delivery_id": {"type": ["string", "null"]},
    "reason": {"type": ["string", "null"]},
}


def _body(event: Event) -> dict[str, Any]:
    assert isinstance(event.payload, msgspec.Raw)
    value: dict[str, Any] = json.loads(bytes(event.payload))
    return value


def _sample(type_: str) -> Event:
    return sample_event(type_, source="allium", event_id=EVENT_ID, now=NOW)


@pytest.mark.parametrize("type_", TYPES)
def test_a_sample_is_what_the_contract_shows_and_says_that_it_is_a_test(type_: str) -> None:
    event = _sample(type_)
    data = _exactly(**_COMMON, **(_JOB if is_job_event(type_) else _NO_JOB))
    schema = _exactly(type={"const": type_}, timestamp={"const": "2026-01-31T10:30:00.000Z"}, data=data)
    errors = [
        f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(_body(event))
    ]
    assert errors == []
    assert (event.id, event.type, event.observed_at) == (EVENT_ID, type_, NOW)
    assert event.summary == _body(event)["data"]["summary"]


@pytest.mark.parametrize("type_", [*JOB_TYPES, "backfill.paused"])
def test_the_job_of_a_sample_is_one_the_api_could_list(type_: str) -> None:
    data = _body(_sample(type_))["data"]
    [element] = read_listing(json.dumps([data["job"]]).encode()).elements
    assert (element.job_id, element.status) == (data["job_id"], data["status"])
    details = read_details(element.raw)
    known = {name for name in details.__struct_fields__ if getattr(details, name)}
    assert known >= {"job_name", "table", "partition_key", "filter_values", "destinations", "time_created"}
    assert (details.time_completed is not None) == (data["status"] in ("completed", "failed", "cancelled"))
    assert (details.error_message is not None) == (data["status"] == "failed")


@pytest.mark.parametrize("type_", [*STATUS_TYPES, "backfill.paused"])
def test_a_sample_of_a_transition_has_the_status_its_type_says(type_: str) -> None:
    event = _sample(type_)
    assert event_type(event.status) == type_
    assert event.previous_status != event.status
    assert _body(event)["data"]["previous_status"] == event.previous_status


@pytest.mark.parametrize("type_", sorted(set(JOB_TYPES) - set(STATUS_TYPES)))
def test_a_sample_of_no_transition_has_one_status(type_: str) -> None:
    event = _sample(type_)
    assert event.previous_status == event.status == "transporting"


@pytest.mark.parametrize("type_", sorted(set(JOB_TYPES) - {"backfill.staging"}))
def test_the_words_of_a_sample_and_its_figures_agree(type_: str) -> None:
    data = _body(_sample(type_))["data"]
    progress, job = data["progress"], data["job"]
    assert progress["chunks_done"] == job["num_chunks"] - job["chunks_left"]
    assert progress["percent"] == 100 * progress["chunks_done"] / progress["chunks_total"]
    told = re.search(r"([\d.]+) %", data["summary"])
    assert told is None or float(told[1]) == progress["percent"]


@pytest.mark.parametrize("type_", OTHER_TYPES)
def test_a_sample_about_no_job_says_what_it_is_about(type_: str) -> None:
    data = _body(_sample(type_))["data"]
    assert (data["target"] is None) == type_.startswith("source.")
    assert (data["delivery_id"] is not None) == (type_ == "delivery.dead")
    assert (data["reason"] is not None) == (type_ in ("source.down", "target.down", "delivery.dead"))
    assert (data["reason"] or "") in data["summary"]


def test_samples_of_one_type_differ_by_what_they_are_given() -> None:
    event = sample_event("source.down", source="other", event_id="evt_2", now=NOW.replace(year=2027))
    assert event.summary == "Test: source other has had no good poll for 5m: the API answered 503"
    assert _body(event)["timestamp"] == "2027-01-31T10:30:00.000Z"
    assert _body(event)["data"]["event_id"] == event.id == "evt_2"
