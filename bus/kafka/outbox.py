"""Gathers the requests of many takedowns into batches: one that is open for each partition.

Theory of operation
-------------------
A record sent on its own through aiokafka costs a look-up of its partition, a future and a
coroutine. So the batches are made here, and one task carries each batch to its end. It hands the
batch over in the next turn of the loop, when it has a live connection to the partition's leader,
and waits for the acknowledgement of the whole.

A batch that was handed over can still take records, until aiokafka comes to send it: while the
request before it is under way, the next takedowns join it. A record that joins it then is handed
over at once; so that is done only over a connection that lives.

A partition's batches are handed over one after the other (`lane`). The others wait here and not
in aiokafka, for as long as Kafka acknowledges what was sent before them. A batch fails only when
Kafka has acknowledged nothing for the time of a hand-over. Each takedown has a time of its own for
that, by its deadline: one whose time is over leaves the batch, and the others wait on.

How large a batch may be: see `batch_size`. A batch that is refused for its size is sent again in
halves, down to single records: none of it was written, each record may fit, and one that does not
must cost nobody else his.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, TypeAlias

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from bus.kafka.aiokafka_fixes import is_connected
from bus.kafka.batch_size import BATCH_BYTES, BatchSize
from bus.kafka.codec import headers_of_request, item_key
from bus.kafka.lane import Lane
from bus.kafka.partitioner import partition_of
from bus.kafka.publication import Trouble, plainly, trouble_of
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder

    from bus.kafka.aiokafka_fixes import Cause
    from bus.kafka.codec import Headers
    from bus.kafka.publication import KafkaPublication
    from domain.messages import Container, Takedown

logger = logging.getLogger("takedown.kafka")

_NOT_IN_TIME = plainly("Kafka did not take the requests in time")

Request: TypeAlias = "tuple[Container, bytes]"
"""A container, and the value of the record that asks for its deletion."""

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

_LENGTHS = 24
"""Bytes of a record in a batch besides its key, value and headers, at most: lengths and deltas."""

HELD_UP = 0.1
"""Seconds by which a timer is late if this process was stopped, or its loop is overloaded."""

_TOGETHER = 0.1
"""Seconds within which takedowns whose time is nearly over leave a batch at the same time."""

_PROBE = 0.04
_RECONNECT = 0.05
"""Seconds between two attempts to connect to a leader that refuses connections."""

LARGEST_RECORD = 1024 * 1024 - 1024
"""Bytes of a value that Kafka's brokers take unless told otherwise, less key and headers."""


class Outbox:
    """The batches of one producer.

    Args:
        producer: started, and at most `BATCH_BYTES` for a batch.
        topic: where the requests go.
        patience: seconds for which batches wait while Kafka acknowledges nothing.
        size: how large a batch may be; without it, only refusals show that.
        cause: why a broker cannot be used, where that is known.
        topic_is_gone: is told what is wrong when the topic has no partitions any more.
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
        self._open: dict[int, _Batch] = {}
        self._closed = False

    def close(self) -> None:
        """Hand nothing more over: the producer is stopped, and what it connects stays open."""
        self._closed = True

    @property
    def moved_at(self) -> float:
        """When Kafka last answered for a batch; the loop's time."""
        return max((lane.moved_at for lane in self._lanes.values()), default=-math.inf)

    def add(
        self,
        publication: KafkaPublication,
        requests: list[Request],
        hand_over_by: float,
        wait_until: float = -math.inf,
    ) -> None:
        """Put a takedown's requests into its partition's batch.

        Args:
            publication: hears what becomes of them.
            requests: each container with its record's value; at least one.
            hand_over_by: the loop's time after which they are not handed over any more.
            wait_until: the loop's time until which they wait for a leader that refuses
                connections, or for a partition without one.

        Raises:
            KafkaUnavailable: nothing can be handed over.
        """
        check_size(requests)
        takedown = publication.takedown
        key = item_key(takedown.item_id)
        headers = _headers(takedown)
        partition = self._partition(key)
        leader = self._leader(partition)
        if leader is None and wait_until <= _now():
            raise KafkaUnavailable(f"{self._topic}[{partition}] has no leader")
        batch = self._open.get(partition)
        if batch is not None and batch.handed_over and not self._is_connected(leader):
            batch = None
        if batch is not None:
            batch.hurry(hand_over_by)
            batch.wait_until = max(batch.wait_until, wait_until)
        taken = 0
        try:
            for request in requests:
                if batch is None or not batch.take(
                    publication, request, key, headers, hand_over_by
                ):
                    batch = self._begin(partition, hand_over_by, wait_until)
                    batch.take(publication, request, key, headers, hand_over_by)
                taken += 1
        except Exception as error:
            # What was taken is settled by its batches.
            logger.exception("Defect while publishing")
            left = [c for c, _ in requests[taken:]]
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

    def _begin(self, partition: int, hand_over_by: float, wait_until: float) -> _Batch:
        builder = self._producer.create_batch()
        batch = _Batch(builder, hand_over_by, wait_until, self._size.most(_now()))
        self._open[partition] = batch
        task = asyncio.get_running_loop().create_task(self._carry(batch, partition))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    async def _carry(self, batch: _Batch, partition: int) -> None:
        try:
            trouble = await self._send(batch, partition)
        except _TOO_LARGE as error:
            if not batch.is_single:
                batch.taken_back()
                self._size.refused(batch.builder.size(), _now())
                halves = batch.halves(self._producer.create_batch)
                await asyncio.gather(*(self._carry(half, partition) for half in halves))
                return
            trouble = trouble_of(error)
        batch.settle(trouble)

    async def _send(self, batch: _Batch, partition: int) -> Trouble | None:
        """Why it was not acknowledged; None if it was. Raises if it is too large."""
        lane = self._lanes.setdefault(partition, Lane())
        try:
            acknowledged = await self._in_turn(batch, lane, partition)
            if acknowledged is None:
                return plainly("nobody waits for it any more")
            await acknowledged
            lane.moved_at = _now()
            self._size.accepted(batch.builder.size())
        except TimeoutError:
            return _NOT_IN_TIME
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
        self, batch: _Batch, lane: Lane, partition: int
    ) -> asyncio.Future[object] | None:
        """The same as `_hand_over`, once it is its turn. Raises TimeoutError."""
        ticket = lane.enter()
        try:
            while True:
                try:
                    async with asyncio.timeout_at(batch.hand_over_by) as batch.timeout:
                        if ticket is not None:
                            await asyncio.wait([ticket])
                        return await self._hand_over(batch, partition)
                except TimeoutError:
                    # While we do not come to read Kafka's answers, nothing shows that it does not.
                    held_up = _now() - batch.hand_over_by > HELD_UP or await is_held_up()
                    # As long as it answers for the others, this one only waits for its turn.
                    since = _now() if held_up else lane.moved_at
                    if since + self._patience > _now() and batch.is_wanted:
                        batch.hand_over_by = since + self._patience
                    elif not batch.leave_out_late(self._producer.create_batch):
                        raise
        finally:
            lane.leave(ticket)

    async def _hand_over(self, batch: _Batch, partition: int) -> asyncio.Future[object] | None:
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


class _Batch:
    """Records for one partition, and whose they are."""

    __slots__ = (
        "_by",
        "_requests",
        "_room",
        "builder",
        "hand_over_by",
        "handed_over",
        "timeout",
        "wait_until",
    )

    def __init__(
        self,
        builder: BatchBuilder,
        hand_over_by: float,
        wait_until: float,
        room: int = BATCH_BYTES,
    ) -> None:
        self._room = room
        self.builder = builder
        self.hand_over_by = hand_over_by
        self.wait_until = wait_until
        self.handed_over = False
        self.timeout: asyncio.Timeout | None = None
        self._requests: dict[KafkaPublication, list[Request]] = {}
        self._by: dict[KafkaPublication, float] = {}

    def hurry(self, by: float) -> None:
        """Hand over by then at the latest."""
        if by < self.hand_over_by and not self.handed_over:
            self.hand_over_by = by
            if self.timeout is not None:
                self.timeout.reschedule(by)

    def take(
        self,
        publication: KafkaPublication,
        request: Request,
        key: bytes,
        headers: Headers,
        by: float,
    ) -> bool:
        """Take one more record, to be handed over by then; False if full or on its way already."""
        value = request[1]
        if self._room < BATCH_BYTES and self._is_full_with(_size_of(key, value, headers)):
            return False
        if self.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self._requests.setdefault(publication, []).append(request)
        self._by[publication] = by
        if self.handed_over:
            publication.sent(1)
        return True

    def _is_full_with(self, size: int) -> bool:
        return bool(self._requests) and self.builder.size() + size > self._room

    def sent(self) -> None:
        """All of it is on its way to Kafka."""
        self.handed_over = True
        for publication, requests in self._requests.items():
            publication.sent(len(requests))

    def taken_back(self) -> None:
        """Kafka has refused all of it: nothing of it is there."""
        if self.handed_over:
            for publication, requests in self._requests.items():
                publication.taken_back(len(requests))

    @property
    def is_wanted(self) -> bool:
        """A takedown that has a record in it still waits."""
        return not all(publication.stopped for publication in self._requests)

    @property
    def is_single(self) -> bool:
        """There is one record in it."""
        return sum(map(len, self._requests.values())) == 1

    def halves(self, create: Callable[[], BatchBuilder]) -> tuple[_Batch, _Batch]:
        """The same records again, in two batches of their own."""
        records = [(whose, request) for whose, own in self._requests.items() for request in own]
        middle = len(records) // 2
        by, until = self.hand_over_by, self.wait_until
        halves = _Batch(create(), by, until), _Batch(create(), by, until)
        for half, part in zip(halves, (records[:middle], records[middle:]), strict=True):
            for publication, request in part:
                half.take_again(publication, request, self._by[publication])
        return halves

    def take_again(self, publication: KafkaPublication, request: Request, by: float) -> None:
        """Take a record that fitted into a batch before."""
        takedown = publication.takedown
        self.take(publication, request, item_key(takedown.item_id), _headers(takedown), by)

    def leave_out_late(self, create: Callable[[], BatchBuilder]) -> bool:
        """Fail the takedowns whose time is over, and keep the others; False if there are none.

        Nothing of it was handed over, so what is left out never will be.
        """
        soon = _now() + _TOGETHER
        kept = {p: by for p, by in self._by.items() if by > soon and not p.stopped}
        if not kept:
            return False
        before, self._requests, self._by = self._requests, {}, {}
        self.builder = create()
        for publication, requests in before.items():
            if publication in kept:
                for request in requests:
                    self.take_again(publication, request, kept[publication])
            else:
                containers = [container for container, _ in requests]
                publication.failed(containers, _NOT_IN_TIME, handed_over=False)
        self.hand_over_by = min(kept.values())
        return True

    def settle(self, trouble: Trouble | None) -> None:
        """Tell everyone whose records are in it: acknowledged, or why not."""
        for publication, requests in self._requests.items():
            containers = [container for container, _ in requests]
            if trouble is not None:
                publication.failed(containers, trouble, handed_over=self.handed_over)
            else:
                publication.acknowledged(containers)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _size_of(key: bytes, value: bytes, headers: Headers) -> int:
    content = sum(len(name) + len(text) + 4 for name, text in headers)
    return len(key) + len(value) + content + _LENGTHS


def _headers(takedown: Takedown) -> Headers:
    return headers_of_request(takedown.takedown_id, takedown.traceparent)


async def is_held_up() -> bool:
    """Whether the loop is overloaded now: a timer that is on time by chance does not show it."""
    due = _now() + _PROBE
    await asyncio.sleep(_PROBE)
    return _now() - due > _PROBE


def check_size(requests: list[Request]) -> None:
    """Raise `KafkaUnavailable` if one of these requests is larger than Kafka accepts."""
    if any(len(value) > LARGEST_RECORD for _, value in requests):
        reason = "a delete request is larger than Kafka takes"
        raise KafkaUnavailable(reason, plain=reason)


def topic_trouble(producer: AIOKafkaProducer, topic: str) -> str:
    """What is wrong with the topic by what Kafka last said of it; empty if nothing."""
    cluster = producer.client.cluster
    if topic in cluster.unauthorized_topics:
        return f"we are not allowed to see the topic {topic}"
    if not cluster.partitions_for_topic(topic):
        return f"the topic {topic} does not exist"
    return ""
