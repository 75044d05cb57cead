"""How an item and its containers are kept: a short key, a packed value, and its checksum.

The key is the 16 bytes of the item's UUID. The value is a checksum (CRC-32 of all the rest), the
number of containers, the partition that the list was read from, the list's own time (microseconds
since 1970), the time of its record, its record's offset, and, as MessagePack, the pairs of
container id and type. The checksum covers the key too, so that a value which turns up under another
key is found out as well.

A value without containers is a *tombstone*: the item is gone since then.

A value whose number of containers is `_IN_DOUBT` is a *doubt*: the item's newest record cannot be
read. Its time is the record's, and its MessagePack holds the record's offset and the reason. Under
the key of a partition it is a *gap*: see `gaps`.
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from domain.messages import Container, ContainerId, ItemId

if TYPE_CHECKING:
    from collections.abc import Iterable

_UUID_LENGTH = 36
_UUID_BYTES = 16
_TEXT = bytes(_UUID_BYTES) + b"t"
"""In front of an id that is no UUID: longer than one, so that the two are never mixed up."""

_LONGEST_TEXT = 400
_PARTITION = bytes(_UUID_BYTES) + b"p"
"""In front of a partition's number: the key of what is known of all items in it."""

_DIGEST = bytes(_UUID_BYTES) + b"d"
"""In front of the hash of an id that is too long for a key."""

_CHECKSUM = 4
_REST = struct.Struct("<Iiqqq")
"""How many containers, which partition, when by the list, when by its record, at which offset."""

_HEAD = _CHECKSUM + _REST.size

_IN_DOUBT = 2**32 - 1
"""In the place of the number of containers; no list is as long."""

_LONGEST_REASON = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[tuple[ContainerId, str], ...]).decode
_decode_doubt = msgspec.msgpack.Decoder(tuple[int, str]).decode


class Listed(NamedTuple):
    """An item's list.

    Attributes:
        containers: where the item is; none if it is gone.
        listed_at: the list's own time, in UTC.
        partition: which one it was read from.
        written_at: the record's time, in UTC.
        offset: where the record is in its partition.
    """

    containers: tuple[Container, ...]
    listed_at: datetime
    partition: int
    written_at: datetime = _EPOCH
    offset: int = 0


class Doubt(NamedTuple):
    """The record that puts an item in doubt.

    Attributes:
        doubted_at: the record's own time, in UTC.
        partition, offset: where it is in the topic.
        reason: why it cannot be read; it holds text from outside.
    """

    doubted_at: datetime
    partition: int
    offset: int
    reason: str


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


def item_of(key: bytes) -> ItemId | None:
    """The item of a key; None if its id is no UUID."""
    if len(key) != _UUID_BYTES:
        return None
    text = key.hex()
    return ItemId("-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))


def key_of_partition(partition: int) -> bytes:
    """The key of what is known of all items in a partition."""
    return _PARTITION + str(partition).encode()


def partition_of_key(key: bytes) -> int | None:
    """The partition of such a key; None if it is an item's."""
    number = key.removeprefix(_PARTITION)
    return int(number) if number != key and number.isdigit() else None


def pack(
    key: bytes,
    containers: Iterable[Container],
    listed_at: datetime,
    partition: int,
    written_at: datetime = _EPOCH,
    *,
    offset: int = 0,
) -> bytes:
    """The value of an item under its key; both times are aware."""
    pairs = [(one.container_id, one.container_type) for one in containers]
    place = (partition, offset)
    return _packed(key, len(pairs), place, (listed_at, written_at), _encode(pairs))


def pack_doubt(key: bytes, doubt: Doubt) -> bytes:
    """The value of an item in doubt under its key; its reason is cut at `_LONGEST_REASON`."""
    reason = doubt.reason[:_LONGEST_REASON].encode("utf-8", "replace").decode()
    content = _encode((doubt.offset, reason))
    place = (doubt.partition, doubt.offset)
    return _packed(key, _IN_DOUBT, place, (doubt.doubted_at,) * 2, content)


def _packed(
    key: bytes, number: int, place: tuple[int, int], at: tuple[datetime, datetime], content: bytes
) -> bytes:
    times = ((time - _EPOCH) // _MICROSECOND for time in at)
    partition, offset = place
    packed = _REST.pack(number, partition, *times, offset) + content
    return zlib.crc32(packed, zlib.crc32(key)).to_bytes(_CHECKSUM, "little") + packed


def unpack(key: bytes, value: bytes) -> Listed | Doubt:
    """What a value holds: the item's list, or why it is in doubt.

    Raises:
        DamagedEntry: this is not what was written under this key.
    """
    if not is_whole(key, value):
        raise DamagedEntry(f"the checksum of entry {key.hex()} is wrong")
    number, partition, at, written, offset = _REST.unpack_from(value, _CHECKSUM)
    content = memoryview(value)[_HEAD:]
    try:
        time = _EPOCH + timedelta(microseconds=at)
        if number == _IN_DOUBT:
            return Doubt(time, partition, *_decode_doubt(content))
        written_at = _EPOCH + timedelta(microseconds=written)
        containers = tuple(starmap(Container, _decode(content)))
        return Listed(containers, time, partition, written_at, offset)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise DamagedEntry(f"entry {key.hex()} cannot be read: {error}") from None


def times_of(entry: Listed | Doubt) -> tuple[datetime, datetime]:
    """What orders an item's records in different partitions.

    The records' times decide between lists of the same time, as of a platform that dates each list
    of an item with the time at which the item was made.
    """
    if isinstance(entry, Doubt):
        return entry.doubted_at, entry.doubted_at
    return entry.listed_at, entry.written_at


def count(value: bytes) -> int:
    """How many containers a value says that it has, without a look at its checksum.

    A doubt has none; see `is_doubt`.
    """
    number = int.from_bytes(value[4:8], "little")
    return 0 if number == _IN_DOUBT else number


def is_doubt(value: bytes) -> bool:
    """Whether a value says that it is a doubt, without a look at its checksum."""
    return value[4:8] == b"\xff\xff\xff\xff"


def is_tombstone(value: bytes) -> bool:
    """Whether a value says that it is a tombstone, without a look at its checksum."""
    return value[4:8] == bytes(4)


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
