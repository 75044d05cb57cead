"""The records of `item_reported`: what is in them, and where they are."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from support.answers import assert_deleted, take_down
from support.platform import (
    Platform,
    confirm,
    container,
    containers,
    java_partition,
    new_item_id,
    read_topic,
)
from support.wire import exchange, request

TIMEOUT = 3
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def records_of(items: Platform, item_id: str) -> list[Any]:
    return [r for r in items.records if json.loads(r.value)["itemId"] == item_id]


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        # From Apache Kafka's own tests of its murmur2.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_tests_own_partitioner_is_javas(key: bytes, hashed: int) -> None:
    assert java_partition(key, 2**31) == hashed & 0x7FFFFFFF


async def test_each_container_gets_one_record_with_exactly_the_fields_of_the_contract(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = [container("a", "timeline"), container("b", "group"), container("ü \"'\n", "")]
    await items.publish_item(item_id, places)
    items.on_request = confirm
    before = datetime.now(UTC)

    got = await take_down(http, api, item_id)

    after = datetime.now(UTC)
    assert_deleted(got, item_id, places)
    records = records_of(items, item_id)
    assert len(records) == 3
    for record, place in zip(records, places, strict=True):
        value = json.loads(record.value.decode("utf-8"))
        reported_at, deadline = value.pop("reportedAt"), value.pop("deadline")
        assert value == {"takedownId": got.takedown_id, "itemId": item_id, **place}
        assert UTC_TIME.fullmatch(reported_at)
        assert UTC_TIME.fullmatch(deadline)
        assert before <= datetime.fromisoformat(reported_at) <= after
        left = datetime.fromisoformat(deadline) - datetime.fromisoformat(reported_at)
        assert timedelta(seconds=TIMEOUT - 0.5) <= left <= timedelta(seconds=TIMEOUT)


async def test_the_callers_own_deadline_travels_on(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    items.on_request = confirm

    await take_down(http, api, item_id, [("Prefer", "wait=2")])

    (record,) = items.requests_for(item_id)
    left = datetime.fromisoformat(record["deadline"]) - datetime.fromisoformat(record["reportedAt"])
    assert timedelta(seconds=1.5) <= left <= timedelta(seconds=2)


async def test_the_key_is_the_item_id_and_the_headers_name_the_takedown(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(3))
    items.on_request = confirm
    traceparent = f"00-{TRACE}-{SPAN}-01"

    got = await take_down(http, api, item_id.upper(), [("traceparent", traceparent)])

    records = records_of(items, item_id)
    assert len(records) == 3
    for record in records:
        assert record.key == item_id.encode()
        assert sorted(record.headers) == [
            ("content-type", b"application/json"),
            ("takedown-id", got.takedown_id.encode()),
            ("traceparent", traceparent.encode()),
        ]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b"nonsense"],
        [f"00-{TRACE}-{'0' * 16}-01".encode()],
        [f"00-{'0' * 32}-{SPAN}-01".encode()],
        [f"ff-{TRACE}-{SPAN}-01".encode()],
        [f"00-{TRACE.upper()}-{SPAN}-01".encode()],
        [f"00-{TRACE}-{SPAN}-01-more".encode()],
        [f"01-{TRACE}-{SPAN}-01-".encode() + b"\xff"],
        [f"01-{TRACE}-{SPAN}-01-".encode() + "é".encode()],
    ],
)
async def test_without_a_valid_trace_one_is_made_for_all_records_of_the_takedown(
    api: str, items: Platform, headers: list[bytes]
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    items.on_request = confirm

    # As bytes: a client of good manners would not send them all.
    lines = [f"traceparent: {header.decode('latin-1')}" for header in headers]
    answer = await exchange(api, request("DELETE", f"/items/{item_id}", *lines))

    assert answer.status == 200
    first, second = (dict(record.headers)["traceparent"] for record in records_of(items, item_id))
    assert first == second
    assert TRACEPARENT.fullmatch(first.decode())
    assert first not in headers


async def test_all_records_of_an_item_are_in_the_partition_that_java_would_choose(
    http: aiohttp.ClientSession, api: str, items: Platform, bootstrap: str
) -> None:
    item_ids = [new_item_id() for _ in range(20)]
    await items.publish_items({item_id: containers(3) for item_id in item_ids})
    items.on_request = confirm

    answers = await asyncio.gather(*(take_down(http, api, item_id) for item_id in item_ids))

    assert [got.status for got in answers] == [200] * 20
    partitions: dict[str, set[int]] = defaultdict(set)
    for record in await read_topic(bootstrap, items.names.reported):
        partitions[json.loads(record.value)["itemId"]].add(record.partition)
    for item_id in item_ids:
        assert partitions[item_id] == {java_partition(item_id.encode(), 6)}
    assert len(set.union(*(partitions[item_id] for item_id in item_ids))) > 1
