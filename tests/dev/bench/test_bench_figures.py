"""From measurements to the page: each target's row, the text, and the plots."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from dev.bench import figures, plots, targets
from dev.bench.figures import BEGIN, END, put_between, section, target_table
from dev.bench.latency import Latencies, OpenRound
from dev.bench.load import Measured
from dev.bench.open_loop import OpenMeasured
from dev.bench.report import MINIMAL, SERVICE, Row, warning
from dev.bench.results import Results
from dev.bench.scaling import Round, Scaling
from dev.bench.soak import Soaked, Window
from dev.bench.viewer import VIEWED


def opened(p50: float, p99: float) -> OpenMeasured:
    return OpenMeasured(
        rate=100.0,
        sent=10,
        answered=10,
        errors={},
        cpu=0.1,
        p50=p50,
        p90=p50,
        p99=p99,
        p999=p99,
        worst=p99,
        sent_p50=p50,
        sent_p99=p99,
        late_p50=0.0001,
        late_p99=0.0002,
        late_share=0.015,
        nice=-10,
    )


def closed(cpu: float) -> Measured:
    return Measured(1000, {}, 1.0, cpu, 0.01, 0.02, {})


def workers(two: int = 190) -> Scaling:
    return Scaling(
        {
            1: [Round(100, 1.0, (0.3,), 0.0), Round(100, 1.0, (0.3,), 0.0)],
            2: [Round(two, 1.0, (0.3, 0.3), 0.01), Round(two, 1.0, (0.3, 0.3), 0.01)],
        },
        share=0.3,
    )


def soaked(
    cpu: list[float] | None = None,
    memory: list[float] | None = None,
    yardstick: list[float] | None = None,
) -> Soaked:
    cpu, memory, yardstick = cpu or [100.0] * 20, memory or [50.0] * 20, yardstick or [80.0] * 20
    windows = [Window(0.5, *figures) for figures in zip(cpu, yardstick, memory, strict=True)]
    return Soaked(warm_up=100, each=1800, windows=windows, errors={})


def results(**changes: Any) -> Results:
    values: dict[str, Any] = {
        "facts": "a machine",
        "plan": "a plan",
        "rows": [Row.of(size, [closed(0.2)], [closed(0.1 * size)]) for size in (1, 3)],
        "others": {"pykka": 700.0},
        "looked_at": {
            SERVICE: [closed(0.2)] * 3,
            VIEWED: [closed(0.22), closed(0.24), closed(0.20)],
            MINIMAL: [closed(0.2)] * 3,
        },
        "latencies": Latencies(
            1000.0,
            True,
            [
                OpenRound(SERVICE, 0.5, opened(0.003, 0.009)),
                OpenRound(MINIMAL, 0.5, opened(0.002, 0.008)),
            ],
        ),
        "foreign": {"service": [3.5], "bare consumer": [2.5]},
        "soak": soaked(),
        "starts": [0.9],
        "workers": workers(),
        "messages": [{shape: {"ours": 20.0, "pykka": 2.0, "ratio": 10.0} for shape in
                      targets.SHAPES}],
        "memory": [{"takedowns": 1000, "bytes": 5000.0}],
        "timeouts": [[{"takedowns": 1000, "too_late": 3, "latest_ms": 300.0}]],
    }  # fmt: skip
    return Results(**values | changes)


def rows_of(found: Results) -> list[list[str]]:
    """What stands in the table of targets."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in target_table(found).splitlines()[2:]
    ]


# ------------------------------------------------------------------------------ targets


def test_each_target_says_whether_it_was_reached() -> None:
    rows = rows_of(results())
    assert rows[0] == [
        "CPU per request, service / minimal bridge, containers: 1",
        "<= 1.00",
        "**2.00 (2.00 to 2.00)**",
        "no",
    ]
    reached = ["no", "yes", "-", "no", "yes", "yes", "yes", "yes", "yes", "no", "no", "yes", "no",
               "yes", "yes"]  # fmt: skip
    assert [row[3] for row in rows] == reached


def test_what_was_not_measured_keeps_its_row_and_is_not_reached() -> None:
    nothing = Results(facts="a machine", plan="a plan")
    rows = rows_of(nothing)
    assert len(rows) == len(rows_of(results())) + 1  # 1, 3 and 20 containers
    assert {(row[2], row[3]) for row in rows} == {("**not measured**", "-")}
    assert [row[1] for row in rows][:4] == ["<= 1.00", "<= 1.00", "<= 1.00", "noted"]


@pytest.mark.parametrize(
    "part",
    ["looked_at", "latencies", "workers", "messages", "memory", "timeouts", "starts", "foreign",
     "soak"],
)  # fmt: skip
def test_one_part_that_is_missing_takes_no_other_row_away(part: str) -> None:
    rows, all_rows = rows_of(results(**{part: None})), rows_of(results())
    assert len(rows) == len(all_rows)
    missing = [row for row in rows if row[2] == "**not measured**"]
    assert missing
    assert len([row for row in rows if row in all_rows]) == len(all_rows) - len(missing)


def test_figures_are_medians_with_the_lowest_and_the_highest() -> None:
    (row,) = targets.starts([0.9, 3.0, 0.7])
    assert (row.measured, row.reached) == ("0.90 s (0.70 to 3.00)", True)


def test_with_a_viewer_the_ratio_stands_beside_that_without() -> None:
    (row,) = targets.looked_at(results().looked_at)
    assert row.measured == "1.10 (1.00 to 1.20); in turns with it, not looked at: 1.00"


def test_added_latency_is_the_median_of_neighbours_differences() -> None:
    rounds = [
        OpenRound(name, 0.5, opened(p50, p50))
        for name, p50 in [
            (SERVICE, 0.0092), (MINIMAL, 0.009), (MINIMAL, 0.001), (SERVICE, 0.003),
            (SERVICE, 0.100), (MINIMAL, 0.020),
        ]
    ]  # fmt: skip
    found = Latencies(1000.0, True, rounds)
    assert found.added_ms(0.5, "p50") == pytest.approx([0.2, 2, 80])
    p50, p99 = targets.latency(found)
    assert (p50.measured, p50.reached) == ("2.00 ms (0.20 to 80.00)", False)
    assert p99.reached


def test_two_workers_count_by_throughput_where_they_are_bound() -> None:
    (row,) = targets.workers(workers(two=170))
    assert (row.measured, row.reached) == ("1.70 (1.70 to 1.70)", False)
    assert "each has 0.30 of a core and uses 100% of that" in row.what
    unbound = Scaling(workers(two=170).rounds, share=None)
    (row,) = targets.workers(unbound)
    assert "accounted by CPU" in row.what


def test_takedowns_that_time_out_together_may_none_of_them_be_late_in_any_round() -> None:
    on_time = {"takedowns": 10.0, "too_late": 0.0, "latest_ms": 20.0}
    (row,) = targets.timeouts([[on_time, on_time, on_time | {"too_late": 1.0}]])
    assert row.reached is False
    (row,) = targets.timeouts([[on_time, on_time]])
    assert (row.measured, row.reached) == ("0; the last one is late by 20 ms (20 to 20)", True)


def test_a_soak_that_surely_grows_and_one_that_is_too_noisy_to_tell_have_both_not_passed() -> None:
    growing = soaked(memory=[50 + 0.2 * number for number in range(20)])
    cpu, memory = targets.soak(growing)
    assert cpu.reached
    assert not memory.reached
    rng = random.Random(1)
    noisy = soaked(cpu=[rng.gauss(100, 30) for _ in range(20)])
    assert not targets.soak(noisy)[0].reached


def test_a_machine_that_gets_slower_is_no_drift_of_the_service_but_a_dearer_service_is() -> None:
    slower = [100 + 2.0 * number for number in range(20)]
    cpu, _ = targets.soak(soaked(cpu=[1.25 * us for us in slower], yardstick=slower))
    assert (cpu.measured, cpu.reached) == ("+0.0% (+0.0% to +0.0%)", True)
    assert cpu.what.endswith("drift of CPU per request / minimal bridge's")
    cpu, _ = targets.soak(soaked(cpu=[1.25 * us for us in slower]))
    assert not cpu.reached
    faster = [100 - 2.0 * number for number in range(20)]
    hidden = soaked(cpu=[100.0] * 20, yardstick=faster)
    assert not targets.soak(hidden)[0].reached


# --------------------------------------------------------------------------------- page


def test_the_page_names_why_a_part_is_missing_and_warns_first_when_others_were_at_work() -> None:
    text = section(
        results(
            soak=None,
            failures={"soak": "the service ended"},
            warning=warning(5.0),
            neighbours=0.25,
        ),
        drawn=("cpu",),
    )
    assert text.startswith("**Not a quiet machine**: in the minute before the run 5.0")
    assert "\n\na machine; other programs took 25.0% of all cores meanwhile\n\n" in text
    assert "Not measured: *soak*: the service ended" in text
    assert "Soak:" not in text
    assert "performance/cpu.svg" in text
    assert "performance/workers.svg" not in text


def test_the_latencies_stand_beside_what_the_generator_added() -> None:
    text = section(results(), drawn=())
    assert "| 50% (500 /s) | service | 3.00 | 3.00 | 9.00 | 9.00 | 0.10 / 0.20 | 1.5% |" in text
    assert "The servers had one core" in text
    assert "went before all others" in text


def test_a_soak_says_what_an_hour_is_and_what_a_takedown_leaves_behind() -> None:
    text = figures.soak_text(soaked(memory=[50 + 0.1 * number for number in range(20)]))
    assert "36,000 takedowns in 10 s (ten a second would take 1.0 hours)" in text
    assert "which is +53 bytes a takedown" in text.replace("\n", " ")


def test_a_soak_says_how_far_each_server_drifted_by_itself_too() -> None:
    slower = [100 + 2.0 * number for number in range(20)]
    found = soaked(cpu=slower, yardstick=[us / 2 for us in slower])
    text = figures.soak_text(found).replace("\n", " ")
    assert "CPU per request, service / minimal bridge: 2.00, +0.0% (+0.0% to +0.0%)" in text
    assert "service 119 us, +31.9% (+31.9% to +31.9%); minimal bridge 60 us, +31.9% (" in text
    assert max(map(len, figures.soak_text(found).splitlines())) <= 110


def test_only_what_is_between_the_markers_is_written() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put_between(page, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["nothing", f"{END}\n{BEGIN}", BEGIN, f"{BEGIN}{END}{END}"])
def test_a_page_without_its_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        put_between(page, "new")


def test_the_page_has_the_markers() -> None:
    put_between(figures.PAGE.read_text("utf-8"), "new")


def test_the_plots_are_small_and_the_same_each_time(tmp_path: Path) -> None:
    drawn = plots.plot(results(), tmp_path / "one")
    plots.plot(results(), tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["cpu.svg", "latency.svg", "memory.svg", "workers.svg"]
    assert sorted(f"{name}.svg" for name in drawn) == names
    for name in names:
        picture = (tmp_path / "one" / name).read_bytes()
        assert picture == (tmp_path / "two" / name).read_bytes()
        assert len(picture) < 40_000


def test_a_plot_of_what_was_not_measured_does_not_stay_from_another_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}")
    figures.write(results(), page, tmp_path / "plots")
    figures.write(results(workers=None), page, tmp_path / "plots")
    assert not (tmp_path / "plots" / "workers.svg").exists()
    assert "workers.svg" not in page.read_text()
    assert "cpu.svg" in page.read_text()
