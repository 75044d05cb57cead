"""The order in which the batches of one partition are handed over to aiokafka.

aiokafka 0.14 has a place for one batch of a partition that waits to be sent. Where several wait
for that place, it subtracts the time since the first wait from the timeout of each after every
wait: with many, the timeout is used up after a fraction of it (`MessageAccumulator.add_batch`). So
only one batch of a partition waits there, and the others here.
"""

from __future__ import annotations

import asyncio
import math


class Lane:
    """One partition's.

    Attributes:
        turn: held by the batch that is handed over; the others get it in their order.
        moved_at: when Kafka last answered for a batch; the loop's time.
    """

    __slots__ = ("moved_at", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.moved_at = -math.inf
