"""A topic that accepts only small batches for a moment costs time, and nothing after it."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from support.measure import Measure
from support.platform import Names, confirm, platform
from support.served import Load, served

from dev.apache_kafka.cluster import ApacheKafka

pytestmark = pytest.mark.apache

SMALL = 700
"""Bytes of a batch that has room for one request, and not for two."""


async def limit(kafka: ApacheKafka, topic: str, size: int) -> None:
    """Set the topic's `max.message.bytes`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        changed = {"max.message.bytes": str(size)}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, changed)
        (response,) = await admin.alter_configs([resource])
        assert [error for error, *_ in response.resources] == [0]
    finally:
        await admin.close()


async def test_a_topic_that_accepts_small_batches_only_for_a_moment_delays_nobody_after_it(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    async with (
        served(kafka.bootstrap_servers, names, timeout=10) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        burst = [await service.item(items, 20) for _ in range(30)]
        async with Load(service, items, at_once=8) as load:
            await load.until_done(20)
            await limit(kafka, names.reported, SMALL)
            await load.until_done(20)
            await asyncio.sleep(1)
            await limit(kafka, names.reported, 1_048_588)
            await asyncio.sleep(3)
            before = len(items.records)
            began = asyncio.get_running_loop().time()
            answers = await asyncio.gather(*map(service.take_down, burst))
            seconds = asyncio.get_running_loop().time() - began
            assert len(items.records) - before >= 20 * len(burst)
        assert not [asked.got.body for asked in service.asked if asked.status != 200]
        assert len(answers) == len(burst)
        measured("30 takedowns of 20 after max.message.bytes was small for a moment", seconds)
        said = [e for e in service.process.events() if "max.message.bytes" in str(e["event"])]
        assert len(said) <= 2, said
        await service.check(kafka.bootstrap_servers, names)


async def test_a_topic_with_room_for_one_request_in_a_batch_works_and_is_asked_first(
    kafka: ApacheKafka, names: Names
) -> None:
    async with served(kafka.bootstrap_servers, names, timeout=10) as service:
        await limit(kafka, names.reported, SMALL)
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
            item_id = await service.item(items, 50)
            assert (await service.take_down(item_id)).status == 200
            await service.check(kafka.bootstrap_servers, names)
