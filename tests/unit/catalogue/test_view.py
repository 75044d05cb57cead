"""The view tells what it knows, and takes its time before it says that it knows nothing."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from support.fakes import ITEM, OTHER_ITEM, T0, FakeLog, FakeRecord, item_id, places, takedown_now
from support.settling import settle
from support.views import published, tombstone

from catalogue.statistics import CatalogueStatistics
from catalogue.store.store import MemoryStore
from catalogue.view import CatalogueView
from domain.errors import KafkaUnavailable, UnreadableRecord
from domain.messages import (
    CatalogueUnavailable,
    Container,
    ContainersFound,
    ItemId,
    ItemUnknown,
)


class View:
    """A catalogue, its log, and what it tells."""

    def __init__(self, *records: FakeRecord, wait_for_kafka: float = 0.0) -> None:
        self.store = MemoryStore()
        self.changes: list[tuple[ItemId, tuple[Container, ...], datetime]] = []
        self.rebuilt = 0
        self.catalogue = CatalogueView(
            self.store,
            on_change=lambda *change: self.changes.append(change),
            on_rebuilt=self._on_rebuilt,
            wait_for_kafka=wait_for_kafka,
        )
        self.log = FakeLog()
        self.catalogue.attach(self.log)
        self.offset = 0
        self.read(*records)

    def _on_rebuilt(self) -> None:
        self.rebuilt += 1

    def read(self, *records: FakeRecord) -> None:
        for record in records:
            self.catalogue.apply(record)

    async def advance(self) -> None:
        """Say that a round of records has ended."""
        self.offset += 1
        await self.catalogue.advance({0: self.offset}, None)

    def locate(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> list[Any]:
        """Start a search; the list fills with what is told."""
        told: list[Any] = []
        self.catalogue.locate(takedown_now(item, seconds=seconds), told.append)
        return told

    def knows(self, item: ItemId = ITEM) -> tuple[str, ...] | None:
        """The containers that are told at once; None if it has to wait."""
        told = self.locate(item)
        if not told:
            return None
        (found,) = told
        assert isinstance(found, ContainersFound)
        return tuple(c.container_id for c in found.containers)

    async def held(self) -> tuple[int, int]:
        """Items and containers, once all is kept."""
        await self.advance()
        await self.catalogue.close()
        statistics = self.catalogue.statistics()
        return statistics.items, statistics.containers


async def test_what_it_knows_it_tells_at_once() -> None:
    view = View(published("a", "b"))
    mine = takedown_now()
    told: list[Any] = []
    view.catalogue.locate(mine, told.append)
    assert told == [ContainersFound(mine.takedown_id, places("a", "b"), T0, proven=False)]
    await settle()
    assert len(told) == 1
    assert (view.log.calls, view.log.proofs) == (0, 1)
    await view.catalogue.stop()


async def test_a_list_replaces_the_one_before() -> None:
    view = View(published("a", "b", "c"), published("b", "d"))
    assert view.knows() == ("b", "d")
    assert await view.held() == (1, 2)


async def test_a_null_value_ends_an_item() -> None:
    view = View(published("a"), published("b", item=OTHER_ITEM), tombstone())
    assert view.knows(OTHER_ITEM) == ("b",)
    assert view.knows() is None
    assert await view.held() == (1, 1)
    await view.catalogue.stop()


async def test_an_empty_list_is_an_item_that_is_in_no_container() -> None:
    view = View(published("a"), published())
    told = view.locate()
    assert await view.held() == (0, 0)
    await settle()
    view.log.reach_end()
    await settle()
    assert [type(event) for event in told] == [ItemUnknown]


async def test_an_item_that_is_published_again_is_there_again() -> None:
    view = View(published("a"), tombstone(), published("z"))
    assert view.knows() == ("z",)


async def test_a_null_value_for_what_is_not_known_changes_nothing() -> None:
    view = View(tombstone(), tombstone())
    assert await view.held() == (0, 0)


async def test_the_value_decides_and_not_the_key() -> None:
    value = published("a").value
    view = View(FakeRecord(OTHER_ITEM.encode(), value), FakeRecord(None, published("b").value))
    assert view.knows() == ("b",)
    assert await view.held() == (1, 1)


async def test_ids_in_upper_case_name_the_same_item() -> None:
    lower = ItemId("abcdef00-2222-3333-4444-555555555555")
    upper = ItemId(lower.upper())
    view = View(published("a", item=upper))
    assert view.knows(lower) == ("a",)
    view.catalogue.apply(tombstone(upper))
    assert await view.held() == (0, 0)


async def test_a_miss_waits_for_the_log_and_then_says_that_the_item_is_unknown() -> None:
    view = View()
    mine = takedown_now()
    told: list[Any] = []
    view.catalogue.locate(mine, told.append)
    await asyncio.sleep(5)
    assert told == []
    assert view.catalogue.statistics().waiting == 1
    view.log.reach_end()
    await settle()
    assert told == [ItemUnknown(mine.takedown_id)]
    assert view.catalogue.statistics().waiting == 0


async def test_a_miss_finds_what_was_read_while_it_waited() -> None:
    view = View()
    mine = takedown_now()
    told: list[Any] = []
    view.catalogue.locate(mine, told.append)
    await settle()
    view.catalogue.apply(published("a"))
    await settle()
    assert told == []
    view.log.reach_end()
    await settle()
    assert told == [ContainersFound(mine.takedown_id, places("a"), T0)]


async def test_each_miss_asks_for_evidence_of_its_own() -> None:
    view = View()
    view.locate()
    view.locate(OTHER_ITEM)
    await settle()
    assert view.log.calls == 2
    await view.catalogue.stop()


@pytest.mark.parametrize("seconds", [0.3, 10.0])
async def test_a_view_that_stays_behind_says_so_before_the_deadline(seconds: float) -> None:
    view = View()
    mine = takedown_now(seconds=seconds)
    told: list[tuple[float, Any]] = []
    loop = asyncio.get_running_loop()
    view.catalogue.locate(mine, lambda event: told.append((loop.time(), event)))
    await asyncio.sleep(seconds + 5)
    ((at, event),) = told
    assert at == pytest.approx(mine.deadline - 0.1)
    assert isinstance(event, CatalogueUnavailable)
    assert event.takedown_id == mine.takedown_id
    assert "behind" in event.reason
    assert view.log.given_up
    assert view.catalogue.statistics().waiting == 0


async def test_a_deadline_too_close_for_a_search_is_answered_at_once() -> None:
    view = View()
    told = view.locate(seconds=0.05)
    await settle()
    assert [type(event) for event in told] == [CatalogueUnavailable]


async def test_a_log_that_fails_is_no_evidence() -> None:
    view = View()
    told = view.locate()
    await settle()
    view.log.fail(KafkaUnavailable("10.0.0.7:9092 refuses User:alice", plain="away"))
    await settle()
    (event,) = told
    assert isinstance(event, CatalogueUnavailable)
    assert event.reason == "the catalogue may be behind: 10.0.0.7:9092 refuses User:alice"
    assert event.plain == "the catalogue may be behind: away"


async def test_a_search_is_repeated_while_kafka_is_away_for_a_moment() -> None:
    view = View(published("a"), wait_for_kafka=2.0)
    view.log.caught_up = False
    told = view.locate()
    for _ in range(10):
        await asyncio.sleep(0.15)
        view.log.fail(KafkaUnavailable("the broker is away"))
    assert told == []
    await asyncio.sleep(0.1)
    view.log.reach_end()
    await settle()
    assert [type(event) for event in told] == [ContainersFound]


async def test_a_search_ends_when_kafka_is_away_for_longer_than_it_may_wait() -> None:
    view = View(published("a"), wait_for_kafka=2.0)
    view.log.caught_up = False
    told = view.locate()
    for _ in range(14):
        await asyncio.sleep(0.15)
        view.log.fail(KafkaUnavailable("the broker is away"))
    await settle()
    assert [type(event) for event in told] == [CatalogueUnavailable]
    await asyncio.sleep(5)
    assert view.catalogue.statistics().waiting == 0


async def test_a_defect_in_a_search_is_told_at_once_and_not_at_the_deadline() -> None:
    view = View()
    told = view.locate()
    await settle()
    view.log.fail(LookupError("a defect"))
    await settle()
    (event,) = told
    assert isinstance(event, CatalogueUnavailable)
    assert "a defect" in event.reason
    assert event.plain == "defect in the catalogue"


async def test_a_view_without_a_log_has_no_evidence() -> None:
    told: list[Any] = []
    CatalogueView(MemoryStore()).locate(takedown_now(), told.append)
    await settle()
    assert [type(event) for event in told] == [CatalogueUnavailable]


async def test_a_rewound_view_knows_nothing_until_it_is_read_again() -> None:
    view = View(published("a"), published("b", item=OTHER_ITEM))
    view.catalogue.rewind()
    assert await view.held() == (0, 0)
    told = view.locate()
    await settle()
    view.catalogue.apply(published("a", "c"))
    view.log.reach_end()
    await settle()
    assert [event.containers for event in told] == [places("a", "c")]
    assert await view.held() == (1, 2)


POISON = {
    "no JSON": FakeRecord(None, b"no JSON"),
    "no JSON under another key": FakeRecord(b"order 7", b'{"itemId": "7"}'),
    "a null value under no key": FakeRecord(None, None),
    "a null value under another key": FakeRecord(b"not an id", None),
}


@pytest.mark.parametrize("what", POISON)
async def test_a_record_that_names_no_item_leaves_the_view_as_it_was(what: str) -> None:
    view = View(published("a", "b"))
    with pytest.raises(UnreadableRecord):
        view.catalogue.apply(POISON[what])
    assert view.knows() == ("a", "b")
    assert await view.held() == (1, 2)
    await view.catalogue.stop()


async def test_stop_gives_up_what_waits_and_tells_nothing() -> None:
    view = View()
    one, other = view.locate(), view.locate(OTHER_ITEM)
    await settle()
    assert view.catalogue.statistics().waiting == 2
    before, loop = len(asyncio.all_tasks()), asyncio.get_running_loop()
    asked_at = loop.time()
    await view.catalogue.stop()
    assert loop.time() == asked_at
    assert view.log.given_up
    assert view.catalogue.statistics().waiting == 0
    assert len(asyncio.all_tasks()) == before - 2
    view.log.reach_end()
    await settle()
    assert one == other == []


async def test_stop_with_nothing_to_give_up_is_harmless() -> None:
    await View().catalogue.stop()


async def test_statistics_say_what_it_holds_and_was_asked() -> None:
    view = View(*(published("a", "b", item=item_id(number)) for number in range(10)))
    view.locate(item_id(1))
    view.locate(item_id(2))
    view.locate()
    assert view.catalogue.statistics().pending == 10
    assert await view.held() == (10, 20)
    assert view.catalogue.statistics() == CatalogueStatistics(
        items=10,
        containers=20,
        pending=0,
        commits=1,
        bytes=0,
        problem="",
        hits=2,
        misses=1,
        waiting=1,
        rebuilds=0,
        overtaken=0,
        in_doubt=0,
        proving=2,
    )
    await view.catalogue.stop()
