"""One batch: whether aiokafka can decode it, and what is handed on instead if it cannot.

All of it is computation: it may run in a thread. A batch of `bus.kafka.inflate.MOST` bytes takes
seconds.
"""

from __future__ import annotations

import struct
from itertools import islice
from operator import attrgetter, lt
from typing import Any, NamedTuple

from aiokafka.record.control_record import ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from bus.kafka import batches
from bus.kafka.batches import Header, Record, Unreadable
from bus.kafka.decoded import DecodedBatch
from bus.kafka.inflate import NotInflatable, TooLarge, inflate

_ORDINARY = struct.Struct(">q8xb4xhi16xq6xi")
"""Of a header: the first offset, the format, the attributes, the last offset's delta, the producer,
the number of records."""

_HANDED_ON = 1 << 20
"""Bytes of a decompressed batch whose records are handed on decoded."""

_QUICKLY = 1 << 14
"""Bytes that are taken apart on the event loop: up to 35 ms."""

_MOST_APART = 100_000
"""Records that are taken apart: 1.5 s in a thread."""

_MOST_RECORDS = 1_000_000
"""Records of a batch. As many that are of use to us have 100 MB."""

_offset_of = attrgetter("offset")


class Damaged(Exception):
    """A batch that may be intact when it is fetched again."""


class Unusable(Exception):
    """A batch of which nothing can be read, however often it is fetched.

    Args:
        reason: why.
        too_large: it decompresses to more than the limit.
    """

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


class TakesLong(Exception):
    """More is to be done than the event loop has time for."""


class Decoded(NamedTuple):
    """What aiokafka can decode of a batch.

    Attributes:
        batch: the very same one, if it can decode that.
        unreadable: what has a placeholder in it.
        inflated: bytes of its records, if it was compressed.
        whole: what it holds, if that is at hand.
    """

    batch: bytes
    unreadable: tuple[Unreadable, ...] = ()
    inflated: int = 0
    whole: DecodedBatch | None = None


def decode(batch: bytes, most: int, quickly: bool) -> Decoded:
    """Decode a batch of format 2, to see whether that can be done.

    Args:
        batch: all of it.
        most: bytes of its records at most when they are decompressed.
        quickly: on the event loop: raise `TakesLong` if it has to be taken apart and is long.

    Raises:
        Damaged: its checksum is wrong.
        Unusable: nothing can be read of it.
        TakesLong: see above.
    """
    if not batches.is_intact(batch):
        raise Damaged("the checksum of a batch is wrong")
    header = batches.header_of(batch)
    if header.is_control:
        if header.codec or not _is_marker(batch):
            raise Unusable("a transaction's marker is malformed")
        return Decoded(batch)
    if header.records > _MOST_RECORDS:
        raise Unusable(f"a batch of {header.records:,} records")
    if not header.codec:
        if _can_decode(batch, header):
            return Decoded(batch)
        return _taken_apart(header, batch[batches.HEADER.size :], quickly)
    try:
        body = inflate(header.codec, batch[batches.HEADER.size :], most)
    except TooLarge as error:
        raise Unusable(f"a batch of {error}", too_large=True) from None
    except NotInflatable as error:
        raise Unusable(f"a batch cannot be decompressed: {error}") from None
    decoded = _decompressed(header, body) or _taken_apart(header, body, quickly)
    return decoded._replace(inflated=len(body))


def _decompressed(header: Header, body: bytes | bytearray) -> Decoded | None:
    """The batch with its records decompressed; None if aiokafka cannot decode that."""
    if len(body) > batches.LONGEST_VALUE * max(header.records, 1):
        return None  # a value is too long for sure
    plain = batches.build(header, header.base, header.last, body, header.records)
    if len(body) > _HANDED_ON:
        return Decoded(plain) if _can_decode(plain, header) else None
    records = _all_of(DefaultRecordBatch(plain), header.base, header.last, header.records)
    return None if records is None else Decoded(plain, whole=_batch_of(header, records))


def decoded_if_ordinary(batch: bytes | memoryview) -> DecodedBatch | None:
    """What a batch holds that is as nearly all are; None if it is another one.

    The quick way for a batch that aiokafka can decode as it is: of format 2, not compressed,
    intact, no marker of a transaction, and not so long that a value could be too large.
    """
    if len(batch) < _ORDINARY.size or len(batch) > batches.LONGEST_VALUE:
        return None
    base, magic, attributes, delta, producer, count = _ORDINARY.unpack_from(batch)
    if magic != batches.FORMAT or attributes & batches.NOT_ORDINARY or delta < 0:
        return None
    reader = DefaultRecordBatch(batch)
    records = _all_of(reader, base, base + delta, count) if reader.validate_crc() else None
    if records is None:
        return None
    is_transactional = bool(attributes & batches.TRANSACTIONAL)
    return DecodedBatch(base, base + delta + 1, producer, is_transactional, records)


def _batch_of(header: Header, records: list[Any]) -> DecodedBatch:
    is_transactional = bool(header.attributes & batches.TRANSACTIONAL)
    return DecodedBatch(header.base, header.last + 1, header.producer_id, is_transactional, records)


def _all_of(reader: DefaultRecordBatch, base: int, last: int, count: int) -> list[Any] | None:
    """Every record; None if that cannot be decoded, or the offsets are not in order."""
    try:
        decoded = iter(reader)
        records = list(islice(decoded, count))
        # With all of them read, it sees whether there is more. After that it would begin anew.
        if len(records) != count or next(decoded, None) is not None:
            return None
    except Exception:  # noqa: BLE001 - whatever it is, aiokafka would raise it
        return None
    offsets = [base - 1, *map(_offset_of, records)]
    return records if offsets[-1] <= last and all(map(lt, offsets, offsets[1:])) else None


def check_message(batch: bytes, most: int, _quickly: bool) -> None:
    """Check a message of the formats before 2, which may hold others, compressed.

    Raises:
        Damaged: its checksum is wrong, or its format is none of these.
        Unusable: nothing can be read of it.
    """
    magic = batches.magic_of(batch, 0)
    if magic not in batches.LEGACY_FORMATS:
        raise Damaged(f"a batch of the unknown format {magic}")
    if not batches.is_intact(batch):
        raise Damaged("the checksum of a message is wrong")
    last = batches.base_of(batch, 0)
    before = -1
    try:
        batches.inflate_legacy(batch, most)
        for record in LegacyRecordBatch(batch, magic):
            if not before < record.offset <= last:
                raise NotInflatable("its offsets are out of order")
            before = record.offset
    except TooLarge as error:
        raise Unusable(f"a message of {error}", too_large=True) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, aiokafka would raise it
        raise Unusable(f"a message cannot be decoded: {error}") from None


def _can_decode(batch: bytes, header: Header) -> bool:
    """Whether aiokafka can decode all of it, and its offsets are in order."""
    before, count = header.base - 1, 0
    try:
        for record in DefaultRecordBatch(batch):
            if not before < record.offset <= header.last:
                return False
            if record.value is not None and len(record.value) > batches.LONGEST_VALUE:
                return False
            before = record.offset
            count += 1
    except Exception:  # noqa: BLE001 - whatever it is, aiokafka would raise it
        return False
    return count == header.records


def _taken_apart(header: Header, body: bytes | bytearray, quickly: bool) -> Decoded:
    """The batch again, with placeholders in the place of what cannot be read.

    That takes about 15 microseconds for each record.
    """
    if quickly and len(body) > _QUICKLY:
        raise TakesLong
    latest = max(0, header.max_timestamp - header.first_timestamp)
    parts: list[bytes | bytearray] = []
    found: list[Unreadable] = []
    before, count, at = header.base - 1, 0, 0
    for record in batches.records_in(body):
        at = record.end
        count += 1
        if count > _MOST_APART:
            raise Unusable(f"it is malformed, and has more than {_MOST_APART:,} records")
        placed = _placed(record, header, before)
        delta = placed.offset_delta
        offset = before = before + 1 if delta is None else header.base + delta
        if offset > header.last:
            raise Unusable("it has more records than offsets")
        if placed.problem:
            parts.append(_placeholder_of(placed, offset - header.base, latest))
            found.append(Unreadable(offset, offset, placed.problem, placed.named))
        else:
            parts.append(body[record.start : record.end])
    if before < header.last and (at < len(body) or count != header.records):
        # What is behind this is not known, nor whether it is one record or many: a placeholder for
        # all of it, at the last offset, so that also a reader that begins in the middle gets it.
        parts.append(batches.placeholder(header.last - header.base, latest))
        reason = "malformed: its records cannot be told apart"
        found.append(Unreadable(before + 1, header.last, reason))
    batch = batches.build(header, header.base, header.last, b"".join(parts), len(parts))
    if not _can_decode(batch, batches.header_of(batch)):
        raise Unusable("its records cannot be decoded")
    return Decoded(batch, tuple(found))


def _placed(record: Record, header: Header, before: int) -> Record:
    """The record, without an offset that cannot be its own: it comes behind `before`."""
    if record.offset_delta is None:
        return record._replace(problem=record.problem or "no offset")
    if before < header.base + record.offset_delta <= header.last:
        return record
    return record._replace(offset_delta=None, problem="an offset that is out of order", named=False)


def _placeholder_of(record: Record, offset_delta: int, latest: int) -> bytes:
    if not record.named:  # it may hold the newest list of any item
        return batches.placeholder(offset_delta, latest)
    return batches.placeholder(offset_delta, record.timestamp_delta, record.key, record.value)


def _is_marker(batch: bytes) -> bool:
    """Whether aiokafka can decode what ends a transaction."""
    try:
        ControlRecord.parse(next(DefaultRecordBatch(batch)).key)
    except Exception:  # noqa: BLE001 - whatever it is, aiokafka would raise it
        return False
    return True
