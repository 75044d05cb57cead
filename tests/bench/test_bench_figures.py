"""From measurements to the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import figures
from bench.figures import BEGIN, END, Latency, Results, Window, added_ms, drift, put_between
from bench.load import Measured
from bench.open_loop import OpenMeasured
from bench.report import MINIMAL, SERVICE, Row


def opened(p50: float, p99: float) -> OpenMeasured:
    return OpenMeasured(100.0, 10, 10, {}, 0.1, p50, p50, p99, p99, p99, 0.0)


def closed(cpu: float) -> Measured:
    return Measured(1000, {}, 1.0, cpu, 0.01, 0.02, {})


def results(**changes: Any) -> Results:
    values: dict[str, Any] = {
        "facts": "a machine",
        "plan": "a plan",
        "rows": [Row.of(size, [closed(0.2)], [closed(0.1 * size)]) for size in (1, 3)],
        "others": {"pykka": 700.0},
        "latencies": [
            Latency(SERVICE, 0.5, opened(0.003, 0.009)),
            Latency(MINIMAL, 0.5, opened(0.002, 0.008)),
        ],
        "saturated": 1000.0,
        "foreign": {"service": 3.5, "bare consumer": 2.5},
        "soak": [Window(100.0, 50.0, 10) for _ in range(6)],
        "starts": [0.9],
        "messages": {
            shape: {"ours": 20.0, "pykka": 2.0, "ratio": 10.0} for shape in figures.SHAPES
        },
        "memory": [{"takedowns": 1000, "bytes": 5000.0}],
        "timeouts": [{"takedowns": 1000, "too_late": 3, "latest_ms": 300.0}],
    }
    return Results(**values | changes)


def test_each_target_says_whether_it_was_reached() -> None:
    lines = figures.targets(results()).splitlines()
    reached = [line.rsplit("|", 2)[1].strip() for line in lines[2:]]

    assert lines[2].startswith("| CPU per request, service / minimal bridge, containers: 1")
    assert "**2.00**" in lines[2]
    assert reached == ["no", "yes", "no", "yes", "yes", "yes", "yes", "no", "no", "yes", "no",
                       "yes", "yes"]  # fmt: skip


def test_added_latency_is_the_services_less_the_bridges() -> None:
    assert added_ms(results().latencies, 0.5, "p50") == pytest.approx(1.0)


def test_drift_leaves_the_warming_up_out() -> None:
    assert drift([900, 100, 100, 100, 100, 100, 110, 110, 110]) == pytest.approx(0.1)
    assert drift([100.0] * 9) == 0


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
    figures.plot(results(), tmp_path / "one")
    figures.plot(results(), tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["cpu.svg", "latency.svg", "memory.svg"]
    for name in names:
        drawn = (tmp_path / "one" / name).read_bytes()
        assert drawn == (tmp_path / "two" / name).read_bytes()
        assert len(drawn) < 40_000
