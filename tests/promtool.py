"""Prometheus's own tool, which says what is wrong with metrics and rules."""

import os
import shutil
import subprocess

import pytest


def promtool(*arguments: str, given: bytes = b"") -> tuple[int, str]:
    """Run it; return its exit code and all that it says. Without it a test is skipped, in CI it fails."""
    if shutil.which("promtool") is None:
        reason = (
            "promtool is not installed (package prometheus): nothing says whether metrics and rules are good"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode()
