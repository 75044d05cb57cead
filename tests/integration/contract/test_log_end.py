"""Where a log ends and whether it is the one that was read, as both brokers tell it.

What the quick way needs of aiokafka's inside is seen to work here, and breaks here when a new
version of it has changed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from bus.kafka.connection import Connection
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.safeguards import Safeguards
from bus.kafka.topics import Topic, ensure_topics


@asynccontextmanager
async def reading(
    bootstrap: str, topic: str, values: list[Any], safeguards: Safeguards
) -> AsyncIterator[TopicReader]:
    async def prepare() -> None:
        await ensure_topics(Connection(bootstrap), [Topic(topic, 3)])

    reader = TopicReader(
        connection=Connection(bootstrap, fetch_max_wait=0.01),
        topic=topic,
        start=Start.BEGINNING,
        handle=lambda record: values.append(record.value),
        prepare=prepare,
        safeguards=safeguards,
    )
    task = asyncio.create_task(reader.run())
    try:
        async with asyncio.timeout(15):
            while not reader.caught_up:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.01)
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_is_acknowledged_is_read_when_the_log_is_proven_to_be_read(
    bootstrap: str,
) -> None:
    topic = f"end-{uuid.uuid4()}"
    values: list[Any] = []
    safeguards = Safeguards()
    async with reading(bootstrap, topic, values, safeguards) as reader:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            for number in range(60):
                value = b"%d" % number
                await producer.send_and_wait(topic, value, partition=number % 3)
                await reader.catch_up()
                assert values[-1] == value
        finally:
            await producer.stop()
        assert reader.proofs.quick >= 55, "the quick way was taken"
        assert reader.proofs.quick + reader.proofs.long == 60
    assert set(safeguards.list()) <= {f"{topic}: leader epochs"}, "the embedded broker has none"
