"""What tells a log that was read from another one that stands at the same place later.

A position alone does not: a log that was cut below it and has grown past it since looks the same.
So two more things are stored beside each position:

- the leader epoch of the last batch below it. Each new leader of a partition begins a new epoch,
  and brokers know where in the log each epoch ends (KIP-101): if the epoch that we have read ends
  below our position now, the log was cut.
- fingerprints of the last records that were read. Epochs may repeat when a cluster is rebuilt from
  a backup, and not every broker has them; a different record at the same offset is proof anyway.

Leader epochs are in the raw batches only, aiokafka does not pass them on. Digests are made when
they are asked for, and only of the last records of each round.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from bus.kafka.topic_identity import UNKNOWN_EPOCH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from aiokafka import TopicPartition

TAIL = 4
"""Records of each partition whose fingerprints are stored."""

_DIGEST_BYTES = 12

_BATCH = struct.Struct(">qiib")
"""The start of a batch: base offset, length of what follows it, leader epoch, format."""

_BEFORE_LENGTH = 12
"""Bytes of a batch that its length does not count."""

_FIRST_FORMAT_WITH_EPOCHS = 2


class LogMark(Struct, frozen=True, array_like=True):
    """What was read just below a position.

    Attributes:
        epoch: leader epoch of the last batch below the position; `UNKNOWN_EPOCH` if not known.
        tail: offset and digest of the last records that were read, in the order of the log.
    """

    epoch: int = UNKNOWN_EPOCH
    tail: tuple[tuple[int, bytes], ...] = ()


NO_MARK = LogMark()

Read: TypeAlias = tuple[int, LogMark]
"""A position, and what was read just below it."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A partition whose log is not the one that was read.

    Attributes:
        partition: its number.
        position: up to where it was read.
        at: the offset from which on the two logs differ; None if that is not known.
        how: how this was found.
    """

    partition: int
    position: int
    at: int | None
    how: str


def digest(
    key: bytes | None,
    value: bytes | None,
    timestamp: int | None,
    headers: Iterable[tuple[str, bytes | None]],
) -> bytes:
    """A record's fingerprint: equal for the same record, different for any other one."""
    hashed = blake2b(digest_size=_DIGEST_BYTES)
    # Messages of format 0 have none.
    hashed.update(struct.pack(">q", -1 if timestamp is None else timestamp))
    for part in (key, value):
        _add(hashed, part)
    for name, content in headers:
        _add(hashed, name.encode())
        _add(hashed, content)
    return hashed.digest()


def digest_of(record: Any) -> bytes:
    """The fingerprint of one of aiokafka's records."""
    return digest(record.key, record.value, record.timestamp, record.headers)


def _add(hashed: blake2b, part: bytes | None) -> None:
    # With its length, so that no two sequences of parts are the same bytes.
    hashed.update(struct.pack(">i", -1 if part is None else len(part)))
    if part:
        hashed.update(part)


class _Partition:
    """What was read of one partition, as of the position `at`."""

    __slots__ = ("_mark", "at", "batches", "epoch", "records", "tail")

    def __init__(self, at: int, mark: LogMark) -> None:
        self.at = at
        self.epoch = mark.epoch
        self.tail = mark.tail
        self.records: Sequence[Any] = ()
        self.batches: list[tuple[int, int]] = []
        self._mark: LogMark | None = mark

    def fetched(self, batches: list[tuple[int, int]]) -> None:
        known = self.batches
        first, _ = batches[0]
        while known and known[-1][0] >= first:
            known.pop()
        if known and known[-1][1] == batches[0][1]:
            batches = batches[1:]
        known.extend(batches)

    def epoch_below(self, position: int) -> int:
        for base, epoch in reversed(self.batches):
            if base < position:
                return epoch
        return self.epoch

    def read(self, records: Sequence[Any], position: int) -> None:
        if records:
            self.records = (*self.records, *records)[-TAIL:]
        if position != self.at or records:
            self._mark = None
        self.epoch = self.epoch_below(position)
        while len(self.batches) > 1 and self.batches[1][0] < position:
            del self.batches[0]
        self.at = position

    def assume(self, epoch: int) -> None:
        self.epoch, self._mark = epoch, None

    def forget_tail(self) -> None:
        self.records, self.tail, self._mark = (), (), None

    def mark(self) -> LogMark:
        if self._mark is None:
            self._make_tail()
            self._mark = LogMark(self.epoch, self.tail)
        return self._mark

    def _make_tail(self) -> None:
        if self.records:
            new = tuple((record.offset, digest_of(record)) for record in self.records)
            self.tail = (*self.tail, *new)[-TAIL:]
            self.records = ()


class ReadMarks:
    """The marks of one reader's partitions."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._newest: dict[int, int] = {}

    def clear(self) -> None:
        """Nothing was read."""
        self._partitions.clear()
        self._newest.clear()

    def begin(self) -> None:
        """A session begins: nothing of what it fetches has come."""
        self._newest.clear()
        for partition in self._partitions.values():
            partition.batches.clear()

    def place(self, tp: TopicPartition, position: int, mark: LogMark = NO_MARK) -> None:
        """Read on from this position, below which this was read."""
        self._partitions[tp] = _Partition(position, mark)

    def without_tail(self) -> dict[TopicPartition, int]:
        """Positions of the partitions of which no record is known below."""
        return {tp: known.at for tp, known in self._partitions.items() if not known.mark().tail}

    def found(self, tp: TopicPartition, mark: LogMark) -> None:
        """This stands below its position; a leader epoch that was read before stays."""
        partition = self._partitions[tp]
        epoch = mark.epoch if partition.epoch == UNKNOWN_EPOCH else partition.epoch
        self.place(tp, partition.at, LogMark(epoch, mark.tail))

    def keep_only(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these positions; nothing is known of what has changed to lie above them."""
        before, self._partitions = self._partitions, {}
        for tp, position in positions.items():
            known = before.get(tp)
            if known is not None and known.at <= position:
                self._partitions[tp] = known
            else:
                self.place(tp, position)

    def assume(self, tp: TopicPartition, epoch: int) -> None:
        """What was read was not read in a later leader epoch than this one."""
        partition = self._partitions.get(tp)
        if partition is not None and partition.epoch == UNKNOWN_EPOCH:
            partition.assume(epoch)

    def forget_tails(self) -> None:
        """What was read last is not known for certain: keep the leader epochs only."""
        for partition in self._partitions.values():
            partition.forget_tail()

    def fetched(self, tp: TopicPartition, batches: bytes) -> None:
        """These raw batches came from the broker; they may be handled later, or never."""
        partition = self._partitions.get(tp)
        if partition is None or not (found := batch_epochs(batches)):
            return
        partition.fetched(found)
        newest = found[-1][1]
        if newest > self._newest.get(tp.partition, UNKNOWN_EPOCH):
            self._newest[tp.partition] = newest

    def newest_epochs(self) -> Mapping[int, int]:
        """The highest leader epoch of what was fetched in this session, by partition."""
        return self._newest

    def read(self, tp: TopicPartition, records: Sequence[Any], position: int) -> None:
        """All below this position was handled; these records are new since the last call."""
        partition = self._partitions.get(tp)
        if partition is None:
            self.place(tp, position)
        elif records or position != partition.at:
            partition.read(records, position)

    def of(self, partitions: Collection[TopicPartition]) -> dict[int, Read]:
        """Positions, and what was read just below them, of those partitions that were read."""
        return {
            tp.partition: (known.at, known.mark())
            for tp in partitions
            if (known := self._partitions.get(tp)) is not None
        }

    def partitions(self) -> list[TopicPartition]:
        """Those that are read."""
        return list(self._partitions)

    def marks(self) -> dict[int, LogMark]:
        """Every partition's mark, by the partition's number."""
        return {tp.partition: partition.mark() for tp, partition in self._partitions.items()}


def batch_epochs(batches: bytes) -> list[tuple[int, int]]:
    """Base offset and leader epoch of the first batch, and of each that has another epoch.

    An incomplete batch at the end, as brokers send it, counts: its header is there or is ignored.
    """
    found: list[tuple[int, int]] = []
    at, last, until = 0, None, len(batches) - _BATCH.size
    while at <= until:
        base, length, epoch, magic = _BATCH.unpack_from(batches, at)
        if magic < _FIRST_FORMAT_WITH_EPOCHS:
            epoch = UNKNOWN_EPOCH
        if epoch != last:
            found.append((base, epoch))
            last = epoch
        if length <= 0:
            break
        at += _BEFORE_LENGTH + length
    return found
