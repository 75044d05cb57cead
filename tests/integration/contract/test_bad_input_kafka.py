"""Records that nobody can read: counted, logged, skipped; and no request is the worse for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, take_down, until_read
from support.brokers import Broker
from support.observed import scrape, until
from support.platform import NOW, Platform, confirm, container, containers, new_item_id, platform
from support.processes import Process

SKIPPED = "takedown_reader_skipped_total"
MEGABYTE = 2**20
ITEM = new_item_id()


@pytest.fixture
async def items(service: Process, bootstrap: str, names: Any) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(bootstrap, names, max_request_size=4 * MEGABYTE) as side:
        yield side


def published(**changes: Any) -> dict[str, Any]:
    value = {"itemId": ITEM, "containers": containers(1), "publishedAt": NOW, **changes}
    return {name: field for name, field in value.items() if field is not ...}


def deleted(**changes: Any) -> dict[str, Any]:
    value = {"itemId": ITEM, **containers(1)[0], "deletedAt": NOW, **changes}
    return {name: field for name, field in value.items() if field is not ...}


ANYWHERE: dict[str, Any] = {
    "empty": b"",
    "no JSON": b"hello",
    "half of it": json.dumps(deleted()).encode()[:-1],
    "more behind it": json.dumps(deleted()).encode() + b"}",
    "two of them": json.dumps(deleted()).encode() * 2,
    "null": b"null",
    "a number": b"42",
    "a list": b"[]",
    "an object without anything": b"{}",
    "not UTF-8": b'{"itemId":"\xff\xfe"}',
    "not UTF-8 either": json.dumps(deleted()).encode("utf-16"),
    "half a character": b'{"itemId":"\\ud800"}',
    "an end of text": b"\x00",
    "deep nesting": b"[" * 200_000,
    "deep nesting in a field": b'{"x":' * 100_000,
    "a megabyte of nothing": b" " * MEGABYTE,
    "a megabyte of a string": b'"' + b"x" * MEGABYTE,
    "a huge number": b'{"itemId":' + b"9" * 10_000 + b"}",
    "not a number": b'{"itemId":NaN}',
    "another language": b"<item/>",
    "Avro": b"\x00\x00\x00\x00\x01\x48",
}

PUBLISHED: dict[str, Any] = {
    "no itemId": published(itemId=...),
    "no containers": published(containers=...),
    "no publishedAt": published(publishedAt=...),
    "itemId null": published(itemId=None),
    "itemId a number": published(itemId=7),
    "itemId not a UUID": published(itemId="7"),
    "itemId in braces": published(itemId=f"{{{ITEM}}}"),
    "itemId with a line feed": published(itemId=f"{ITEM}\n"),
    "itemId empty": published(itemId=""),
    "containers null": published(containers=None),
    "containers an object": published(containers={}),
    "containers a text": published(containers="c0"),
    "a container null": published(containers=[None]),
    "a container a text": published(containers=["c0"]),
    "a container without an id": published(containers=[{"containerType": "group"}]),
    "a container without a type": published(containers=[{"containerId": "c0"}]),
    "a container with an empty id": published(containers=[container("")]),
    "a good and a bad container": published(containers=[container("c0"), {"containerId": 1}]),
    "publishedAt a number": published(publishedAt=1767323045),
    "publishedAt no time": published(publishedAt="yesterday"),
    "publishedAt without a zone": published(publishedAt="2026-01-02T03:04:05"),
    "publishedAt before all time": published(publishedAt="0001-01-01T00:00:00+10:00"),
    "a deletion": deleted(),
}

DELETED: dict[str, Any] = {
    "no itemId": deleted(itemId=...),
    "no containerId": deleted(containerId=...),
    "no containerType": deleted(containerType=...),
    "no deletedAt": deleted(deletedAt=...),
    "itemId null": deleted(itemId=None),
    "itemId a list": deleted(itemId=[ITEM]),
    "itemId not a UUID": deleted(itemId="7"),
    "containerId a number": deleted(containerId=0),
    "containerId empty": deleted(containerId=""),
    "containerType null": deleted(containerType=None),
    "deletedAt null": deleted(deletedAt=None),
    "deletedAt no time": deleted(deletedAt="2026-13-45T99:00:00Z"),
    "deletedAt without a zone": deleted(deletedAt="2026-01-02T03:04:05"),
    "deletedAt after all time": deleted(deletedAt="9999-12-31T23:59:59-10:00"),
    "a megabyte that is no deletion": deleted(itemId="x" * MEGABYTE),
    "an item": published(),
}


async def assert_skipped(
    items: Platform, admin: str, service: Process, topic: str, value: Any, key: bytes | None
) -> None:
    before = (await scrape(admin)).value(SKIPPED, topic=topic)

    record = await items.send(topic, value, key=key)

    await until(lambda samples: samples.value(SKIPPED, topic=topic) == before + 1, admin)
    # In the log, too, but for a burst: see test_unreadable_batches.py.
    async with aiohttp.ClientSession() as http, http.get(f"{admin}/losses") as answer:
        skipped = (await answer.json())["skippedRecords"]
    (loss,) = (
        row
        for row in skipped
        if (row["topic"], row["partition"], row["offset"])
        == (topic, record.partition, record.offset)
    )
    assert len(loss["reason"]) < 500, "this is not for what somebody else has written"
    assert "defect" not in loss["reason"]
    assert not any("Defect" in event["event"] for event in service.events())


@pytest.mark.parametrize("value", (ANYWHERE | PUBLISHED).values(), ids=ANYWHERE | PUBLISHED)
async def test_an_unreadable_item_is_skipped_and_in_doubt_until_a_readable_list_arrives(
    http: aiohttp.ClientSession,
    api: str,
    admin: str,
    items: Platform,
    service: Process,
    value: Any,
) -> None:
    await items.publish_item(ITEM, containers(2))
    items.on_request = confirm

    await assert_skipped(items, admin, service, items.names.published, value, ITEM.encode())

    # What it says of the item is not known; test_items_in_doubt.py has more about that.
    got = await take_down(http, api, ITEM)
    assert_problem(got, 503, "item-in-doubt", item_id=ITEM)
    await items.publish_item(ITEM, containers(2))
    await until_read(http, api, items, ITEM)
    assert_deleted(await take_down(http, api, ITEM), ITEM, containers(2))


@pytest.mark.parametrize("value", (ANYWHERE | DELETED).values(), ids=ANYWHERE | DELETED)
async def test_an_unreadable_deletion_is_skipped_and_the_next_one_is_read(
    http: aiohttp.ClientSession,
    api: str,
    admin: str,
    items: Platform,
    service: Process,
    value: Any,
) -> None:
    async def confirm_after_rubbish(platform: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] == item_id:
            await assert_skipped(
                items, admin, service, items.names.deleted, value, item_id.encode()
            )
            await confirm(platform, request)

    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    items.on_request = confirm_after_rubbish

    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))


def needs_no_key(broker: Broker, key: bytes | None) -> None:
    if key is None and broker.kind == "apache":
        pytest.skip("Apache Kafka lets no record without a key into a compacted topic")


@pytest.mark.parametrize(
    "key",
    [None, b"", b"nonsense", b"\xff", pytest.param(ITEM.encode() + b"x", id="more behind it")],
)
async def test_the_end_of_an_item_that_nobody_can_name_is_skipped(
    http: aiohttp.ClientSession,
    api: str,
    admin: str,
    items: Platform,
    service: Process,
    broker: Broker,
    key: bytes | None,
) -> None:
    needs_no_key(broker, key)
    await items.publish_item(ITEM, containers(2))
    items.on_request = confirm

    await assert_skipped(items, admin, service, items.names.published, None, key)

    assert_deleted(await take_down(http, api, ITEM), ITEM, containers(2))


@pytest.mark.parametrize("key", [None, b"", pytest.param(ITEM.encode(), id="an item's")])
async def test_a_deletion_without_a_value_is_skipped(
    admin: str, items: Platform, service: Process, key: bytes | None
) -> None:
    await assert_skipped(items, admin, service, items.names.deleted, None, key)


# --------------------------------------------------------------- odd, but it can be read


@pytest.mark.parametrize(
    "key",
    [None, b"", b"nonsense", b"\xff", pytest.param(new_item_id().encode(), id="another item's")],
)
async def test_an_item_under_another_key_is_the_item_that_its_value_names(
    http: aiohttp.ClientSession, api: str, items: Platform, broker: Broker, key: bytes | None
) -> None:
    needs_no_key(broker, key)
    item_id = new_item_id()
    value = published(itemId=item_id)
    await items.send(items.names.published, value, key=key)
    items.on_request = confirm

    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))


async def test_values_of_a_megabyte_are_read(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id = new_item_id()
    note = "ü" * (MEGABYTE // 2 - 1000)
    before = await scrape(admin)
    value = published(itemId=item_id, note=note)
    await items.send(items.names.published, value, key=item_id)

    async def confirm_with_a_note(platform: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] == item_id:
            await platform.delete(item_id, containers(1)[0], note=note)

    items.on_request = confirm_with_a_note
    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))

    after = await scrape(admin)
    for topic in (items.names.published, items.names.deleted):
        assert after.value(SKIPPED, topic=topic) == before.value(SKIPPED, topic=topic)


async def test_deletions_from_containers_and_of_items_that_nobody_knows_do_no_harm(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    before = (await scrape(admin)).value("takedown_bus_published_total")
    for number in range(20):
        await items.delete(new_item_id(), container(f"unknown {number}"))
    await until(lambda samples: samples.value("takedown_bus_published_total") >= before + 20, admin)
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    items.on_request = confirm

    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))


async def test_rubbish_by_the_hundred_does_not_hold_others_up(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    before = await scrape(admin)
    for topic in (items.names.published, items.names.deleted):
        for number in range(300):
            await items.post(topic, {"rubbish": number}, key=new_item_id())
    item_ids = [new_item_id() for _ in range(20)]
    await items.publish_items({item_id: containers(2) for item_id in item_ids})
    items.on_request = confirm

    for item_id in item_ids:
        await until_read(http, api, items, item_id)
        assert_deleted(await take_down(http, api, item_id), item_id, containers(2))

    for topic in (items.names.published, items.names.deleted):
        expected = before.value(SKIPPED, topic=topic) + 300
        await until(
            lambda samples, topic=topic, expected=expected: (  # type: ignore[misc]
                samples.value(SKIPPED, topic=topic) == expected
            ),
            admin,
        )
