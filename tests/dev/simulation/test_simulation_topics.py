"""The simulated topics behave as Kafka's: transactions, leader epochs, cuts, paced fetches."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import OffsetOutOfRangeError

from dev.simulation.clients import SimulatedClients
from dev.simulation.cluster import Broker, Cluster
from dev.simulation.consumer import Consumer
from dev.simulation.event_log import Journal
from dev.simulation.faults import Faults
from dev.simulation.log import Record
from dev.simulation.loop import SimulatedLoop
from dev.simulation.network import Network

TOPIC = "item_published"
TP = TopicPartition(TOPIC, 0)


class Topic:
    """One topic with one partition, and consumers of it."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop()
        faults, journal = Faults(1, only=()), Journal(self.loop, keeps=False)
        self.cluster = Cluster(self.loop, faults, journal, 1)
        self.cluster.create(TOPIC, 1, {"delete.retention.ms": "2000"})
        self.network = Network(self.loop, self.cluster, faults, journal)
        self.clients = SimulatedClients(self.network)
        self.acknowledged: list[Record] = []
        self.cluster.followers[TOPIC] = [self.acknowledged.append]

    @property
    def log(self) -> Any:
        return self.cluster.topics[TOPIC][0]

    def write(self, *values: bytes, transaction: int = 0) -> None:
        for value in values:
            self.cluster.append(TOPIC, 0, b"key", value, transaction=transaction)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def consumer(self, *, at: int = 0, isolation: str = "read_committed") -> Consumer:
        consumer = self.clients.consumer(fetch_max_wait_ms=500, isolation_level=isolation)
        self.run(consumer.start())
        consumer.assign([TP])
        consumer.seek(TP, at)
        return consumer

    def read(self, consumer: Consumer, seconds: float = 0.2) -> list[bytes | None]:
        async def fetch() -> list[bytes | None]:
            await asyncio.sleep(seconds)
            found = await consumer.getmany(timeout_ms=1)
            return [record.value for record in found.get(TP, [])]

        values: list[bytes | None] = self.run(fetch())
        return values


@pytest.fixture
def topic() -> Iterator[Topic]:
    made = Topic()
    yield made
    made.loop.close()


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_nothing_behind_an_open_transaction_is_read_and_the_ends_differ(topic: Topic) -> None:
    topic.write(b"before")
    open_ = topic.cluster.begin(commits=True)
    topic.write(b"inside", transaction=open_)
    topic.write(b"behind")
    committed, uncommitted = topic.consumer(), topic.consumer(isolation="read_uncommitted")
    assert topic.read(committed) == [b"before"]
    assert topic.read(uncommitted) == [b"before", b"inside", b"behind"]
    assert (committed.highwater(TP), committed.last_stable_offset(TP)) == (3, 1)
    assert topic.run(committed.end_offsets([TP])) == {TP: 1}
    assert topic.run(uncommitted.end_offsets([TP])) == {TP: 3}
    assert values(topic.acknowledged) == [b"before", b"behind"]


@pytest.mark.parametrize("commits", [True, False])
def test_a_transaction_counts_once_it_is_committed_and_never_if_it_is_aborted(
    topic: Topic, commits: bool
) -> None:
    transaction = topic.cluster.begin(commits=commits)
    topic.write(b"inside", transaction=transaction)
    topic.write(b"behind")
    consumer = topic.consumer()
    assert topic.read(consumer) == []
    topic.cluster.end(transaction)
    inside = [b"inside"] if commits else []
    assert topic.read(consumer) == [*inside, b"behind"]
    assert topic.run(consumer.position(TP)) == topic.log.end == 3  # with the marker
    assert values(topic.acknowledged) == [b"behind", *inside]


def test_a_transaction_ends_when_its_partition_can_be_written_to_again(topic: Topic) -> None:
    transaction = topic.cluster.begin(commits=True)
    topic.write(b"inside", transaction=transaction)
    topic.cluster.away(Broker.HANGS, 1.0)
    topic.cluster.end(transaction)
    topic.run(asyncio.sleep(0.9))
    assert topic.log.stable == 0
    topic.run(asyncio.sleep(0.3))
    assert topic.log.stable == topic.log.end == 2


def test_what_hangs_is_ended_when_everything_is_healed(topic: Topic) -> None:
    topic.write(b"inside", transaction=topic.cluster.begin(commits=False))
    topic.cluster.heal()
    assert topic.log.stable == topic.log.end
    assert topic.read(topic.consumer()) == []


def test_a_writer_whose_transaction_was_aborted_may_try_again(topic: Topic) -> None:
    tried = set()
    again: list[bytes] = []
    for seed in range(20):
        value = b"%d" % seed
        call = functools.partial(again.append, value)
        topic.cluster.publish(TOPIC, b"key", value, 0, rng=random.Random(seed), again=call)
        topic.run(asyncio.sleep(3.0))
        tried.add((value in values(topic.acknowledged), value in again))
    assert tried == {(True, False), (False, True), (False, False)}


def test_a_leader_answers_where_an_epoch_ended(topic: Topic) -> None:
    topic.write(b"0", b"1", b"2")
    topic.log.elect()
    topic.write(b"3", b"4")
    topic.log.elect(2)
    topic.write(b"5")
    assert [record.epoch for record in topic.log.records] == [0, 0, 0, 1, 1, 3]
    ends = {epoch: topic.log.epoch_end(epoch) for epoch in range(5)}
    assert ends == {0: (0, 3), 1: (1, 5), 2: (1, 5), 3: (3, 6), 4: (-1, -1)}


def test_markers_and_aborted_records_are_fetched_with_their_epochs_and_not_shown(
    topic: Topic,
) -> None:
    topic.write(b"0")
    transaction = topic.cluster.begin(commits=False)
    topic.write(b"1", transaction=transaction)
    topic.log.elect()
    topic.cluster.end(transaction)
    topic.write(b"3")
    assert topic.log.batches(0, 4) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert topic.log.batches(1, 3) == [(1, 0), (2, 1)]
    assert topic.read(topic.consumer()) == [b"0", b"3"]


def test_an_epoch_in_which_nothing_was_written_is_forgotten(topic: Topic) -> None:
    topic.log.elect()
    topic.log.elect()
    topic.write(b"0")
    assert topic.log.epochs == [(2, 0)]
    assert topic.log.epoch_end(2) == (2, 1)


def test_a_log_that_has_lost_its_end_says_so_by_its_epochs(topic: Topic) -> None:
    topic.write(*(b"%d" % number for number in range(10)))
    lost = topic.cluster.cut(TOPIC, 0, 6, epochs=1)
    topic.write(*(b"new" for _ in range(7)))
    assert values(list(lost)) == [b"6", b"7", b"8", b"9"]
    assert topic.log.epoch_end(0) == (0, 6)
    assert topic.log.epoch_end(1) == (1, 13)
    assert [record.offset for record in topic.log.records] == list(range(13))


def test_a_log_that_was_restored_may_repeat_its_epoch(topic: Topic) -> None:
    topic.write(b"0", b"1", b"2")
    topic.cluster.cut(TOPIC, 0, 1, epochs=0)
    topic.write(b"new", b"new")
    assert topic.log.epoch_end(0) == (0, 3)
    assert {record.epoch for record in topic.log.records} == {0}


def test_a_reader_misses_what_is_written_where_the_log_was_cut(topic: Topic) -> None:
    topic.write(b"0", b"1", b"2")
    consumer = topic.consumer()
    assert topic.read(consumer) == [b"0", b"1", b"2"]
    topic.cluster.cut(TOPIC, 0, 1, epochs=1)
    topic.write(b"x", b"y", b"z")
    assert topic.read(consumer) == [b"z"]


def test_a_reader_is_told_that_its_position_is_beyond_a_log_that_is_shorter(topic: Topic) -> None:
    topic.write(b"0", b"1", b"2")
    consumer = topic.consumer(at=3)
    assert topic.read(consumer) == []
    topic.cluster.cut(TOPIC, 0, 1, epochs=1)
    with pytest.raises(OffsetOutOfRangeError):
        topic.read(consumer)


def test_what_was_fetched_and_not_taken_is_of_the_log_as_it_is_now(topic: Topic) -> None:
    topic.write(b"0", b"1", b"2")
    consumer = topic.consumer()
    topic.run(asyncio.sleep(0.2))  # fetched, and not taken
    topic.cluster.cut(TOPIC, 0, 1, epochs=1)
    topic.write(b"x")
    assert topic.read(consumer) == [b"0", b"x"]


def test_no_cut_goes_through_a_transaction(topic: Topic) -> None:
    topic.write(b"0")
    transaction = topic.cluster.begin(commits=True)
    topic.write(b"1", transaction=transaction)
    assert topic.log.fixed == 2
    topic.cluster.end(transaction)
    topic.write(b"2")
    assert topic.log.fixed == 3


def test_a_paced_partition_is_read_bit_by_bit_and_says_where_it_ends(topic: Topic) -> None:
    topic.write(*(b"%d" % number for number in range(20)))
    topic.cluster.pace[f"{TOPIC}[0]"] = 5, 1.0
    consumer = topic.consumer()
    assert len(topic.read(consumer)) == 5
    assert consumer.highwater(TP) == 20
    assert topic.read(consumer) == []
    assert len(topic.read(consumer, 1.0)) == 5
    topic.cluster.heal()
    assert len(topic.read(consumer)) == 10


def test_what_was_compacted_away_leaves_a_gap(topic: Topic) -> None:
    topic.write(b"0", b"1", b"2")
    topic.cluster.remove(TOPIC, 0, {0, 1})
    assert topic.read(topic.consumer()) == [b"2"]
    assert topic.log.end == 3


def test_the_settings_of_topics_are_described(topic: Topic) -> None:

    async def describe(name: str) -> Any:
        admin = topic.clients.admin()
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return response.resources

    ((code, _, _, name, entries),) = topic.run(describe(TOPIC))
    assert (code, name) == (0, TOPIC)
    assert [entry[:2] for entry in entries] == [("delete.retention.ms", "2000")]
    assert topic.run(describe("another"))[0][0] == 3


def test_a_producer_says_which_requests_it_holds(topic: Topic) -> None:
    topic.cluster.create("item_reported", 1)
    told: list[tuple[list[bytes], Exception | None]] = []
    topic.network.settled = lambda sent, error: told.append((list(sent), error))

    async def send() -> set[bytes]:
        producer = topic.clients.producer(request_timeout_ms=4000, max_batch_size=1000)
        await producer.start()
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"0000", value=b"request", headers=[])
        acknowledged = await producer.send_batch(batch, "item_reported", partition=0)
        held = topic.network.unsettled()
        await acknowledged
        return held

    assert topic.run(send()) == {b"request"}
    assert topic.network.unsettled() == set()
    assert told == [([b"request"], None)]
