"""A reader of a topic in memory whose positions and marks are stored between its lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bus.kafka.connection import Connection
from bus.kafka.log_marks import LogMark
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_identity import TopicIdentity
from support.log import FakeTopic
from support.log_records import TOPIC

A_WHILE = 15.0
"""Seconds of the virtual clock in which a reader does whatever it is going to do."""


class StoredReading:
    """What was read of a topic, how often from the beginning, and what was stored."""

    def __init__(
        self, topic: FakeTopic, *, start: Start = Start.BEGINNING, rewinds: bool = True
    ) -> None:
        self.topic = topic
        self.values: list[Any] = []
        self.rewound = 0
        self.safeguards = Safeguards()
        self.reason: str | None = None
        self.stored: tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None = None
        self.held_by: asyncio.Event | None = None
        """Nothing is stored before this is set."""
        self._start = start
        self._rewinds = rewinds
        self.reader = self._new()

    def _new(self) -> TopicReader:
        return TopicReader(
            connection=Connection("nowhere:1"),
            topic=TOPIC,
            start=self._start,
            handle=lambda record: self.values.append(record.said),
            prepare=self._prepare,
            rewind=self._rewind if self._rewinds else None,
            resume=lambda: self.stored,
            advance=self._advance,
            distrust=lambda: self.reason,
            safeguards=self.safeguards,
            consumer_factory=self.topic.consumer,
        )

    async def _prepare(self) -> None:
        pass

    def _rewind(self) -> None:
        self.rewound += 1
        self.reason = None
        self.values.clear()

    async def _advance(
        self,
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark],
    ) -> None:
        if self.held_by is not None:
            await self.held_by.wait()
        self.stored = (positions, identity or TopicIdentity("", ""), marks)

    @asynccontextmanager
    async def life(self, *, caught_up: bool = True) -> AsyncIterator[TopicReader]:
        """One life of a reader: from where it is caught up until it is ended."""
        self.reader = self._new()
        task = asyncio.create_task(self.reader.run())
        try:
            await self.until("caught_up" if caught_up else "positioned")
            yield self.reader
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    async def until(self, state: str, *, so: bool = True, within: float = A_WHILE) -> float:
        """Wait until the reader is (or is not) in a state; returns the seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while getattr(self.reader, state) is not so:  # noqa: ASYNC110 - the virtual clock's
                await asyncio.sleep(0.001)
        return loop.time() - began

    async def read_to_end(self) -> None:
        """Until everything is read that is there, also if the reader begins a new session."""
        await self.until("caught_up")
        async with asyncio.timeout(A_WHILE):
            await self.reader.catch_up()

    @property
    def sessions(self) -> int:
        return self.reader.statistics().sessions
