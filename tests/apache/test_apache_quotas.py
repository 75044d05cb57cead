"""Quotas of Apache Kafka: a throttled answer is an answer, and the cause is named.

The bytes are in messages larger than the quota, so that the broker announces a silence that is
longer than the time after which a fetcher counts as dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from support.observed import logged, scrape
from support.platform import Names, confirm, containers, new_item_id, platform
from support.served import served

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.quotas import set_quotas

SetQuota = Callable[[str, float | None], Awaitable[None]]
TROUBLE = ("no fetch of", "does not answer", "stays silent", "is interrupted")


@pytest.fixture
async def quota(kafka: ApacheKafka) -> AsyncIterator[SetQuota]:
    """Sets a quota for every client."""
    client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers)
    await client.bootstrap()

    async def set_it(name: str, rate: float | None) -> None:
        await set_quotas(client, None, {name: rate})

    yield set_it
    await set_quotas(client, None, {"consumer_byte_rate": None, "producer_byte_rate": None})
    await client.close()


async def test_a_throttled_fetch_ends_no_session_and_readyz_names_the_cause(
    kafka: ApacheKafka, names: Names, quota: SetQuota, tmp_path: Path
) -> None:
    async with (
        served(kafka.bootstrap_servers, names, catalogue_folder=tmp_path) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        await service.until_200(items)
        await quota("consumer_byte_rate", 20_000)
        # 0.4 MB at 20 kB/s: the broker is silent for more than ten seconds.
        for _ in range(20):
            value = {"rubbish": "x" * 20_000}
            await items.send(names.published, value, key=new_item_id())

        event = await logged(
            service.process, lambda event: "is throttled by the broker" in event["event"]
        )
        assert event["level"] == "warning"
        assert "quota" in event["event"]
        # Something new cannot be read meanwhile.
        await items.publish_item(new_item_id(), containers(1))
        detail = await service.until_detail("catalogue", "throttled by the broker", within=30)
        assert names.published in detail
        await quota("consumer_byte_rate", None)
        await service.until_ready(within=60)

        for topic in (names.published, names.deleted):
            sessions = (await scrape(service.admin)).value(
                "takedown_reader_sessions_total", topic=topic
            )
            assert sessions == 1
        said = service.process.text()
        assert not any(words in said for words in TROUBLE)
        await service.until_200(items)


async def test_a_throttled_producer_is_not_replaced_and_readyz_names_the_cause(
    kafka: ApacheKafka, names: Names, quota: SetQuota, tmp_path: Path
) -> None:
    async with (
        served(kafka.bootstrap_servers, names, catalogue_folder=tmp_path) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        item_id = await service.item(items, 200)
        await quota("producer_byte_rate", 2_000)
        await service.take_down(item_id)  # its requests are some 60 kB
        await service.until_detail("kafka producer", "throttled by the broker", within=30)
        await quota("producer_byte_rate", None)
        await service.until_ready(within=60)
        said = service.process.text()
        assert "is throttled by the broker" in said
        assert said.count("The producer is connected") == 1
        assert "stays silent" not in said
