"""A reader of a topic in memory, on a virtual clock, and what it has read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bus.kafka.connection import Connection
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.topic_identity import TopicIdentity
from support.log import FakeTopic
from support.log_records import TOPIC

A_WHILE = 15.0
"""Seconds of the virtual clock in which the reader does whatever it is going to do."""


class Reading:
    """A reader, what it has read, and how often it began again."""

    def __init__(self, topic: FakeTopic, *, start: Start, rewinds: bool) -> None:
        self.values: list[Any] = []
        self.rewound = 0
        self.prepared = 0
        self.handle: Callable[[Any], None] = self.values.append
        self.reader = TopicReader(
            connection=Connection("nowhere:1"),
            topic=TOPIC,
            start=start,
            handle=lambda record: self.handle(record.said),
            prepare=self._prepare,
            rewind=self._rewind if rewinds else None,
            consumer_factory=topic.consumer,
        )

    async def _prepare(self) -> None:
        self.prepared += 1

    def _rewind(self) -> None:
        self.rewound += 1
        self.values.clear()

    async def positioned(self, *, so: bool = True, within: float = A_WHILE) -> float:
        """Wait until it is (or is not) positioned; returns how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while self.reader.positioned is not so:  # noqa: ASYNC110 - the virtual clock's
                await asyncio.sleep(0.001)
        return loop.time() - began

    @property
    def identity(self) -> TopicIdentity:
        """Which log it reads."""
        assert self.reader.identity is not None
        return self.reader.identity

    @property
    def sessions(self) -> int:
        """How often it has connected."""
        return self.reader.statistics().sessions


@asynccontextmanager
async def reading(
    topic: FakeTopic, *, start: Start = Start.BEGINNING, rewinds: bool = False
) -> AsyncIterator[Reading]:
    """A reader that runs and is positioned."""
    it = Reading(topic, start=start, rewinds=rewinds)
    task = asyncio.create_task(it.reader.run())
    try:
        await it.positioned()
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert all(consumer.stopped for consumer in topic.consumers)


async def caught_up(it: Reading) -> None:
    async with asyncio.timeout(A_WHILE):
        await it.reader.catch_up()
