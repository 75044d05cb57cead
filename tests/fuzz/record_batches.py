"""Record batches that no well-behaved writer writes, and damage that no network may do.

Each has the row numbers that must be read all the same, and whether something has to be skipped.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from support.raw_batches import (
    CONTROL,
    GZIP,
    LZ4,
    NONE,
    SNAPPY,
    ZSTD,
    Row,
    batch,
    batch_of,
    bomb,
    framed,
    part,
    row_bytes,
    varint,
    with_checksum,
)

from bus.kafka.batches import HEADER, LONGEST_VALUE

Damage = Callable[[bytes], bytes]
MEBI = 1 << 20
TRANSACTIONAL = 0x10
_BOMBS = (65, 130)
"""Mebibytes."""


@dataclass
class Hostile:
    """One batch that is written, and what becomes of it on the way.

    Attributes:
        name: what is wrong with it.
        raw: what is written.
        readable: the numbers of the rows that must be read.
        skipped: something must be skipped and counted.
        damage: what happens to it in each answer to a fetch.
        times: in so many answers only; None: in all.
        decodes: it can be decoded; what its records say is another matter.
    """

    name: str
    raw: bytes
    readable: tuple[int, ...] = ()
    skipped: bool = True
    damage: Damage | None = None
    times: int | None = None
    decodes: bool = False


@cache
def _bomb(codec: int, mebibytes: int) -> bytes:
    return bomb(codec, mebibytes * MEBI, b"key")


def prepare() -> None:
    """Make what takes long to make: nothing else runs meanwhile."""
    for codec in (GZIP, SNAPPY, LZ4, ZSTD):
        for size in _BOMBS:
            _bomb(codec, size)


class BatchGenerator:
    """Makes hostile batches of one seed.

    Args:
        seed: chooses everything.
        bombs: how many of a thousand decompress to more than the limit: they take long to write.
    """

    def __init__(self, seed: int, *, bombs: int = 20) -> None:
        self._rng = random.Random(seed)
        self._bombs = bombs

    def make(self, rows: Sequence[Row]) -> Hostile:
        """A batch of these rows, or in their place."""
        rng = self._rng
        if rng.randrange(1000) < self._bombs:
            codec = rng.choice((GZIP, SNAPPY, LZ4, ZSTD))
            size = rng.choice(_BOMBS)
            raw = batch_of(_bomb(codec, size), 1, codec=codec, compressed=True)
            return Hostile(f"bomb of codec {codec}, {size} MiB", raw)
        make = rng.choice((
            self._header_name, self._broken_record, self._broken_record, self._broken_rest,
            self._mutated, self._mutated, self._garbage_body, self._count, self._offsets,
            self._unknown_format, self._control, self._times, self._compressed, self._many_tiny,
            self._large, self._damaged, self._damaged, self._damaged, self._damaged_for_a_moment,
        ))  # fmt: skip
        return make(rows)

    def _bytes(self, most: int) -> bytes:
        return self._rng.randbytes(self._rng.randrange(most + 1))

    def _codec(self) -> int:
        return self._rng.choice((NONE, NONE, GZIP, SNAPPY, LZ4, ZSTD))

    # --------------------------------------------------------------- records of a batch

    def _with(self, rows: Sequence[Row], number: int, record: bytes, name: str) -> Hostile:
        """The rows, with these bytes in the place of one."""
        parts = [row_bytes(row, n) for n, row in enumerate(rows)]
        parts[number] = record
        raw = batch_of(b"".join(parts), len(rows), codec=self._codec())
        return Hostile(name, raw, tuple(n for n in range(len(rows)) if n != number))

    def _header_name(self, rows: Sequence[Row]) -> Hostile:
        number = self._rng.randrange(len(rows))
        name = self._rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"a" * 1000 + b"\x80"))
        row = rows[number]._replace(headers=((b"fine", None), (name, self._bytes(20))))
        hostile = self._with(rows, number, row_bytes(row, number), "a header's name")
        hostile.name += f" in row {number}"
        return hostile

    def _broken_record(self, rows: Sequence[Row]) -> Hostile:
        """One whose length is right, and whose content is not."""
        rng, number = self._rng, self._rng.randrange(len(rows))
        row = rows[number]
        start = b"\0" + varint(0) + varint(number)
        content = rng.choice((
            start + varint(2**31 - 1),
            start + varint(-5) + varint(2**40),
            start + part(row.key) + varint(10**9) + b"x",
            start + part(row.key) + part(row.value) + varint(-1),
            start + part(row.key) + part(row.value) + varint(2**31 - 1),
            start + part(row.key) + part(row.value) + varint(1) + varint(-1),
            start + part(row.key) + part(row.value) + varint(0) + b"behind it",
            start + part(row.key) + part(row.value) + b"\xff" * 10,
            b"\0" + b"\xff" * 12,
            b"\0" + varint(0) + varint(number + 1000) + part(row.key) + part(row.value) + varint(0),
            b"\0" + varint(0) + varint(-7) + part(row.key) + part(row.value) + varint(0),
            b"\0" + varint(2**62) + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0",
        ))  # fmt: skip
        return self._with(rows, number, framed(content), f"row {number} is {content[:60]!r}")

    def _broken_rest(self, rows: Sequence[Row]) -> Hostile:
        """One whose length is wrong: what is behind it cannot be found."""
        number = self._rng.randrange(len(rows))
        length = self._rng.choice((varint(2**31 - 1), varint(-3), b"\xff" * 11, varint(0)))
        hostile = self._with(rows, number, length, f"the length of row {number}")
        hostile.readable = tuple(range(number))
        return hostile

    def _mutated(self, rows: Sequence[Row]) -> Hostile:
        body = bytearray(b"".join(row_bytes(row, n) for n, row in enumerate(rows)))
        for _ in range(self._rng.randrange(1, 4)):
            at = self._rng.randrange(len(body))
            match self._rng.randrange(3):
                case 0:
                    body[at] = self._rng.randrange(256)
                case 1:
                    body[at:at] = self._bytes(5)
                case _:
                    del body[at : at + self._rng.randrange(1, 5)]
            body = body or bytearray(b"x")
        raw = batch_of(bytes(body), len(rows), codec=self._codec())
        return Hostile(f"mutated: {bytes(body)!r}", raw, skipped=False)

    def _garbage_body(self, rows: Sequence[Row]) -> Hostile:
        codec = self._rng.choice((NONE, GZIP, SNAPPY, LZ4, ZSTD))
        good = batch(rows, codec=codec)[HEADER.size :]
        cut = good[: self._rng.randrange(len(good))]
        body = self._rng.choice((self._bytes(200), cut, cut + self._bytes(20), b""))
        raw = batch_of(body, len(rows), codec=codec, compressed=True)
        return Hostile(f"a body that is not of codec {codec}", raw, skipped=False)

    def _count(self, rows: Sequence[Row]) -> Hostile:
        said = self._rng.choice((0, 1, -1, len(rows) + 3, 2**31 - 1, -(2**31)))
        field = struct.pack(">i", said)
        # On the way: the embedded broker gives out no batch that says that it has none.
        return Hostile(
            f"says that it has {said} records",
            batch(rows, codec=self._codec()),
            # One that says that it has millions is skipped whole.
            () if said > len(rows) + 3 else tuple(range(len(rows))),
            skipped=said > len(rows) + 3,
            damage=lambda raw: with_checksum(raw[:57] + field + raw[61:]),
        )

    def _offsets(self, rows: Sequence[Row]) -> Hostile:
        raw = batch(rows, last_delta=len(rows) + self._rng.randrange(100))
        return Hostile("offsets without records", raw, tuple(range(len(rows))), False)

    # ------------------------------------------------------------------- whole batches

    def _unknown_format(self, rows: Sequence[Row]) -> Hostile:
        magic = self._rng.choice((3, 4, 100, 127, -1))
        return Hostile(f"format {magic}", batch(rows, magic=magic))

    def _control(self, rows: Sequence[Row]) -> Hostile:
        key = self._rng.choice((None, b"", b"\0", b"\0\0", b"\0\0\0\0", b"\0\0\0\1"))
        body = row_bytes(Row(key, b""), 0) if self._rng.random() < 0.7 else self._bytes(30)
        raw = batch_of(body, 1, attributes=CONTROL | self._rng.choice((0, TRANSACTIONAL)))
        return Hostile(f"a marker with key {key!r}", raw, skipped=False)

    def _times(self, rows: Sequence[Row]) -> Hostile:
        time = self._rng.choice((-1, 0, -(2**63), 2**63 - 1, 2**53, 253402300800000))
        number = self._rng.randrange(len(rows))
        parts = [
            row_bytes(row, n, self._rng.choice((0, 2**40, -(2**40))) if n == number else 0)
            for n, row in enumerate(rows)
        ]
        raw = batch_of(b"".join(parts), len(rows), timestamp=time)
        return Hostile(f"time {time}", raw, tuple(range(len(rows))), False)

    def _compressed(self, rows: Sequence[Row]) -> Hostile:
        codec = self._rng.choice((GZIP, SNAPPY, LZ4, ZSTD))
        raw = batch(rows, codec=codec)
        return Hostile(f"nothing but codec {codec}", raw, tuple(range(len(rows))), False)

    def _many_tiny(self, rows: Sequence[Row]) -> Hostile:
        """Many records that name nothing, in few bytes."""
        number = self._rng.choice((1000, 20_000))
        body = b"".join(row_bytes(Row(b"", b""), n) for n in range(number))
        raw = batch_of(body, number, codec=self._rng.choice((GZIP, LZ4, ZSTD)))
        return Hostile(f"{number} empty records", raw, decodes=True)

    def _large(self, rows: Sequence[Row]) -> Hostile:
        """A value that decompresses to less than the limit."""
        size = self._rng.choice((2, 9, 20)) * MEBI
        fill = self._rng.choice((b" ", b"[", b'"', b"\0"))
        row = rows[0]._replace(value=fill * size)
        raw = batch([row, *rows[1:]], codec=self._rng.choice((LZ4, ZSTD)))  # gzip takes long
        name, readable = f"a value of {size} bytes {fill!r}", tuple(range(1, len(rows)))
        return Hostile(name, raw, readable, decodes=size < LONGEST_VALUE)

    # ---------------------------------------------------------------------- on the way

    def _damaged(self, rows: Sequence[Row]) -> Hostile:
        raw = batch(rows, codec=self._codec())
        name, damage = self._damage(raw)
        return Hostile(f"damaged: {name}", raw, damage=damage)

    def _damaged_for_a_moment(self, rows: Sequence[Row]) -> Hostile:
        hostile = self._damaged(rows)
        hostile.name += ", once"
        hostile.times = 1
        hostile.readable = tuple(range(len(rows)))
        hostile.skipped = False
        return hostile

    def _damage(self, raw: bytes) -> tuple[str, Damage]:
        rng, size = self._rng, len(raw)
        if rng.randrange(2):
            return self._damaged_header(size)
        match rng.choice(("content", "cut", "random", "behind")):
            case "content":  # what the checksum covers
                at, bits = rng.randrange(21, size), rng.randrange(1, 256)
                return f"byte {at} ^ {bits}", lambda raw: _flipped(raw, at, bits)
            case "cut":
                # Zeros at the end are no loss: the next batch begins with as many.
                left = rng.randrange(1, len(raw.rstrip(b"\0")))
                return f"cut to {left}", lambda raw: raw[:left]
            case "random":
                other = rng.randbytes(rng.randrange(1, 300))
                return f"{other[:20]!r}", lambda _raw: other
            case _:
                more = rng.randbytes(rng.randrange(1, 100))
                return f"{more[:20]!r} behind it", lambda raw: _flipped(raw, 30, 1) + more

    def _damaged_header(self, size: int) -> tuple[str, Damage]:
        """Damage to what no checksum covers."""
        rng = self._rng
        match rng.choice(("length", "format", "base")):
            case "length":
                length = rng.choice((0, -1, -(2**31), 2**31 - 1, 5, 48, size + 50, size - 13))
                field = struct.pack(">i", length)
                return f"length {length}", lambda raw: raw[:8] + field + raw[12:]
            case "format":
                magic = rng.choice((-128, -1, 0, 1, 3, 127))
                field = struct.pack(">b", magic)
                return f"format {magic}", lambda raw: raw[:16] + field + raw[17:]
            case _:  # a higher one cannot be told from a right one
                back = rng.randrange(1, 2**40)
                return (
                    f"base - {back}",
                    lambda raw: (
                        struct.pack(">q", struct.unpack_from(">q", raw)[0] - back) + raw[8:]
                    ),
                )


def _flipped(raw: bytes, at: int, bits: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ bits]) + raw[at + 1 :]
