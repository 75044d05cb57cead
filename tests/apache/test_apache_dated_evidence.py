"""A 200 and a 404 on real Kafka are about what was acknowledged before the request came.

The service is ready and lags: behind a backlog, or behind an open transaction.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from support.measure import Measure
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
from support.served import Served, served

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

BACKLOG = 30_000
SLOW = 600_000
"""Bytes a second: a fetch takes less than two seconds, and all of the backlog half a minute."""
PARTITION = 1
LATER = "2026-01-02T03:04:06.678Z"
ONE, BOTH = containers(1), containers(2)


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


def requested(items: Platform, item_id: str) -> set[str]:
    return {request["containerId"] for request in items.requests_for(item_id)}


async def known(service: Served, items: Platform, names: Names, places: Any) -> str:
    """An item that the service has read, in the partition that the tests write to."""
    item_id = new_item_id()
    await items.send(names.published, **_as_value(item_id, places), partition=PARTITION)
    probe = new_item_id()
    await items.send(names.published, **_as_value(probe, ONE), partition=PARTITION)
    assert (await service.take_down(probe)).status == 200, "all before it is read"
    return item_id


def _as_value(item_id: str, places: Any) -> dict[str, Any]:
    value = {"itemId": item_id, "containers": list(places), "publishedAt": NOW}
    return {"value": value, "key": item_id}


async def test_a_200_counts_the_list_that_was_acknowledged_behind_a_backlog(
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    names: Names,
    measured: Measure,
) -> None:
    """The usual case, and a race: a reader that is not held back is fast, so it is mostly a 200."""
    async with writer(kafka, linger_ms=5) as bulk:
        item_id = await known(service, items, names, ONE)
        written = []
        for _ in range(BACKLOG):
            other = listed(new_item_id(), ONE, NOW)
            written.append(await bulk.send(names.published, **other, partition=PARTITION))
        await asyncio.gather(*written)
        newest = listed(item_id, BOTH, LATER)
        await bulk.send_and_wait(names.published, **newest, partition=PARTITION)
        asked = await service.take_down(item_id)
    measured("behind a backlog: answer", f"{asked.status} after {asked.got.seconds:.3f} s")
    assert asked.status in {200, 503, 504}
    if asked.status == 200:
        found = {each["containerId"] for each in asked.got.body["containers"]}
        assert found == {place["containerId"] for place in BOTH}
        assert requested(items, item_id) == found


async def test_no_200_comes_before_a_newer_list_is_read_that_cannot_be_fetched_yet(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    """As behind a backlog, but always: what the reader fetches is held on its way for a second."""
    fetching = f"{names.published}-fetching".encode()
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        old, new = await known(service, items, names, ONE), new_item_id()
        await proxies[1].stall(lambda opening: fetching in opening)
        for item_id in (old, new):
            newest = listed(item_id, BOTH, LATER)
            await items.send(names.published, **newest, partition=PARTITION)
        asking = [asyncio.create_task(service.take_down(item_id)) for item_id in (old, new)]
        await asyncio.sleep(1.0)
        early = [task.result() for task in asking if task.done()]
        await proxies[1].heal()
        asked = await asyncio.gather(*asking)
        measured("held on its way: answers", [each.status for each in asked])
        assert not early, "nothing was proven yet"
        for each in asked:
            assert each.status == 200
            assert {c["containerId"] for c in each.got.body["containers"]} == {"c0", "c1"}
            assert requested(items, each.item_id) == {"c0", "c1"}


@dataclass
class Behind:
    """A service that is `SLOW` to read a backlog, and the item whose newest list is behind it."""

    service: Served
    items: Platform
    item_id: str
    catch_up: Callable[[], Awaitable[None]]


@asynccontextmanager
async def behind_a_slow_backlog(
    kafka: ApacheKafka, names: Names, **settings: object
) -> AsyncIterator[Behind]:
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names, settings=settings) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
        writer(kafka, linger_ms=5) as bulk,
    ):
        item_id = await known(service, items, names, ONE)
        await proxies[1].drip(SLOW)
        long = [container("c" * 500)]
        written = [
            await bulk.send(
                names.published, **listed(new_item_id(), long, NOW), partition=PARTITION
            )
            for _ in range(BACKLOG)
        ]
        await asyncio.gather(*written)
        newest = listed(item_id, BOTH, LATER)
        await bulk.send_and_wait(names.published, **newest, partition=PARTITION)
        yield Behind(service, items, item_id, proxies[1].heal)


@pytest.mark.parametrize(
    "settings",
    [{}, {"follow_changes": "false"}, {"workers": 2}],
    ids=["as usual", "lists are not followed", "two workers"],
)
async def test_behind_a_backlog_of_seconds_there_is_no_200_by_the_old_list(
    kafka: ApacheKafka, names: Names, measured: Measure, settings: dict[str, object]
) -> None:
    """As the first test, and no race: the answer is due before the backlog can be read."""
    async with behind_a_slow_backlog(kafka, names, **settings) as it:
        asked = await it.service.take_down(it.item_id)
        measured("behind a slow backlog: answer", f"{asked.status} after {asked.got.seconds:.3f} s")
        assert asked.status in {503, 504}, asked.got.body
        await it.catch_up()
        await it.service.until_ready()
        asked = await it.service.take_down(it.item_id)
        assert asked.status == 200
        assert {each["containerId"] for each in asked.got.body["containers"]} == {"c0", "c1"}
        assert requested(it.items, it.item_id) == {"c0", "c1"}


async def test_behind_a_backlog_of_seconds_the_service_is_not_ready_until_it_is_read(
    kafka: ApacheKafka, names: Names
) -> None:
    async with behind_a_slow_backlog(kafka, names) as it:
        await it.service.until_detail("catalogue", "records behind its end", within=10)
        assert (await it.service.readiness())[0] == 503
        await it.catch_up()
        await it.service.until_ready()


async def test_behind_an_open_transaction_there_is_no_404_and_no_200_by_an_older_list(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    old = await known(service, items, names, ONE)
    new = new_item_id()
    async with (
        writer(kafka, transactional_id=f"a-{names.suffix}") as opener,
        writer(kafka, transactional_id=f"b-{names.suffix}") as committer,
    ):
        await opener.begin_transaction()
        aborted = listed(new_item_id(), [container("never")], LATER)
        await opener.send_and_wait(names.published, **aborted, partition=PARTITION)
        async with committer.transaction():
            for item_id in (new, old):
                newest = listed(item_id, BOTH, LATER)
                await committer.send_and_wait(names.published, **newest, partition=PARTITION)
        of_new, of_old = await asyncio.gather(service.take_down(new), service.take_down(old))
        measured("behind an open transaction: a miss", of_new.status)
        measured("behind an open transaction: a hit", of_old.status)
        assert (of_new.status, of_old.status) in {(503, 503), (503, 504)}
        detail = await service.until_detail("catalogue", "a transaction is open in", "since offset")
        assert f"{names.published}[{PARTITION}]" in detail
        assert "kafka-transactions.sh" in detail
        await opener.abort_transaction()
    await service.until_ready()
    of_new, of_old = await asyncio.gather(service.take_down(new), service.take_down(old))
    for asked in (of_new, of_old):
        assert asked.status == 200
        assert {each["containerId"] for each in asked.got.body["containers"]} == {"c0", "c1"}
    assert (await service.take_down(json.loads(aborted["value"])["itemId"])).status == 404
