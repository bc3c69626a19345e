"""What the shell offers: asked as it asks, and by a real bash."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from notifier.cli import _COMMANDS, app
from notifier.model import ALL_TYPES

CONFIG = """
[[sources]]
name = "prod"
api_key = "${UNSET_API_KEY}"
[[sources]]
api_key = "k"
[targets.ops]
type = "webhook"
url = "${UNSET_URL}"
[targets.data-team]
type = "slack"
typo = 1
"""


def offered(words: str, **environment: str) -> list[str]:
    """Return what is offered for the last of these words."""
    split = words.split(" ")
    result = CliRunner().invoke(
        app,
        [],
        prog_name="notifier",
        env={
            "_NOTIFIER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(split) - 1),
            **environment,
        },
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout.split()


def test_commands_are_offered() -> None:
    assert offered("notifier ") == list(_COMMANDS)
    assert offered("notifier de") == ["deliveries", "demo"]


@pytest.mark.parametrize(
    "words", ["notifier test ", "notifier preview ", "notifier test --event backfill.failed "]
)
def test_the_names_of_targets_are_offered_also_from_a_config_that_is_not_fit_to_run(words: str) -> None:
    Path("notifier.toml").write_text(CONFIG)
    assert offered(words) == ["ops", "data-team"]
    assert offered(f"{words}d") == ["data-team"]


@pytest.mark.parametrize(
    "words",
    [
        "notifier --config other.toml test ",
        "notifier test --config other.toml ",
        "notifier --config missing.toml test --config other.toml ",
    ],
)
def test_the_names_are_those_of_the_config_that_is_named(words: str) -> None:
    Path("notifier.toml").write_text("[targets.wrong]")
    Path("other.toml").write_text(CONFIG)
    assert offered(words) == ["ops", "data-team"]


def test_the_names_are_those_of_the_variables_when_there_is_no_file() -> None:
    assert offered("notifier test ", SLACK_BOT_TOKEN="x", WEBHOOK_URL="https://x/") == ["slack", "webhook"]
    assert offered("notifier explain source.up --source ") == ["allium"]


def test_the_names_of_sources_are_offered() -> None:
    Path("notifier.toml").write_text(CONFIG)
    assert offered("notifier explain source.up --source ") == ["prod", "allium"]
    assert offered("notifier explain source.up --source p") == ["prod"]


@pytest.mark.parametrize(
    "words",
    ["notifier explain ", "notifier test ops --event ", "notifier preview ops --event "],
)
def test_the_types_of_events_are_offered(words: str) -> None:
    assert offered(words) == list(ALL_TYPES)
    assert offered(f"{words}backfill.st") == ["backfill.staging", "backfill.stalled"]


def test_the_states_of_deliveries_are_offered() -> None:
    assert offered("notifier deliveries --state ") == ["pending", "delivered", "dead"]
    assert offered("notifier deliveries --state de") == ["delivered", "dead"]


def test_options_are_offered() -> None:
    assert offered("notifier jobs --") == ["--status", "--limit", "--json", "--config", "--help"]


@pytest.mark.parametrize(
    "content",
    [
        b"[broken",
        b"\xff\xfe",
        b"targets = [1, 2]\nsources = 3",
        b"[[targets]]\nname = 'x'\n[sources]\nname = 'x'",
        b"",
        None,
    ],
)
@pytest.mark.parametrize("words", ["notifier test ", "notifier explain source.up --source "])
def test_a_broken_config_offers_nothing(words: str, content: bytes | None) -> None:
    if content is not None:
        Path("broken.toml").write_bytes(content)
    assert offered(words, NOTIFIER_CONFIG="broken.toml") == []


@pytest.mark.parametrize("config", ["/", "broken.toml/x", "x" * 300])
def test_a_config_that_cannot_be_a_file_offers_nothing(config: str) -> None:
    Path("broken.toml").touch()
    assert offered(f"notifier --config {config} test ") == []


_IN_BASH = """
PATH="$1:$PATH"
source <(notifier --show-completion bash)
complete -p notifier >/dev/null || exit 3
COMP_WORDS=(notifier test "")
COMP_CWORD=2
_notifier_completion notifier
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(("content", "names"), [(CONFIG, ["ops", "data-team"]), ("[broken", [])])
def test_bash_offers_them(content: str, names: list[str]) -> None:
    Path("notifier.toml").write_text(content)
    done = subprocess.run(
        ["bash", "--norc", "-c", _IN_BASH, "bash", Path(sys.executable).parent],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == names
