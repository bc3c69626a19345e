"""The alert rules: each fires when it should and is silent when it should be, on metrics that there are."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.promtool import promtool

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "alerts.yml"
PAGE = ROOT / "docs" / "metrics.md"
CASES = ROOT / "tests" / "data" / "alerts_test.yml"


def rules() -> list[dict[str, Any]]:
    [group] = YAML(typ="safe").load(RULES)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_promtool_accepts_the_rules() -> None:
    code, words = promtool("check", "rules", "--lint-fatal", str(RULES))
    assert code == 0, words


def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    code, words = promtool("test", "rules", str(CASES))
    assert code == 0, words


def test_each_alert_is_tested_both_ways() -> None:
    fires: defaultdict[str, set[bool]] = defaultdict(set)
    for case in YAML(typ="safe").load(CASES)["tests"]:
        for each in case["alert_rule_test"]:
            fires[each["alertname"]].add(bool(each["exp_alerts"]))
    assert fires == {rule["alert"]: {True, False} for rule in rules()}


def test_each_alert_says_what_is_wrong_how_bad_that_is_and_where_to_read_on() -> None:
    page = PAGE.read_text()
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/metrics.md#{rule['alert'].lower()}"
        assert f"\n### {rule['alert']}\n" in page


def test_alerts_ask_for_metrics_that_there_are() -> None:
    there = set(re.findall(r"^\| `(\w+)", PAGE.read_text(), re.MULTILINE)) | {"up"}
    asked = {
        name for rule in rules() for name in re.findall(r"\b(?:notifier_|process_|up\b)\w*", rule["expr"])
    }
    assert asked <= there
