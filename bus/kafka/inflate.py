"""Decompresses what a batch holds, up to a limit.

A few kilobytes can decompress to gigabytes. aiokafka decompresses a batch in one piece, whatever
its size, so that one record of a writer could use up this process's memory. Here the output has a
limit that the decompressor cannot pass.

zlib is asked for so much output and no more. cramjam, which aiokafka uses for the other codecs, has
no such argument, but it can write into a buffer of a given size, and fails when that is full.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cramjam

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 64 << 20
"""Bytes of one decompressed batch."""

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Kafka's numbers of the codecs; 0 is none."""

NAMES = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}

_GZIP_FORMAT = 31
_GZIP_MEMBERS = 16
"""Each costs a copy of what is behind it. Kafka's clients write one."""

_XERIAL = struct.pack(">b7s", -126, b"SNAPPY\0") + struct.pack(">ii", 1, 1)
_LENGTH = struct.Struct(">i")

_FIRST_GUESS = 8
"""Times the compressed size: the first buffer. Few batches need the second one, of the limit."""

_SMALLEST_GUESS = 1 << 16
_FULL = "failed to write whole buffer"
"""What cramjam says when its output does not fit; a test fails when it says something else."""


class NotInflatable(Exception):
    """This cannot be decompressed."""


class TooLarge(NotInflatable):
    """It is longer than the limit when it is decompressed."""


def inflate(codec: int, data: bytes, most: int = MOST) -> bytes | bytearray:
    """Decompress.

    Args:
        codec: Kafka's number of it.
        data: as it stands in a batch.
        most: bytes of output.

    Raises:
        TooLarge: there is more output than that.
        NotInflatable: the codec is unknown, or this is not its format.
    """
    if codec not in NAMES:
        raise NotInflatable(f"compression {codec} is unknown")
    try:
        match codec:
            case 1:
                return _gunzip(data, most)
            case 2:
                return _snappy(data, most)
            case 3:
                return _into_buffer(cramjam.lz4.decompress_into, data, most)
            case _:
                return _into_buffer(cramjam.zstd.decompress_into, data, most)
    except (NotInflatable, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic in Rust is no Exception
        raise NotInflatable(f"this is not {NAMES[codec]}: {error}") from None


def _too_large(codec: str, most: int) -> TooLarge:
    return TooLarge(f"{codec} that decompresses to more than {most:,} bytes")


def _gunzip(data: bytes, most: int) -> bytes:
    parts, left = [], most
    for _ in range(_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP_FORMAT)
        part = member.decompress(data, left + 1)
        if len(part) > left:
            raise _too_large("gzip", most)
        if not member.eof:
            raise NotInflatable("this is not gzip: it was cut")
        parts.append(part)
        left -= len(part)
        data = member.unused_data.lstrip(b"\0")
        if not data:
            return b"".join(parts)
    raise NotInflatable(f"gzip of more than {_GZIP_MEMBERS} members")


def _snappy(data: bytes, most: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _raw_snappy(data, most)
    parts, left, at = [], most, len(_XERIAL)
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if not 0 < size <= len(data) - at:
            raise NotInflatable(f"this is not snappy: a block of {size} bytes")
        parts.append(_raw_snappy(data[at : at + size], left, most))
        left -= len(parts[-1])
        at += size
    return b"".join(parts)


def _raw_snappy(data: bytes, left: int, most: int | None = None) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > left:
        raise _too_large("snappy", left if most is None else most)
    return bytes(cramjam.snappy.decompress_raw(data))


def _into_buffer(into: Callable[[bytes, bytearray], int], data: bytes, most: int) -> bytearray:
    size = min(most, max(_SMALLEST_GUESS, _FIRST_GUESS * len(data)))
    while True:
        buffer = bytearray(size)
        try:
            written = into(data, buffer)
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise
            if size == most:
                name = "lz4" if into is cramjam.lz4.decompress_into else "zstd"
                raise _too_large(name, most) from None
            size = most
        else:
            del buffer[written:]
            return buffer
