"""The outbox: what Kafka must be told, written in the transaction that made it true.

A deletion is kept as it happened. A new list is kept only as "this item's list has changed" and
is put together when it is sent: sent late or sent again, it is always the current one, so that
the last record of an item in the compacted topic is the truth.

The current list reflects every deletion in the database, also those that Kafka has not acknowledged
yet. So an item's list is only put together when the outbox has no deletion of that item: a list
never tells of a deletion before the deletion itself does.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from domain.messages import Container, ContainerId, ItemDeleted, ItemId, ItemPublished

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import aiosqlite

    from demo.items_service.database import Database

Partition = tuple[str, int]
"""A topic's name and the number of one of its partitions."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that Kafka must be told.

    Attributes:
        id: its number; later ones are higher.
        item_id: which item it is about.
        deletion: a deletion; None: the item's list has changed, see `Outbox.lists`.
    """

    id: int
    item_id: ItemId
    deletion: ItemDeleted | None


class Outbox:
    """What is waiting for Kafka, in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.filled = asyncio.Event()
        """Set whenever something was added; whoever reads the outbox clears it first."""
        self._settled = asyncio.Event()

    async def add_deletions(
        self, connection: aiosqlite.Connection, deletions: Iterable[ItemDeleted]
    ) -> None:
        """Within a transaction: announce these deletions."""
        await connection.executemany(
            "INSERT INTO outbox (item_id, container_id, container_type, deleted_at)"
            " VALUES (?, ?, ?, ?)",
            [
                (gone.item_id, gone.container_id, gone.container_type, gone.deleted_at.isoformat())
                for gone in deletions
            ],
        )

    async def add_lists(self, connection: aiosqlite.Connection, item_ids: Iterable[ItemId]) -> None:
        """Within a transaction: announce the current lists of these items."""
        await connection.executemany(
            "INSERT INTO outbox (item_id) VALUES (?)", [(item_id,) for item_id in item_ids]
        )

    async def add_all_lists(self, connection: aiosqlite.Connection) -> None:
        """Within a transaction: announce the current list of every item."""
        await connection.execute_fetchall(
            "INSERT INTO outbox (item_id) SELECT item_id FROM items ORDER BY item_id"
        )

    async def last_id(self, connection: aiosqlite.Connection) -> int:
        """Within a transaction: the id of the entry added last, or 0 if none ever was."""
        rows = await connection.execute_fetchall(
            "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
        )
        return next((int(row[0]) for row in rows), 0)

    async def read_after(self, entry_id: int, limit: int) -> list[Entry]:
        """The first `limit` entries after `entry_id`, in the order in which they were added."""
        async with self._database.transaction() as connection:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT id, item_id, container_id, container_type, deleted_at FROM outbox"
                    " WHERE id > ? ORDER BY id LIMIT ?",
                    (entry_id, limit),
                )
            )
        return [
            Entry(
                row[0],
                ItemId(row[1]),
                None
                if row[2] is None
                else ItemDeleted(
                    item_id=ItemId(row[1]),
                    container_id=ContainerId(row[2]),
                    container_type=row[3],
                    deleted_at=datetime.fromisoformat(row[4]),
                ),
            )
            for row in rows
        ]

    async def lists(self, item_ids: Iterable[ItemId]) -> dict[ItemId, ItemPublished | None]:
        """The current lists of those items that have no deletion waiting here.

        Returns:
            the list of each such item; None if it is in no container any more.
        """
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM outbox"
                " WHERE item_id = value AND container_id IS NOT NULL)",
                (json.dumps(list(item_ids)),),
            )
            ready = [ItemId(row[0]) for row in rows]
            current = await _current_lists(connection, ready)
        return {item_id: current.get(item_id) for item_id in ready}

    async def settle(self, entry_ids: Iterable[int], marks: Mapping[Partition, int]) -> None:
        """Kafka has acknowledged these entries; `marks` are where, see `Relay.marks`."""
        async with self._database.transaction() as connection:
            await connection.execute_fetchall(
                "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(entry_ids)),),
            )
            await connection.executemany(
                "INSERT INTO marks (topic, partition, last_offset) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET last_offset = excluded.last_offset",
                [(*partition, offset) for partition, offset in marks.items()],
            )
        settled, self._settled = self._settled, asyncio.Event()
        settled.set()

    async def until_settled(self, entry_id: int) -> None:
        """Wait until Kafka has acknowledged this entry."""
        await self._until_none("SELECT 1 FROM outbox WHERE id = ?", entry_id)

    async def until_settled_up_to(self, entry_id: int) -> None:
        """Wait until Kafka has acknowledged this entry and every earlier one."""
        await self._until_none("SELECT 1 FROM outbox WHERE id <= ? LIMIT 1", entry_id)

    async def _until_none(self, query: str, entry_id: int) -> None:
        while True:
            # Taken before the look into the table: what settles in between is not missed.
            settled = self._settled
            async with self._database.transaction() as connection:
                rows = await connection.execute_fetchall(query, (entry_id,))
            if not list(rows):
                return
            await settled.wait()


async def _current_lists(
    connection: aiosqlite.Connection, item_ids: Iterable[str]
) -> dict[ItemId, ItemPublished]:
    rows = await connection.execute_fetchall(
        "SELECT i.item_id, i.published_at, p.container_id, p.container_type"
        " FROM json_each(?) AS wanted"
        " CROSS JOIN items AS i ON i.item_id = wanted.value"
        " CROSS JOIN placements AS p ON p.item_id = i.item_id AND p.deleted_at IS NULL"
        " ORDER BY p.position",
        (json.dumps(list(item_ids)),),
    )
    containers: defaultdict[ItemId, list[Container]] = defaultdict(list)
    published_at: dict[ItemId, datetime] = {}
    for item_id, time, container_id, container_type in rows:
        containers[item_id].append(Container(container_id, container_type))
        published_at[item_id] = datetime.fromisoformat(time)
    return {
        item_id: ItemPublished(item_id, tuple(placed), published_at[item_id])
        for item_id, placed in containers.items()
    }
