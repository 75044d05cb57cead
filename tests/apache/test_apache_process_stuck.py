"""Fetchers that hang or have died while the broker answers every other question."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer
from support.asking import take_down
from support.measure import Measure
from support.platform import Names, Platform, confirm, containers, new_item_id, platform
from support.served import Served, served
from support.storm import Confirming

from app.lifecycle import Lifecycle
from app.settings import load
from bus.kafka.connection import Clients, Connection
from bus.kafka.reader import TopicReader
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener
from service import Service

pytestmark = pytest.mark.apache

NOTICED = 6.0
"""Seconds until a silent fetcher is noticed: patience of three, and a look every second."""

BACK = 4.0
TIMEOUT = 10

Break = Callable[[AIOKafkaConsumer], None]


# ------------------------------------------------------------------- inside one process


class Inside:
    """A service in this process, whose consumers can be got at."""

    def __init__(self, kafka: ApacheKafka, names: Names) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="takedown-test-")
        environment = {
            f"TAKEDOWN_{name.upper()}": str(value)
            for name, value in {
                "http_port": 0,
                "admin_port": 0,
                "timeout": TIMEOUT,
                "shutdown_grace": 0,
                "catalogue_folder": self._folder.name,
                **names.settings(),
            }.items()
        }
        self.lifecycle = Lifecycle()
        self.consumers: list[AIOKafkaConsumer] = []
        connection = Connection(kafka.bootstrap_servers, clients=Clients(consumer=self._consumer))
        self.service = Service(load(environment, {}), connection, self.lifecycle)

    def _consumer(self, **options: Any) -> AIOKafkaConsumer:
        self.consumers.append(AIOKafkaConsumer(**options))
        return self.consumers[-1]

    def fetching(self, reader: TopicReader) -> AIOKafkaConsumer:
        topic = reader.statistics().topic
        return next(
            consumer
            for consumer in reversed(self.consumers)
            if topic in {tp.topic for tp in consumer.assignment()}
        )

    async def until(self, *, ready: bool, within: float) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while self._ready() is not ready:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.01)
        return loop.time() - began

    def _ready(self) -> bool:
        service = self.service
        return service.readiness.why_not() is None and service.public_server.is_open


@pytest.fixture
async def inside(kafka: ApacheKafka, names: Names) -> AsyncIterator[Inside]:
    inside = Inside(kafka, names)
    try:
        await inside.service.start()
        await inside.until(ready=True, within=20)
        yield inside
    finally:
        await inside.lifecycle.stop()
        inside._folder.cleanup()


@pytest.fixture
async def items(kafka: ApacheKafka, inside: Inside, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names) as side:
        yield side


def end_the_fetch_task(consumer: AIOKafkaConsumer) -> None:
    """It ends without a word: https://github.com/aio-libs/aiokafka/issues/983."""
    consumer._fetcher._fetch_task.cancel()


def crash_the_fetch_task(consumer: AIOKafkaConsumer) -> None:
    """It ends with an error that `getmany` does not pass on."""

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    consumer._fetcher._get_actions_per_node = fail


def freeze_the_fetches(consumer: AIOKafkaConsumer) -> None:
    """They wait for ever: https://github.com/aio-libs/aiokafka/issues/1037."""

    async def never(*_arguments: object) -> bool:
        await asyncio.Event().wait()
        return False

    consumer._fetcher._proc_fetch_request = never


def stop_listening(consumer: AIOKafkaConsumer) -> None:
    """Answers come, and nobody takes them from the socket."""
    for connection in consumer._client._conns.values():
        connection._writer.transport.pause_reading()


@pytest.mark.parametrize(
    "break_it", [end_the_fetch_task, crash_the_fetch_task, freeze_the_fetches, stop_listening]
)
async def test_a_fetcher_that_falls_silent_is_noticed_replaced_and_costs_no_takedown(
    break_it: Break,
    inside: Inside,
    items: Platform,
    http: aiohttp.ClientSession,
    measured: Measure,
) -> None:
    service = inside.service
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    answer = asyncio.create_task(take_down(http, service.public_server.address, item_id))
    requests = await items.wait_for_requests(item_id, 2)

    break_it(inside.fetching(service.deletions))
    broken = asyncio.get_running_loop().time()
    await asyncio.sleep(0.6)  # a fetch that was under way has been answered by now
    for request in requests:
        await confirm(items, request)  # nobody hears of it
    await inside.until(ready=False, within=NOTICED)
    noticed = asyncio.get_running_loop().time() - broken
    problem = service.deletions.last_error
    assert "no fetch of" in problem
    back = await inside.until(ready=True, within=BACK)
    status, body, _ = await answer
    assert status == 200, "the deletions were read after all, from where it had stopped"
    assert len(body["containers"]) == 2
    measured(f"{break_it.__name__}: noticed after", noticed)
    measured(f"{break_it.__name__}: ready again after", back)


async def test_a_catalogue_whose_fetcher_fell_silent_gives_no_404_and_reads_what_it_missed(
    inside: Inside, items: Platform, http: aiohttp.ClientSession
) -> None:
    service = inside.service
    api = service.public_server.address
    assert service.items is not None
    end_the_fetch_task(inside.fetching(service.items))
    await asyncio.sleep(0.6)
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    items.on_request = confirm
    status, _, _ = await take_down(http, api, item_id)
    assert status in {200, 503}, "it exists, whether this one knows of it or not"
    await inside.until(ready=True, within=NOTICED + BACK)
    again = new_item_id() if status == 200 else item_id
    await items.publish_item(again, containers(1))
    assert (await take_down(http, api, again))[0] == 200


# ----------------------------------------------------------------------- on the network


@pytest.mark.parametrize("fault", ["stall", "drop_answers"])
async def test_a_fetching_connection_whose_answers_are_lost_is_noticed_and_replaced(
    fault: str, kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    def fetches_deletions(opening: bytes) -> bool:
        return f"{names.deleted}-fetching".encode() in opening

    confirming = Confirming()
    async with kafka.proxies() as proxies:
        proxied = kafka.bootstrap(Listener.PROXIED)
        async with (
            served(proxied, names, timeout=TIMEOUT) as service,
            platform(kafka.bootstrap_servers, names) as items,
        ):
            item_id = await service.item(items, 2)
            asking = asyncio.create_task(service.take_down(item_id))
            requests = await items.wait_for_requests(item_id, 2)
            await getattr(proxies[1], fault)(fetches_deletions)
            lost = asyncio.get_running_loop().time()
            for request in requests:
                await confirm(items, request)
            await service.until_ready(503, within=NOTICED)
            measured(
                f"fetches only, {fault}: noticed after", asyncio.get_running_loop().time() - lost
            )
            assert "no fetch of" in await service.until_detail("kafka consumer", "no fetch of")
            await proxies[1].heal()
            measured(f"fetches only, {fault}: ready again after", await service.until_ready())
            assert (await asking).status == 200
            items.on_request = confirming
            await until_works(service, items)
            await confirming.stop()
            report = await service.check(kafka.bootstrap_servers, names)
    measured(f"fetches only, {fault}", report)


async def until_works(service: Served, items: Platform) -> None:
    for _ in range(20):
        assert (await service.take_down(await service.item(items))).status == 200
