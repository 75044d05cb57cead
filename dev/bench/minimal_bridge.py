"""The minimal bridge: the same job as the service's, as one would write it in an afternoon.

It is the yardstick of `make bench`: aiohttp, aiokafka and a dict of what is waited for, and
nothing else. No supervision, no state machine, no metrics or logs, no watch over partitions or
dead tasks, no check of what it reads, no bound on what is in flight, and it does not even look
at acknowledgements. Reasonable library defaults throughout; do not tune it, and do not slow it
down either.

    python -m dev.bench.minimal_bridge --bootstrap 127.0.0.1:9092 --port 8080
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

TIMEOUT = 10.0


class Waiting:
    """One request that waits until every container has confirmed."""

    def __init__(self, containers: list[dict[str, str]]) -> None:
        self.left = {container["containerId"] for container in containers}
        self.deleted: list[dict[str, str]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Bridge:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.items: dict[str, list[dict[str, str]]] = {}
        self.waiting: defaultdict[tuple[str, str], set[Waiting]] = defaultdict(set)
        kafka: dict[str, Any] = {"bootstrap_servers": options.bootstrap}
        self.producer = AIOKafkaProducer(**kafka, acks="all")
        kafka["fetch_max_wait_ms"] = options.fetch_max_wait_ms
        self.published = AIOKafkaConsumer(
            options.item_published, **kafka, auto_offset_reset="earliest"
        )
        self.deletions = AIOKafkaConsumer(options.item_deleted, **kafka, auto_offset_reset="latest")

    async def delete(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        item_id = request.match_info["item_id"].lower()
        containers = self.items.get(item_id)
        if not containers:
            return web.json_response({"title": "No such item", "status": 404}, status=404)
        takedown_id = str(uuid.uuid4())
        now = datetime.now(UTC)
        deadline = now + timedelta(seconds=TIMEOUT)
        waiting = Waiting(containers)
        for container in containers:
            self.waiting[item_id, container["containerId"]].add(waiting)
        try:
            async with asyncio.timeout(TIMEOUT):
                for container in containers:
                    value = {
                        "takedownId": takedown_id,
                        "itemId": item_id,
                        **container,
                        "reportedAt": now.isoformat(),
                        "deadline": deadline.isoformat(),
                    }
                    await self.producer.send(
                        self.options.item_reported,
                        json.dumps(value).encode(),
                        key=item_id.encode(),
                    )
                await waiting.done
        except TimeoutError:
            return web.json_response({"title": "Time is up", "status": 504}, status=504)
        finally:
            for container_id in waiting.left:
                self.forget((item_id, container_id), waiting)
        return web.json_response(
            {
                "takedownId": takedown_id,
                "itemId": item_id,
                "outcome": "deleted",
                "containers": waiting.deleted,
                "elapsedMs": round((time.perf_counter() - started) * 1000, 3),
            }
        )

    def forget(self, key: tuple[str, str], waiting: Waiting) -> None:
        self.waiting[key].discard(waiting)
        if not self.waiting[key]:
            del self.waiting[key]

    async def read_items(self) -> None:
        async for record in self.published:
            self.take_item(record)

    def take_item(self, record: Any) -> None:
        if record.value is None:
            self.items.pop(record.key.decode(), None)
        else:
            value = json.loads(record.value)
            self.items[value["itemId"]] = value["containers"]

    async def read_deletions(self) -> None:
        async for record in self.deletions:
            value = json.loads(record.value)
            for waiting in self.waiting.pop((value["itemId"], value["containerId"]), ()):
                waiting.left.discard(value["containerId"])
                waiting.deleted.append(
                    {
                        "containerId": value["containerId"],
                        "containerType": value["containerType"],
                        "deletedAt": value["deletedAt"],
                    }
                )
                if not waiting.left and not waiting.done.done():
                    waiting.done.set_result(None)

    async def start(self) -> None:
        await self.producer.start()
        await self.published.start()
        await self.deletions.start()
        partitions = self.published.assignment()
        for partition, end in (await self.published.end_offsets(partitions)).items():
            while await self.published.position(partition) < end:
                self.take_item(await self.published.getone(partition))
        for partition in self.deletions.assignment():
            await self.deletions.position(partition)

    async def stop(self) -> None:
        await self.deletions.stop()
        await self.published.stop()
        await self.producer.stop()


async def run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    bridge = Bridge(options)
    await bridge.start()
    tasks = [asyncio.create_task(bridge.read_items()), asyncio.create_task(bridge.read_deletions())]
    app = web.Application()
    app.router.add_delete("/items/{item_id}", bridge.delete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    print("ready", flush=True)
    await stop.wait()
    await runner.cleanup()
    for task in tasks:
        task.cancel()
    await bridge.stop()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.minimal_bridge")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--item-published", default="item_published")
    parser.add_argument("--item-reported", default="item_reported")
    parser.add_argument("--item-deleted", default="item_deleted")
    parser.add_argument("--fetch-max-wait-ms", type=int, default=500)
    return parser


if __name__ == "__main__":
    uvloop.run(run(arguments().parse_args()))
