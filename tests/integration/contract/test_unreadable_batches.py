"""Record batches that cannot be decoded: skipped, counted, and nothing false is said by that.

What a writer can bring about with bytes of its own. Damage on the way is in `tests/fuzz`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, take_down, until_read
from support.brokers import Broker
from support.observed import logged, scrape, until
from support.platform import (
    NOW,
    Names,
    Platform,
    confirm,
    containers,
    java_partition,
    new_item_id,
    platform,
)
from support.processes import Process
from support.raw_batches import CODECS, Raw, Row, batch, batch_of, bomb
from support.served import Served, served

SKIPPED = "takedown_reader_skipped_total"
IN_DOUBT = "takedown_catalogue_items_in_doubt"
TOO_LARGE = 100 << 20
MOST_MEMORY = 400 << 20
"""Bytes by which a service may have grown at its peak for a batch of more than 64 MiB."""

NOT_UTF_8 = ((b"\xff\xfe", b"x"),)


def later() -> str:
    """A time after that of every record so far."""
    return (datetime.now(UTC) + timedelta(seconds=0.1)).isoformat()


async def confirm_now(items: Platform, request: dict[str, Any]) -> None:
    place = {name: request[name] for name in ("containerId", "containerType")}
    await items.delete(request["itemId"], place, deleted_at=later())


def listed(item_id: str, count: int = 1) -> bytes:
    value = {"itemId": item_id, "containers": containers(count), "publishedAt": NOW}
    return json.dumps(value).encode()


@pytest.fixture
async def raw(bootstrap: str) -> AsyncIterator[Raw]:
    async with Raw(bootstrap) as writer:
        yield writer


async def test_a_record_with_a_header_whose_name_is_not_utf_8_is_skipped_and_its_item_in_doubt(
    http: aiohttp.ClientSession,
    api: str,
    admin: str,
    items: Platform,
    service: Process,
    raw: Raw,
) -> None:
    topic = items.names.published
    before, bad, after = (new_item_id() for _ in range(3))
    await items.publish_item(bad, containers(1))
    count = (await scrape(admin)).value(SKIPPED, topic=topic)

    rows = [Row(each.encode(), listed(each)) for each in (before, bad, after)]
    rows[1] = rows[1]._replace(headers=NOT_UTF_8)
    partition = java_partition(bad.encode(), await raw.partitions(topic))
    first = await raw.send(topic, batch(rows), partition)

    items.on_request = confirm
    for item_id in (before, after):
        await until_read(http, api, items, item_id)
        assert_deleted(await take_down(http, api, item_id), item_id, containers(1))
    assert (await scrape(admin)).value(SKIPPED, topic=topic) == count + 1
    assert_problem(await take_down(http, api, bad), 503, "item-in-doubt", item_id=bad)
    event = await logged(service, lambda event: event.get("key") == bad)
    assert event["event"] == "Skipped an unreadable record: a header's name is not UTF-8"
    assert (event["topic"], event["offset"]) == (topic, first + 1)

    await items.publish_item(bad, containers(2))
    await until_read(http, api, items, bad)
    assert_deleted(await take_down(http, api, bad), bad, containers(2))


async def test_a_deletion_with_such_a_header_is_skipped_and_the_one_behind_it_is_read(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform, raw: Raw
) -> None:
    item_id = new_item_id()
    topic = items.names.deleted
    await items.publish_item(item_id, containers(1))
    count = (await scrape(admin)).value(SKIPPED, topic=topic)

    async def confirm_behind_it(_items: Platform, request: dict[str, Any]) -> None:
        value = {"itemId": request["itemId"], **containers(1)[0], "deletedAt": NOW}
        row = Row(item_id.encode(), json.dumps(value).encode())
        await raw.send(topic, batch([row._replace(headers=NOT_UTF_8), row]))

    items.on_request = confirm_behind_it
    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))
    assert (await scrape(admin)).value(SKIPPED, topic=topic) == count + 1


@pytest.mark.parametrize("codec", CODECS)
async def test_a_deletion_batch_that_decompresses_to_too_much_is_skipped(
    http: aiohttp.ClientSession, api: str, admin: str, items: Platform, raw: Raw, codec: str
) -> None:
    item_id = new_item_id()
    topic = items.names.deleted
    await items.publish_item(item_id, containers(1))
    count = (await scrape(admin)).value(SKIPPED, topic=topic)
    number = CODECS[codec]
    content = bomb(number, TOO_LARGE, item_id.encode())

    async def confirm_behind_it(items: Platform, request: dict[str, Any]) -> None:
        await raw.send(topic, batch_of(content, 1, codec=number, compressed=True))
        await confirm(items, request)

    items.on_request = confirm_behind_it
    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))
    await until(lambda samples: samples.value(SKIPPED, topic=topic) == count + 1, admin)


# ------------------------------------------------------------------- whose keys are not known


@pytest.fixture
async def own(broker: Broker, tmp_path: Path) -> AsyncIterator[tuple[Served, Platform, Raw]]:
    """A service of its own with topics of its own, since all of its items come into doubt."""
    names = Names()
    options: dict[str, Any] = {
        "kafka_fetch_max_wait": broker.fetch_max_wait,
        "catalogue_folder": tmp_path,
    }
    async with (
        served(broker.address, names, **options) as service,
        platform(broker.address, names) as items,
        Raw(broker.address) as raw,
    ):
        yield service, items, raw


async def send_bomb(service: Served, items: Platform, raw: Raw, codec: str) -> int:
    """Skip a batch of `item_published` whose keys are not known; its partition."""
    count = (await scrape(service.admin)).value(SKIPPED, topic=items.names.published)
    number = CODECS[codec]
    content = bomb(number, TOO_LARGE, new_item_id().encode())
    await raw.send(items.names.published, batch_of(content, 1, codec=number, compressed=True))
    await until(
        lambda samples: samples.value(SKIPPED, topic=items.names.published) == count + 1,
        service.admin,
    )
    return 0


@pytest.mark.parametrize("codec", CODECS)
async def test_behind_a_batch_of_which_nothing_is_known_only_newer_lists_count(
    own: tuple[Served, Platform, Raw], codec: str
) -> None:
    service, items, raw = own
    items.on_request = confirm_now
    known = await service.item(items)
    assert (await service.take_down(known)).status == 200
    before = peak_memory(service.process.pid)

    await send_bomb(service, items, raw, codec)

    # The list may be older than one in the batch; and an item may be listed in there alone.
    for item_id in (known, new_item_id()):
        got = await take_down(service.http, service.api, item_id)
        assert_problem(got, 503, "item-in-doubt", item_id=item_id)
        assert f"{codec} that decompresses to more than 67,108,864" in got.body["detail"]
    assert peak_memory(service.process.pid) - before < MOST_MEMORY
    async with service.http.get(f"{service.admin}/readyz") as answer:
        assert answer.status == 200
        missing = {each["name"] for each in (await answer.json())["missingSafeguards"]}
    assert f"{items.names.published}[0]: every record is read" in missing

    for item_id in (known, new_item_id()):
        await items.publish_item(item_id, containers(1), published_at=later())
        assert (await service.take_down(item_id)).status == 200
    await items.remove_item(known)
    async with asyncio.timeout(10):
        while (await service.take_down(known)).status != 404:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def test_a_restart_forgets_nothing_of_it(broker: Broker, tmp_path: Path) -> None:
    names = Names()
    options: dict[str, Any] = {
        "kafka_fetch_max_wait": broker.fetch_max_wait,
        "catalogue_folder": tmp_path,
    }
    async with (
        served(broker.address, names, **options) as service,
        platform(broker.address, names) as items,
        Raw(broker.address) as raw,
    ):
        old = await service.item(items)
        await send_bomb(service, items, raw, "zstd")
        new = new_item_id()
        await items.publish_item(new, containers(1), published_at=later())
        assert (await service.take_down(old)).status == 503
    async with (
        served(broker.address, names, **options) as service,
        platform(broker.address, names, on_request=confirm_now),
    ):
        assert [(await service.take_down(each)).status for each in (old, new)] == [503, 200]
        await logged(
            service.process,
            lambda event: "some of its records could not be read" in event["event"],
        )


def peak_memory(pid: int) -> int:
    """Bytes that a process has had in memory at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


async def test_a_thousand_poison_records_are_few_lines_in_the_log(
    own: tuple[Served, Platform, Raw],
) -> None:
    service, items, _ = own
    topic = items.names.published
    before = len(service.process.events())
    for batch_number in range(10):
        await asyncio.gather(
            *[
                await items.post(topic, {"rubbish": number}, key=new_item_id())
                for number in range(batch_number, batch_number + 100)
            ]
        )
    await until(lambda samples: samples.value(SKIPPED, topic=topic) == 1000, service.admin)
    event = await logged(
        service.process, lambda event: "more unreadable records" in event["event"], within=30
    )
    assert event["level"] == "warning"
    assert len(service.process.events()) - before < 100
    assert (await scrape(service.admin)).value(IN_DOUBT) == 1000
