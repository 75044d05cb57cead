"""Whether fetches are answered: what proves that the path from Kafka to us works."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import TopicPartition


class Pulse:
    """Sees which partitions' fetches are not answered, whether there are records or not.

    aiokafka stamps a partition with each answer to a fetch, also an empty one, and a broker holds
    a fetch back for `fetch_max_wait` at most. So a stamp that does not change for long means that
    this partition is not read: its fetcher hangs or has died, which aiokafka does not say. The
    stamps are only compared, since they are of the wall clock.

    Args:
        now: the loop's clock.
        patience: seconds a stamp may stay as it is.
        step: seconds that count at most between two looks. In a longer time we were asleep
            ourselves (the process was stopped, or the machine), and so were the fetches.
    """

    def __init__(self, now: Callable[[], float], *, patience: float, step: float) -> None:
        self._now = now
        self._patience = patience
        self._step = step
        self._looked = now()
        self._awake = 0.0
        self._seen: dict[TopicPartition, tuple[object, float]] = {}

    def silent(self, stamps: dict[TopicPartition, object]) -> set[TopicPartition]:
        """The partitions whose stamp has not changed for longer than our patience."""
        now = self._now()
        self._awake += min(now - self._looked, self._step)
        self._looked = now
        for tp, stamp in stamps.items():
            if tp not in self._seen or self._seen[tp][0] != stamp:
                self._seen[tp] = (stamp, self._awake)
        return {tp for tp in stamps if self._awake - self._seen[tp][1] > self._patience}
