"""Every state of the censor, and of a coordinator with two, within bounds."""

from __future__ import annotations

import pytest

from actors.censor_machine import item_censor
from simulation import one_censor
from simulation.ablations import ABLATIONS, taken_out
from simulation.bounds import SMALL
from simulation.one_censor import OneCensor
from simulation.search import search


@pytest.mark.parametrize("name", SMALL)
def test_whatever_happens_in_whatever_order_nothing_is_broken(name: str) -> None:
    found = search(SMALL[name]())
    assert found.wrong == "", found.path
    assert found.complete
    assert found.states > 2_000


@pytest.mark.parametrize(
    ("without", "wrong"),
    [
        ("counts deletions, and does not keep a set of containers", "I"),
        ("believes what is told of an earlier takedown", "I"),
        ("does not unsubscribe when a censor fails", "I5"),
        ("forgets a deletion of what a list has left out", "I4"),
        ("does not follow a list that adds a container", "I"),
    ],
)
def test_the_search_finds_the_shortest_way_to_a_safeguard_that_is_missing(
    without: str, wrong: str
) -> None:
    (ablation,) = (each for each in ABLATIONS if each.name == without)
    with taken_out(ablation):
        machine = item_censor(follow_changes=True)
        bounds = one_censor.Bounds(2, 2, deletions=2, lists=2, crashes=1)
        found = search(OneCensor(bounds, machine=machine))
    assert found.wrong.startswith(wrong)
    assert 3 < len(found.path) < 15


def test_the_search_finds_a_coordinator_that_forgets_whom_it_has_to_answer() -> None:
    name = "does not answer what was in flight when the coordinator fails"
    (ablation,) = (each for each in ABLATIONS if each.name == name)
    with taken_out(ablation):
        found = search(SMALL["coordinator and two censors, it fails"]())
    assert found.wrong.startswith("I1")
