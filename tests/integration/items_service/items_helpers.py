from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bus.kafka.codec import encode, item_key
from bus.kafka.connection import Connection
from bus.kafka.embedded_broker import FETCH_MAX_WAIT
from bus.kafka.topics import Topic, ensure_topics
from demo.items_service.app import ItemsService, ItemsServiceSettings
from domain.messages import Container, ContainerId, ItemId, ItemReported, TakedownId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bus.kafka.embedded_broker import EmbeddedBroker

PARTITIONS = 3
TOPICS = (
    Topic("item_reported", PARTITIONS),
    Topic("item_deleted", PARTITIONS),
    Topic("item_published", PARTITIONS, config={"cleanup.policy": "compact"}),
)
PATIENCE = 15.0

Record = tuple[str, dict[str, Any] | None]
"""A record's key, and its value."""


def new_item() -> ItemId:
    return ItemId(str(uuid.uuid4()))


def in_containers(*names: str) -> list[Container]:
    """Containers named `type:name`."""
    return [Container(ContainerId(name), name.partition(":")[0]) for name in names]


def a_request(item_id: str, container_id: str) -> ItemReported:
    now = datetime.now(UTC)
    return ItemReported(
        takedown_id=TakedownId(str(uuid.uuid4())),
        item_id=ItemId(item_id),
        container_id=ContainerId(container_id),
        container_type=container_id.partition(":")[0],
        reported_at=now,
        deadline=now,
    )


def connection_to(broker: EmbeddedBroker) -> Connection:
    return Connection(broker.address, request_timeout=5.0, fetch_max_wait=FETCH_MAX_WAIT)


class Kafka:
    """The other side: writes requests, and reads back everything that the service wrote."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._producer: AIOKafkaProducer = AIOKafkaProducer(**connection.client_options())
        self._consumer: AIOKafkaConsumer = AIOKafkaConsumer(
            **connection.client_options(),
            fetch_max_wait_ms=round(FETCH_MAX_WAIT * 1000),
            enable_auto_commit=False,
        )
        self.read: dict[str, list[Record]] = {"item_deleted": [], "item_published": []}

    async def open(self) -> None:
        await ensure_topics(self.connection, TOPICS)
        await self._producer.start()
        await self._consumer.start()
        partitions = [TopicPartition(topic, n) for topic in self.read for n in range(PARTITIONS)]
        self._consumer.assign(partitions)
        for partition in partitions:
            self._consumer.seek(partition, 0)

    async def close(self) -> None:
        await self._producer.stop()
        await self._consumer.stop()

    async def write(self, value: bytes | None, key: bytes | None = None) -> None:
        await self._producer.send_and_wait("item_reported", value, key=key)

    async def report(self, item_id: str, *container_ids: str) -> None:
        for container_id in container_ids:
            request = a_request(item_id, container_id)
            await self.write(encode(request), item_key(request.item_id))

    async def until(self, done: Callable[[], object]) -> None:
        """Read on until `done`; what was read is in `read`, in the order of its partition."""
        async with asyncio.timeout(PATIENCE):
            while not done():
                for partition, records in (await self._consumer.getmany(timeout_ms=50)).items():
                    self.read[partition.topic] += [
                        (record.key.decode(), record.value and msgspec.json.decode(record.value))
                        for record in records
                    ]

    def deletions(self, item_id: str) -> list[dict[str, Any]]:
        return [value for key, value in self.read["item_deleted"] if key == item_id and value]

    def deleted_from(self, item_id: str) -> set[str]:
        return {value["containerId"] for value in self.deletions(item_id)}

    def lists(self, item_id: str) -> list[list[str] | None]:
        """The lists published for an item: ids of containers, or None for a null value."""
        return [
            [container["containerId"] for container in value["containers"]] if value else None
            for key, value in self.read["item_published"]
            if key == item_id
        ]


@contextlib.asynccontextmanager
async def running(connection: Connection, **settings: Any) -> AsyncIterator[ItemsService]:
    """The service, and proof that it did not fail for good while it ran."""
    base = ItemsServiceSettings(connection, topics=TOPICS)
    service = ItemsService(replace(base, **settings))
    await service.start()
    try:
        yield service
    finally:
        async with asyncio.timeout(PATIENCE):
            await service.stop()
            await service.wait_failed()


async def publish(service: ItemsService, item_id: ItemId, *container_ids: str) -> None:
    await service._store.publish(item_id, in_containers(*container_ids), datetime.now(UTC))
