"""Lists of one item in several partitions, as they are once partitions were added to the topic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from support.answers import assert_deleted, assert_problem, take_down, until_read
from support.brokers import Broker
from support.platform import Names, Platform, container, containers, new_item_id
from support.processes import running

NOW = datetime.now(UTC)


class Item:
    """An item whose records go wherever the test says."""

    def __init__(self, items: Platform) -> None:
        self.id = new_item_id()
        self._items = items

    async def listed(self, count: int, *, after: float, partition: int) -> None:
        at = NOW + timedelta(seconds=after)
        value = {
            "itemId": self.id,
            "containers": containers(count),
            "publishedAt": at.isoformat(),
        }
        topic = self._items.names.published
        await self._items.send(topic, value, key=self.id, partition=partition)

    async def gone(self, *, after: float, partition: int) -> None:
        at = round((NOW.timestamp() + after) * 1000)
        topic = self._items.names.published
        await self._items.send(topic, None, key=self.id, partition=partition, timestamp_ms=at)


async def confirm_after_the_lists(side: Platform, request: dict[str, Any]) -> None:
    """As a good Items service does: what is deleted now is dated after the item's lists."""
    place = container(request["containerId"], request["containerType"])
    at = NOW + timedelta(seconds=3)
    await side.delete(request["itemId"], place, deleted_at=at.isoformat())


async def there(items: Platform) -> tuple[Item, Item]:
    """Two items that are in two containers, though the last records about them do not say so."""
    one, other = Item(items), Item(items)
    for item in (one, other):
        await item.listed(3, after=0, partition=1)
        await item.listed(2, after=2, partition=0)
    await one.listed(0, after=1, partition=1)
    await other.gone(after=1, partition=1)
    return one, other


async def gone(items: Platform) -> tuple[Item, Item]:
    """Two items that are gone, though the last records about them do not say so."""
    one, other = Item(items), Item(items)
    await one.listed(0, after=2, partition=0)
    await other.gone(after=2, partition=0)
    for item in (one, other):
        await item.listed(3, after=1, partition=1)
    return one, other


async def test_the_newest_list_by_its_own_time_counts(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    items.on_request = confirm_after_the_lists
    are, are_not = await there(items), await gone(items)
    await until_read(http, api, items, are[0].id)
    for item in are:
        assert_deleted(await take_down(http, api, item.id), item.id, containers(2))
    for item in are_not:
        got = await take_down(http, api, item.id)
        assert_problem(got, 404, "item-not-found", item_id=item.id)


async def test_a_service_that_reads_all_from_the_beginning_says_the_same(
    http: aiohttp.ClientSession,
    broker: Broker,
    names: Names,
    items: Platform,
    settings: dict[str, object],
) -> None:
    items.on_request = confirm_after_the_lists
    are, are_not = await there(items), await gone(items)
    with running(
        "serve",
        kafka_bootstrap_servers=broker.address,
        http_port=0,
        admin_port=0,
        log_format="json",
        **names.settings(),
        **settings,
    ) as another:
        api = another.wait_for_event("ready")["http"]
        for item in are:
            assert_deleted(await take_down(http, api, item.id), item.id, containers(2))
        for item in are_not:
            got = await take_down(http, api, item.id)
            assert_problem(got, 404, "item-not-found", item_id=item.id)
