"""Requests that wait for a leader or a connection, and those for very many containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from support.fakes import ITEM, places, takedown_now
from support.settling import settle

from bus.kafka import codec
from bus.kafka import outbox as outbox_module
from bus.kafka import publisher as publisher_module
from bus.kafka.connection import Clients, Connection
from bus.kafka.publisher import SLICE, KafkaPublisher
from bus.kafka.request_batch import LARGEST_RECORD
from domain.errors import KafkaUnavailable
from domain.messages import PublishFailed, RequestsPublished, Takedown

TOPIC = "item_reported"


class Builder:
    def __init__(self) -> None:
        self.records: list[bytes] = []

    def append(self, *, timestamp: Any, key: bytes, value: bytes, headers: Any) -> object | None:
        if len(self.records) == 300:
            return None
        self.records.append(value)
        return self

    def size(self) -> int:
        return sum(map(len, self.records))


class Kafka:
    """One broker that may refuse connections, and a producer for it that acknowledges at once."""

    def __init__(self) -> None:
        self.refuses = False
        self.leader = 1
        self.may_start = True
        self.records: list[bytes] = []
        self.per_turn: list[int] = []
        self.producers = 0
        self.stopped = False
        self.used_after_stop = 0
        cluster = SimpleNamespace(
            partitions_for_topic=lambda _topic: {0},
            leader_for_partition=lambda _tp: self.leader,
            unauthorized_topics=frozenset(),
        )
        self.client = SimpleNamespace(
            cluster=cluster,
            ready=self._ready,
            force_metadata_update=self._update,
            send=None,
            close=self.stop,
        )
        self._sender = SimpleNamespace(sender_task=None)

    async def _ready(self, _node: int) -> bool:
        self.used_after_stop += self.stopped
        return not self.refuses

    def _update(self) -> asyncio.Future[bool]:
        updated: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        updated.set_result(not self.refuses)
        return updated

    async def prepare(self) -> None:
        if not self.may_start or self.refuses:
            raise KafkaUnavailable("refused")

    async def start(self) -> None:
        self.producers += 1
        self.stopped = False
        self._sender.sender_task = asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        self.stopped = True

    def die(self) -> None:
        """End the producer's background task."""
        self._sender.sender_task.set_exception(OSError("broken"))

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> Builder:
        return Builder()

    async def send_batch(
        self, batch: Builder, _topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        assert partition == 0
        self.records += batch.records
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


class Publishing:
    def __init__(self, kafka: Kafka, wait: float) -> None:
        self.kafka = kafka
        self.told: list[Any] = []
        self.publisher = KafkaPublisher(
            connection=Connection("nowhere:1", clients=Clients(producer=lambda **_: kafka)),
            topic=TOPIC,
            prepare=kafka.prepare,
            wait_for_kafka=wait,
        )

    async def until_sent(self) -> None:
        """Until something of what is published was sent, and not a turn longer."""
        for _ in range(1000):
            if self.kafka.records:
                return
            await asyncio.sleep(0)

    def publish(self, *names: str, seconds: float = 10.0) -> Takedown:
        takedown = takedown_now(ITEM, seconds=seconds)
        self.publication = self.publisher.publish(takedown, places(*names), self.told.append)
        return takedown


@asynccontextmanager
async def publishing(*, wait: float = 2.0, starts: bool = True) -> AsyncIterator[Publishing]:
    kafka = Kafka()
    kafka.may_start = starts
    it = Publishing(kafka, wait)
    task = asyncio.create_task(it.publisher.run())
    await asyncio.sleep(0.5)
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "is_connected", lambda *_: True)


def now() -> float:
    return asyncio.get_running_loop().time()


# --------------------------------------------------------------------------------- waits


async def test_requests_wait_for_a_leader_that_refuses_connections_for_a_moment() -> None:
    async with publishing() as it:
        it.kafka.refuses = True
        takedown = it.publish("a", "b")
        await asyncio.sleep(1.8)
        assert (it.told, it.kafka.records) == ([], [])
        it.kafka.refuses = False
        await asyncio.sleep(0.1)
        assert it.told == [RequestsPublished(takedown.takedown_id)]
        assert len(it.kafka.records) == 2


async def test_requests_that_have_waited_in_vain_were_not_sent_and_never_are() -> None:
    async with publishing() as it:
        it.kafka.refuses = True
        it.publish("a", "b")
        await asyncio.sleep(2.1)
        (told,) = it.told
        assert isinstance(told, PublishFailed)
        assert not told.handed_over
        it.kafka.refuses = False
        await asyncio.sleep(5)
        assert it.kafka.records == []


async def test_the_deadline_ends_the_wait_of_requests_earlier() -> None:
    async with publishing() as it:
        it.kafka.refuses = True
        it.publish("a", seconds=1)
        await asyncio.sleep(0.8)
        (told,) = it.told
        assert not told.handed_over


async def test_a_takedown_with_little_time_does_not_end_the_wait_of_others() -> None:
    async with publishing() as it:
        it.kafka.refuses = True
        first = it.publish("a")
        it.publish("b", seconds=0.5)
        last = it.publish("c")
        await asyncio.sleep(0.45)
        (told,) = it.told
        assert isinstance(told, PublishFailed)
        assert (told.handed_over, told.unpublished) == (False, places("b"))
        await asyncio.sleep(1)
        it.kafka.refuses = False
        await asyncio.sleep(0.1)
        assert it.told[1:] == [
            RequestsPublished(first.takedown_id),
            RequestsPublished(last.takedown_id),
        ]
        assert [b'"containerId":"b"' in record for record in it.kafka.records] == [False, False]


async def test_requests_wait_for_a_partition_without_a_leader() -> None:
    async with publishing() as it:
        it.kafka.leader = -1
        takedown = it.publish("a")
        await asyncio.sleep(1)
        assert it.told == []
        it.kafka.leader = 1
        await asyncio.sleep(0.1)
        assert it.told == [RequestsPublished(takedown.takedown_id)]


async def test_requests_wait_for_a_producer_that_is_being_replaced() -> None:
    async with publishing(starts=False) as it:
        takedown = it.publish("a")
        await asyncio.sleep(1)
        assert it.told == []
        it.kafka.may_start = True
        await asyncio.sleep(0.5)
        assert it.told == [RequestsPublished(takedown.takedown_id)]


async def test_requests_of_a_producer_that_was_stopped_open_no_connection_that_nobody_closes() -> (
    None
):
    async with publishing() as it:
        it.kafka.refuses = True
        it.publish("a")
        it.kafka.die()
        await asyncio.sleep(1.5)
        assert it.kafka.stopped
        assert it.kafka.used_after_stop == 0
        (told,) = it.told
        assert isinstance(told, PublishFailed)
        assert not told.handed_over
        assert await it.publisher.flush(0)


async def test_requests_that_never_get_a_producer_were_not_sent() -> None:
    async with publishing(starts=False) as it:
        it.publish("a")
        await asyncio.sleep(2.1)
        (told,) = it.told
        assert isinstance(told, PublishFailed)
        assert not told.handed_over
        assert await it.publisher.flush(0)


async def test_requests_of_a_newer_list_wait_as_long_though_their_takedown_is_older() -> None:
    async with publishing() as it:
        takedown = takedown_now(ITEM)
        await asyncio.sleep(3)
        it.kafka.refuses = True
        it.publisher.publish(takedown, places("a"), it.told.append)
        await asyncio.sleep(1.8)
        assert it.told == []
        it.kafka.refuses = False
        await asyncio.sleep(0.1)
        assert it.told == [RequestsPublished(takedown.takedown_id)]


async def test_without_a_time_to_wait_requests_fail_at_once() -> None:
    async with publishing(wait=0) as it:
        it.kafka.refuses = True
        began = now()
        it.publish("a")
        await settle()
        assert [told.handed_over for told in it.told] == [False]
        it.kafka.leader = -1
        it.publish("b")
        assert [told.handed_over for told in it.told] == [False, False]
        assert now() == began


async def test_what_becomes_of_requests_does_not_hide_why_kafka_cannot_be_used() -> None:
    async with publishing() as it:
        it.kafka.refuses = True
        await asyncio.sleep(1.5)
        why = it.publisher.last_error
        assert why == "Kafka does not answer the producer"
        it.publish("a", seconds=0.6)
        it.publish("x" * LARGEST_RECORD)
        it.publish(*(f"c{number}" for number in range(2 * SLICE)))
        it.publication.stop()
        said = set()
        for _ in range(50):
            await asyncio.sleep(0.05)
            said.add(it.publisher.last_error)
        assert it.told
        assert said == {why}


async def test_kafka_is_noticed_soon_after_it_is_back() -> None:
    async with publishing() as it:
        for away in (0.9, 2.0, 5.0):
            it.kafka.refuses = True
            await asyncio.sleep(1.1)
            assert not it.publisher.working
            await asyncio.sleep(away)
            it.kafka.refuses = False
            await asyncio.sleep(1.0 if away > 3 else 0.35)
            assert it.publisher.working


# -------------------------------------------------------------------------------- slices


async def test_requests_for_very_many_containers_are_sent_in_slices_and_told_once() -> None:
    names = [f"c{number}" for number in range(10 * SLICE)]
    async with publishing() as it:
        takedown = it.publish(*names)
        assert it.kafka.records == []  # nothing within the event that asked for it
        counts = [0]
        while not it.told:
            await asyncio.sleep(0)
            counts.append(len(it.kafka.records))
        steps = [after - before for before, after in pairwise(counts)]
        assert max(steps) <= 2 * SLICE
        assert it.told == [RequestsPublished(takedown.takedown_id)]
        assert [record.count(b'"containerId":"c') for record in it.kafka.records] == [1] * len(
            names
        )
        await settle()
        assert await it.publisher.flush(0)


async def test_many_takedowns_of_very_many_containers_do_one_slice_in_a_turn_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = 0

    def encode(request: Any) -> bytes:
        nonlocal encoded
        encoded += 1
        return codec.encode(request)

    monkeypatch.setattr(publisher_module, "encode", encode)
    names = [f"c{number}" for number in range(4 * SLICE)]
    async with publishing() as it:
        takedowns = [it.publish(*names) for _ in range(5)]
        counts = [0]
        while len(it.told) < len(takedowns):
            await asyncio.sleep(0)
            counts.append(encoded)
        assert max(after - before for before, after in pairwise(counts)) <= SLICE
        assert {told.takedown_id for told in it.told} == {one.takedown_id for one in takedowns}
        await settle()
        assert await it.publisher.flush(0)


async def test_slices_that_are_not_sent_yet_are_not_sent_any_more_once_it_is_stopped() -> None:
    names = [f"c{number}" for number in range(20 * SLICE)]
    async with publishing() as it:
        it.publish(*names)
        await it.until_sent()
        it.publication.stop()
        await settle()
        assert 0 < len(it.kafka.records) < len(names)
        assert it.told == []
        statistics = it.publisher.statistics()
        assert statistics.in_flight == 0
        assert statistics.published + statistics.failed == len(names)


async def test_one_of_very_many_that_kafka_would_not_accept_keeps_all_the_others_back() -> None:
    names = [*(f"c{number}" for number in range(2 * SLICE)), "x" * LARGEST_RECORD]
    async with publishing() as it:
        it.publish(*names)
        await settle()
        (told,) = it.told
        assert isinstance(told, PublishFailed)
        assert not told.handed_over
        assert it.kafka.records == []


async def test_kafka_that_goes_between_two_slices_leaves_an_unknown_outcome() -> None:
    names = [f"c{number}" for number in range(4 * SLICE)]
    async with publishing(wait=0) as it:
        it.publish(*names)
        await it.until_sent()
        it.kafka.leader = -1
        await settle()
        told = it.told[-1]
        assert isinstance(told, PublishFailed)
        assert told.handed_over
        assert told.unacknowledged == ()
        assert len(told.published) + len(told.unpublished) == len(names)
