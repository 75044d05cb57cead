"""A service that was away for longer than Kafka keeps null values does not bring items back.

Here Kafka really removes the null value: its cleaner runs all the time, and each segment is small.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support.brokers import running_kafka
from support.measure import Measure
from support.observed import logged
from support.platform import Names, Platform, confirm, containers, new_item_id, platform, read_topic
from support.served import served

from dev.apache_kafka.cluster import ApacheKafka

pytestmark = pytest.mark.apache

RETENTION = 2.0
"""Seconds of `delete.retention.ms`: a stop is longer when the null value is gone."""


@pytest.fixture(scope="module")
def cleaning(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    """A broker whose log cleaner does not rest."""
    properties = {
        "log.cleaner.backoff.ms": "200",
        "log.retention.check.interval.ms": "500",
        "log.segment.delete.delay.ms": "500",
    }
    with running_kafka(ApacheKafka(properties=properties)) as kafka:
        yield kafka


async def make_topic(kafka: ApacheKafka, name: str, *, retention: float) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        config = {
            "cleanup.policy": "compact",
            "delete.retention.ms": str(round(retention * 1000)),
            "segment.ms": "500",
            "min.cleanable.dirty.ratio": "0.001",
            "min.compaction.lag.ms": "0",
        }
        response = await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config)])
        assert not [error for _, error, *_ in response.topic_errors if error]
    finally:
        await admin.close()


async def until_removed(kafka: ApacheKafka, items: Platform, item_id: str) -> float:
    """Write until no record of the item is left; returns the seconds that this took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(60):
        while True:
            # The newest segment is never cleaned: each new record may begin the next one.
            await items.publish_item(new_item_id(), containers(1))
            await asyncio.sleep(0.6)
            left = await read_topic(kafka.bootstrap_servers, items.names.published)
            if not any(record.key == item_id.encode() for record in left):
                return loop.time() - began


@asynccontextmanager
async def away(kafka: ApacheKafka, names: Names, folder: Path) -> AsyncIterator[tuple[Any, str]]:
    """A platform that ends an item while the service is stopped, and the item."""
    async with platform_of(kafka, names) as items:
        item_id = new_item_id()
        async with served(kafka.bootstrap_servers, names, **options(folder)) as service:
            await items.publish_item(item_id, containers(1))
            assert (await service.take_down(item_id)).status == 200
            requested = len(items.requests_for(item_id))
        await items.remove_item(item_id)
        yield items, item_id
        assert len(items.requests_for(item_id)) == requested, "a ghost was requested"


@asynccontextmanager
async def platform_of(kafka: ApacheKafka, names: Names) -> AsyncIterator[Platform]:
    for name in (names.deleted, names.reported):
        await make_topic(kafka, name, retention=86400)
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
        yield items


def options(folder: Path) -> dict[str, Any]:
    return {"catalogue_folder": folder}


async def test_an_item_that_ended_during_a_long_stop_is_a_404_and_not_a_ghost(
    cleaning: ApacheKafka, names: Names, tmp_path: Path, measured: Measure
) -> None:
    await make_topic(cleaning, names.published, retention=RETENTION)
    async with away(cleaning, names, tmp_path) as (items, item_id):
        seconds = await until_removed(cleaning, items, item_id)
        measured("until Kafka has removed a null value", seconds)
        assert seconds > RETENTION
        async with served(cleaning.bootstrap_servers, names, **options(tmp_path)) as service:
            assert (await service.take_down(item_id)).status == 404
            event = await logged(
                service.process, lambda event: "delete.retention.ms" in event.get("event", "")
            )
            assert event["level"] == "warning"


async def test_after_a_short_stop_the_catalogue_is_read_on_and_not_again(
    cleaning: ApacheKafka, names: Names, tmp_path: Path
) -> None:
    await make_topic(cleaning, names.published, retention=86400)
    async with (
        away(cleaning, names, tmp_path) as (_items, item_id),
        served(cleaning.bootstrap_servers, names, **options(tmp_path)) as service,
    ):
        assert (await service.take_down(item_id)).status == 404
        async with service.http.get(f"{service.admin}/statistics") as answer:
            statistics = await answer.json()
        assert statistics["catalogue"]["rebuilds"] == 0
