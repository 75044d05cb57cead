"""What is handed on decoded is read as if aiokafka had decoded it."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from support.filtered import ROWS, TP, at, plain
from support.raw_batches import CODECS, CONTROL, Row, batch, batch_of, row_bytes

from bus.kafka.decoded import DecodedBytes, records_of
from bus.kafka.fetch_filter import FetchFilter

TRANSACTIONAL = 0x10
LOG_APPEND_TIME = 0x08


def marker(base: int, kind: bytes) -> bytes:
    body = row_bytes(Row(b"\0\0\0" + kind, b"\0" * 6), 0)
    return at(base, batch_of(body, 1, attributes=CONTROL | TRANSACTIONAL))


def read(records: Any, position: int) -> tuple[list[Any], int]:
    aborted = [(-1, 0)]
    decoded = PartitionRecords(TP, records, aborted, position, None, None, False, READ_COMMITTED)
    return list(decoded), decoded.next_fetch_offset


LOGS = {
    "one batch": plain(),
    "several": plain() + plain(3) + plain(6, [ROWS[0]]),
    "with a hole, as compaction leaves it": plain(last_delta=7) + plain(8),
    "the time of the log": plain(attributes=LOG_APPEND_TIME),
    "no records": at(0, batch([], last_delta=4)) + plain(5),
    "an aborted transaction": plain(attributes=TRANSACTIONAL) + marker(3, b"\0") + plain(4),
    "another one behind it": (
        plain(attributes=TRANSACTIONAL)
        + marker(3, b"\0")
        + plain(4, attributes=TRANSACTIONAL)
        + marker(7, b"\1")
    ),
    "more records than are handed on": b"".join(
        plain(1000 * n, [Row(b"k", b"v")] * 1000) for n in range(7)
    ),
    **{codec: plain(codec=number) + plain(3) for codec, number in CODECS.items()},
}


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("raw", LOGS.values(), ids=LOGS)
async def test_it_is_read_as_if_it_was_decoded_now(raw: bytes, position: int) -> None:
    clean = await FetchFilter(lambda _: 0).clean(TP, raw, position)
    assert isinstance(clean, DecodedBytes)
    expected = read(MemoryRecords(raw), position)
    assert read(records_of(clean), position) == expected


async def test_what_is_read_a_second_time_is_empty_and_not_something_else() -> None:
    clean = await FetchFilter(lambda _: 0).clean(TP, plain(), 0)
    assert records_of(clean).has_next()
    assert not records_of(clean).has_next()


def test_what_was_not_decoded_is_left_to_aiokafka() -> None:
    assert isinstance(records_of(plain()), MemoryRecords)
