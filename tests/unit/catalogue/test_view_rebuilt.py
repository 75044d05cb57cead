"""A view whose store is damaged, unchecked or of another topic reports nothing wrong."""

from __future__ import annotations

import asyncio

from support.fakes import ITEM, OTHER_ITEM, T0, places
from support.settling import settle
from support.views import WHERE, ClosedStore, SlowStore, UncheckedStore, published, running

from catalogue.store.entries import key_of, pack
from catalogue.store.store import MemoryStore, StoreDamaged
from domain.messages import (
    CatalogueUnavailable,
    ContainersFound,
    ItemId,
    ItemUnknown,
)


async def test_a_store_that_is_found_damaged_when_it_is_written_is_recreated() -> None:
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
        # Of the other one nothing is said either: the store is not to be trusted.
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
    store = UncheckedStore()
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
    store = UncheckedStore()
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
    store = UncheckedStore()
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
    store = ClosedStore()
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
    store = SlowStore()
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
