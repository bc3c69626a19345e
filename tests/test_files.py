"""The files beside the code say what the code does."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from notifier.config import load_config
from notifier.schema import json_schema

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    "ALLIUM_API_KEY": "key",
    "OPS_WEBHOOK_URL": "https://ops.example.com/hooks/backfills",
    "OPS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "OPS_TOKEN": "token",
}


def example(*, with_defaults: bool) -> str:
    """Return the example config, if asked for with its commented-out lines in force."""
    text = (ROOT / "config" / "notifier.toml").read_text()
    return re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE) if with_defaults else text


@pytest.mark.parametrize("with_defaults", [False, True])
def test_the_example_config_is_accepted(tmp_path: Path, *, with_defaults: bool) -> None:
    file = tmp_path / "notifier.toml"
    file.write_text(example(with_defaults=with_defaults))
    settings = load_config(file, ENVIRONMENT).settings
    jsonschema.validate(tomllib.loads(file.read_text()), json_schema())
    assert settings.targets["ops"].headers.keys() == ({"Authorization"} if with_defaults else set())


def test_what_the_example_comments_out_are_the_defaults(tmp_path: Path) -> None:
    texts = [example(with_defaults=with_defaults) for with_defaults in (False, True)]
    texts[1] = texts[1].replace('headers = { Authorization = "Bearer ${OPS_TOKEN}" }', "")
    settings = []
    for text in texts:
        (tmp_path / "notifier.toml").write_text(text)
        settings.append(load_config(tmp_path / "notifier.toml", ENVIRONMENT).settings)
    assert settings[0] == settings[1]


def test_the_schema_file_is_what_the_command_prints() -> None:
    assert json.loads((ROOT / "config" / "notifier.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"log": {"level": "${LEVEL}"}}, True),
        ({"log": {"level": "loud"}}, False),
        ({"store": {"url": "${STORE}"}}, True),
        ({"store": {"url": "/var/lib/state.db"}}, False),
        ({"sources": [{"api_key_file": "/run/key", "poll_every": "90s"}]}, True),
        ({"sources": [{"api_key": "k", "poll_every": ""}]}, False),
        ({"sources": [{"api_key": "k", "poll_evry": "90s"}]}, False),
        ({"sources": [{"name": "x"}]}, False),
        ({"sources": []}, False),
        ({"targets": {"t": {"type": "webhook", "url": "${URL}", "secret": ["${A}", "whsec_x"]}}}, True),
        ({"targets": {"t": {"type": "webhook", "url": "ops.example.com"}}}, False),
    ],
)
def test_the_schema_tells_good_from_bad(change: dict[str, Any], *, accepted: bool) -> None:
    config = {"sources": [{"api_key": "${ALLIUM_API_KEY}"}]} | change
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(config) == accepted


def test_requirements_name_no_address() -> None:
    for file in (ROOT / "requirements").iterdir():
        assert "://" not in file.read_text()
        assert "--hash=sha256:" in file.read_text()
