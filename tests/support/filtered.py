"""A consumer of what a `FetchFilter` hands on, with answers that a test makes up."""

from __future__ import annotations

import struct
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords

from bus.kafka.decoded import records_of
from bus.kafka.fetch_filter import FetchFilter
from support.raw_batches import Row, batch

TP = TopicPartition("topic", 3)
KEY = b"00000000-0000-4000-8000-000000000001"
ROWS = [Row(KEY, b"{}"), Row(b"key", b"value", ((b"name", b"x"),)), Row(None, None)]
NOT_UTF_8 = Row(KEY, b"value", ((b"\xff", None),))
Read = list[tuple[int, bytes | None, str]]
"""Offset and key of each record, and why it is a placeholder; empty if it is none."""


class Reader:
    """Asks for what a log holds until it is past all of it, as a consumer does."""

    def __init__(self, *, most: int = 1 << 20, position: int = 0) -> None:
        self.position = position
        self.filter = FetchFilter(lambda _: self.position, most=most)
        self.read: Read = []
        self.fetches = 0

    async def until(self, end: int, *answers: bytes, high_water_mark: int = -1) -> Read:
        """Read to this offset; the last answer is given again and again."""
        left = list(answers)
        while self.position < end:
            raw = left.pop(0) if len(left) > 1 else left[0]
            await self.fetch(raw, high_water_mark)
            assert self.fetches < 500, "it does not get past"
        return self.read

    async def fetch(self, raw: bytes, high_water_mark: int = -1) -> None:
        self.fetches += 1
        clean = await self.filter.clean(TP, raw, self.position, high_water_mark)
        records = records_of(clean)
        decoded = PartitionRecords(
            TP, records, [], self.position, None, None, False, READ_COMMITTED
        )
        for record in decoded:
            found = self.filter.unreadable(TP, record.offset)
            self.read.append((record.offset, record.key, found.reason if found else ""))
            assert record.offset >= self.position
        assert decoded.next_fetch_offset >= self.position
        self.position = decoded.next_fetch_offset
        self.filter.passed({TP: self.position})


def at(base: int, raw: bytes) -> bytes:
    """The batch with this first offset."""
    return struct.pack(">q", base) + raw[8:]


def plain(base: int = 0, rows: list[Row] | None = None, **options: Any) -> bytes:
    return at(base, batch(ROWS if rows is None else rows, **options))
