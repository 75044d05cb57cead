"""Many items whose lists change while they are taken down; then the topics are read back.

What changes follows from a seed; what happens when does not.
"""

from __future__ import annotations

import asyncio
import os
import random
from datetime import UTC, datetime
from typing import Any

from support.answers import hurried_caller
from support.invariants import Asked, Places, ask, check_invariants
from support.observed import given_back, quiet, scrape, starvation
from support.platform import Names, Platform, confirm_soon, container, new_item_id
from support.processes import Process

SEED = 1
ITEMS = 100
NAMES = [f"c{number}" for number in range(6)]


class Changing:
    """An Items side that confirms late, twice or never, and changes lists as it likes."""

    def __init__(self, items: Platform, seed: int) -> None:
        self._items = items
        self._random = random.Random(seed)
        self._known: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def some(self, least: int = 0) -> Places:
        names = self._random.sample(NAMES, self._random.randint(least, len(NAMES)))
        return [container(name) for name in names]

    def start(self, item_id: str) -> None:
        self._known.add(item_id)
        task = asyncio.create_task(self._change(item_id))
        self._tasks.add(task)

    async def _change(self, item_id: str) -> None:
        for _ in range(self._random.randint(0, 4)):
            await asyncio.sleep(self._random.choice([0, 0.05, 0.3]))
            if self._random.random() < 0.1:
                await self._items.remove_item(item_id)
                continue
            now = datetime.now(UTC).isoformat()
            await self._items.publish_item(item_id, self.some(), published_at=now)

    async def on_request(self, items: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] not in self._known:
            return
        chance = self._random.random()
        if chance < 0.1:
            return
        for _ in range(2 if chance < 0.2 else 1):
            await asyncio.sleep(self._random.choice([0, 0, 0.01]))
            await confirm_soon(items, request)

    async def finish(self) -> None:
        await asyncio.gather(*self._tasks)


async def test_the_invariants_hold_whatever_becomes_of_the_lists(
    service: Process, api: str, admin: str, bootstrap: str, names: Names, items: Platform
) -> None:
    before = await quiet(admin)
    followed = (await scrape(admin)).value("takedown_bus_lists_matched_total")
    changing = Changing(items, SEED)
    lists = {new_item_id(): changing.some(1) for _ in range(ITEMS)}
    await items.publish_items(lists)
    items.on_request = changing.on_request
    async with (
        starvation(service.pid) as starved,
        starvation(os.getpid()) as we_starved,
        hurried_caller() as http,
    ):

        async def take_down(number: int, item_id: str) -> Asked:
            await asyncio.sleep(number / ITEMS)
            asking = asyncio.create_task(ask(http, api, item_id))
            await items.wait_for_requests(item_id, 1)  # its first list has been read
            changing.start(item_id)
            return await asking

        asked = await asyncio.gather(*map(take_down, range(ITEMS), lists))
    await changing.finish()
    await given_back(admin, before)
    assert (await scrape(admin)).value("takedown_bus_lists_matched_total") > followed
    waited = starved.worst() + we_starved.worst()
    report = await check_invariants(bootstrap, names, asked, lists, starved=waited)
    assert report.statuses.keys() == {200, 504}, "a run that shows something has both"
    grown = [
        each
        for each in asked
        if each.status == 200 and len(each.got.body["containers"]) > len(lists[each.item_id])
    ]
    assert grown, "and some of them were taken down where they were not in the beginning"
