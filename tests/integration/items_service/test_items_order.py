"""A list never overtakes the deletions that it results from, whatever is wrong with these."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.brokers import EITHER, Broker, running_broker
from support.platform import Names, read_topic

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from demo.items_service.app import ItemsService, ItemsServiceSettings
from demo.items_service.faults import Faults
from demo.items_service.relay import LIST_PAUSE

from .items_helpers import PATIENCE, a_request, new_item, publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from domain.messages import ItemId

CONTAINERS = tuple(f"group:{number}" for number in range(6))
CLOCK = 0.002
"""Seconds: timestamps are whole milliseconds, and each is taken before its record is sent."""


@pytest.fixture(scope="module", params=EITHER)
def either(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with running_broker(request.param) as broker:
        yield broker


class Side:
    """The service on topics of this test's own, and what it wrote there.

    Args:
        broker: where.
        database: the service's file.
    """

    def __init__(self, broker: Broker, database: str) -> None:
        self.names = Names()
        self.bootstrap = broker.address
        connection = Connection(broker.address, fetch_max_wait=broker.fetch_max_wait)
        topics = (self.names.reported, self.names.deleted, self.names.published)
        self.settings = ItemsServiceSettings(
            connection,
            *topics,
            topics=tuple(Topic(name, 3) for name in topics),
            database=database,
        )

    async def start(self, faults: Faults) -> ItemsService:
        await ensure_topics(self.settings.connection, self.settings.topics)
        service = ItemsService(replace(self.settings, faults=faults))
        await service.start()
        return service

    async def settled(self, service: ItemsService) -> None:
        async with asyncio.timeout(PATIENCE):
            await service.wait_ready()

    async def check(self, items: list[ItemId]) -> int:
        """Each list comes after the deletions of what is not in it; returns how many deletions."""
        deleted = await self._times(self.names.deleted)
        lists = await self._times(self.names.published)
        checked = 0
        for item in items:
            (first, whole), *rest = [(at, value) for at, key, value in lists if key == item]
            assert {each["containerId"] for each in whole["containers"]} == set(CONTAINERS)
            for at, value in rest:
                left = {each["containerId"] for each in value["containers"]} if value else set()
                for container in set(CONTAINERS) - left:
                    confirmed = min(
                        told
                        for told, key, event in deleted
                        if key == item and event["containerId"] == container
                    )
                    assert first <= confirmed <= at - LIST_PAUSE + CLOCK, (container, left)
                    checked += 1
        return checked

    async def _times(self, topic: str) -> list[tuple[float, str, Any]]:
        return [
            (
                record.timestamp / 1000,
                record.key.decode(),
                record.value and msgspec.json.decode(record.value),
            )
            for record in await read_topic(self.bootstrap, topic)
        ]


@pytest.fixture
def side(either: Broker, tmp_path: Path) -> Side:
    return Side(either, str(tmp_path / "items.db"))


async def request(service: ItemsService, item: ItemId, *containers: str) -> None:
    """As if these requests had been read from Kafka together."""
    requests = [a_request(item, container) for container in containers]
    now = requests[0].reported_at
    await service._store.apply(requests, {}, now, lambda *_: False)


FAULTS = {
    "none": Faults(),
    "latency": Faults(latency=0.3),
    "jitter": Faults(latency=0.05, jitter=0.4, seed=1),
    "reorder": Faults(reorder=True, seed=2),
    "duplicates": Faults(duplicate=0.5, jitter=0.3, seed=3),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_list_comes_after_the_deletions_of_what_is_not_in_it(
    faults: Faults, side: Side
) -> None:
    service = await side.start(faults)
    items = [new_item() for _ in range(10)]
    try:
        for item in items:
            await publish(service, item, *CONTAINERS)
        await side.settled(service)
        # The containers of an item are deleted one after the other, while lists wait.
        for container in CONTAINERS:
            for item in items:
                await request(service, item, container)
            await asyncio.sleep(0.03)
        await side.settled(service)
    finally:
        await service.stop()
    # The last list of each item, at least, is without all of them.
    assert await side.check(items) >= len(items) * len(CONTAINERS)


async def test_a_list_comes_after_the_deletions_when_the_service_was_stopped_in_between(
    side: Side,
) -> None:
    item = new_item()
    service = await side.start(Faults())
    await publish(service, item, *CONTAINERS)
    await side.settled(service)
    service.faults = Faults(latency=3600)
    await request(service, item, *CONTAINERS[:2])
    await asyncio.sleep(0.3)
    await service.stop()
    assert await side.check([item]) == 0, "neither a deletion nor a list was sent"

    service = await side.start(Faults(latency=0.2))
    await request(service, item, *CONTAINERS[2:4])
    await side.settled(service)
    await service.stop()
    assert await side.check([item]) >= 4


async def test_an_item_with_a_deletion_that_waits_does_not_hold_up_another_items_list(
    side: Side,
) -> None:
    held, free = new_item(), new_item()
    service = await side.start(Faults(latency=3600))
    for item in (held, free):
        await publish(service, item, *CONTAINERS)
    await side.settled(service)
    await request(service, held, CONTAINERS[0])
    entry_id = await service._store.leave(free, CONTAINERS[0], a_request(free, "x").reported_at)
    assert entry_id is not None
    async with asyncio.timeout(PATIENCE):
        await service._outbox.until_settled(entry_id)
    await service.stop()
    assert await side.check([held]) == 0


async def test_a_deletion_that_is_dropped_does_not_hold_the_list_up(side: Side) -> None:
    item = new_item()
    service = await side.start(Faults(drop=1.0))
    await publish(service, item, *CONTAINERS)
    await side.settled(service)
    await request(service, item, CONTAINERS[0])
    await side.settled(service)
    await service.stop()
    records = await read_topic(side.bootstrap, side.names.published)
    assert len(msgspec.json.decode(records[-1].value)["containers"]) == len(CONTAINERS) - 1
    assert not await read_topic(side.bootstrap, side.names.deleted)
