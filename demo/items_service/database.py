"""The SQLite database: its schema, and transactions on its one connection.

One connection, because ":memory:" belongs to its connection, and because SQLite lets only one
write at a time anyway. All of it runs on the connection's own thread; the loop never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import aiosqlite

from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IN_MEMORY = ":memory:"

# `placements` keeps what is gone, with the time: a request that comes twice gets the same answer.
# `outbox` holds what Kafka has not acknowledged yet. AUTOINCREMENT, so that no id comes twice
# and their order is the order of the commits.
# `positions` is where to go on reading, written together with the effects of what was read.
# `marks` is where Kafka put what we last wrote: how a broker is found out that has forgotten
# everything.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    item_id TEXT PRIMARY KEY,
    published_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS placements (
    item_id TEXT NOT NULL REFERENCES items,
    container_id TEXT NOT NULL,
    container_type TEXT NOT NULL,
    position INTEGER NOT NULL,
    deleted_at TEXT,
    PRIMARY KEY (item_id, container_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL,
    container_id TEXT,
    container_type TEXT,
    deleted_at TEXT
);

CREATE INDEX IF NOT EXISTS outbox_deletions ON outbox (item_id) WHERE container_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS marks (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
"""


class Database:
    """One SQLite database.

    Args:
        path: its file, or ":memory:".
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: aiosqlite.Connection | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Open it, and create what is missing.

        Raises:
            SettingsError: it cannot be opened.
        """
        try:
            # Tried out first: after a failed attempt aiosqlite's thread may outlive the loop.
            await asyncio.to_thread(_try_to_open, self._path)
            self._connection = await aiosqlite.connect(self._path, isolation_level=None)
            if self._path != IN_MEMORY:
                await self._connection.execute_fetchall("PRAGMA journal_mode = WAL")
            await self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            await self.close()
            raise SettingsError(f"database {self._path!r} cannot be opened: {error}") from error

    async def close(self) -> None:
        """Close it, after what is under way. It may be closed already."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """All or nothing: commits at the end, rolls back on any exception, cancellation too."""
        if self._connection is None:
            raise RuntimeError("the database is not open")
        async with self._lock:
            connection = self._connection
            try:
                await connection.execute_fetchall("BEGIN IMMEDIATE")
                yield connection
                await connection.execute_fetchall("COMMIT")
            except BaseException:
                # A statement whose waiter was cancelled still runs, before this one. If it was
                # the COMMIT there is nothing left to roll back.
                with contextlib.suppress(sqlite3.OperationalError):
                    await connection.execute_fetchall("ROLLBACK")
                raise


def _try_to_open(path: str) -> None:
    sqlite3.connect(path).close()
