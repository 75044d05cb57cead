"""Takedowns that wait for a Kafka that is away for a moment: no censor has them, nothing is sent.

They wait here and not in a censor's state: a takedown that has not begun holds no censor, no
subscription and no timer of its own, and to answer it with 503 stays true whatever happens. One
timer serves them all, and it runs only while somebody waits.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.messages import Reply, Takedown

MARGIN = 0.1
"""Seconds before a takedown's deadline at which it does not wait any longer."""


class Waiting(Struct, frozen=True):
    """A takedown that has not begun, and whom to answer."""

    takedown: Takedown
    reply: Reply


class WaitingRoom:
    """Those who wait, ordered by how long they may.

    Args:
        seconds: for how long a takedown waits after it was accepted, at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._heap: list[tuple[float, int, Waiting]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._heap)

    def add(self, waiting: Waiting, now: float) -> bool:
        """Let one wait; False if there is no time for that."""
        takedown = waiting.takedown
        until = min(takedown.accepted_at + self._seconds, takedown.deadline - MARGIN)
        if until <= now:
            return False
        heapq.heappush(self._heap, (until, next(self._numbers), waiting))
        return True

    def take(self) -> Waiting | None:
        """The one whose wait ends first, who waits no longer; None if nobody waits."""
        return heapq.heappop(self._heap)[2] if self._heap else None

    def expired(self, now: float) -> Iterator[Waiting]:
        """Those whose wait is over; they wait no longer."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]
