"""As much of an aiokafka consumer, and of the client below it, as a `TopicReader` uses.

Each is of one topic in memory (`support.log.FakeTopic`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    OffsetOutOfRangeError,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.structs import BrokerMetadata

from bus.kafka.epoch_ends import OffsetForLeaderEpochRequest
from bus.kafka.metadata_request import MetadataResponse_v12
from dev.simulation.requests import (
    RawConnection,
    batch,
    batch_header,
    epoch_end,
    epoch_ends,
    fetched,
)
from support.log_records import OUT_OF_RANGE, TOPIC, UNKNOWN_TOPIC, LogRecord

if TYPE_CHECKING:
    from support.log import FakeTopic

_polls = itertools.count(1)


class _Fetched(FetchRequest):  # type: ignore[misc] # aiokafka carries no types
    """A consumer's own fetch, and what it brings: its client sees that before it is decoded."""

    def __init__(self) -> None:
        super().__init__(0, 0, 0, 0, [])
        self.batches: dict[int, bytes] = {}
        self.refused: dict[int, int] = {}


class _Client:
    def __init__(self, topic: FakeTopic) -> None:
        self._topic = topic
        self.cluster = self
        self._conns = self

    def brokers(self) -> list[BrokerMetadata]:
        return [BrokerMetadata(1, "kafka", 9092, None)]

    def get(self, _which: object) -> None:
        return None

    def __getitem__(self, _which: object) -> RawConnection:
        connection = RawConnection(self._answer)
        self._topic.raw.append(connection)
        return connection

    async def ready(self, _node: int, *, group: object = None) -> bool:
        return self._topic.quick and not self._topic.down

    def _answer(self, connection: RawConnection, numbers: list[int]) -> None:
        self._topic.spawn(self._answer_later(connection, numbers))

    async def _answer_later(self, connection: RawConnection, numbers: list[int]) -> None:
        topic = self._topic
        known = [(n, topic.partitions[n]) for n in numbers if n in topic.partitions]
        ends = [(n, 0, log.end, log.epoch) for n, log in known]
        topic.quick_rounds += 1
        try:
            await topic.answer("ends")
            await topic.answer("identity")
        except KafkaConnectionError:
            connection.lose()
        else:
            connection.answered(ends, self._description())

    async def send(self, _node: int, request: Any) -> Any:
        topic = self._topic
        if isinstance(request, _Fetched):
            throttled = self._topic.throttles_for
            return fetched(TOPIC, request.batches, request.refused, throttled=throttled)
        if isinstance(request, FetchRequest):
            ((_, wanted),) = request.prepare({1: (4, 4)}).topics
            await topic.answer("records")
            return self._records(wanted)
        if isinstance(request, OffsetForLeaderEpochRequest):
            if not topic.tells_epochs:
                raise IncompatibleBrokerVersion
            ((_, wanted),) = request.prepare({23: (2, 4)}).topics
            await topic.answer("epochs")
            logs = topic.partitions
            return epoch_ends(
                TOPIC, [(0, n, *epoch_end(logs[n].epochs, logs[n].end, e)) for n, _, e in wanted]
            )
        await topic.answer("identity")
        return self._description()

    def _records(self, wanted: list[tuple[int, int, int]]) -> Any:
        batches, refused = {}, {}
        for number, offset, _ in wanted:
            log = self._topic.partitions[number]
            if not log.start <= offset <= log.end:
                refused[number] = OUT_OF_RANGE
                continue
            batches[number] = b"".join(
                batch(
                    log.record(number, at, value),
                    log.epoch_of(at),
                    transactional=at in log.transactional,
                )
                for at, value in log.records
                if at >= offset
            )
        return fetched(TOPIC, batches, refused)

    def _description(self) -> Any:
        topic = self._topic
        name, error = TOPIC, 0 if topic.exists else UNKNOWN_TOPIC
        if not topic.tells_id:
            old: list[Any] = [(0, number, 1, [], [], []) for number in topic.partitions]
            return MetadataResponse_v5(0, [], topic.cluster_id, 1, [(error, name, False, old)])
        topic_id = (topic.topic_id if topic.exists else 0).to_bytes(16)
        partitions: list[Any] = [
            (0, number, 1, log.epoch, [], [], [], {}) for number, log in topic.partitions.items()
        ]
        return MetadataResponse_v12(
            0, [], topic.cluster_id, 1, [(error, name, topic_id, False, partitions, 0, {})], {}
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
        self._stable: dict[TopicPartition, int] = {}
        self._fetched = _Fetched()
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
        logs = self._topic.partitions
        committed = self.options["isolation_level"] == "read_committed"
        ends = {
            tp: logs[tp.partition].last_stable if committed else logs[tp.partition].end
            for tp in wanted
        }
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
        # As aiokafka does: a second assignment drops everything.
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

    def last_stable_offset(self, tp: TopicPartition) -> int | None:
        return self._stable.get(tp)

    def last_poll_timestamp(self, tp: TopicPartition) -> int | None:
        return self._stamps.get(tp)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[LogRecord]]:
        await asyncio.sleep(0)
        found = self._fetch()
        if not found:
            await self._topic.news(timeout_ms / 1000)
            found = self._fetch()
        if self._fetched.batches or self._fetched.refused:
            # As aiokafka's fetcher does it: by way of its client.
            await self._client.send(1, self._fetched)
        return found

    def _fetch(self) -> dict[TopicPartition, list[LogRecord]]:
        if self.broken:
            raise KafkaConnectionError("the connection broke")
        if self.stuck or self._topic.down:
            return {}
        found = {}
        self._fetched = _Fetched()
        refused = self._fetched.refused
        for tp, position in self.assigned.items():
            log = self._topic.partitions.get(tp.partition)
            if self._topic.refuses_fetches:
                refused[tp.partition] = self._topic.refuses_fetches
                continue
            if log is None or not self._topic.exists:
                refused[tp.partition] = UNKNOWN_TOPIC
                continue
            if self._topic.refuses_positions and not log.start <= position <= log.end:
                raise OffsetOutOfRangeError({tp: position})
            known_end = log.end if log.leads_since is None else log.leads_since
            self._highwater[tp] = known_end
            self._stable[tp] = log.last_stable
            self._stamps[tp] = next(_polls)
            known_end = min(known_end, log.last_stable)
            records = [
                log.record(tp.partition, offset, value)
                for offset, value in log.records
                if position <= offset < known_end and offset not in log.transactional
            ]
            if known_end > position:
                self.assigned[tp] = known_end
                self._fetched.batches[tp.partition] = b"".join(
                    batch_header(offset, log.epoch_of(offset) if self._topic.tells_epochs else -1)
                    for offset in range(position, known_end)
                )
            if records:
                found[tp] = records
        if not found and asyncio.get_running_loop().time() < self._held_until:
            self._highwater.clear()  # the first answer is on hold, and nothing known until then
        return found
