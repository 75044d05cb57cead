"""`make run` in a fresh directory: what a newcomer does first."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

ROOT = Path(__file__).parents[2]
SETUP_TAKES = 300.0


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The project as it is in the work tree, without anything that git does not know."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 - git is where it is
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, tmp_path / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return tmp_path


@pytest.fixture
def demo(fresh: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TAKEDOWN_", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    } | {
        "TAKEDOWN_HTTP_PORT": "0",
        "TAKEDOWN_ADMIN_PORT": "0",
        "TAKEDOWN_ITEMS_HTTP_PORT": "0",
    }
    output = fresh / "output.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            ["make", "run"],  # noqa: S607 - make is where it is
            cwd=fresh,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process, output
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(output: Path, text: str, process: subprocess.Popen[bytes], within: float) -> str:
    end = time.monotonic() + within
    while text not in (said := output.read_text()):
        assert process.poll() is None, f"make run ended early:\n{said}"
        assert time.monotonic() < end, f"no {text!r} within {within:g} s:\n{said}"
        time.sleep(0.1)
    return said


@pytest.mark.timeout(SETUP_TAKES + 60)
def test_make_run_sets_up_starts_answers_as_it_prints_and_leaves_nothing_behind(
    demo: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, output = demo
    said = wait_for(output, "Ctrl-C stops everything", process, SETUP_TAKES)
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("tansu" in child.name() for child in family), "the demo has a broker of its own"

    invited = re.findall(
        r"^ +([0-9]{3}) .*\n +curl -i -X DELETE (?:-H '(\S+): (\S+)' )?(\S+)$", said, re.MULTILINE
    )
    assert [status for status, *_ in invited] == ["200", "404", "504"]
    for status, name, value, url in invited:
        assert asyncio.run(ask(url, {name: value} if name else {})) == int(status)

    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    assert '"event":"Stopped"' in output.read_text()
    gone, left = psutil.wait_procs(family, timeout=10)
    assert not left
    assert len(gone) == len(family)


async def ask(url: str, headers: dict[str, str]) -> int:
    async with aiohttp.ClientSession() as http, http.delete(url, headers=headers) as answer:
        await answer.read()
        return answer.status
