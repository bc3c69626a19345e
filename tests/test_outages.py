"""What is said and kept of sources and targets that fail: pure."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model import Event, Outage, SourceRecord
from notifier.outages import (
    Party,
    Terms,
    came_back,
    outages_of,
    tell_down,
    tell_up,
    told_down,
    wait_until_told,
    with_outage,
)
from tests.records import NOW, at

SOURCE, TARGET = Party("allium", is_target=False), Party("ops", is_target=True)
MINUTE = timedelta(minutes=1)
OFFLINE = "nothing can be reached, no source and no target: this machine seems to be offline"


def outage(reason: str = "answered 503", **fields: Any) -> Outage:
    return Outage(since=NOW, reason=reason, **fields)


def record(**fields: Any) -> SourceRecord:
    return SourceRecord(id="0" * 32, seq=6, **fields)


def down(party: Party, known: Outage, *, minutes: float = 5, offline: bool = False) -> Event:
    return tell_down(record(), outage=known, source="allium", party=party, now=at(minutes), offline=offline)[
        1
    ]


def data_of(event: Event) -> dict[str, Any]:
    assert isinstance(event.payload, msgspec.Raw)
    payload: dict[str, Any] = json.loads(bytes(event.payload))
    assert payload["type"] == event.type
    data: dict[str, Any] = payload["data"]
    return data


# ------------------------------------------------------------------------------------ what is said


@pytest.mark.parametrize(
    ("party", "known", "minutes", "words"),
    [
        (SOURCE, outage(), 5, "source allium has had no good poll for 5m: answered 503"),
        (
            SOURCE,
            outage(told_at=at(5)),
            65,
            "source allium still has had no good poll for 1h 5m: answered 503",
        ),
        (TARGET, outage(), 5, "target ops has failed for 5m: answered 503"),
        (TARGET, outage(told_at=at(5)), 3000, "target ops still has failed for 2d 2h: answered 503"),
        # the clock was set back
        (SOURCE, outage(), -5, "source allium has had no good poll for under 1s: answered 503"),
        (
            SOURCE,
            outage("two\nlines\x1b[31m"),
            5,
            "source allium has had no good poll for 5m: two lines [31m",
        ),
        (
            TARGET,
            outage("x" * 5000),
            5,
            f"target ops has failed for 5m: {'x' * 299}…",
        ),
    ],
)
def test_a_party_that_fails_is_told_with_how_long_and_why(
    party: Party, known: Outage, minutes: float, words: str
) -> None:
    event = down(party, known, minutes=minutes)
    assert event.type == f"{'target' if party.is_target else 'source'}.down"
    assert event.summary == words
    data = data_of(event)
    assert words.endswith(f": {data['reason']}")
    assert (data["source"], data["target"]) == ("allium", party.target)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (outage("no connection"), f"source allium has had no good poll for 5m: {OFFLINE} (no connection)"),
        (
            outage("no connection", told_at=NOW),
            f"source allium still has had no good poll for 5m: {OFFLINE} (no connection)",
        ),
    ],
)
def test_that_this_machine_reaches_nobody_is_told_with_what_was_tried(known: Outage, words: str) -> None:
    event = down(SOURCE, known, offline=True)
    assert event.summary == words
    assert data_of(event)["reason"] == f"{OFFLINE} (no connection)"


@pytest.mark.parametrize(
    ("party", "minutes", "words"),
    [
        (SOURCE, 12, "source allium answers again after 12m"),
        (TARGET, 35, "target ops works again after 35m"),
        (TARGET, -1, "target ops works again after under 1s"),
    ],
)
def test_a_party_that_works_again_is_told_with_how_long_it_failed(
    party: Party, minutes: float, words: str
) -> None:
    known = outage(told_at=at(5))
    before = with_outage(record(), party, known)
    after, event = tell_up(before, outage=known, source="allium", party=party, now=at(minutes))
    assert (event.type.partition(".")[2], event.summary, event.again) == ("up", words, False)
    assert (data_of(event)["reason"], data_of(event)["target"]) == (None, party.target)
    assert after == msgspec.structs.replace(record(), seq=7)


@pytest.mark.parametrize("party", [SOURCE, TARGET])
def test_what_is_told_again_is_another_event_that_says_that_it_is_no_news(party: Party) -> None:
    held, known, events = record(), outage(), list[Event]()
    for minutes in (5, 65, 125):
        held, event = tell_down(held, outage=known, source="allium", party=party, now=at(minutes))
        known = outages_of("allium", held)[party]
        assert known == outage(told_at=at(minutes))
        events.append(event)
    assert [(event.seq, event.again) for event in events] == [(7, False), (8, True), (9, True)]
    assert len({event.id for event in events}) == 3
    assert held.seq == 9


def test_two_parties_that_fail_at_once_are_events_of_their_own() -> None:
    parties = (SOURCE, TARGET, Party("allium", is_target=True))
    assert len({down(party, outage()).id for party in parties}) == 3


# ------------------------------------------------------------------------------------ what is kept

_OUTAGES = st.builds(
    Outage,
    since=st.just(NOW),
    reason=st.sampled_from(["a", "b"]),
    told_at=st.sampled_from([None, NOW]),
    offline=st.sampled_from(["", "now", "over"]),
)
_PARTIES = st.sampled_from([SOURCE, TARGET, Party("data", is_target=True), Party("allium", is_target=True)])


@given(st.lists(st.tuples(_PARTIES, st.none() | _OUTAGES), max_size=8))
def test_of_each_party_the_last_that_was_known_is_kept(changes: list[tuple[Party, Outage | None]]) -> None:
    held, expected = record(), dict[Party, Outage]()
    for party, known in changes:
        held = with_outage(held, party, known)
        expected.pop(party, None)
        if known is not None:
            expected[party] = known
    assert outages_of("allium", held) == expected
    stored = msgspec.json.decode(msgspec.json.encode(held), type=SourceRecord)
    assert outages_of("allium", stored) == expected


@pytest.mark.parametrize(
    ("before", "offline", "after"),
    [
        (outage(), False, outage(told_at=at(5))),
        (outage(), True, outage(told_at=at(5), offline="now", told_all=True)),
        # who heard of it as offline is to hear of its end
        (
            outage(told_at=NOW, offline="over", told_all=True),
            False,
            outage(told_at=at(5), told_all=True),
        ),
    ],
)
def test_what_was_told_is_known_afterwards(before: Outage, offline: bool, after: Outage) -> None:
    assert told_down(before, at(5), offline=offline) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (outage(), Outage(since=at(9), reason="answered 503")),
        (outage(told_at=at(5)), outage(told_at=at(5))),
        (outage(told_at=at(5), offline="now"), outage(told_at=at(9), offline="over")),
        (outage(told_at=at(5), offline="over"), outage(told_at=at(5), offline="over")),
    ],
)
def test_when_this_machine_is_back_what_nobody_was_told_of_begins_anew(before: Outage, after: Outage) -> None:
    assert came_back(before, at(9)) == after


# ----------------------------------------------------------------------------------- when it is told

_HOURLY = Terms(remind_every=60 * MINUTE)
_RESTING = Terms(rests=True)


@pytest.mark.parametrize(
    ("known", "failed", "terms", "minutes", "wait"),
    [
        pytest.param(outage(), 0, Terms(), 0, 5, id="just failed"),
        pytest.param(outage(), 3, Terms(), 4, 1, id="not for long enough"),
        pytest.param(outage(), 0, Terms(), 5, 0, id="for long enough"),
        pytest.param(outage(), 0, Terms(), 60, -55, id="for longer"),
        pytest.param(outage(), 0, Terms(down_after=2 * MINUTE), 1, 1, id="as the config says"),
        pytest.param(outage(told_at=at(5)), 60, Terms(), 60, None, id="told, and not again"),
        pytest.param(outage(told_at=at(5)), 60, _HOURLY, 60, 5, id="told, and again in a while"),
        pytest.param(outage(told_at=at(5)), 60, _HOURLY, 65, 0, id="told, and again now"),
        pytest.param(outage(told_at=at(90)), 0, _HOURLY, 5, 60, id="told in what is now the future"),
        pytest.param(outage(), 0, _RESTING, 60, 1, id="nobody tried it since"),
        pytest.param(outage(), 5, _RESTING, 60, 0, id="left alone, and failed again"),
        pytest.param(outage(), 0, Terms(rested=30 * MINUTE), 31, 4, id="was left alone for a while"),
        pytest.param(
            outage(told_at=at(5)),
            5,
            Terms(remind_every=60 * MINUTE, rests=True),
            90,
            1,
            id="no reminder while nobody tries it",
        ),
        pytest.param(outage(told_at=at(5), offline="over"), 9, Terms(), 9, 1, id="not so long back"),
        pytest.param(outage(told_at=at(5), offline="over"), 9, Terms(), 10, 0, id="fails after all"),
        pytest.param(outage(told_at=at(5), offline="now"), 90, Terms(), 90, None, id="still offline"),
        pytest.param(outage(told_at=at(5), offline="now"), 90, _HOURLY, 60, 5, id="still offline, hourly"),
    ],
)
def test_how_long_it_is_until_something_is_told(
    known: Outage, failed: float, terms: Terms, minutes: float, wait: float | None
) -> None:
    found = wait_until_told(known, failed_at=at(failed), terms=terms, now=at(minutes))
    assert found == (None if wait is None else wait * MINUTE)
