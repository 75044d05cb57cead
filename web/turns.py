"""Answers that cost milliseconds, one at a time."""

from __future__ import annotations

import asyncio


class Turns:
    """One block at a time, and so one at most in each iteration of the event loop.

    Made together for many clients, which may all pipeline their requests, costly answers would hold
    up callers, Kafka and `/livez` for seconds.

    Args:
        most: blocks that may wait; see `full`.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._waiting = 0
        self._lock = asyncio.Lock()

    @property
    def full(self) -> bool:
        """Whether no more should wait: their connections would be missing for `/livez`."""
        return self._waiting >= self._most

    async def __aenter__(self) -> None:
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_error: object) -> None:
        # Not in this iteration, in which others may be about to begin.
        asyncio.get_running_loop().call_soon(self._lock.release)
