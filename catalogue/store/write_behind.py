"""What was read and is not kept yet: searches see it at once, and it is written in batches.

A batch is written together with the positions that were reached with it. What is lost in a crash
is what was not written, and that is read again from the topic, since its positions were not
written either. So a batch may be late: one is written after `interval` seconds, or as soon as there
is much of it. When even more waits than that, since the disk is slow or full, the reader waits.

What is put belongs to no position before `reached` says so: what is written is exactly what the
topic holds below the positions, also if its end should be lost later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from catalogue.store.store import Batch, StoreDamaged, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.kafka.log_marks import LogMark
    from catalogue.store.store import Store

logger = logging.getLogger("takedown.catalogue")

INTERVAL = 0.5
MUCH = 4 << 20
"""Bytes in a batch, about: LMDB takes some ten times as much memory while it writes one, for each
entry is on a page of its own."""

MOST = 2 * MUCH
_OVERHEAD = 150
"""Bytes that an entry takes in memory beyond its value, about."""

_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a topic is read.

    Attributes:
        positions: the next offset of each partition.
        cluster_id, topic_id: which log it is; empty where the broker does not tell.
        marks: what was last read of each partition.
    """

    positions: Mapping[int, int]
    cluster_id: str = ""
    topic_id: str = ""
    marks: Mapping[int, LogMark] = field(default_factory=dict)


class WriteBehind:
    """Entries in memory in front of a store.

    Args:
        store: where they are kept.
        on_damage: told why the store has to be recreated.
        interval: seconds that a batch waits for more.
        much: bytes at which it does not.
        most: bytes at which `reached` waits.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_damage: Callable[[str], None],
        interval: float = INTERVAL,
        much: int = MUCH,
        most: int = MOST,
    ) -> None:
        self._store = store
        self._on_damage = on_damage
        self._interval = interval
        self._much = much
        self._most = most
        self._put: dict[bytes, bytes | None] = {}
        self._entries: dict[bytes, bytes | None] = {}
        self._writing: Mapping[bytes, bytes | None] = {}
        self._bytes = 0
        self._bytes_writing = 0
        self._reached: Reached | None = None
        self._caught_up_at = 0.0
        self._fresh = False
        self._beginnings = 0
        self._dirty = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._lock = asyncio.Lock()
        self.problem = ""

    @property
    def fresh(self) -> bool:
        """Whether the store's content does not count, since all is read again."""
        return self._fresh

    @property
    def pending(self) -> int:
        """Entries that are not kept yet."""
        return len(self._put) + len(self._entries) + len(self._writing)

    # ------------------------------------------------------------------------- entries

    def get(self, key: bytes) -> bytes | None:
        """The value of a key as of now. Raises `StoreDamaged` or `StoreUnavailable`."""
        for entries in (self._put, self._entries, self._writing):
            if key in entries:
                return entries[key]
        return None if self._fresh else self._store.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set the value of a key; None removes it."""
        self._put[key] = value
        self._bytes += _OVERHEAD + (len(value) if value is not None else 0)

    def begin_again(self) -> None:
        """Forget everything: what comes now is the beginning of the topic."""
        self._beginnings += 1
        self._fresh = True
        self._put, self._entries, self._writing = {}, {}, {}
        self._bytes = self._bytes_writing = 0
        self._reached = None
        self._dirty.clear()
        self._full.clear()
        self._tell_room()

    async def reached(self, reached: Reached, caught_up_at: float = 0.0) -> None:
        """All up to here is put; waits while too much is not written yet.

        Args:
            reached: the positions.
            caught_up_at: see `Kept`; by itself it is no reason to write (see `touch`).
        """
        self._caught_up_at = caught_up_at
        if self._put or reached != self._reached:
            self._entries.update(self._put)
            self._put.clear()
            self._reached = reached
            self._dirty.set()
        if self._bytes >= self._much:
            self._full.set()
        self._tell_room()
        await self._room.wait()

    def touch(self) -> None:
        """Write, even if nothing but the time of `reached` has changed."""
        if self._reached is not None:
            self._dirty.set()

    def _tell_room(self) -> None:
        if self._bytes + self._bytes_writing < self._most:
            self._room.set()
        else:
            self._room.clear()

    # ------------------------------------------------------------------------- writing

    async def run(self) -> None:
        """Write one batch after the other, until cancelled."""
        while True:
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._full.wait()
            if not await self.write():
                await asyncio.sleep(_RETRY)

    async def write(self) -> bool:
        """Write what there is now; False if that did not work."""
        async with self._lock:
            return await self._write()

    async def _write(self) -> bool:
        reached, beginning, fresh = self._reached, self._beginnings, self._fresh
        if reached is None or not self._dirty.is_set():
            return True
        entries, self._entries = self._entries, {}
        self._writing = entries
        self._bytes, self._bytes_writing = 0, self._bytes
        self._dirty.clear()
        self._full.clear()
        batch = Batch(
            entries,
            reached.positions,
            reached.cluster_id,
            reached.topic_id,
            fresh,
            reached.marks,
            self._caught_up_at,
        )
        written = False
        try:
            await self._store.commit(batch)
            written = True
        except StoreUnavailable as error:
            self._failed(str(error))
        except StoreDamaged as error:
            if beginning == self._beginnings:
                self._failed(str(error))
                self._on_damage(str(error))
        finally:
            if beginning == self._beginnings:
                self._done(entries, written=written)
        return written

    def _done(self, entries: dict[bytes, bytes | None], *, written: bool) -> None:
        if written:
            self._fresh = False
            if self.problem:
                logger.info("The catalogue is stored again")
            self.problem = ""
        else:
            self._entries = {**entries, **self._entries}
            self._bytes += self._bytes_writing
            self._dirty.set()
        self._writing = {}
        self._bytes_writing = 0
        self._tell_room()

    def _failed(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("The catalogue is not stored for now: %s", problem)
        self.problem = problem
