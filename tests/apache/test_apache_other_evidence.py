"""Further ways in which an answer could be false on real Kafka, each from the caller's side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from support.measure import Measure
from support.platform import (
    NOW,
    Names,
    Platform,
    confirm,
    container,
    containers,
    java_partition,
    new_item_id,
    platform,
)
from support.served import Served, eventually, served

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

PARTITION = 1
LATER = "2026-01-02T03:04:06.678Z"
ONE, BOTH = containers(1), containers(2)
SMALL = 20_000


@asynccontextmanager
async def writer(kafka: ApacheKafka, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@pytest.fixture
async def service(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    async with served(kafka.bootstrap_servers, names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as side:
        yield side


def listed(item_id: str, places: list[dict[str, str]], published_at: str) -> dict[str, bytes]:
    value = {"itemId": item_id, "containers": places, "publishedAt": published_at}
    return {"value": json.dumps(value).encode(), "key": item_id.encode()}


def found(asked: Any) -> set[str]:
    return {each["containerId"] for each in asked.got.body["containers"]}


async def known(service: Served, items: Platform, names: Names, places: Any) -> str:
    """An item that the service has read, in the partition that the tests write to."""
    item_id, probe = new_item_id(), new_item_id()
    await items.send(names.published, **listed(item_id, places, NOW), partition=PARTITION)
    await items.send(names.published, **listed(probe, ONE, NOW), partition=PARTITION)
    assert (await service.take_down(probe)).status == 200, "all before it is read"
    return item_id


async def test_nothing_in_an_aborted_transaction_counts_neither_list_nor_null_nor_doubt(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names
) -> None:
    longer, gone, unreadable = [await known(service, items, names, ONE) for _ in range(3)]
    async with writer(kafka, transactional_id=f"a-{names.suffix}") as opener:
        await opener.begin_transaction()
        records: list[dict[str, Any]] = [
            listed(longer, BOTH, LATER),
            {"key": gone.encode(), "value": None},
            {"key": unreadable.encode(), "value": b"no JSON"},
        ]
        for record in records:
            await opener.send_and_wait(names.published, partition=PARTITION, **record)
        asked = await asyncio.gather(*(service.take_down(each, wait=1) for each in (longer, gone)))
        assert {each.status for each in asked} <= {503, 504}, "it may be committed"
        await opener.abort_transaction()
    await service.until_ready()
    asked = [await service.take_down(each) for each in (longer, gone, unreadable)]
    assert [each.status for each in asked] == [200, 200, 200]
    assert [found(each) for each in asked] == [{"c0"}] * 3


async def test_an_undecodable_record_puts_both_the_item_of_its_key_and_that_of_its_value_in_doubt(
    service: Served, items: Platform, names: Names
) -> None:
    of_key, of_value, other = [await known(service, items, names, ONE) for _ in range(3)]
    broken = {"itemId": of_value, "containers": None, "publishedAt": LATER}
    await items.send(names.published, broken, key=of_key, partition=PARTITION)
    await items.send(names.published, b"no JSON", key="no item", partition=PARTITION)
    probe = new_item_id()
    await items.send(names.published, **listed(probe, ONE, NOW), partition=PARTITION)
    assert (await service.take_down(probe)).status == 200
    asked = [await service.take_down(each) for each in (of_key, of_value, other)]
    assert [each.status for each in asked] == [503, 503, 200]
    await items.send(names.published, **listed(of_key, BOTH, LATER), partition=PARTITION)
    await items.send(names.published, None, key=of_value, partition=PARTITION)
    asked = [await service.take_down(each) for each in (of_key, of_value)]
    assert [each.status for each in asked][1] == 404
    assert asked[0].status in {200, 504}, "the deletions are dated before that list"


async def test_the_newest_list_in_a_partition_that_was_just_added_counts(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    statuses = []
    try:
        for more in range(7, 15):
            item_id = new_item_id()
            await items.send(
                names.published,
                **listed(item_id, ONE, NOW),
                partition=java_partition(item_id.encode(), 6),
            )
            fresh = new_item_id()
            response = await admin.create_partitions({names.published: NewPartitions(more)})
            assert not any(code for _, code, _ in response.topic_errors)
            async with writer(kafka) as producer:
                for one in (item_id, fresh):
                    await producer.send_and_wait(
                        names.published, **listed(one, BOTH, LATER), partition=more - 1
                    )
            asked = await asyncio.gather(service.take_down(item_id), service.take_down(fresh))
            statuses += [each.status for each in asked]
            for each in asked:
                assert each.status in {200, 503, 504}, each.got.body
                if each.status == 200:
                    assert found(each) == {"c0", "c1"}
    finally:
        await admin.close()
    measured("newest list in a partition just added", statuses)


@pytest.mark.parametrize("follow", ["true", "false"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_behind_a_backlog_every_worker_and_who_does_not_follow_lists_count_the_newest(
    kafka: ApacheKafka, names: Names, follow: str, workers: int
) -> None:
    settings = {"follow_changes": follow, "workers": workers, "http_port": 0}
    async with (
        served(kafka.bootstrap_servers, names, settings=settings) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
        writer(kafka, linger_ms=5) as bulk,
    ):
        olds = [await known(service, items, names, ONE) for _ in range(8)]
        news = [new_item_id() for _ in range(8)]
        written = [
            await bulk.send(names.published, **listed(new_item_id(), ONE, NOW), partition=PARTITION)
            for _ in range(15_000)
        ]
        await asyncio.gather(*written)
        for one in (*olds, *news):
            await bulk.send_and_wait(
                names.published, **listed(one, BOTH, LATER), partition=PARTITION
            )
        asked = await asyncio.gather(*map(service.take_down, (*olds, *news)))
        for each in asked:
            assert each.status in {200, 503, 504}
            if each.status == 200:
                assert found(each) == {"c0", "c1"}
        assert (await service.take_down(new_item_id())).status in {404, 503}


@pytest.mark.parametrize("workers", [1, 2])
async def test_who_does_not_follow_lists_says_nothing_behind_an_open_transaction(
    kafka: ApacheKafka, names: Names, workers: int
) -> None:
    settings = {"follow_changes": "false", "workers": workers}
    async with (
        served(kafka.bootstrap_servers, names, settings=settings) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
        writer(kafka, transactional_id=f"a-{names.suffix}") as opener,
    ):
        old, new = await known(service, items, names, ONE), new_item_id()
        await opener.begin_transaction()
        never = listed(new_item_id(), ONE, LATER)
        await opener.send_and_wait(names.published, **never, partition=PARTITION)
        for each in (old, new):
            await items.send(names.published, **listed(each, BOTH, LATER), partition=PARTITION)
        asked = await asyncio.gather(service.take_down(old), service.take_down(new))
        assert [each.status for each in asked] == [503, 503]
        assert not items.requests_for(old)
        await service.until_ready(503)
        await opener.abort_transaction()
        await service.until_ready()
        asked = await asyncio.gather(service.take_down(old), service.take_down(new))
        assert [each.status for each in asked] == [200, 200]
        assert [found(each) for each in asked] == [{"c0", "c1"}] * 2


async def test_a_request_that_is_refused_ends_the_takedown_while_two_are_unacknowledged(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    topics = [
        Topic(names.deleted, 3),
        Topic(names.published, 3, config={"cleanup.policy": "compact"}),
        Topic(names.reported, 3, config={"max.message.bytes": str(SMALL)}),
    ]
    await ensure_topics(Connection(kafka.bootstrap_servers), topics)
    huge = container("c" * 2 * SMALL)
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names, timeout=9) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        item_id = await known(service, items, names, [huge, *BOTH])
        # Kafka answers three times: it refuses all together, then the one, and takes the others.
        await proxies[1].latency(answers=1.5)
        asked = await service.take_down(item_id)
        await proxies[1].heal()
        measured("one refused, two unacknowledged: 502 after", asked.got.seconds)
        assert asked.status == 502
        assert asked.got.seconds < 4.4, "the third answer comes after 4.5 s"
        assert asked.got.body["unacknowledged"] == BOTH
        assert asked.got.body["unpublished"] == [huge]
        assert asked.got.body["published"] == []
        await items.wait_for_requests(item_id, 2)


async def test_a_topic_of_which_no_record_can_be_read_is_no_evidence_for_a_404(
    kafka: ApacheKafka, names: Names, tmp_path: Path
) -> None:
    """The name of another topic that exists: it has records, and none of them is a list."""
    topics = [
        Topic(names.deleted, 3),
        Topic(names.published, 3, config={"cleanup.policy": "compact"}),
        Topic(names.reported, 3),
    ]
    await ensure_topics(Connection(kafka.bootstrap_servers), topics)
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
        for number in range(10):
            order = {"orderId": number, "total": "9.90"}
            await items.send(names.published, order, key=f"order {number}")
        settings = {"catalogue_may_be_empty": "false", "catalogue_folder": str(tmp_path)}
        for _ in range(2):  # and so it is after a restart
            async with served(
                kafka.bootstrap_servers, names, ready=False, settings=settings
            ) as service:
                await service.until_detail("catalogue", names.published, "right topic")
        async with served(
            kafka.bootstrap_servers, names, ready=False, settings=settings
        ) as service:
            await service.until_detail("catalogue", "right topic")
            item_id = await service.item(items)
            await service.until_ready()
            assert (await service.take_down(item_id)).status == 200
            assert (await service.take_down(new_item_id())).status == 404


async def test_a_broker_that_restarts_has_no_record_of_a_stored_catalogue_read_again(
    kafka: ApacheKafka, names: Names, tmp_path: Path
) -> None:
    settings = {"catalogue_folder": str(tmp_path)}
    async with served(kafka.bootstrap_servers, names, settings=settings) as service:
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
            item_id = await known(service, items, names, ONE)
        await kafka.stop_node(1)
        await service.until_ready(503)
        await kafka.restart(1)
        await service.until_ready(within=60)
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
            assert (await service.take_down(item_id)).status == 200
        said = [str(event["event"]) for event in service.process.events()]
        assert not [text for text in said if "again from its beginning" in text]
        caught = [text for text in said if text.startswith(f"Reading {names.published}:")]
        assert len(caught) >= 2
        assert all(text.endswith(" 0 records to catch up with") for text in caught[1:]), caught
    async with served(kafka.bootstrap_servers, names, settings=settings) as service:
        said = [str(event["event"]) for event in service.process.events()]
        (text,) = [text for text in said if text.startswith(f"Reading {names.published}:")]
        assert text.endswith(" 0 records to catch up with"), text


async def test_a_topic_that_was_recreated_while_the_service_was_stopped_is_read_anew(
    kafka: ApacheKafka, names: Names, tmp_path: Path
) -> None:
    settings = {"catalogue_folder": str(tmp_path)}
    async with (
        served(kafka.bootstrap_servers, names, settings=settings) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        old = await known(service, items, names, ONE)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([names.published])

        async def is_gone() -> bool:
            return names.published not in await admin.list_topics()

        await eventually(is_gone)
    finally:
        await admin.close()
    await ensure_topics(
        Connection(kafka.bootstrap_servers),
        [Topic(names.published, 6, config={"cleanup.policy": "compact"})],
    )
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
        news = []
        for _ in range(10):
            news.append(new_item_id())
            await items.send(names.published, **listed(news[-1], BOTH, NOW), partition=PARTITION)
        async with served(kafka.bootstrap_servers, names, settings=settings) as service:
            asked = [await service.take_down(each) for each in news]
            assert [each.status for each in asked] == [200] * 10
            assert (await service.take_down(old)).status == 404


async def test_the_ordinary_sequence_is_a_200_also_when_lists_are_dated_by_a_slower_clock(
    service: Served, items: Platform, names: Names
) -> None:
    """A deletion bears the time of its request; the list after it was dated two seconds earlier."""
    item_id = await known(service, items, names, BOTH)
    left = list(BOTH)

    async def clocks_apart(side: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] != item_id:
            return await confirm(side, request)
        place = container(request["containerId"], request["containerType"])
        left.remove(place)
        await side.delete(item_id, place, deleted_at="2026-01-02T03:04:10Z")
        after = listed(item_id, left, "2026-01-02T03:04:08Z")
        await side.send(names.published, **after, partition=PARTITION)
        return None

    items.on_request = clocks_apart
    asked = await service.take_down(item_id)
    assert asked.status == 200
    assert found(asked) == {"c0", "c1"}
    assert {each["confirmedBy"] for each in asked.got.body["containers"]} == {"deletion"}


async def test_a_list_of_the_far_future_is_a_504_and_the_next_list_of_the_item_ends_that(
    service: Served, items: Platform, names: Names
) -> None:
    item_id = await known(service, items, names, ONE)
    future = listed(item_id, ONE, "9999-12-31T23:59:59Z")
    await items.send(names.published, **future, partition=PARTITION)
    asked = await service.take_down(item_id)
    assert asked.status == 504
    assert [each["containerId"] for each in asked.got.body["outstanding"]] == ["c0"]
    await items.send(names.published, **listed(item_id, ONE, NOW), partition=PARTITION)
    probe = new_item_id()
    await items.send(names.published, **listed(probe, ONE, NOW), partition=PARTITION)
    assert (await service.take_down(probe)).status == 200
    assert (await service.take_down(item_id)).status == 200
