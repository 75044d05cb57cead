"""Answers that cost milliseconds, one at a time."""

from __future__ import annotations

import asyncio


class Turns:
    """One block at a time, and so one at most in each iteration of the event loop.

    Made together for many clients, which may all pipeline their requests, costly answers would hold
    up callers, Kafka and `/livez` for seconds.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_error: object) -> None:
        # Not in this iteration, in which others may be about to begin.
        asyncio.get_running_loop().call_soon(self._lock.release)
