"""A service with many viewers: takedowns go on, and afterwards nothing is left of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from support.brokers import Broker
from support.observed import given_back, quiet, scrape
from support.platform import Names, confirm_soon, new_item_id, platform
from support.served import Served, served

VIEWERS = 50
TAKEDOWNS = 60
VIEW = "overview,actors,recent,statistics"


async def watch(service: Served, seen: list[dict[str, Any]], *, stall: bool) -> None:
    """One viewer; one that stalls asks and reads nothing."""
    timeout = aiohttp.ClientTimeout(total=None)
    url = f"{service.admin}/stream?view={VIEW}"
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=1024 if stall else 2**22) as http,
        http.get(url) as answer,
    ):
        assert answer.status == 200
        if stall:
            await asyncio.sleep(3600)
        async for line in answer.content:
            seen += [json.loads(line[6:])["views"]] if line.startswith(b"data: ") else []


async def test_fifty_viewers_and_stalled_ones_leave_every_takedown_its_200(
    broker: Broker, names: Names
) -> None:
    async with served(
        broker.address, names, timeout=10, kafka_fetch_max_wait=broker.fetch_max_wait
    ) as service:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with (
            platform(broker.address, names) as items,
            aiohttp.ClientSession(connector=connector) as http,
        ):
            service.http = http  # which keeps no connection
            items.on_request = confirm_soon
            assert (await service.take_down(await service.item(items, 3))).status == 200
            before = await quiet(service.admin)

            seen: list[list[dict[str, Any]]] = [[] for _ in range(VIEWERS)]
            viewers = [
                asyncio.create_task(watch(service, each, stall=number % 10 == 0))
                for number, each in enumerate(seen)
            ]
            await until_viewers(service, VIEWERS)
            for _ in range(TAKEDOWNS // 10):
                wanted = [await service.item(items, 3) for _ in range(10)]
                got = await asyncio.gather(*(service.take_down(each) for each in wanted))
                assert [each.status for each in got] == [200] * 10
            assert (await service.take_down(new_item_id())).status == 404
            await asyncio.sleep(1.5)

            assert not [viewer for viewer in viewers if viewer.done()]
            for viewer in viewers:
                viewer.cancel()
            await asyncio.wait(viewers)
            for number, each in enumerate(seen):
                if number % 10:
                    told = [views["overview"]["outcomes"] for views in each if "overview" in views]
                    assert told[-1]["Deleted"] == TAKEDOWNS + 1
            await until_viewers(service, 0)
            await given_back(service.admin, before)
            samples = await scrape(service.admin)
            assert samples.value("takedown_observer_failures_total") == 0
            assert samples.value("takedown_duration_seconds_count", outcome="Deleted") == 61
        await service.check(broker.address, names)


async def until_viewers(service: Served, count: int) -> None:
    async with asyncio.timeout(20):
        while (await scrape(service.admin)).value("takedown_viewers") != count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_viewers_do_not_hold_the_shutdown_up(broker: Broker, names: Names) -> None:
    async with served(broker.address, names, kafka_fetch_max_wait=broker.fetch_max_wait) as service:
        seen: list[dict[str, Any]] = []
        viewer = asyncio.create_task(watch(service, seen, stall=False))
        stalled = asyncio.create_task(watch(service, [], stall=True))
        await until_viewers(service, 2)
        assert await asyncio.to_thread(service.process.stop) == 0
        await asyncio.wait([viewer], timeout=5)
        assert viewer.done()
        stalled.cancel()
        await asyncio.wait([stalled])
    said = [event["event"] for event in service.process.events()]
    assert not [line for line in said if "took longer" in line]


async def test_a_record_that_cannot_be_read_is_shown_with_its_place(
    broker: Broker, names: Names
) -> None:
    async with (
        served(broker.address, names, kafka_fetch_max_wait=broker.fetch_max_wait) as service,
        platform(broker.address, names) as items,
    ):
        await items.send(names.deleted, b"<script>alert(1)</script>", key=None, partition=2)
        async with asyncio.timeout(10):
            while True:
                async with service.http.get(f"{service.admin}/losses") as answer:
                    losses = await answer.json()
                if losses["skippedRecords"]:
                    break
                await asyncio.sleep(0.05)
        (skipped,) = losses["skippedRecords"]
        assert (skipped["topic"], skipped["partition"], skipped["offset"]) == (names.deleted, 2, 0)
        assert losses["skippedRecordsCount"] == 1


async def test_a_deletion_after_a_504_is_shown_on_its_timeline(
    broker: Broker, names: Names
) -> None:
    async with (
        served(broker.address, names, kafka_fetch_max_wait=broker.fetch_max_wait) as service,
        platform(broker.address, names) as items,
    ):
        item_id = await service.item(items, 2)
        asked = await service.take_down(item_id, wait=1)
        assert asked.status == 504
        await items.delete(item_id, service.lists[item_id][0])
        url = f"{service.admin}/takedowns/{asked.got.takedown_id}"
        async with asyncio.timeout(10):
            while True:
                async with service.http.get(url) as answer:
                    timeline = await answer.json()
                if timeline["steps"][-1]["late"]:
                    break
                await asyncio.sleep(0.05)
        assert timeline["outcome"] == "TimedOut"
        assert [(c["deleted"], c["late"]) for c in timeline["containers"]] == [
            (False, True),
            (False, False),
        ]
        assert (await scrape(service.admin)).value("takedown_events_late_total") == 1
