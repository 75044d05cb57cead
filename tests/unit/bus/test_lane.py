"""Many batches of one partition, with aiokafka's own place for those that wait to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer import message_accumulator
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from support.fakes import ITEM, places, takedown

from bus.kafka.aiokafka_fixes import Cause
from bus.kafka.outbox import Outbox
from bus.kafka.publication import KafkaPublication
from domain.messages import RequestsPublished

TOPIC = "item_reported"
TP = TopicPartition(TOPIC, 0)
REQUEST_TIMEOUT = 10.0
ACKNOWLEDGES = 0.1
"""Seconds that the broker takes for one batch."""


class SlowBroker:
    """A producer with a real accumulator, in front of a broker that takes its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The accumulator's own clock is not the loop's.
        now = asyncio.get_running_loop().time
        monkeypatch.setattr(message_accumulator, "time", SimpleNamespace(monotonic=now))
        cluster: Any = SimpleNamespace(
            partitions_for_topic=lambda _topic: {0},
            leader_for_partition=lambda _tp: 1,
            unauthorized_topics=frozenset(),
        )
        self.client: Any = SimpleNamespace(
            cluster=cluster, ready=self._ready, force_metadata_update=lambda: None
        )
        self._accumulator = MessageAccumulator(cluster, 4000, 0, 30)
        self.sent = 0
        self._task = asyncio.create_task(self._send())

    async def _ready(self, _node: int) -> bool:
        return True

    def create_batch(self) -> BatchBuilder:
        return self._accumulator.create_builder()

    async def send_batch(
        self, batch: BatchBuilder, topic: str, *, partition: int
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await self._accumulator.add_batch(
            batch, TopicPartition(topic, partition), REQUEST_TIMEOUT
        )
        return future

    async def _send(self) -> None:
        while True:
            batches, _ = self._accumulator.drain_by_nodes(ignore_nodes=())
            if not batches:
                await asyncio.wait([self._accumulator.waiter()])
                continue
            await asyncio.sleep(ACKNOWLEDGES)
            batches[1][TP].done(base_offset=0)
            self.sent += 1

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SlowBroker]:
    broker = SlowBroker(monkeypatch)
    yield broker
    await broker.stop()


async def test_aiokafka_gives_batches_up_long_before_their_time_if_many_wait(
    broker: SlowBroker,
) -> None:
    """The reason for the lane: if this fails after an upgrade, it may not be needed any more."""
    batches = []
    for _ in range(60):
        batch = broker.create_batch()
        batch.append(timestamp=None, key=b"k", value=b"v", headers=[])
        batches.append(broker.send_batch(batch, TOPIC, partition=0))
    began = asyncio.get_running_loop().time()
    outcomes = await asyncio.gather(*batches, return_exceptions=True)
    assert sum(isinstance(outcome, KafkaTimeoutError) for outcome in outcomes) > 30
    assert asyncio.get_running_loop().time() - began < REQUEST_TIMEOUT / 2


async def test_none_of_many_batches_is_given_up_while_kafka_accepts_them(
    broker: SlowBroker,
) -> None:
    tasks: set[asyncio.Task[None]] = set()
    producer: Any = broker
    outbox = Outbox(producer, TOPIC, cause=Cause(), topic_is_gone=print, tasks=tasks)
    told: list[Any] = []
    names = [f"t{number}" for number in range(100)]
    for name in names:
        containers = places(*(f"{name}-{number}" for number in range(20)))
        publication = KafkaPublication(
            takedown(ITEM, name=name, seconds=30), containers, told.append, lambda *_: None
        )
        requests = [(c, c.container_id.encode() * 8) for c in containers]
        outbox.add(publication, requests, asyncio.get_running_loop().time() + 2.0)
    await asyncio.wait(tasks, timeout=60)
    assert told == [RequestsPublished(name) for name in names]  # type: ignore[arg-type]
    assert broker.sent > 100  # batches, for ten seconds and more
