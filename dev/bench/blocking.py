"""For how long one item in very many containers blocks the event loop of the service.

The service runs in this process and the rest in others. Every iteration of the loop is timed from
end to end, so a figure is what another caller waits at most.

    python -m dev.bench.blocking --containers 1,1000,10000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from app.kafka import connect
from app.lifecycle import Lifecycle
from app.settings import load
from dev.bench.__main__ import start_kafka
from dev.bench.items import Topics, item_ids
from dev.bench.processes import HOST, Child, free_port, python
from service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVER = "service"


class Iterations:
    """Times the iterations of the running loop, from now on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self.longest = self.busiest = 0.0
        self._began, self._worked = time.perf_counter(), time.thread_time()
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        self.longest = max(self.longest, now - self._began)
        self.busiest = max(self.busiest, worked - self._worked)
        self._began, self._worked = now, worked
        if not self._stopped:
            self._loop.call_soon(self._next)

    def stop(self) -> str:
        """The longest iteration, and the one that took most of the processor, in words."""
        self._stopped = True
        longest, busiest = self.longest * 1000, self.busiest * 1000
        return f"longest iteration {longest:.1f} ms, of the processor {busiest:.1f} ms"


async def measure(stack: AsyncExitStack, bootstrap: str | None, sizes: Sequence[int]) -> None:
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
    kafka = await start_kafka(stack, bootstrap)
    topics = Topics("blocking")
    options = {"bootstrap": kafka.bootstrap, "prefix": topics.prefix, "servers": SERVER}
    wait = round(kafka.fetch_max_wait * 1000)
    command = python(
        "dev.bench.responder",
        **options,
        containers=",".join(map(str, sizes)),
        items=1,
        fetch_max_wait_ms=wait,
    )
    child = await stack.enter_async_context(Child("the responder", command, logs / "responder.log"))
    await child.until_said("ready")
    settings = load(
        {},
        {
            "kafka_bootstrap_servers": kafka.bootstrap,
            "kafka_fetch_max_wait": str(kafka.fetch_max_wait),
            "topic_item_reported": topics.item_reported(SERVER),
            "topic_item_deleted": topics.item_deleted(SERVER),
            "topic_item_published": topics.item_published,
            "containers_max": str(max(sizes)),
            "timeout": "30",
            "shutdown_grace": "0",
            "http_port": str(free_port()),
            "admin_port": "0",
            "catalogue_folder": str(logs / "catalogue"),
        },
    )
    lifecycle = Lifecycle()
    stack.push_async_callback(lifecycle.stop)
    service = Service(settings, await connect(settings, lifecycle), lifecycle)
    reading = Iterations()
    await service.start()
    while not service.public_server.is_open:  # noqa: ASYNC110 - as a caller would see it
        await asyncio.sleep(0.01)
    print(f"reading the lists: {reading.stop()}")
    # Another process would be the caller; a client here adds its own reading of the answer.
    async with aiohttp.ClientSession() as http:
        for size in sizes:
            (item_id,) = item_ids(size, 1)
            gc.collect()
            iterations, began = Iterations(), time.perf_counter()
            async with http.delete(f"http://{HOST}:{settings.http_port}/items/{item_id}") as answer:
                length = len(await answer.read())
                status = answer.status
            seconds, longest = time.perf_counter() - began, iterations.stop()
            print(
                f"{size:6d} containers: {status} after {seconds:.3f} s, {length} bytes, {longest}"
            )


async def run(bootstrap: str | None, sizes: Sequence[int]) -> None:
    async with AsyncExitStack() as stack:
        await measure(stack, bootstrap, sizes)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.blocking")
    parser.add_argument("--bootstrap", help="a broker; without it, the embedded one")
    parser.add_argument("--containers", default="1,100,1000,10000", help="comma list of sizes")
    options = parser.parse_args()
    sizes = [int(size) for size in options.containers.split(",")]
    asyncio.run(run(options.bootstrap, sizes))  # uvloop starts no process in a group of its own


if __name__ == "__main__":
    main()
