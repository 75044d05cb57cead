"""Record batches that are decoded already, as aiokafka's fetcher asks for them.

`fetch_filter` decodes each batch to see whether that can be done. What it got is handed on with the
bytes, so that aiokafka does not decode them once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class DecodedBatch:
    """What a batch holds.

    Args:
        base: its first offset.
        following: the first offset behind it.
        producer: the id of who wrote it; -1 if it has none.
        is_transactional: whether it is part of a transaction.
        records: aiokafka's, in their order.

    Attributes:
        is_control_batch: False: it is no marker of a transaction.
    """

    __slots__ = ("base_offset", "is_transactional", "next_offset", "producer_id", "records")

    is_control_batch = False

    def __init__(
        self, base: int, following: int, producer: int, is_transactional: bool, records: list[Any]
    ) -> None:
        self.base_offset = base
        self.next_offset = following
        self.producer_id = producer
        self.is_transactional = is_transactional
        self.records = records

    def __iter__(self) -> Iterator[Any]:
        """Each record."""
        return iter(self.records)


class DecodedBytes(bytes):
    """Batches as bytes, with what they hold.

    Attributes:
        batches: each of them, decoded or as bytes.
    """

    batches: Sequence[DecodedBatch | bytes | memoryview]

    @classmethod
    def of(cls, raw: bytes, batches: Sequence[DecodedBatch | bytes | memoryview]) -> Self:
        """These bytes, which are the same batches."""
        decoded = cls(raw)
        decoded.batches = batches
        return decoded


class _DecodedRecords:
    """In the place of aiokafka's `MemoryRecords`."""

    def __init__(self, raw: DecodedBytes) -> None:
        self._size = len(raw)
        self._left = list(reversed(raw.batches))
        raw.batches = ()

    def size_in_bytes(self) -> int:
        return self._size

    def has_next(self) -> bool:
        return bool(self._left)

    def next_batch(self) -> Any:
        batch = self._left.pop()
        if isinstance(batch, DecodedBatch):
            return batch
        return MemoryRecords(bytes(batch)).next_batch()


def records_of(raw: bytes) -> Any:
    """The batches of an answer, as aiokafka's fetcher reads them."""
    return _DecodedRecords(raw) if type(raw) is DecodedBytes else MemoryRecords(raw)


def hand_on_decoded() -> None:
    """Have the consumers of this process read `DecodedBytes`. May be repeated."""
    fetcher.MemoryRecords = records_of
