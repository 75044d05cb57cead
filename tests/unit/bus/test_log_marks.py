"""What is remembered of a log that was read: leader epochs, fingerprints of the last records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from bus.kafka.log_marks import LogMark, ReadMarks, batch_epochs, digest, digest_of
from dev.simulation.requests import batch

TP = TopicPartition("topic", 0)


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes | None = b"value"
    key: bytes | None = b"key"
    timestamp: int = 1
    headers: tuple[tuple[str, bytes | None], ...] = ()


def records(*offsets: int) -> list[Record]:
    return [Record(offset, b"%d" % offset) for offset in offsets]


def read(marks: ReadMarks, *offsets: int, position: int | None = None) -> None:
    marks.read(TP, records(*offsets), offsets[-1] + 1 if position is None else position)


def mark(marks: ReadMarks) -> LogMark:
    return marks.marks()[0]


def batches(*of: tuple[int, int]) -> bytes:
    """Offset and leader epoch of each."""
    return b"".join(batch(Record(offset), epoch) for offset, epoch in of)


# -------------------------------------------------------------------------------- digests


@pytest.mark.parametrize(
    "other",
    [
        {"key": None},
        {"key": b""},
        {"key": b"keyv", "value": b"alue"},
        {"value": None},
        {"value": b""},
        {"timestamp": 2},
        {"headers": (("a", b"b"),)},
    ],
    ids=str,
)
def test_a_record_that_differs_in_anything_has_another_digest(other: dict[str, Any]) -> None:
    assert digest_of(replace(Record(1), **other)) != digest_of(Record(1))
    assert digest_of(Record(1)) == digest_of(Record(2)), "its offset is stored beside it"


headers = st.lists(st.tuples(st.text(), st.none() | st.binary()))
parts = st.tuples(
    st.none() | st.binary(),
    st.none() | st.binary(),
    st.integers(-1, 2**62),
    headers,
)


@given(parts, parts)
def test_digests_are_equal_for_equal_records_only(one: Any, other: Any) -> None:
    assert (digest(*one) == digest(*other)) is (one == other)


# ---------------------------------------------------------------------------------- tails


def test_the_last_records_of_several_rounds_are_remembered() -> None:
    marks = ReadMarks()
    marks.place(TP, 0)
    read(marks, 0)
    read(marks, 1, 2)
    read(marks, 3, 7)
    assert [offset for offset, _ in mark(marks).tail] == [1, 2, 3, 7]
    assert mark(marks).tail[-1][1] == digest_of(Record(7, b"7"))
    read(marks, *range(8, 500))
    assert [offset for offset, _ in mark(marks).tail] == [496, 497, 498, 499]


def test_a_position_that_moves_without_records_keeps_the_tail() -> None:
    marks = ReadMarks()
    marks.place(TP, 0)
    read(marks, 0)
    marks.read(TP, (), 5)
    assert marks.of([TP]) == {0: (5, mark(marks))}
    assert [offset for offset, _ in mark(marks).tail] == [0]


def test_nothing_is_digested_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = ReadMarks()
    marks.place(TP, 0)
    made: list[Any] = []

    def count(*parts: Any) -> bytes:
        made.append(parts)
        return b""

    monkeypatch.setattr("bus.kafka.log_marks.digest", count)
    marks.read(TP, records(*range(400)), 400)
    assert made == []
    assert len(mark(marks).tail) == 4
    assert len(made) == 4
    mark(marks)
    assert len(made) == 4, "and once"


def test_a_stored_mark_goes_on() -> None:
    before = ReadMarks()
    before.place(TP, 0)
    read(before, 0, 1, 2)
    after = ReadMarks()
    after.place(TP, 3, mark(before))
    read(after, 3, 4)
    assert [offset for offset, _ in mark(after).tail] == [1, 2, 3, 4]


def test_only_what_lies_below_a_position_is_kept_when_positions_change() -> None:
    marks = ReadMarks()
    one, other, new = (TopicPartition("topic", number) for number in range(3))
    for tp in (one, other):
        marks.place(tp, 0)
        marks.read(tp, records(0, 1), 2)
    marks.keep_only({one: 2, other: 1, new: 9})
    assert [bool(mark.tail) for mark in marks.marks().values()] == [True, False, False]
    assert {number: at for number, (at, _) in marks.of([one, other, new]).items()} == {
        0: 2,
        1: 1,
        2: 9,
    }


# --------------------------------------------------------------------------------- epochs


def test_the_epoch_is_that_of_the_batch_below_the_position() -> None:
    marks = ReadMarks()
    marks.place(TP, 0)
    marks.fetched(TP, batches((0, 3), (1, 3), (2, 5), (3, 6)))
    assert marks.newest_epochs() == {0: 6}
    read(marks, 0)
    assert mark(marks).epoch == 3
    read(marks, 1)
    assert mark(marks).epoch == 3
    read(marks, 2)
    assert mark(marks).epoch == 5
    read(marks, 3)
    assert mark(marks).epoch == 6
    marks.fetched(TP, batches((4, 6)))
    read(marks, 4)
    assert mark(marks).epoch == 6


def test_what_was_fetched_again_counts_once() -> None:
    marks = ReadMarks()
    marks.place(TP, 0)
    marks.fetched(TP, batches((0, 1), (1, 2), (2, 3)))
    marks.fetched(TP, batches((1, 2), (2, 3)))
    read(marks, 0, 1)
    assert mark(marks).epoch == 2


def test_an_epoch_is_assumed_only_where_none_is_known() -> None:
    marks = ReadMarks()
    marks.place(TP, 5)
    marks.assume(TP, 7)
    assert mark(marks).epoch == 7
    marks.assume(TP, 9)
    assert mark(marks).epoch == 7


def test_batches_without_epochs_and_broken_ones_tell_none() -> None:
    assert batch_epochs(b"") == []
    assert batch_epochs(batches((4, -1))) == [(4, -1)]
    old = bytearray(batches((4, 5)))
    old[16] = 1
    assert batch_epochs(bytes(old)) == [(4, -1)]
    assert batch_epochs(batches((4, 5))[:16]) == []
    assert batch_epochs(batches((4, 5), (5, 6))[:-3]) == [(4, 5), (5, 6)]


@given(st.binary(max_size=200))
def test_any_bytes_are_looked_through(data: bytes) -> None:
    assert len(batch_epochs(data)) <= len(data)
