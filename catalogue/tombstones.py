"""Removes the entries of items that are gone, once they are not needed any more.

An item's records may be in several partitions, which are not ordered among each other. So that an
item is gone has to be remembered until all is read that was written before its tombstone was read.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from catalogue.store.entries import DamagedEntry, Listed, unpack
from catalogue.store.store import StoreDamaged, StoreUnavailable
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from catalogue.gaps import Gaps
    from catalogue.store.store import Store
    from catalogue.store.write_behind import WriteBehind
    from catalogue.validity import Validity

_SWEEP = 5.0
"""Seconds between two removals."""

_BATCH = 500
"""Tombstones that are removed in one iteration of the event loop."""


class Tombstones:
    """The keys of the tombstones that are held.

    Args:
        store: where those of an earlier run are.
        entries: where they are removed.
        gaps: while there are any, no tombstone is removed: without it, its item would be in doubt.
        validity: which log is read, and whether the store is damaged.
    """

    def __init__(self, store: Store, entries: WriteBehind, gaps: Gaps, validity: Validity) -> None:
        self._store = store
        self._entries = entries
        self._gaps = gaps
        self._validity = validity
        self._keys: set[bytes] = set()

    def add(self, key: bytes) -> None:
        """A tombstone was put under this key."""
        self._keys.add(key)

    def clear(self) -> None:
        """Nothing is held: the log is read again from its beginning."""
        self._keys = set()

    async def run(self) -> None:
        """Remove tombstones until cancelled."""
        try:
            self._keys.update(await self._store.tombstones())
        except StoreDamaged as error:
            self._validity.damaged(str(error))
        while True:
            await asyncio.sleep(_SWEEP)
            await self._sweep()

    async def _sweep(self) -> None:
        old, self._keys = self._keys, set()
        log = self._validity.log
        if not old or log is None:
            return
        if self._gaps:
            self._keys |= old
            return
        rebuilds = self._validity.rebuilds
        try:
            await log.catch_up()
        except KafkaUnavailable:
            if rebuilds == self._validity.rebuilds:
                self._keys |= old
            return
        await self._remove(old)

    async def _remove(self, old: set[bytes]) -> None:
        for number, key in enumerate(old):
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            if key not in self._keys:  # otherwise a newer tombstone of the same item is there
                # What cannot be read costs space, no more.
                with contextlib.suppress(StoreDamaged, StoreUnavailable, DamagedEntry):
                    value = self._entries.get(key)
                    entry = unpack(key, value) if value is not None else None
                    if isinstance(entry, Listed) and not entry.containers:
                        self._entries.put(key, None)
