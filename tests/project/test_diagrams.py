"""The pictures of the machines are those of their tables."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from support.door import DOOR

from actors.fsm.diagram import mermaid, page
from actors.item_censor.machine import ITEM_CENSOR

ROOT = Path(__file__).parents[2]


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("draw_machines", ROOT / "dev/draw_machines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


@pytest.mark.parametrize("name", TOOL.MACHINES)
def test_a_picture_is_what_the_table_says_now(name: str) -> None:
    path = ROOT / "docs" / "machines" / name
    assert path.read_text() == page(TOOL.MACHINES[name]), f"{path} is stale: run `make diagrams`"


def test_there_is_a_picture_of_each_machine_and_of_nothing_else() -> None:
    drawn = {path.name for path in (ROOT / "docs" / "machines").iterdir()}
    assert drawn == set(TOOL.MACHINES), "run `make diagrams`, and remove what is no machine"
    assert TOOL.FOLDER == ROOT / "docs" / "machines"
    assert ITEM_CENSOR in TOOL.MACHINES.values()


def test_a_picture_shows_every_row_that_is_not_ignored_and_every_state() -> None:
    picture = mermaid(DOOR)
    assert picture.splitlines() == [
        "stateDiagram-v2",
        "    [*] --> Closed",
        "    Closed --> Open : Push",
        "    Closed --> Locked : Lock",
        "    Closed --> Closed : Break",
        "    Open --> Closed : Pull<br/>StateTimeout",
        "    Locked --> Closed : Unlock (right code)",
        "    Locked --> Locked : Unlock (wrong code)<br/>Alarm",
        "    Closed --> Gone : TearDown",
        "    Open --> Gone : TearDown",
        "    Locked --> Gone : TearDown",
        "    Gone --> [*]",
    ]


def test_a_page_says_what_is_ignored_and_why() -> None:
    text = page(DOOR)
    assert "| Open | Knock | it is open |" in text
    assert "| Closed | Push | Open | Say |" in text
    assert "| Locked | Unlock | Closed (right code); Locked (wrong code) |" in text


def test_labels_hold_nothing_that_ends_a_label_in_mermaid() -> None:
    for line in mermaid(ITEM_CENSOR).splitlines():
        _, _, label = line.partition(" : ")
        assert ":" not in label
        assert ";" not in label
