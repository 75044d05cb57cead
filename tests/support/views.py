"""A view of `item_published` that runs on a store and a log of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from bus.kafka.codec import encode
from bus.kafka.topic_identity import TopicIdentity
from catalogue.store.store import MemoryStore, StoreUnavailable
from catalogue.view import CatalogueView
from domain.messages import (
    Container,
    ItemId,
    ItemPublished,
)
from support.fakes import ITEM, T0, FakeLog, FakeRecord, places, takedown_now
from support.settling import settle

WHERE = TopicIdentity("cluster", "log")


def published(*names: str, item: ItemId = ITEM) -> FakeRecord:
    return FakeRecord(item.encode(), encode(ItemPublished(item, places(*names), T0)))


def tombstone(item: ItemId = ITEM) -> FakeRecord:
    return FakeRecord(item.encode(), None)


class RunningView:
    """A view that runs on a store, its log, and what it tells."""

    def __init__(self, store: MemoryStore, *, most: int = 1 << 20) -> None:
        self.store = store
        self.changes: list[tuple[ItemId, tuple[Container, ...], datetime]] = []
        self.rebuilt = 0
        self.view = CatalogueView(
            store,
            on_change=lambda *change: self.changes.append(change),
            on_rebuilt=self._on_rebuilt,
            most=most,
            much=most // 2,
        )
        self.log = FakeLog()
        self.view.attach(self.log)
        self.offset = 0

    def _on_rebuilt(self) -> None:
        self.rebuilt += 1

    async def read(self, *records: FakeRecord) -> None:
        """One round of records."""
        for record in records:
            self.view.apply(record)
        self.offset += len(records)
        await self.view.advance({0: self.offset}, WHERE)

    def locate(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> list[Any]:
        told: list[Any] = []
        self.view.locate(takedown_now(item, seconds=seconds), told.append)
        return told

    async def kept(self) -> None:
        """Let time pass in which everything is written."""
        await asyncio.sleep(5)


@asynccontextmanager
async def running(
    store: MemoryStore | None = None, *, most: int = 1 << 20
) -> AsyncIterator[RunningView]:
    it = RunningView(store or MemoryStore(), most=most)
    await it.view.start()
    task = asyncio.create_task(it.view.run())
    await settle()
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        await it.view.stop()
        await it.view.close()


# ---------------------------------------------------------------------------- the stores


class SlowStore(MemoryStore):
    """Writes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def commit(self, batch: Any) -> None:
        await self.go.wait()
        await super().commit(batch)


class ClosedStore(MemoryStore):
    def get(self, key: bytes) -> bytes | None:
        raise StoreUnavailable("closed")


class UncheckedStore(MemoryStore):
    """Has checked everything when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = asyncio.Event()

    async def proven(self) -> None:
        await self.checked.wait()
        await super().proven()
