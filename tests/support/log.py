"""A topic in memory, for readers: what may happen to it, and what it was asked.

It behaves as in Apache Kafka, or as in the embedded broker, which refuses no position and knows no
leader epochs. It records the requests that it gets, so that a test can count them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

from aiokafka.errors import KafkaConnectionError

from dev.simulation.requests import RawConnection
from support.log_consumer import FakeConsumer
from support.log_records import Partition

_stamps = itertools.count(1)
_ids = itertools.count(1)


class FakeTopic:
    """A topic, the broker that holds it, and the consumers that were made for it."""

    def __init__(self, partitions: int = 2) -> None:
        self.partitions = {number: Partition() for number in range(partitions)}
        self.exists = True
        self.down = False
        self.refuses_positions = True
        self.refuses_fetches = 0
        """The code of the error that every fetch gets, or 0."""
        self.throttles_for = 0
        """Milliseconds of silence that each answer to a fetch announces."""
        self.cluster_id = "cluster"
        self.topic_id = next(_ids)
        self.tells_id = True
        self.tells_epochs = True
        self.quick = True
        """Whether connections can be had for requests as bytes."""
        self.asked: list[str] = []
        self.consumers: list[FakeConsumer] = []
        self.raw: list[RawConnection] = []
        self.quick_rounds = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping_takes = 0.0
        self.answering_takes = 0.0
        self._changed = asyncio.Event()

    # ------------------------------------------------------------------ what happens to it

    def append(self, *values: Any, partition: int = 0) -> None:
        log = self.partitions[partition]
        for value in values:
            log.records.append((log.end, value))
            log.stamps[log.end] = next(_stamps)
            log.end += 1
        self.change()

    def open_transaction(self, partition: int = 0) -> None:
        """From here on nothing can be read, until it ends."""
        log = self.partitions[partition]
        log.stable = log.end
        log.end += 1
        self.change()

    def end_transaction(self, partition: int = 0) -> None:
        log = self.partitions[partition]
        log.stable = None
        log.end += 1
        self.change()

    def abort(self, value: Any, partition: int = 0) -> None:
        """A record of a transaction that is aborted, and its marker."""
        log = self.partitions[partition]
        log.transactional.add(log.end)
        self.append(value, partition=partition)
        self.marker(partition)

    def move_leader(self, partition: int = 0) -> None:
        """Another broker leads, and has all records."""
        log = self.partitions[partition]
        log.epochs.append((log.epoch + 1, log.end))
        self.change()

    def truncate(self, end: int, partition: int = 0, *, new_epoch: bool = True) -> None:
        """A broker leads that has the records below `end` only."""
        log = self.partitions[partition]
        log.records = [(offset, value) for offset, value in log.records if offset < end]
        log.end = end
        if new_epoch:
            kept = [(epoch, since) for epoch, since in log.epochs if since < end or not since]
            log.epochs = [*kept, (log.epoch + 1, end)]

    def marker(self, partition: int = 0) -> None:
        """An offset without a record, as the end of a transaction has."""
        self.partitions[partition].end += 1
        self.change()

    def cut(self, start: int, partition: int = 0) -> None:
        """Retention deletes what lies before `start`."""
        log = self.partitions[partition]
        log.start = start
        log.end = max(log.end, start)
        log.records = [(offset, value) for offset, value in log.records if offset >= start]
        self.change()

    def grow(self, number: int) -> None:
        """Add a partition of this number."""
        self.partitions[number] = Partition()

    def make_again(self, partitions: int = 2) -> None:
        self.partitions = {number: Partition() for number in range(partitions)}
        self.exists = True
        self.topic_id = next(_ids)
        self.change()

    def delete(self) -> None:
        """Fetches that wait are answered at once."""
        self.exists = False
        self.change()

    def refuse_fetches(self, error_code: int) -> None:
        self.refuses_fetches = error_code
        self.change()

    def break_connections(self) -> None:
        """Every consumer that is there has to be replaced."""
        for consumer in self.consumers:
            consumer.broken = True
        for connection in self.raw:
            connection.lose()
        self.change()

    def change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # ------------------------------------------------------------------ what it is asked

    def consumer(self, **options: Any) -> FakeConsumer:
        consumer = FakeConsumer(self, options)
        self.consumers.append(consumer)
        return consumer

    @property
    def fetching(self) -> FakeConsumer:
        """The consumer that fetches now."""
        return next(c for c in reversed(self.consumers) if c.assigned)

    @property
    def sessions(self) -> int:
        return len(self.consumers) // 2

    def spawn(self, answering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(answering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def answer(self, question: str) -> None:
        self.asked.append(question)
        await asyncio.sleep(self.answering_takes)
        if self.down:
            raise KafkaConnectionError("the broker is down")

    async def news(self, seconds: float) -> None:
        changed = self._changed
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            pass
