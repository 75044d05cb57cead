"""From the outbox to Kafka, in the order in which it was filled; and the faults on the way.

Nothing waits for one acknowledgement at a time: records are handed to the producer as they come,
and what was acknowledged meanwhile leaves the outbox in one transaction. After a failure the
session ends, and the next one reads the outbox again from its start, so nothing is lost and
nothing overtakes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from bus.codec import encode, item_key
from items_service.errors import SessionLost
from messages import ItemDeleted

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

    from items_service.faults import Dice
    from items_service.outbox import Entry, Outbox, Partition

_READ = 1000
MOST_IN_FLIGHT = 10_000
"""Entries read and not yet acknowledged, those held back by a fault included."""


class Relay:
    """Publishes the outbox by one producer, for as long as one session lasts.

    Args:
        outbox: what is to be published.
        producer: a started producer.
        topic_deleted: where deletions go.
        topic_published: where items' lists go.
        dice: decides what goes wrong.
    """

    def __init__(
        self,
        outbox: Outbox,
        producer: AIOKafkaProducer,
        *,
        topic_deleted: str,
        topic_published: str,
        dice: Dice,
    ) -> None:
        self._outbox = outbox
        self._producer = producer
        self._topic_deleted = topic_deleted
        self._topic_published = topic_published
        self._dice = dice
        self.marks: dict[Partition, int] = {}
        """For each partition, the first offset of the batch that Kafka acknowledged last.

        The first, because a batch's first offset is all that the embedded broker's "end offset"
        tells of it (it is the last batch's first, plus one). What was known before goes in first.
        """
        self._acknowledged_now: set[Partition] = set()
        self._copies_left: dict[int, int] = {}
        self._acknowledged: list[int] = []
        self._news = asyncio.Event()
        self._failure: BaseException | None = None
        self._room = asyncio.Semaphore(MOST_IN_FLIGHT)

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            ExceptionGroup: of the failures that ended it: `SessionLost`, or Kafka's own.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish(tasks))
            tasks.create_task(self._settle())

    async def _publish(self, tasks: asyncio.TaskGroup) -> None:
        last_id = 0
        while True:
            self._outbox.filled.clear()
            entries = await self._outbox.read_after(last_id, _READ)
            for entry in entries:
                await self._room.acquire()
                await self._dispatch(entry, tasks)
                last_id = entry.id
            if not entries:
                await self._outbox.filled.wait()

    async def _dispatch(self, entry: Entry, tasks: asyncio.TaskGroup) -> None:
        delays = self._dice.delays() if isinstance(entry.event, ItemDeleted) else (0.0,)
        self._copies_left[entry.id] = len(delays)
        if not delays:
            self._done(entry.id)
        for delay in delays:
            if delay > 0:
                tasks.create_task(self._send_later(entry, delay))
            else:
                await self._send(entry)

    async def _send_later(self, entry: Entry, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._send(entry)

    async def _send(self, entry: Entry) -> None:
        is_deletion = isinstance(entry.event, ItemDeleted)
        future = await self._producer.send(
            self._topic_deleted if is_deletion else self._topic_published,
            None if entry.event is None else encode(entry.event),
            key=item_key(entry.item_id),
        )
        future.add_done_callback(partial(self._acknowledge, entry.id))

    def _acknowledge(self, entry_id: int, future: asyncio.Future[object]) -> None:
        if future.cancelled():
            self._fail(SessionLost("the producer gave a record up"))
            return
        error = future.exception()
        if error is not None:
            self._fail(error)
            return
        record = future.result()
        partition: Partition = (record.topic, record.partition)  # type: ignore[attr-defined]
        offset: int = record.offset  # type: ignore[attr-defined]
        if offset <= self.marks.get(partition, -1):
            self._fail(SessionLost(f"{partition[0]} starts anew: Kafka has lost its memory"))
            return
        self._mark(partition, offset)
        self._copies_left[entry_id] -= 1
        if self._copies_left[entry_id] == 0:
            self._done(entry_id)

    def _mark(self, partition: Partition, offset: int) -> None:
        # A whole batch is acknowledged within one turn of the loop, its first record first, and
        # a partition has only one batch on its way at a time.
        if partition not in self._acknowledged_now:
            if not self._acknowledged_now:
                asyncio.get_running_loop().call_soon(self._acknowledged_now.clear)
            self._acknowledged_now.add(partition)
            self.marks[partition] = offset

    def _done(self, entry_id: int) -> None:
        del self._copies_left[entry_id]
        self._acknowledged.append(entry_id)
        self._news.set()

    def _fail(self, error: BaseException) -> None:
        # The first failure says why; those that follow from it do not.
        self._failure = self._failure or error
        self._news.set()

    async def _settle(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._failure is not None:
                raise self._failure
            acknowledged, self._acknowledged = self._acknowledged, []
            await self._outbox.settle(acknowledged, self.marks)
            for _ in acknowledged:
                self._room.release()
