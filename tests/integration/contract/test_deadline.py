"""The deadline: the caller's may shorten it, nothing restarts it, and it is kept."""

from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import pytest
from support.answers import GRACE, assert_deleted, assert_problem, take_down
from support.platform import Platform, confirm, containers, new_item_id
from support.processes import Process

TIMEOUT = 3
"""The service's own; see conftest.py."""


async def test_without_a_preference_the_services_own_deadline_is_kept(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))

    got = await take_down(http, api, item_id)

    assert_problem(
        got, 504, "deadline-passed", item_id=item_id, deleted=[], outstanding=containers(1)
    )
    assert TIMEOUT <= got.seconds <= TIMEOUT + GRACE
    assert "preference-applied" not in got.headers


async def test_a_caller_cannot_have_a_longer_deadline(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_ids = [new_item_id() for _ in range(3)]
    for item_id in item_ids:
        await items.publish_item(item_id, containers(1))

    answers = await asyncio.gather(
        *(
            take_down(http, api, item_id, [("Prefer", f"wait={wait}")])
            for item_id, wait in zip(item_ids, ("4", "3600", "9" * 40), strict=True)
        )
    )

    for got in answers:
        assert got.status == 504
        assert TIMEOUT <= got.seconds <= TIMEOUT + GRACE
        assert "preference-applied" not in got.headers


@pytest.mark.parametrize(
    "headers",
    [
        ["wait=1"],
        ['wait="1"'],
        ["WAIT=1"],
        ["Wait = 001"],
        ["respond-async, wait=1; why=hurry"],
        ['handling=lenient; note="a, wait=3", wait=1, return=minimal'],
        ["respond-async", "wait=1", "wait=2"],
        [", wait=1,"],
    ],
)
async def test_a_caller_can_have_a_shorter_deadline_however_it_is_written(
    http: aiohttp.ClientSession, api: str, items: Platform, headers: list[str]
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))

    got = await take_down(http, api, item_id, [("Prefer", header) for header in headers])

    assert got.status == 504
    assert 1 <= got.seconds <= 1 + GRACE
    assert got.headers["preference-applied"] == "wait=1"


async def test_a_shorter_deadline_is_applied_to_every_kind_of_answer(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    items.on_request = confirm

    deleted = await take_down(http, api, item_id, [("Prefer", "wait=2")])
    unknown = await take_down(http, api, new_item_id(), [("Prefer", "wait=2")])

    assert_deleted(deleted, item_id, containers(1))
    assert deleted.headers["preference-applied"] == "wait=2"
    assert unknown.status == 404
    assert unknown.headers["preference-applied"] == "wait=2"


@pytest.mark.parametrize(
    "headers",
    [
        ["wait"],
        ["wait="],
        ["wait=0"],
        ["wait=-1"],
        ["wait=1.5"],
        ["wait=soon"],
        ['wait="1'],
        ["wait=1 2"],
        ["=1"],
        ["respond-async", "wait=x"],
        ["wait=\xb2"],
    ],
)
async def test_an_invalid_preference_is_a_400_and_nothing_is_begun(
    http: aiohttp.ClientSession, api: str, items: Platform, headers: list[str]
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))

    got = await take_down(http, api, item_id, [("Prefer", header) for header in headers])

    assert_problem(got, 400, "invalid-prefer", item_id=item_id)
    assert "preference-applied" not in got.headers
    items.on_request = confirm
    assert (await take_down(http, api, item_id)).status == 200
    assert len(items.requests_for(item_id)) == 1


async def test_events_along_the_way_do_not_restart_the_deadline(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(6)
    await items.publish_item(item_id, places)

    async def one_by_one() -> None:
        await items.wait_for_requests(item_id, 6)
        for place in places[:-1]:
            await items.delete(item_id, place)
            await asyncio.sleep(0.3)

    confirming = asyncio.create_task(one_by_one())
    got = await take_down(http, api, item_id, [("Prefer", "wait=2")])
    await confirming

    assert_problem(
        got,
        504,
        "deadline-passed",
        item_id=item_id,
        deleted=places[:5],
        outstanding=places[5:],
    )
    assert 2 <= got.seconds <= 2 + GRACE


@pytest.mark.parametrize("paused", [0.71, 0.75, 0.78, 0.8, 1.2, 2.0])
async def test_a_service_that_was_paused_over_a_deadline_says_so_and_calls_it_no_defect(
    http: aiohttp.ClientSession, api: str, items: Platform, service: Process, paused: float
) -> None:
    item_ids = [new_item_id() for _ in range(5)]
    await items.publish_items({item_id: containers(2) for item_id in item_ids})
    asking = [
        asyncio.create_task(take_down(http, api, item_id, [("Prefer", "wait=1")]))
        for item_id in item_ids
    ]
    for item_id in item_ids:
        await items.wait_for_requests(item_id, 2)
    await asyncio.sleep(0.5)

    os.kill(service.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(paused)
    finally:
        os.kill(service.pid, signal.SIGCONT)

    # Nobody can answer while he sleeps; what counts is what is said afterwards.
    assert [got.status for got in await asyncio.gather(*asking)] == [504] * 5
