"""The order in which the batches of one partition are handed over to aiokafka.

aiokafka 0.14 has a place for one batch of a partition that waits to be sent. Where several wait
for that place, it subtracts the time since the first wait from the timeout of each after every
wait: with many, the timeout is used up after a fraction of it (`MessageAccumulator.add_batch`). So
only one batch of a partition waits there, and the others here.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque


class Lane:
    """One partition's.

    Attributes:
        moved_at: when Kafka last answered for a batch; the loop's time.
    """

    __slots__ = ("_taken", "_tickets", "moved_at")

    def __init__(self) -> None:
        self.moved_at = -math.inf
        self._taken = False
        self._tickets: deque[asyncio.Future[None]] = deque()

    def enter(self) -> asyncio.Future[None] | None:
        """A ticket that is done when it is the caller's turn; None if that is now.

        `leave` must follow. Until then the place is kept, also by one who stops waiting for a
        while.
        """
        if not self._taken:
            self._taken = True
            return None
        ticket = asyncio.get_running_loop().create_future()
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: asyncio.Future[None] | None) -> None:
        """It was one's turn, or one does not wait for it any longer."""
        if ticket is not None and not ticket.done():
            ticket.cancel()
            return
        while self._tickets:
            following = self._tickets.popleft()
            if not following.cancelled():
                following.set_result(None)
                return
        self._taken = False
