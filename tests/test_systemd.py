"""The units, as systemd reads them."""

import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from notifier.process import STOP_WITHIN_SECONDS

UNITS = Path(__file__).parent.parent / "systemd"
SERVICES = ("notifier.service", "notifier-once.service")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("without systemd-analyze (package systemd)")
    return subprocess.run(
        ["systemd-analyze", *arguments], cwd=UNITS, check=False, capture_output=True, text=True, timeout=60
    )


def settings(unit: str) -> dict[str, list[str]]:
    """Return what a unit's file says, by key."""
    found = defaultdict(list)
    for line in (UNITS / unit).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def test_systemd_has_nothing_to_say_about_them() -> None:
    done = analyze("verify", "--man=no", *(f"./{path.name}" for path in sorted(UNITS.iterdir())))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", SERVICES)
def test_their_exposure_is_small(unit: str) -> None:
    done = analyze("security", "--offline=true", "--threshold=13", "--no-pager", f"./{unit}")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_daemon_is_watched_and_started_again_for_ever_but_not_with_a_wrong_config() -> None:
    found = settings("notifier.service")
    assert {key: found[key] for key in ("Type", "Restart", "RestartSec", "StartLimitIntervalSec")} == {
        "Type": ["notify"],
        "Restart": ["always"],
        "RestartSec": ["5"],
        "StartLimitIntervalSec": ["0"],
    }
    assert found["RestartPreventExitStatus"] == ["2"]
    assert found["WatchdogSec"] == ["2min"]  # longer than the minute after which a loop that hangs is told
    assert int(found["TimeoutStopSec"][0]) > STOP_WITHIN_SECONDS


@pytest.mark.parametrize("unit", SERVICES)
def test_each_secret_may_be_missing_and_none_is_in_the_environment(unit: str) -> None:
    found = settings(unit)
    names = [each.split(":")[0] for each in found["LoadCredential"]]
    assert {"allium-api-key", "slack-bot-token", "webhook-secret"} <= set(names)
    assert found["LoadCredential"] == [f"{name}:/etc/notifier/credentials/{name}" for name in names]
    assert found["SetCredential"] == [rf"{name}:\n" for name in names]
    assert {each.partition("=")[0] for each in found["Environment"]} <= {
        "PATH",
        "NOTIFIER_STATE",
        "PYTHONFAULTHANDLER",
    }


def test_both_services_are_the_same_user_with_the_same_state_secrets_and_walls() -> None:
    daemon, once = (settings(unit) for unit in SERVICES)
    own = {"Description", "Type", "ExecStart", "TimeoutStartSec"}
    assert {key: daemon[key] for key in once.keys() - own - {"Environment"}} == {
        key: once[key] for key in once.keys() - own - {"Environment"}
    }
    assert daemon["Environment"][:2] == once["Environment"]
    walls = {"User", "DynamicUser", "StateDirectory", "LoadCredential", "SystemCallFilter", "LimitCORE"}
    assert walls <= once.keys()
    assert daemon.keys() - once.keys() <= {
        *("ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus", "StartLimitIntervalSec"),
        *("WatchdogSec", "TimeoutAbortSec", "WantedBy"),
    }
