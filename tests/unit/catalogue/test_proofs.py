"""A hit is told at once; that no newer list was missed is told once it is shown, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from support.fakes import ITEM, T0, FakeLog, FakeRecord, places, takedown_now
from support.settling import settle

from bus.kafka.codec import encode
from catalogue.store.store import MemoryStore, StoreDamaged
from catalogue.view import CatalogueView
from domain.errors import KafkaUnavailable
from domain.messages import (
    CatalogueCaughtUp,
    CatalogueUnavailable,
    Container,
    ContainersFound,
    ItemId,
    ItemPublished,
    Takedown,
)


def published(*names: str) -> FakeRecord:
    return FakeRecord(ITEM.encode(), encode(ItemPublished(ITEM, places(*names), T0)))


class Searched:
    """A running view that knows `ITEM`, and what it tells, also of newer lists."""

    def __init__(self, store: MemoryStore, *, waits_for_evidence: bool) -> None:
        self.told: list[Any] = []
        self.log = FakeLog()
        self.view = CatalogueView(
            store,
            on_change=self._on_change,
            on_rebuilt=lambda: self.told.append("rebuilt"),
            waits_for_evidence=waits_for_evidence,
        )
        self.view.attach(self.log)

    def _on_change(self, _item: ItemId, containers: tuple[Container, ...], _at: datetime) -> None:
        self.told.append(tuple(c.container_id for c in containers))

    async def read(self, *records: FakeRecord) -> None:
        for record in records:
            self.view.apply(record)
        await self.view.advance({0: 1}, None)

    def locate(self, *, seconds: float = 10.0) -> Takedown:
        self.told.clear()
        takedown = takedown_now(seconds=seconds)
        self.view.locate(takedown, self.told.append)
        return takedown


@asynccontextmanager
async def searched(
    *, store: MemoryStore | None = None, waits_for_evidence: bool = False
) -> AsyncIterator[Searched]:
    it = Searched(store or MemoryStore(), waits_for_evidence=waits_for_evidence)
    await it.view.start()
    task = asyncio.create_task(it.view.run())
    await settle()
    await it.read(published("a"))
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        await it.view.stop()
        assert it.view.statistics().proving == 0
        await it.view.close()


async def test_a_hit_is_told_at_once_and_its_proof_when_the_end_is_reached() -> None:
    async with searched() as it:
        mine = it.locate()
        found = ContainersFound(mine.takedown_id, places("a"), T0, proven=False)
        assert it.told == [found]
        await asyncio.sleep(5)
        assert it.told == [found]
        assert it.view.statistics().proving == 1
        it.log.reach_end()
        await settle()
        assert it.told == [found, CatalogueCaughtUp(mine.takedown_id)]
        assert it.view.statistics().proving == 0


async def test_a_newer_list_is_told_before_the_proof_in_the_same_turn_of_the_loop() -> None:
    async with searched() as it:
        mine = it.locate()
        it.view.apply(published("a", "b"))
        it.log.reach_end()  # as the reader does: first all records, then who waits
        await settle()
        assert it.told[1:] == [("a", "b"), CatalogueCaughtUp(mine.takedown_id)]


async def test_each_hit_asks_for_a_proof_of_its_own() -> None:
    async with searched() as it:
        for _ in range(3):
            it.locate()
        assert it.log.proofs == 3


async def test_a_hit_makes_no_task() -> None:
    async with searched() as it:
        before = len(asyncio.all_tasks())
        it.locate()
        assert len(asyncio.all_tasks()) == before


async def test_a_session_that_breaks_is_asked_again_until_it_is_shown() -> None:
    async with searched() as it:
        mine = it.locate()
        for _ in range(4):
            it.log.fail(KafkaUnavailable("the broker is away"))
            await asyncio.sleep(1)
        assert it.log.proofs == 5
        assert len(it.told) == 1
        it.log.reach_end()
        await settle()
        assert it.told[1:] == [CatalogueCaughtUp(mine.takedown_id)]


async def test_what_is_never_shown_is_given_up_before_the_deadline_and_in_silence() -> None:
    async with searched() as it:
        loop = asyncio.get_running_loop()
        mine = it.locate(seconds=2)
        while it.view.statistics().proving:
            it.log.fail(KafkaUnavailable("the broker is away"))
            await asyncio.sleep(0.01)
        assert loop.time() <= mine.deadline
        await asyncio.sleep(10)
        assert [type(event) for event in it.told] == [ContainersFound]


async def test_an_end_that_is_reached_while_all_is_read_again_is_no_proof() -> None:
    """What is newer is not published one by one then, but at once, when all is read."""
    async with searched() as it:
        mine = it.locate()
        it.view.rewind()
        it.log.caught_up = False
        it.log.reach_end()  # which nobody's log does, but it must not count
        await settle()
        assert [type(event) for event in it.told] == [ContainersFound]
        await it.read(published("a", "b"))
        it.log.reach_end()
        await asyncio.sleep(1)
        assert [type(event) for event in it.told] == [ContainersFound]
        it.log.caught_up = True
        it.log.reach_end()
        await settle()
        assert it.told[1:] == ["rebuilt", CatalogueCaughtUp(mine.takedown_id)]


async def test_a_store_that_is_found_damaged_meanwhile_proves_nothing() -> None:
    store = MemoryStore()
    async with searched(store=store) as it:
        await asyncio.sleep(5)  # it is written
        it.locate()
        store.failing = StoreDamaged("a page is missing")
        await it.read(published("a", "b"))
        await asyncio.sleep(1)
        it.log.reach_end()
        await asyncio.sleep(1)
        assert CatalogueCaughtUp not in {type(event) for event in it.told}


class _Unchecked(MemoryStore):
    """Has checked everything when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = asyncio.Event()

    async def proven(self) -> None:
        await self.checked.wait()


async def test_a_store_that_is_not_checked_yet_proves_nothing() -> None:
    """A list that was there before may have come back in a damaged file."""
    store = _Unchecked()
    async with searched(store=store) as it:
        it.locate()
        it.log.reach_end()
        await asyncio.sleep(1)
        it.log.reach_end()
        await asyncio.sleep(0.01)
        assert [type(event) for event in it.told] == [ContainersFound]
        store.checked.set()
        await asyncio.sleep(1)
        it.log.reach_end()
        await settle()
        assert CatalogueCaughtUp in {type(event) for event in it.told}


@pytest.mark.parametrize("asked_again", [False, True])
async def test_after_stop_nothing_is_told(asked_again: bool) -> None:
    async with searched() as it:
        it.locate()
        if asked_again:
            it.log.fail(KafkaUnavailable("the broker is away"))
            await settle()
        await it.view.stop()
        it.log.reach_end()
        await asyncio.sleep(5)
        assert [type(event) for event in it.told] == [ContainersFound]
        assert it.view.statistics().proving == 0


async def test_who_does_not_follow_lists_is_told_a_hit_with_its_proof() -> None:
    async with searched(waits_for_evidence=True) as it:
        mine = it.locate()
        await asyncio.sleep(5)
        assert it.told == []
        it.view.apply(published("a", "b"))
        it.told.clear()
        it.log.reach_end()
        await settle()
        assert it.told == [ContainersFound(mine.takedown_id, places("a", "b"), T0, proven=True)]


async def test_who_does_not_follow_lists_is_told_of_nothing_without_a_proof() -> None:
    async with searched(waits_for_evidence=True) as it:
        it.locate(seconds=2)
        await asyncio.sleep(5)
        assert [type(event) for event in it.told] == [CatalogueUnavailable]
