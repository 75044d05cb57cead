"""Keys and values of the catalogue's store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import ITEM, OTHER_ITEM, T0, places

from catalogue.store.entries import (
    DamagedEntry,
    Doubt,
    Listed,
    count,
    is_doubt,
    is_tombstone,
    is_whole,
    item_of,
    key_of,
    pack,
    pack_doubt,
    partition_of,
    times_of,
    unpack,
)
from domain.messages import Container, ContainerId, ItemId

TEXTS = st.text(max_size=600)
CONTAINERS = st.lists(
    st.builds(Container, st.text(min_size=1).map(ContainerId), st.text()), max_size=20
)
TIMES = st.datetimes(
    timezones=st.just(UTC),
)


def test_the_key_of_a_uuid_is_its_sixteen_bytes() -> None:
    assert key_of(ITEM) == bytes.fromhex(ITEM.replace("-", ""))
    assert len(key_of(ITEM)) == 16


LOOK_ALIKES = (
    ITEM.replace("-", ""),
    ITEM.upper().replace("1", "A"),
    "{" + ITEM[1:-1] + "}",
    ITEM[:-1] + "g",
    "1111111-12222-3333-4444-555555555555",
    " 1111111-2222-3333-4444-55555555555 ",
    "",
    "t",
    "x" * 16,
    "x" * 5000,
    "x" * 4999 + "y",
    "\ud800",
)


def test_the_empty_text_is_not_the_uuid_of_zeros() -> None:
    zeros = ItemId("00000000-0000-0000-0000-000000000000")
    assert key_of(zeros) == bytes(16) != key_of(ItemId(""))


def test_what_only_looks_like_a_uuid_has_a_key_of_its_own() -> None:
    keys = {key_of(ItemId(text)) for text in (*LOOK_ALIKES, ITEM)}
    assert len(keys) == len(LOOK_ALIKES) + 1
    assert [len(key) == 16 for key in keys].count(True) == 1


@given(TEXTS, TEXTS)
def test_two_ids_never_share_a_key(one: str, other: str) -> None:
    assert (key_of(ItemId(one)) == key_of(ItemId(other))) == (one == other)
    assert 0 < len(key_of(ItemId(one))) <= 511


@given(st.uuids(), TEXTS)
def test_a_uuid_never_shares_a_key_with_a_text(uuid: object, text: str) -> None:
    assert (key_of(ItemId(str(uuid))) == key_of(ItemId(text))) == (str(uuid) == text)


@given(CONTAINERS, TIMES, st.integers(0, 2**31 - 1), TIMES)
def test_a_list_comes_back_as_it_was(
    containers: list[Container], listed_at: datetime, partition: int, written_at: datetime
) -> None:
    key = key_of(ITEM)
    value = pack(key, containers, listed_at, partition, written_at)
    assert unpack(key, value) == Listed(tuple(containers), listed_at, partition, written_at)
    assert count(value) == len(containers)
    assert partition_of(value) == partition


@given(TIMES, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), st.text())
def test_a_doubt_comes_back_as_it_was_and_counts_as_nothing_else(
    at: datetime, partition: int, offset: int, reason: str
) -> None:
    key = key_of(ITEM)
    value = pack_doubt(key, Doubt(at, partition, offset, reason))
    assert unpack(key, value) == Doubt(at, partition, offset, reason[:200])
    assert partition_of(value) == partition
    assert (count(value), is_doubt(value), is_tombstone(value)) == (0, True, False)


def test_a_list_and_a_tombstone_are_no_doubts() -> None:
    key = key_of(ITEM)
    listed, gone = pack(key, places("a"), T0, 0), pack(key, (), T0, 0)
    assert [is_doubt(listed), is_tombstone(listed)] == [False, False]
    assert [is_doubt(gone), is_tombstone(gone)] == [False, True]


@given(st.uuids())
def test_the_item_of_a_key_is_the_one_that_it_was_made_of(uuid: object) -> None:
    assert item_of(key_of(ItemId(str(uuid)))) == str(uuid)
    assert item_of(key_of(ItemId("no UUID"))) is None


def test_the_time_comes_back_in_utc() -> None:
    key = key_of(ITEM)
    local = T0.astimezone(timezone(timedelta(hours=5)))
    times = times_of(unpack(key, pack(key, places("a"), local, 0, local)))
    assert [time.utcoffset() for time in times] == [timedelta(0)] * 2


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_every_flipped_bit_is_found(at: int, bit: int) -> None:
    key = key_of(ITEM)
    value = bytearray(pack(key, places("a", "b"), T0, 0))
    value[at % len(value)] ^= 1 << bit
    assert not is_whole(key, bytes(value))
    with pytest.raises(DamagedEntry):
        unpack(key, bytes(value))


@pytest.mark.parametrize("length", range(len(pack(key_of(ITEM), places("a", "b"), T0, 0))))
def test_a_value_that_was_cut_is_found(length: int) -> None:
    key = key_of(ITEM)
    with pytest.raises(DamagedEntry):
        unpack(key, pack(key, places("a", "b"), T0, 0)[:length])


def test_a_value_under_another_key_is_found() -> None:
    value = pack(key_of(ITEM), places("a"), T0, 0)
    with pytest.raises(DamagedEntry):
        unpack(key_of(OTHER_ITEM), value)
