"""`takedown demo`: what its 200s are decided by is deletions, and not lists that come first."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from support.processes import running

from items_service.sample import DEMO_DELETABLE, DEMO_STUCK


async def test_each_container_of_the_demos_items_is_confirmed_by_its_deletion() -> None:
    settings = {"http_port": 0, "admin_port": 0, "items_http_port": 0, "log_format": "json"}
    with running("demo", **settings) as demo:
        ready = await asyncio.to_thread(demo.wait_for_event, "ready")
        listening = next(e for e in demo.events() if "Items service listens on" in str(e["event"]))
        async with aiohttp.ClientSession() as http:
            url = listening["event"].rpartition(" ")[2]
            async with http.get(f"{url}/items?limit=60") as answer:
                items = [each["itemId"] for each in (await answer.json())["items"]]
            items = [DEMO_DELETABLE, *(item for item in items if item not in DEMOS)][:25]

            async def take_down(item: str) -> dict[str, Any]:
                async with http.delete(f"{ready['http']}/items/{item}") as answer:
                    body: dict[str, Any] = await answer.json()
                    assert answer.status == 200, body
                    return body

            # The one that is printed by itself, then many together.
            bodies = [await take_down(items[0])]
            bodies += await asyncio.gather(*map(take_down, items[1:]))
        assert await asyncio.to_thread(demo.stop) == 0
    assert len(bodies) == 25
    for body in bodies:
        for container in body["containers"]:
            assert container["confirmedBy"] == "deletion", body
            assert container["deletedAt"] is not None, body


DEMOS = {DEMO_DELETABLE, DEMO_STUCK}
