"""The files under deploy/, read."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[1] / "deploy"


def compose() -> dict[str, Any]:
    """Return the compose file."""
    content: dict[str, Any] = YAML(typ="safe").load(DEPLOY / "compose.yaml")
    return content


def kubernetes() -> dict[str, dict[str, Any]]:
    """Return the resources of the Kubernetes manifest, by kind."""
    return {resource["kind"]: resource for resource in YAML(typ="safe").load_all(DEPLOY / "kubernetes.yaml")}
