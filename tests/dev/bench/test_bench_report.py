import subprocess
import sys

import pytest

from dev.bench import report
from dev.bench.load import Measured, cpu_of, percentile
from dev.bench.report import Figures, Neighbours, Row, machine, main_line, table, warning


def measured(*, cpu: float, answered: int = 1000, seconds: float = 2.0) -> Measured:
    return Measured(
        answered=answered, errors={}, seconds=seconds, cpu=cpu, p50=0.010, p99=0.050, others={}
    )


def row(containers: int, service_cpu: float, minimal_cpu: float) -> Row:
    return Row.of(containers, [measured(cpu=service_cpu)], [measured(cpu=minimal_cpu)])


def test_figures_are_medians_of_the_rounds() -> None:
    figures = Figures.of([measured(cpu=0.3), measured(cpu=9.0), measured(cpu=0.2)])
    assert figures.cpu_us == pytest.approx(300)
    assert figures.busy == pytest.approx(0.15)
    assert figures.per_second == pytest.approx(500)
    assert figures.p50_ms == pytest.approx(10)
    assert figures.p99_ms == pytest.approx(50)


def test_ratios_are_of_the_service_to_the_minimal_bridge() -> None:
    dear = row(3, 0.3, 0.2)
    assert dear.cpu_ratio == pytest.approx(1.5)
    fast = [measured(cpu=1.0, answered=3000)]
    assert Row.of(3, fast, [measured(cpu=1.0)]).throughput_ratio == pytest.approx(3.0)


def test_the_spread_is_that_of_neighbouring_rounds() -> None:
    service = [measured(cpu=0.1), measured(cpu=0.4), measured(cpu=0.2)]
    minimal = [measured(cpu=0.1), measured(cpu=0.2), measured(cpu=0.4)]
    lowest, highest = Row.of(3, service, minimal).spread
    assert lowest == pytest.approx(0.5)
    assert highest == pytest.approx(2.0)


def test_the_table_has_a_line_for_each_size_and_all_are_as_wide() -> None:
    lines = table([row(1, 0.2, 0.1), row(20, 1.0, 2.0)]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "**2.00**" in lines[2]
    assert "**0.50**" in lines[3]


def test_the_main_line_is_that_of_three_containers() -> None:
    rows = [row(1, 0.1, 0.1), row(3, 0.3, 0.1), row(20, 0.1, 0.1)]
    assert main_line(rows).endswith("3 containers: 3.00")


def test_the_main_line_without_three_containers_takes_the_middle() -> None:
    assert main_line([row(7, 0.2, 0.1)]).endswith("7 containers: 2.00")


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


def test_without_values_a_percentile_is_zero() -> None:
    assert percentile([], 0.5) == 0.0


def test_a_machine_that_was_not_quiet_is_warned_of() -> None:
    assert warning(0.9) == ""
    assert "Not a quiet machine" in warning(1.1)
    assert machine("a broker", (1.25, 2.0, 3.0)).endswith("load average before: 1.2, 2.0, 3.0")


BUSY = "import time\nwhile time.process_time() < 0.5: pass"


def test_neighbours_are_told_as_a_share_of_all_cores_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, everybodys = iter([3.0, 7.0]), iter([50.0, 60.0])
    monkeypatch.setattr(report, "_ours", lambda: next(ours))
    monkeypatch.setattr(report, "_everybodys", lambda: next(everybodys))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    neighbours = Neighbours()
    neighbours._at -= 10
    assert neighbours.share() == pytest.approx((10 - 4) / 20, abs=0.02)


def test_a_child_that_was_waited_for_is_no_neighbour() -> None:
    neighbours = Neighbours()
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    while cpu_of(busy.pid) < 0.45:
        continue
    not_waited_for = neighbours.share()
    busy.wait()
    assert neighbours.share() < not_waited_for


def test_a_process_is_told_what_it_used() -> None:
    busy = subprocess.Popen([sys.executable, "-c", BUSY + "\ninput()"], stdin=subprocess.PIPE)
    try:
        while cpu_of(busy.pid) < 0.5:
            continue
        assert cpu_of(busy.pid) < 5
    finally:
        busy.communicate(b"\n")
