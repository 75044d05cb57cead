"""The responder reads every request, also from a broker that shows them out of order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from dev.bench.responder import without_gaps

ONE, TWO = TopicPartition("requests", 0), TopicPartition("requests", 1)


@dataclass(frozen=True)
class Request:
    offset: int


class Consumer:
    def __init__(self) -> None:
        self.sought: list[tuple[TopicPartition, int]] = []

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition, offset))


def read(*offsets: int) -> list[Request]:
    return [Request(offset) for offset in offsets]


def test_what_has_no_gap_is_taken_as_it_is() -> None:
    consumer: Any = Consumer()
    expected = {ONE: 7, TWO: 0}
    first = {ONE: read(7, 8), TWO: read(0)}
    assert without_gaps(consumer, first, expected) == first
    second = {ONE: read(9)}
    assert without_gaps(consumer, second, expected) == second
    assert expected == {ONE: 10, TWO: 1}
    assert consumer.sought == []


def test_a_request_that_was_not_shown_is_read_before_those_behind_it() -> None:
    consumer: Any = Consumer()
    expected = {ONE: 7, TWO: 3}
    assert without_gaps(consumer, {ONE: read(7, 9, 10), TWO: read(3)}, expected) == {
        ONE: read(7),
        TWO: read(3),
    }
    assert consumer.sought == [(ONE, 8)]
    assert without_gaps(consumer, {ONE: read(8, 9, 10)}, expected) == {ONE: read(8, 9, 10)}
    assert expected == {ONE: 11, TWO: 4}


def test_nothing_is_taken_while_the_first_one_is_missing() -> None:
    consumer: Any = Consumer()
    expected = {ONE: 7}
    assert without_gaps(consumer, {ONE: read(8)}, expected) == {}
    assert (expected, consumer.sought) == ({ONE: 7}, [(ONE, 7)])
