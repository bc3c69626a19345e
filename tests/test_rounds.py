import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.rounds import Rounds, Verdict

EVERY = 60.0
DOWN_AFTER = {"a": 300.0, "b": 100.0}

Poll = tuple[float, str, bool]


def told(polls: list[Poll], until: float = 10_000.0) -> list[tuple[float, Verdict]]:
    """Return what is told of these polls, each as soon as it may be."""
    rounds = Rounds(DOWN_AFTER, every_seconds=EVERY)
    found: list[tuple[float, Verdict]] = []

    def tell(before: float, now: float) -> float:
        while rounds.next_at() <= before:
            now = max(now, rounds.next_at())
            verdict = rounds.take(now)
            assert verdict is not None
            found.append((now, verdict))
        assert rounds.take(now) is None
        return now

    now = -math.inf
    for at, source, good in polls:
        tell(at - 1e-9, now)
        rounds.polled(source, good=good, now=at)
        now = tell(at, at)
    tell(until, now)
    return found


def good(at: float, source: str) -> Poll:
    return at, source, True


def bad(at: float, source: str) -> Poll:
    return at, source, False


@pytest.mark.parametrize(
    ("polls", "verdicts"),
    [
        pytest.param([], [], id="nothing polled"),
        pytest.param([good(0, "a")], [], id="one never polled"),
        pytest.param([good(0, "a"), good(1, "b")], [(1, "good")], id="a round"),
        pytest.param([good(0, "a"), good(1, "b"), good(2, "a")], [(1, "good")], id="half a round more"),
        pytest.param(
            [good(0, "a"), good(1, "b"), good(15, "a"), good(16, "b")],
            [(1, "good"), (61, "good")],
            id="not more often than wanted",
        ),
        pytest.param(
            [good(0, "a"), good(1, "b"), good(70, "b"), good(90, "a")],
            [(1, "good"), (90, "good")],
            id="as soon as the slowest is good",
        ),
        pytest.param(
            [bad(0, "a"), good(0, "b"), good(15, "a")], [(15, "good")], id="a short failure is only silence"
        ),
        pytest.param([bad(0, "b")], [(100, "fail")], id="failing for its own time"),
        pytest.param([bad(0, "a"), bad(0, "b")], [(100, "fail"), (300, "fail")], id="each for itself"),
        pytest.param([bad(0, "b"), bad(90, "b"), bad(500, "b")], [(100, "fail")], id="once an outage"),
        pytest.param(
            [bad(0, "b"), good(150, "b"), bad(200, "b")], [(100, "fail"), (300, "fail")], id="two outages"
        ),
        pytest.param([bad(0, "b"), good(99, "b"), bad(150, "b"), good(200, "b")], [], id="too short to tell"),
        pytest.param(
            [good(0, "b"), bad(1, "b"), good(200, "a")],
            [(101, "fail")],
            id="what is down is not in the round",
        ),
        pytest.param(
            [bad(1, "b"), good(200, "a"), good(250, "b")],
            [(101, "fail"), (250, "good")],
            id="good again after it was down",
        ),
    ],
)
def test_what_is_told_of_polls(polls: list[Poll], verdicts: list[tuple[float, Verdict]]) -> None:
    assert told(polls) == verdicts


_POLLS = st.lists(st.tuples(st.floats(0.1, 200), st.sampled_from("ab"), st.booleans()), max_size=60)


def _at_times(steps: list[Poll]) -> list[Poll]:
    now, polls = 0.0, []
    for wait, source, is_good in steps:
        now += wait
        polls.append((now, source, is_good))
    return polls


@given(_POLLS)
def test_good_is_told_only_of_whole_rounds_and_never_too_often(steps: list[Poll]) -> None:
    polls = _at_times(steps)
    last = -math.inf
    for at in [at for at, verdict in told(polls) if verdict == "good"]:
        assert at >= last + EVERY
        since = {source for when, source, is_good in polls if is_good and last <= when <= at}
        assert since == DOWN_AFTER.keys()
        last = at


@given(_POLLS)
def test_a_source_that_is_down_is_told_once_an_outage_and_is_silence_until_it_is_good(
    steps: list[Poll],
) -> None:
    polls = _at_times(steps)
    downs: list[tuple[float, float]] = []
    for source, after in DOWN_AFTER.items():
        since = math.inf
        for at, _, is_good in [poll for poll in polls if poll[1] == source] + [(1e9, source, True)]:
            if is_good:
                downs += [(since + after, at)] if since + after < at else []
                since = math.inf
            else:
                since = min(since, at)
    verdicts = told(polls, until=1e8)
    assert sorted(at for at, verdict in verdicts if verdict == "fail") == sorted({at for at, _ in downs})
    for began, ended in downs:
        assert not [at for at, verdict in verdicts if verdict == "good" and began <= at < ended]
