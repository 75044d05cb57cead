"""The database's side alone: no Kafka, no HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from demo.items_service.database import Database
from demo.items_service.offsets import Positions, has_forgotten
from demo.items_service.outbox import Outbox
from demo.items_service.store import ItemStore
from domain.errors import SettingsError
from domain.messages import ItemDeleted, ItemPublished

from .items_helpers import a_request, in_containers, new_item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from demo.items_service.store import Applied
    from domain.messages import ItemReported

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


class Rooms:
    def __init__(self, path: str = ":memory:") -> None:
        self.database = Database(path)
        self.outbox = Outbox(self.database)
        self.positions = Positions(self.database, self.outbox)
        self.store = ItemStore(self.database, self.outbox, self.positions)

    async def apply(self, *requests: ItemReported, now: datetime = LATER) -> Applied:
        return await self.store.apply(requests, {("r", 0): 7}, now, lambda _, kind: kind == "vault")

    async def announced(self) -> list[ItemDeleted | ItemPublished | None]:
        """What is in the outbox; it is empty afterwards."""
        entries = await self.outbox.read_after(0, 1000)
        deletions = [entry for entry in entries if entry.deletion is not None]
        await self.outbox.settle([entry.id for entry in deletions], {})
        lists = await self.outbox.lists({entry.item_id for entry in entries})
        await self.outbox.settle([entry.id for entry in entries], {})
        return [entry.deletion or lists[entry.item_id] for entry in entries]


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    rooms = Rooms()
    await rooms.database.open()
    yield rooms
    await rooms.database.close()


async def test_publishing_announces_the_whole_list(rooms: Rooms) -> None:
    item, containers = new_item(), in_containers("timeline:z", "group:a")
    assert await rooms.store.is_empty()
    is_new, _ = await rooms.store.publish(item, containers, NOW)
    assert is_new
    assert not await rooms.store.is_empty()
    assert await rooms.announced() == [ItemPublished(item, tuple(containers), NOW)]


async def test_a_deletion_is_announced_before_the_list_that_is_left(rooms: Rooms) -> None:
    item, containers = new_item(), in_containers("timeline:a", "group:b")
    await rooms.store.publish(item, containers, NOW)
    await rooms.announced()
    applied = await rooms.apply(a_request(item, "group:b"))
    gone = ItemDeleted(item, containers[1].container_id, "group", LATER)
    assert applied.deleted == (gone,)
    assert await rooms.announced() == [gone, ItemPublished(item, (containers[0],), LATER)]


async def test_the_last_container_leaves_no_list(rooms: Rooms) -> None:
    item = new_item()
    await rooms.store.publish(item, in_containers("timeline:a"), NOW)
    await rooms.announced()
    await rooms.apply(a_request(item, "timeline:a"))
    assert (await rooms.announced())[1] is None


async def test_a_repeated_request_gets_the_first_time_again_and_no_new_list(rooms: Rooms) -> None:
    item = new_item()
    await rooms.store.publish(item, in_containers("timeline:a"), NOW)
    await rooms.apply(a_request(item, "timeline:a"))
    await rooms.announced()
    applied = await rooms.apply(a_request(item, "timeline:a"), now=LATER + timedelta(days=1))
    assert [gone.deleted_at for gone in applied.repeated] == [LATER]
    assert await rooms.announced() == list(applied.repeated)


async def test_what_never_was_and_what_is_refused_announce_nothing(rooms: Rooms) -> None:
    item = new_item()
    await rooms.store.publish(item, in_containers("timeline:a", "vault:b"), NOW)
    await rooms.announced()
    requests = [a_request(item, "vault:b"), a_request(item, "x:y"), a_request(new_item(), "a:b")]
    applied = await rooms.apply(*requests)
    assert applied.refused == (requests[0],)
    assert applied.unknown == tuple(requests[1:])
    assert await rooms.announced() == []
    assert await rooms.positions.next_offsets() == {("r", 0): 7}


async def test_an_item_published_again_is_alive_again(rooms: Rooms) -> None:
    item, containers = new_item(), in_containers("timeline:a", "group:b", "page:c")
    await rooms.store.publish(item, containers[:2], NOW)
    await rooms.apply(a_request(item, "timeline:a"))
    is_new, _ = await rooms.store.publish(item, [containers[2], containers[0]], LATER)
    assert not is_new
    stored = await rooms.store.find(item)
    assert stored is not None
    assert [(at.container.container_id, at.deleted_at) for at in stored.placements] == [
        ("page:c", None),
        ("timeline:a", None),
        ("group:b", LATER),
    ]


async def test_an_item_may_leave_a_container_by_itself(rooms: Rooms) -> None:
    item, containers = new_item(), in_containers("timeline:a", "group:b")
    await rooms.store.publish(item, containers, NOW)
    await rooms.announced()
    assert await rooms.store.leave(item, "group:b", LATER) is not None
    assert await rooms.store.leave(item, "group:b", LATER) is None
    assert await rooms.announced() == [ItemPublished(item, (containers[0],), LATER)]
    # Whoever asks for it now is told the truth: it is gone, and since when.
    applied = await rooms.apply(a_request(item, "group:b"), now=LATER + timedelta(days=1))
    assert [gone.deleted_at for gone in applied.repeated] == [LATER]


async def test_a_list_is_not_put_together_while_a_deletion_of_its_item_waits(
    rooms: Rooms,
) -> None:
    item, other = new_item(), new_item()
    containers = in_containers("timeline:a", "group:b", "page:c")
    for each in (item, other):
        await rooms.store.publish(each, containers, NOW)
    await rooms.apply(a_request(item, "timeline:a"))
    await rooms.apply(a_request(item, "group:b"))
    first, second = [
        entry.id for entry in await rooms.outbox.read_after(0, 10) if entry.deletion is not None
    ]
    whole = ItemPublished(other, tuple(containers), NOW)
    assert await rooms.outbox.lists([item, other]) == {other: whole}
    await rooms.outbox.settle([first], {})
    assert await rooms.outbox.lists([item]) == {}, "it already is without the second one"
    await rooms.outbox.settle([second], {})
    assert await rooms.outbox.lists([item]) == {item: ItemPublished(item, (containers[2],), LATER)}


async def test_a_list_is_put_together_when_it_is_read(rooms: Rooms) -> None:
    item, containers = new_item(), in_containers("timeline:a", "group:b")
    await rooms.store.publish(item, containers, NOW)
    await rooms.store.leave(item, "timeline:a", LATER)
    current = ItemPublished(item, (containers[1],), LATER)
    assert await rooms.announced() == [current, current]


async def test_a_transaction_that_is_cancelled_leaves_nothing_behind(rooms: Rooms) -> None:
    halfway = asyncio.Event()

    async def never_ending() -> None:
        async with rooms.database.transaction() as connection:
            await connection.execute_fetchall("INSERT INTO items VALUES ('x', 'now')")
            halfway.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ending())
    await halfway.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await rooms.store.count() == 0
    await rooms.store.publish(new_item(), in_containers("a:b"), NOW)
    assert await rooms.store.count() == 1


async def test_a_file_keeps_everything(tmp_path: Path) -> None:
    item = new_item()
    rooms = Rooms(str(tmp_path / "items.db"))
    await rooms.database.open()
    await rooms.store.publish(item, in_containers("timeline:a"), NOW)
    await rooms.apply(a_request(item, "timeline:a"))
    await rooms.outbox.settle([1], {("item_published", 2): 41})
    await rooms.database.close()

    rooms = Rooms(str(tmp_path / "items.db"))
    await rooms.database.open()
    assert [type(event) for event in await rooms.announced()] == [ItemDeleted, type(None)]
    assert await rooms.positions.next_offsets() == {("r", 0): 7}
    assert await rooms.positions.marks() == {("item_published", 2): 41}
    await rooms.database.close()


async def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no-such-folder"):
        await Database(str(tmp_path / "no-such-folder" / "items.db")).open()


async def test_starting_over_announces_every_list_and_forgets_the_positions(rooms: Rooms) -> None:
    items = [new_item(), new_item()]
    for item in items:
        await rooms.store.publish(item, in_containers("timeline:a"), NOW)
    await rooms.apply(a_request(items[0], "timeline:a"))
    await rooms.announced()
    await rooms.outbox.settle([], {("item_published", 0): 3})
    await rooms.positions.start_over()
    assert await rooms.positions.next_offsets() == {}
    assert await rooms.positions.marks() == {}
    entries = await rooms.outbox.read_after(0, 10)
    assert {entry.item_id for entry in entries} == set(items)
    lists = await rooms.outbox.lists(items)
    assert (lists[items[0]] is None, lists[items[1]] is None) == (True, False)


@pytest.mark.parametrize(
    ("ends", "forgotten"), [({("p", 0): 6}, False), ({("p", 0): 5}, True), ({}, True)]
)
def test_kafka_has_forgotten_if_it_ends_before_what_it_acknowledged(
    ends: dict[tuple[str, int], int], forgotten: bool
) -> None:
    assert has_forgotten({("p", 0): 5}, ends) is forgotten
    assert not has_forgotten({}, ends)
