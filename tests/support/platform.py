"""The Items service's side of Kafka, in the hands of a test."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bus.kafka.aiokafka_fixes import stop_consumer, stop_producer

NOW = "2026-01-02T03:04:05.678Z"

_GAP = 0.5
"""Seconds in which a record that was not shown yet turns up."""


def new_item_id() -> str:
    return str(uuid.uuid4())


def container(name: str, kind: str = "group") -> dict[str, str]:
    return {"containerId": name, "containerType": kind}


def containers(count: int) -> list[dict[str, str]]:
    return [container(f"c{number}") for number in range(count)]


@dataclass
class Names:
    """Topic names of one test's own, as settings of the service."""

    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def reported(self) -> str:
        return f"item_reported.{self.suffix}"

    @property
    def deleted(self) -> str:
        return f"item_deleted.{self.suffix}"

    @property
    def published(self) -> str:
        return f"item_published.{self.suffix}"

    def settings(self) -> dict[str, str]:
        return {
            "topic_item_reported": self.reported,
            "topic_item_deleted": self.deleted,
            "topic_item_published": self.published,
        }


OnRequest = Callable[["Platform", dict[str, Any]], Any]


class Platform:
    """Publishes items and deletions, and reads delete requests.

    Args:
        bootstrap: the broker.
        names: the topics.
        fetch_max_wait_ms: short for the embedded broker.
        max_request_size: bytes that may be written at once.
    """

    def __init__(
        self,
        bootstrap: str,
        names: Names,
        *,
        fetch_max_wait_ms: int = 10,
        max_request_size: int = 2**20,
    ) -> None:
        self.names = names
        self.requests: list[dict[str, Any]] = []
        self.records: list[Any] = []
        self.on_request: OnRequest | None = None
        self._arrived = asyncio.Condition()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", max_request_size=max_request_size
        )
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=fetch_max_wait_ms,
        )
        self._following: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, float] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._producer.start()
        await self._consumer.start()
        partitions = await self._producer.partitions_for(self.names.reported)
        assigned = [TopicPartition(self.names.reported, p) for p in partitions]
        self._consumer.assign(assigned)
        await self._consumer.seek_to_beginning(*assigned)
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await stop_consumer(self._consumer, within=3)
        await stop_producer(self._producer, within=3)

    async def _read(self) -> None:
        async for record in self._consumer:
            if self._is_early(record):
                continue
            self.records.append(record)
            request = json.loads(record.value)
            async with self._arrived:
                self.requests.append(request)
                self._arrived.notify_all()
            if self.on_request is not None:
                await self.on_request(self, request)

    def _is_early(self, record: Any) -> bool:
        """Whether the record in front of it was not shown; then both are read again.

        Where several producers write to one partition, the embedded broker may show a record
        before the one in front of it; who goes on from there never sees that one. Records that are
        gone for good (retention) are waited for no longer than `_GAP` seconds.
        """
        partition = TopicPartition(record.topic, record.partition)
        if record.offset > (following := self._following.get(partition, 0)):
            now = asyncio.get_running_loop().time()
            if now - self._gaps.setdefault(partition, now) < _GAP:
                self._consumer.seek(partition, following)
                return True
        self._gaps.pop(partition, None)
        self._following[partition] = record.offset + 1
        return False

    # ----------------------------------------------------------------------- writing

    async def send(
        self, topic: str, value: Any, *, key: str | bytes | None = None, **options: Any
    ) -> Any:
        """Write a value (bytes and None as they are, else as JSON), acknowledged."""
        if value is not None and not isinstance(value, bytes):
            value = json.dumps(value).encode()
        if isinstance(key, str):
            key = key.encode()
        if value is None and key is None:  # which aiokafka does not send by itself
            batch = self._producer.create_batch()
            batch.append(key=None, value=None, timestamp=None)
            return await (await self._producer.send_batch(batch, topic, partition=0))
        return await self._producer.send_and_wait(topic, value, key=key, **options)

    async def post(self, topic: str, value: dict[str, Any], *, key: str) -> asyncio.Future[Any]:
        """Write a value without waiting for the acknowledgement, which is what is returned."""
        written: asyncio.Future[Any] = await self._producer.send(
            topic, json.dumps(value).encode(), key=key.encode()
        )
        return written

    async def publish_items(self, lists: Mapping[str, Sequence[dict[str, str]]]) -> None:
        """Publish many items, and wait for all acknowledgements together."""
        written = [
            await self.post(
                self.names.published,
                {"itemId": item_id, "containers": list(places), "publishedAt": NOW},
                key=item_id,
            )
            for item_id, places in lists.items()
        ]
        await asyncio.gather(*written)

    async def publish_item(
        self, item_id: str, places: Sequence[dict[str, str]], *, published_at: str = NOW
    ) -> None:
        value = {"itemId": item_id, "containers": list(places), "publishedAt": published_at}
        await self.send(self.names.published, value, key=item_id)

    async def remove_item(self, item_id: str) -> None:
        await self.send(self.names.published, None, key=item_id)

    async def delete(
        self, item_id: str, place: dict[str, str], *, deleted_at: str = NOW, **more: Any
    ) -> None:
        value = {"itemId": item_id, **place, "deletedAt": deleted_at, **more}
        await self.send(self.names.deleted, value, key=item_id)

    async def delete_together(self, item_id: str, place: dict[str, str], times: int) -> None:
        """Write one deletion so many times, in one batch: a reader gets all of it or nothing."""
        value = json.dumps({"itemId": item_id, **place, "deletedAt": NOW}).encode()
        batch = self._producer.create_batch()
        for _ in range(times):
            assert batch.append(key=item_id.encode(), value=value, timestamp=None) is not None
        await (await self._producer.send_batch(batch, self.names.deleted, partition=0))

    # ----------------------------------------------------------------------- reading

    def requests_for(self, item_id: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["itemId"] == item_id]

    async def wait_for_requests(
        self, item_id: str, count: int, *, within: float = 10.0
    ) -> list[dict[str, Any]]:
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests_for(item_id)) >= count)
        return self.requests_for(item_id)

    async def all_requests(self, bootstrap: str) -> list[dict[str, Any]]:
        """Every delete request in the topic, read again from its beginning to its end."""
        return [
            json.loads(record.value) for record in await read_topic(bootstrap, self.names.reported)
        ]


async def confirm(platform: Platform, request: dict[str, Any]) -> None:
    """What a good Items service does with a request: delete, and say so."""
    await platform.delete(
        request["itemId"], container(request["containerId"], request["containerType"])
    )


async def confirm_soon(platform: Platform, request: dict[str, Any]) -> None:
    """The same without waiting for Kafka, for many at once."""
    await platform.post(
        platform.names.deleted,
        {
            "itemId": request["itemId"],
            "containerId": request["containerId"],
            "containerType": request["containerType"],
            "deletedAt": NOW,
        },
        key=request["itemId"],
    )


def java_partition(key: bytes, partitions: int) -> int:
    """The partition that Java's default partitioner chooses (murmur2 of the key)."""
    word = 0xFFFFFFFF
    hashed = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        mixed = int.from_bytes(key[at : at + 4], "little") * 0x5BD1E995 & word
        mixed = (mixed ^ mixed >> 24) * 0x5BD1E995 & word
        hashed = hashed * 0x5BD1E995 & word ^ mixed
    if key[whole:]:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * 0x5BD1E995 & word
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & word
    return (hashed ^ hashed >> 15 & word) % 2**31 % partitions


@asynccontextmanager
async def platform(
    bootstrap: str, names: Names, *, on_request: OnRequest | None = None, **options: Any
) -> AsyncIterator[Platform]:
    side = Platform(bootstrap, names, **options)
    side.on_request = on_request
    try:
        await side.start()
        yield side
    finally:
        await side.stop()


async def read_topic(bootstrap: str, topic: str, *, fetch_max_wait_ms: int = 10) -> list[Any]:
    """Every record of a topic, from its beginning to its end as it is now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=fetch_max_wait_ms,
    )
    records: list[Any] = []
    await consumer.start()
    try:
        await consumer._client._wait_on_metadata(topic)
        assigned = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
        consumer.assign(assigned)
        await consumer.seek_to_beginning(*assigned)
        async with asyncio.timeout(20):
            while True:
                for batch in (await consumer.getmany(timeout_ms=50)).values():
                    records += batch
                # The high water mark comes with each fetch and is exact on every broker.
                marks = [consumer.highwater(tp) for tp in assigned]
                positions = [await consumer.position(tp) for tp in assigned]
                if all(m is not None and p >= m for m, p in zip(marks, positions, strict=True)):
                    return records
    finally:
        await stop_consumer(consumer, within=3)
