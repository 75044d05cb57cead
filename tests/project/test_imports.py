"""Each module can be imported alone, and importing it does nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = CONFIGURATION["tool"]["setuptools"]
PACKAGES: list[str] = [name.rstrip("*") for name in SETUPTOOLS["packages"]["find"]["include"]]
TOP_LEVEL: list[str] = SETUPTOOLS["py-modules"]

MODULES = sorted(
    [
        *TOP_LEVEL,
        *(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for package in PACKAGES
            for path in (ROOT / package).rglob("*.py")
            if path.name != "__main__.py"
        ),
    ]
)

OURS = frozenset(name.partition(".")[0] for name in [*PACKAGES, *TOP_LEVEL])

# Runs in a fresh interpreter for each module: imports it, and reports what else happened. What
# the libraries do at their import is theirs: only our own code is held to it, by an audit hook
# that looks at who called.
PROBE = r"""
import asyncio, json, logging, os, signal, sys, threading
root, module = sys.argv[1], sys.argv[2]
sys.path.insert(0, root)
happened = []
WATCHED = ("open", "socket.", "subprocess.", "os.", "sqlite3.", "shutil.", "tempfile.")

def is_ours(name):
    if not name.startswith(root) or name.startswith((root + "/.venv", sys.prefix)):
        return False
    return True

def hook(event, arguments):
    if not event.startswith(WATCHED):
        return
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return
        if is_ours(name):
            happened.append(f"{event} in {name}")
            return
        frame = frame.f_back

threads = threading.active_count()
handlers = list(logging.getLogger().handlers)
signals = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
environment = dict(os.environ)
sys.addaudithook(hook)
__import__(module)
if threading.active_count() != threads:
    happened.append("threads were started")
if logging.getLogger().handlers != handlers:
    happened.append("logging was configured")
if {s: signal.getsignal(s) for s in signals} != signals:
    happened.append("signal handlers were set")
if dict(os.environ) != environment:
    happened.append("the environment was changed")
if asyncio.get_event_loop_policy()._local._loop is not None:
    happened.append("an event loop was made")
import pykka
if pykka.ActorRegistry.get_all():
    happened.append("actors were started")
print("REPORT" + json.dumps(happened), end="")
"""


def _probe(module: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", PROBE, str(ROOT), module],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        cwd="/",
    )


pytestmark = pytest.mark.timeout(600)
"""The fixture starts a process for each module, which takes minutes on a busy machine."""


@pytest.fixture(scope="module")
def probes() -> dict[str, subprocess.CompletedProcess[str]]:
    """Each module's report; made side by side, since most of it is waiting for processes."""
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return dict(zip(MODULES, pool.map(_probe, MODULES), strict=True))


def test_every_module_of_the_project_is_tried() -> None:
    assert {
        "actors.runtime.actor",
        "bus.kafka.reader",
        "coordinator",
        "service",
        "web.api",
    } <= set(MODULES)
    stray = {path.stem for path in ROOT.glob("*.py")} - set(TOP_LEVEL)
    assert not stray, f"{stray} stand beside service.py and are not in pyproject.toml's py-modules"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_imported_alone_and_does_nothing(
    module: str, probes: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    probe = probes[module]
    assert probe.returncode == 0, probe.stderr
    assert probe.stderr == ""
    before, _, report = probe.stdout.partition("REPORT")
    assert before == "", "importing it wrote something"
    assert json.loads(report) == []


def _imports(module: str) -> set[str]:
    """What a top-level module imports of this project, types only included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found & OURS


@pytest.mark.parametrize(
    ("module", "may_know"),
    [
        ("domain/messages", set()),
        ("domain/errors", set()),
        ("domain/printable", set()),
        ("domain/backoff", set()),
        ("coordinator/readiness", {"domain"}),
        ("app/lifecycle", {"domain"}),
        ("app/setting_parsers", set()),
        ("app/setting_table", {"app"}),
        ("app/settings", {"app", "domain"}),
        ("app/signals", set()),
        ("operations/log_output/writer", set()),
        ("operations/log_output/handler", {"operations"}),
        ("app/logs", {"app", "domain", "operations"}),
    ],
)
def test_what_everyone_knows_knows_nobody(module: str, may_know: set[str]) -> None:
    assert _imports(module) <= may_know
