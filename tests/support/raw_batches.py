"""Record batches as bytes, right and wrong ones, and how they come into a topic as they are."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from aiokafka import codec
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c, encode_varint

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = {"gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}

HEADER = struct.Struct(">qiibIhiqqqhii")
CONTROL = 0x20

COMPRESS = {
    NONE: bytes,
    GZIP: codec.gzip_encode,
    SNAPPY: codec.snappy_encode,
    LZ4: codec.lz4_encode,
    ZSTD: codec.zstd_encode,
}


class Row(NamedTuple):
    """What one record holds, each part as bytes."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def varint(number: int) -> bytes:
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)


def part(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content


def framed(content: bytes) -> bytes:
    """With its length in front."""
    return varint(len(content)) + content


def row_bytes(row: Row, offset_delta: int, timestamp_delta: int = 0) -> bytes:
    content = b"\0" + varint(timestamp_delta) + varint(offset_delta) + part(row.key)
    content += part(row.value) + varint(len(row.headers))
    for name, value in row.headers:
        content += part(name) + part(value)
    return framed(content)


def batch_of(
    body: bytes,
    count: int,
    *,
    codec: int = NONE,
    base: int = 0,
    last_delta: int | None = None,
    compressed: bool = False,
    attributes: int = 0,
    magic: int = 2,
    timestamp: int | None = None,
    said_count: int | None = None,
    epoch: int = 0,
) -> bytes:
    """A batch of these records' bytes, with the right checksum.

    Args:
        compressed: `body` is so already.
    """
    content = body if compressed else bytes(COMPRESS[codec](body))
    now = int(time.time() * 1000) if timestamp is None else timestamp
    batch = bytearray(
        HEADER.pack(
            base,
            HEADER.size - 12 + len(content),
            epoch,
            magic,
            0,
            attributes | codec,
            count - 1 if last_delta is None else last_delta,
            now,
            now,
            -1,
            -1,
            -1,
            count if said_count is None else said_count,
        )
        + content
    )
    return with_checksum(batch)


def with_checksum(batch: bytearray | bytes) -> bytes:
    """The same batch, with the checksum that it should have."""
    batch = bytearray(batch)
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    return bytes(batch)


def batch(rows: Sequence[Row], **options: Any) -> bytes:
    """A batch of records."""
    body = b"".join(row_bytes(row, number) for number, row in enumerate(rows))
    return batch_of(body, len(rows), **options)


def bomb(codec: int, size: int, key: bytes | None = None) -> bytes:
    """What a batch holds that is small and decompresses to `size` bytes: one record of zeros."""
    head = b"\0" + varint(0) + varint(0) + part(key)
    value = size - 2 * len(head) - 32
    body = framed(head + varint(value) + bytes(value) + varint(0))
    return bytes(COMPRESS[codec](body))


class Raw:
    """Writes bytes into a topic as they are.

    Args:
        bootstrap: the broker's address.
    """

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> Self:
        await self._client.bootstrap()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def partitions(self, topic: str) -> int:
        """How many there are."""
        await self._client.set_topics([topic])
        return len(self._client.cluster.partitions_for_topic(topic))

    async def send(self, topic: str, raw: bytes, partition: int = 0) -> int:
        """Write it; the offset of its first record."""
        await self._client.set_topics([topic])
        node = next(iter(self._client.cluster.brokers())).nodeId
        request = ProduceRequest(
            transactional_id=None,
            required_acks=-1,
            timeout=5000,
            topics=[(topic, [(partition, raw)])],
        )
        response = await self._client.send(node, request)
        ((_, ((_, code, offset, *_),)),) = response.topics
        if code:
            raise for_code(code)(f"error {code}")
        return int(offset)
