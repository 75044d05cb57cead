"""A failing run is made small, and can be repeated and read."""

from __future__ import annotations

from click.testing import CliRunner

from dev.simulation.__main__ import main
from dev.simulation.ablations import ABLATIONS, find, taken_out
from dev.simulation.event_log import diagram
from dev.simulation.many import Summary, run_seeds
from dev.simulation.shrink import fails_alike, kind_of, shrink
from dev.simulation.world import Result, World

(COUNTING,) = (each for each in ABLATIONS if each.name.startswith("counts deletions"))


def test_a_failing_run_is_shrunk_to_what_makes_it_fail() -> None:
    failed = find(COUNTING, seeds=50)
    assert failed is not None
    with taken_out(COUNTING):
        small = shrink(failed)
        again = World(small.seed, keep=small.names, keeps_journal=True)
        result = again.run()
    assert fails_alike(result, failed)
    assert len(small.names) <= 6 < len(failed.names)
    assert World(small.seed, keep=small.names).run().violations == ()
    text = diagram(again.journal, result.about)
    assert "DELETE" in text
    assert "item_deleted" in text
    assert len(text.splitlines()) < 60


def test_runs_are_alike_if_they_break_the_same_invariant() -> None:
    def failed(*violations: str) -> Result:
        return Result(1, violations, 1, {}, {})

    assert kind_of("1.5 I2: no item_deleted of c1 was read") == "I2: no item_deleted"
    assert fails_alike(failed("2.0 I1: no answer: ask#3"), failed("9.1 I1: no answer: ask#77"))
    assert not fails_alike(failed("2.0 I1: no answer"), failed("2.0 I3: 503, and requests"))


def test_summaries_add_up() -> None:
    whole = run_seeds(0, 6)
    parts = run_seeds(0, 2)
    parts.add(run_seeds(2, 4))
    assert (parts.seeds, parts.takedowns) == (whole.seeds, whole.takedowns) == (6, whole.takedowns)
    assert parts.statuses == whole.statuses
    assert parts.faults == whole.faults
    assert parts.met == whole.met
    assert parts.slowest == whole.slowest
    assert f"takedowns    {whole.takedowns:,}" in whole.table()


def test_an_empty_summary_can_be_read() -> None:
    assert "seeds        0" in Summary().table()


def test_many_seeds_are_run_in_processes_of_their_own() -> None:
    run = CliRunner().invoke(main, ["--from", "0", "--seeds", "30", "--jobs", "2"])
    assert run.exit_code == 0, run.output
    assert "seeds from 0" in run.output
    assert "seeds        30" in run.output
    assert "failed       0" in run.output


def test_a_run_is_repeated_by_its_seed() -> None:
    run = CliRunner().invoke(main, ["--replay", "0", "--keep", "ask#1,ask#2"])
    assert run.exit_code == 0, run.output
    assert "DELETE" in run.output
    assert "--replay 0 --keep ask#1,ask#2" in run.output


def test_a_repeated_run_that_fails_says_so() -> None:
    failed = find(COUNTING, seeds=50)
    assert failed is not None
    with taken_out(COUNTING):
        run = CliRunner().invoke(main, ["--replay", str(failed.seed)])
    assert run.exit_code == 1
    assert "! " in run.output


def test_what_is_kept_may_be_nothing() -> None:
    run = CliRunner().invoke(main, ["--replay", "0", "--keep", "", "--all"])
    assert run.exit_code == 0, run.output
