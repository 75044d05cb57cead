"""What a reader is made of besides itself: where it begins, what it reports, how its tasks end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiokafka import TopicPartition


class Start(Enum):
    """Where a partition is read from that was never read before."""

    BEGINNING = "beginning"
    END = "end"


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    """What a reader has done and where it is.

    Attributes:
        topic: which topic it reads.
        positioned: every position is known and set, and the log's ends were seen lately.
        caught_up: it has read to where the log ended when it (re)connected, and does not lag.
        partitions: how many it reads.
        positions: the next offset of each partition.
        behind: records between the positions and the log's ends as last seen.
        read: records read.
        skipped: records that could not be read.
        sessions: how often it connected.
        last_error: why it last had to connect again; empty if never.
    """

    topic: str
    positioned: bool
    caught_up: bool
    partitions: int
    positions: dict[int, int]
    behind: int
    read: int
    skipped: int
    sessions: int
    last_error: str


class Lost(Exception):
    """The session cannot go on."""


class Stuck(Lost):
    """The fetcher gets no answers while the broker answers questions."""


def numbers_of(partitions: set[TopicPartition]) -> str:
    """The numbers of these partitions, for people."""
    return ", ".join(str(tp.partition) for tp in sorted(partitions))


async def until_one_fails(*tasks: asyncio.Task[None]) -> None:
    """Wait for tasks of which none ends by itself; ends all of them and raises why one failed.

    A TaskGroup would do this, but when it is cancelled while it ends with an error, it forgets the
    one for the other before Python 3.13, and whoever wanted us to stop would wait for ever.
    """
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    raise errors[0] if errors else Lost("a part of the session was cancelled by itself")


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception that is no group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
