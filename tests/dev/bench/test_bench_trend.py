"""A drift is told from noise."""

from __future__ import annotations

import random

import pytest

from dev.bench.trend import trend


def test_a_straight_line_is_told_as_a_share_of_its_middle() -> None:
    found = trend([100.0 + number for number in range(21)])
    assert found.change == pytest.approx(20 / 110)
    assert (found.low, found.high) == pytest.approx((found.change, found.change))
    assert str(found) == "+18.2% (+18.2% to +18.2%)"


def test_what_stays_the_same_has_no_drift() -> None:
    found = trend([7.0] * 10)
    assert (found.low, found.change, found.high) == (0, 0, 0)


def test_a_busy_window_does_not_tilt_it() -> None:
    values = [100.0] * 30
    values[-1] = values[-2] = 900.0
    assert trend(values).change == 0


def test_its_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(7)
    covered = 0
    for _ in range(200):
        found = trend([100 + 0.1 * number + rng.gauss(0, 3) for number in range(40)])
        truth = 3.9 / 102
        covered += found.low <= truth <= found.high
    assert 180 <= covered <= 198


def test_noise_makes_the_interval_wide() -> None:
    rng = random.Random(1)
    calm = trend([100 + rng.gauss(0, 1) for _ in range(40)])
    wild = trend([100 + rng.gauss(0, 20) for _ in range(40)])
    assert wild.high - wild.low > 5 * (calm.high - calm.low)


@pytest.mark.parametrize("values", [[], [1.0] * 7, [0.0] * 10])
def test_too_little_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"few|share"):
        trend(values)
