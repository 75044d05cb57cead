"""A topic in memory, and as much of an aiokafka consumer as a `TopicReader` uses.

It answers as Apache Kafka does, or as the embedded broker, which refuses no position. It keeps what
it is asked, so that a test can count that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.structs import BrokerMetadata

from bus.topic_identity import MetadataResponse_v12

TOPIC = "topic"

UNKNOWN_TOPIC = 3
NOT_LEADER = 6

_stamps = itertools.count(1)
_ids = itertools.count(1)


@dataclass(frozen=True)
class LogRecord:
    topic: str
    partition: int
    offset: int
    value: Any
    key: bytes | None = None


@dataclass
class Partition:
    """One partition's log; `end` may lie behind the last record, as after a marker."""

    start: int = 0
    end: int = 0
    records: list[tuple[int, Any]] = field(default_factory=list)
    leads_since: int | None = None
    """What a new leader takes for the log's end, until it knows better."""


class FakeTopic:
    """A topic, the broker that holds it, and the consumers that were made for it."""

    def __init__(self, partitions: int = 2) -> None:
        self.partitions = {number: Partition() for number in range(partitions)}
        self.exists = True
        self.down = False
        self.refuses_positions = True
        self.refuses_fetches = 0
        """The code of the error that every fetch gets, or 0."""
        self.cluster_id = "cluster"
        self.topic_id = next(_ids)
        self.tells_id = True
        self.asked: list[str] = []
        self.consumers: list[FakeConsumer] = []
        self.stopping_takes = 0.0
        self.answering_takes = 0.0
        self._changed = asyncio.Event()

    # ------------------------------------------------------------------ what happens to it

    def append(self, *values: Any, partition: int = 0) -> None:
        log = self.partitions[partition]
        for value in values:
            log.records.append((log.end, value))
            log.end += 1
        self.change()

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


class _Client:
    def __init__(self, topic: FakeTopic) -> None:
        self._topic = topic
        self.cluster = self
        self.refused: dict[TopicPartition, int] = {}

    def brokers(self) -> list[BrokerMetadata]:
        return [BrokerMetadata(1, "kafka", 9092, None)]

    async def send(self, _node: int, request: Any) -> Any:
        topic = self._topic
        if isinstance(request, FetchRequest):
            refused: list[Any] = [
                (tp.partition, code, -1, -1, [], b"") for tp, code in self.refused.items()
            ]
            return FetchResponse_v4(0, [(TOPIC, refused)])
        await topic.answer("identity")
        name, error = TOPIC, 0 if topic.exists else UNKNOWN_TOPIC
        if not topic.tells_id:
            return MetadataResponse_v5(0, [], topic.cluster_id, 1, [(error, name, False, [])])
        topic_id = (topic.topic_id if topic.exists else 0).to_bytes(16)
        return MetadataResponse_v12(
            0, [], topic.cluster_id, 1, [(error, name, topic_id, False, [], 0, {})], {}
        )

    def add_topic(self, _name: str) -> None:
        pass

    async def force_metadata_update(self) -> bool:
        try:
            await self._topic.answer("metadata")
        except KafkaConnectionError:
            return False
        return True

    async def close(self) -> None:
        pass


class FakeConsumer:
    """A consumer of one `FakeTopic`; told to be `stuck`, its fetches are never answered."""

    def __init__(self, topic: FakeTopic, options: Mapping[str, Any]) -> None:
        self.options = options
        self.assigned: dict[TopicPartition, int] = {}
        self.assignments = 0
        self.stuck = False
        self.broken = False
        self.stopped = False
        self.held: list[LogRecord] = []
        self._topic = topic
        self._client = _Client(topic)
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=options["fetch_max_wait_ms"])
        self._held_until = 0.0
        self._highwater: dict[TopicPartition, int] = {}
        self._stamps: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        await self._topic.answer("start")

    async def stop(self) -> None:
        self.stopped = True
        await asyncio.sleep(self._topic.stopping_takes)

    # ------------------------------------------------------------------ questions

    def partitions_for_topic(self, _topic: str) -> set[int] | None:
        return set(self._topic.partitions) if self._topic.exists else None

    async def end_offsets(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        ends = {tp: self._topic.partitions[tp.partition].end for tp in wanted}
        await self._topic.answer("ends")
        return ends

    async def beginning_offsets(
        self, wanted: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        beginnings = {tp: self._topic.partitions[tp.partition].start for tp in wanted}
        await self._topic.answer("beginnings")
        return beginnings

    # ------------------------------------------------------------------ fetching

    @property
    def held_back_for(self) -> float:
        """Seconds for which the broker holds a fetch back that finds nothing."""
        return float(self._fetcher._fetch_max_wait_ms / 1000)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        # As aiokafka does: whoever assigns again starts from nothing.
        self.assigned = dict.fromkeys(partitions, -1)
        self._highwater.clear()
        self._stamps.clear()
        self._held_until = asyncio.get_running_loop().time() + self.held_back_for
        self.assignments += 1

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.assigned[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.assigned[tp]

    def highwater(self, tp: TopicPartition) -> int | None:
        return self._highwater.get(tp)

    def last_poll_timestamp(self, tp: TopicPartition) -> int | None:
        return self._stamps.get(tp)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[LogRecord]]:
        await asyncio.sleep(0)
        found = self._fetch()
        if not found:
            await self._topic.news(timeout_ms / 1000)
            found = self._fetch()
        if self._client.refused:
            # As aiokafka's fetcher does it: by way of its client, and nothing comes of it.
            await self._client.send(1, FetchRequest(0, 0, 0, 0, []))
        return found

    def _fetch(self) -> dict[TopicPartition, list[LogRecord]]:
        if self.broken:
            raise KafkaConnectionError("the connection broke")
        if self.stuck or self._topic.down:
            return {}
        found = {}
        refused = self._client.refused
        refused.clear()
        for tp, position in self.assigned.items():
            log = self._topic.partitions.get(tp.partition)
            if self._topic.refuses_fetches:
                refused[tp] = self._topic.refuses_fetches
                continue
            if log is None or not self._topic.exists:
                refused[tp] = UNKNOWN_TOPIC
                continue
            if self._topic.refuses_positions and not log.start <= position <= log.end:
                raise OffsetOutOfRangeError({tp: position})
            known_end = log.end if log.leads_since is None else log.leads_since
            self._highwater[tp] = known_end
            self._stamps[tp] = next(_stamps)
            records = [
                LogRecord(TOPIC, tp.partition, offset, value)
                for offset, value in log.records
                if position <= offset < known_end
            ]
            if known_end > position:
                self.assigned[tp] = known_end
            if records:
                found[tp] = records
        if not found and asyncio.get_running_loop().time() < self._held_until:
            self._highwater.clear()  # the first answer is on hold, and nothing known until then
        return found
