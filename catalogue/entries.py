"""How an item and its containers are kept: a short key, a packed value, and its checksum.

The key is the 16 bytes of the item's UUID. The value is a checksum (CRC-32 of all the rest), the
number of containers, the partition that the list was read from, the list's own time (microseconds
since 1970), and, as MessagePack, the pairs of container id and type. The checksum covers the key
too, so that a value which turns up under another key is found out as well.

A value without containers is a *tombstone*: the item is gone since then.
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from messages import Container, ContainerId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from messages import ItemId

_UUID_LENGTH = 36
_UUID_BYTES = 16
_TEXT = bytes(_UUID_BYTES) + b"t"
"""In front of an id that is no UUID: longer than one, so that the two are never mixed up."""

_LONGEST_TEXT = 400
_DIGEST = bytes(_UUID_BYTES) + b"d"
"""In front of the hash of an id that is too long for a key."""

_CHECKSUM = 4
_REST = struct.Struct("<Iiq")
"""How many containers, which partition, when."""

_HEAD = _CHECKSUM + _REST.size

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[tuple[ContainerId, str], ...]).decode


class Listed(NamedTuple):
    """An item's list.

    Attributes:
        containers: where the item is; none if it is gone.
        listed_at: the list's own time, in UTC.
        partition: which one it was read from.
    """

    containers: tuple[Container, ...]
    listed_at: datetime
    partition: int


class DamagedEntry(Exception):
    """A value is not what was written under its key."""


def key_of(item_id: ItemId) -> bytes:
    """The key of an item: 16 bytes for a UUID in canonical form, more for any other text."""
    if len(item_id) == _UUID_LENGTH:
        try:
            raw = bytes.fromhex(item_id.replace("-", ""))
        except ValueError:
            raw = b""
        # Only the canonical form: other spellings are other ids here.
        if len(raw) == _UUID_BYTES and _canonical(item_id):
            return raw
    text = item_id.encode("utf-8", "surrogatepass")
    if len(text) <= _LONGEST_TEXT:
        return _TEXT + text
    return _DIGEST + blake2b(text, digest_size=32).digest()


def _canonical(text: str) -> bool:
    return text[8] == text[13] == text[18] == text[23] == "-" and text == text.lower()


def pack(key: bytes, containers: Iterable[Container], listed_at: datetime, partition: int) -> bytes:
    """The value of an item under its key; `listed_at` is aware."""
    pairs = [(one.container_id, one.container_type) for one in containers]
    at = (listed_at - _EPOCH) // _MICROSECOND
    packed = _REST.pack(len(pairs), partition, at) + _encode(pairs)
    return zlib.crc32(packed, zlib.crc32(key)).to_bytes(_CHECKSUM, "little") + packed


def unpack(key: bytes, value: bytes) -> Listed:
    """The list that a value holds.

    Raises:
        DamagedEntry: this is not what was written under this key.
    """
    if not is_whole(key, value):
        raise DamagedEntry(f"the checksum of entry {key.hex()} is wrong")
    _, partition, at = _REST.unpack_from(value, _CHECKSUM)
    try:
        pairs = _decode(memoryview(value)[_HEAD:])
        listed_at = _EPOCH + timedelta(microseconds=at)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise DamagedEntry(f"entry {key.hex()} cannot be read: {error}") from None
    return Listed(tuple(starmap(Container, pairs)), listed_at, partition)


def count(value: bytes) -> int:
    """How many containers a value says that it has, without a look at its checksum."""
    return int.from_bytes(value[4:8], "little")


def partition_of(value: bytes) -> int:
    """Which partition a value says that it was read from, without a look at its checksum."""
    return int.from_bytes(value[8:12], "little", signed=True)


def is_whole(key: bytes, value: bytes) -> bool:
    """Whether the checksum is right."""
    return len(value) > _HEAD and zlib.crc32(
        memoryview(value)[_CHECKSUM:], zlib.crc32(key)
    ) == checksum(value)


def checksum(value: bytes) -> int:
    """The checksum that a value carries."""
    return int.from_bytes(value[:4], "little")
