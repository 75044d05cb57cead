"""Against a real broker: what a delete request brings about in the topics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from demo.items_service.faults import Faults

from .items_helpers import Kafka, new_item, publish, running

if TYPE_CHECKING:
    import pytest

    from demo.items_service.app import ItemsService


async def test_a_deletion_publishes_the_event_and_the_new_list(
    service: ItemsService, kafka: Kafka
) -> None:
    item = new_item()
    await publish(service, item, "timeline:a", "group:b")
    await kafka.report(item, "group:b")
    await kafka.until(lambda: kafka.deletions(item) and len(kafka.lists(item)) == 2)
    (gone,) = kafka.deletions(item)
    assert (gone["itemId"], gone["containerId"], gone["containerType"]) == (
        item,
        "group:b",
        "group",
    )
    assert gone["deletedAt"].endswith("Z")
    assert kafka.lists(item) == [["timeline:a", "group:b"], ["timeline:a"]]


async def test_the_last_container_leaves_a_null_value(service: ItemsService, kafka: Kafka) -> None:
    item = new_item()
    await publish(service, item, "timeline:a", "group:b")
    await kafka.report(item, "timeline:a", "group:b")
    await kafka.until(lambda: kafka.lists(item)[-1:] == [None])
    assert kafka.deleted_from(item) == {"timeline:a", "group:b"}


async def test_a_repeated_request_is_confirmed_with_the_first_time(
    service: ItemsService, kafka: Kafka
) -> None:
    item = new_item()
    await publish(service, item, "timeline:a")
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: kafka.deletions(item))
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: len(kafka.deletions(item)) == 2)
    first, second = kafka.deletions(item)
    assert first == second


async def test_a_request_for_a_container_the_item_was_never_in_is_logged_and_ignored(
    service: ItemsService, kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "takedown.items_service")
    item, stranger = new_item(), new_item()
    await publish(service, item, "timeline:a")
    await kafka.report(item, "group:never")
    await kafka.report(stranger, "timeline:a")
    await kafka.until(lambda: service.statistics().unknown == 2)
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: kafka.deletions(item))
    assert kafka.deleted_from(item) == {"timeline:a"}
    assert not kafka.deletions(stranger)
    assert "group:never" in caplog.text


async def test_records_that_cannot_be_read_are_logged_and_skipped(
    service: ItemsService, kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    item = new_item()
    await publish(service, item, "timeline:a")
    poison = [b"", b"{", b"\xff\xfe", b"[]", b'{"itemId": 1}', None]
    for value in poison:
        await kafka.write(value, item.encode())
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: kafka.deletions(item))
    assert service.statistics().unreadable == len(poison)
    assert "item_reported, partition" in caplog.text
    assert "offset" in caplog.text
    assert service.statistics().sessions == 1


async def test_a_crowd_of_requests_is_all_confirmed(service: ItemsService, kafka: Kafka) -> None:
    items = [new_item() for _ in range(100)]
    for item in items:
        await publish(service, item, "timeline:a", "group:b", "page:c")
    for item in items:
        await kafka.report(item, "timeline:a", "group:b", "page:c")
    await kafka.until(lambda: all(kafka.lists(item)[-1:] == [None] for item in items))
    assert all(len(kafka.deletions(item)) == 3 for item in items)
    assert service.statistics().sessions == 1


async def test_nothing_is_deleted_from_what_never_deletes(
    service: ItemsService, kafka: Kafka
) -> None:
    service.faults = Faults(never_delete=frozenset({"vault"}))
    item = new_item()
    await publish(service, item, "vault:a", "group:b")
    await kafka.report(item, "vault:a", "group:b")
    await kafka.until(lambda: kafka.deletions(item) and service.statistics().refused)
    assert kafka.deleted_from(item) == {"group:b"}
    await kafka.until(lambda: len(kafka.lists(item)) == 2)
    assert kafka.lists(item)[-1] == ["vault:a"]


async def test_a_dropped_event_never_comes_and_the_item_is_gone_all_the_same(
    service: ItemsService, kafka: Kafka
) -> None:
    service.faults = Faults(drop=1.0)
    item = new_item()
    await publish(service, item, "timeline:a")
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: kafka.lists(item)[-1:] == [None])
    await service.wait_ready()
    assert not kafka.deletions(item)
    service.faults = Faults()
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: kafka.deletions(item))


async def test_a_duplicated_event_comes_twice(service: ItemsService, kafka: Kafka) -> None:
    service.faults = Faults(duplicate=1.0)
    item = new_item()
    await publish(service, item, "timeline:a")
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: len(kafka.deletions(item)) == 2)


async def test_an_event_held_back_does_not_hold_up_the_others(
    service: ItemsService, kafka: Kafka
) -> None:
    slow, quick = new_item(), new_item()
    await publish(service, slow, "timeline:a")
    await publish(service, quick, "timeline:a")
    service.faults = Faults(latency=60)
    await kafka.report(slow, "timeline:a")
    await kafka.until(lambda: service.statistics().deleted == 1)
    service.faults = Faults()
    await kafka.report(quick, "timeline:a")
    await kafka.until(lambda: kafka.deletions(quick))
    assert not kafka.deletions(slow)


async def test_reordered_events_overtake_each_other(kafka: Kafka) -> None:
    async with running(kafka.connection, faults=Faults(reorder=True, seed=3)) as service:
        item = new_item()
        names = [f"group:{number:02}" for number in range(30)]
        await publish(service, item, *names)
        await kafka.report(item, *names)
        await kafka.until(lambda: len(kafka.deletions(item)) == len(names))
        order = [gone["containerId"] for gone in kafka.deletions(item)]
        assert order != names
        assert sorted(order) == names


async def test_a_slow_container_deletes_later_and_holds_no_other_up(
    service: ItemsService, kafka: Kafka
) -> None:
    service.faults = Faults(slow=frozenset({"archive:a"}), slow_work=0.6)
    item = new_item()
    await publish(service, item, "archive:a", "group:b")

    await kafka.report(item, "archive:a", "group:b")

    await kafka.until(lambda: kafka.deletions(item))
    assert kafka.deleted_from(item) == {"group:b"}
    await kafka.until(lambda: kafka.deleted_from(item) == {"archive:a", "group:b"})
    await kafka.until(lambda: kafka.lists(item)[-1:] == [None])
