"""Three brokers, of which one after the other goes, under load."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from apache.cluster import (
    StableAddress,
    alive,
    controller,
    elect_preferred_leaders,
    leads,
    require_copies,
    until_in_sync,
)
from support.brokers import running_kafka
from support.measure import Measure
from support.platform import Names, Platform, platform
from support.served import Served, served
from support.storm import Confirming, Storm, disturbed_for, publish_items, wall

from dev.apache_kafka.cluster import ApacheKafka

pytestmark = [pytest.mark.apache, pytest.mark.timeout(300)]

PER_SECOND = 20.0
CALM = 2.0
"""Seconds without a fault before the first and after the last one."""

MOVED = 6.0
"""Seconds that an orderly change of leaders may be felt, on a busy machine."""

KILLED = 20.0
"""The same for a broker that was killed: three of them pass until Kafka trusts it."""


@pytest.fixture(scope="module")
def three(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    with running_kafka(ApacheKafka(brokers=3)) as kafka:
        yield kafka


@pytest.fixture
async def whole(three: ApacheKafka, names: Names) -> AsyncIterator[ApacheKafka]:
    """The cluster; all of it, again, when the test ends."""
    yield three
    away = [node for node in three.nodes if three.pid(node) is None]
    if away:
        await three.start_nodes(away)
    await until_in_sync(three, names.settings().values())


@pytest.fixture
async def service(whole: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    async with served(whole.bootstrap_servers, names, topic_replication=3) as service:
        await until_in_sync(whole, names.settings().values())
        yield service


@pytest.fixture
async def items(whole: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    confirming = Confirming()
    async with platform(whole.bootstrap_servers, names, on_request=confirming) as side:
        yield side
        await confirming.stop()


async def back_to_normal(service: Served, items: Platform) -> None:
    """It is ready, stays so, and each of its readers reads on."""
    await service.until_ready()
    for _ in range(20):
        assert (await service.take_down(await service.item(items, 2))).status == 200


async def test_leaders_that_move_are_followed(
    whole: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    ids = await publish_items(service, items, 2000, places=2)
    moves: list[float] = []
    storm = Storm(service, ids, per_second=PER_SECOND)
    async with storm:
        await asyncio.sleep(CALM)
        for node in sorted(await leads(whole, names.deleted))[:2]:
            moves.append(wall())
            await whole.stop_node(node)  # in good order: it hands its partitions over first
            assert node not in await leads(whole, names.deleted)
            await storm.until_steady(within=MOVED)
            await whole.restart(node)
            await until_in_sync(whole, names.settings().values())
    for since, until in zip(moves, [*moves[1:], wall()], strict=True):
        felt = disturbed_for([a for a in storm.asked if a.at < until], since)
        measured("leaders moved: felt for", felt)
        assert felt < MOVED
    await back_to_normal(service, items)
    measured("leaders moved", await service.check(whole.bootstrap_servers, names))


async def test_leaders_that_are_elected_in_good_order_interrupt_no_session(
    whole: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    """No broker goes: whatever was read is verified with the new leaders, and reading goes on."""
    topics = names.settings().values()
    (node, *_) = sorted(await leads(whole, names.published))
    await whole.stop_node(node)
    await whole.restart(node)
    await until_in_sync(whole, topics)
    await service.until_ready()
    ids = await publish_items(service, items, 1000, places=2)
    await back_to_normal(service, items)
    before = len(service.process.events())
    storm = Storm(service, ids, per_second=PER_SECOND)
    async with storm:
        await asyncio.sleep(CALM)
        moved = await elect_preferred_leaders(whole, topics)
        assert moved, "leaders have moved back"
        await storm.until_steady(within=MOVED)
        await asyncio.sleep(CALM)
    said = [str(event["event"]) for event in service.process.events()[before:]]
    noticed = [each for each in said if "interrupted" in each or "beginning" in each]
    measured("leaders elected in good order: moved", moved)
    measured("leaders elected in good order: answers", Counter(a.status for a in storm.asked))
    assert not noticed
    await back_to_normal(service, items)
    await service.check(whole.bootstrap_servers, names)


async def test_the_controller_that_is_killed_is_not_missed(
    whole: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    ids = await publish_items(service, items, 1000, places=2)
    was = controller(whole)
    storm = Storm(service, ids, per_second=PER_SECOND)
    async with storm:
        await asyncio.sleep(CALM)
        since = wall()
        await whole.kill(was)
        await storm.until_steady(within=KILLED)
    now = controller(whole)
    assert now != was
    felt = disturbed_for(storm.asked, since)
    measured("controller killed: felt for", felt)
    assert felt < KILLED, "it recovers without the broker that is gone"
    await back_to_normal(service, items)
    living = ",".join(whole.address(node) for node in alive(whole))
    measured("controller killed", await service.check(living, names))


async def test_brokers_that_are_killed_in_turn_leave_no_request_without_its_answer(
    whole: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    ids = await publish_items(service, items, 3000, places=2)
    kills: list[float] = []
    storm = Storm(service, ids, per_second=PER_SECOND)
    async with storm:
        await asyncio.sleep(CALM)
        for node in whole.nodes:
            kills.append(wall())
            await whole.kill(node)
            await storm.until_steady(within=KILLED)
            await whole.restart(node)
            await until_in_sync(whole, names.settings().values())
    for since, until in zip(kills, [*kills[1:], wall()], strict=True):
        felt = disturbed_for([a for a in storm.asked if a.at < until], since)
        measured("broker killed: felt for", felt)
        assert felt < KILLED
    await back_to_normal(service, items)
    measured("brokers killed in turn", await service.check(whole.bootstrap_servers, names))


async def test_partitions_that_take_no_writes_end_in_504_in_time_and_are_used_again_after(
    whole: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    """Questions and fetches are answered; only what is written waits for a third copy."""
    item_id = await service.item(items, 2)
    assert (await service.take_down(item_id)).status == 200
    await require_copies(whole, names.reported, 3)
    (away, *_) = (node for node in whole.nodes if node != controller(whole))
    await whole.stop_node(away)
    ids = [await service.item(items, 2) for _ in range(20)]
    asked = await asyncio.gather(*(service.take_down(item_id) for item_id in ids))
    assert {each.status for each in asked} <= {502, 503, 504}
    ready, _ = await service.readiness()
    counts = {s: sum(a.status == s for a in asked) for s in {a.status for a in asked}}
    measured("no writes taken: answers", counts)
    measured("no writes taken: /readyz says", ready)
    await whole.restart(away)
    measured("no writes taken: first 200 after", await service.until_200(items))
    await back_to_normal(service, items)
    await until_in_sync(whole, names.settings().values())
    measured("no writes taken", await service.check(whole.bootstrap_servers, names))


async def test_brokers_that_all_come_back_on_other_ports_are_found_again(
    whole: ApacheKafka, names: Names, measured: Measure
) -> None:
    async with StableAddress(lambda: whole.bootstrap_servers.split(",")) as stable:  # noqa: SIM117 - one needs the other
        async with served(stable.address, names, topic_replication=3) as service:
            await until_in_sync(whole, names.settings().values())
            confirming = Confirming()
            async with platform(whole.bootstrap_servers, names, on_request=confirming) as items:
                ids = await publish_items(service, items, 200, places=2)
                async with Storm(service, ids, per_second=PER_SECOND) as storm:
                    await asyncio.sleep(CALM)
                assert {each.status for each in storm.asked} == {200}
                await confirming.stop()

            old = set(whole.bootstrap_servers.split(","))
            await asyncio.gather(*(whole.kill(node) for node in whole.nodes))
            measured("all on other ports: not ready after", await service.until_ready(503))
            assert (await service.take_down(ids[-1])).status == 503
            await whole.start_nodes(whole.nodes, port=0)
            assert not old & set(whole.bootstrap_servers.split(","))
            measured("all on other ports: ready after", await service.until_ready())

            async with platform(whole.bootstrap_servers, names, on_request=confirming) as items:
                measured("all on other ports: first 200 after", await service.until_200(items))
                await back_to_normal(service, items)
                await confirming.stop()
            measured("all on other ports", await service.check(whole.bootstrap_servers, names))
