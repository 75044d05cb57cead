"""Snapshots of all actors, shared by all viewers and limited in what they cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from operations.observation.clock import Clock
    from operations.observation.summaries import ActorsSnapshot

_REST = 19
"""How many times the duration of a snapshot passes before the next one is taken."""


class Snapshots:
    """Returns the last snapshot while a new one would take too much of the event loop's time.

    So snapshots take a twentieth of the event loop's time at most, however many clients ask.

    Args:
        take: takes a snapshot.
        clock: the loop's.
    """

    def __init__(self, take: Callable[[], Awaitable[ActorsSnapshot]], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._last: tuple[float, ActorsSnapshot] | None = None
        self._taking: asyncio.Task[ActorsSnapshot] | None = None

    async def get(self) -> ActorsSnapshot:
        """The last snapshot, or a new one."""
        if self._last is not None and self._is_fresh(*self._last):
            return self._last[1]
        if self._taking is None:
            self._taking = asyncio.get_running_loop().create_task(self._take_new())
        # Shielded: a client that disconnects does not cancel the others' snapshot.
        return await asyncio.shield(self._taking)

    def drop_old(self) -> None:
        """Drop the last snapshot if it is too old: it keeps alive what it refers to."""
        if self._last is not None and not self._is_fresh(*self._last):
            self._last = None

    async def _take_new(self) -> ActorsSnapshot:
        try:
            snapshot = await self._take()
            self._last = (self._clock.now(), snapshot)
            return snapshot
        finally:
            self._taking = None

    def _is_fresh(self, at: float, snapshot: ActorsSnapshot) -> bool:
        return self._clock.now() - at < snapshot.spent * _REST
