"""Gathers the requests of many takedowns into batches: one that is open for each partition.

Theory of operation
-------------------
A record sent on its own through aiokafka costs a look-up of its partition, a future and a
coroutine. So the batches are made here, and one task processes each batch to its end. It enqueues
the batch at aiokafka in the next iteration of the event loop, when it has a live connection to the
partition's leader, and waits for the acknowledgement of the whole.

An enqueued batch still accepts records until aiokafka comes to send it: while the request before it
is in flight, the next takedowns join it. A record that joins then is enqueued at once; so that
happens only over a live connection.

The batches of a partition are enqueued one after the other (`lane`). The others wait here and not
in aiokafka, for as long as Kafka acknowledges what was sent before them. A batch fails only when
Kafka has acknowledged nothing for `patience`. Each takedown has a time of its own by which it must
be enqueued, by its deadline: one whose time is over leaves the batch, and the others wait on.

How large a batch may be: see `batch_size`. A batch that is refused for its size is sent again in
halves, down to single records: Kafka has written nothing of it, each record may fit, and one that
does not must not fail the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from bus.kafka.aiokafka_fixes import is_connected
from bus.kafka.batch_size import BatchSize
from bus.kafka.codec import item_key
from bus.kafka.lane import Lane
from bus.kafka.overload import HELD_UP, is_held_up
from bus.kafka.partitioner import partition_of
from bus.kafka.publication import Trouble, plainly, trouble_of
from bus.kafka.request_batch import NOT_IN_TIME, RequestBatch, check_size, headers_of
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaProducer

    from bus.kafka.aiokafka_fixes import Cause
    from bus.kafka.publication import KafkaPublication
    from bus.kafka.request_batch import Request

logger = logging.getLogger("takedown.kafka")

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

_RECONNECT = 0.05
"""Seconds between two attempts to connect to a leader that refuses connections."""


class Outbox:
    """The batches of one producer.

    Args:
        producer: started, and at most `BATCH_BYTES` for a batch.
        topic: where the requests go.
        patience: seconds for which batches wait while Kafka acknowledges nothing.
        size: how large a batch may be; without it, only refusals show that.
        cause: why a broker cannot be used, where that is known.
        topic_is_gone: called with what is wrong when the topic has no partitions any more.
        tasks: holds the task of each batch that is not settled.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        *,
        cause: Cause,
        topic_is_gone: Callable[[str], object],
        tasks: set[asyncio.Task[None]],
        patience: float = 2.0,
        size: BatchSize | None = None,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._cause = cause
        self._topic_is_gone = topic_is_gone
        self._tasks = tasks
        self._patience = patience
        self._size = size or BatchSize(topic)
        self._lanes: dict[int, Lane] = {}
        self._open: dict[int, RequestBatch] = {}
        self._closed = False

    def close(self) -> None:
        """Enqueue nothing more: the producer is stopped, and what it connects stays open."""
        self._closed = True

    @property
    def moved_at(self) -> float:
        """When Kafka last answered for a batch; the loop's time."""
        return max((lane.moved_at for lane in self._lanes.values()), default=-math.inf)

    def add(
        self,
        publication: KafkaPublication,
        requests: list[Request],
        enqueue_by: float,
        wait_until: float = -math.inf,
    ) -> None:
        """Put a takedown's requests into its partition's batch.

        Args:
            publication: learns what becomes of them.
            requests: each container with its record's value; at least one.
            enqueue_by: the loop's time after which they are not enqueued any more.
            wait_until: the loop's time until which they wait for a leader that refuses
                connections, or for a partition without one.

        Raises:
            KafkaUnavailable: nothing can be enqueued.
        """
        check_size(requests)
        takedown = publication.takedown
        key = item_key(takedown.item_id)
        headers = headers_of(takedown)
        partition = self._partition(key)
        leader = self._leader(partition)
        if leader is None and wait_until <= _now():
            raise KafkaUnavailable(f"{self._topic}[{partition}] has no leader")
        batch = self._open.get(partition)
        if batch is not None and batch.enqueued and not self._is_connected(leader):
            batch = None
        if batch is not None:
            batch.hurry(enqueue_by)
            batch.wait_until = max(batch.wait_until, wait_until)
        added = 0
        try:
            for request in requests:
                if batch is None or not batch.add(publication, request, key, headers, enqueue_by):
                    batch = self._begin(partition, enqueue_by, wait_until)
                    batch.add(publication, request, key, headers, enqueue_by)
                added += 1
        except Exception as error:
            # What was added is settled by its batches.
            logger.exception("Defect while publishing")
            left = [c for c, _ in requests[added:]]
            publication.failed(left, trouble_of(error), handed_over=False)

    def _partition(self, key: bytes) -> int:
        # Known since the producer was started, unless the topic is gone: aiokafka would wait.
        partitions = self._producer.client.cluster.partitions_for_topic(self._topic)
        if not partitions:
            trouble = topic_trouble(self._producer, self._topic)
            self._topic_is_gone(trouble)
            raise KafkaUnavailable(trouble)
        return partition_of(key, len(partitions))

    def _leader(self, partition: int) -> int | None:
        """The broker that leads it; None, and asked for, if there is none."""
        tp = TopicPartition(self._topic, partition)
        leader: int | None = self._producer.client.cluster.leader_for_partition(tp)
        if leader is None or leader == -1:
            self._producer.client.force_metadata_update()
            return None
        return leader

    def _is_connected(self, leader: int | None) -> bool:
        return leader is not None and is_connected(self._producer.client, leader)

    def _begin(self, partition: int, enqueue_by: float, wait_until: float) -> RequestBatch:
        builder = self._producer.create_batch()
        batch = RequestBatch(builder, enqueue_by, wait_until, self._size.most(_now()))
        self._open[partition] = batch
        task = asyncio.get_running_loop().create_task(self._process(batch, partition))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    async def _process(self, batch: RequestBatch, partition: int) -> None:
        try:
            trouble = await self._send(batch, partition)
        except _TOO_LARGE as error:
            if not batch.is_single:
                batch.taken_back()
                self._size.refused(batch.builder.size(), _now())
                halves = batch.halves(self._producer.create_batch)
                await asyncio.gather(*(self._process(half, partition) for half in halves))
                return
            trouble = trouble_of(error)
        batch.settle(trouble)

    async def _send(self, batch: RequestBatch, partition: int) -> Trouble | None:
        """Why it was not acknowledged; None if it was. Raises if it is too large."""
        lane = self._lanes.setdefault(partition, Lane())
        try:
            acknowledged = await self._in_turn(batch, lane, partition)
            if acknowledged is None:
                return plainly("no caller waits for it")
            await acknowledged
            lane.moved_at = _now()
            self._size.accepted(batch.builder.size())
        except TimeoutError:
            return NOT_IN_TIME
        except _TOO_LARGE:
            lane.moved_at = _now()
            raise
        except (KafkaError, KafkaUnavailable, OSError) as error:
            return trouble_of(error)
        except Exception as error:
            logger.exception("Defect while publishing")
            return trouble_of(error)
        finally:
            if self._open.get(partition) is batch:
                del self._open[partition]
        return None

    async def _in_turn(
        self, batch: RequestBatch, lane: Lane, partition: int
    ) -> asyncio.Future[object] | None:
        """The same as `_enqueue`, once it is its turn. Raises TimeoutError."""
        ticket = lane.enter()
        try:
            while True:
                try:
                    async with asyncio.timeout_at(batch.enqueue_by) as batch.timeout:
                        if ticket is not None:
                            await asyncio.wait([ticket])
                        return await self._enqueue(batch, partition)
                except TimeoutError:
                    # While we do not come to read Kafka's answers, nothing shows that it does not.
                    held_up = _now() - batch.enqueue_by > HELD_UP or await is_held_up()
                    # As long as it answers for the others, this one only waits for its turn.
                    since = _now() if held_up else lane.moved_at
                    if since + self._patience > _now() and batch.is_wanted:
                        batch.enqueue_by = since + self._patience
                    elif not batch.leave_out_late(self._producer.create_batch):
                        raise
        finally:
            lane.leave(ticket)

    async def _enqueue(self, batch: RequestBatch, partition: int) -> asyncio.Future[object] | None:
        """The future of its acknowledgement; None if it need not be sent any more."""
        while trouble := await self._why_not_connected(partition):
            if batch.wait_until <= _now():
                raise KafkaUnavailable(trouble)
            await asyncio.sleep(_RECONNECT)
        if not batch.is_wanted:
            return None
        acknowledged: asyncio.Future[object] = await self._producer.send_batch(
            batch.builder, self._topic, partition=partition
        )
        batch.sent()
        return acknowledged

    async def _why_not_connected(self, partition: int) -> str:
        """Connect to the leader, which costs nothing if we are; empty if that worked."""
        if self._closed:
            raise KafkaUnavailable("the producer was replaced before it took the requests")
        leader = self._leader(partition)
        if leader is None:
            return f"{self._topic}[{partition}] has no leader"
        if await self._producer.client.ready(leader):
            return ""
        return self._cause.instead_of(f"broker {leader} refuses connections")


def _now() -> float:
    return asyncio.get_running_loop().time()


def topic_trouble(producer: AIOKafkaProducer, topic: str) -> str:
    """What is wrong with the topic by what Kafka last said of it; empty if nothing."""
    cluster = producer.client.cluster
    if topic in cluster.unauthorized_topics:
        return f"we are not allowed to see the topic {topic}"
    if not cluster.partitions_for_topic(topic):
        return f"the topic {topic} does not exist"
    return ""
