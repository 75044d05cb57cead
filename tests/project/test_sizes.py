"""Modules and functions stay small enough to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60

TABLES = {"dev/simulation/ablations.py"}
"""Tables may be longer."""

PACKAGES = (
    *("actors", "app", "bus", "catalogue", "coordinator", "demo", "dev", "domain", "operations"),
    *("tests", "web"),
)
FILES = {
    str(path.relative_to(ROOT)): path
    for path in (
        ROOT / "service.py",
        *(p for each in PACKAGES for p in (ROOT / each).rglob("*.py")),
    )
}


def test_the_files_of_every_package_are_measured() -> None:
    assert {name.partition("/")[0] for name in FILES} == {"service.py", *PACKAGES}
    assert FILES.keys() >= TABLES


@pytest.mark.parametrize("name", sorted(FILES.keys() - TABLES))
def test_no_module_is_longer_than_a_few_screens(name: str) -> None:
    assert len(FILES[name].read_text().splitlines()) <= MOST_LINES


def test_no_function_is_longer_than_a_screen() -> None:
    longer = [
        f"{name}:{line} {function}"
        for name, path in FILES.items()
        for function, line, lines in _functions(path.read_text())
        if lines > MOST_LINES_OF_A_FUNCTION
    ]
    assert longer == []


def _functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def test_a_function_is_measured_from_its_first_line_to_its_last() -> None:
    assert list(_functions("def f():\n    a\n    b\n")) == [("f", 1, 3)]
