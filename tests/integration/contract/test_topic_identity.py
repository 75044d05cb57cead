"""Which log a topic is, as both brokers tell it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError

from bus.kafka.connection import Connection
from bus.kafka.topic_identity import TopicIdentity, find_identity
from bus.kafka.topics import Topic, ensure_topics


@pytest.fixture
async def client(bootstrap: str) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make(bootstrap: str, *topics: str) -> None:
    await ensure_topics(Connection(bootstrap), [Topic(name, 3) for name in topics])


async def until_unknown(client: AIOKafkaClient, topic: str) -> None:
    """A broker answers that a topic is deleted a moment before all of it knows that."""
    with contextlib.suppress(UnknownTopicOrPartitionError):
        async with asyncio.timeout(10):
            while True:
                await find_identity(client, topic)
                await asyncio.sleep(0.05)


async def once_known(client: AIOKafkaClient, topic: str) -> TopicIdentity:
    """The same for one that was created."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(UnknownTopicOrPartitionError):
                return await find_identity(client, topic)
            await asyncio.sleep(0.05)


async def test_a_topic_keeps_its_identity_until_it_is_recreated(
    bootstrap: str, client: AIOKafkaClient, admin: AIOKafkaAdminClient
) -> None:
    one, other = f"one-{uuid.uuid4()}", f"other-{uuid.uuid4()}"
    await make(bootstrap, one, other)
    first = await find_identity(client, one)
    assert first.cluster_id
    assert re.fullmatch(r"[\w-]{22}", first.topic_id)
    assert await find_identity(client, one) == first
    beside = await find_identity(client, other)
    assert beside.cluster_id == first.cluster_id
    assert beside.differs_from(first)
    await admin.delete_topics([one])
    await until_unknown(client, one)
    await make(bootstrap, one)
    again = await once_known(client, one)
    assert again.differs_from(first)
    assert again.cluster_id == first.cluster_id


async def test_asking_about_a_topic_that_is_not_there_does_not_make_it(
    client: AIOKafkaClient, admin: AIOKafkaAdminClient
) -> None:
    missing = f"missing-{uuid.uuid4()}"
    with pytest.raises(UnknownTopicOrPartitionError):
        await find_identity(client, missing)
    assert missing not in await admin.list_topics()
