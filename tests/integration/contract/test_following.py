"""An item whose list changes while its takedown is in flight, seen from outside."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from support.answers import Got, assert_deleted, assert_problem, caller, take_down
from support.brokers import Broker
from support.observed import given_back, quiet, scrape, until
from support.platform import (
    NOW,
    Names,
    Platform,
    confirm,
    container,
    containers,
    new_item_id,
    platform,
)
from support.served import Served, served

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics

LATER = "2026-01-02T03:04:09.5Z"
EARLIER = "2026-01-02T03:04:01Z"


class Asking:
    """One takedown in flight, of an item in `c0` and `c1`, whose requests have arrived."""

    def __init__(self, item_id: str, asking: asyncio.Task[Got], items: Platform) -> None:
        self.item_id = item_id
        self.answer = asking
        self._items = items

    def requested(self) -> list[str]:
        return [request["containerId"] for request in self._items.requests_for(self.item_id)]

    async def list_anew(self, *names: str, published_at: str = NOW) -> None:
        places = [container(name) for name in names]
        await self._items.publish_item(self.item_id, places, published_at=published_at)

    async def delete(self, *names: str, deleted_at: str = NOW) -> None:
        for name in names:
            await self._items.delete(self.item_id, container(name), deleted_at=deleted_at)


async def in_flight(
    http: aiohttp.ClientSession, api: str, items: Platform, wait: int = 3
) -> Asking:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    asking = asyncio.create_task(take_down(http, api, item_id, [("Prefer", f"wait={wait}")]))
    await items.wait_for_requests(item_id, 2)
    return Asking(item_id, asking, items)


async def until_lists_matched(admin: str, count: float) -> None:
    await until(lambda samples: samples.value("takedown_bus_lists_matched_total") >= count, admin)


async def lists_matched(admin: str) -> float:
    return (await scrape(admin)).value("takedown_bus_lists_matched_total")


@pytest.fixture
async def own(http: aiohttp.ClientSession, api: str, items: Platform) -> AsyncIterator[Asking]:
    asking = await in_flight(http, api, items)
    yield asking
    assert asking.answer.done()


async def test_an_item_that_is_published_elsewhere_is_taken_down_there_too(
    own: Asking, items: Platform
) -> None:
    await own.list_anew("c0", "c1", "c2")
    requests = await items.wait_for_requests(own.item_id, 3)
    await own.delete("c0", "c1")
    await asyncio.sleep(0.1)
    assert not own.answer.done()
    await own.delete("c2")
    got = await own.answer
    assert_deleted(got, own.item_id, containers(3))
    assert {request["takedownId"] for request in requests} == {got.takedown_id}
    assert {request["deadline"] for request in requests} == {requests[0]["deadline"]}
    assert own.requested() == ["c0", "c1", "c2"]


async def test_where_it_vanishes_by_itself_it_counts_as_deleted_at_the_time_of_the_list(
    own: Asking,
) -> None:
    # The topics are read side by side: the deletion counts whichever comes first.
    await own.list_anew("c0", published_at=LATER)
    await own.delete("c0", deleted_at="2026-01-02T03:04:10Z")
    got = await own.answer
    assert_deleted(got, own.item_id, containers(2))
    assert {c["containerId"]: c["deletedAt"] for c in got.body["containers"]} == {
        "c0": "2026-01-02T03:04:10Z",
        "c1": "2026-01-02T03:04:09.500000Z",
    }
    assert {c["containerId"]: c["confirmedBy"] for c in got.body["containers"]} == {
        "c0": "deletion",
        "c1": "list",
    }


async def test_a_tombstone_means_that_it_is_gone_from_everywhere(
    own: Asking, items: Platform
) -> None:
    before = datetime.now(UTC)
    await items.remove_item(own.item_id)
    got = await own.answer
    assert_deleted(got, own.item_id, containers(2))
    for place in got.body["containers"]:
        at = datetime.fromisoformat(place["deletedAt"])
        assert abs((at - before).total_seconds()) < 5


async def test_an_empty_list_means_the_same(own: Asking) -> None:
    await own.list_anew(published_at=LATER)
    assert_deleted(await own.answer, own.item_id, containers(2))


async def test_an_item_that_moves_is_taken_down_where_it_is(own: Asking, items: Platform) -> None:
    await own.list_anew("elsewhere")
    await items.wait_for_requests(own.item_id, 3)
    await own.delete("elsewhere")
    got = await own.answer
    assert_deleted(got, own.item_id, [*containers(2), container("elsewhere")])


async def test_what_has_confirmed_is_not_asked_again_though_a_list_still_has_it(
    own: Asking, admin: str
) -> None:
    await own.delete("c0")
    before = await lists_matched(admin)
    await own.list_anew("c0", "c1", published_at=LATER)
    await until_lists_matched(admin, before + 1)
    await own.delete("c1", deleted_at=LATER)
    assert_deleted(await own.answer, own.item_id, containers(2))
    assert own.requested() == ["c0", "c1"]


async def test_what_had_vanished_and_is_there_again_is_asked_for_again(
    own: Asking, items: Platform
) -> None:
    await own.list_anew("c0")
    await own.list_anew("c0", "c1")
    await items.wait_for_requests(own.item_id, 3)
    await own.delete("c0")
    await asyncio.sleep(0.1)
    assert not own.answer.done()
    await own.delete("c1")
    assert_deleted(await own.answer, own.item_id, containers(2))
    assert own.requested() == ["c0", "c1", "c1"]


async def test_an_older_list_that_comes_late_completes_nothing(own: Asking, admin: str) -> None:
    before = await lists_matched(admin)
    await own.list_anew("c0", published_at=EARLIER)
    await until_lists_matched(admin, before + 1)
    await own.delete("c0")
    assert_problem(
        await own.answer,
        504,
        "deadline-passed",
        item_id=own.item_id,
        deleted=containers(1),
        outstanding=containers(2)[1:],
    )


async def test_a_504_names_what_was_added_and_what_vanished(own: Asking, items: Platform) -> None:
    await own.list_anew("c1", "c2")
    await items.wait_for_requests(own.item_id, 3)
    assert_problem(
        await own.answer,
        504,
        "deadline-passed",
        item_id=own.item_id,
        deleted=[container("c0")],
        outstanding=[container("c1"), container("c2")],
    )


async def test_another_items_list_changes_nothing(own: Asking, items: Platform) -> None:
    # Under our item's key, for good measure: the value alone decides.
    value = {"itemId": new_item_id(), "containers": containers(3), "publishedAt": LATER}
    await items.send(items.names.published, value, key=own.item_id)
    await own.delete("c0", "c1")
    assert_deleted(await own.answer, own.item_id, containers(2))
    assert own.requested() == ["c0", "c1"]


async def test_what_was_added_and_kafka_does_not_take_is_a_502_with_true_lists(
    own: Asking, items: Platform
) -> None:
    # Its list just fits into a record, and the request for it does not.
    large = container("c" * (2**20 - 300))
    value = {"itemId": own.item_id, "containers": [large], "publishedAt": LATER}
    raw = json.dumps(value, separators=(",", ":")).encode()
    await items.send(items.names.published, raw, key=own.item_id)
    got = await own.answer
    assert got.status == 502, got.body["detail"]
    assert re.search("[Ll]arge", got.body["detail"])
    assert got.body["deleted"] == got.body["published"] == containers(2)
    assert got.body["outstanding"] == got.body["unpublished"] == [large]
    assert got.body["unacknowledged"] == []


async def test_many_items_that_are_added_to_while_in_flight_are_all_taken_down_and_forgotten(
    api: str, admin: str, items: Platform
) -> None:
    before = await quiet(admin)
    async with caller() as http:
        some = [await in_flight(http, api, items) for _ in range(20)]
        items.on_request = confirm
        for number, one in enumerate(some):
            await one.list_anew(*(f"c{n}" for n in range(2 + number % 5)))
        for one in some:
            await one.delete("c0", "c1")
        for number, one in enumerate(some):
            assert_deleted(await one.answer, one.item_id, containers(2 + number % 5))
            assert one.requested() == [f"c{n}" for n in range(2 + number % 5)]
    await given_back(admin, before)


# ------------------------------------------------------------------- the catalogue is recreated


async def test_a_topic_that_is_recreated_tells_of_what_is_in_it_and_not_of_what_is_missing(
    broker: Broker,
) -> None:
    names = Names()
    async with (
        served(
            broker.address, names, timeout=10, kafka_fetch_max_wait=broker.fetch_max_wait
        ) as service,
        platform(broker.address, names) as items,
    ):
        there = await in_flight(service.http, service.api, items, wait=10)
        missing = await in_flight(service.http, service.api, items, wait=7)
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        await admin.delete_topics([names.published])
        await admin.close()
        compacted = Topic(names.published, 3, config={"cleanup.policy": "compact"})
        await ensure_topics(Connection(broker.address), [compacted])
        async with platform(broker.address, names) as anew:  # it knows nothing of the topic before
            await anew.publish_item(there.item_id, containers(3))
            await items.wait_for_requests(there.item_id, 3)
        await there.delete("c0", "c1", "c2")
        assert_deleted(await there.answer, there.item_id, containers(3))
        assert_problem(
            await missing.answer,
            504,
            "deadline-passed",
            item_id=missing.item_id,
            deleted=[],
            outstanding=containers(2),
        )


# --------------------------------------------------------------------------- switched off


@pytest.fixture
async def unfollowing(broker: Broker) -> AsyncIterator[tuple[Served, Platform]]:
    names = Names()
    async with (
        served(
            broker.address,
            names,
            kafka_fetch_max_wait=broker.fetch_max_wait,
            follow_changes="false",
        ) as service,
        platform(broker.address, names) as items,
    ):
        yield service, items


async def test_switched_off_a_takedown_is_of_what_was_found_at_its_beginning(
    unfollowing: tuple[Served, Platform],
) -> None:
    service, items = unfollowing
    own = await in_flight(service.http, service.api, items, wait=2)
    await own.list_anew("c1", "c2", published_at=LATER)
    await items.remove_item(own.item_id)
    await own.delete("c1")
    assert_problem(
        await own.answer,
        504,
        "deadline-passed",
        item_id=own.item_id,
        deleted=[container("c1")],
        outstanding=[container("c0")],
    )
    other = await in_flight(service.http, service.api, items, wait=2)
    await other.list_anew("c0", "c1", "c2", published_at=LATER)
    await other.delete("c0", "c1")
    assert_deleted(await other.answer, other.item_id, containers(2))
    assert own.requested() == other.requested() == ["c0", "c1"]
    assert (await scrape(service.admin)).value("takedown_bus_lists_total") == 0
