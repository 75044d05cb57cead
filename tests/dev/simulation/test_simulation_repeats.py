"""The same seed gives the same run, byte for byte, in whatever process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dev.simulation.faults import Fault
from dev.simulation.world import World

ROOT = Path(__file__).parents[3]
SEEDS = range(40, 46)

PROGRAM = """
import sys
from dev.simulation.world import World
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    world = World(seed, keeps_journal=True)
    world.run()
    print("\\n".join(world.journal.text()))
"""


def _elsewhere(hash_seed: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SEEDS.start), str(SEEDS.stop)],
        cwd=ROOT,
        env=environment | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout


def test_two_processes_that_hash_differently_write_the_same_down() -> None:
    one, other = _elsewhere("1"), _elsewhere("4711")
    assert len(one.splitlines()) > 1000
    assert one == other


def test_a_run_does_not_depend_on_what_ran_before_it_in_the_process() -> None:
    alone = World(41, keeps_journal=True).run()
    random.seed(17)
    World(7).run()
    again = World(41, keeps_journal=True).run()
    assert alone.digest == again.digest
    assert alone.digest != World(42, keeps_journal=True).run().digest


def test_a_run_leaves_the_process_as_it_was() -> None:
    random.seed(17)
    urandom, following = os.urandom, random.Random(17).random()
    World(3).run()
    assert os.urandom is urandom
    assert random.random() == following


@pytest.mark.parametrize("seed", [8, 40, 57])
def test_to_write_everything_down_changes_nothing(seed: int) -> None:
    silent, written = World(seed).run(), World(seed, keeps_journal=True).run()
    assert silent.statuses == written.statuses
    assert silent.names == written.names
    assert silent.simulated == written.simulated
    assert silent.slowest == written.slowest


def test_a_run_with_all_its_names_kept_is_the_same_run() -> None:
    whole = World(57, keeps_journal=True).run()
    kept = World(57, keep=whole.names, keeps_journal=True).run()
    assert whole.digest == kept.digest


def test_what_is_not_kept_does_not_strike() -> None:
    whole = World(57).run()
    kept = [name for name in whole.names if name.startswith("ask#")]
    calm = World(57, keep=kept).run()
    assert calm.faults == {}
    assert set(calm.names) == set(kept)
    assert Fault(next(iter(whole.faults)))
