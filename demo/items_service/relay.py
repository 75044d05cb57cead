"""From the outbox to Kafka, in the order in which it was filled; and the faults on the way.

Nothing waits for one acknowledgement at a time: records are handed to the producer as they come,
and what was acknowledged meanwhile leaves the outbox in one transaction. After a failure the
session ends, and the next one reads the outbox again from its start, so nothing is lost and
nothing overtakes.

An item's list is sent when every deletion of that item was acknowledged (or dropped by a fault),
and `LIST_PAUSE` after the last of them: a program that reads both topics by two connections then
receives the deletion first. Several changes of a list that wait together are sent as one.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from bus.kafka.codec import encode, item_key
from demo.items_service.errors import SessionLost

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

    from demo.items_service.faults import FaultInjector
    from demo.items_service.outbox import Outbox, Partition
    from domain.messages import ItemDeleted, ItemId, ItemPublished

_READ = 1000
MOST_IN_FLIGHT = 10_000
"""Records sent and not yet acknowledged, those held back by a fault included."""

LIST_PAUSE = 0.05
"""Seconds between the acknowledgement of an item's deletion and the list that results from it."""


class Relay:
    """Publishes the outbox by one producer, for as long as one session lasts.

    Args:
        outbox: what is to be published.
        producer: a started producer.
        topic_deleted: where deletions go.
        topic_published: where items' lists go.
        injector: decides what goes wrong.
    """

    def __init__(
        self,
        outbox: Outbox,
        producer: AIOKafkaProducer,
        *,
        topic_deleted: str,
        topic_published: str,
        injector: FaultInjector,
    ) -> None:
        self._outbox = outbox
        self._producer = producer
        self._topic_deleted = topic_deleted
        self._topic_published = topic_published
        self._injector = injector
        self.marks: dict[Partition, int] = {}
        """For each partition, the first offset of the batch that Kafka acknowledged last.

        The first, because a batch's first offset is all that the embedded broker's "end offset"
        tells of it (it is the last batch's first, plus one). What was known before goes in first.
        """
        self._acknowledged_now: set[Partition] = set()
        self._copies_left: dict[int, int] = {}
        self._deletions: dict[int, ItemId] = {}
        self._acknowledged: list[tuple[int, ...]] = []
        self._news = asyncio.Event()
        self._changed: dict[ItemId, list[int]] = {}
        self._due: dict[ItemId, None] = {}
        self._is_due = asyncio.Event()
        self._fewer_due = asyncio.Event()
        self._deleted_lately: dict[ItemId, float] = {}
        self._failure: BaseException | None = None
        self._room = asyncio.Semaphore(MOST_IN_FLIGHT)

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            ExceptionGroup: of the failures that ended it: `SessionLost`, or Kafka's own.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish(tasks))
            tasks.create_task(self._publish_lists())
            tasks.create_task(self._settle())

    async def _publish(self, tasks: asyncio.TaskGroup) -> None:
        last_id = 0
        while True:
            self._outbox.filled.clear()
            entries = await self._outbox.read_after(last_id, _READ)
            for entry in entries:
                if entry.deletion is None:
                    self._changed.setdefault(entry.item_id, []).append(entry.id)
                    self._consider(entry.item_id)
                else:
                    await self._room.acquire()
                    await self._dispatch(entry.id, entry.deletion, tasks)
                last_id = entry.id
            while len(self._due) >= _READ:
                self._fewer_due.clear()
                await self._fewer_due.wait()
            if not entries:
                await self._outbox.filled.wait()

    async def _dispatch(
        self, entry_id: int, deletion: ItemDeleted, tasks: asyncio.TaskGroup
    ) -> None:
        self._deletions[entry_id] = deletion.item_id
        delays = self._injector.delays()
        self._copies_left[entry_id] = len(delays)
        if not delays:
            self._done((entry_id,))
        for delay in delays:
            if delay > 0:
                tasks.create_task(self._send_later(entry_id, deletion, delay))
            else:
                await self._send_deletion(entry_id, deletion)

    async def _send_later(self, entry_id: int, deletion: ItemDeleted, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._send_deletion(entry_id, deletion)

    async def _send_deletion(self, entry_id: int, deletion: ItemDeleted) -> None:
        await self._send((entry_id,), self._topic_deleted, deletion.item_id, deletion)

    # -------------------------------------------------------------------------- lists

    def _consider(self, item_id: ItemId) -> None:
        """This item's list has changed, or a deletion of it was acknowledged."""
        if item_id not in self._changed:
            return
        if (pause := self._pause_left(item_id)) > 0:
            asyncio.get_running_loop().call_later(pause, self._consider, item_id)
        else:
            self._due[item_id] = None
            self._is_due.set()

    def _pause_left(self, item_id: ItemId) -> float:
        """Seconds until this item's list may be sent."""
        at = self._deleted_lately.get(item_id)
        return 0.0 if at is None else at + LIST_PAUSE - asyncio.get_running_loop().time()

    async def _publish_lists(self) -> None:
        while True:
            await self._is_due.wait()
            due = list(islice(self._due, _READ))
            for item_id in due:
                del self._due[item_id]
            if not self._due:
                self._is_due.clear()
            # One that was sent meanwhile is due no more. One that is not among the answers, or
            # whose last deletion was settled just now, is considered again because of that.
            due = [item_id for item_id in due if item_id in self._changed]
            for item_id, current in (await self._outbox.lists(due)).items():
                if self._pause_left(item_id) > 0:
                    continue
                await self._room.acquire()
                entry_ids = tuple(self._changed.pop(item_id))
                self._copies_left[entry_ids[0]] = 1
                await self._send(entry_ids, self._topic_published, item_id, current)
            self._fewer_due.set()

    # -------------------------------------------------------------------------- sending

    async def _send(
        self,
        entry_ids: tuple[int, ...],
        topic: str,
        item_id: ItemId,
        event: ItemDeleted | ItemPublished | None,
    ) -> None:
        value = None if event is None else encode(event)
        future = await self._producer.send(topic, value, key=item_key(item_id))
        future.add_done_callback(partial(self._acknowledge, entry_ids))

    def _acknowledge(self, entry_ids: tuple[int, ...], future: asyncio.Future[object]) -> None:
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
        self._copies_left[entry_ids[0]] -= 1
        if self._copies_left[entry_ids[0]] == 0:
            self._done(entry_ids)

    def _mark(self, partition: Partition, offset: int) -> None:
        # A whole batch is acknowledged within one turn of the loop, its first record first, and
        # a partition has only one batch on its way at a time.
        if partition not in self._acknowledged_now:
            if not self._acknowledged_now:
                asyncio.get_running_loop().call_soon(self._acknowledged_now.clear)
            self._acknowledged_now.add(partition)
            self.marks[partition] = offset

    def _done(self, entry_ids: tuple[int, ...]) -> None:
        del self._copies_left[entry_ids[0]]
        self._acknowledged.append(entry_ids)
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
            await self._outbox.settle(chain.from_iterable(acknowledged), self.marks)
            for entry_ids in acknowledged:
                self._room.release()
                if (item_id := self._deletions.pop(entry_ids[0], None)) is not None:
                    self._on_deletion_settled(item_id)

    def _on_deletion_settled(self, item_id: ItemId) -> None:
        now = asyncio.get_running_loop().time()
        self._deleted_lately.pop(item_id, None)  # the newest is the last one
        self._deleted_lately[item_id] = now
        while (first := next(iter(self._deleted_lately.items())))[1] < now - LIST_PAUSE:
            del self._deleted_lately[first[0]]
        self._consider(item_id)
