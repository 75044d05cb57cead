"""Whatever a broker sends, aiokafka can decode what is handed on, and nothing keeps its place."""

from __future__ import annotations

import asyncio
import os
import struct
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from fuzz.record_batches import BatchGenerator
from support.raw_batches import (
    CODECS,
    CONTROL,
    ZSTD,
    Row,
    batch,
    batch_of,
    bomb,
    row_bytes,
    varint,
    with_checksum,
)

from bus.batches import HEADER
from bus.fetch_filter import FetchFilter

TP = TopicPartition("topic", 3)
KEY = b"00000000-0000-4000-8000-000000000001"
ROWS = [Row(KEY, b"{}"), Row(b"key", b"value", ((b"name", b"x"),)), Row(None, None)]
NOT_UTF_8 = Row(KEY, b"value", ((b"\xff", None),))
HOSTILE = int(os.environ.get("HOSTILE_BATCHES", "300"))

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
        records = MemoryRecords(clean)
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


GOOD: Read = [(0, KEY, ""), (1, b"key", ""), (2, None, "")]


async def test_what_can_be_decoded_is_handed_on_as_it_is() -> None:
    raw = plain() + plain(3)
    assert await FetchFilter(lambda _: 0).clean(TP, raw, 0) is raw


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
async def test_what_is_compressed_is_handed_on_decompressed(codec: int) -> None:
    clean = await FetchFilter(lambda _: 0).clean(TP, plain(codec=codec), 0)
    assert clean[HEADER.size :] == plain()[HEADER.size :]
    assert await Reader().until(3, plain(codec=codec)) == GOOD


async def test_what_was_cut_at_the_end_is_left_for_the_next_answer() -> None:
    reader = Reader()
    await reader.fetch(plain() + plain(3)[:70])
    assert (reader.read, reader.position) == (GOOD, 3)


async def test_a_header_whose_name_is_not_utf_8_takes_its_own_record_and_no_other() -> None:
    raw = batch([ROWS[0], NOT_UTF_8, ROWS[1]])
    assert await Reader().until(3, raw) == [
        (0, KEY, ""),
        (1, KEY, "a header's name is not UTF-8"),
        (2, b"key", ""),
    ]


async def test_a_broken_record_is_passed_by_its_length() -> None:
    broken = varint(3) + b"\0\xff\xff"
    raw = batch_of(row_bytes(ROWS[0], 0) + broken + row_bytes(ROWS[1], 2), 3)
    read = await Reader().until(3, raw)
    assert [(offset, key) for offset, key, _ in read] == [(0, KEY), (1, None), (2, b"key")]
    assert [bool(reason) for *_, reason in read] == [False, True, False]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
async def test_a_batch_that_decompresses_to_too_much_is_one_placeholder(codec: int) -> None:
    raw = batch_of(bomb(codec, 2 << 20, KEY), 5, codec=codec, compressed=True)
    ((offset, key, reason),) = await Reader().until(5, raw)
    assert (offset, key) == (0, None)
    assert "decompresses to more than 1,048,576 bytes" in reason


async def test_one_that_decompresses_to_just_so_much_is_read() -> None:
    content = bomb(ZSTD, 1 << 20, KEY)
    raw = batch_of(content, 1, codec=ZSTD, compressed=True)
    assert await Reader(most=(1 << 20)).until(1, raw) == [(0, KEY, "")]


async def test_no_more_is_handed_on_than_the_limit_before_it_is_handled() -> None:
    one = batch_of(bomb(ZSTD, 3 << 19, KEY), 1, codec=ZSTD, compressed=True)
    reader = Reader(most=2 << 20)
    await reader.fetch(one + at(1, one))
    assert reader.position == 1  # the second one is left for the next answer
    await reader.fetch(at(1, one))
    assert [offset for offset, *_ in reader.read] == [0, 1]


async def test_another_partition_waits_until_the_first_is_handled() -> None:
    one = batch_of(bomb(ZSTD, 3 << 19, KEY), 1, codec=ZSTD, compressed=True)
    position = 0
    both = FetchFilter(lambda tp: position if tp == TP else 0, most=2 << 20)
    other = TopicPartition("topic", 4)
    assert await both.clean(TP, one, 0)
    assert not await both.clean(other, one, 0)
    position = 1
    assert await both.clean(other, one, 0)


async def test_damage_that_is_gone_in_the_next_answer_takes_nothing() -> None:
    damaged = plain()[:-1] + b"!"
    assert await Reader().until(3, damaged, plain()) == GOOD


async def test_damage_that_stays_is_passed_up_to_the_next_batch() -> None:
    damaged = plain()[:-1] + b"!"
    read = await Reader().until(6, damaged + plain(3))
    assert [offset for offset, *_ in read] == [0, 3, 4, 5]
    assert "checksum" in read[0][2]


async def test_damage_that_differs_each_time_is_given_up_at_last() -> None:
    damaged = [plain()[:-1] + bytes([65 + n]) for n in range(5)]
    read = await Reader().until(3, *damaged, high_water_mark=3)
    assert [offset for offset, *_ in read] == [0]


@pytest.mark.parametrize("length", [0, -1, -(2**31), 2**31 - 1, 5, 48])
async def test_bytes_that_are_no_batch_are_passed_up_to_the_next_intact_one(length: int) -> None:
    malformed = plain()[:8] + struct.pack(">i", length) + plain()[12:]
    read = await Reader().until(6, malformed + plain(3), high_water_mark=6)
    assert [offset for offset, _, reason in read if not reason] == [3, 4, 5]


async def test_garbage_without_anything_behind_it_is_passed_offset_by_offset() -> None:
    read = await Reader().until(4, b"garbage" * 20, high_water_mark=10)
    assert [offset for offset, *_ in read] == [0, 1, 2, 3]


async def test_nothing_is_passed_at_the_end_of_the_log() -> None:
    reader = Reader(position=3)
    for _ in range(5):
        await reader.fetch(b"garbage" * 20, high_water_mark=3)
        await reader.fetch(plain(), high_water_mark=3)
    assert (reader.position, reader.read) == (3, [])


@pytest.mark.parametrize("magic", [-128, -1, 3, 127])
async def test_a_format_that_is_not_known_is_passed(magic: int) -> None:
    read = await Reader().until(6, plain(magic=magic) + plain(3), high_water_mark=6)
    assert [offset for offset, _, reason in read if not reason] == [3, 4, 5]
    assert any("format" in reason for *_, reason in read)


async def test_a_malformed_marker_is_passed_and_a_right_one_too() -> None:
    body = row_bytes(Row(b"\0"), 0)
    malformed = batch_of(body, 1, attributes=CONTROL)
    right = at(1, batch_of(row_bytes(Row(b"\0\0\0\1", b"\0" * 6), 0), 1, attributes=CONTROL))
    read = await Reader().until(5, malformed + right + plain(2))
    assert [(offset, bool(reason)) for offset, _, reason in read] == [
        (0, True),
        (2, False),
        (3, False),
        (4, False),
    ]


async def test_what_was_noted_is_forgotten_when_it_is_fetched_again() -> None:
    reader = Reader()
    damaged = plain()[:-1] + b"!"
    for _ in range(2):
        await reader.filter.clean(TP, damaged, 0, 3)
    assert await reader.filter.clean(TP, plain(), 0, 3)
    assert [reader.filter.unreadable(TP, offset) for offset in range(3)] == [None] * 3


async def test_offsets_that_run_into_the_next_batch_are_cut() -> None:
    raw = plain(last_delta=1000) + plain(3)
    read = await Reader().until(6, raw)
    assert [offset for offset, _, reason in read if not reason] == [3, 4, 5]


async def test_a_huge_batch_leaves_turns_to_others() -> None:
    body = b"".join(row_bytes(Row(b"", b""), number) for number in range(100_000))
    raw = batch_of(body, 100_000, codec=ZSTD)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await FetchFilter(lambda _: 0).clean(TP, raw, 0)
    task.cancel()
    assert turns > 100


async def test_hostile_batches_are_passed_and_what_is_around_them_is_read() -> None:
    for seed in range(HOSTILE):
        hostile = BatchGenerator(seed, bombs=0).make([Row(KEY, b"%d" % n) for n in range(3)])
        raw = at(3, hostile.raw)
        last = struct.unpack_from(">i", raw, 23)[0]
        following = 4 + last
        log = [(2, plain()), (2 + last + 1, raw), (following + 2, plain(following))]
        reader = Reader(most=64 << 20)
        damages = hostile.times if hostile.times is not None else 10**6
        while reader.position < following + 3:
            parts = [part for end, part in log if end >= reader.position]
            if raw in parts and hostile.damage is not None and damages:
                damages -= 1
                parts[parts.index(raw)] = hostile.damage(raw)
            assert reader.fetches < 300, f"seed {seed} does not get past: {hostile.name}"
            try:
                await reader.fetch(b"".join(parts), following + 3)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {hostile.name}") from error
        read = reader.read
        intact = {offset for offset, _, reason in read if not reason}
        around = {0, 1, 2, following, following + 1, following + 2}
        inside = {3 + number for number in hostile.readable}
        assert around | inside <= intact, (seed, hostile.name, read)
        if hostile.skipped and not hostile.decodes:
            assert any(reason for *_, reason in read), (seed, hostile.name)


def test_the_checksum_of_a_batch_is_what_brokers_compare() -> None:
    assert with_checksum(plain()) == plain()
