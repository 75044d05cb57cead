"""What the catalogue holds of one item, as of now.

Three things decide it: whether anything counts (`validity`), the item's own entry, and whether a
gap may hold something newer than that entry (`gaps`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue.store.entries import DamagedEntry, Doubt, Listed, count, key_of, unpack
from catalogue.store.store import StoreDamaged, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalogue.gaps import Gaps
    from catalogue.store.write_behind import WriteBehind
    from catalogue.validity import Validity
    from domain.messages import ItemId


class Lookup:
    """Finds items, and notices damaged entries.

    Args:
        entries: what is stored or waits to be written.
        gaps: the records of which nothing is known.
        validity: whether what is held counts; notified of damage.
    """

    def __init__(self, entries: WriteBehind, gaps: Gaps, validity: Validity) -> None:
        self._entries = entries
        self._gaps = gaps
        self._validity = validity

    def known(self, item_id: ItemId) -> Listed | None:
        """The item's list as it was last read; None if none is known, or not for now."""
        found = self.held(item_id)
        return found if isinstance(found, Listed) else None

    def doubt(self, item_id: ItemId) -> Doubt | None:
        """Why the item is in doubt; None if it is not, or that cannot be known for now."""
        found = self.held(item_id)
        return found if isinstance(found, Doubt) else None

    def held(
        self, item_id: ItemId, admit: Callable[[int], object] | None = None
    ) -> Listed | Doubt | None:
        """As `find`; None also if that cannot be known for now."""
        try:
            return self.find(item_id, admit)
        except (StoreDamaged, StoreUnavailable):
            return None

    def find(
        self, item_id: ItemId, admit: Callable[[int], object] | None = None
    ) -> Listed | Doubt | None:
        """The item's list, or why it is in doubt; None if it is in no container.

        Args:
            item_id: the item.
            admit: called with the number of the item's containers before its list is decoded, since
                that takes long for many. What it raises ends the lookup.

        Raises:
            StoreDamaged: nothing counts now, or the entry is damaged.
            StoreUnavailable: the store cannot be read now.
        """
        if self._validity.invalid:
            raise StoreDamaged(self._validity.invalid)
        key = key_of(item_id)
        try:
            value = self._entries.get(key)
            if admit is not None and value is not None:
                admit(count(value))
            entry = unpack(key, value) if value is not None else None  # its checksum comes first
        except (StoreDamaged, DamagedEntry) as error:
            self._validity.damaged(str(error))
            raise StoreDamaged(self._validity.invalid) from error
        if self._gaps and not isinstance(entry, Doubt):
            gap = self._gaps.over(entry)
            if gap is not None:
                return gap
        return entry if not isinstance(entry, Listed) or entry.containers else None

    def is_gap(self, doubt: Doubt) -> bool:
        """Whether this is the last gap of its partition, and not the doubt of one item."""
        return doubt is self._gaps.of(doubt.partition)

    def stored(self, key: bytes) -> bytes | None:
        """The value under a key, not decoded; None also if that cannot be known.

        In that case all is read again: the value may be older than what is read next.
        """
        if self._validity.invalid:
            return None
        try:
            return self._entries.get(key)
        except (StoreDamaged, StoreUnavailable) as error:
            self._validity.damaged(str(error))
            return None
