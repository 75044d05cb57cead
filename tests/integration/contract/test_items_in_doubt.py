"""An item whose newest record cannot be read is in doubt: 503 until a readable one arrives.

Each of these is a way of writing a list that platforms use and that is not the contract's: a 404,
or a 200 by the list before, would be false.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.answers import Got, assert_deleted, assert_problem, take_down
from support.brokers import Broker
from support.observed import scrape, until
from support.platform import NOW, Names, Platform, confirm, containers, new_item_id, platform
from support.served import served

IN_DOUBT = "takedown_catalogue_items_in_doubt"
FRAME = b"\x00\x00\x00\x00\x07"
BOM = b"\xef\xbb\xbf"


def later(seconds: float = 0) -> str:
    """A time after every record's so far."""
    return (datetime.now(UTC) + timedelta(seconds=1 + seconds)).isoformat()


def listed(item_id: str, **changes: Any) -> dict[str, Any]:
    return {"itemId": item_id, "containers": containers(2), "publishedAt": NOW, **changes}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


VALUES: dict[str, Callable[[str], Any]] = {
    "publishedAt without a zone": lambda item: listed(item, publishedAt="2026-01-02T03:04:05"),
    "publishedAt in epoch milliseconds": lambda item: listed(item, publishedAt=1767323045678),
    "containers null": lambda item: listed(item, containers=None),
    "a numeric containerId": lambda item: listed(
        item, containers=[{"containerId": 7, "containerType": "group"}]
    ),
    "a byte order mark": lambda item: BOM + as_json(listed(item)),
    "Schema Registry framing": lambda item: FRAME + as_json(listed(item)),
    "a CloudEvents envelope": lambda item: {
        "specversion": "1.0",
        "id": "7",
        "source": "/items",
        "type": "item.published",
        "data": listed(item),
    },
    "no JSON at all": lambda _item: b"\x00\x01\x02",
    "another encoding": lambda item: as_json(listed(item)).decode().encode("utf-16"),
}
"""What cannot be read, of an item."""

KEYS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda item: item.encode(),
    "in upper case": lambda item: item.upper().encode(),
    "a JSON string": lambda item: as_json(item.upper()),
    "a JSON object": lambda item: as_json({"itemId": item}),
    "a framed JSON string": lambda item: FRAME + as_json(item),
    "behind a byte order mark": lambda item: BOM + item.encode(),
}

UNNAMED = b"order 7"


async def doubts(http: aiohttp.ClientSession, admin: str, limit: int = 500) -> dict[str, Any]:
    async with http.get(f"{admin}/catalogue/doubts?limit={limit}") as answer:
        assert answer.status == 200
        body: dict[str, Any] = await answer.json()
        return body


async def in_doubt(http: aiohttp.ClientSession, admin: str) -> set[str]:
    return {row["itemId"] for row in (await doubts(http, admin))["doubts"]}


async def until_in_doubt(http: aiohttp.ClientSession, admin: str, item_id: str) -> None:
    """Wait until the record is read: before that, the takedown of a known item begins."""
    async with asyncio.timeout(10):
        while item_id not in await in_doubt(http, admin):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


def assert_in_doubt(got: Got, item_id: str, items: Platform) -> None:
    assert_problem(got, 503, "item-in-doubt", item_id=item_id)
    assert f"{items.names.published}[" in got.body["detail"]
    assert "cannot be read" in got.body["detail"]
    assert items.requests_for(item_id) == []


@pytest.mark.parametrize("known", [True, False], ids=["a known item", "an unknown item"])
@pytest.mark.parametrize("value", VALUES)
async def test_an_item_whose_list_cannot_be_read_is_in_doubt_until_a_readable_one(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform, value: str, *, known: bool
) -> None:
    item_id = new_item_id()
    if known:
        await items.publish_item(item_id, containers(1))
    await items.send(items.names.published, VALUES[value](item_id), key=item_id)

    await until_in_doubt(http, admin, item_id)
    assert_in_doubt(await take_down(http, api, item_id), item_id, items)

    items.on_request = confirm
    await items.publish_item(item_id, containers(2))
    assert_deleted(await take_down(http, api, item_id), item_id, containers(2))


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_names_its_item_however_it_is_written_until_a_null_value(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform, key: str
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    # In another partition, it may be; there its own time counts.
    await items.send(items.names.published, b"no JSON", key=KEYS[key](item_id))

    await until_in_doubt(http, admin, item_id)
    assert_in_doubt(await take_down(http, api, item_id), item_id, items)

    await items.send(items.names.published, None, key=KEYS[key](item_id))
    assert_problem(await take_down(http, api, item_id), 404, "item-not-found", item_id=item_id)


@pytest.mark.parametrize(
    "value", [name for name in VALUES if name not in {"no JSON at all", "another encoding"}]
)
async def test_an_item_that_only_the_value_names_is_in_doubt(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform, value: str
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    await items.send(items.names.published, VALUES[value](item_id), key=UNNAMED)

    await until_in_doubt(http, admin, item_id)
    assert_in_doubt(await take_down(http, api, item_id), item_id, items)

    items.on_request = confirm
    await items.publish_item(item_id, containers(2), published_at=later())
    got = await take_down(http, api, item_id)
    assert got.status in {200, 504}, "the deletions' times are before that list's"
    assert {r["containerId"] for r in items.requests_for(item_id)} == {"c0", "c1"}


WRITTEN = {
    **{value: (value, "plain") for value in VALUES},
    **{f"under the key of {key}": ("no JSON at all", key) for key in KEYS if key != "plain"},
}


@pytest.mark.parametrize("known", [True, False], ids=["a known item", "an unknown item"])
@pytest.mark.parametrize("written", WRITTEN)
async def test_an_item_whose_newest_record_cannot_be_read_is_neither_deleted_nor_unknown(
    http: aiohttp.ClientSession, api: str, items: Platform, written: str, *, known: bool
) -> None:
    """As a caller sees it: whatever was read before, there is no 200 and no 404."""
    items.on_request = confirm
    value, key = WRITTEN[written]
    item_id = new_item_id()
    if known:
        await items.publish_item(item_id, containers(1))
    await items.send(items.names.published, VALUES[value](item_id), key=KEYS[key](item_id))
    got = await take_down(http, api, item_id, [("Prefer", "wait=1")])
    # It is a 504 if the takedown began by the list before; then the record is read by its end.
    assert got.status == 503 or (known and got.status == 504), got
    assert (await take_down(http, api, item_id, [("Prefer", "wait=1")])).status == 503


async def test_after_a_restart_an_item_in_doubt_is_neither_deleted_nor_unknown(
    broker: Broker, tmp_path: Path
) -> None:
    names = Names()
    known, unknown = new_item_id(), new_item_id()
    options: dict[str, Any] = {
        "catalogue_folder": tmp_path,
        "kafka_fetch_max_wait": broker.fetch_max_wait,
    }
    async with served(broker.address, names, **options) as service:
        async with platform(broker.address, names) as items:
            await items.publish_item(known, containers(1))
            for item_id in (known, unknown):
                await items.send(names.published, b"no JSON", key=item_id)
            await items.publish_item(new_item_id(), containers(1))
        for item_id in (known, unknown):
            # Whatever the answer is, the record is read by then.
            await service.take_down(item_id, wait=1)
    async with (
        served(broker.address, names, **options) as service,
        platform(broker.address, names, on_request=confirm) as items,
    ):
        asked = [await service.take_down(item_id) for item_id in (known, unknown)]
        assert [each.status for each in asked] == [503, 503]


@pytest.mark.parametrize("known", [True, False], ids=["a known item", "an unknown item"])
async def test_an_item_is_in_doubt_from_the_acknowledgement_of_the_record_on(
    http: aiohttp.ClientSession, api: str, items: Platform, *, known: bool
) -> None:
    """Read or not: a takedown that began before it was read gets no 200 either."""
    items.on_request = confirm
    for _ in range(20):
        item_id = new_item_id()
        if known:
            await items.publish_item(item_id, containers(1))
        await items.send(items.names.published, b"no JSON", key=item_id)
        got = await take_down(http, api, item_id, [("Prefer", "wait=1")])
        assert got.status == 503 or (known and got.status == 504), got


async def test_no_200_is_given_while_an_item_in_flight_is_in_doubt(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform
) -> None:
    item_id, other = new_item_id(), new_item_id()

    async def confirm_in_doubt(side: Platform, request: dict[str, Any]) -> None:
        if request["itemId"] in {item_id, other}:
            broken = VALUES["containers null"](request["itemId"])
            await side.send(side.names.published, broken, key=request["itemId"])
            # It is newer than the request: a deletion that is read before it may end in a 200.
            await until_in_doubt(http, admin, request["itemId"])
            await confirm(side, request)
            if request["itemId"] == other:
                await side.publish_item(other, containers(1))

    items.on_request = confirm_in_doubt
    for each in (item_id, other):
        await items.publish_item(each, containers(1))
    doubted, readable = await asyncio.gather(
        take_down(http, api, item_id), take_down(http, api, other)
    )
    assert doubted.status == 504
    assert_deleted(readable, other, containers(1))


async def test_doubts_outlive_a_restart_and_operators_see_them(
    broker: Broker, tmp_path: Path
) -> None:
    names = Names()
    ids = [new_item_id() for _ in range(3)]
    written: list[Any] = []
    options: dict[str, Any] = {
        "catalogue_folder": tmp_path,
        "kafka_fetch_max_wait": broker.fetch_max_wait,
        "topics_create": "true",
        "catalogue_may_be_empty": "true",
    }
    async with served(broker.address, names, **options) as service:
        async with platform(broker.address, names) as items:
            for item_id in ids:
                await items.publish_item(item_id, containers(1))
                written.append(await items.send(names.published, b"no JSON", key=item_id))
        await until(lambda samples: samples.value(IN_DOUBT) == 3, service.admin)
        page = await doubts(service.http, service.admin, limit=1)
        assert page["total"] == 3
        (newest,) = page["doubts"]
        # Records of the same millisecond may come in any order.
        times = [record.timestamp for record in written]
        record = written[ids.index(newest["itemId"])]
        assert (newest["topic"], record.timestamp) == (names.published, max(times))
        assert (newest["partition"], newest["offset"]) == (record.partition, record.offset)
        assert "JSON" in newest["reason"]
    async with served(broker.address, names, **options) as service:
        assert await in_doubt(service.http, service.admin) == set(ids)
        for item_id in ids:
            assert (await service.take_down(item_id)).status == 503
        async with platform(broker.address, names, on_request=confirm) as items:
            await items.publish_item(ids[0], containers(1))
            await items.remove_item(ids[1])
            assert [(await service.take_down(each)).status for each in ids] == [200, 404, 503]
        assert (await scrape(service.admin)).value(IN_DOUBT) == 1
