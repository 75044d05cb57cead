"""A broker that is stopped or killed and comes back where it was, with its data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from support.measure import Measure
from support.platform import Names, Platform, confirm, platform
from support.served import Served, served

from app.lifecycle import Lifecycle
from app.settings import load
from bus.kafka.aiokafka_fixes import sender_of
from bus.kafka.connection import Clients, Connection
from dev.apache_kafka.cluster import ApacheKafka
from service import Service

pytestmark = pytest.mark.apache

IDLE_MS = 700
"""A broker closes connections after this; the service asks once a second."""


@pytest.fixture
async def service(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    async with served(kafka.bootstrap_servers, names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as side:
        yield side


async def test_the_first_request_after_a_restart_that_nobody_noticed_works(
    kafka: ApacheKafka, service: Served, items: Platform, names: Names, measured: Measure
) -> None:
    await service.until_200(items)
    item_id = await service.item(items, 3)
    await kafka.restart(1)
    recovered = await service.until_ready()
    assert (await service.take_down(item_id)).status == 200
    measured("restart while idle: ready after the broker was", recovered)
    measured("restart while idle", await service.check(kafka.bootstrap_servers, names))


async def test_a_takedown_in_flight_outlives_a_broker_that_is_killed_and_comes_back(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    async with (
        # A request that was not acknowledged before the broker died is sent again for this long:
        # for longer than a broker takes to come back on a busy machine.
        served(kafka.bootstrap_servers, names, timeout=40, kafka_request_timeout=40) as service,
        platform(kafka.bootstrap_servers, names) as items,
    ):
        before = [await service.item(items, 2) for _ in range(20)]
        never_asked = await service.item(items, 2)
        answers = [asyncio.create_task(service.take_down(each)) for each in before]
        requests = [
            request for each in before for request in await items.wait_for_requests(each, 2)
        ]
        loop = asyncio.get_running_loop()
        killed = loop.time()
        await kafka.kill(1)
        await service.until_ready(503)
        assert (await service.take_down(never_asked)).status == 503
        await kafka.restart(1)
        back = loop.time()
        for request in requests:
            await confirm(items, request)
        got = await asyncio.gather(*answers)
        assert {asked.status for asked in got} == {200}, "nothing is lost"
        measured("broker killed: in flight answered after it was back", loop.time() - back)
        measured("broker killed: it was away for", back - killed)
        await service.until_ready()
        items.on_request = confirm
        assert (await service.take_down(never_asked)).status == 200
        await service.check(kafka.bootstrap_servers, names)


async def test_connections_that_the_broker_closes_for_being_idle_are_recreated_unseen(
    prepared: None,  # noqa: ARG001 - asked for its effect
    names: Names,
    measured: Measure,
) -> None:
    idle = {"connections.max.idle.ms": str(IDLE_MS)}
    async with (
        ApacheKafka(properties=idle) as kafka,
        served(kafka.bootstrap_servers, names) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        await service.until_200(items)
        loop = asyncio.get_running_loop()
        end = loop.time() + 8
        seconds = []
        while loop.time() < end:
            asked = await service.take_down(await service.item(items, 2))
            assert asked.status == 200, asked
            seconds.append(asked.got.seconds)
            await asyncio.sleep(2 * IDLE_MS / 1000)
        report = await service.check(kafka.bootstrap_servers, names)
        assert set(report.statuses) == {200}
        measured("idle connections closed by the broker: slowest 200", max(seconds))


# --------------------------------------------------------- a part of the client library died


@pytest.fixture
def producers() -> list[AIOKafkaProducer]:
    """The producers that `inside` has made, the newest one last."""
    return []


@pytest.fixture
async def inside(
    kafka: ApacheKafka, names: Names, tmp_path: Path, producers: list[AIOKafkaProducer]
) -> AsyncIterator[Service]:
    """The service in this process, so that its insides can be broken."""

    def producer(**options: Any) -> AIOKafkaProducer:
        producers.append(AIOKafkaProducer(**options))
        return producers[-1]

    connection = Connection(kafka.bootstrap_servers, clients=Clients(producer=producer))
    values = {
        "kafka_bootstrap_servers": kafka.bootstrap_servers,
        "http_port": 0,
        "admin_port": 0,
        "timeout": 3,
        "topics_create": "true",
        "catalogue_may_be_empty": "true",
        "shutdown_grace": 0,
        "catalogue_folder": tmp_path,
        **names.settings(),
    }
    environment = {f"TAKEDOWN_{name.upper()}": str(value) for name, value in values.items()}
    lifecycle = Lifecycle()
    service = Service(load(environment, {}), connection, lifecycle)
    try:
        await service.start()
        await until(lambda: service.public_server.is_open)
        yield service
    finally:
        await lifecycle.stop()


async def until(condition: Callable[[], bool], *, within: float = 20.0) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - whatever it looks at
            await asyncio.sleep(0.01)
    return loop.time() - began


def cancel_sender(producer: Any) -> None:
    sender_of(producer).cancel()


def cancel_synchronizer(producer: Any) -> None:
    producer.client._sync_task.cancel()


@pytest.mark.parametrize("kill", [cancel_sender, cancel_synchronizer])
async def test_a_producer_of_which_a_task_has_died_is_replaced(
    kill: Callable[[Any], None],
    inside: Service,
    producers: list[AIOKafkaProducer],
    kafka: ApacheKafka,
    names: Names,
    http: aiohttp.ClientSession,
    measured: Measure,
) -> None:
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
        # Only the service's insides are this test's own: the caller's side is as ever.
        caller = Served(None, inside.public_server.address, inside.admin_server.address, http)  # type: ignore[arg-type] # it has no process
        await caller.until_200(items)
        before = inside.publisher.statistics().producers
        kill(producers[-1])
        seconds = await until(lambda: inside.publisher.statistics().producers > before)
        await until(lambda: inside.readiness.why_not() is None)
        for _ in range(5):
            assert (await caller.take_down(await caller.item(items, 2))).status == 200
        name = kill.__name__.replace("cancel_", "")
        measured(f"producer's {name} died: replaced after", seconds)
        measured(f"producer's {name} died", await caller.check(kafka.bootstrap_servers, names))
