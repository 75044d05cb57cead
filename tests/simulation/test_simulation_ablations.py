"""Each safeguard is for something: without it, the simulation finds what goes wrong."""

from __future__ import annotations

import pytest

from simulation.ablations import ABLATIONS, Ablation, Cut, OutOfDate, find, taken_out
from simulation.world import World

FIRST = {
    "subscribes once Kafka has acknowledged, not before it publishes": 4,
    "counts deletions, and does not keep a set of containers": 2,
    "restarts the deadline with each deletion": 23,
    "does not unsubscribe when a censor fails": 8,
    "has no bound for takedowns in flight": 1,
    "says 404 while the catalogue is behind": 5,
    "keeps a container twice that a list names twice": 10,
    "shares an earlier question about the log's end": 350,
    "is ready before the reader knows its positions": 36,
    "handles a message before a deadline that has passed": 152,
    "waits for nobody's turn when the time is over": 8,
    "gives a 200 however late it comes out of the door": 8,
    "believes what is told of an earlier takedown": 30,
    "says 503 after requests were handed over": 49,
    "begins at the end again with each session": 9,
    "reads a new partition from its end": 10,
    "takes for an item's newest list what is read last, in whichever partition": 47,
    "takes the list with the later time, though the same partition has a later record": 143,
    "forgets at once that an item is gone": 47,
    "handles a record again that was fetched again": 4,
    "ends the session at a record that cannot be read": 29,
    "restarts an actor as often as it fails": 75,
    "does not say which takedown a failed censor carried": 2,
    "forgets a takedown whose censor failed at its first message": 99,
    "leaves its own tasks behind when draining takes too long": 61,
    "answers although it was answered before": 443,
    "does not answer what was in flight when the coordinator fails": 82,
    "lets an observer's failure reach the takedown": 23,
    "stops without finishing what is in flight": 15,
    "forgets a deletion of what a list has left out": 208,
    "does not follow a list that adds a container": 47,
    "fails at a list that was published when time began": 223,
    "begins to follow a list only after the catalogue has answered": 66,
}
"""Seeds at which they were found; what it takes may move when the program changes."""

NEEDED = [each for each in ABLATIONS if not each.second]
DOUBLE = [each for each in ABLATIONS if each.second]


@pytest.mark.parametrize("ablation", NEEDED, ids=[each.name for each in NEEDED])
def test_a_program_that_is_without_a_safeguard_is_found_out(ablation: Ablation) -> None:
    found = find(ablation, first=FIRST.get(ablation.name, 0), seeds=300)
    assert found is not None
    whole = World(found.seed, only=ablation.only).run()
    assert whole.violations == (), "and it is the safeguard that was missing"


@pytest.mark.parametrize("ablation", DOUBLE, ids=[each.name for each in DOUBLE])
def test_a_safeguard_with_a_second_line_behind_it_is_not_missed_alone(ablation: Ablation) -> None:
    assert find(ablation, seeds=8) is None


def test_a_safeguard_that_is_not_where_the_list_says_is_reported() -> None:
    stale = Ablation("nothing", (Cut(World, "run", "what was never there", ""),))
    with pytest.raises(OutOfDate), taken_out(stale):
        pass


def test_what_was_taken_out_is_there_again_afterwards() -> None:
    before = [getattr(cut.owner, cut.name) for each in ABLATIONS for cut in each.cuts]
    for each in ABLATIONS:
        with taken_out(each):
            pass
    after = [getattr(cut.owner, cut.name) for each in ABLATIONS for cut in each.cuts]
    assert before == after
