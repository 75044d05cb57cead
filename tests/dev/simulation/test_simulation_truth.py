"""What counts for an item, at each moment, and what confirms that it left a container."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bus.kafka.codec import decode_item_published, encode, item_key
from dev.simulation.cluster import Cluster
from dev.simulation.event_log import Journal
from dev.simulation.evidence import is_fresh
from dev.simulation.faults import Faults
from dev.simulation.log import Record
from dev.simulation.loop import EPOCH, SimulatedLoop
from dev.simulation.newest_list import Newest, Said, item_of_key, read_published
from dev.simulation.truth import Truth
from dev.simulation.undecodable import key_of, undecodable
from domain.errors import UnreadableRecord
from domain.messages import Container, ContainerId, ItemId, ItemPublished

ITEM = ItemId("00000000-0000-4000-8000-00000000abcd")
KEY = item_key(ITEM)


def listed(*containers: str, at: float = 0.0) -> bytes:
    places = tuple(Container(ContainerId(one), "group") for one in containers)
    return encode(ItemPublished(ITEM, places, EPOCH + timedelta(seconds=at)))


class Log:
    """A topic of two partitions, and what counts in it."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop()
        faults, journal = Faults(1, only=()), Journal(self.loop, keeps=False)
        self.cluster = Cluster(self.loop, faults, journal, 1)
        self.cluster.create("item_published", 2)
        self.truth = Truth(self.loop, self.cluster)

    def write(self, value: bytes | None, partition: int = 0, transaction: int = 0) -> Record:
        self.loop._now += 1.0
        return self.cluster.append("item_published", partition, KEY, value, transaction=transaction)

    def now(self) -> list[str]:
        return self.since(self.loop.time())

    def since(self, at: float) -> list[str]:
        views = self.truth.views(ITEM, at, self.loop.time())
        return [" or ".join(map(in_words, each)) for each in views]


def in_words(said: Said | None) -> str:
    if said is None:
        return "never listed"
    if said.containers is None:
        return "doubt"
    return ",".join(sorted(said.containers)) or "gone"


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.loop.close()


def test_what_counts_is_the_later_record_of_a_partition(log: Log) -> None:
    assert log.now() == ["never listed"]
    log.write(listed("c0", at=5))
    began = log.loop.time()
    log.write(listed("c1", at=1))
    assert log.now() == ["c1"]
    assert log.since(began) == ["c0", "c1"]
    log.write(None)
    assert log.now() == ["gone"]


def test_between_partitions_the_time_decides(log: Log) -> None:
    log.write(listed("c0", at=5))
    log.write(listed("c1", at=1), partition=1)
    assert log.now() == ["c0"]
    log.write(listed("c2", at=9), partition=1)
    assert log.now() == ["c2"]


def test_a_record_that_cannot_be_decoded_puts_its_item_in_doubt_until_the_next(log: Log) -> None:
    log.write(listed("c0"))
    log.write(b"{")
    assert log.now() == ["doubt"]
    log.write(listed("c1"))
    assert log.now() == ["c1"]


def test_a_list_that_is_committed_after_the_next_record_counts_for_a_moment(log: Log) -> None:
    """The simulation's seed 91002350."""
    transaction = log.cluster.begin(commits=True)
    log.write(listed("c0"), transaction=transaction)
    log.write(None)
    began = log.loop.time()
    log.cluster.end(transaction)
    assert log.since(began - 0.5)[-1] == log.now()[-1] == "gone"
    log.loop._now += 1.0
    assert "c0 or gone" in log.since(began - 0.5)
    assert log.now() == ["gone"]


def test_a_null_value_that_is_committed_after_the_next_list_never_counts(log: Log) -> None:
    transaction = log.cluster.begin(commits=True)
    log.write(None, transaction=transaction)
    log.write(listed("c0"))
    began = log.loop.time()
    log.cluster.end(transaction)
    assert log.since(began - 0.5) == ["never listed", "c0"]


def test_in_another_partition_a_list_of_the_same_time_ends_no_doubt(log: Log) -> None:
    log.write(b"{")  # at 1 s
    log.write(listed("c0", at=1), partition=1)
    assert log.now() == ["doubt"]
    log.write(listed("c1", at=1.001), partition=1)
    assert log.now() == ["c1"]


def test_a_doubt_in_another_partition_is_ordered_by_its_timestamp(log: Log) -> None:
    log.write(listed("c0", at=100))
    log.write(b"{", partition=1)  # at 2 s
    assert log.now() == ["c0"]
    log.write(listed("c1", at=1.5))
    log.write(b"{", partition=1)  # at 4 s
    assert log.now() == ["doubt"]


def test_a_record_in_a_transaction_counts_from_its_commit_on(log: Log) -> None:
    log.write(listed("c0"))
    transaction = log.cluster.begin(commits=True)
    log.write(listed("c1"), transaction=transaction)
    assert log.now() == ["c0"]
    log.cluster.end(transaction)
    assert log.now() == ["c1"]


def test_a_record_behind_a_transaction_is_newer_than_what_is_committed_later(log: Log) -> None:
    transaction = log.cluster.begin(commits=True)
    log.write(listed("c0"), transaction=transaction)
    log.write(listed("c1"))
    log.cluster.end(transaction)
    assert log.now() == ["c1"]


def test_after_a_cut_what_is_left_counts_or_what_was_lost_until_the_next_record(log: Log) -> None:
    log.write(listed("c0"))
    lost = log.write(listed("c1"))
    log.cluster.cut("item_published", 0, lost.offset, epochs=1)
    assert log.now() == ["c0 or c1"]
    log.write(listed("c2"))
    assert log.now() == ["c2"]


def test_a_null_value_is_compacted_away_with_all_before_it(log: Log) -> None:
    log.write(listed("c0"))
    log.truth.compact(ITEM, log.cluster)
    assert len(log.cluster.topics["item_published"][0].records) == 1
    log.write(None)
    log.truth.compact(ITEM, log.cluster)
    assert log.cluster.topics["item_published"][0].records == []
    assert log.now() == ["gone"]
    log.write(listed("c1"))
    assert log.now() == ["c1"]


def test_nothing_is_compacted_that_would_bring_an_older_list_back(log: Log) -> None:
    log.write(listed("c0"), partition=1)
    log.write(None)
    log.truth.compact(ITEM, log.cluster)
    assert len(log.cluster.topics["item_published"][0].records) == 1


@pytest.mark.parametrize(
    "key",
    [
        ITEM.encode(),
        ITEM.upper().encode(),
        b'"%s"' % ITEM.encode(),
        b'{"itemId": "%s"}' % ITEM.encode(),
    ],
)
def test_a_key_names_its_item_in_each_way_in_which_serializers_write_it(key: bytes) -> None:
    assert item_of_key(key) == ITEM


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"another", b"{", b'{"itemId": 7}', b"[]"])
def test_another_key_names_nothing(key: bytes | None) -> None:
    assert item_of_key(key) is None


def test_whatever_cannot_be_decoded_names_its_item_and_nothing_else() -> None:
    seen = set()
    for seed in range(300):
        key, value = undecodable(
            ITEM, ["c0"], datetime(2026, 1, 1, tzinfo=UTC), random.Random(seed)
        )
        with pytest.raises(UnreadableRecord):
            decode_item_published(value)
        record = Record("item_published", 0, 7, key, value, (), 0.0, 1000)
        (said,) = read_published(record)
        assert (said.item_id, said.containers) == (ITEM, None)
        seen.add((key, value))
        assert item_of_key(key_of(ITEM, random.Random(seed))) == ITEM
    assert len({key for key, _ in seen}) == 6
    assert len({value for _, value in seen}) == 9


def test_who_reads_again_from_the_beginning_takes_nothing_twice() -> None:
    newest = Newest()
    first = Record("item_published", 0, 0, KEY, listed("c0"), (), 0.0, 0)
    second = Record("item_published", 0, 1, KEY, listed("c1"), (), 0.0, 0)
    assert list(map(in_words, newest.take(first))) == ["c0"]
    assert list(map(in_words, newest.take(second))) == ["c1"]
    assert newest.take(first) == newest.take(second) == []
    assert newest.items() == (ITEM,)
    assert list(map(in_words, Newest().take(first))) == ["c0"]


def test_a_list_that_was_cut_off_unstored_gives_way_to_the_one_before_it() -> None:
    first = Record("item_published", 0, 3, KEY, listed("c0"), (), 0.0, 0)
    second = Record("item_published", 0, 7, KEY, listed("c1"), (), 0.0, 0)
    for cuts, counts in (({0: 8}, "c1"), ({1: 0}, "c1"), ({0: 7}, "c0"), ({0: 4}, "c0")):
        newest, left = Newest(), Newest()
        newest.take(first)
        newest.take(second)
        left.take(first)
        assert newest.go_back(left, cuts) == ([ITEM] if counts == "c0" else [])
        said = newest.of(ITEM)
        assert said is not None
        assert in_words(said) == counts


def test_a_list_that_was_cut_off_unstored_is_forgotten_where_there_was_none_before_it() -> None:
    newest = Newest()
    newest.take(Record("item_published", 0, 3, KEY, listed("c0"), (), 0.0, 0))
    assert newest.go_back(Newest(), {0: 0}) == [ITEM]
    assert newest.of(ITEM) is None


def test_only_a_null_value_is_a_tombstone() -> None:
    empty = Record("item_published", 0, 0, KEY, listed(), (), 0.0, 0)
    null = Record("item_published", 0, 1, KEY, None, (), 0.0, 0)
    flags = [
        (said.nowhere, said.tombstone) for one in (empty, null) for said in read_published(one)
    ]
    assert flags == [(True, False), (True, True)]


@pytest.mark.parametrize(
    ("seconds", "counts"), [(0.0, True), (-1.0, True), (-1.000001, False), (3600.0, True)]
)
def test_a_deletion_counts_if_it_is_not_dated_too_long_before_its_list(
    seconds: float, counts: bool
) -> None:
    assert is_fresh(EPOCH + timedelta(seconds=seconds), EPOCH) is counts


def test_times_at_either_end_can_be_compared() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert is_fresh(last, first)
    assert not is_fresh(first, last)
    assert Said(ITEM, frozenset(), last, 0, 0).overtakes(Said(ITEM, None, first, 1, 0))
