"""Kafka is away for a moment: requests wait with nothing published, and then get their 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.measure import Measure
from support.platform import Names, Platform, confirm, platform
from support.served import Load, Served, served

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener
from dev.apache_kafka.proxy import FaultProxy

pytestmark = pytest.mark.apache

AWAY = 2.0
AT_ONCE = 0.5


@pytest.fixture
async def proxy(kafka: ApacheKafka) -> AsyncIterator[FaultProxy]:
    async with kafka.proxies() as proxies:
        yield proxies[1]


@pytest.fixture
async def service(kafka: ApacheKafka, proxy: FaultProxy, names: Names) -> AsyncIterator[Served]:  # noqa: ARG001 - it stands in front
    bootstrap = kafka.bootstrap(Listener.PROXIED)
    async with served(bootstrap, names, timeout=10, wait_for_kafka=4) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as side:
        yield side


async def test_under_load_an_outage_of_two_seconds_costs_time_and_no_answer(
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
    measured: Measure,
) -> None:
    known = [await service.item(items) for _ in range(60)]
    async with Load(service, items, at_once=8) as load:
        await load.until_done(20)
        await proxy.cut(rst=True)
        loop = asyncio.get_running_loop()
        began = loop.time()
        asked = []
        for item_id in known:  # these begin while Kafka is away
            asked.append(asyncio.create_task(service.take_down(item_id)))
            await asyncio.sleep(AWAY / len(known))
        await asyncio.sleep(max(0.0, began + AWAY - loop.time()))
        requested = len(items.requests)
        await asyncio.sleep(0)
        await proxy.heal()
        back = loop.time()
        answers = await asyncio.gather(*asked)
        last = loop.time() - back
        await load.until_done(20)
    assert len(items.requests) > requested
    assert not [(round(a.got.seconds, 2), a.got.body["detail"]) for a in answers if a.status != 200]
    assert not [asked.got.body for asked in service.asked if asked.status != 200]
    measured("an outage of 2 s under load: the last that waited has its 200 after", last)
    measured("an outage of 2 s under load", await service.check(kafka.bootstrap_servers, names))


async def test_an_outage_that_lasts_longer_is_a_503_after_the_wait_and_nothing_is_published(
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
) -> None:
    item_id = await service.item(items)
    assert (await service.take_down(item_id)).status == 200
    before = len(items.requests)
    await proxy.cut(rst=True)
    answers = await asyncio.gather(*(service.take_down(item_id) for _ in range(20)))
    assert {answer.status for answer in answers} == {503}
    assert all(3.5 < answer.got.seconds < 4 + AT_ONCE for answer in answers)
    assert all(answer.got.headers["retry-after"] for answer in answers)
    hasty = await service.take_down(item_id, wait=1)
    assert hasty.status == 503
    assert hasty.got.seconds < 1.25
    await proxy.heal()
    await service.until_200(items)
    assert [r for r in items.requests[before:] if r["itemId"] == item_id] == []
    await service.check(kafka.bootstrap_servers, names)
