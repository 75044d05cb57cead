"""Events for others: what is written is what the contract says, and all of it is read."""

from __future__ import annotations

from collections import Counter

import pytest
from aiokafka import AIOKafkaConsumer

from bus.kafka.codec import decode_item_deleted
from bus.kafka.connection import Connection
from bus.kafka.embedded_broker import EmbeddedBroker
from bus.kafka.topics import ensure_topics
from dev.bench import foreign
from dev.bench.items import PARTITIONS, Topics, item_ids

TOPICS = Topics("foreign")
COUNT = 100  # does not divide by the partitions


async def test_as_many_are_written_as_told_and_all_are_strangers_deletions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreign, "BATCH_BYTES", 1_000)  # so that one batch is not enough
    topic = TOPICS.item_deleted("one")
    async with EmbeddedBroker() as broker:
        await ensure_topics(Connection(broker.address), TOPICS.to_create(["one"]), timeout=30.0)
        await foreign.write(broker.address, topic, COUNT)

        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=broker.address, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            records = [await consumer.getone() for _ in range(COUNT)]
            assert not await consumer.getmany(timeout_ms=200)
        finally:
            await consumer.stop()
        events = [decode_item_deleted(record.value) for record in records]
        assert len({event.item_id for event in events}) == COUNT
        asked_for = {item_id for size in (1, 3, 20) for item_id in item_ids(size, 2000)}
        assert not asked_for.intersection(event.item_id for event in events)
        assert [record.key.decode() for record in records] == [event.item_id for event in events]
        sizes = Counter(record.partition for record in records)
        assert len(sizes) == PARTITIONS
        assert max(sizes.values()) - min(sizes.values()) < PARTITIONS

        found = await foreign.read(broker.address, topic, COUNT)
        assert found["cpu_us"] > 0
