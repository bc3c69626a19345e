"""Configs as people write them, and what the notifier makes of them."""

from pathlib import Path

import pytest

from notifier.config import Config, load_config
from notifier.problem import ConfigError

KEY = "allium-key-that-is-secret"
WHSEC = "whsec_c2lnbmluZyBrZXkgdGhhdCBpcyBzZWNyZXQ="
TOKEN = "xoxb-1-2-that-is-secret"
HOOK = "https://hooks.slack.com/services/T1/B1/that-is-secret"
SOURCE = f'[[sources]]\napi_key = "{KEY}"\n'
TARGET = SOURCE + '[targets.ops]\ntype = "webhook"\nurl = "https://ops.example.com/hooks"\n'
SLACK = SOURCE + f'[targets.team]\ntype = "slack"\ntoken = "{TOKEN}"\nchannel = "#data-backfills"\n'
SLACK_HOOK = SOURCE + f'[targets.team]\ntype = "slack"\nwebhook_url = "{HOOK}"\n'


def load(text: str, **environment: str) -> Config:
    """Return what a file makes."""
    Path("notifier.toml").write_text(text)
    return load_config(None, environment)


def problems(text: str | None, **environment: str) -> list[tuple[str, str]]:
    """Return all that is wrong with a config, after a look for secrets in what is said about it."""
    if text is not None:
        Path("notifier.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(None, environment)
    assert caught.value.origin == ("the environment" if text is None else "notifier.toml")
    told = f"{caught.value} {caught.value!r} {caught.value.problems}"
    assert "that-is-secret" not in told
    assert WHSEC.removeprefix("whsec_") not in told
    return [(where, message) for where, message in caught.value.problems]
