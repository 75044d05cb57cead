"""Against a broker that is not there, goes away, hangs, or comes back with an empty memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from bus.kafka.connection import Connection
from bus.kafka.embedded_broker import EmbeddedBroker
from bus.kafka.topics import Topic, ensure_topics
from demo.items_service.app import ItemsService, ItemsServiceSettings
from demo.items_service.sample import DEMO_DELETABLE, sample_items
from domain.errors import KafkaUnavailable, SettingsError

from .items_helpers import PATIENCE, Kafka, connection_to, new_item, publish, running

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_outbox_survives_a_kill_between_commit_and_publish(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, item = str(tmp_path / "items.db"), new_item()
    async with running(kafka.connection, database=database) as service:
        await publish(service, item, "timeline:a")
        await service.wait_ready()

        send = AIOKafkaProducer.send

        async def fail(self: AIOKafkaProducer, topic: str, *rest: Any, **options: Any) -> Any:
            if topic != "item_reported":
                raise KafkaConnectionError("as if we were killed here")
            return await send(self, topic, *rest, **options)

        monkeypatch.setattr(AIOKafkaProducer, "send", fail)
        await kafka.report(item, "timeline:a")
        await kafka.until(lambda: service.statistics().deleted == 1)
    monkeypatch.undo()
    async with running(kafka.connection, database=database) as service:
        await kafka.until(lambda: kafka.deletions(item))
        await kafka.until(lambda: kafka.lists(item)[-1:] == [None])
        assert service.statistics().deleted == 0
        assert service.statistics().repeated == 0


async def test_a_restart_goes_on_where_it_was(kafka: Kafka, tmp_path: Path) -> None:
    database, items = str(tmp_path / "items.db"), [new_item(), new_item()]
    async with running(kafka.connection, database=database) as service:
        for item in items:
            await publish(service, item, "timeline:a")
        # Lists that are not sent yet when the item changes again are sent as one.
        await kafka.until(lambda: all(kafka.lists(item) for item in items))
        await kafka.report(items[0], "timeline:a")
        await kafka.until(lambda: kafka.deletions(items[0]))
        await service.wait_ready()
    await kafka.report(items[1], "timeline:a")
    async with running(kafka.connection, database=database) as service:
        await kafka.until(lambda: kafka.deletions(items[1]))
        await service.wait_ready()
        assert service.statistics().deleted == 1
        assert service.statistics().repeated == 0
    assert len(kafka.lists(items[0])) == 2


async def test_it_waits_for_a_broker_that_is_not_there_yet() -> None:
    broker = EmbeddedBroker()
    await broker.start()
    await broker.stop()
    async with running(connection_to(broker), sample=True) as service:
        assert service.statistics().sessions == 0
        await broker.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await service.wait_ready()
            kafka = Kafka(connection_to(broker))
            await kafka.open()
            await kafka.until(lambda: all(kafka.lists(sample.item_id) for sample in sample_items()))
            await kafka.close()
        finally:
            await service.stop()
            await broker.stop()


async def test_a_broker_that_comes_back_empty_gets_everything_again(broker: EmbeddedBroker) -> None:
    async with running(connection_to(broker), sample=True) as service:
        async with asyncio.timeout(PATIENCE):
            await service.wait_ready()
        before = Kafka(connection_to(broker))
        await before.open()
        gone = sample_items()[5]
        await before.report(gone.item_id, *(at.container_id for at in gone.containers))
        await before.until(lambda: before.lists(gone.item_id)[-1:] == [None])
        await before.close()

        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await broker.wait()
        await broker.stop()
        await broker.start()

        after = Kafka(connection_to(broker))
        await after.open()
        # Written at once, most likely before the service has noticed: it must not be missed.
        await after.report(DEMO_DELETABLE, "timeline:anna.berg")
        await after.until(lambda: after.deletions(DEMO_DELETABLE))
        await after.until(lambda: all(after.lists(sample.item_id) for sample in sample_items()))
        assert after.lists(gone.item_id)[-1] is None
        await after.until(
            lambda: (
                after.lists(DEMO_DELETABLE)[-1:]
                == [["group:cycling-north", "album:anna.berg.new-bike"]]
            )
        )
        await after.close()


async def test_a_new_database_reads_the_requests_from_their_start(kafka: Kafka) -> None:
    await kafka.report(DEMO_DELETABLE, "timeline:anna.berg")
    async with running(kafka.connection, sample=True):
        await kafka.until(lambda: kafka.deletions(DEMO_DELETABLE))


async def test_stop_is_quick_while_the_broker_hangs(broker: EmbeddedBroker) -> None:
    loop = asyncio.get_running_loop()
    async with running(connection_to(broker)) as service:
        async with asyncio.timeout(PATIENCE):
            await service.wait_ready()
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        await publish(service, new_item(), "timeline:a")
        began = loop.time()
        await service.stop()
        assert loop.time() - began < 5


async def test_stop_is_quick_while_it_looks_for_a_broker_that_hangs(
    broker: EmbeddedBroker,
) -> None:
    loop = asyncio.get_running_loop()
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    async with running(connection_to(broker)) as service:
        began = loop.time()
        await service.stop()
        assert loop.time() - began < 5


async def test_stop_is_quick_while_a_caller_waits_for_kafka() -> None:
    loop = asyncio.get_running_loop()
    async with (
        running(Connection("127.0.0.1:1")) as service,
        aiohttp.ClientSession(service.http_address) as session,
    ):
        call = asyncio.create_task(session.put(f"/items/{new_item()}", json={"containers": []}))
        async with asyncio.timeout(PATIENCE):
            await service._outbox.filled.wait()
        began = loop.time()
        await service.stop()
        assert loop.time() - began < 5
        with contextlib.suppress(aiohttp.ClientError):
            (await call).release()


async def test_stop_leaves_no_task_behind_and_may_be_called_again(broker: EmbeddedBroker) -> None:
    before = asyncio.all_tasks()
    async with running(connection_to(broker), sample=True) as service:
        async with asyncio.timeout(PATIENCE):
            await service.wait_ready()
        await service.stop()
        await service.stop()
        assert asyncio.all_tasks() == before


async def test_a_service_that_never_started_can_be_stopped() -> None:
    await ItemsService(ItemsServiceSettings(Connection("127.0.0.1:1"))).stop()


async def test_an_address_in_use_is_named() -> None:
    async with running(Connection("127.0.0.1:1")) as service:
        port = int(service.http_address.rpartition(":")[2])
        other = ItemsService(ItemsServiceSettings(Connection("127.0.0.1:1"), http_port=port))
        with pytest.raises(SettingsError, match=str(port)):
            await other.start()


async def test_a_database_that_fails_is_a_failure_for_good(kafka: Kafka) -> None:
    service = ItemsService(ItemsServiceSettings(kafka.connection))
    await service.start()
    async with asyncio.timeout(PATIENCE):
        await service.wait_ready()
        async with service._database.transaction() as connection:
            await connection.execute_fetchall("DROP TABLE placements")
        await kafka.report(new_item(), "timeline:a")
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            await service.wait_failed()
    await service.stop()


async def test_a_topic_that_is_missing_is_named_and_not_created_if_that_is_not_allowed(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    missing = Topic("items-elsewhere", 1, setting="TAKEDOWN_TOPIC_ITEM_PUBLISHED")
    topics = (missing,)
    async with running(kafka.connection, topics=topics, topics_create=False):
        async with asyncio.timeout(PATIENCE):
            while "topic is missing" not in caplog.text:  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.02)
        assert "items-elsewhere (TAKEDOWN_TOPIC_ITEM_PUBLISHED)" in caplog.text
        with pytest.raises(KafkaUnavailable, match="items-elsewhere"):
            await ensure_topics(kafka.connection, topics, create=False)
