"""Runs: fresh ones, each kind of fault by itself, and all of them at once."""

from __future__ import annotations

import pytest

from dev.simulation.checker import GRACE
from dev.simulation.faults import Fault
from dev.simulation.world import World

OFTEN = 120


def test_a_world_in_which_nothing_goes_wrong_has_only_good_answers() -> None:
    for seed in range(5):
        result = World(seed, only=()).run()
        assert result.violations == ()
        assert result.faults == {}
        # Who asks before it has started gets a 503.
        assert set(result.statuses) <= {200, 404, 503}
        assert result.statuses[200] > 0


@pytest.mark.parametrize("kind", Fault)
def test_each_kind_of_fault_strikes_and_breaks_nothing(kind: Fault) -> None:
    struck = 0
    for seed in range(4):
        result = World(seed, only=(kind,)).run()
        assert result.violations == ()
        struck += result.faults.get(kind.value, 0)
    assert struck > 0


def test_a_process_that_stops_when_a_censor_has_answered_gives_no_200_too_late() -> None:
    late = 0
    for seed in range(20):
        world = World(seed, only=(Fault.PAUSED_AT_ANSWER,))
        assert world.run().violations == ()
        for asked in world.ledger.asked:
            if asked.status == 504 and asked.body["deleted"] and not asked.body["outstanding"]:
                assert asked.answered_at is not None
                late += asked.answered_at > world.ledger.deadline(asked) + GRACE
    assert late > 0


def test_all_kinds_of_fault_at_once_break_nothing() -> None:
    for seed in range(5):
        assert World(seed, only=tuple(Fault)).run().violations == ()


@pytest.mark.timeout(600)  # a minute of CPU, on a machine that others use, too
def test_the_first_seeds_break_nothing_and_meet_everything() -> None:
    met: set[str] = set()
    statuses: set[int] = set()
    for seed in range(OFTEN):
        result = World(seed).run()
        assert result.violations == (), f"python -m dev.simulation --replay {seed}"
        met |= set(result.faults)
        statuses |= set(result.statuses)
    assert met == {kind.value for kind in Fault}
    assert statuses == {200, 404, 500, 502, 503, 504}
