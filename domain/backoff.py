"""Exponential backoff with jitter: waits that grow, and differ between instances."""

from __future__ import annotations

import asyncio
import random

JITTER = 0.5, 1.0
"""A wait lasts between these shares of its longest time."""

QUICK = 0.2
"""Seconds that no wait exceeds while the outage may be a short one."""

A_MOMENT = 10.0
"""Seconds of waits after which the outage is not a short one."""

_MOST_DOUBLINGS = 16


def longest_wait(failures: int, first: float, longest: float) -> float:
    """The longest time of a wait, in seconds.

    Args:
        failures: attempts that failed before the last one.
        first: seconds of the first wait, which doubles with each failure.
        longest: seconds that no wait exceeds.
    """
    return min(longest, first * float(2 ** min(failures, _MOST_DOUBLINGS)))


class Backoff:
    """Exponential backoff for a loop that tries without end.

    The retry libraries wrap one call that ends. A session that works for days and then has to
    begin anew needs a count that starts over, which this adds.

    Requests wait for a Kafka that is away for a short time, and must not wait longer than Kafka is
    away: so the waits stay short at first (`quick_for`).

    Args:
        initial: seconds of the first wait, at most.
        maximum: seconds that no wait exceeds.
        quick_for: total seconds of waits within which none exceeds `QUICK`.
    """

    def __init__(
        self, *, initial: float = 0.1, maximum: float = 2.0, quick_for: float = 0.0
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._quick_for = quick_for
        self._failures = 0
        self._waited = 0.0

    def reset(self) -> None:
        """An attempt succeeded: the next failure counts as the first."""
        self._failures = 0
        self._waited = 0.0

    async def sleep(self) -> None:
        """Wait before the next attempt."""
        longest = longest_wait(self._failures, self._initial, self._maximum)
        if self._waited < self._quick_for and longest > QUICK:
            longest = QUICK
        else:
            self._failures += 1
        seconds = longest * random.uniform(*JITTER)  # noqa: S311 - no secret
        self._waited += seconds
        await asyncio.sleep(seconds)
