"""Takedowns beside each other, callers that hang up, and nothing that is kept afterwards (I5)."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, caller, hurried_caller, take_down
from support.observed import given_back, quiet, scrape, until
from support.platform import Platform, confirm, confirm_soon, containers, new_item_id
from support.processes import Process
from support.wire import connected, request

TIMEOUT = 10


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"timeout": TIMEOUT}


async def test_two_items_at_once_do_not_touch_each_other(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    one, other = new_item_id(), new_item_id()
    await items.publish_items({one: containers(2), other: containers(3)})

    async def confirm_one(platform: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] == one:
            await confirm(platform, request)

    items.on_request = confirm_one
    first, second = await asyncio.gather(
        take_down(http, api, one),
        take_down(http, api, other, [("Prefer", "wait=1")]),
    )

    assert_deleted(first, one, containers(2))
    assert_problem(
        second, 504, "deadline-passed", item_id=other, deleted=[], outstanding=containers(3)
    )


async def test_the_same_item_twice_at_once_is_answered_twice(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(2)
    await items.publish_item(item_id, places)
    asking = [asyncio.create_task(take_down(http, api, item_id)) for _ in range(2)]
    requests = await items.wait_for_requests(item_id, 4)

    for place in places:
        await items.delete(item_id, place)
    answers = await asyncio.gather(*asking)

    ids = {got.takedown_id for got in answers}
    assert len(ids) == 2
    for got in answers:
        assert_deleted(got, item_id, places)
        own = [r["containerId"] for r in requests if r["takedownId"] == got.takedown_id]
        assert own == ["c0", "c1"]


async def test_five_hundred_at_once_are_all_answered_in_time_and_leave_nothing_behind(
    service: Process, api: str, admin: str, items: Platform
) -> None:
    before = await quiet(admin)
    lists = {new_item_id(): containers(1 + number % 3) for number in range(500)}
    await items.publish_items(lists)
    items.on_request = confirm_soon

    async with hurried_caller() as http:
        answers = await asyncio.gather(*(take_down(http, api, item_id) for item_id in lists))

    for got, (item_id, places) in zip(answers, lists.items(), strict=True):
        assert_deleted(got, item_id, places)
    assert len({got.takedown_id for got in answers}) == 500
    for item_id, places in lists.items():
        named = [r["containerId"] for r in items.requests_for(item_id)]
        assert sorted(named) == sorted(place["containerId"] for place in places)
    await given_back(admin, before)
    assert service.returncode is None


async def test_after_every_kind_of_answer_everything_is_given_back(
    api: str, admin: str, items: Platform
) -> None:
    before = await quiet(admin)
    deleted, stuck = new_item_id(), new_item_id()
    await items.publish_items({deleted: containers(3), stuck: containers(20)})

    async def confirm_some(platform: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] == deleted or request["containerId"] == "c7":
            await confirm(platform, request)

    items.on_request = confirm_some
    async with caller() as http:
        for _ in range(3):
            asked = (
                take_down(http, api, deleted),
                take_down(http, api, stuck, [("Prefer", "wait=1")]),
                take_down(http, api, new_item_id()),
                take_down(http, api, "nonsense"),
                take_down(http, api, deleted, [("Prefer", "wait=x")]),
            )
            answers = await asyncio.gather(*asked)
            assert [got.status for got in answers] == [200, 504, 404, 400, 400]

    await given_back(admin, before)


# ----------------------------------------------------------------- callers that hang up


@pytest.mark.parametrize("politely", [True, False], ids=["close", "reset"])
async def test_a_takedown_goes_on_when_its_caller_hangs_up_and_is_finished(
    api: str, admin: str, items: Platform, politely: bool
) -> None:
    before = await quiet(admin)
    finished = (await scrape(admin)).value("takedown_outcomes_total", outcome="Deleted")
    item_ids = [new_item_id() for _ in range(5)]
    await items.publish_items({item_id: containers(2) for item_id in item_ids})
    for item_id in item_ids:
        async with connected(api) as caller:
            await caller.send(request("DELETE", f"/items/{item_id}"))
            await items.wait_for_requests(item_id, 2)
            if not politely:
                caller.abort()
    assert (await scrape(admin)).value("takedown_in_flight") == 5

    for item_id in item_ids:
        for place in containers(2):
            await items.delete(item_id, place)

    await until(
        lambda samples: samples.value("takedown_outcomes_total", outcome="Deleted") == finished + 5,
        admin,
    )
    await given_back(admin, before)


async def test_a_takedown_whose_caller_hung_up_ends_at_its_deadline(
    api: str, admin: str, items: Platform
) -> None:
    before = await quiet(admin)
    timed_out = (await scrape(admin)).value("takedown_outcomes_total", outcome="TimedOut")
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    async with connected(api) as caller:
        await caller.send(request("DELETE", f"/items/{item_id}", "Prefer: wait=1"))
        await items.wait_for_requests(item_id, 2)
        caller.abort()

    await until(
        lambda samples: (
            samples.value("takedown_outcomes_total", outcome="TimedOut") == timed_out + 1
        ),
        admin,
        within=2,
    )
    await given_back(admin, before)


async def test_callers_that_hang_up_at_any_moment_leave_nothing_behind(
    api: str, admin: str, items: Platform
) -> None:
    before = await quiet(admin)
    lists = {new_item_id(): containers(3) for _ in range(60)}
    await items.publish_items(lists)
    items.on_request = confirm_soon

    async def hang_up(item_id: str, after: float) -> None:
        data = request("DELETE", f"/items/{item_id}")
        async with connected(api) as caller:
            # Every fifth one does not even say all it wanted to say.
            await caller.send(data[:40] if after < 0.002 else data)
            await asyncio.sleep(after)
            caller.abort()

    await asyncio.gather(
        *(hang_up(item_id, number % 5 * 0.002) for number, item_id in enumerate(lists))
    )

    await given_back(admin, before, within=TIMEOUT + 5)
