"""An item whose newest record cannot be read is in doubt: neither a hit nor a 404, until it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import ITEM, OTHER_ITEM, T0, FakeLog, FakeRecord, item_id, places, takedown_now
from support.settling import settle

from bus.kafka.codec import encode
from bus.kafka.topic_identity import TopicIdentity
from catalogue.doubts import Doubts
from catalogue.store.entries import Doubt
from catalogue.store.store import MemoryStore
from catalogue.view import CatalogueView
from domain.errors import UnreadableRecord
from domain.messages import (
    CatalogueUnavailable,
    ContainersFound,
    ItemId,
    ItemPublished,
    ItemUnknown,
)

BAD = b'{"containers": null}'


def published(*names: str, item: ItemId = ITEM, after: float = 0, **more: Any) -> FakeRecord:
    at = T0 + timedelta(seconds=after)
    return stamped(item, encode(ItemPublished(item, places(*names), at)), after, **more)


def tombstone(item: ItemId = ITEM, after: float = 0, **more: Any) -> FakeRecord:
    return stamped(item, None, after, **more)


def bad(item: ItemId = ITEM, after: float = 0, **more: Any) -> FakeRecord:
    return stamped(item, BAD, after, **more)


def stamped(item: ItemId, value: bytes | None, after: float, **more: Any) -> FakeRecord:
    at = round((T0.timestamp() + after) * 1000)
    return FakeRecord(item.encode(), value, timestamp=at, **more)


class Doubted:
    """A running view, and what it tells."""

    def __init__(self, store: MemoryStore) -> None:
        self.events: list[Any] = []
        self.log = FakeLog()
        self.view = CatalogueView(
            store,
            on_change=lambda item, containers, _at: self.events.append((item, containers)),
            on_doubt=self._on_doubt,
        )
        self.view.attach(self.log)
        self.offset = 0

    def _on_doubt(self, item: ItemId, at: datetime) -> None:
        self.events.append((item, at))

    async def read(self, *records: FakeRecord) -> None:
        for record in records:
            with suppress(UnreadableRecord):
                self.view.apply(record)
        self.offset += len(records)
        await self.view.advance({0: self.offset}, TopicIdentity("", ""))

    async def located(self, item: ItemId = ITEM) -> Any:
        """What a search comes to."""
        told: list[Any] = []
        self.view.locate(takedown_now(item), told.append)
        await settle()
        self.log.reach_end()
        await settle()
        return told[0]

    def in_doubt(self) -> set[ItemId]:
        total, rows = self.view.doubts(1000)
        assert total == len(rows) == self.view.statistics().in_doubt
        return {row.item_id for row in rows}


@asynccontextmanager
async def doubted(store: MemoryStore | None = None) -> AsyncIterator[Doubted]:
    it = Doubted(store or MemoryStore())
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


async def assert_in_doubt(it: Doubted, item: ItemId = ITEM) -> None:
    event = await it.located(item)
    assert isinstance(event, CatalogueUnavailable)
    assert event.code == "item-in-doubt"
    assert it.in_doubt() == {item}


async def test_an_item_in_doubt_is_no_hit_and_no_404_and_the_reason_names_the_record() -> None:
    async with doubted() as it:
        await it.read(published("a"))
        with pytest.raises(UnreadableRecord):
            it.view.apply(bad(partition=3, offset=17))
        told: list[Any] = []
        it.view.locate(takedown_now(), told.append)
        await settle()
        assert told == []  # it waits for evidence: a readable list may be in the topic already
        it.log.reach_end()
        await settle()
        (event,) = told
        assert isinstance(event, CatalogueUnavailable)
        assert event.code == "item-in-doubt"
        assert "item_published[3] at offset 17 cannot be read" in event.reason
        assert it.log.proofs == 0


async def test_an_item_that_was_never_listed_is_in_doubt_as_well() -> None:
    async with doubted() as it:
        await it.read(bad())
        await assert_in_doubt(it)


async def test_a_readable_list_ends_the_doubt() -> None:
    async with doubted() as it:
        await it.read(published("a"), bad(), published("b"))
        event = await it.located()
        assert isinstance(event, ContainersFound)
        assert event.containers == places("b")
        assert it.in_doubt() == set()


async def test_a_null_value_ends_the_doubt_and_the_item() -> None:
    async with doubted() as it:
        await it.read(published("a"), bad(), tombstone())
        assert isinstance(await it.located(), ItemUnknown)
        assert it.in_doubt() == set()


async def test_a_list_that_arrives_while_a_search_waits_answers_it() -> None:
    async with doubted() as it:
        await it.read(bad())
        told: list[Any] = []
        it.view.locate(takedown_now(), told.append)
        await settle()
        await it.read(published("a"))
        it.log.reach_end()
        await settle()
        assert [type(event) for event in told] == [ContainersFound]


async def test_who_follows_the_item_is_told_of_the_doubt_and_of_its_end() -> None:
    async with doubted() as it:
        await it.read()
        await it.read(published("a"), bad(after=1), published("b", after=2))
        assert it.events == [
            (ITEM, places("a")),
            (ITEM, T0 + timedelta(seconds=1)),
            (ITEM, places("b")),
        ]


async def test_while_all_is_read_again_no_doubt_is_told() -> None:
    async with doubted() as it:
        it.log.caught_up = False
        await it.read(bad())
        it.log.caught_up = True
        await it.read()
        assert it.events == []
        doubt = it.view.doubt(ITEM)
        assert doubt is not None
        assert it.view.known(ITEM) is None


async def test_a_doubt_survives_a_restart() -> None:
    store = MemoryStore()
    async with doubted(store) as it:
        await it.read(published("a"), bad())
    async with doubted(store) as it:
        await assert_in_doubt(it)
        kept = store.kept()
        assert kept is not None
        assert (kept.items, kept.doubts) == (0, 1)
        await it.read(published("b"))
        assert it.in_doubt() == set()


async def test_a_rebuild_ends_only_those_doubts_whose_records_are_gone() -> None:
    async with doubted() as it:
        await it.read(bad(), bad(OTHER_ITEM))
        it.view.rewind()
        assert it.in_doubt() == set()
        await it.read(bad(OTHER_ITEM))
        await assert_in_doubt(it, OTHER_ITEM)
        assert isinstance(await it.located(ITEM), ItemUnknown)


async def test_doubts_are_not_swept_away_with_null_values() -> None:
    async with doubted() as it:
        await it.read(tombstone(), tombstone(OTHER_ITEM), bad())
        for _ in range(4):
            await asyncio.sleep(5)
            it.log.reach_end()
        assert isinstance(await it.located(OTHER_ITEM), ItemUnknown)
        await assert_in_doubt(it)


async def test_an_item_that_only_the_value_names_is_in_doubt_and_so_is_the_keys() -> None:
    async with doubted() as it:
        value = encode(ItemPublished(OTHER_ITEM, places("a"), T0)).replace(b'"a"', b"7")
        await it.read(replace(bad(), value=value))
        assert it.in_doubt() == {ITEM, OTHER_ITEM}
        await it.read(published("a"))
        assert it.in_doubt() == {OTHER_ITEM}


async def test_a_null_value_under_a_quoted_key_ends_the_item() -> None:
    async with doubted() as it:
        await it.read(published("a"), replace(tombstone(), key=f'"{ITEM.upper()}"'.encode()))
        assert isinstance(await it.located(), ItemUnknown)


async def test_what_names_no_item_puts_nothing_in_doubt() -> None:
    async with doubted() as it:
        await it.read(FakeRecord(None, BAD), FakeRecord(b"17", BAD), FakeRecord(b"17", None))
        assert it.in_doubt() == set()


# ------------------------------------------------------------------- several partitions


async def test_between_partitions_a_doubt_counts_from_the_time_of_its_record() -> None:
    async with doubted() as it:
        await it.read(published("a", after=5, partition=0), bad(after=4, partition=1))
        assert it.in_doubt() == set()
        assert it.view.statistics().overtaken == 1
        await it.read(bad(after=6, partition=1))
        await assert_in_doubt(it)
        await it.read(published("b", after=5.5, partition=0))
        await assert_in_doubt(it)
        await it.read(published("c", after=7, partition=0))
        assert it.in_doubt() == set()


async def test_in_one_partition_the_later_record_counts_whatever_its_time() -> None:
    async with doubted() as it:
        await it.read(published("a", after=5), bad(after=1))
        await assert_in_doubt(it)
        await it.read(published("b", after=-9))
        assert it.in_doubt() == set()


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["list", "null", "bad"]),
        st.integers(0, 2),  # item
        st.integers(0, 2),  # partition
        st.integers(0, 6),  # its time
    ),
    max_size=25,
)


class Model:
    """The rule, written down plainly: for each item what it is, where that was said, and when."""

    def __init__(self) -> None:
        self.items: dict[int, tuple[str, int, int, int]] = {}

    def read(self, number: int, kind: str, item: int, partition: int, at: int) -> None:
        known = self.items.get(item)
        strictly = known is not None and known[0] == "bad" and kind != "bad"
        if known is None or known[1] == partition or at >= known[2] + strictly:
            self.items[item] = (kind, partition, at, number)


@given(RECORDS, st.integers(0, 25))
def test_any_mix_of_lists_null_values_and_doubts_ends_as_the_rule_says(
    records: list[tuple[str, int, int, int]], restart_at: int
) -> None:
    async def run() -> None:
        store, model = MemoryStore(), Model()
        sides = (records[:restart_at], records[restart_at:])
        number = 0
        for side in sides:
            it = Doubted(store)
            await it.view.start()
            for kind, item, partition, at in side:
                number += 1
                name, more = item_id(item), {"after": float(at), "partition": partition}
                make = {
                    "list": lambda: published(str(number), item=name, **more),  # noqa: B023
                    "null": lambda: tombstone(name, **more),  # noqa: B023
                    "bad": lambda: bad(name, **more),  # noqa: B023
                }
                await it.read(make[kind]())
                model.read(number, kind, item, partition, at)
            for item in range(3):
                kind, _, _, written = model.items.get(item, ("null", 0, 0, 0))
                listed = it.view.known(item_id(item))
                assert (it.view.doubt(item_id(item)) is not None) is (kind == "bad")
                assert (listed and listed.containers) == (
                    places(str(written)) if kind == "list" else None
                )
            wanted = {item_id(n) for n, (kind, *_) in model.items.items() if kind == "bad"}
            assert it.in_doubt() == wanted
            await it.view.close()
            kept = store.kept()
            assert (kept.doubts if kept else 0) == len(wanted)

    asyncio.run(run())


# ---------------------------------------------------------------------- what is listed


def doubt_of(number: int) -> Doubt:
    return Doubt(T0 + timedelta(seconds=number), 0, number, "no JSON")


def test_the_newest_are_listed_first_and_all_are_counted() -> None:
    doubts = Doubts(most=10)
    for number in range(1000):
        doubts.put(item_id(number), doubt_of(number), new=True)
    assert doubts.total == 1000
    assert [row.doubt.offset for row in doubts.newest(5)] == [999, 998, 997, 996, 995]
    assert len(doubts.newest(1000)) == 10
    assert len(doubts._listed) < 20


def test_an_item_that_is_not_listed_any_more_can_end() -> None:
    doubts = Doubts(most=2)
    for number in range(10):
        doubts.put(item_id(number), doubt_of(number), new=True)
    doubts.remove(item_id(0))
    doubts.put(item_id(9), doubt_of(20), new=False)
    assert doubts.total == 9
    assert doubts.newest(1) == ((item_id(9), doubt_of(20)),)
