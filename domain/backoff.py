"""Waiting longer and longer between attempts, and never in step with others."""

from __future__ import annotations

import asyncio
import random

QUICK = 0.2
"""Seconds that no wait exceeds while a moment may have been all."""

A_MOMENT = 10.0
"""Seconds of waits after which it was more than a moment."""


class Backoff:
    """Full-jitter exponential backoff for a loop that tries for ever.

    The retry libraries wrap one call that ends; a session that works for days and then has to
    begin anew needs the count to start over, which is all that this adds.

    Requests wait for a Kafka that is away for a moment, so that moment must not end later for us
    than for Kafka: at first, no wait is long (`quick_for`).

    Args:
        initial: seconds of the first wait, at most.
        maximum: seconds that no wait exceeds.
        quick_for: seconds of waits, added up, within which none exceeds `QUICK`.
    """

    def __init__(
        self, *, initial: float = 0.1, maximum: float = 2.0, quick_for: float = 0.0
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._quick_for = quick_for
        self._attempt = 0
        self._waited = 0.0

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._attempt = 0
        self._waited = 0.0

    async def sleep(self) -> None:
        """Wait before the next attempt."""
        ceiling = min(self._maximum, self._initial * 2**self._attempt)
        if self._waited < self._quick_for and ceiling > QUICK:
            ceiling = QUICK
        else:
            self._attempt = min(self._attempt + 1, 16)
        seconds = ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._waited += seconds
        await asyncio.sleep(seconds)
