"""An actor that fails: its caller hears of it at once, and nothing of the takedown stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pykka import ActorRegistry
from support.asking import take_down
from support.brokers import Broker
from support.platform import Names, Platform, confirm, containers, new_item_id, platform

from actors.item_censor.actor import ItemCensor
from app.lifecycle import Lifecycle
from app.settings import load
from bus.kafka.connection import Connection
from coordinator.coordinator import Coordinator
from domain.messages import Drain
from service import Service


@pytest.fixture
def bootstrap(either: Broker) -> str:
    return either.address


@pytest.fixture
def fetch_max_wait(either: Broker) -> float:
    return either.fetch_max_wait


@pytest.fixture
async def service(
    settings: dict[str, object], bootstrap: str, fetch_max_wait: float, tmp_path: Path
) -> AsyncIterator[Service]:
    allowed = {"topics_create": "true", "catalogue_may_be_empty": "true", "shutdown_grace": 0}
    settings = {**settings, **allowed, "catalogue_folder": tmp_path}
    environment = {f"TAKEDOWN_{name.upper()}": str(value) for name, value in settings.items()}
    lifecycle = Lifecycle()
    service = Service(
        load(environment, {}), Connection(bootstrap, fetch_max_wait=fetch_max_wait), lifecycle
    )
    try:
        await service.start()
        async with asyncio.timeout(20):
            while not service.public_server.is_open:  # noqa: ASYNC110 - Kafka's threads, not ours
                await asyncio.sleep(0.02)
        yield service
    finally:
        await lifecycle.stop()


@pytest.fixture
async def items(service: Service, bootstrap: str, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(bootstrap, names) as side:
        yield side


async def in_flight(
    items: Platform, http: aiohttp.ClientSession, api: str
) -> asyncio.Task[tuple[int, dict[str, object], float]]:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(3))
    answer = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 3)
    return answer


async def test_the_caller_of_a_crashed_censor_gets_500_at_once_and_the_next_takedown_works(
    service: Service, items: Platform, http: aiohttp.ClientSession
) -> None:
    api = service.public_server.address
    answer = await in_flight(items, http, api)
    (censor,) = ActorRegistry.get_by_class(ItemCensor)

    censor.tell(Drain())  # an event that no state of it takes

    status, body, seconds = await answer
    assert status == 500
    assert body["type"] == "urn:takedown:problem:internal-error"
    assert body["takedownId"]
    assert seconds < 2.0, "at once, not when the time is out"
    assert service.bus.statistics().subscriptions == 0
    assert sum(len(machine.timers) for machine in service.feed.machines()) == 0
    items.on_request = confirm
    for _ in range(3):
        item_id = new_item_id()
        await items.publish_item(item_id, containers(2))
        assert (await take_down(http, api, item_id))[0] == 200
    assert ActorRegistry.get_by_class(ItemCensor) == [censor], "it was restarted in place"


async def test_a_censor_that_crashes_a_fourth_time_within_15_seconds_is_replaced(
    service: Service, items: Platform, http: aiohttp.ClientSession
) -> None:
    api = service.public_server.address
    seen = []
    for _ in range(4):
        answer = await in_flight(items, http, api)
        (censor,) = ActorRegistry.get_by_class(ItemCensor)
        seen.append(censor.actor_urn)
        censor.tell(Drain())
        assert (await answer)[0] == 500
    assert len(set(seen)) == 1
    assert ActorRegistry.get_by_class(ItemCensor) == []
    items.on_request = confirm
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    assert (await take_down(http, api, item_id))[0] == 200
    (censor,) = ActorRegistry.get_by_class(ItemCensor)
    assert censor.actor_urn not in seen


async def test_a_coordinator_that_crashes_answers_what_is_in_flight_and_goes_on(
    service: Service, items: Platform, http: aiohttp.ClientSession
) -> None:
    api = service.public_server.address
    answer = await in_flight(items, http, api)
    (coordinator,) = ActorRegistry.get_by_class(Coordinator)
    actor = service.coordinator
    assert actor is not None

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actor, "_finished", fail)
        await confirm_all(items)
        assert (await answer)[0] == 200, "its censor had answered before"
        async with asyncio.timeout(5):
            while not actor.restarts:  # noqa: ASYNC110 - the loop's own turn
                await asyncio.sleep(0.01)
    items.on_request = confirm
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    assert (await take_down(http, api, item_id))[0] == 200
    assert coordinator.is_alive()
    assert not service.failed.done()


async def confirm_all(items: Platform) -> None:
    for request in items.requests:
        await confirm(items, request)
