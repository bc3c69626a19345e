"""The Dockerfile: judged by a tool that knows such files."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"
JUDGES = {
    DOCKERFILE: ("hadolint", "--no-color", "--failure-threshold=style"),
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
    assert (code, told) == (0, "")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        (DOCKERFILE, "FROM ${BASE} AS build", "FROM python AS build", "DL3006"),
        (DOCKERFILE, 'CMD ["run"]', "CMD run", "DL3025"),
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
