"""The producer whose topic is deleted: known at once, recreated at once; on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from aiokafka.protocol.produce import ProduceRequest, ProduceResponse_v3
from support.fakes import place, takedown_now

from bus.kafka.connection import Clients, Connection
from bus.kafka.publisher import KafkaPublisher
from domain.messages import PublishFailed

TOPIC = "item_reported"
UNKNOWN_TOPIC = 3
NOT_LEADER = 6

AT_ONCE = 0.01
"""Seconds of the virtual clock: long before the next look."""


class Broker:
    """Holds the topic, or does not; `prepare` makes it again where that is allowed."""

    def __init__(self) -> None:
        self.exists = True
        self.may_be_made = True
        self.prepared = 0
        self.looks = 0

    async def prepare(self) -> None:
        self.prepared += 1
        self.exists = self.exists or self.may_be_made


class Client:
    """What a producer's client knows is what it last looked up."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known = True
        self.cluster = self
        self.unauthorized_topics: set[str] = set()
        self.answer = 0

    def partitions_for_topic(self, _topic: str) -> set[int] | None:
        return {0} if self._known else None

    def leader_for_partition(self, _tp: object) -> int:
        return 1

    async def ready(self, _node: int) -> bool:
        return True

    async def force_metadata_update(self) -> bool:
        self._broker.looks += 1
        self._known = self._broker.exists
        return True

    async def close(self) -> None:
        pass

    async def send(self, _node: int, request: ProduceRequest) -> Any:
        assert isinstance(request, ProduceRequest)
        return ProduceResponse_v3([(TOPIC, [(0, self.answer, -1, -1)])], 0)


class Producer:
    def __init__(self, client: Client) -> None:
        self.client = client
        self._sender = SimpleNamespace(sender_task=asyncio.get_running_loop().create_future())

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}


class Publishing:
    def __init__(self) -> None:
        self.broker = Broker()
        self.client = Client(self.broker)
        self.publisher = KafkaPublisher(
            connection=Connection(
                "nowhere:1", clients=Clients(producer=lambda **_: Producer(self.client))
            ),
            topic=TOPIC,
            prepare=self.broker.prepare,
        )

    async def refused(self, code: int) -> None:
        """A takedown's request gets this answer."""
        self.client.answer = code
        await self.client.send(1, ProduceRequest(None, -1, 1000, []))


@asynccontextmanager
async def publishing() -> AsyncIterator[Publishing]:
    """A publisher that works, in the middle between two looks."""
    it = Publishing()
    task = asyncio.create_task(it.publisher.run())
    try:
        await asyncio.sleep(2.5)
        assert it.publisher.working
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_topic_that_the_broker_refuses_as_unknown_is_recreated_at_once() -> None:
    async with publishing() as it:
        prepared = it.broker.prepared
        it.broker.exists = False
        await it.refused(UNKNOWN_TOPIC)
        assert not it.publisher.working
        assert it.publisher.last_error == "item_reported[0] is not known to its broker any more"
        await asyncio.sleep(AT_ONCE)
        assert it.broker.exists, "for the records that aiokafka sends again"
        assert it.broker.prepared == prepared + 1
        await asyncio.sleep(0.2)
        assert it.publisher.working


async def test_a_takedown_that_finds_the_topic_missing_is_refused_and_has_it_looked_into() -> None:
    async with publishing() as it:
        it.broker.exists = False
        await it.client.force_metadata_update()  # as aiokafka does by itself, now and then
        told: list[PublishFailed] = []
        it.publisher.publish(takedown_now(), (place("a"),), told.append)
        await asyncio.sleep(0)
        (failed,) = told
        assert "item_reported does not exist" in failed.cause
        assert not it.publisher.working
        await asyncio.sleep(AT_ONCE)
        assert it.broker.exists


async def test_a_topic_that_cannot_be_made_is_not_looked_at_all_the_time() -> None:
    async with publishing() as it:
        it.broker.exists = it.broker.may_be_made = False
        await it.refused(UNKNOWN_TOPIC)
        looks = it.broker.looks
        await asyncio.sleep(10)
        assert not it.publisher.working
        assert it.broker.looks - looks < 14
        it.broker.exists = True
        await asyncio.sleep(1.1)
        assert it.publisher.working


async def test_a_topic_that_goes_while_nobody_needs_it_is_noticed_by_the_next_look() -> None:
    async with publishing() as it:
        it.broker.exists = False
        await asyncio.sleep(1.0)
        assert it.broker.exists


async def test_a_leader_that_moved_is_left_to_aiokafka() -> None:
    async with publishing() as it:
        looks = it.broker.looks
        await it.refused(NOT_LEADER)
        await asyncio.sleep(AT_ONCE)
        assert it.publisher.working
        assert it.broker.looks == looks
