"""Records of every form that Kafka has: read rightly or skipped, and the consumer goes on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from support.measure import Measure
from support.observed import scrape
from support.platform import (
    NOW,
    Names,
    Platform,
    confirm,
    container,
    containers,
    new_item_id,
    platform,
)
from support.served import Served, eventually, served

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.cluster import ApacheKafka

pytestmark = pytest.mark.apache

LARGEST = 8_000_000
SMALL = 20_000


@pytest.fixture
async def service(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    large = {"max.message.bytes": str(LARGEST)}
    topics = [
        Topic(names.deleted, 3, config=large),
        Topic(names.published, 3, config=large | {"cleanup.policy": "compact"}),
        Topic(names.reported, 3, config={"max.message.bytes": str(SMALL)}),
    ]
    await ensure_topics(Connection(kafka.bootstrap_servers), topics)
    async with served(kafka.bootstrap_servers, names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names, max_request_size=LARGEST) as side:
        yield side


@asynccontextmanager
async def producer(kafka: ApacheKafka, **options: object) -> AsyncIterator[AIOKafkaProducer]:
    made = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def deletion(item_id: str, place: dict[str, str]) -> bytes:
    return json.dumps({"itemId": item_id, **place, "deletedAt": NOW}).encode()


async def test_compressed_records_are_read_whatever_the_codec(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    codecs = ("gzip", "snappy", "lz4", "zstd")
    item_id = await service.item(items, len(codecs))

    async def once(platform: Platform, _request: dict[str, str]) -> None:
        if len(platform.requests_for(item_id)) < len(codecs):
            return
        for codec, place in zip(codecs, service.lists[item_id], strict=True):
            async with producer(kafka, compression_type=codec) as compressing:
                # Several in one batch, and long enough to be worth compressing.
                for value in (b"x" * 5000, deletion(item_id, place), b"y" * 5000):
                    await compressing.send(names.deleted, value, key=item_id.encode())
                await compressing.flush()

    items.on_request = once
    asked = await service.take_down(item_id)
    assert asked.status == 200
    await service.check(kafka.bootstrap_servers, names)


async def test_a_deletion_in_a_transaction_counts_once_it_is_committed_and_never_if_it_is_aborted(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    committed = await service.item(items)
    aborted = await service.item(items)

    async with producer(kafka, transactional_id=names.suffix) as transactional:

        async def in_a_transaction(_platform: Platform, request: dict[str, str]) -> None:
            item_id = request["itemId"]
            await transactional.begin_transaction()
            value = deletion(item_id, container(request["containerId"]))
            await transactional.send_and_wait(names.deleted, value, key=item_id.encode())
            if item_id == committed:
                await transactional.commit_transaction()
            else:
                await transactional.abort_transaction()

        items.on_request = in_a_transaction
        assert (await service.take_down(committed)).status == 200
        late = await service.take_down(aborted)
        assert late.status == 504
        assert late.got.body["outstanding"] == [container("c0")]
        items.on_request = confirm
        assert (await service.take_down(aborted)).status == 200
    samples = await scrape(service.admin)
    behind = [v for (name, _), v in samples.samples.items() if name == "takedown_reader_behind"]
    assert behind == [] or max(behind) == 0, "markers of transactions are no records to wait for"


async def test_an_item_that_an_aborted_transaction_published_does_not_exist(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    item_id = await service.item(items)
    del service.lists[item_id]  # the transaction below takes its place
    other = item_id[:-4] + "0000"
    async with producer(kafka, transactional_id=names.suffix) as transactional:
        await transactional.begin_transaction()
        value = {"itemId": other, "containers": containers(1), "publishedAt": NOW}
        await transactional.send_and_wait(
            names.published, json.dumps(value).encode(), key=other.encode()
        )
        await transactional.abort_transaction()
        assert (await service.take_down(other)).status == 404
    await service.check(kafka.bootstrap_servers, names)


async def test_an_open_transaction_delays_a_404_and_never_makes_a_wrong_one(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    items.on_request = confirm
    item_id = await service.item(items)
    other = item_id[:-4] + "0000"
    service.lists[other] = containers(1)
    async with producer(kafka, transactional_id=names.suffix) as transactional:
        await transactional.begin_transaction()
        value = {"itemId": other, "containers": containers(1), "publishedAt": NOW}
        await transactional.send_and_wait(
            names.published, json.dumps(value).encode(), key=other.encode()
        )
        asked = await service.take_down(other)
        assert asked.status in {404, 503}
        if asked.status == 404:
            service.asked.remove(asked)  # not published yet: it is what a reader is told
        await transactional.commit_transaction()
    await service.until_ready()  # it was not caught up for as long as that was open
    assert (await service.take_down(other)).status == 200


POISON = [
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"{",
    b'{"itemId": 7}',
    b'{"itemId":"no uuid","containers":[],"publishedAt":"x"}',
    b"[" * 100_000,
]


async def test_poison_and_oversized_records_are_skipped_and_what_follows_is_read(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    item_id = await service.item(items, 2)
    poison = [*POISON, b"x" * 3_000_000, json.dumps({"itemId": "y" * 3_000_000}).encode()]

    async def after_poison(platform: Platform, request: dict[str, str]) -> None:
        for value in poison:
            await platform.send(names.deleted, value, key=item_id)
        await platform.send(names.deleted, None, key=item_id)
        await confirm(platform, request)

    another = new_item_id()
    for value in poison:
        await items.send(names.published, value, key=another)
    items.on_request = after_poison
    asked = await service.take_down(item_id)
    assert asked.status == 200
    assert (await service.take_down(another)).status == 503, "what names it cannot be read"
    measured("200 after 22 unreadable records, 4 of them of 3 MB", asked.got.seconds)

    again = await service.item(items, 1)
    items.on_request = confirm
    assert (await service.take_down(again)).status == 200
    assert (await service.readiness())[0] == 200

    async def all_counted() -> bool:
        samples = await scrape(service.admin)
        topics = (names.published, names.deleted)
        skipped = sum(samples.value("takedown_reader_skipped_total", topic=t) for t in topics)
        return skipped == len(poison) + 2 * (len(poison) + 1)

    await eventually(all_counted)
    skipped = [e for e in service.process.events() if "unreadable" in str(e["event"])]
    assert all({"topic", "partition", "offset"} <= set(event) for event in skipped)
    assert max(len(json.dumps(event)) for event in skipped) < 1000, "poison stays out of the log"
    await service.check(kafka.bootstrap_servers, names)


async def test_a_request_that_is_larger_than_the_broker_allows_is_a_502_with_the_cause_at_once(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    item_id = await service.item(items)
    service.lists[item_id] = [container("c" * 5 * SMALL)]
    await items.publish_item(item_id, service.lists[item_id])
    other = await service.item(items)
    assert (await service.take_down(other, wait=1)).status == 504  # all is read that was published

    asked = await service.take_down(item_id)
    assert asked.status == 502
    assert asked.got.seconds < 0.5
    assert asked.got.body["published"] == []
    assert asked.got.body["unpublished"] == service.lists[item_id]
    assert "arge" in asked.got.body["detail"], asked.got.body["detail"]
    measured("request too large for the broker: 502 after", asked.got.seconds)
    items.on_request = confirm
    assert (await service.take_down(other)).status == 200
    assert (await service.readiness())[0] == 200
    await service.check(kafka.bootstrap_servers, names)


async def test_requests_that_are_too_large_together_or_beside_a_large_one_are_all_written(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    items.on_request = confirm
    each, at_once = 20, 60
    small = [await service.item(items, each) for _ in range(at_once)]
    large = await service.item(items)
    service.lists[large] = [container("c" * 2 * SMALL)]
    await items.publish_item(large, service.lists[large])
    assert (await service.take_down(await service.item(items))).status == 200  # all is read

    refused, *asked = await asyncio.gather(*map(service.take_down, [large, *small]))
    assert Counter(each.status for each in asked) == {200: at_once}
    assert refused.status == 502
    said = [e for e in service.process.events() if "max.message.bytes" in str(e["event"])]
    assert said == [], "the limit is read from the topic, so no batch was too large"
    await service.check(kafka.bootstrap_servers, names)


async def test_a_request_that_is_larger_than_the_client_allows_is_refused_before_anything_is_sent(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    item_id = await service.item(items)
    service.lists[item_id] = [container("c" * 2_000_000)]
    await items.publish_item(item_id, service.lists[item_id])
    other = await service.item(items)
    assert (await service.take_down(other, wait=1)).status == 504
    asked = await service.take_down(item_id)
    assert asked.status in {502, 503}
    assert asked.got.seconds < 0.5
    assert "large" in asked.got.body["detail"], asked.got.body["detail"]
    await service.check(kafka.bootstrap_servers, names)
