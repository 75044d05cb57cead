"""What other programs write in other words means the same, and is written down as they had it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bus.kafka.codec import (
    decode_item_deleted,
    decode_item_published,
    encode,
    item_id_from_key,
    item_key,
)
from dev.simulation.event_log import Journal
from dev.simulation.faults import Fault, Faults
from dev.simulation.json_variants import VariantCluster
from dev.simulation.log import Record
from dev.simulation.loop import SimulatedLoop
from domain.messages import Container, ContainerId, ItemDeleted, ItemId, ItemPublished

ITEM = ItemId("00000000-0000-4000-8000-00000000abcd")
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIST = ItemPublished(ITEM, tuple(Container(ContainerId(c), "group") for c in ("c0", "c1")), AT)
DELETION = ItemDeleted(ITEM, ContainerId("c0"), "group", AT)


def _written(topic: str, value: bytes | None, *kinds: Fault) -> list[Record]:
    """Variants of the same record, by some seeds."""
    records = []
    for seed in range(10):
        loop = SimulatedLoop()
        faults = Faults(seed, only=kinds)
        cluster = VariantCluster(loop, faults, Journal(loop, keeps=False), seed)
        cluster.create(topic, 3)
        for _ in range(20):
            cluster.publish(topic, item_key(ITEM), value, 1)
        records += [record for log in cluster.topics[topic] for record in log.records]
        loop.close()
    return records


def test_a_list_in_other_words_says_the_same_from_the_same_partition() -> None:
    records = _written("item_published", encode(LIST), Fault.OTHER_SPELLING)
    assert {decode_item_published(record.value or b"") for record in records} == {LIST}
    assert {record.partition for record in records} == {1}
    assert len({record.value for record in records}) > 5
    assert {None, b""} < {record.key for record in records}


def test_a_deletion_in_other_words_says_the_same_from_any_partition() -> None:
    records = _written("item_deleted", encode(DELETION), Fault.OTHER_SPELLING)
    assert {decode_item_deleted(record.value) for record in records} == {DELETION}
    assert {record.partition for record in records} == {0, 1, 2}


def test_the_key_of_a_record_without_a_value_says_the_same() -> None:
    records = _written("item_published", None, Fault.OTHER_SPELLING)
    assert {item_id_from_key(record.key) for record in records} == {ITEM}
    assert len({record.key for record in records}) == 2


def test_what_a_list_names_again_it_has_named_before() -> None:
    twice = 0
    for record in _written("item_published", encode(LIST), Fault.LISTED_TWICE):
        containers = decode_item_published(record.value or b"").containers
        assert containers[:2] == LIST.containers
        assert {one.container_id for one in containers} == {"c0", "c1"}
        twice += len(containers) > 2
    assert twice > 0


@pytest.mark.parametrize(
    ("topic", "value"), [("item_published", encode(LIST)), ("item_deleted", encode(DELETION))]
)
def test_by_a_wrong_clock_everything_but_the_time_is_the_same(topic: str, value: bytes) -> None:
    times = set()
    for record in _written(topic, value, Fault.CLOCK_WRONG):
        if topic == "item_published":
            listed = decode_item_published(record.value or b"")
            assert (listed.item_id, listed.containers) == (ITEM, LIST.containers)
            times.add(listed.published_at)
        else:
            deletion = decode_item_deleted(record.value)
            assert (deletion.item_id, deletion.container_id) == (ITEM, "c0")
            times.add(deletion.deleted_at)
    assert AT in times
    assert len(times) > 4


def test_a_record_without_a_value_may_bear_no_time() -> None:
    records = _written("item_published", None, Fault.CLOCK_WRONG)
    assert {-1, 0} < {record.timestamp for record in records}


@pytest.mark.parametrize("spread", [Fault.PARTITIONS_ADDED, Fault.LISTED_ELSEWHERE])
def test_clocks_are_right_where_they_alone_say_which_list_is_newer(spread: Fault) -> None:
    lists = _written("item_published", encode(LIST), Fault.CLOCK_WRONG, spread)
    assert {record.value for record in lists} == {encode(LIST)}
    gone = _written("item_published", None, Fault.CLOCK_WRONG, spread)
    assert min(record.timestamp for record in gone) > 0


def test_what_cannot_be_read_is_written_as_it_is() -> None:
    kinds = (Fault.OTHER_SPELLING, Fault.LISTED_TWICE, Fault.CLOCK_WRONG)
    for value in (b"", b"{", b"[]", b"\xff\xfe", b'{"itemId":"no"}'):
        assert {record.value for record in _written("item_published", value, *kinds)} == {value}


def test_our_own_requests_are_written_as_they_are() -> None:
    value = encode(LIST)
    assert {r.value for r in _written("item_reported", value, Fault.OTHER_SPELLING)} == {value}
