"""The items and the containers they are in: what the Items service is about."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from domain.messages import Container, ContainerId, ItemDeleted, ItemId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import aiosqlite

    from demo.items_service.database import Database
    from demo.items_service.offsets import Positions
    from demo.items_service.outbox import Outbox, Partition
    from domain.messages import ItemReported

# Those that the item is in come first, in their order.
_SELECT = """
SELECT i.item_id, i.published_at, p.container_id, p.container_type, p.deleted_at
FROM (SELECT * FROM items {which}) AS i
LEFT JOIN placements AS p ON p.item_id = i.item_id
ORDER BY i.item_id, p.deleted_at IS NOT NULL, p.position, p.container_id
"""


@dataclass(frozen=True, slots=True)
class Placement:
    """An item in one container; `deleted_at` is None as long as it is there."""

    container: Container
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item, with every container that it is or was in."""

    item_id: ItemId
    published_at: datetime
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch of requests.

    Attributes:
        deleted: the item was there, and is gone now.
        repeated: it was gone already: confirmed again, with the first time.
        unknown: the item was never in that container: nothing to confirm.
        refused: nothing is ever deleted from that container.
    """

    deleted: tuple[ItemDeleted, ...]
    repeated: tuple[ItemDeleted, ...]
    unknown: tuple[ItemReported, ...]
    refused: tuple[ItemReported, ...]


class ItemStore:
    """The items, in the database. Each change announces itself in the outbox."""

    def __init__(self, database: Database, outbox: Outbox, positions: Positions) -> None:
        self._database = database
        self._outbox = outbox
        self._positions = positions

    async def is_empty(self) -> bool:
        """Whether no item was ever published."""
        async with self._database.transaction() as connection:
            return not list(await connection.execute_fetchall("SELECT 1 FROM items LIMIT 1"))

    async def publish(
        self, item_id: ItemId, containers: Sequence[Container], now: datetime
    ) -> tuple[bool, int]:
        """Publish an item in exactly these containers; those that it was in before are left.

        Returns:
            whether the item is new, and its entry in the outbox.
        """
        async with self._database.transaction() as connection:
            is_new = await self._publish(connection, item_id, containers, now)
            entry_id = await self._outbox.last_id(connection)
        self._outbox.filled.set()
        return is_new, entry_id

    async def publish_all(
        self, items: Iterable[tuple[ItemId, Sequence[Container]]], now: datetime
    ) -> None:
        """Publish many items in one go."""
        async with self._database.transaction() as connection:
            for item_id, containers in items:
                await self._publish(connection, item_id, containers, now)
        self._outbox.filled.set()

    async def _publish(
        self,
        connection: aiosqlite.Connection,
        item_id: ItemId,
        containers: Sequence[Container],
        now: datetime,
    ) -> bool:
        known = await connection.execute_fetchall(
            "SELECT 1 FROM items WHERE item_id = ?", (item_id,)
        )
        await connection.execute_fetchall(
            "INSERT INTO items (item_id, published_at) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET published_at = excluded.published_at",
            (item_id, now.isoformat()),
        )
        await connection.execute_fetchall(
            "UPDATE placements SET deleted_at = ? WHERE item_id = ? AND deleted_at IS NULL",
            (now.isoformat(), item_id),
        )
        await connection.executemany(
            "INSERT INTO placements (item_id, container_id, container_type, position)"
            " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " container_type = excluded.container_type, position = excluded.position,"
            " deleted_at = NULL",
            [
                (item_id, container.container_id, container.container_type, position)
                for position, container in enumerate(containers)
            ],
        )
        await self._outbox.add_lists(connection, [item_id])
        return not list(known)

    async def leave(self, item_id: ItemId, container_id: str, now: datetime) -> int | None:
        """The item vanishes from one container by itself; nobody had asked for it.

        Returns:
            the entry in the outbox, or None if the item is not in that container.
        """
        async with self._database.transaction() as connection:
            gone = await connection.execute_fetchall(
                "UPDATE placements SET deleted_at = ?"
                " WHERE item_id = ? AND container_id = ? AND deleted_at IS NULL RETURNING 1",
                (now.isoformat(), item_id, container_id),
            )
            if not list(gone):
                return None
            await _touch(connection, [item_id], now)
            await self._outbox.add_lists(connection, [item_id])
            entry_id = await self._outbox.last_id(connection)
        self._outbox.filled.set()
        return entry_id

    async def apply(
        self,
        requests: Iterable[ItemReported],
        next_offsets: Mapping[Partition, int],
        now: datetime,
        refuses: Callable[[str, str], bool],
    ) -> Applied:
        """Carry out delete requests, all in one transaction with the place to go on reading.

        Args:
            requests: what to delete; a request that comes twice is carried out once.
            next_offsets: everything before these offsets has been dealt with by this.
            now: the time at which it was deleted.
            refuses: given id and type of a container, whether nothing is deleted from it.
        """
        wanted = {(request.item_id, request.container_id): request for request in requests}
        async with self._database.transaction() as connection:
            found = await _find(connection, wanted)
            deleted, repeated, refused = [], [], []
            for key, (container_type, deleted_at) in found.items():
                item_id, container_id = key
                if refuses(container_id, container_type):
                    refused.append(wanted[key])
                elif deleted_at is None:
                    deleted.append(ItemDeleted(item_id, container_id, container_type, now))
                else:
                    repeated.append(ItemDeleted(item_id, container_id, container_type, deleted_at))
            if deleted:
                await connection.executemany(
                    "UPDATE placements SET deleted_at = ? WHERE item_id = ? AND container_id = ?",
                    [(now.isoformat(), gone.item_id, gone.container_id) for gone in deleted],
                )
            # Deletions first: a list waits for those of its item, see `Outbox.lists`.
            if deleted or repeated:
                await self._outbox.add_deletions(connection, [*deleted, *repeated])
            if deleted:
                changed = list(dict.fromkeys(gone.item_id for gone in deleted))
                await _touch(connection, changed, now)
                await self._outbox.add_lists(connection, changed)
            await self._positions.advance(connection, next_offsets)
        self._outbox.filled.set()
        unknown = tuple(request for key, request in wanted.items() if key not in found)
        return Applied(tuple(deleted), tuple(repeated), unknown, tuple(refused))

    async def find(self, item_id: ItemId) -> StoredItem | None:
        """One item, if it was ever published."""
        items = await self._select("WHERE item_id = ?", (item_id,))
        return items[0] if items else None

    async def page(self, limit: int, offset: int) -> list[StoredItem]:
        """Some of the items, in the order of their ids."""
        return await self._select("ORDER BY item_id LIMIT ? OFFSET ?", (limit, offset))

    async def count(self) -> int:
        """How many items there are."""
        async with self._database.transaction() as connection:
            rows = list(await connection.execute_fetchall("SELECT count(*) FROM items"))
        return int(rows[0][0])

    async def _select(self, which: str, parameters: tuple[object, ...]) -> list[StoredItem]:
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(_SELECT.replace("{which}", which), parameters)
        times: dict[str, str] = {}
        placements: defaultdict[str, list[Placement]] = defaultdict(list)
        for item_id, published_at, container_id, container_type, deleted_at in rows:
            times[item_id] = published_at
            if container_id is not None:
                placements[item_id].append(
                    Placement(Container(container_id, container_type), _time(deleted_at))
                )
        return [
            StoredItem(ItemId(item_id), datetime.fromisoformat(time), tuple(placements[item_id]))
            for item_id, time in times.items()
        ]


async def _find(
    connection: aiosqlite.Connection, wanted: Iterable[tuple[ItemId, ContainerId]]
) -> dict[tuple[ItemId, ContainerId], tuple[str, datetime | None]]:
    rows = await connection.execute_fetchall(
        "SELECT p.item_id, p.container_id, p.container_type, p.deleted_at"
        " FROM json_each(?) AS wanted"
        " CROSS JOIN placements AS p ON p.item_id = json_extract(wanted.value, '$[0]')"
        " AND p.container_id = json_extract(wanted.value, '$[1]')",
        (json.dumps(list(wanted)),),
    )
    return {
        (ItemId(item_id), ContainerId(container_id)): (container_type, _time(deleted_at))
        for item_id, container_id, container_type, deleted_at in rows
    }


async def _touch(
    connection: aiosqlite.Connection, item_ids: Iterable[ItemId], now: datetime
) -> None:
    await connection.executemany(
        "UPDATE items SET published_at = ? WHERE item_id = ?",
        [(now.isoformat(), item_id) for item_id in item_ids],
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
