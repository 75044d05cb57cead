"""Waiting longer and longer between attempts, and never in step with others."""

from __future__ import annotations

import asyncio
import random


class Backoff:
    """Full-jitter exponential backoff for a loop that tries for ever.

    The retry libraries wrap one call that ends; a session that works for days and then has to
    begin anew needs the count to start over, which is all that this adds.

    Args:
        initial: seconds of the first wait, at most.
        maximum: seconds that no wait exceeds.
    """

    def __init__(self, *, initial: float = 0.1, maximum: float = 2.0) -> None:
        self._initial = initial
        self._maximum = maximum
        self._attempt = 0

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._attempt = 0

    async def sleep(self) -> None:
        """Wait before the next attempt."""
        ceiling = min(self._maximum, self._initial * 2**self._attempt)
        self._attempt = min(self._attempt + 1, 16)
        await asyncio.sleep(ceiling * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
