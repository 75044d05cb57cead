"""An outbox with a fake producer, and what its takedowns are told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from bus.kafka import outbox as outbox_module
from bus.kafka.aiokafka_fixes import Cause
from bus.kafka.outbox import Outbox
from bus.kafka.publication import KafkaPublication
from domain.messages import Container
from support.fakes import ITEM, takedown
from support.settling import settle

TOPIC = "item_reported"
OVERHEAD = 200
"""Bytes of a record besides its value, about: its key and headers."""


@dataclass
class FakeBatch:
    """Takes `room` records, and none once it is on its way."""

    room: int
    records: list[bytes] = field(default_factory=list)
    sent: bool = False

    def append(self, *, timestamp: Any, key: bytes, value: bytes, headers: Any) -> object | None:
        assert timestamp is None
        assert key
        assert [name for name, _ in headers] == ["takedown-id", "traceparent", "content-type"]
        if self.sent or len(self.records) == self.room:
            return None
        self.records.append(value)
        return object()

    def size(self) -> int:
        return sum(OVERHEAD + len(record) for record in self.records)


class FakeProducer:
    """One broker; batches wait in `sent` for what the test says of them.

    With `one_at_a_time` it accepts a batch only when the one before it is settled.
    """

    def __init__(self) -> None:
        self.one_at_a_time = False
        self.room = 100
        self.connected = True
        self.reachable = True
        self.takes: asyncio.Event | None = None
        self.partitions: set[int] = {0}
        self.leader = 1
        self.sent: list[tuple[FakeBatch, asyncio.Future[Any]]] = []
        cluster = SimpleNamespace(
            partitions_for_topic=lambda _topic: self.partitions,
            leader_for_partition=lambda _tp: self.leader,
            unauthorized_topics=frozenset(),
        )
        self.client = SimpleNamespace(
            cluster=cluster, ready=self._ready, force_metadata_update=lambda: None
        )

    async def _ready(self, _leader: int) -> bool:
        return self.reachable

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self.room)

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> asyncio.Future[Any]:
        assert topic == TOPIC
        assert partition in self.partitions
        if self.takes is not None:
            await self.takes.wait()
        while self.one_at_a_time and self.sent and not self.sent[-1][1].done():
            await asyncio.wait([self.sent[-1][1]])
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((batch, future))
        return future


class Post:
    """An outbox before a fake producer, and what its takedowns were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = FakeProducer()
        self.gone: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.told: list[Any] = []
        self.settled: list[tuple[int, int, str]] = []
        producer: Any = self.producer
        monkeypatch.setattr(outbox_module, "is_connected", lambda *_: self.producer.connected)
        self.cause = Cause()
        self.outbox = Outbox(
            producer, TOPIC, cause=self.cause, topic_is_gone=self.gone.append, tasks=self.tasks
        )

    def publish(
        self, name: str, containers: tuple[Container, ...], *, by: float = 2.0, item: Any = ITEM
    ) -> KafkaPublication:
        publication = KafkaPublication(
            takedown(item, name=name), containers, self.told.append, self._on_settled
        )
        requests = [(c, f"{name} {c.container_id}".encode()) for c in containers]
        self.outbox.add(publication, requests, asyncio.get_running_loop().time() + by)
        return publication

    def _on_settled(self, published: int, failed: int, cause: str) -> None:
        self.settled.append((published, failed, cause))

    async def acknowledge(self, number: int = 0, error: Exception | None = None) -> None:
        _, future = self.producer.sent[number]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        await settle()

    @property
    def sent(self) -> list[list[bytes]]:
        return [batch.records for batch, _ in self.producer.sent]
