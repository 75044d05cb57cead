"""How far a reader is behind its log now, and why.

That it once read to the end says nothing about now. So each end that is seen is remembered until it
is read: one that was seen `MOST` ago and has not been read yet means that the reader lags.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bus.kafka.read_barrier import Ends

MOST = 2.0
"""Seconds in which what is in the log has been read; later than that the reader lags."""

_REMEMBERED = 60
"""Ends that are remembered at most; while a reader lags, the oldest one counts."""


class Lag:
    """Which ends were seen and have not been read yet."""

    def __init__(self) -> None:
        self._unread: deque[tuple[float, Ends]] = deque()

    def clear(self) -> None:
        """A new session begins."""
        self._unread.clear()

    def seen(self, ends: Ends, now: float) -> None:
        """The log ends there now."""
        # What was cut off since an end was seen will never be read.
        self._unread = deque((at, _within(before, ends)) for at, before in self._unread)
        if len(self._unread) < _REMEMBERED:
            self._unread.append((now, ends))

    def read(self, positions: Mapping[TopicPartition, int]) -> None:
        """All below these positions was read."""
        while self._unread and _reached(self._unread[0][1], positions):
            self._unread.popleft()

    def is_late(self, now: float) -> bool:
        """Whether an end that was seen `MOST` ago has not been read yet."""
        return bool(self._unread) and now - self._unread[0][0] > MOST


def _within(before: Ends, ends: Ends) -> Ends:
    if all(end <= ends.get(tp, end) for tp, end in before.items()):
        return before
    return {tp: min(end, ends.get(tp, end)) for tp, end in before.items()}


def _reached(ends: Ends, positions: Mapping[TopicPartition, int]) -> bool:
    return all(positions.get(tp, 0) >= end for tp, end in ends.items())


def describe(
    ends: Ends, positions: Mapping[TopicPartition, int], fetching: AIOKafkaConsumer
) -> str | None:
    """Which partitions are not read to these ends, and why, in words; None if all are.

    Args:
        ends: where the partitions end (high water marks).
        positions: up to where they are read.
        fetching: the consumer that reads them, of committed records only.
    """
    told = []
    for tp, end in sorted(ends.items()):
        position = positions.get(tp, 0)
        if position >= end:
            continue
        name = f"{tp.topic}[{tp.partition}]"
        stable, high = fetching.last_stable_offset(tp), fetching.highwater(tp)
        if stable is not None and high is not None and 0 <= stable <= position < high:
            told.append(
                f"a transaction is open in {name} since offset {stable}: {end - position} records "
                "from there on cannot be read before it ends; kafka-transactions.sh can find and "
                "abort a hanging one"
            )
        else:
            told.append(f"{name} is read to {position}, {end - position} records behind its end")
    return "; ".join(told) or None
