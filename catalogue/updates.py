"""Applies the records of `item_published` to the catalogue's entries.

Which list of an item is its newest? In one partition the later record. But an item's records are
in several partitions once partitions were added to the topic, and between partitions there is no
order. There the list that is newer by its own time counts, and of two lists of the same time the
one that was written later. So it has to be remembered also that an item is gone (`tombstones`).

A record that cannot be read puts the items that it names *in doubt*: where they are is not known
until a readable list or a null value arrives. A doubt is stored as a list is, and ordered between
partitions as a null value is: by the record's own time. Where not even the items are known, each
item is in doubt whose record is not newer (see `gaps`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bus.kafka.codec import decode_item_published
from bus.kafka.keys import item_id_from_key, named_by_key, named_by_value
from catalogue.doubts import Doubts
from catalogue.store.entries import (
    DamagedEntry,
    Doubt,
    Listed,
    is_doubt,
    key_of,
    pack,
    pack_doubt,
    partition_of,
    times_of,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.kafka.batches import Unreadable
    from bus.kafka.record_handler import Record
    from bus.kafka.safeguards import Safeguards
    from catalogue.gaps import Gaps
    from catalogue.lookup import Lookup
    from catalogue.store.write_behind import WriteBehind
    from catalogue.tombstones import Tombstones
    from catalogue.topic_content import TopicContent
    from catalogue.validity import Validity
    from domain.messages import Container, ItemId

OnChange = Callable[["ItemId", tuple["Container", ...], datetime], object]
OnDoubt = Callable[["ItemId", datetime], object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _read(record: Record) -> tuple[ItemId, tuple[Container, ...], datetime]:
    """The item of a record, its containers (none: it is gone), and since when.

    Raises:
        UnreadableRecord: it is not what the contract says.
    """
    if record.value is None:
        return item_id_from_key(record.key), (), _time_of(record)
    message = decode_item_published(record.value)
    return message.item_id, message.containers, message.published_at


def _time_of(record: Record) -> datetime:
    """When a record was written, as its writer says: any number, or none."""
    try:
        return _EPOCH + timedelta(milliseconds=record.timestamp)
    except (TypeError, OverflowError):
        return _EPOCH


class Updates:
    """Changes the entries, record by record, and reports what changed.

    Args:
        entries: where the lists and doubts are put.
        lookup: what is held of an item before a record changes it.
        validity: whether what is held counts; no change is reported while all is read (again).
        content: the topic; notified whether records are lists.
        gaps: the records of which nothing is known.
        tombstones: notified of each item that is gone.
        utc_now: the wall clock: a record without a believable time is dated with it.
        safeguards: notified of gaps.
        on_change, on_doubt, on_gap: see `CatalogueView`.

    Attributes:
        doubts: the items in doubt, for operators.
        overtaken: records that were older than what another partition had of their item.
    """

    def __init__(
        self,
        *,
        entries: WriteBehind,
        lookup: Lookup,
        validity: Validity,
        content: TopicContent,
        gaps: Gaps,
        tombstones: Tombstones,
        utc_now: Callable[[], datetime],
        safeguards: Safeguards | None = None,
        on_change: OnChange | None = None,
        on_doubt: OnDoubt | None = None,
        on_gap: Callable[[], object] | None = None,
    ) -> None:
        self._entries = entries
        self._lookup = lookup
        self._validity = validity
        self._content = content
        self._gaps = gaps
        self._tombstones = tombstones
        self._utc_now = utc_now
        self._safeguards = safeguards
        self._on_change = on_change
        self._on_doubt = on_doubt
        self._on_gap = on_gap
        self.doubts = Doubts()
        self.overtaken = 0

    def load(self, stored: Sequence[tuple[bytes, bytes]]) -> None:
        """Start with the doubts and gaps that the store holds: key and value of each."""
        self.doubts.load(stored)
        self._gaps.load(stored)
        self._report_gaps()

    def clear(self) -> None:
        """No item is in doubt: the log is read again from its beginning."""
        self.doubts.clear()
        if self._safeguards is not None:
            for number in self._gaps.partitions():
                self._safeguards.present(self._every_record(number))
        self._gaps.clear()
        self._tombstones.clear()

    def apply(self, record: Record) -> None:
        """Apply one record: the item's new list, or a null value, which ends it.

        Raises:
            UnreadableRecord: it is not what the contract says; the items that it names are in
                doubt from now on.
        """
        validity = self._validity
        validity.end_rebuild()  # before this record is applied
        rebuilding = validity.rebuilding
        try:
            item_id, containers, listed_at = _read(record)
        except Exception as error:
            self._content.unreadable = True
            self._put_in_doubt(record, str(error) or repr(error), rebuilding=rebuilding)
            raise
        self._content.readable = True
        key = key_of(item_id)
        before = self._lookup.stored(key)
        written_at = _time_of(record)
        if self._is_overtaken(key, before, (listed_at, written_at), record.partition):
            self.overtaken += 1
            return
        value = pack(key, containers, listed_at, record.partition, written_at, offset=record.offset)
        self._entries.put(key, value)
        if before is not None and is_doubt(before):
            self.doubts.remove(item_id)
        if not containers:
            self._tombstones.add(key)
        if self._on_change is not None and not rebuilding:
            self._on_change(item_id, containers, listed_at)
        if self._gaps and self._on_doubt is not None and not rebuilding:
            entry = unpack(key, value)
            if isinstance(entry, Listed) and (gap := self._gaps.over(entry)) is not None:
                self._on_doubt(item_id, gap.doubted_at)  # of another partition

    def unreadable(self, record: Record, why: Unreadable) -> None:
        """Note records that cannot be decoded.

        Args:
            record: what stands in their place: key, value and time as far as these are known.
            why: which offsets, and whether the key is known.
        """
        validity = self._validity
        validity.end_rebuild()
        rebuilding = validity.rebuilding
        self._content.unreadable = True
        if why.named:
            self._put_in_doubt(record, why.reason, rebuilding=rebuilding)
            return
        now = self._utc_now()
        written_at = _time_of(record)
        at = written_at if _EPOCH < written_at < now else now
        self._entries.put(*self._gaps.put(record.partition, why.last, at, why.reason))
        self._report_gaps()
        if self._on_gap is not None and not rebuilding:
            self._on_gap()

    def _report_gaps(self) -> None:
        if self._safeguards is None:
            return
        for number in self._gaps.partitions():
            self._safeguards.missing(
                self._every_record(number),
                "some cannot be, and which items they are about is not known: items that were "
                "not published since then are in doubt (takedown catalogue doubts says more)",
            )

    def _every_record(self, partition: int) -> str:
        """The name of the safeguard that a gap removes."""
        return f"{self._content.topic}[{partition}]: every record is read"

    def _put_in_doubt(self, record: Record, reason: str, *, rebuilding: bool) -> None:
        """Note that the newest record of an item cannot be read."""
        doubt = Doubt(_time_of(record), record.partition, record.offset, reason)
        named = dict.fromkeys(named_by_value(record.value) if record.value is not None else ())
        if (item_id := named_by_key(record.key)) is not None:
            named[item_id] = None
        for item_id in named:
            key = key_of(item_id)
            before = self._lookup.stored(key)
            if self._is_doubt_overtaken(key, before, doubt):
                self.overtaken += 1
                continue
            self._entries.put(key, pack_doubt(key, doubt))
            self.doubts.put(item_id, doubt, new=before is None or not is_doubt(before))
            if self._on_doubt is not None and not rebuilding:
                self._on_doubt(item_id, doubt.doubted_at)

    def _is_overtaken(
        self, key: bytes, value: bytes | None, times: tuple[datetime, datetime], partition: int
    ) -> bool:
        """Whether another partition had something newer of this item.

        Of a doubt and a list of the same time either may be the newer one: the item is in doubt.
        """
        known = self._of_another_partition(key, value, partition)
        if isinstance(known, Doubt):
            return times[0] <= known.doubted_at
        return known is not None and times < times_of(known)

    def _is_doubt_overtaken(self, key: bytes, value: bytes | None, doubt: Doubt) -> bool:
        known = self._of_another_partition(key, value, doubt.partition)
        return known is not None and doubt.doubted_at < times_of(known)[0]

    def _of_another_partition(
        self, key: bytes, value: bytes | None, partition: int
    ) -> Listed | Doubt | None:
        """What a stored value holds, if it is of another partition than this one."""
        if value is None or partition_of(value) == partition:
            return None
        try:
            return unpack(key, value)
        except DamagedEntry as error:
            self._validity.damaged(str(error))
            return None
