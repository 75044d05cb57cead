"""503: nothing was published, and the caller is told so at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, caller, take_down
from support.platform import Names, Platform, confirm, containers, new_item_id, platform
from support.processes import running

AT_ONCE = 0.25


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"timeout": 3, "pool_max": 2}


@pytest.fixture
async def full(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> AsyncIterator[dict[str, asyncio.Task[int]]]:
    """Two takedowns are in flight, which is all that the service takes."""
    item_ids = [new_item_id() for _ in range(2)]
    await items.publish_items({item_id: containers(1) for item_id in item_ids})

    async def ask(item_id: str) -> int:
        return (await take_down(http, api, item_id)).status

    in_flight = {item_id: asyncio.create_task(ask(item_id)) for item_id in item_ids}
    for item_id in item_ids:
        await items.wait_for_requests(item_id, 1)
    yield in_flight
    await asyncio.gather(*in_flight.values())


async def test_one_more_than_the_pool_takes_is_answered_with_503_at_once(
    http: aiohttp.ClientSession,
    api: str,
    items: Platform,
    bootstrap: str,
    full: dict[str, asyncio.Task[int]],
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))

    answers = await asyncio.gather(*(take_down(http, api, item_id) for _ in range(20)))

    for got in answers:
        assert_problem(got, 503, "overloaded", item_id=item_id)
        assert int(got.headers["retry-after"]) >= 1
        assert got.seconds <= AT_ONCE
    for other in full:
        await items.delete(other, containers(1)[0])
    assert await asyncio.gather(*full.values()) == [200, 200]
    requests = await items.all_requests(bootstrap)
    assert not {got.takedown_id for got in answers} & {r["takedownId"] for r in requests}


async def test_a_place_that_becomes_free_can_be_had(
    http: aiohttp.ClientSession, api: str, items: Platform, full: dict[str, asyncio.Task[int]]
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    assert (await take_down(http, api, item_id)).status == 503

    first, second = full
    await items.delete(first, containers(1)[0])
    assert await full[first] == 200
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 1)
    await items.delete(item_id, containers(1)[0])

    assert_deleted(await asking, item_id, containers(1))
    await items.delete(second, containers(1)[0])


async def test_until_kafka_was_reached_once_connections_of_callers_are_refused() -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        with running(
            "serve",
            kafka_bootstrap_servers=f"127.0.0.1:{taken.getsockname()[1]}",
            http_port=0,
            admin_port=0,
            timeout=3,
            log_format="json",
        ) as service:
            addresses = service.wait_for_event("listening")
            async with caller() as http:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await take_down(http, addresses["http"], new_item_id())
                async with http.get(f"{addresses['admin']}/livez") as answer:
                    assert answer.status == 200
                async with http.get(f"{addresses['admin']}/readyz") as answer:
                    assert answer.status == 503
                    body = await answer.json()
            assert body["status"] == "not ready"
            assert [name for name, check in body["checks"].items() if not check["ok"]] == [
                "kafka consumer",
                "catalogue",
                "kafka producer",
                "topic settings",
            ]
            assert service.stop() == 0


async def test_a_service_that_has_just_said_ready_knows_every_item(bootstrap: str) -> None:
    names = Names()
    settings = {
        "kafka_bootstrap_servers": bootstrap,
        "kafka_fetch_max_wait": 0.01,
        "http_port": 0,
        "admin_port": 0,
        "log_format": "json",
        **names.settings(),
    }
    lists = {new_item_id(): containers(2) for _ in range(2000)}
    with running("serve", **settings) as first:
        first.wait_for_event("ready")
        async with platform(bootstrap, names) as items:
            await items.publish_items(lists)
            items.on_request = confirm
            with running("serve", **settings) as second:
                api = second.wait_for_event("ready")["http"]
                async with caller() as http:
                    for item_id in list(lists)[::400]:
                        got = await take_down(http, api, item_id)
                        assert_deleted(got, item_id, containers(2))
                assert second.stop() == 0
        assert first.stop() == 0
