"""What comes after an answer is late only after the deadline, and is shown in either order.

Deletions in the mailbox of an actor that has answered; a platform whose list comes first.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from support.answers import Got, take_down
from support.brokers import Broker
from support.collector import collecting
from support.observed import scrape, until
from support.platform import Names, Platform, confirm, containers, new_item_id, platform
from support.served import served

DUPLICATES = 50
LISTED = "2026-01-02T03:04:09.5Z"
DELETED = "2026-01-02T03:04:09Z"
HEARD = "takedown_bus_published_total"
LATE = "takedown_events_late_total"


async def late_and_heard(admin: str) -> tuple[float, float]:
    samples = await scrape(admin)
    return samples.value(LATE), samples.value(HEARD)


async def timeline(http: aiohttp.ClientSession, admin: str, got: Got) -> dict[str, Any]:
    """What operators see of a takedown."""
    async with http.get(f"{admin}/takedowns/{got.takedown_id}") as answer:
        assert answer.status == 200
        body: dict[str, Any] = await answer.json()
        return body


async def ended_by_a_list(http: aiohttp.ClientSession, api: str, items: Platform) -> Got:
    """The 200 of an item in two containers, whose newer list has none of them."""
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 2)
    await items.publish_item(item_id, [], published_at=LISTED)
    got = await asking
    assert got.status == 200, got
    return got


async def delete_after(admin: str, items: Platform, item_id: str) -> None:
    """Delete the item from both of its containers, and wait until the service has read that."""
    _, heard = await late_and_heard(admin)
    for place in containers(2):
        await items.delete(item_id, place, deleted_at=DELETED)
    await until(lambda samples: samples.value(HEARD) >= heard + 2, admin)


async def test_duplicates_that_are_read_with_the_deletion_that_ended_a_takedown_are_not_late(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    asking = asyncio.create_task(take_down(http, api, item_id))
    await items.wait_for_requests(item_id, 1)
    late, heard = await late_and_heard(admin)
    await items.delete_together(item_id, containers(1)[0], DUPLICATES)
    assert (await asking).status == 200
    await until(lambda samples: samples.value(HEARD) >= heard + DUPLICATES, admin)
    assert (await late_and_heard(admin))[0] == late


async def test_a_takedown_that_a_list_ended_is_shown_with_the_lists_time_and_the_deletions_after(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    late, _ = await late_and_heard(admin)
    got = await ended_by_a_list(http, api, items)
    shown = (await timeline(http, admin, got))["containers"]
    assert [each["deletedAt"] for each in shown] == ["2026-01-02T03:04:09.500000Z"] * 2
    assert [each["heardAt"] for each in shown] == [None, None]

    await delete_after(admin, items, got.body["itemId"])
    shown = (await timeline(http, admin, got))["containers"]
    assert None not in [each["heardAt"] for each in shown]
    assert [each["late"] for each in shown] == [False, False]
    assert (await late_and_heard(admin))[0] == late


async def test_what_comes_after_the_deadline_is_late(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    late, _ = await late_and_heard(admin)
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    got = await take_down(http, api, item_id, [("Prefer", "wait=1")])
    assert got.status == 504
    await delete_after(admin, items, item_id)
    assert (await late_and_heard(admin))[0] == late + 2
    shown = (await timeline(http, admin, got))["containers"]
    assert [each["late"] for each in shown] == [True, True]


@pytest.mark.parametrize("first", ["deletions", "list"])
async def test_each_deletion_has_its_span_whether_it_comes_before_or_after_its_list(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    names = Names()
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        settings = {"traces": "otlp", "kafka_fetch_max_wait": broker.fetch_max_wait}
        async with (
            served(broker.address, names, settings=settings) as service,
            platform(broker.address, names) as items,
        ):
            if first == "list":
                got = await ended_by_a_list(service.http, service.api, items)
                await delete_after(service.admin, items, got.body["itemId"])
            else:
                items.on_request = confirm
                asked = await service.take_down(await service.item(items, 2))
                assert asked.status == 200
                await items.publish_item(asked.item_id, [], published_at=LISTED)
        # It has ended: what was left is flushed.
        spans = sorted(span.name for span in collector.spans())
        assert spans.count(f"process {names.deleted}") == 2, spans
