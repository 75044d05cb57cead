"""What the bench of several workers makes of its rounds."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dev.bench import throttle as throttling
from dev.bench import workers
from dev.bench.__main__ import start_kafka
from dev.bench.processes import BenchError
from dev.bench.scaling import Round, Scaling, Shape, how, table
from dev.bench.throttle import Throttle
from dev.bench.workers import Service


def test_what_the_workers_cpu_pays_for_is_told_from_what_the_busiest_one_allows() -> None:
    even = Round(answered=1000, seconds=2.0, cpu=(1.0, 1.0), supervisor=0.1)
    assert (even.accounted, even.busiest, even.per_second) == (1000, 1000, 500)
    uneven = Round(answered=1000, seconds=2.0, cpu=(1.5, 0.5), supervisor=0.1)
    assert uneven.accounted == 1000
    assert uneven.busiest == pytest.approx(667, abs=1)


def test_ratios_are_to_the_first_row_and_medians_of_the_rounds() -> None:
    one = [Round(answered=n, seconds=1.0, cpu=(0.5,), supervisor=0.0) for n in (100, 500, 110)]
    two = [Round(answered=n, seconds=1.0, cpu=(0.5, 0.5), supervisor=0.022) for n in (220, 1, 220)]
    assert table(Scaling({1: one, 2: two}, share=None)).splitlines()[2:] == [
        "| 1 | 4545 | 0.0 | 110 (1.00) | 220 (1.00) | 220 (1.00) |",
        "| 2 | 4645 | 100.0 | 220 (2.00) | 440 (2.00) | 440 (2.00) |",
    ]


def test_without_control_groups_the_throttle_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(throttling, "GROUPS", tmp_path / "none")
    with pytest.raises(BenchError, match="needs control groups that we may change"):
        Throttle(0.3).bound(1)


@pytest.mark.parametrize(
    ("first", "files"),
    [
        (True, {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "3000", "cgroup.procs": "7"}),
        (False, {"cpu.max": "3000 10000", "cgroup.procs": "7"}),
    ],
)
def test_a_process_is_bound_in_both_versions_of_control_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: bool, files: dict[str, str]
) -> None:
    monkeypatch.setattr(throttling, "GROUPS", tmp_path)
    if first:
        (tmp_path / "cpu").mkdir()
    Throttle(0.3).bound(7)
    (group,) = tmp_path.rglob("takedown-bench-7")
    assert {path.name: path.read_text() for path in group.iterdir()} == files


def test_all_groups_are_given_another_share_and_are_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(throttling, "GROUPS", tmp_path)
    throttle = Throttle(0.3)
    throttle.bound(7)
    throttle.bound(8)
    throttle.change(0.15)
    assert [path.read_text() for path in tmp_path.rglob("cpu.max")] == ["1500 10000"] * 2
    for path in list(tmp_path.rglob("*/*")):
        path.unlink()  # the kernel's files go with their folder
    throttle.remove()
    assert not list(tmp_path.iterdir())


def round_of(answered: int, *cpu: float) -> Round:
    return Round(answered=answered, seconds=1.0, cpu=cpu, supervisor=0.0)


def test_a_ratio_is_of_neighbours_and_the_figure_is_what_was_bound() -> None:
    rounds = {
        1: [round_of(100, 0.30), round_of(50, 0.15)],
        2: [round_of(190, 0.30, 0.30), round_of(90, 0.15, 0.15)],
    }
    throttled = Scaling(rounds, share=0.3)
    assert throttled.ratios(2) == pytest.approx([1.9, 1.8])
    assert throttled.used == pytest.approx(0.75)
    accounted = Scaling(
        {1: [round_of(100, 0.5)], 2: [round_of(100, 0.3, 0.3)]}, share=None, why_not="no groups"
    )
    assert accounted.ratios(2) == pytest.approx([2 * 100 / 0.6 / (100 / 0.5)])
    assert "not throttled (no groups)" in how(accounted)


async def test_the_share_is_made_smaller_until_the_workers_use_it_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[float] = []
    throttle = Throttle(0.3)

    async def one_round(_service: Service, _shape: Shape, _warm_up: float) -> Round:
        given.append(throttle.share)
        return round_of(100, *[min(throttle.share, 0.16)] * 2)  # the rest of the machine is full

    monkeypatch.setattr(throttling, "GROUPS", tmp_path)
    monkeypatch.setattr(workers, "one_round", one_round)
    await workers.bind_to_cpu(Service(2, 1, {}), throttle, Shape((1, 2), 3, 1, 1.0, 8))
    assert given == pytest.approx([0.3, 0.21, 0.147])
    assert throttle.share == pytest.approx(0.147)


async def test_two_workers_are_measured_against_one_over_a_real_broker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(throttling, "GROUPS", tmp_path / "none")  # nobody may be throttled here
    monkeypatch.setattr(workers, "FIRST_WARM_UP", 0.3)
    async with AsyncExitStack() as stack:
        kafka = await start_kafka(stack, None)
        shape = Shape((1, 2), 3, 1, 1.0, 8)
        scaling = await workers.compare(stack, kafka, tmp_path, shape, share=0.3)
    assert scaling.share is None
    assert "may change" in scaling.why_not
    assert {count: len(rounds) for count, rounds in scaling.rounds.items()} == {1: 1, 2: 1}
    ((two,),) = [rounds for count, rounds in scaling.rounds.items() if count == 2]
    assert len(two.cpu) == 2
    assert all(cpu > 0 for cpu in two.cpu)
    assert two.answered > 0
