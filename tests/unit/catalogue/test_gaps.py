"""Records were skipped without knowing whose they are: what is not newer is in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from support.fakes import ITEM, OTHER_ITEM, T0, FakeLog, FakeRecord, places, takedown_now
from support.settling import settle

from bus.kafka.batches import Unreadable
from bus.kafka.codec import encode
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_identity import TopicIdentity
from catalogue.store.store import MemoryStore
from catalogue.view import CatalogueView
from domain.messages import (
    CatalogueUnavailable,
    ContainersFound,
    ItemId,
    ItemPublished,
    ItemUnknown,
)

NOW = T0 + timedelta(hours=1)
LOG = TopicIdentity("cluster", "log")


def at(seconds: float) -> int:
    return round((T0.timestamp() + seconds) * 1000)


def published(offset: int, *names: str, item: ItemId = ITEM, partition: int = 0) -> FakeRecord:
    """A list whose time is so many seconds after `T0` as its offset says."""
    time = T0 + timedelta(seconds=offset)
    value = encode(ItemPublished(item, places(*names), time)) if names else None
    return FakeRecord(
        item.encode(), value, timestamp=at(offset), partition=partition, offset=offset
    )


class Gapped:
    """A running view that has read its log to the end."""

    def __init__(self, store: MemoryStore) -> None:
        self.gaps = 0
        self.doubted: list[tuple[ItemId, datetime]] = []
        self.safeguards = Safeguards()
        self.view = CatalogueView(
            store,
            on_change=lambda *_: None,
            on_doubt=lambda *doubt: self.doubted.append(doubt),
            on_gap=self._on_gap,
            utc_now=lambda: NOW,
            safeguards=self.safeguards,
        )
        self.log = FakeLog()
        self.log.caught_up = True
        self.view.attach(self.log)

    def _on_gap(self) -> None:
        self.gaps += 1

    def skip(
        self,
        first: int,
        last: int,
        *,
        partition: int = 0,
        key: bytes | None = None,
        named: bool = False,
        seconds: float | None = None,
    ) -> None:
        time = at(last if seconds is None else seconds)
        record = FakeRecord(key, None, timestamp=time, partition=partition, offset=last)
        self.view.unreadable(record, Unreadable(first, last, "too large", named))

    async def found(self, item: ItemId = ITEM) -> Any:
        told: list[Any] = []
        self.view.locate(takedown_now(item, seconds=10), told.append)
        await settle()
        if not told:
            self.log.reach_end()
            await settle()
        return told[0]

    async def is_in_doubt(self, item: ItemId = ITEM) -> bool:
        found = await self.found(item)
        return isinstance(found, CatalogueUnavailable) and found.code == "item-in-doubt"


@asynccontextmanager
async def running(store: MemoryStore | None = None) -> AsyncIterator[Gapped]:
    gapped = Gapped(store or MemoryStore())
    await gapped.view.start()
    task = asyncio.create_task(gapped.view.run())
    await settle()
    try:
        yield gapped
    finally:
        task.cancel()
        await asyncio.wait([task])
        await gapped.view.stop()
        await gapped.view.close()


async def test_what_was_listed_before_and_what_never_was_is_in_doubt() -> None:
    async with running() as it:
        it.view.apply(published(1, "a"))
        it.skip(2, 9)
        assert await it.is_in_doubt(ITEM)
        assert await it.is_in_doubt(OTHER_ITEM)
        assert it.gaps == 1
        assert it.view.known(ITEM) is None
        doubt = it.view.doubt(ITEM)
        assert doubt is not None
        assert (doubt.partition, doubt.offset, doubt.reason) == (0, 9, "too large")


async def test_what_is_listed_or_ended_after_it_in_its_partition_is_not() -> None:
    async with running() as it:
        it.skip(2, 9, seconds=1000)
        it.view.apply(published(10, "a"))
        it.view.apply(published(11, item=OTHER_ITEM))
        assert isinstance(await it.found(ITEM), ContainersFound)
        assert isinstance(await it.found(OTHER_ITEM), ItemUnknown)


async def test_between_partitions_the_time_decides() -> None:
    async with running() as it:
        it.skip(5, 5)
        it.view.apply(published(4, "a", partition=1))
        it.view.apply(published(6, "a", item=OTHER_ITEM, partition=1))
        assert await it.is_in_doubt(ITEM)
        assert isinstance(await it.found(OTHER_ITEM), ContainersFound)
        assert it.doubted == [(ITEM, T0 + timedelta(seconds=5))]  # it is told with its list


async def test_a_time_that_cannot_be_is_that_of_reading() -> None:
    async with running() as it:
        for seconds in (-(2.0**40), 2.0**40):
            it.skip(5, 5, seconds=seconds)
            doubt = it.view.doubt(ITEM)
            assert doubt is not None
            assert doubt.doubted_at == NOW


async def test_a_single_record_whose_key_is_known_puts_its_item_in_doubt_and_no_other() -> None:
    async with running() as it:
        it.view.apply(published(1, "a"))
        it.view.apply(published(2, "a", item=OTHER_ITEM))
        it.skip(3, 3, key=ITEM.encode(), named=True)
        assert await it.is_in_doubt(ITEM)
        assert isinstance(await it.found(OTHER_ITEM), ContainersFound)
        assert (it.gaps, it.safeguards.list()) == (0, {})


async def test_it_is_listed_among_the_missing_safeguards_until_all_is_read_again() -> None:
    async with running() as it:
        it.skip(3, 3)
        assert list(it.safeguards.list()) == ["item_published[0]: every record is read"]
        it.view.rewind()
        assert it.safeguards.list() == {}
        assert it.view.doubt(ITEM) is None


async def test_a_restart_reads_all_again_since_it_may_be_gone() -> None:
    store = MemoryStore()
    async with running(store) as it:
        it.view.apply(published(1, "a"))
        it.skip(2, 9)
        await it.view.advance({0: 10}, LOG)
    async with running(store) as it:
        assert it.view.doubts(10)[0] == 0  # it is no item's
        assert await it.is_in_doubt(ITEM)
        assert it.view.distrust() is not None
        it.view.rewind()
        assert it.view.distrust() is None
        it.view.apply(published(1, "a"))
        await it.view.advance({0: 10}, LOG)
        assert isinstance(await it.found(ITEM), ContainersFound)


async def test_a_tombstone_is_retained_since_without_it_its_item_would_be_in_doubt() -> None:
    async with running() as it:
        it.skip(2, 9)
        it.view.apply(published(10))
        await it.view.advance({0: 11}, LOG)
        await asyncio.sleep(60)
        assert isinstance(await it.found(ITEM), ItemUnknown)
