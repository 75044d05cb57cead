"""One broker that refuses, hangs, goes and comes back, with a proxy in front of it.

The service is a real process behind the proxy. The test's own side of Kafka is not behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from support.answers import GRACE
from support.measure import Measure
from support.platform import Names, Platform, confirm, platform
from support.served import Load, Served, served

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener
from dev.apache_kafka.proxy import FaultProxy

pytestmark = pytest.mark.apache

AFTER_THE_WAIT = 2.5
"""Seconds within which a takedown is refused that has waited for Kafka, 2 s by default."""

RESETS = 20
PUBLISHER = b"takedown-producer"


@pytest.fixture
async def proxy(kafka: ApacheKafka) -> AsyncIterator[FaultProxy]:
    async with kafka.proxies() as proxies:
        yield proxies[1]


@pytest.fixture
async def service(kafka: ApacheKafka, proxy: FaultProxy, names: Names) -> AsyncIterator[Served]:  # noqa: ARG001 - it stands in front
    async with served(kafka.bootstrap(Listener.PROXIED), names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names) as side:
        yield side


async def known(service: Served, items: Platform, count: int = 1) -> str:
    """An item that the service has read of: a hit in its catalogue asks Kafka nothing."""
    item_id = await service.item(items, count)
    items.on_request = None
    assert (await service.take_down(item_id, wait=1)).status == 504
    return item_id


async def test_a_broker_that_refuses_connections_means_503_after_the_wait_and_nothing_is_published(
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
    measured: Measure,
) -> None:
    item_id = await known(service, items)
    await proxy.cut(rst=True)
    answers = await asyncio.gather(*(service.take_down(item_id) for _ in range(20)))
    await service.until_ready(503)
    answers += await asyncio.gather(*(service.take_down(item_id) for _ in range(20)))

    assert {asked.status for asked in answers} == {503}
    assert {asked.got.body["type"].rpartition(":")[2] for asked in answers} <= {
        "kafka-unreachable",
        "not-ready",
    }
    assert all(asked.got.headers["retry-after"] for asked in answers)
    slowest = max(asked.got.seconds for asked in answers)
    assert slowest < AFTER_THE_WAIT
    assert await service.is_alive()
    measured("refused connections: slowest 503", slowest)

    items.on_request = confirm
    await proxy.heal()
    measured("refused connections: first 200 after", await service.until_200(items))
    measured("refused connections", await service.check(kafka.bootstrap_servers, names))


Fault = Callable[[ApacheKafka, FaultProxy], Awaitable[None]]


@asynccontextmanager
async def hanging(how: str, kafka: ApacheKafka, proxy: FaultProxy) -> AsyncIterator[None]:
    if how == "stalled network":
        await proxy.stall()
    elif how == "half-open connections":
        await proxy.half_open()
    else:
        kafka.pause(1)
    try:
        yield
    finally:
        if how == "paused broker":
            kafka.resume(1)
        await proxy.heal()


HANGS = pytest.mark.parametrize(
    "how", ["paused broker", "stalled network", "half-open connections"]
)


@HANGS
async def test_a_broker_that_hangs_makes_no_answer_late_and_means_503_once_it_is_noticed(
    how: str,
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
    measured: Measure,
) -> None:
    item_id = await known(service, items)
    flying = [await service.item(items, 2) for _ in range(30)]
    in_flight = [asyncio.create_task(service.take_down(each)) for each in flying]
    for each in flying:
        await items.wait_for_requests(each, 2)

    async with hanging(how, kafka, proxy):
        # Whether the requests go out cannot be known: they are handed over, and unknown is said.
        unknown = [asyncio.create_task(service.take_down(item_id)) for _ in range(30)]
        noticed = await service.until_ready(503)
        refused = await asyncio.gather(*(service.take_down(item_id) for _ in range(10)))
        assert {asked.status for asked in refused} == {503}
        assert max(asked.got.seconds for asked in refused) < AFTER_THE_WAIT
        assert {asked.status for asked in await asyncio.gather(*in_flight)} == {504}
        answers = await asyncio.gather(*unknown)
        assert {asked.status for asked in answers} <= {503, 504}
        assert max(asked.overshoot for asked in service.asked) <= GRACE
        assert await service.is_alive()

    items.on_request = confirm
    recovered = await service.until_200(items)
    report = await service.check(kafka.bootstrap_servers, names)
    assert report.statuses[504] >= 31
    measured(f"{how}: noticed", noticed)
    measured(f"{how}: first 200 after", recovered)
    measured(how, report)


async def test_a_lost_acknowledgement_does_no_harm_when_the_deletions_arrive(
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
    measured: Measure,
) -> None:
    item_id = await known(service, items, 3)
    items.on_request = confirm
    before = proxy.statistics().lost
    await proxy.drop_answers(lambda opening: PUBLISHER in opening)
    asked = await service.take_down(item_id)
    assert asked.status == 200
    assert asked.got.seconds < 1.0, "it does not wait for the acknowledgement"
    assert proxy.statistics().lost > before, "the acknowledgement was lost"

    # The producer gets no answer any more, and that is seen.
    await service.until_detail("kafka producer")
    await proxy.heal()
    measured("lost acknowledgement: first 200 after", await service.until_200(items))
    measured("lost acknowledgement", await service.check(kafka.bootstrap_servers, names))


async def test_answers_that_are_slow_cost_time_and_nothing_else(
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
    measured: Measure,
) -> None:
    items.on_request = confirm
    await proxy.latency(requests=0.15, answers=0.15)
    async with Load(service, items) as load:
        await load.until_done(50)
    assert {asked.status for asked in service.asked} == {200}
    assert (await service.readiness())[0] == 200
    slowest = max(asked.got.seconds for asked in service.asked)
    measured("0.3 s round trip to the broker: slowest 200", slowest)
    await service.check(kafka.bootstrap_servers, names)


async def test_connections_that_are_reset_under_load_lose_nothing(
    service: Served,
    items: Platform,
    proxy: FaultProxy,
    kafka: ApacheKafka,
    names: Names,
    measured: Measure,
) -> None:
    items.on_request = confirm
    async with Load(service, items, at_once=24) as load:
        for _ in range(RESETS):
            await load.until_done(10)
            await proxy.reset()
        await load.until_done(20)
    report = await service.check(kafka.bootstrap_servers, names)
    unknown = [asked.got.body for asked in service.asked if asked.status not in {200, 503}]
    assert not unknown, unknown[0]
    assert not [e for e in service.process.events() if e["level"] == "error"]
    measured(f"{RESETS} resets of all connections under load", report)
