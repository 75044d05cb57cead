"""An item whose records are in several partitions has the list that is newest by its own time.

That is so once partitions were added to the topic: a key's later records are elsewhere, and the
order of two partitions says nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from support.fakes import ITEM, T0, FakeLog, FakeRecord, item_id, places, takedown_now
from support.settling import settle

from bus.kafka.codec import encode
from catalogue.store.entries import count, key_of
from catalogue.store.store import MemoryStore, StoreDamaged, StoreUnavailable
from catalogue.view import CatalogueView
from domain.errors import KafkaUnavailable, UnreadableRecord
from domain.messages import ContainersFound, ItemId, ItemPublished


def published(*names: str, after: float, partition: int, item: ItemId = ITEM) -> FakeRecord:
    """A list of so many seconds after the first."""
    at = T0 + timedelta(seconds=after)
    value = encode(ItemPublished(item, places(*names), at))
    return FakeRecord(item.encode(), value, partition=partition)


def tombstone(*, after: float, partition: int, item: ItemId = ITEM) -> FakeRecord:
    at = round((T0.timestamp() + after) * 1000)
    return FakeRecord(item.encode(), None, timestamp=at, partition=partition)


class EagerLog(FakeLog):
    """A topic that is read to its end as soon as anyone asks."""

    async def catch_up(self) -> None:
        self.calls += 1


class View:
    """A view that runs."""

    def __init__(self, store: MemoryStore, log: FakeLog) -> None:
        self.store = store
        self.log = log
        self.changes: list[tuple[str, ...]] = []
        self.view = CatalogueView(store, on_change=self._on_change)
        self.view.attach(log)
        self.offset = 0

    def _on_change(self, _item: object, containers: Any, _at: object) -> None:
        self.changes.append(tuple(c.container_id for c in containers))

    async def read(self, *records: FakeRecord) -> None:
        for record in records:
            self.view.apply(record)
        self.offset += len(records)
        await self.view.advance({0: self.offset}, None)

    def read_unreadable(self, record: FakeRecord) -> None:
        with pytest.raises(UnreadableRecord):
            self.view.apply(record)

    async def finds(self, item: ItemId = ITEM) -> tuple[str, ...] | None:
        """What a search ends with; None for a 404."""
        told: list[Any] = []
        self.view.locate(takedown_now(item), told.append)
        await settle()
        (found,) = told
        if isinstance(found, ContainersFound):
            return tuple(c.container_id for c in found.containers)
        return None


@asynccontextmanager
async def running(
    store: MemoryStore | None = None, log: FakeLog | None = None
) -> AsyncIterator[View]:
    it = View(store or MemoryStore(), log or EagerLog())
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


async def test_the_newest_list_counts_whichever_partition_is_read_first() -> None:
    old = published("a", after=0, partition=0)
    new = published("b", after=1, partition=1)
    for records in ((old, new), (new, old)):
        async with running() as it:
            await it.read(*records)
            assert await it.finds() == ("b",)


def written(*names: str, after: float, partition: int) -> FakeRecord:
    """A list that is dated as each list of its item is, and was written after so many seconds."""
    at = round((T0.timestamp() + after) * 1000)
    value = encode(ItemPublished(ITEM, places(*names), T0))
    return FakeRecord(ITEM.encode(), value, timestamp=at, partition=partition)


@pytest.mark.parametrize("names", [("a", "b"), ()])
async def test_of_two_lists_of_the_same_time_the_one_that_was_written_later_counts(
    names: tuple[str, ...],
) -> None:
    old, new = written("a", after=0, partition=0), written(*names, after=5, partition=1)
    for records in ((old, new), (new, old)):
        async with running() as it:
            await it.read(*records)
            assert await it.finds() == (names or None)


async def test_an_item_that_was_listed_again_elsewhere_is_not_gone() -> None:
    """The simulation's seed 179531864502597: a 404 for an item that is in a container."""
    async with running() as it:
        await it.read(
            published("a", "b", after=0, partition=1),
            published("a", after=2, partition=0),
            published(after=1, partition=1),
        )
        assert await it.finds() == ("a",)
        await it.read(tombstone(after=1.5, partition=1))
        assert await it.finds() == ("a",)
        assert it.view.statistics().overtaken == 2


@pytest.mark.parametrize("end", [tombstone, published])
async def test_an_item_that_is_gone_does_not_come_back_with_an_older_list(end: Any) -> None:
    async with running() as it:
        await it.read(end(after=2, partition=0), published("a", after=1, partition=1))
        assert await it.finds() is None
        assert it.view.statistics().overtaken == 1


async def test_in_one_partition_the_later_record_counts_whatever_its_time() -> None:
    async with running() as it:
        await it.read(published("a", after=5, partition=0), published("b", after=1, partition=0))
        assert await it.finds() == ("b",)
        await it.read(tombstone(after=0, partition=0))
        assert await it.finds() is None
        assert it.view.statistics().overtaken == 0


async def test_of_two_lists_of_the_same_time_the_one_that_is_read_later_counts() -> None:
    async with running() as it:
        await it.read(published("a", after=0, partition=0), published("b", after=0, partition=1))
        assert await it.finds() == ("b",)


@pytest.mark.parametrize("end", [tombstone, published])
@pytest.mark.parametrize("doubt_first", [True, False])
async def test_an_item_is_in_doubt_if_a_list_may_be_as_old_as_what_cannot_be_read(
    end: Any, doubt_first: bool
) -> None:
    """The simulation's seed 90010493: the order of reading decided between a 404 and a 503."""
    doubt = FakeRecord(ITEM.encode(), b"{", timestamp=round(T0.timestamp() * 1000), partition=0)
    same_time, later = end(after=0, partition=1), end(after=0.001, partition=1)
    async with running() as it:
        if doubt_first:
            it.read_unreadable(doubt)
            await it.read(same_time)
        else:
            await it.read(same_time)
            it.read_unreadable(doubt)
        assert it.view.doubt(ITEM) is not None
        await it.read(later)
        assert it.view.doubt(ITEM) is None
        assert await it.finds() is None


async def test_a_null_value_without_a_time_ends_no_list_of_another_partition() -> None:
    async with running() as it:
        await it.read(published("a", after=0, partition=0))
        await it.read(FakeRecord(ITEM.encode(), None, timestamp=None, partition=1))
        assert await it.finds() == ("a",)
        await it.read(FakeRecord(ITEM.encode(), None, timestamp=None, partition=0))
        assert await it.finds() is None


async def test_nobody_who_follows_an_item_is_told_an_overtaken_list() -> None:
    async with running() as it:
        await it.read(published("a", after=0, partition=0))
        await it.read(published("b", after=2, partition=1), published("c", after=1, partition=0))
        assert it.changes[-1] == ("b",)
        assert ("c",) not in it.changes


async def test_any_order_of_reading_ends_with_the_same_lists() -> None:
    """Every way to interleave three partitions, each of which is in order."""
    rng = random.Random(7)
    for _ in range(30):
        logs: list[list[FakeRecord]] = [[], [], []]
        last: dict[ItemId, tuple[str, ...]] = {}
        for step in range(12):
            item, partition = item_id(rng.randrange(2)), rng.randrange(3)
            names = tuple(rng.sample("abcd", rng.randrange(3)))
            last[item] = names
            logs[partition].append(published(*names, after=step, partition=partition, item=item))
        for _ in range(10):
            left = [list(log) for log in logs]
            async with running() as it:
                while any(left):
                    await it.read(rng.choice([log for log in left if log]).pop(0))
                for item, names in last.items():
                    assert await it.finds(item) == (names or None)


# ------------------------------------------------------------------------- tombstones


async def test_tombstones_go_once_all_is_read_that_may_be_older() -> None:
    log = FakeLog()
    items = [item_id(number) for number in range(2000)]
    async with running(log=log) as it:
        await it.read(*(published("a", after=0, partition=0, item=item) for item in items))
        await it.read(*(tombstone(after=1, partition=0, item=item) for item in items))
        await asyncio.sleep(60)
        assert log.calls == 1
        kept = it.store.kept()
        assert kept is not None
        assert (kept.items, kept.tombstones) == (0, 2000)
        log.reach_end()
        await asyncio.sleep(1)
        await it.view.advance({0: it.offset, 1: 1}, None)
        await asyncio.sleep(1)
        assert it.store.entries == {}
        assert it.view.statistics().pending == 0


async def test_tombstones_stay_while_kafka_cannot_be_asked() -> None:
    log = FakeLog()
    async with running(log=log) as it:
        await it.read(tombstone(after=1, partition=0))
        for _ in range(3):
            await asyncio.sleep(6)
            log.fail(KafkaUnavailable("away"))
        assert log.calls == 3
        await it.read(published("a", after=0, partition=1))
        assert it.view.known(ITEM) is None


async def test_a_tombstone_that_came_during_the_question_stays() -> None:
    log = FakeLog()
    async with running(log=log) as it:
        await it.read(tombstone(after=1, partition=0))
        await asyncio.sleep(6)
        assert log.calls == 1
        await it.read(published("a", after=2, partition=0), tombstone(after=3, partition=0))
        log.reach_end()
        await settle()
        await it.read(published("b", after=2.5, partition=1))
        assert it.view.known(ITEM) is None


async def test_a_restart_remembers_what_is_gone_and_forgets_it_later() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(tombstone(after=5, partition=0))
    assert [count(value) for value in store.entries.values()] == [0]
    async with running(store) as it:
        await it.read(published("a", after=4, partition=1))
        assert await it.finds() is None
        await asyncio.sleep(11)
        await it.view.advance({0: 9}, None)
        await asyncio.sleep(1)
        assert store.entries == {}


async def test_a_list_is_written_over_a_tombstone_and_stays() -> None:
    async with running() as it:
        await it.read(tombstone(after=1, partition=0), published("a", after=2, partition=1))
        await asyncio.sleep(30)
        assert await it.finds() == ("a",)
        assert list(it.store.entries) == [key_of(ITEM)]


# ------------------------------------------------------------------------------ damage


class Failing(MemoryStore):
    """A store that cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def get(self, key: bytes) -> bytes | None:
        if self.error is not None:
            raise self.error
        return super().get(key)


@pytest.mark.parametrize("error", [StoreDamaged("bits"), StoreUnavailable("closed")])
async def test_what_cannot_be_compared_is_read_again_from_the_beginning(error: Exception) -> None:
    store = Failing(error)
    async with running(store) as it:
        await it.read(published("a", after=0, partition=1))
        assert len(it.log.read_again_for) == 1
        assert it.view.known(ITEM) is None
        it.view.rewind()
        await it.read(published("a", after=0, partition=1))
        assert it.view.known(ITEM) is not None
        store.error = None


async def test_a_damaged_entry_of_another_partition_is_not_trusted() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("a", after=5, partition=0))
        await asyncio.sleep(1)
        (key, value) = next(iter(store.entries.items()))
        store.entries[key] = value[:-1] + bytes([value[-1] ^ 1])
        await it.read(published("b", after=6, partition=1))
        assert len(it.log.read_again_for) == 1


async def test_a_list_whose_count_is_damaged_is_not_taken_for_a_tombstone() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("a", after=5, partition=0))
        await asyncio.sleep(1)
        (key, value) = next(iter(store.entries.items()))
        store.entries[key] = value[:4] + bytes(4) + value[8:]
        assert it.view.known(ITEM) is None
        assert len(it.log.read_again_for) == 1
