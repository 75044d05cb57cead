"""Very many takedowns at the same moment: how each of them ends.

Every takedown is asked for at once, over a connection of its own, and each item is another one. The
answers are counted by status; a 200 counts only if it names every container.

    python -m dev.bench.burst --takedowns 3000 --containers 20
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec

from dev.bench.__main__ import start_kafka, start_service
from dev.bench.items import Topics, item_ids
from dev.bench.processes import HOST, Child, python
from dev.bench.report import SERVICE

REACHED_BY = 1.0
"""Seconds after the deadline by which every answer must be here; the caller is loaded, too."""


async def ask(http: aiohttp.ClientSession, url: str, containers: int) -> tuple[str, float, str]:
    """How one takedown ended, after how many seconds, and why if it was no 200."""
    began = time.perf_counter()
    try:
        async with http.delete(url) as answer:
            body = msgspec.json.decode(await answer.read())
            status, why = str(answer.status), str(body.get("detail", ""))
            if answer.status == 200 and len(body["containers"]) != containers:
                status = "200, incomplete"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        status, why = type(error).__name__, str(error)
    return status, time.perf_counter() - began, why


async def measure(stack: AsyncExitStack, options: argparse.Namespace) -> None:
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
    kafka = await start_kafka(stack, options.bootstrap)
    topics = Topics(f"burst{time.time_ns() % 1_000_000_000}")
    command = python(
        "dev.bench.responder",
        bootstrap=kafka.bootstrap,
        prefix=topics.prefix,
        servers=SERVICE,
        containers=options.containers,
        items=options.takedowns,
        fetch_max_wait_ms=round(kafka.fetch_max_wait * 1000),
    )
    child = await stack.enter_async_context(Child("the responder", command, logs / "responder.log"))
    await child.until_said("ready")
    settings = {
        "TAKEDOWN_TIMEOUT": str(options.timeout),
        "TAKEDOWN_POOL_MAX": str(options.takedowns),
        "TAKEDOWN_HTTP_MAX_CONNECTIONS": str(options.takedowns + 100),
        "TAKEDOWN_LOG_LEVEL": "warning",
    }
    server = await start_service(stack, kafka, topics, logs, settings=settings)
    root = f"http://{HOST}:{server.port}/items/"
    timeout = aiohttp.ClientTimeout(options.timeout + 30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(
                ask(http, root + item_id, options.containers)
                for item_id in item_ids(options.containers, options.takedowns)
            )
        )
        seconds = time.perf_counter() - began
    counts = Counter(status for status, _, _ in answers)
    latest = max(after for _, after, _ in answers)
    print(
        f"{options.takedowns} takedowns of {options.containers} containers at once, on "
        f"{kafka.description}: all answered after {seconds:.2f} s, the latest after {latest:.2f} s"
    )
    for status, count in sorted(counts.items()):
        reasons = Counter(why for ending, _, why in answers if ending == status)
        (why, _), *_ = reasons.most_common(1)
        print(f"  {count:6d} x {status}  {why[:100]}")
    if server.child.tail():
        print(server.child.tail()[-1000:])


async def run(options: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack:
        await measure(stack, options)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.burst")
    parser.add_argument("--bootstrap", help="a broker; without it, the embedded one")
    parser.add_argument("--takedowns", type=int, default=3000)
    parser.add_argument("--containers", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=10.0, help="the service's deadline")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
