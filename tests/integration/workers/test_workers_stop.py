"""All workers end together, as one process does: what is in flight is finished first."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import psutil
import pytest
from support.answers import caller
from support.brokers import Broker
from support.platform import Names, confirm, new_item_id, platform
from support.processes import running
from support.served import eventually

from .workers_crew import by_worker, crew, take_down_many

MANY = 24


async def test_takedowns_in_flight_at_every_worker_are_answered_before_the_service_ends(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service, platform(broker.address, names) as items:
        taking = asyncio.create_task(take_down_many(service, items, MANY))

        async def all_reported() -> bool:
            return len(items.requests) == 2 * MANY

        await eventually(all_reported)
        assert min(await by_worker(service, "takedown_in_flight")) > 0
        children = psutil.Process(service.process.pid).children()

        service.process.signal(signal.SIGTERM)
        await service.until_ready(503)
        status, checks = await service.readiness()
        assert status == 503
        assert checks["running"] == {"ok": False, "detail": "shutting down"}

        async def refuses() -> bool:
            try:
                async with service.http.delete(f"{service.api}/items/nonsense"):
                    return False
            except aiohttp.ClientConnectorError:
                return True

        await eventually(refuses)
        for request in items.requests:
            await confirm(items, request)
        assert {asked.status for asked in (await taking).values()} == {200}
        assert await asyncio.to_thread(service.process.wait) == 0
        assert not [child for child in children if child.is_running()]
        events = service.process.events()
        assert not [e for e in events if e["level"] in {"error", "critical"}]
        assert sorted(e.get("worker", -1) for e in events if e["event"] == "Stopped") == [-1, 0, 1]
        await service.check(broker.address, names)


async def test_a_second_signal_reaches_every_worker_and_nobody_waits_any_longer(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names, timeout=60) as service, platform(broker.address, names) as items:
        taking = asyncio.create_task(take_down_many(service, items, MANY))

        async def all_reported() -> bool:
            return len(items.requests) == 2 * MANY

        await eventually(all_reported)
        service.process.signal(signal.SIGINT)
        await service.until_ready(503)
        assert not taking.done()
        async with asyncio.timeout(15):
            while "Stopping at once on another SIGINT" not in service.process.text():
                service.process.signal(signal.SIGINT)
                await asyncio.sleep(0.1)
        # They were published, so what became of them is unknown: an honest 500.
        assert {asked.status for asked in (await taking).values()} == {500}
        assert await asyncio.to_thread(service.process.wait, within=15) == 0


async def test_a_service_that_is_stopped_while_its_workers_start_ends_at_once_and_leaves_none(
    names: Names,
) -> None:
    settings = {"http_port": 0, "admin_port": 0, "workers": 3, **names.settings()}
    with running("serve", "--embedded-broker", log_format="json", **settings) as process:
        parent = psutil.Process(process.pid)

        async def has_workers() -> bool:
            return len(parent.children()) == 4

        await eventually(has_workers)
        children = parent.children()
        assert await asyncio.to_thread(process.stop) == 0
        assert not [child for child in children if child.is_running()]


async def test_without_kafka_no_worker_accepts_callers_and_the_service_stops_when_it_is_told(
    names: Names,
) -> None:
    settings = {"http_port": 0, "admin_port": 0, "workers": 2, **names.settings()}
    with running(
        "serve", kafka_bootstrap_servers="127.0.0.1:9", log_format="json", **settings
    ) as process:
        servers = await asyncio.to_thread(process.wait_for_event, "listening")
        async with caller(force_close=True) as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.delete(f"{servers['http']}/items/{new_item_id()}")
            async with http.get(f"{servers['admin']}/readyz") as answer:
                assert answer.status == 503
                checks = (await answer.json())["checks"]
            assert "none accepts connections" in checks["workers"]["detail"]
        assert await asyncio.to_thread(process.stop) == 0
