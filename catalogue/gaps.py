"""Records of the topic that were skipped without knowing which items they are about.

A batch that decompresses to too much, or whose bytes are damaged, may hold the newest list of any
item. So an item whose last record is not newer than such a *gap* is in doubt: what is stored of it
may have been replaced in there, and an item of which nothing is stored may have been listed in
there.

Which record is newer? In the gap's partition, the one with the higher offset. Between partitions
times decide, as they do for lists (decision 17): the gap's is that of its batch, or the time at
which it was read if the batch cannot be trusted.

A gap is an entry of the store, so that a restart does not forget it. What happens to the topic
later, as when it is compacted, is not seen by a reader that has passed. So a service that starts
with a gap in its store reads all of the topic again: a gap that is not in it any more is gone then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue.store.entries import (
    DamagedEntry,
    Doubt,
    Listed,
    key_of_partition,
    pack_doubt,
    partition_of_key,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class Gaps:
    """The gaps of one topic: the last one of each partition.

    Attributes:
        were_stored: some were found in the store when it was opened, and not in the topic since
        then.
    """

    def __init__(self) -> None:
        self._last: dict[int, Doubt] = {}
        self.were_stored = False

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._last)

    def load(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        """Start with what the store holds: key and value of each doubt, those of items included."""
        self.clear()
        for key, value in stored:
            partition = partition_of_key(key)
            if partition is None:
                continue
            self.were_stored = True
            try:
                entry = unpack(key, value)
            except DamagedEntry:
                continue  # the store's check reports it
            if isinstance(entry, Doubt):
                self._last[partition] = entry

    def put(self, partition: int, last: int, at: datetime, reason: str) -> tuple[bytes, bytes]:
        """Records up to this offset were skipped; returns what is to be stored, key and value.

        Args:
            partition: where.
            last: the last offset that may be of one of them.
            at: the latest time that one of them may have.
            reason: why they cannot be read.
        """
        before = self._last.get(partition)
        if before is not None:
            at, last = max(at, before.doubted_at), max(last, before.offset)
        gap = self._last[partition] = Doubt(at, partition, last, reason)
        key = key_of_partition(partition)
        return key, pack_doubt(key, gap)

    def clear(self) -> None:
        """Nothing was skipped: the topic is read from its beginning."""
        self._last.clear()
        self.were_stored = False

    def of(self, partition: int) -> Doubt | None:
        """The last one of a partition."""
        return self._last.get(partition)

    def over(self, entry: Listed | None) -> Doubt | None:
        """The gap that may hold something newer than this entry; None if there is none.

        Args:
            entry: what is stored of an item: its list, or that it is gone; None if nothing is.
        """
        for gap in self._last.values():
            if entry is None:
                return gap
            if entry.partition == gap.partition:
                if entry.offset < gap.offset:
                    return gap
            elif entry.listed_at <= gap.doubted_at:
                return gap
        return None

    def partitions(self) -> tuple[int, ...]:
        """The partitions that have one."""
        return tuple(self._last)
