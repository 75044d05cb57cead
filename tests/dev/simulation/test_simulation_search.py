"""Every state of the censor, and of a coordinator with two, within bounds."""

from __future__ import annotations

import dataclasses

import pytest

import actors.item_censor.confirming
import actors.item_censor.evidence
import actors.item_censor.locating
import actors.item_censor.machine
import actors.item_censor.publishing
from actors.item_censor.machine import item_censor
from dev.simulation import one_censor_world
from dev.simulation.ablations import ABLATIONS, Ablation, Cut, taken_out
from dev.simulation.bounds import SMALL
from dev.simulation.one_censor import OneCensor
from dev.simulation.search import search


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
        ("trusts what is told of an earlier takedown", "I"),
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
        bounds = one_censor_world.Bounds(2, 2, deletions=2, lists=2, crashes=1)
        found = search(OneCensor(bounds, machine=machine))
    assert found.wrong.startswith(wrong)
    assert 3 < len(found.path) < 15


_EVIDENCE = actors.item_censor.evidence
_MACHINE = actors.item_censor.machine
_ONE = one_censor_world.Bounds(1, 1, deletions=2, lists=1, unproven=True, doubts=1, replays=True)
_TWO_LISTS = one_censor_world.Bounds(2, 1, lists=2, unproven=True, replays=True)
_AGAIN = one_censor_world.Bounds(1, 2, lists=0, unproven=True)
_THREE = one_censor_world.Bounds(3, 1, lists=1, mailbox=1)

WITHOUT = {
    "gives a 200 before the list is proven": (
        Cut(_EVIDENCE, "is_complete", "data.proven and", ""),
        _ONE,
        ("I2: 200 without evidence", "I6: 404 without evidence"),
    ),
    "gives a 200 while the newest list cannot be read": (
        Cut(_EVIDENCE, "is_complete", "and not data.doubted", ""),
        _ONE,
        ("I2: 200 without evidence", "I6: 404 without evidence"),
    ),
    "forgets a doubt that an item comes into": (
        Cut(actors.item_censor.confirming, "in_doubt", "doubted=True", "doubted=data.doubted"),
        _ONE,
        ("I4: the evidence is said to be",),
    ),
    "counts a deletion that is older than its list": (
        Cut(_EVIDENCE, "stale_since", "listed_at is None or", "True or"),
        _ONE,
        ("I",),
    ),
    "forgets that a newer list may refute what an older deletion has confirmed": (
        Cut(_EVIDENCE, "refuted", "if data.proven:", "if True:"),
        _ONE,
        ("I",),
    ),
    "lets a list refute what a later deletion has confirmed again": (
        Cut(_EVIDENCE, "confirmed_again", "if data.proven:", "if True:"),
        _ONE,
        ("I",),
    ),
    "judges a deletion by the newest list, also if that does not name its container": (
        Cut(_EVIDENCE, "named_at", "if earlier:  # it is sorted", "if False:"),
        _TWO_LISTS,
        ("I",),
    ),
    "takes the evidence of another takedown": (
        Cut(
            _MACHINE,
            "_of_this_takedown",
            "return event",
            "return type(event) is CatalogueCaughtUp or event",
        ),
        dataclasses.replace(_AGAIN, crashes=1),
        ("I",),
    ),
    "says 404 before the list is proven": (
        Cut(actors.item_censor.locating, "found", "and event.proven", ""),
        _AGAIN,
        ("I6: 404 without evidence",),
    ),
    "publishes while requests are not settled": (
        Cut(
            actors.item_censor.publishing,
            "_settled",
            "data.publishing if unacknowledged else ()",
            "()",
        ),
        _THREE,
        ("two publications at once",),
    ),
}


@pytest.mark.parametrize("without", WITHOUT)
def test_the_search_finds_what_each_rule_of_evidence_is_for(without: str) -> None:
    cut, bounds, wrong = WITHOUT[without]
    with taken_out(Ablation(without, (cut,))):
        machine = item_censor(follow_changes=True)
        found = search(OneCensor(bounds, machine=machine))
    assert found.wrong.startswith(wrong), found


def test_the_search_finds_a_coordinator_that_forgets_whom_it_has_to_answer() -> None:
    name = "does not answer what was in flight when the coordinator fails"
    (ablation,) = (each for each in ABLATIONS if each.name == name)
    with taken_out(ablation):
        found = search(SMALL["coordinator and two censors, it fails"]())
    assert found.wrong.startswith("I1")
