"""Items in very many containers: one answer with each of them, or a refusal that is true."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, take_down
from support.platform import NOW, Platform, containers, new_item_id

MOST = 2000


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"timeout": 20, "containers_max": MOST}


async def confirm_all(items: Platform, item_id: str, count: int) -> None:
    """Read every request for this item, and write all deletions in one go."""
    await items.wait_for_requests(item_id, count)
    values = [
        json.dumps({"itemId": item_id, **each, "deletedAt": NOW}).encode()
        for each in containers(count)
    ]
    await asyncio.gather(*(items.send(items.names.deleted, value, key=item_id) for value in values))


async def test_an_item_in_as_many_containers_as_allowed_is_taken_down_from_each(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(MOST))
    asked = asyncio.create_task(take_down(http, api, item_id))
    await confirm_all(items, item_id, MOST)
    got = await asked
    assert_deleted(got, item_id, containers(MOST))
    requests = [r for r in items.requests if r["itemId"] == item_id]
    assert len({r["containerId"] for r in requests}) == len(requests) == MOST


async def test_an_item_in_one_more_is_refused_without_a_time_and_nothing_is_published(
    http: aiohttp.ClientSession, api: str, items: Platform, bootstrap: str
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(MOST + 1))
    got = await take_down(http, api, item_id)
    assert_problem(got, 503, "too-many-containers", item_id=item_id)
    assert "retry-after" not in got.headers
    assert str(MOST) in got.body["detail"]
    requests = await items.all_requests(bootstrap)
    assert [r for r in requests if r["itemId"] == item_id] == []
