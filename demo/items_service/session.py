"""One session with Kafka: from finding it until it is lost.

Each session begins by asking whether Kafka still is what this service remembers. A broker that
keeps everything in memory has forgotten it all after a restart; then the requests are read from
their start again, and every item is published again.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from bus.kafka.aiokafka_fixes import stop_consumer, stop_producer
from bus.kafka.codec import decode_item_reported
from bus.kafka.topics import ensure_topics
from demo.items_service.clients import STOP_TIMEOUT, make_consumer, make_producer
from demo.items_service.errors import SessionLost
from demo.items_service.offsets import has_forgotten
from demo.items_service.relay import Relay
from domain.errors import UnreadableRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

    from demo.items_service.context import SessionContext
    from demo.items_service.outbox import Partition
    from domain.messages import ItemReported

logger = logging.getLogger("takedown.items_service")

_BATCH = 1000
_MOST_WORKING = 10_000
"""Requests that containers take their time for; more are carried out at once."""
_IDLE_POLL_MS = 1000
_CHECK_EVERY = 1.0
"""Seconds between two looks at whether Kafka still is what it was."""


class Session:
    """Reads requests and publishes what came of them, until Kafka is lost.

    Args:
        context: what outlives the session.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._consumer: AIOKafkaConsumer = make_consumer(context.connection)
        self._producer: AIOKafkaProducer = make_producer(context.connection)
        self._relay = Relay(
            context.outbox,
            self._producer,
            topic_deleted=context.topic_deleted,
            topic_published=context.topic_published,
            injector=context.injector,
        )
        self._next_offsets: dict[Partition, int] = {}
        self._partitions: list[TopicPartition] = []
        self._working = 0

    async def open(self) -> None:
        """Find Kafka and the topics, and find the place to go on reading.

        Raises:
            KafkaUnavailable, KafkaError, OSError: Kafka cannot be reached, or not just now.
        """
        context = self._context
        await ensure_topics(context.connection, context.topics, create=context.topics_create)
        await self._producer.start()
        await self._consumer.start()
        for topic in (context.topic_reported, context.topic_deleted, context.topic_published):
            numbers = await self._producer.partitions_for(topic)
            self._partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
        marks = await context.positions.marks()
        if has_forgotten(marks, await self._end_offsets()):
            logger.warning("Kafka has forgotten what was in it; every item is published again")
            await context.positions.start_over()
            marks = {}
        self._relay.marks = marks
        await self._go_on_reading()

    async def _go_on_reading(self) -> None:
        remembered = await self._context.positions.next_offsets()
        reported = [tp for tp in self._partitions if tp.topic == self._context.topic_reported]
        starts = await self._consumer.beginning_offsets(reported)
        self._consumer.assign(reported)
        for tp in reported:
            partition = (tp.topic, tp.partition)
            # What was cleaned away before it was read is not to be had any more.
            offset = max(starts[tp], remembered.get(partition, 0))
            self._next_offsets[partition] = offset
            self._consumer.seek(tp, offset)

    async def run(self) -> None:
        """Work until Kafka is lost or the caller cancels.

        Raises:
            ExceptionGroup: of the failures that ended it: `SessionLost`, or Kafka's own, and
                anything else is a defect or the database's.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._relay.run())
            tasks.create_task(self._consume(tasks))
            tasks.create_task(self._watch())

    async def close(self) -> None:
        """Let go of Kafka. It takes a few seconds at most, whatever Kafka does."""
        await asyncio.gather(
            stop_consumer(self._consumer, within=STOP_TIMEOUT),
            stop_producer(self._producer, within=STOP_TIMEOUT),
        )

    async def _consume(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            batches = await self._fetch()
            if not batches:
                continue
            records = [record for batch in batches.values() for record in batch]
            prompt = []
            for request in self._readable(records):
                work = self._context.injector.work(request.container_id, request.container_type)
                if work and self._working < _MOST_WORKING:
                    self._working += 1
                    tasks.create_task(self._work(request, work))
                else:
                    prompt.append(request)
            next_offsets = {
                (tp.topic, tp.partition): batch[-1].offset + 1 for tp, batch in batches.items()
            }
            await self._apply(prompt, next_offsets)
            self._next_offsets |= next_offsets

    async def _work(self, request: ItemReported, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._working -= 1
        await self._apply([request], {})

    async def _apply(
        self, requests: list[ItemReported], next_offsets: dict[Partition, int]
    ) -> None:
        context = self._context
        applied = await context.store.apply(
            requests, next_offsets, datetime.now(UTC), context.injector.faults.refuses
        )
        context.tally.add(applied)
        for request in applied.unknown:
            logger.info(
                "Item %s was never in container %s; the request is ignored",
                request.item_id,
                request.container_id,
            )

    async def _fetch(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            batches: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                timeout_ms=_IDLE_POLL_MS, max_records=_BATCH
            )
        except OffsetOutOfRangeError as error:
            partitions = [(tp.topic, tp.partition) for tp in error.args[0]]
            await self._requests_are_gone(partitions)
        return batches

    async def _requests_are_gone(self, partitions: Iterable[Partition]) -> NoReturn:
        await self._context.positions.read_again(partitions)
        raise SessionLost(f"{self._context.topic_reported} no longer has what was read from it")

    def _readable(self, records: Iterable[ConsumerRecord]) -> list[ItemReported]:
        requests = []
        for record in records:
            try:
                requests.append(decode_item_reported(record.value))
            except UnreadableRecord as error:
                self._context.tally.unreadable += 1
                logger.warning(
                    "Skipped a record that cannot be read: %s, partition %d, offset %d: %s",
                    record.topic,
                    record.partition,
                    record.offset,
                    error,
                )
        return requests

    async def _watch(self) -> None:
        """Nothing else tells of a broker that came back empty: a fetch there just stays quiet."""
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            # Before the question: they move on while it is answered.
            marks = dict(self._relay.marks)
            topics = await self._consumer.topics()
            for topic in {tp.topic for tp in self._partitions}:
                if topic not in topics:
                    raise SessionLost(f"topic {topic} is gone")
            if has_forgotten(marks, await self._end_offsets()):
                raise SessionLost("Kafka has lost its memory")
            if shrunk := [
                at for at, offset in self._next_offsets.items() if self._is_past(at, offset)
            ]:
                await self._requests_are_gone(shrunk)
            found = self._consumer.partitions_for_topic(self._context.topic_reported) or set()
            if len(found) > len(self._next_offsets):
                raise SessionLost(f"{self._context.topic_reported} has more partitions now")

    def _is_past(self, partition: Partition, offset: int) -> bool:
        # From the last fetch, not from a question for the end: see `Relay.marks`.
        highwater: int | None = self._consumer.highwater(TopicPartition(*partition))
        return highwater is not None and 0 <= highwater < offset

    async def _end_offsets(self) -> dict[Partition, int]:
        written = [tp for tp in self._partitions if tp.topic != self._context.topic_reported]
        async with asyncio.timeout(self._context.connection.request_timeout):
            ends = await self._consumer.end_offsets(written)
        return {(tp.topic, tp.partition): offset for tp, offset in ends.items()}
