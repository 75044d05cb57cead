"""The index of the decision records is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("0*.md"))
INDEX = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_each_decision_has_a_number_a_date_and_a_status_and_is_in_the_index(record: Path) -> None:
    text = record.read_text()
    title = re.match(r"# (\d+)\. (.+)\n", text)
    assert title is not None
    number, name = title.groups()
    assert record.name.startswith(f"{int(number):04}-")
    status = re.search(r"^Date: (\d{4}-\d\d-\d\d)\. Status: ([^.]+)\.", text, re.MULTILINE)
    assert status is not None
    row = f"| {number} | [{name}]({record.name}) | {status[1]} | {status[2]} |"
    assert row in INDEX.splitlines()


def test_the_index_lists_no_decision_that_does_not_exist() -> None:
    assert len(re.findall(r"^\| \d+ \|", INDEX, re.MULTILINE)) == len(RECORDS)
