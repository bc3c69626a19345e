"""The Dockerfile and what is under deploy/: judged by the tools that know such files, and by the notifier."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from notifier import __version__
from tests.commands import KEY, invoke
from tests.deployed import DEPLOY, compose, kubernetes

DOCKERFILE = DEPLOY.parent / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes.yaml"
JUDGES = {
    DOCKERFILE: ("hadolint", "--no-color", "--failure-threshold=style"),
    COMPOSE: ("check-jsonschema", "--builtin-schema=vendor.compose-spec", "--color=never"),
    KUBERNETES: ("kubernetes-validate", "--strict", "--quiet"),
}
SECRETS = {
    "allium-api-key": KEY,
    "slack-bot-token": "xoxb-that-is-secret",
    "web-token": "token-that-is-secret",
}


def judged(kind: Path, file: Path) -> tuple[int, str]:
    """Return the exit code of the tool that knows this kind of file, and what it says about one."""
    tool, *options = JUDGES[kind]
    command = (str(Path(sys.executable).with_name(tool)), *options, str(file))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("file", JUDGES, ids=lambda file: file.name)
def test_its_tool_has_nothing_against_it(file: Path) -> None:
    code, told = judged(file, file)
    assert (code, told.removesuffix("ok -- validation done\n")) == (0, "")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        (DOCKERFILE, "FROM ${BASE} AS build", "FROM python AS build", "DL3006"),
        (DOCKERFILE, 'CMD ["run"]', "CMD run", "DL3025"),
        (COMPOSE, "read_only: true", "readonly: true", "'readonly' was unexpected"),
        (COMPOSE, "cap_drop: [ALL]", "cap_drop: ALL", "'ALL' is not of type 'array'"),
        (KUBERNETES, "replicas: 1", "replicas: one", "spec.replicas: 'one' is not of type 'integer'"),
        (KUBERNETES, "  strategy:", "  strategi:", "'strategi' was unexpected"),
    ],
)
def test_its_tool_tells_what_is_wrong(tmp_path: Path, file: Path, right: str, wrong: str, told: str) -> None:
    text = file.read_text()
    assert right in text
    broken = tmp_path / file.name
    broken.write_text(text.replace(right, wrong, 1))
    code, answer = judged(file, broken)
    assert code != 0
    assert told in answer


def with_secrets(text: str, mounted: str, directory: Path) -> str:
    """Return a text that names mounted secrets, naming files in this directory instead; each is made."""

    def make(match: re.Match[str]) -> str:
        file = directory / match[1]
        file.write_text(SECRETS[match[1].removeprefix("notifier-")])
        return str(file)

    return re.sub(re.escape(mounted) + r"/([a-z-]+)", make, text)


def test_what_compose_sets_is_a_config(tmp_path: Path) -> None:
    service = compose()["services"]["notifier"]
    named = {
        Path(value).name for value in service["environment"].values() if value.startswith("/run/secrets/")
    }
    assert named == set(service["secrets"]) == set(compose()["secrets"])
    variables = {
        name: with_secrets(value, "/run/secrets", tmp_path) for name, value in service["environment"].items()
    }
    done = invoke("check", **variables)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "slack" in done.stdout


def test_the_config_in_the_manifest_is_one(tmp_path: Path) -> None:
    resources = kubernetes()
    text = with_secrets(resources["ConfigMap"]["data"]["notifier.toml"], "/run/secrets/notifier", tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(resources["Secret"]["stringData"])
    (tmp_path / "notifier.toml").write_text(text)
    done = invoke("check", NOTIFIER_STATE=f"sqlite:///{tmp_path}/state.db")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "data-team" in done.stdout


def test_what_is_deployed_is_what_is_built() -> None:
    pod = kubernetes()["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert {compose()["services"]["notifier"]["image"], container["image"]} == {
        f"backfill-notifier:{__version__}"
    }
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['fsGroup']}"
    assert f"USER {user}\n" in DOCKERFILE.read_text()
