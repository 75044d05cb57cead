"""One heap of alarms for everything on a loop that waits for a time.

Each takedown has two: its deadline, and the limit of whoever asked for it; hardly any of them ever
rings. A timer of uvloop is some 600 bytes with what it calls, an alarm some 130. So the loop has
one timer, for the first alarm.

When very many fall due together, some of them ring in each turn of the loop, in the order of their
times: what they set off is handled, and everybody else has his turn, before the next ones ring.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

AT_ONCE = 256
"""How many alarms ring in one turn of the loop."""

_CANCELLED_AT_MOST = 1024
"""Cancelled alarms that may wait for their time, beyond as many as there are others."""


class Alarm(Struct, order=True):
    """Something that will be called.

    Attributes:
        at: when, by the loop's clock.
        number: in which order those of one time were set; no two are the same.
        ring: called with `argument` then; None once it has rung or was cancelled.
        argument: see there.
    """

    at: float
    number: int
    ring: Callable[[Any], object] | None
    argument: Any


class Alarms:
    """The alarms of one loop, to be used on its thread alone; `alarms_of` finds them."""

    __slots__ = ("_handle", "_heap", "_live", "_loop", "_number", "_wake_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Alarm] = []
        self._live = 0  # the others in the heap were cancelled
        self._number = 0
        self._wake_at = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._live

    @property
    def kept(self) -> int:
        """How many alarms are held, with those that were cancelled and not yet thrown away."""
        return len(self._heap)

    def set(self, at: float, ring: Callable[[Any], object], argument: Any) -> Alarm:
        """Have `ring(argument)` called at `at`, or at once if that has passed."""
        self._number += 1
        alarm = Alarm(at, self._number, ring, argument)
        heappush(self._heap, alarm)
        self._live += 1
        if at < self._wake_at:
            self._wake()
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Never ring this one; harmless if it has rung or was cancelled."""
        if alarm.ring is None:
            return
        alarm.ring = alarm.argument = None  # what waits for its time in the heap holds nothing
        self._live -= 1
        heap = self._heap
        if not self._live:
            heap.clear()
            self._wake()
        elif len(heap) > 2 * self._live + _CANCELLED_AT_MOST:
            heap[:] = [one for one in heap if one.ring is not None]
            heapify(heap)

    def _wake(self) -> None:
        """Have the loop call us at the time of the first alarm."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._wake_at = math.inf
        if self._heap:
            self._wake_at = self._heap[0].at
            self._handle = self._loop.call_at(self._wake_at, self._ring)

    def _ring(self) -> None:
        # A loop that counts in milliseconds may wake us a fraction of one before the time.
        now = max(self._loop.time(), self._wake_at)
        heap, left = self._heap, AT_ONCE
        try:
            while heap and left and heap[0].at <= now:
                left -= 1
                alarm = heappop(heap)
                ring, alarm.ring = alarm.ring, None
                if ring is not None:
                    self._live -= 1
                    ring(alarm.argument)
        finally:
            self._wake()


_ALARMS: dict[asyncio.AbstractEventLoop, Alarms] = {}


def alarms_of(loop: asyncio.AbstractEventLoop) -> Alarms:
    """The alarms of this loop; to be called on its thread."""
    alarms = _ALARMS.get(loop)
    if alarms is None:
        # They hold their loop, so that a table of weak references would keep it for ever.
        for other in tuple(_ALARMS):
            if other.is_closed():
                _ALARMS.pop(other, None)
        alarms = _ALARMS[loop] = Alarms(loop)
    return alarms
