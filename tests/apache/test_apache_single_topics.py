"""Topics that change below a service that runs: they grow, are cut, are made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from support.answers import take_down
from support.measure import Measure
from support.observed import logged
from support.platform import (
    Names,
    Platform,
    confirm,
    containers,
    java_partition,
    new_item_id,
    platform,
    read_topic,
)
from support.served import Load, Served, served

from apache_kafka.apache import ApacheKafka
from apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

PARTITIONS = 6
MORE = 12


@asynccontextmanager
async def administration(kafka: ApacheKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@pytest.fixture
async def admin(kafka: ApacheKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    async with administration(kafka) as client:
        yield client


@pytest.fixture
async def service(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    async with served(kafka.bootstrap_servers, names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as side:
        yield side


def item_of_a_new_partition() -> str:
    while True:
        item_id = new_item_id()
        if java_partition(item_id.encode(), MORE) >= PARTITIONS:
            return item_id


async def test_partitions_that_are_added_under_load_lose_no_reply_and_hide_no_item(
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    async with Load(service, items) as load:
        await load.until_done(20)
        for topic in (names.deleted, names.reported, names.published):
            response = await admin.create_partitions({topic: NewPartitions(MORE)})
            assert not [error for _, error, *_ in response.topic_errors if error]
        # One who knows all partitions from the start; both confirm, and twice does no harm.
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as wide:
            assert len(await wide._producer.partitions_for(names.published)) == MORE
            first = []
            for _ in range(20):
                item_id = item_of_a_new_partition()
                service.lists[item_id] = containers(2)
                await wide.publish_item(item_id, service.lists[item_id])
                first.append(await service.take_down(item_id))
            await load.until_done(50)
            await load.stop()
    assert {asked.status for asked in first} == {200}, "never a 404, and no reply is lost"
    report = await service.check(kafka.bootstrap_servers, names)
    assert set(report.statuses) == {200}
    used = {
        topic: {record.partition for record in await read_topic(kafka.bootstrap_servers, topic)}
        for topic in (names.deleted, names.reported, names.published)
    }
    assert all(max(numbers) >= PARTITIONS for numbers in used.values()), used
    measured("partitions added: slowest first reply", max(a.got.seconds for a in first))
    measured("partitions added", report)


async def test_records_that_retention_deletes_before_they_are_read_are_reported_as_lost(
    kafka: ApacheKafka,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        await service.until_200(items)
        await proxies[1].stall()
        lost = new_item_id()
        for place in containers(5):
            await items.delete(lost, place)
        partition = java_partition(lost.encode(), PARTITIONS)
        records = [
            record
            for record in await read_topic(kafka.bootstrap_servers, names.deleted)
            if record.partition == partition
        ]
        end = records[-1].offset + 1
        await admin.delete_records(
            {TopicPartition(names.deleted, partition): RecordsToDelete(before_offset=end)}
        )
        await service.until_ready(503)
        await proxies[1].heal()
        measured("unread records deleted: first 200 after", await service.until_200(items))
        event = await logged(service.process, lambda e: "were never read" in str(e["event"]))
        assert f"{names.deleted}[{partition}] has lost 5 records" in event["event"]
        assert event["level"] == "error"
        report = await service.check(kafka.bootstrap_servers, names, kept=False)
        assert set(report.statuses) <= {200, 503}


async def test_records_that_retention_deletes_after_they_were_read_are_not_missed(
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    admin: AIOKafkaAdminClient,
    names: Names,
) -> None:
    await service.until_200(items)
    ends = dict.fromkeys(range(PARTITIONS), 0)
    for record in await read_topic(kafka.bootstrap_servers, names.deleted):
        ends[record.partition] = max(ends[record.partition], record.offset + 1)
    await admin.delete_records(
        {
            TopicPartition(names.deleted, partition): RecordsToDelete(before_offset=end)
            for partition, end in ends.items()
            if end
        }
    )
    for _ in range(20):
        assert (await service.take_down(await service.item(items, 2))).status == 200
    assert (await service.readiness())[0] == 200
    assert not [e for e in service.process.events() if e["level"] == "error"]
    await service.check(kafka.bootstrap_servers, names, kept=False)


@pytest.mark.parametrize("which", ["deleted", "published", "reported"])
async def test_a_topic_that_is_deleted_is_made_again_and_no_404_is_false_meanwhile(
    which: str,
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    await service.until_200(items)
    topic = {
        "deleted": names.deleted,
        "published": names.published,
        "reported": names.reported,
    }[which]
    loop = asyncio.get_running_loop()
    await admin.delete_topics([topic])
    began = loop.time()
    async with asyncio.timeout(30):
        while topic not in await admin.list_topics():
            # An item that exists is called unknown only once the topic, made again, is empty.
            item_id = next(iter(service.lists))
            got = await take_down(service.http, service.door, item_id, [("Prefer", "wait=1")])
            assert got.status in {200, 503, 504} or topic in await admin.list_topics(), got
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as fresh:
        await service.until_ready()
        await service.until_200(fresh)
        measured(f"item_{which} deleted: working again after", loop.time() - began)
        statuses = [
            (await service.take_down(await service.item(fresh, 2))).status for _ in range(10)
        ]
    assert statuses == [200] * 10
    assert topic in str(service.process.events())
