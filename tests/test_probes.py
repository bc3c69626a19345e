"""`/healthz` and `/readyz`."""

import aiohttp
import pytest

from notifier.model import PollReport
from notifier.records import Records
from tests.records import at
from tests.web import daemon_of, web_of

GOOD = PollReport(last_poll=at(1), last_good_poll=at(1))
BAD = PollReport(last_poll=at(2), last_good_poll=at(1), failures=1, last_error="answered 503")


@pytest.mark.parametrize(
    ("polls", "vitals", "reasons"),
    [
        ({}, [], []),
        ({"a": GOOD, "b": GOOD}, [], []),
        ({"a": PollReport()}, [], ["a: not polled yet"]),
        ({"a": GOOD, "b": BAD}, [], ["b: answered 503"]),
        ({"a": BAD}, ["the store: closed"], ["the store: closed", "a: answered 503"]),
    ],
)
async def test_it_is_ready_when_each_last_poll_was_good(
    polls: dict[str, PollReport], vitals: list[str], reasons: list[str]
) -> None:
    async with (
        web_of(daemon_of(Records(), polls=polls, vitals=lambda: vitals)) as url,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{url}/readyz") as response:
            assert response.status == (503 if reasons else 200)
            assert await response.json() == {"ready": not reasons, "reasons": reasons}
        async with session.get(f"{url}/healthz") as response:  # an API that is down is no reason to restart
            assert response.status == (503 if vitals else 200)
            assert await response.json() == {"healthy": not vitals, "reasons": vitals}
