from __future__ import annotations

from bus.kafka.codec import parse_item_id
from demo.items_service.sample import (
    COUNT,
    DEMO_DELETABLE,
    DEMO_FAULTS,
    DEMO_STUCK,
    DEMO_UNKNOWN,
    MOST_CONTAINERS,
    sample_items,
)


def test_the_sample_is_the_same_each_time() -> None:
    assert sample_items() == sample_items()


def test_every_item_is_one_that_the_contract_allows() -> None:
    items = sample_items()
    assert len({item.item_id for item in items}) == len(items) == COUNT
    for item in items:
        assert parse_item_id(item.item_id) == item.item_id
        ids = [container.container_id for container in item.containers]
        assert 1 <= len(set(ids)) == len(ids) <= MOST_CONTAINERS
        assert all("/" not in container_id for container_id in ids)


def test_the_sample_is_varied() -> None:
    items = sample_items()
    types = {container.container_type for item in items for container in item.containers}
    assert {"timeline", "group", "page", "story", "album", "event", "message-channel"} <= types
    sizes = {len(item.containers) for item in items}
    assert 1 in sizes
    assert max(sizes) >= 10


def test_one_item_of_the_demo_can_be_deleted_and_one_is_stuck() -> None:
    items = {item.item_id: item.containers for item in sample_items()}
    stuck = {
        item_id: sum(DEMO_FAULTS.refuses(at.container_id, at.container_type) for at in containers)
        for item_id, containers in items.items()
    }
    assert len(items[DEMO_DELETABLE]) == 3
    assert stuck.pop(DEMO_STUCK) == 1
    assert not any(stuck.values())
    assert DEMO_UNKNOWN not in items
    assert parse_item_id(DEMO_UNKNOWN) == DEMO_UNKNOWN
