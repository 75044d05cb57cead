"""Whether a series of measurements goes up or down, and how sure that is."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Trend:
    """A change from the first to the last measurement, as a share of their median.

    `low` and `high` are the bounds of its 95 % confidence interval.
    """

    change: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.change:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def trend(values: Sequence[float]) -> Trend:
    """The slope through values at even distances, by Theil and Sen, over the whole length.

    The median of the slopes between all pairs, so that a window in which the machine was busy
    with something else does not tilt it, and Sen's interval, which takes the noise of the windows
    to be independent: where it is not, the interval is a bit too narrow.

    Raises:
        ValueError: there are fewer than 8 values, or their median is 0.
    """
    if len(values) < 8:
        raise ValueError(f"{len(values)} values are too few for a trend")
    middle = statistics.median(values)
    if not middle:
        raise ValueError("a change of nothing is no share of it")
    slopes = sorted(
        (late - early) / (j - i)
        for (i, early), (j, late) in itertools.combinations(enumerate(values), 2)
    )
    count, pairs = len(values), len(slopes)
    reach = NORMAL_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((pairs - reach) / 2))
    high = min(pairs - 1, math.ceil((pairs + reach) / 2))
    whole = (count - 1) / middle
    return Trend(statistics.median(slopes) * whole, slopes[low] * whole, slopes[high] * whole)
