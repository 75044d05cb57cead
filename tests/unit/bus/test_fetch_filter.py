"""Whatever a broker sends, aiokafka can decode what is handed on, and nothing keeps its place."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from support.filtered import KEY, NOT_UTF_8, ROWS, TP, Read, Reader, at, plain
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

from bus.kafka.batches import HEADER
from bus.kafka.decoding import TakesLong, Unusable, decode
from bus.kafka.fetch_filter import FetchFilter

GOOD: Read = [(0, KEY, ""), (1, b"key", ""), (2, None, "")]


async def test_what_can_be_decoded_is_handed_on_as_it_is() -> None:
    raw = plain() + plain(3)
    assert await FetchFilter(lambda _: 0).clean(TP, raw, 0) == raw


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
    assert (offset, key) == (4, None)
    assert "decompresses to more than 1,048,576 bytes" in reason


async def test_one_that_decompresses_to_just_so_much_is_read() -> None:
    content = bomb(ZSTD, 1 << 20, KEY)
    raw = batch_of(content, 1, codec=ZSTD, compressed=True)
    assert await Reader(most=(1 << 20)).until(1, raw) == [(0, KEY, "")]


async def test_damage_that_is_gone_in_the_next_answer_takes_nothing() -> None:
    damaged = plain()[:-1] + b"!"
    assert await Reader().until(3, damaged, plain()) == GOOD


async def test_damage_that_stays_is_passed_up_to_the_next_batch() -> None:
    damaged = plain()[:-1] + b"!"
    read = await Reader().until(6, damaged + plain(3))
    assert [offset for offset, *_ in read] == [2, 3, 4, 5]
    assert "checksum" in read[0][2]


async def test_damage_that_differs_each_time_is_given_up_at_last() -> None:
    damaged = [plain()[:-1] + bytes([65 + n]) for n in range(5)]
    read = await Reader().until(3, *damaged, high_water_mark=3)
    assert [offset for offset, *_ in read] == [2]


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


def test_the_checksum_of_a_batch_is_what_brokers_compare() -> None:
    raw = plain()
    assert with_checksum(raw) == raw


def tiny(count: int, **options: Any) -> bytes:
    """A batch of so many records that are all malformed, each of seven bytes."""
    return batch_of(row_bytes(Row(b""), 0) * count, count, **options)


@pytest.mark.parametrize(
    "raw", [tiny(3000), tiny(30_000), tiny(120_000, codec=ZSTD)], ids=["plain", "more", "zstd"]
)
def test_a_malformed_batch_of_very_many_records_is_not_taken_apart_on_the_event_loop(
    raw: bytes,
) -> None:
    with pytest.raises(TakesLong):
        decode(raw, 1 << 20, quickly=True)


def test_a_malformed_batch_of_too_many_records_is_not_taken_apart_at_all() -> None:
    with pytest.raises(Unusable, match="more than 100,000 records"):
        decode(tiny(100_001, codec=ZSTD), 64 << 20, quickly=False)


async def test_a_batch_that_says_that_it_has_millions_of_records_is_one_placeholder() -> None:
    raw = tiny(3, said_count=5_000_000)
    ((offset, key, reason),) = await Reader().until(3, raw)
    assert (offset, key) == (2, None)
    assert "5,000,000 records" in reason


async def test_records_for_which_a_batch_has_no_offsets_are_not_lost_silently() -> None:
    read = await Reader().until(1, plain(last_delta=0))
    assert [(offset, bool(reason)) for offset, _, reason in read] == [(0, True)]


async def test_what_cannot_be_told_apart_has_the_latest_time_of_its_batch() -> None:
    raw = bytearray(batch_of(row_bytes(ROWS[0], 0) + varint(1000) + b"x", 2))
    base_time, max_time = struct.Struct(">q"), 35
    (first,) = base_time.unpack_from(raw, max_time - 8)
    base_time.pack_into(raw, max_time, first + 3_600_000)
    clean = await FetchFilter(lambda _: 0).clean(TP, with_checksum(raw), 0)
    *_, placeholder = MemoryRecords(bytes(clean)).next_batch()
    assert placeholder.timestamp == first + 3_600_000
