"""Which list of an item counts, said once more and in other words than the service's.

In one partition it is the later record. Between partitions it is the one that is newer by its own
time, which is the record's for a null value.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bus.codec import decode_item_published, item_id_from_key
from errors import UnreadableRecord
from messages import ItemId

if TYPE_CHECKING:
    from simulation.log import Record

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Newest:
    """Follows `item_published`.

    Args:
        before: who followed it until now, if it is to be followed from there.
    """

    def __init__(self, before: Newest | None = None) -> None:
        self._newest: dict[str, tuple[int, datetime]] = dict(before._newest) if before else {}

    def take(self, record: Record) -> tuple[str, frozenset[str]] | None:
        """The item and its containers' ids; None if the record says nothing that counts."""
        try:
            if record.value is None:
                item_id, places = item_id_from_key(record.key), frozenset[str]()
                at = _UNIX_EPOCH + timedelta(milliseconds=record.timestamp)
            else:
                message = decode_item_published(record.value)
                item_id, at = message.item_id, message.published_at
                places = frozenset(c.container_id for c in message.containers)
        except UnreadableRecord:
            return None
        item_id = ItemId(item_id.lower())  # in whatever letters the codec leaves it
        partition, newest = self._newest.get(item_id, (record.partition, at))
        if record.partition != partition and at < newest:
            return None
        self._newest[item_id] = record.partition, at
        return item_id, places
