"""What the view does with its store, and with a topic that is another one."""

from __future__ import annotations

import asyncio

from support.fakes import (
    ITEM,
    OTHER_ITEM,
    item_id,
    places,
)
from support.views import WHERE, SlowStore, published, running, tombstone

from catalogue.store.entries import count, key_of
from catalogue.store.store import MemoryStore, StoreUnavailable


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
    store = SlowStore()
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
    store = SlowStore()
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
    store = SlowStore()
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


async def test_what_is_left_is_kept_when_it_closes() -> None:
    store = MemoryStore()
    async with running(store) as it:
        await it.read(published("a"))
    assert set(store.entries) == {key_of(ITEM)}
