"""What tools and tests leave behind is not part of the project."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")


def test_no_file_of_the_project_is_one_that_git_ignores() -> None:
    assert _git("ls-files", "--cached", "--ignored", "--exclude-standard") == ""


@pytest.mark.parametrize("left", [".coverage", ".coverage.host.123.XYZ", ".hypothesis/x", "a.log"])
def test_git_ignores_what_the_tests_leave(left: str) -> None:
    assert _git("check-ignore", "--no-index", left) == f"{left}\n"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],  # noqa: S607 - git is where it is
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout
