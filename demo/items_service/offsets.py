"""How far Kafka has been read and written, kept in the same database as the effects of it.

A request counts as read in the same transaction that deletes, so it is neither lost nor done
twice when the program is killed. A consumer group would do too, at least once; but this way a
start needs no rebalance (the embedded broker takes 5 to 18 seconds for one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import aiosqlite

    from demo.items_service.database import Database
    from demo.items_service.outbox import Outbox, Partition


class Positions:
    """Where to go on reading, and what Kafka must still have of what was written."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def advance(
        self, connection: aiosqlite.Connection, next_offsets: Mapping[Partition, int]
    ) -> None:
        """Within a transaction: everything before these offsets has been dealt with."""
        await connection.executemany(
            "INSERT INTO positions (topic, partition, next_offset) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
            [(*partition, offset) for partition, offset in next_offsets.items()],
        )

    async def next_offsets(self) -> dict[Partition, int]:
        """Where to go on reading; a partition that was never read is not in it."""
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "SELECT topic, partition, next_offset FROM positions"
            )
        return {(topic, partition): offset for topic, partition, offset in rows}

    async def marks(self) -> dict[Partition, int]:
        """For each partition, the first offset of our batch that Kafka acknowledged last."""
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "SELECT topic, partition, last_offset FROM marks"
            )
        return {(topic, partition): offset for topic, partition, offset in rows}

    async def read_again(self, partitions: Iterable[Partition]) -> None:
        """These partitions no longer have what was read: go on at their start."""
        async with self._database.transaction() as connection:
            await connection.executemany(
                "DELETE FROM positions WHERE topic = ? AND partition = ?", partitions
            )

    async def start_over(self) -> None:
        """Kafka has forgotten everything: read all from the start, publish every list again."""
        async with self._database.transaction() as connection:
            await connection.execute_fetchall("DELETE FROM positions")
            await connection.execute_fetchall("DELETE FROM marks")
            await self._outbox.add_all_lists(connection)
        self._outbox.filled.set()


def has_forgotten(marks: Mapping[Partition, int], end_offsets: Mapping[Partition, int]) -> bool:
    """Whether Kafka no longer has records that it acknowledged.

    Only this service writes to the partitions in `marks`, and no clean-up ever takes an end
    offset back. So a broker that lost its memory shows, whatever others have written since.
    """
    return any(end_offsets.get(partition, 0) <= offset for partition, offset in marks.items())
