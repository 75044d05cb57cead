"""Record batches as bytes: their headers, and the records of one that aiokafka cannot decode.

aiokafka decodes a batch in one piece and gives up at the first record that it does not like. So
such a batch is taken apart here, record by record: each has its length in front, so that one which
cannot be read says where the next one begins. A record that cannot be read gets a *placeholder* in
its place, with its offset and what is known of its key and value, so that the others keep their
order.

Batches of format 2 only; the formats before it are not taken apart.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch

from bus.kafka.inflate import NotInflatable, inflate

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct(">qiibIhiqqqhii")
"""Of format 2; of the others, the first four fields and no more are in the same places."""

BEFORE_LENGTH = 12
"""Bytes of a batch that its length does not count."""

FORMAT = 2
_SMALLEST = {0: 26, 1: 34, 2: HEADER.size}
LEGACY_FORMATS = (0, 1)
"""Of messages that stand by themselves, or in a compressed one."""

_LEGACY_START = {0: 18, 1: 26}
"""Where the key's length stands in a message of the former formats."""

_CODEC = 0x07
TRANSACTIONAL = 0x10
_CONTROL = 0x20

NOT_ORDINARY = _CODEC | _CONTROL
"""Attributes of a batch that is compressed, or a marker."""

LONGEST_VALUE = 8 << 20
"""Bytes of a value that is decoded. JSON of this size takes about 0.1 s, in which nothing else
runs."""

_WIDEST_VARINT = 10
_SIGN_BITS = 64


class Unreadable(NamedTuple):
    """Records that cannot be read.

    Attributes:
        first, last: their offsets.
        reason: why, in words.
        named: it is a single record, and its key is known.
    """

    first: int
    last: int
    reason: str
    named: bool = False


class Header(NamedTuple):
    """A batch's header, in the order of its bytes; `length` is of what follows it."""

    base: int
    length: int
    epoch: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def last(self) -> int:
        """The last offset that belongs to the batch."""
        return self.base + self.last_delta

    @property
    def codec(self) -> int:
        """Kafka's number of its compression; 0 is none."""
        return self.attributes & _CODEC

    @property
    def is_control(self) -> bool:
        """Whether it is a marker of a transaction."""
        return bool(self.attributes & _CONTROL)


def slices(raw: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole batch begins and ends, up to the first that is incomplete or malformed."""
    at = 0
    while (end := end_of(raw, at)) is not None:
        yield at, end
        at = end


def end_of(raw: bytes, at: int) -> int | None:
    """Where the batch ends that begins here; None if it is not a whole batch."""
    if len(raw) - at < _SMALLEST[0]:
        return None
    length, magic = struct.unpack_from(">i4xb", raw, at + 8)
    end: int = at + BEFORE_LENGTH + length
    if end - at < _SMALLEST.get(magic, _SMALLEST[0]) or end > len(raw):
        return None
    return end


def header_of(raw: bytes, at: int = 0) -> Header:
    """The header of a batch of format 2."""
    return Header._make(HEADER.unpack_from(raw, at))


def base_of(raw: bytes, at: int) -> int:
    """The first offset of a batch; of the formats before 2, that of the (last) message."""
    base: int = struct.unpack_from(">q", raw, at)[0]
    return base


def magic_of(raw: bytes, at: int) -> int:
    """The format of a batch."""
    magic: int = struct.unpack_from(">b", raw, at + 16)[0]
    return magic


def is_intact(batch: bytes) -> bool:
    """Whether a batch's checksum is right. It covers neither the first offset nor the length."""
    magic = magic_of(batch, 0)
    if magic in LEGACY_FORMATS:
        (checksum,) = struct.unpack_from(">I", batch, BEFORE_LENGTH)
        return bool(zlib.crc32(memoryview(batch)[16:]) == checksum)
    return magic == FORMAT and bool(DefaultRecordBatch(batch).validate_crc())


def inflate_legacy(batch: bytes, most: int) -> None:
    """Decompress what a message of the formats before 2 holds, if it is compressed.

    Raises:
        NotInflatable: it cannot be decompressed, or there is too much of it.
    """
    magic = magic_of(batch, 0)
    codec = batch[17] & _CODEC
    if not codec:
        return
    try:
        at = _LEGACY_START[magic]
        (key,) = struct.unpack_from(">i", batch, at)
        at += 4 + max(key, 0)
        (value,) = struct.unpack_from(">i", batch, at)
    except struct.error:
        raise NotInflatable("a message without a value") from None
    if value < 0:
        raise NotInflatable("a message without a value")
    inflate(codec, batch[at + 4 : at + 4 + value], most)


def build(header: Header, base: int, last: int, records: bytes | bytearray, count: int) -> bytes:
    """A batch of format 2, not compressed, with the offsets from `base` to `last`.

    Its checksum is not set: nobody looks at it.
    """
    attributes = header.attributes & ~(_CODEC | _CONTROL)
    length = HEADER.size - BEFORE_LENGTH + len(records)
    return (
        HEADER.pack(
            base,
            length,
            header.epoch,
            FORMAT,
            0,
            attributes,
            last - base,
            *header[7:12],
            count,
        )
        + records
    )


def untrusted(base: int, epoch: int = -1) -> Header:
    """The header for a placeholder in the place of a batch of which nothing can be trusted."""
    return Header(base, 0, epoch, FORMAT, 0, 0, 0, -1, -1, -1, -1, -1, 0)


# ---------------------------------------------------------------------------- records


def placeholder(
    offset_delta: int,
    timestamp_delta: int = 0,
    key: bytes | None = None,
    value: bytes | None = None,
) -> bytes:
    """A record that stands in the place of one that cannot be read."""
    record = b"\0" + _varint(timestamp_delta) + _varint(offset_delta)
    for part in (key, value):
        record += b"\x01" if part is None else _varint(len(part)) + part
    record += b"\0"
    return _varint(len(record)) + record


def _varint(number: int) -> bytes:
    bits = (number << 1) ^ (number >> (_SIGN_BITS - 1))
    encoded = bytearray()
    while bits > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(bits & 0x7F | 0x80)
        bits >>= 7
    encoded.append(bits)
    return bytes(encoded)


class _Malformed(Exception):
    """A record's bytes do not say what they should."""


class _Cursor:
    """Reads one record's fields, within its bounds."""

    def __init__(self, body: bytes | bytearray, at: int, end: int) -> None:
        self.body = body
        self.at = at
        self.end = end

    def number(self) -> int:
        bits = shift = 0
        for at in range(self.at, min(self.at + _WIDEST_VARINT, self.end)):
            byte = self.body[at]
            bits |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
                self.at = at + 1
                number = (bits >> 1) ^ -(bits & 1)
                if not -(2**63) <= number < 2**63:
                    raise _Malformed("a number of more than 64 bits")
                return number
        raise _Malformed("a number that does not end")

    def part(self) -> bytes | None:
        size = self.size()
        if size < 0:
            return None
        self.at += size
        return bytes(self.body[self.at - size : self.at])

    def size(self) -> int:
        """Of the part that follows."""
        size = self.number()
        if size > self.end - self.at:
            raise _Malformed(f"a part of {size} bytes, and {self.end - self.at} are left")
        return size


class Record(NamedTuple):
    """One record of a batch, as far as it could be read.

    Attributes:
        start, end: where it stands in the batch's records.
        offset_delta: its offset, counted from the batch's first; None if it is not known.
        timestamp_delta: likewise.
        named: its key is known.
        key, value: as far as known.
        problem: why it cannot be read; empty if it can.
    """

    start: int
    end: int
    offset_delta: int | None = None
    timestamp_delta: int = 0
    named: bool = False
    key: bytes | None = None
    value: bytes | None = None
    problem: str = ""


def records_in(body: bytes | bytearray) -> Iterator[Record]:
    """Each record, up to the first whose length cannot be trusted."""
    at = 0
    while at < len(body):
        cursor = _Cursor(body, at, len(body))
        try:
            length = cursor.number()
        except _Malformed:
            return
        if not 0 < length <= len(body) - cursor.at:
            return
        cursor.end = cursor.at + length
        yield _record(cursor, at)
        at = cursor.end


def _record(cursor: _Cursor, start: int) -> Record:
    record, large = Record(start, cursor.end), ""
    try:
        cursor.at += 1  # attributes: none is in use
        record = record._replace(timestamp_delta=cursor.number())
        record = record._replace(offset_delta=cursor.number())
        record = record._replace(key=cursor.part(), named=True)
        before = cursor.at
        if (size := cursor.size()) > LONGEST_VALUE:
            cursor.at += size
            large = f"a value of {size:,} bytes is too large"
        else:
            cursor.at = before
            record = record._replace(value=cursor.part())
        for _ in range(_header_count(cursor)):
            name = cursor.part()
            if name is None:
                raise _Malformed("a header without a name")
            name.decode()
            cursor.part()
        if cursor.at != cursor.end:
            raise _Malformed(f"{cursor.end - cursor.at} bytes behind its end")
    except UnicodeDecodeError:
        return record._replace(problem="a header's name is not UTF-8")
    except _Malformed as error:
        return record._replace(problem=f"malformed: {error}")
    return record._replace(problem=large)


def _header_count(cursor: _Cursor) -> int:
    count = cursor.number()
    if not 0 <= count <= cursor.end - cursor.at:  # each takes two bytes at least
        raise _Malformed(f"{count} headers")
    return count
