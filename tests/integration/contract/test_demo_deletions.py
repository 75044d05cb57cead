"""The Items service's 200s are decided by deletions, and not by lists that come first.

In the demo, and where it and the service run by themselves, on either broker.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import msgspec
from support.brokers import Broker
from support.platform import Names, read_topic
from support.processes import Process, running
from support.served import eventually

from demo.items_service.sample import DEMO_DELETABLE, DEMO_STUCK

COUNT = 25


async def test_each_container_of_the_demos_items_is_confirmed_by_its_deletion() -> None:
    settings = {"http_port": 0, "admin_port": 0, "items_http_port": 0, "log_format": "json"}
    with running("demo", **settings) as demo:
        ready = await asyncio.to_thread(demo.wait_for_event, "ready")
        async with aiohttp.ClientSession() as http:
            items_service = said(demo, r"Items service listens on (\S+)")
            async with http.get(f"{items_service}/items?limit=60") as answer:
                items = [each["itemId"] for each in (await answer.json())["items"]]
            others = [item for item in items if item not in {DEMO_DELETABLE, DEMO_STUCK}]

            async def take_down(item: str) -> dict[str, Any]:
                async with http.delete(f"{ready['http']}/items/{item}") as answer:
                    body: dict[str, Any] = await answer.json()
                    assert answer.status == 200, body
                    return body

            # The one that is printed by itself, then many together.
            bodies = [await take_down(DEMO_DELETABLE)]
            bodies += await asyncio.gather(*map(take_down, others[: COUNT - 1]))
        broker = said(demo, r"Embedded broker listens on ([0-9.:]+)")
        usual = ("item_published", "item_deleted")
        await no_list_came_before_a_deletion(broker, *usual, [body["itemId"] for body in bodies])
        assert_confirmed_by_deletions(bodies)
        assert await asyncio.to_thread(demo.stop) == 0


async def test_each_container_is_confirmed_by_its_deletion_on_either_broker(
    http: aiohttp.ClientSession, broker: Broker, names: Names, api: str
) -> None:
    settings = {
        "kafka_bootstrap_servers": broker.address,
        "kafka_fetch_max_wait": broker.fetch_max_wait,
        "items_http_port": 0,
        "items_sample": "true",
        "items_faults": "latency=0.02,jitter=0.08",
        "log_format": "json",
        **names.settings(),
    }
    with running("items-service", **settings) as office:
        address = (await asyncio.to_thread(office.wait_for_event, "ready"))["http"]
        async with http.get(f"{address}/items?limit={COUNT}") as answer:
            items = [each["itemId"] for each in (await answer.json())["items"]]

        async def published() -> bool:
            records = await read_topic(broker.address, names.published)
            return {record.key.decode() for record in records} >= set(items)

        await eventually(published)

        async def take_down(item: str) -> dict[str, Any]:
            async with http.delete(f"{api}/items/{item}") as answer:
                body: dict[str, Any] = await answer.json()
                assert answer.status == 200, body
                return body

        bodies = await asyncio.gather(*map(take_down, items))
        await eventually(lambda: all_are_deleted(broker, names, bodies))
        topics = (names.published, names.deleted)
        await no_list_came_before_a_deletion(broker.address, *topics, items)
        assert_confirmed_by_deletions(bodies)
        assert await asyncio.to_thread(office.stop) == 0


async def all_are_deleted(broker: Broker, names: Names, bodies: list[dict[str, Any]]) -> bool:
    """Whether each container's deletion is in the topic: a list may have been quicker."""
    records = await read_topic(broker.address, names.deleted)
    return len(records) >= sum(len(body["containers"]) for body in bodies)


def assert_confirmed_by_deletions(bodies: list[dict[str, Any]]) -> None:
    for body in bodies:
        for container in body["containers"]:
            assert container["confirmedBy"] == "deletion", body
            assert container["deletedAt"] is not None, body


def said(demo: Process, pattern: str) -> str:
    """What the demo has logged in the brackets of this pattern."""
    (found,) = {
        match[1] for event in demo.events() if (match := re.search(pattern, str(event["event"])))
    }
    return found


async def no_list_came_before_a_deletion(
    bootstrap: str, published: str, deleted: str, items: list[str]
) -> None:
    lists = [
        (record.timestamp, record.key.decode(), record.value and msgspec.json.decode(record.value))
        for record in await read_topic(bootstrap, published)
    ]
    deletions = [
        (record.timestamp, msgspec.json.decode(record.value))
        for record in await read_topic(bootstrap, deleted)
    ]
    overtaken = []
    for item in items:
        told = {gone["containerId"]: at for at, gone in deletions if gone["itemId"] == item}
        for at, key, value in lists:
            if key == item:
                left = {each["containerId"] for each in value["containers"]} if value else set()
                if any(told[gone] >= at for gone in told.keys() - left):
                    overtaken.append(item)
                    break
    assert not overtaken, f"{len(overtaken)} of {len(items)} items have a list before its deletions"
