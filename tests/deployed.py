"""The files under deploy/, read."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[1] / "deploy"


def compose() -> dict[str, Any]:
    """Return the compose file."""
    content: dict[str, Any] = YAML(typ="safe").load(DEPLOY / "compose.yaml")
    return content
