"""`takedown demo`: what its 200s are decided by is deletions, and not lists that come first."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import msgspec
from support.platform import read_topic
from support.processes import Process, running

from items_service.sample import DEMO_DELETABLE, DEMO_STUCK

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
        for body in bodies:
            for container in body["containers"]:
                assert container["confirmedBy"] == "deletion", body
                assert container["deletedAt"] is not None, body
        broker = said(demo, r"Embedded broker listens on ([0-9.:]+)")
        await no_list_came_before_a_deletion(broker, [body["itemId"] for body in bodies])
        assert await asyncio.to_thread(demo.stop) == 0


def said(demo: Process, pattern: str) -> str:
    """What the demo has logged in the brackets of this pattern."""
    (found,) = {
        match[1] for event in demo.events() if (match := re.search(pattern, str(event["event"])))
    }
    return found


async def no_list_came_before_a_deletion(bootstrap: str, items: list[str]) -> None:
    lists = [
        (record.timestamp, record.key.decode(), record.value and msgspec.json.decode(record.value))
        for record in await read_topic(bootstrap, "item_published")
    ]
    deletions = [
        (record.timestamp, msgspec.json.decode(record.value))
        for record in await read_topic(bootstrap, "item_deleted")
    ]
    for item in items:
        told = {gone["containerId"]: at for at, gone in deletions if gone["itemId"] == item}
        for at, key, value in lists:
            if key != item:
                continue
            left = {each["containerId"] for each in value["containers"]} if value else set()
            assert all(told[gone] < at for gone in told.keys() - left), item
