"""Secrets are not sent over plain http to another machine, unless somebody says so."""

from pathlib import Path

import pytest

from tests.configs import SLACK, SOURCE, WHSEC, load, problems

WHY = "is plain http to another machine: {what} could be read on the way; use https:// or, if it is meant, "
WHY += "insecure_http = true beside it"
HOOK = SOURCE + '[targets.ops]\ntype = "webhook"\nurl = "http://{host}/hooks/x"\n'


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (SOURCE + 'base_url = "http://api.example.com"', "sources[0].base_url", "the API key"),
        (SOURCE + 'base_url = "http://10.0.0.1:8000"', "sources[0].base_url", "the API key"),
        (SOURCE + 'base_url = "HTTP://api.example.com"', "sources[0].base_url", "the API key"),
        (SLACK + 'api_url = "http://slack.internal/api/"', "targets.team.api_url", "the token"),
        (
            SOURCE
            + '[targets.team]\ntype = "slack"\nwebhook_url = "http://mm.internal/hooks/x-that-is-secret"',
            "targets.team.webhook_url",
            "the URL, which is a secret,",
        ),
        (
            HOOK.format(host="ops.internal") + 'headers = { A = "that-is-secret" }',
            "targets.ops.url",
            "what its headers hold",
        ),
        (HOOK.format(host="u:1-that-is-secret@ops"), "targets.ops.url", "its user and password"),
        (
            HOOK.format(host="ops.internal") + f'secret = "{WHSEC}"',
            "targets.ops.url",
            "what its secret signs",
        ),
        (
            SOURCE + '[heartbeat]\nurl = "http://hc.internal/x-that-is-secret"',
            "heartbeat.url",
            "the URL, which is a secret,",
        ),
    ],
)
def test_a_secret_in_the_open_is_a_problem_unless_it_is_meant(text: str, where: str, what: str) -> None:
    assert problems(text) == [(where, WHY.format(what=what))]
    load(text + "\ninsecure_http = true")
    load(text.replace("http://", "https://").replace("HTTP://", "https://"))


@pytest.mark.parametrize(
    "text",
    [
        SOURCE + 'base_url = "http://localhost:8000"',
        SOURCE + 'base_url = "http://127.0.0.1"',
        SOURCE + 'base_url = "http://[::1]:8000"',
        HOOK.format(host="ops.internal"),
        HOOK.format(host="localhost") + f'secret = "{WHSEC}"',
        SLACK + 'api_url = "http://localhost:1/api/"',
        SOURCE + '[heartbeat]\nurl = "http://localhost/x"',
    ],
)
def test_what_stays_on_this_machine_or_has_no_secret_is_fine(text: str) -> None:
    load(text)


def test_a_url_in_a_file_is_looked_at_as_well() -> None:
    Path("url").write_text("http://hc.internal/x-that-is-secret\n")
    found = problems(SOURCE + '[heartbeat]\nurl_file = "url"')
    assert found == [("heartbeat.url", WHY.format(what="the URL, which is a secret,"))]
