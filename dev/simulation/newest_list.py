"""Which record of `item_published` counts for an item, computed a second time.

This module reads records independently of the service's code. In one partition the later record
counts. Between partitions it is the one that is newer by its own time, which is the record's
timestamp for a null value and for a record that cannot be decoded. The latter puts the items that
its key and its value name in doubt.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bus.kafka.codec import decode_item_published
from domain.errors import UnreadableRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dev.simulation.log import Record

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Said:
    """What one record reports of one item.

    Attributes:
        item_id: in lower case.
        containers: their ids; none: the item is gone. None: the item is in doubt.
        listed_at: the list's own time, or the record's timestamp.
        partition, offset: where the record is.
        tombstone: it is a null value.
    """

    item_id: str
    containers: frozenset[str] | None
    listed_at: datetime
    partition: int
    offset: int
    tombstone: bool = False

    @property
    def nowhere(self) -> bool:
        """Whether it shows that the item is in no container."""
        return self.containers is not None and not self.containers

    def overtakes(self, other: Said) -> bool:
        """Whether it counts instead of another one that is known already."""
        if self.partition == other.partition:
            return self.offset > other.offset
        if other.containers is None and self.containers is not None:
            return self.listed_at > other.listed_at  # at the same time it stays in doubt
        return self.listed_at >= other.listed_at


def read_published(record: Record) -> tuple[Said, ...]:
    """What a record of `item_published` reports, of each item that it names."""
    where = record.partition, record.offset
    stamp = _UNIX_EPOCH + timedelta(milliseconds=record.timestamp)
    named = item_of_key(record.key)
    if record.value is None:
        return (Said(named, frozenset(), stamp, *where, tombstone=True),) if named else ()
    try:
        message = decode_item_published(record.value)
    except UnreadableRecord:
        doubted = dict.fromkeys(filter(None, (named, _item_of_object(record.value))))
        return tuple(Said(item_id, None, stamp, *where) for item_id in doubted)
    places = frozenset(c.container_id for c in message.containers)
    return (Said(message.item_id.lower(), places, message.published_at, *where),)


def item_of_key(key: bytes | None) -> str | None:
    """The item that a key names: as text, as a JSON string, or as an object with an itemId."""
    if key is None:
        return None
    return _item(key.decode("utf-8", "replace")) or _item_of_object(key)


def _item_of_object(text: bytes) -> str | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _item(found.get("itemId") if isinstance(found, dict) else found)


def _item(found: object) -> str | None:
    return found.lower() if isinstance(found, str) and _UUID.fullmatch(found.lower()) else None


class Newest:
    """Follows `item_published` as somebody reads it.

    Args:
        before: who followed it until now, if it is to be followed from there.
    """

    def __init__(self, before: Newest | None = None) -> None:
        self._newest: dict[str, Said] = dict(before._newest) if before else {}

    def take(self, record: Record) -> list[Said]:
        """What of this record counts from now on."""
        counts = []
        for said in read_published(record):
            known = self._newest.get(said.item_id)
            if known is None or said.overtakes(known):
                self._newest[said.item_id] = said
                counts.append(said)
        return counts

    def of(self, item_id: str) -> Said | None:
        """What counts for an item; None if nothing was read of it."""
        return self._newest.get(item_id)

    def go_back(self, to: Newest, cuts: Mapping[int, int]) -> list[str]:
        """Have what `to` knows count again where a record was cut off; returns these items.

        Args:
            to: has read what is left.
            cuts: from which offset on records were cut off, by partition.
        """
        gone = [
            item_id
            for item_id, said in self._newest.items()
            if said.offset >= cuts.get(said.partition, said.offset + 1)
        ]
        for item_id in gone:
            del self._newest[item_id]
            if (said := to.of(item_id)) is not None:
                self._newest[item_id] = said
        return gone

    def items(self) -> tuple[str, ...]:
        """Every item that was reported."""
        return tuple(self._newest)
