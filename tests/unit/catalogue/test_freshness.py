"""What is stored is read on from only while Kafka still keeps the null values since then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from support.fakes import ITEM, T0, FakeLog, FakeRecord, places
from support.settling import settle

from bus.kafka.codec import encode
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_identity import TopicIdentity
from catalogue.store.store import MemoryStore
from catalogue.view import CatalogueView
from domain.messages import ItemPublished

HOUR = 3600.0
WHERE = TopicIdentity("cluster", "log")


@dataclass
class Platform:
    """The wall clock, which is set as a test likes, and what is known of the topic."""

    retention: float | None = HOUR
    ahead: float = 0.0

    def utc_now(self) -> datetime:
        return T0 + timedelta(seconds=asyncio.get_running_loop().time() + self.ahead)


class Running:
    def __init__(self, store: MemoryStore, platform: Platform) -> None:
        self.safeguards = Safeguards()
        self.log = FakeLog()
        self.view = CatalogueView(
            store,
            utc_now=platform.utc_now,
            delete_retention=lambda: platform.retention,
            safeguards=self.safeguards,
        )
        self.view.attach(self.log)
        self.offset = 0

    async def read(self, *names: str) -> None:
        for name in names:
            value = encode(ItemPublished(ITEM, places(name), T0))
            self.view.apply(FakeRecord(ITEM.encode(), value))
        self.offset += len(names)
        await self.view.advance({0: self.offset}, WHERE)


@asynccontextmanager
async def running(store: MemoryStore, platform: Platform) -> AsyncIterator[Running]:
    it = Running(store, platform)
    await it.view.start()
    it.view.resume()
    task = asyncio.create_task(it.view.run())
    await settle()
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        await it.view.stop()
        await it.view.close()


async def test_a_first_start_has_nothing_to_distrust() -> None:
    async with running(MemoryStore(), Platform()) as it:
        assert it.view.distrust() is None


@pytest.mark.parametrize(("stopped", "trusted"), [(0.0, True), (HOUR / 2, True), (HOUR, False)])
async def test_after_a_stop_what_is_stored_is_trusted_for_the_retention(
    stopped: float, trusted: bool
) -> None:
    store, platform = MemoryStore(), Platform()
    async with running(store, platform) as it:
        for _ in range(24):  # how long it ran does not matter: it was caught up
            await it.read("a")
            await asyncio.sleep(HOUR / 8)
        await it.read("b")
    platform.ahead += stopped
    async with running(store, platform) as it:
        reason = it.view.distrust()
        assert (reason is None) is trusted
        if reason is not None:
            assert "3600 s ago" in reason
            assert "delete.retention.ms) for 3600 s" in reason
            it.view.rewind()
            assert it.view.distrust() is None


async def test_a_service_that_was_killed_is_dated_by_its_last_look() -> None:
    store, platform = MemoryStore(), Platform()
    async with running(store, platform) as it:
        await it.read("a")
        for _ in range(600):
            await asyncio.sleep(1)
            await it.read()
        kept = store.kept()
        assert kept is not None
        # Nothing came for ten minutes; what is stored is dated all the same.
        assert 0 <= platform.utc_now().timestamp() - kept.caught_up_at <= 31
        assert store.commits < 30


async def test_without_the_end_of_the_log_nothing_is_dated() -> None:
    store, platform = MemoryStore(), Platform()
    async with running(store, platform) as it:
        await it.read("a")
        at = platform.utc_now().timestamp()
        it.log.caught_up = False
        for _ in range(600):
            await asyncio.sleep(1)
            await it.read("b")
        kept = store.kept()
        assert kept is not None
        assert kept.caught_up_at == pytest.approx(at)


async def test_who_was_cut_off_while_running_for_that_long_does_not_read_on() -> None:
    async with running(MemoryStore(), Platform()) as it:
        await it.read("a")
        it.log.caught_up = False
        await asyncio.sleep(HOUR / 2)
        assert it.view.distrust() is None
        await asyncio.sleep(HOUR / 2)
        assert it.view.distrust() is not None


async def test_a_wall_clock_that_was_set_back_makes_nothing_young_while_it_runs() -> None:
    platform = Platform()
    async with running(MemoryStore(), platform) as it:
        await it.read("a")
        it.log.caught_up = False
        await asyncio.sleep(2 * HOUR)
        platform.ahead -= 2 * HOUR
        assert it.view.distrust() is not None


@pytest.mark.parametrize(("back", "trusted"), [(1.0, True), (600.0, False)])
async def test_what_is_dated_in_the_future_is_of_unknown_age(back: float, trusted: bool) -> None:
    store, platform = MemoryStore(), Platform()
    async with running(store, platform) as it:
        await it.read("a")
    platform.ahead -= back
    async with running(store, platform) as it:
        reason = it.view.distrust()
        assert (reason is None) is trusted
        assert trusted or "the wall clock was set back" in str(reason)


async def test_where_the_retention_is_not_known_nothing_is_distrusted() -> None:
    store, platform = MemoryStore(), Platform(retention=None)
    async with running(store, platform) as it:
        await it.read("a")
    platform.ahead += 1000 * HOUR
    async with running(store, platform) as it:
        assert it.view.distrust() is None
        await it.read("b")
        assert it.log.read_again_for == []


async def test_a_first_load_that_took_longer_is_reported_and_used() -> None:
    async with running(MemoryStore(), Platform(retention=60.0)) as it:
        it.log.caught_up = False
        for _ in range(100):
            await it.read("a")
            await asyncio.sleep(1)
        it.log.caught_up = True
        await it.read()
        await it.read()
        ((name, why),) = it.safeguards.list().items()
        assert name == "item_published: read within delete.retention.ms"
        assert "it took 100 s to read it from its beginning" in why
        assert it.log.read_again_for == []
        assert it.view.why_not_ready() is None
        it.view.rewind()
        assert it.safeguards.list() == {}


async def test_what_was_read_on_from_for_too_long_is_read_again() -> None:
    async with running(MemoryStore(), Platform(retention=60.0)) as it:
        await it.read("a")
        it.log.caught_up = False
        for _ in range(100):
            await it.read("b")
            await asyncio.sleep(1)
        it.log.caught_up = True
        await it.read("c")
        (reason,) = it.log.read_again_for
        assert "it was last caught up 100 s ago when its end was reached" in reason
        assert "rebuilt" in str(it.view.why_not_ready())
        assert it.view.known(ITEM) is None


async def test_a_retention_of_nothing_does_not_keep_a_service_that_runs_from_reading() -> None:
    async with running(MemoryStore(), Platform(retention=0.0)) as it:
        for _ in range(100):
            await it.read("a")
            await asyncio.sleep(0.2)
        assert it.log.read_again_for == []
        assert it.safeguards.list() == {}


async def test_a_retention_that_becomes_known_late_is_held_against_the_stop_before() -> None:
    store, platform = MemoryStore(), Platform()
    async with running(store, platform) as it:
        await it.read("a")
    platform.ahead += 2 * HOUR
    platform.retention = None
    for _ in range(2):  # a restart in between forgets nothing
        async with running(store, platform) as it:
            assert it.view.distrust() is None
            for _ in range(10):
                await it.read("b")
                await asyncio.sleep(1)
            assert it.log.read_again_for == []
    async with running(store, platform) as it:
        await it.read()
        platform.retention = HOUR
        await it.read()
        (reason,) = it.log.read_again_for
        assert "72" in reason
        it.view.rewind()
        it.log.caught_up = True
        await it.read("b")
        await it.read()
        assert len(it.log.read_again_for) == 1


async def test_a_retention_that_becomes_known_late_after_a_short_stop_changes_nothing() -> None:
    store, platform = MemoryStore(), Platform()
    async with running(store, platform) as it:
        await it.read("a")
    platform.retention = None
    async with running(store, platform) as it:
        await it.read("b")
        for _ in range(10):
            await it.read()
            await asyncio.sleep(HOUR / 2)
        platform.retention = HOUR
        await it.read()
        assert it.log.read_again_for == []
        await asyncio.sleep(1)
        kept = store.kept()
    kept = store.kept()
    assert kept is not None
    assert kept.caught_up_at == pytest.approx(platform.utc_now().timestamp(), abs=10)
