"""Deletions as they really come: twice, in any order, early, late, and for somebody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, take_down
from support.observed import scrape, until
from support.platform import NOW, Platform, confirm, container, containers, new_item_id


async def heard(admin: str) -> float:
    """How many deletions the service has read so far."""
    return (await scrape(admin)).value("takedown_bus_published_total")


async def until_heard(admin: str, count: float) -> None:
    await until(lambda samples: samples.value("takedown_bus_published_total") >= count, admin)


async def test_a_deletion_sent_twice_counts_once(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(3)
    await items.publish_item(item_id, places)
    asking = asyncio.create_task(take_down(http, api, item_id, [("Prefer", "wait=2")]))
    await items.wait_for_requests(item_id, 3)
    before = await heard(admin)

    for _ in range(3):
        await items.delete(item_id, places[0])
        await items.delete(item_id, places[2])
    await until_heard(admin, before + 6)
    assert not asking.done()

    await items.delete(item_id, places[1], deleted_at="2026-01-02T03:04:06Z")
    got = await asking
    assert_deleted(got, item_id, places)
    assert [c["containerId"] for c in got.body["containers"]] == ["c0", "c2", "c1"]


async def test_deletions_may_come_in_any_order(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(5)
    await items.publish_item(item_id, places)
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 5)

    for at in (3, 0, 4, 2, 1):
        await items.delete(item_id, places[at])

    assert_deleted(await asking, item_id, places)


async def test_what_is_somebody_elses_completes_nothing(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(2)
    await items.publish_item(item_id, places)
    asking = asyncio.create_task(take_down(http, api, item_id, [("Prefer", "wait=2")]))
    await items.wait_for_requests(item_id, 2)
    before = await heard(admin)

    await items.delete(item_id, places[0])
    foreign = [
        (new_item_id(), places[1]),  # the same container of another item
        (item_id, container("c2")),  # another container of the item
        (item_id, container("C1")),
        (item_id, container("c1 ")),
        (item_id, container("c")),
        (item_id, container(f"{item_id}-c1")),
    ]
    for other_id, place in foreign:
        # Under our item's key, for good measure: a key is nothing to rely on.
        value = {"itemId": other_id, **place, "deletedAt": NOW}
        await items.send(items.names.deleted, value, key=item_id)
    await until_heard(admin, before + 1 + len(foreign))

    assert_problem(
        await asking,
        504,
        "deadline-passed",
        item_id=item_id,
        deleted=places[:1],
        outstanding=places[1:],
    )


async def test_a_deletion_that_another_instance_asked_for_is_a_deletion_all_the_same(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 1)

    await items.delete(item_id, containers(1)[0], takedownId=new_item_id(), instance="other")

    assert_deleted(await asking, item_id, containers(1))


@pytest.mark.parametrize(
    ("key", "more", "headers"),
    [
        (b"the wrong key", {}, []),
        (None, {}, []),
        (b"", {}, []),
        (b"\xff\x00", {}, []),
        ("item", {"by": {"name": "Ada", "roles": [1, None]}, "containers": 7}, []),
        ("item", {}, [("takedown-id", b"\xff"), ("x", b"y" * 5000), ("traceparent", b"")]),
    ],
    ids=["wrong key", "no key", "empty key", "binary key", "extra fields", "headers"],
)
async def test_the_value_alone_decides(
    http: aiohttp.ClientSession,
    api: str,
    items: Platform,
    key: bytes | None,
    more: dict[str, Any],
    headers: list[tuple[str, bytes]],
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 1)

    value = {**more, "itemId": item_id.upper(), **containers(1)[0], "deletedAt": NOW}
    await items.send(items.names.deleted, value, key=key, headers=headers)

    assert_deleted(await asking, item_id, containers(1))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T05:34:05.5+02:30", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-01T23:04:05.123456-04:00", "2026-01-02T03:04:05.123456Z"),
    ],
)
async def test_times_are_told_in_utc(
    http: aiohttp.ClientSession, api: str, items: Platform, sent: str, told: str
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 1)

    await items.delete(item_id, containers(1)[0], deleted_at=sent)

    assert [c["deletedAt"] for c in (await asking).body["containers"]] == [told]


# ----------------------------------------------------------------------- early and late


@contextlib.asynccontextmanager
async def again_and_again(items: Platform, item_id: str) -> AsyncIterator[None]:
    """Say that the item is gone from its container, from before anybody has asked for it."""

    async def say() -> None:
        while True:
            await items.delete(item_id, containers(1)[0])

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.wait([saying])


async def test_a_reply_before_kafkas_acknowledgement_is_heard(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    # Deletions come all the time, so that one is there as soon as anybody listens, whether the
    # request was acknowledged or not.
    for _ in range(10):
        item_id = new_item_id()
        await items.publish_item(item_id, containers(1))
        async with again_and_again(items, item_id):
            assert_deleted(await take_down(http, api, item_id), item_id, containers(1))


async def test_what_comes_after_the_deadline_does_not_complete_the_next_takedown(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(2)
    await items.publish_item(item_id, places)
    first = await take_down(http, api, item_id, [("Prefer", "wait=1")])
    assert first.status == 504
    before = await heard(admin)
    for place in places:
        await items.delete(item_id, place)
    await until_heard(admin, before + 2)

    second = await take_down(http, api, item_id, [("Prefer", "wait=1")])
    assert_problem(second, 504, "deadline-passed", item_id=item_id, deleted=[], outstanding=places)

    items.on_request = confirm
    third = await take_down(http, api, item_id)
    assert_deleted(third, item_id, places)
    await items.wait_for_requests(item_id, 6)
    assert [request["takedownId"] for request in items.requests_for(item_id)] == [
        got.takedown_id for got in (first, second, third) for _ in places
    ]


# ------------------------------------------------------------------------------ replays


async def test_a_replayed_deletion_completes_nothing_and_is_shown_to_operators(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(2)
    await items.publish_item(item_id, places)
    before = (await scrape(admin)).value("takedown_stale_deletions_total")
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 2)

    for place in places:
        await items.delete(item_id, place, deleted_at="1999-12-31T23:59:59Z")
    await until(
        lambda samples: samples.value("takedown_stale_deletions_total") == before + 2, admin
    )
    assert not asking.done()
    async with http.get(f"{admin}/losses") as answer:
        losses = await answer.json()
    assert losses["staleDeletionsCount"] == before + 2
    assert {each["containerId"] for each in losses["staleDeletions"][:2]} == {"c0", "c1"}
    assert losses["staleDeletions"][0]["deletedAt"] == "1999-12-31T23:59:59.000000Z"
    assert losses["staleDeletions"][0]["itemId"] == item_id

    for place in places:
        await items.delete(item_id, place)
    assert_deleted(await asking, item_id, places)


async def test_a_replayed_deletion_is_a_504_and_no_200(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(1)
    await items.publish_item(item_id, places)
    asking = asyncio.create_task(take_down(http, api, item_id, [("Prefer", "wait=1")]))
    await items.wait_for_requests(item_id, 1)
    await items.delete(item_id, places[0], deleted_at="1999-12-31T23:59:59Z")

    got = await asking
    assert_problem(got, 504, "deadline-passed", item_id=item_id, deleted=[], outstanding=places)


async def test_duplicates_of_what_was_answered_are_not_late(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    before = (await scrape(admin)).value("takedown_events_late_total")
    for _ in range(5):
        item_id = new_item_id()
        await items.publish_item(item_id, containers(1))
        async with again_and_again(items, item_id):
            assert_deleted(await take_down(http, api, item_id), item_id, containers(1))
    assert (await scrape(admin)).value("takedown_events_late_total") == before
