"""No deadline depends on the wall clock: it is read for labels and for the ages named here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "actors",
    "app",
    "bus",
    "catalogue",
    "coordinator",
    "domain",
    "operations",
    "web",
)

LABELS = {
    # How much of the loop's time observing takes.
    ("app/composition/observability.py", "time.perf_counter"),
    ("service.py", "datetime.now"),  # passed on to those below
    ("bus/kafka/publisher.py", "datetime.now"),  # reportedAt
    ("web/api.py", "datetime.now"),  # the deadline that travels with each request
}

AGES = {
    # How old what is stored is: no other clock survives a restart, nor runs on while the machine is
    # suspended. It can cause one needless reading of the topic at worst; see decision 20.
    ("catalogue/view.py", "datetime.now"),
    # Whether another machine's `Date` can be right at all.
    ("catalogue/http/catalogue.py", "datetime.now"),
    # Whether a certificate has expired: its dates are the wall clock's. Only a text depends on it.
    ("bus/kafka/advice.py", "datetime.now"),
}

WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
OWN = {"time.monotonic", "time.perf_counter", "time.monotonic_ns", "time.perf_counter_ns"}
"""They do not jump, but they are not the loop's: a virtual clock does not own them."""


def clocks_read(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in WALL | OWN:
                yield name
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"time.{alias.name}" for alias in node.names)


def test_the_wall_clock_is_read_for_labels_and_ages_only() -> None:
    paths = [p for package in PACKAGES for p in ROOT.joinpath(package).rglob("*.py")]
    paths += ROOT.glob("*.py")
    found = {(str(p.relative_to(ROOT)), name) for p in paths for name in clocks_read(p)}
    assert found == LABELS | AGES
