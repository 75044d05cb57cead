"""What the tests of this folder do with a service that has workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from support.answers import caller
from support.brokers import Broker
from support.invariants import Asked
from support.observed import Samples, scrape
from support.platform import Names, Platform
from support.served import Served, eventually, served

WORKERS = 2


@asynccontextmanager
async def crew(broker: Broker, names: Names, **settings: object) -> AsyncIterator[Served]:
    """A service with two workers; each takedown is asked for on a connection of its own."""
    options = {"workers": WORKERS, "kafka_fetch_max_wait": broker.fetch_max_wait, **settings}
    async with (
        caller(force_close=True) as http,
        served(broker.address, names, settings=options) as service,
    ):
        service.http = http

        async def all_are_ready() -> bool:
            return all(worker["ready"] for worker in (await body(service, "/readyz"))["workers"])

        await eventually(all_are_ready)  # the service is ready with the first of them
        yield service


async def body(service: Served, path: str) -> Any:
    """What the admin API says there."""
    async with service.http.get(service.admin + path) as answer:
        return await answer.json()


async def workers(service: Served) -> list[dict[str, Any]]:
    """What `/workers` says."""
    listed: list[dict[str, Any]] = (await body(service, "/workers"))["workers"]
    return listed


async def pids(service: Served) -> list[int]:
    return [worker["pid"] for worker in await workers(service)]


async def by_worker(service: Served, name: str, **labels: str) -> list[float]:
    """One sample of each worker."""
    samples: Samples = await scrape(service.admin)
    return [samples.value(name, worker=str(n), **labels) for n in range(WORKERS)]


async def take_down_many(service: Served, items: Platform, count: int) -> Mapping[str, Asked]:
    """So many new items, all at once; by item."""
    ids = [await service.item(items, 2) for _ in range(count)]
    return dict(zip(ids, await asyncio.gather(*map(service.take_down, ids)), strict=True))
