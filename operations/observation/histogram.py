"""A histogram that costs a list's increment, and what can be said of one."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 9.5, 10, 10.25, 15, 30, 60,
)  # fmt: skip
"""Seconds. Close together where the usual deadline is: late is told from in time."""


class Histogram:
    """Counts seconds by bucket. `counts` has one more than the bounds, for what is beyond.

    Args:
        bounds: the buckets' upper bounds, rising; a value on a bound counts below it.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus wants it: each bound, and how many are not beyond it."""
        names = [*map(repr, map(float, self.bounds)), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


def quantile(
    counts: Sequence[int], share: float, bounds: tuple[float, ...] = BOUNDS
) -> float | None:
    """Below what value this share of all lies, by straight lines within buckets.

    None without any; what lies beyond the last bound is told as that bound.
    """
    wanted = share * sum(counts)
    if wanted <= 0:
        return None
    below = 0
    lower = 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and below + count >= wanted:
            return min(upper, lower + (upper - lower) * (wanted - below) / count)
        below += count
        lower = upper
    return bounds[-1]


def difference(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """What was counted between two moments."""
    return [a - b for a, b in zip(now, before, strict=True)]
