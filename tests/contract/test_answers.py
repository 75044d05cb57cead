"""Every status of the contract, with its exact body and headers."""

from __future__ import annotations

import aiohttp
from support.platform import NOW, Platform, confirm, containers, new_item_id


async def test_an_item_deleted_from_every_container_is_answered_with_200(
    http: aiohttp.ClientSession, door: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(3)
    await items.publish_item(item_id, places)
    items.on_request = confirm

    async with http.delete(f"{door}/items/{item_id}") as answer:
        body = await answer.json()

    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Takedown-Id"] == body["takedownId"]
    assert set(body) == {"takedownId", "itemId", "outcome", "containers", "elapsedMs"}
    assert body["itemId"] == item_id
    assert body["outcome"] == "deleted"
    assert sorted(body["containers"], key=lambda c: c["containerId"]) == [
        {**place, "deletedAt": NOW.replace("678Z", "678000Z")} for place in places
    ]
    assert isinstance(body["elapsedMs"], int)
