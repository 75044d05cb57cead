"""The fuzzer of record batches, for FUZZ_SECONDS (5) with fresh seeds; it says which.

And the same batches without sockets: HOSTILE_BATCHES (300) of them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import struct

import pytest
from aiokafka import TopicPartition
from fuzz.record_batches import BatchGenerator
from fuzz.record_fuzzer import fuzz
from support.filtered import KEY, TP, Reader, at, plain
from support.raw_batches import ZSTD, Row, batch_of, bomb, row_bytes

from bus.kafka.decoding import TakesLong
from bus.kafka.fetch_filter import FetchFilter

SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))
HOSTILE = int(os.environ.get("HOSTILE_BATCHES", "300"))


@pytest.mark.timeout(SECONDS + 100)
async def test_no_batch_stops_a_reader_or_delays_a_client() -> None:
    await fuzz(SECONDS, secrets.randbelow(10**9) * 10**6)


def test_the_same_seed_makes_the_same_batch() -> None:
    rows = [Row(KEY, b"%d" % number) for number in range(3)]
    for seed in range(50):
        first, second = (BatchGenerator(seed, bombs=0).make(rows) for _ in range(2))
        assert (first.name, first.raw[43:]) == (second.name, second.raw[43:])  # but for the time


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


async def test_a_huge_batch_leaves_turns_to_others() -> None:
    body = b"".join(row_bytes(Row(b"", b""), number) for number in range(300_000))
    raw = batch_of(body, 300_000, codec=ZSTD)
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


async def test_it_is_known_that_a_batch_is_decoded_in_a_thread_now() -> None:
    fetched = FetchFilter(lambda _: 0)
    known = []

    def work(_most: int, quickly: bool) -> None:
        if quickly:
            raise TakesLong
        known.append(fetched.is_working)

    await fetched.work(work, 1)
    assert known == [True]
    assert not fetched.is_working
