"""The items in doubt, for operators: how many there are, and the newest of them.

The store holds all of them and decides what is answered. This list is bounded, so that a writer
whose every record is unreadable costs no memory without limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from catalogue.store.entries import DamagedEntry, Doubt, item_of, partition_of_key, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.messages import ItemId

MOST = 1000
"""Items that are listed."""


class ItemDoubt(NamedTuple):
    """An item in doubt, and the record that puts it there."""

    item_id: ItemId
    doubt: Doubt


class Doubts:
    """Counts the items in doubt and lists the newest.

    Args:
        most: how many are listed at most.

    Attributes:
        total: how many there are, the unlisted ones included.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._listed: dict[ItemId, Doubt] = {}
        self.total = 0

    def load(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        """Start with what the store holds: key and value of each."""
        self.clear()
        for key, value in stored:
            if partition_of_key(key) is not None:
                continue  # all items of a partition: see `gaps`
            self.total += 1
            item_id = item_of(key)
            try:
                entry = unpack(key, value)
            except DamagedEntry:
                continue  # the store's check reports it
            if item_id is not None and isinstance(entry, Doubt):
                self._list(item_id, entry)

    def put(self, item_id: ItemId, doubt: Doubt, *, new: bool) -> None:
        """The item is in doubt for this record; `new` if it was not in doubt before."""
        self.total += new
        self._list(item_id, doubt)

    def _list(self, item_id: ItemId, doubt: Doubt) -> None:
        self._listed[item_id] = doubt
        if len(self._listed) >= 2 * self._most:  # now and then, not each time
            self._listed = {one.item_id: one.doubt for one in self.newest(self._most)}

    def remove(self, item_id: ItemId) -> None:
        """The item is not in doubt any more."""
        self.total -= 1
        self._listed.pop(item_id, None)

    def clear(self) -> None:
        """No item is in doubt."""
        self.total = 0
        self._listed.clear()

    def newest(self, limit: int) -> tuple[ItemDoubt, ...]:
        """The newest, at most `limit` of them, the newest first."""
        rows = [ItemDoubt(item_id, doubt) for item_id, doubt in self._listed.items()]
        rows.sort(key=lambda one: (one.doubt.doubted_at, one.doubt.offset), reverse=True)
        return tuple(rows[: min(limit, self._most)])
