"""What the bench of several workers makes of its rounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import workers
from bench.processes import BenchError
from bench.workers import Round, Throttle, table


def test_what_the_workers_cpu_pays_for_is_told_from_what_the_busiest_one_allows() -> None:
    even = Round(answered=1000, seconds=2.0, cpu=(1.0, 1.0), supervisor=0.1)
    assert (even.accounted, even.busiest, even.per_second) == (1000, 1000, 500)
    uneven = Round(answered=1000, seconds=2.0, cpu=(1.5, 0.5), supervisor=0.1)
    assert uneven.accounted == 1000
    assert uneven.busiest == pytest.approx(667, abs=1)


def test_ratios_are_to_the_first_row_and_medians_of_the_rounds() -> None:
    one = [Round(answered=n, seconds=1.0, cpu=(0.5,), supervisor=0.0) for n in (100, 500, 110)]
    two = [Round(answered=n, seconds=1.0, cpu=(0.5, 0.5), supervisor=0.022) for n in (220, 1, 220)]
    assert table({1: one, 2: two}).splitlines()[2:] == [
        "| 1 | 4545 | 0.0 | 220 (1.00) | 220 (1.00) | 110 (1.00) |",
        "| 2 | 4645 | 100.0 | 440 (2.00) | 440 (2.00) | 220 (2.00) |",
    ]


def test_without_control_groups_the_throttle_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workers, "GROUPS", tmp_path / "none")
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
    monkeypatch.setattr(workers, "GROUPS", tmp_path)
    if first:
        (tmp_path / "cpu").mkdir()
    Throttle(0.3).bound(7)
    (group,) = tmp_path.rglob("takedown-bench-7")
    assert {path.name: path.read_text() for path in group.iterdir()} == files
