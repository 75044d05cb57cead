"""What the view does with its store, and with a topic that is another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.fakes import (
    ITEM,
    OTHER_ITEM,
    T0,
    FakeLog,
    FakeRecord,
    item_id,
    places,
    settle,
    takedown_now,
)

from bus.kafka.codec import encode
from bus.kafka.topic_identity import TopicIdentity
from catalogue.store.entries import count, key_of, pack
from catalogue.store.store import MemoryStore, StoreDamaged, StoreUnavailable
from catalogue.view import CatalogueView
from domain.messages import (
    CatalogueUnavailable,
    Container,
    ContainersFound,
    ItemId,
    ItemPublished,
    ItemUnknown,
)

WHERE = TopicIdentity("cluster", "log")


def published(*names: str, item: ItemId = ITEM) -> FakeRecord:
    return FakeRecord(item.encode(), encode(ItemPublished(item, places(*names), T0)))


def tombstone(item: ItemId = ITEM) -> FakeRecord:
    return FakeRecord(item.encode(), None)


class Kept:
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
async def running(store: MemoryStore | None = None, *, most: int = 1 << 20) -> AsyncIterator[Kept]:
    it = Kept(store or MemoryStore(), most=most)
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


# ------------------------------------------------------------------------------ keeping


async def test_what_was_read_is_kept_with_the_position_that_was_reached() -> None:
    async with running() as it:
        await it.read(published("a", "b"))
        assert it.store.kept() is None
        assert it.view.statistics().pending == 1
        await it.kept()
        kept = it.store.kept()
        assert kept is not None
        assert (kept.positions, kept.cluster_id, kept.topic_id) == ({0: 1}, "cluster", "log")
        assert (kept.items, kept.containers) == (1, 2)
        assert it.view.statistics().pending == 0


async def test_the_next_start_goes_on_from_there() -> None:
    store = MemoryStore()
    async with running(store) as it:
        assert it.view.resume() is None
        await it.read(published("a"), published("b", item=OTHER_ITEM))
    async with running(store) as it:
        assert it.view.resume() == ({0: 2}, WHERE, {})
        assert [event.containers for event in it.locate()] == [places("a")]


async def test_a_round_that_has_not_ended_is_not_kept() -> None:
    async with running() as it:
        await it.read(published("a"))
        it.view.apply(published("b", item=OTHER_ITEM))
        await it.kept()
        assert set(it.store.entries) == {key_of(ITEM)}
        assert [event.containers for event in it.locate(OTHER_ITEM)] == [places("b")]


async def test_positions_that_move_without_records_are_kept() -> None:
    async with running() as it:
        await it.view.advance({0: 7, 3: 9}, None)
        await it.kept()
        kept = it.store.kept()
        assert kept is not None
        assert (kept.positions, kept.cluster_id, kept.topic_id) == ({0: 7, 3: 9}, "", "")


async def test_nothing_new_writes_nothing() -> None:
    async with running() as it:
        await it.read(published("a"))
        await it.kept()
        for _ in range(10):
            await it.view.advance({0: 1}, WHERE)
            await asyncio.sleep(1)
        assert it.store.commits == 1


async def test_many_small_rounds_are_one_transaction() -> None:
    async with running() as it:
        for number in range(100):
            await it.read(published("a", item=item_id(number)))
        await it.kept()
        assert it.store.commits == 1
        assert it.view.statistics().items == 100


async def test_a_search_sees_what_is_being_written() -> None:
    store = _SlowStore()
    async with running(store) as it:
        await it.read(published("a"))
        await asyncio.sleep(1)
        assert store.commits == 0
        await it.read(published("b", item=OTHER_ITEM), tombstone())
        assert [event.containers for event in it.locate(OTHER_ITEM)] == [places("b")]
        assert it.locate() == []
        store.go.set()
        await it.kept()
        live = {key for key, value in store.entries.items() if count(value)}
        assert live == {key_of(OTHER_ITEM)}


async def test_the_reader_waits_while_too_much_is_not_written() -> None:
    store = _SlowStore()
    async with running(store, most=4000) as it:
        records = [published("a", item=item_id(number)) for number in range(40)]
        reading = asyncio.create_task(it.read(*records))
        await asyncio.sleep(60)
        assert not reading.done()
        store.go.set()
        await asyncio.sleep(60)
        assert reading.done()


# ------------------------------------------------------------------------ what fails


async def test_a_full_disk_is_no_readiness_and_no_wrong_answer_and_passes() -> None:
    async with running() as it:
        await it.read(published("a"))
        await it.kept()
        it.store.failing = StoreUnavailable("no space left on device")
        await it.read(published("b", item=OTHER_ITEM))
        await it.kept()
        assert it.view.why_not_ready() == "no space left on device"
        assert it.view.statistics().problem == "no space left on device"
        assert [event.containers for event in it.locate(OTHER_ITEM)] == [places("b")]
        it.store.failing = None
        await it.kept()
        assert it.view.why_not_ready() is None
        assert it.store.kept() is not None
        assert it.view.statistics().items == 2


async def test_what_came_while_a_batch_was_not_written_wins_over_it() -> None:
    store = _SlowStore()
    async with running(store) as it:
        await it.read(published("old"))
        await asyncio.sleep(1)
        await it.read(published("new"))
        store.failing = StoreUnavailable("no space left on device")
        store.go.set()
        await asyncio.sleep(0.5)
        store.failing = None
        await it.kept()
        assert store.commits == 1
        assert [event.containers for event in it.locate()] == [places("new")]


async def test_a_store_that_is_found_damaged_when_it_is_written_is_made_again() -> None:
    async with running() as it:
        await it.read(published("a"))
        await it.kept()
        it.store.failing = StoreDamaged("a page is missing")
        await it.read(published("b", item=OTHER_ITEM))
        await it.kept()
        assert it.log.read_again_for == ["the catalogue is damaged"]
        assert "a page is missing" in str(it.view.why_not_ready())


def spoil(store: MemoryStore, item: ItemId = ITEM) -> None:
    value = bytearray(store.entries[key_of(item)])
    value[-1] ^= 1
    store.entries[key_of(item)] = bytes(value)


async def test_a_damaged_entry_is_never_told_and_all_is_read_again() -> None:
    async with running() as it:
        await it.read(published("a"), published("b", item=OTHER_ITEM))
        await it.kept()
        spoil(it.store)
        told, other = it.locate(), it.locate(OTHER_ITEM)
        await settle()
        # Of the other one nothing is said either: the store is not to be believed.
        assert [type(event) for event in (*told, *other)] == [CatalogueUnavailable] * 2
        assert it.log.read_again_for == ["the catalogue is damaged"]
        assert it.view.why_not_ready() is not None

        await it.view.advance({0: 99}, WHERE)  # of the session that ends
        it.view.rewind()
        it.offset = 0
        assert it.view.known(OTHER_ITEM) is None
        await it.read(published("a"), published("b", item=OTHER_ITEM))
        await it.kept()
        it.log.caught_up = True
        assert [event.containers for event in it.locate()] == [places("a")]
        kept = it.store.kept()
        assert kept is not None
        assert (kept.positions, kept.items) == ({0: 2}, 2)
        assert it.view.statistics().rebuilds == 1
        assert it.view.why_not_ready() is None


async def test_a_miss_waits_for_the_check_of_the_store() -> None:
    store = _UncheckedStore()
    async with running(store) as it:
        await it.read(published("a"))
        told = it.locate(OTHER_ITEM)
        await settle()
        it.log.reach_end()
        await asyncio.sleep(1)
        assert told == []
        assert [type(event) for event in it.locate()] == [ContainersFound]
        store.checked.set()
        await settle()
        assert [type(event) for event in told] == [ItemUnknown]


async def test_a_check_that_finds_damage_gives_no_404() -> None:
    store = _UncheckedStore()
    async with running(store) as it:
        await it.read(published("a"))
        told = it.locate(OTHER_ITEM)
        await settle()
        it.log.reach_end()
        await settle()
        store.flawed = StoreDamaged("entries are missing")
        store.checked.set()
        await settle()
        assert [type(event) for event in told] == [CatalogueUnavailable]
        assert it.log.read_again_for == ["the catalogue is damaged"]


async def test_a_rewind_during_the_check_gives_no_404() -> None:
    store = _UncheckedStore()
    async with running(store) as it:
        await it.read(published("a"))
        told = it.locate(OTHER_ITEM)
        await settle()
        it.log.reach_end()
        await settle()
        it.view.rewind()
        store.checked.set()
        await settle()
        assert [type(event) for event in told] == [CatalogueUnavailable]


async def test_what_is_left_is_kept_when_it_closes() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("a"))
    assert set(store.entries) == {key_of(ITEM)}


async def test_what_is_damaged_is_not_written_to_when_it_closes() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("a"))
        await it.kept()
        spoil(store)
        it.locate()
        it.view.apply(published("b", item=OTHER_ITEM))
    assert set(store.entries) == {key_of(ITEM)}


async def test_a_store_that_cannot_be_looked_into_gives_neither_a_hit_nor_a_404() -> None:
    store = _ClosedStore()
    async with running(store) as it:
        await it.read()
        told = it.locate()
        await settle()
        it.log.reach_end()
        await settle()
        assert [type(event) for event in told] == [CatalogueUnavailable]
        assert it.log.read_again_for == []
        assert it.view.known(ITEM) is None


# ------------------------------------------------------------------ another topic, or behind


async def test_what_is_known_is_not_told_while_it_may_be_old() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("old"))
    async with running(store) as it:
        it.log.caught_up = False
        told = it.locate()
        await settle()
        assert told == []
        await it.read(published("new"))
        it.log.reach_end()
        await settle()
        assert [event.containers for event in told] == [places("new")]


async def test_after_a_rewind_nothing_of_the_old_log_is_known() -> None:
    async with running() as it:
        await it.read(published("a"))
        await it.kept()
        it.view.rewind()
        it.log.caught_up = False
        assert it.view.known(ITEM) is None
        it.offset = 0
        await it.read(published("b", item=OTHER_ITEM))
        await it.kept()
        assert set(it.store.entries) == {key_of(OTHER_ITEM)}
        told = it.locate()
        await settle()
        it.log.reach_end()
        await settle()
        assert [type(event) for event in told] == [ItemUnknown]


async def test_a_rewind_while_a_batch_is_written_leaves_nothing_of_it() -> None:
    store = _SlowStore()
    async with running(store) as it:
        await it.read(published("a"))
        await asyncio.sleep(1)
        it.view.rewind()
        assert it.view.known(ITEM) is None
        await it.view.advance({0: 0}, WHERE)
        store.go.set()
        await it.kept()
        assert store.entries == {}
        kept = store.kept()
        assert kept is not None
        assert kept.positions == {0: 0}


async def test_a_crash_during_a_rewind_leaves_the_old_log_to_be_found_out_again() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("a"))
        await it.kept()
        it.view.rewind()
        it.view.apply(published("z"))
        kept = store.kept()
        assert kept is not None
        assert kept.topic_id == "log"
        assert store.entries == {key_of(ITEM): pack(key_of(ITEM), places("a"), T0, 0, T0)}


# --------------------------------------------------------------------------- who follows


async def test_each_change_is_told_when_a_search_finds_it() -> None:
    async with running() as it:
        await it.read()
        it.view.apply(published("a"))
        it.view.apply(published("a", "b"))
        it.view.apply(tombstone())
        assert it.changes == [
            (ITEM, places("a"), T0),
            (ITEM, places("a", "b"), T0),
            (ITEM, (), T0),
        ]


@pytest.mark.parametrize("timestamp", [None, -1, 0, 2**63 - 1, -(2**63)])
async def test_a_null_value_ends_an_item_whatever_its_time(timestamp: Any) -> None:
    async with running() as it:
        await it.read(published("a"))
        it.view.apply(FakeRecord(ITEM.encode(), None, timestamp))
        assert it.view.known(ITEM) is None
        item, containers, listed_at = it.changes[-1]
        assert (item, containers, listed_at.utcoffset()) == (ITEM, (), timedelta(0))


async def test_no_change_is_told_while_the_topic_is_read_for_the_first_time() -> None:
    async with running() as it:
        it.log.caught_up = False
        await it.read(published("a"))
        await it.read(published("b"))
        it.log.caught_up = True
        await it.read()
        assert it.changes == []
        await it.read(published("c"))
        assert [containers for _, containers, _ in it.changes] == [places("c")]


async def test_changes_after_a_short_interruption_are_told() -> None:
    async with running() as it:
        await it.read()
        it.log.caught_up = False  # it has connected again
        await it.read(published("a"))
        assert len(it.changes) == 1


async def test_no_change_is_told_while_all_is_read_again_and_then_it_is_said_once() -> None:
    async with running() as it:
        await it.read(published("a"))
        it.changes.clear()
        it.rebuilt = 0
        it.view.rewind()
        it.log.caught_up = False
        await it.read(published("old"))
        await it.read(published("new"))
        assert (it.changes, it.rebuilt) == ([], 0)
        it.log.caught_up = True
        await it.read()
        await it.read()
        assert (it.changes, it.rebuilt) == ([], 1)
        listed = it.view.known(ITEM)
        assert listed is not None
        assert (listed.containers, listed.listed_at) == (places("new"), T0)
        await it.read(published("c"))
        assert [containers for _, containers, _ in it.changes] == [places("c")]


# ---------------------------------------------------------------------------- the stores


class _SlowStore(MemoryStore):
    """Writes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def commit(self, batch: Any) -> None:
        await self.go.wait()
        await super().commit(batch)


class _ClosedStore(MemoryStore):
    def get(self, key: bytes) -> bytes | None:
        raise StoreUnavailable("closed")


class _UncheckedStore(MemoryStore):
    """Has checked everything when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = asyncio.Event()

    async def proven(self) -> None:
        await self.checked.wait()
        await super().proven()
